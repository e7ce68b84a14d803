"""The view of a suite that asks how speed and memory scale over the values of a field, whichever it varies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.report.document import Sentence
from gnet_core.report.drawing import COLOURS, INK, Picture, described, draw, legible, subtitle
from gnet_core.report.fields import axis_words, field_words, value_words
from gnet_core.report.views import bars
from gnet_core.report.views.answers import (
    NoAnswer,
    counts,
    speed,
    speed_beside,
    speed_in_words,
)
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.results.records import Row

GOOD_ENOUGH = 0.95
"""Share of the best throughput at which a smaller value will do."""

WORTH_SAVING = 0.95
"""Share of the memory beyond which a smaller value saves none worth telling."""

MAX_SERIES = 10
"""Of a plot with lines."""

_MAX_TICKS = 12
_MARKERS = "os^DvPX<>p"


class ScalingView(Section):
    """How far a larger value helps, and the smallest that is nearly as good as the best."""

    def answer(self) -> list[Sentence]:
        best = self.best()
        if best is None:
            return [NoAnswer("the losses of its cases are not those of the work that was asked for.")]
        return [self._sentence(best)]

    def findings(self) -> list[Finding]:
        best, measured = self.best(), {self.varied(row) for row in self.rows if counts(row)}
        return [Finding(Rank.SCALING, self._sentence(best))] if best and len(measured) > 1 else []

    def draw(self) -> Picture:
        """Speed and memory against the value, a line for each of what else differs."""
        rows = sorted(self.rows, key=self._order)
        values = list(dict.fromkeys(map(self.varied, rows)))
        axis = _Axis(values)
        series: dict[str, list[Row]] = {}
        for row in rows:
            series.setdefault(self.named(row), []).append(row)
        shown = {legible(named, 80): series[named] for named in list(series)[:MAX_SERIES]}

        def at(row: Row) -> float:
            return axis.place[self.varied(row)]

        def paint(columns: Any) -> None:
            speeds, memory = columns
            for number, (label, of_series) in enumerate(shown.items()):
                look = {"color": COLOURS[number % len(COLOURS)], "marker": _MARKERS[number], "markersize": 5}
                measured = [(at(row), row) for row in of_series if row.images_per_second]
                _paint_speeds(speeds, measured, label, look)
                known = [(at(row), row.peak_memory_bytes / 2**30) for row in of_series if row.peak_memory_bytes]
                memory.plot([place for place, _ in known], [gibibytes for _, gibibytes in known], **look)
                _crosses(speeds, [at(row) for row in of_series if not row.images_per_second], number)
            self._reasons(memory, rows, axis)
            axis.paint(columns, axis_words(str(self.varies)))
            subtitle(speeds, "" if len(shown) > 1 else next(iter(shown)), len(series) - len(shown))
            if len(shown) > 1:
                speeds.plot([], [], "x", color=INK, label=", ".join(failures) or None)
                speeds.figure.legend(*speeds.get_legend_handles_labels(), loc="outside lower center", ncols=2)

        failures = sorted({bars.without_figure(row) for row in rows if not row.images_per_second})
        legend = bars.LEGEND_INCHES * math.ceil((len(shown) + 1) / 2) if len(shown) > 1 else 0
        told = described(
            f"Images a second and peak memory by {field_words(str(self.varies))}.",
            [f"{label}, {self._point_told(row)}" for label, of_series in shown.items() for row in of_series],
        )
        return draw(self.picture_name, self.title(), told, paint, 3.1 + legend, columns=2)

    def _sentence(self, best: Row) -> Sentence:
        alike = [row for row in self.rows if counts(row) and self.named(row) == self.named(best)]
        alike.sort(key=self._order)
        smallest, largest, named = alike[0], alike[-1], self.named(best)
        if not _are_numbers([self.varied(best)]) and len(alike) > 1:  # of which none is the smallest
            least = min(alike, key=speed)
            told = f"with {named}, {self.value(best)}, is the most; {speed_beside(least)} at {self.value(least)}"
            return Sentence(speed_in_words(best), f"{told}, the least.")
        if smallest is best:
            told = f"with {named}, {self.value(best)}, the smallest, is the most"
            beside = "" if largest is best else f"; {speed_beside(largest)} at {self.value(largest)}, the largest"
            return Sentence(speed_in_words(best), f"{told}{beside}.")
        enough = next(row for row in alike if speed(row) >= GOOD_ENOUGH * speed(best))
        at_smallest = f"{speed_beside(smallest)} at {self.value(smallest)}"
        if enough is best:
            return Sentence(speed_in_words(best), f"with {named}, {self.value(best)}, against {at_smallest}.")
        told = f"{speed_in_words(enough)} against {speed_beside(best)} at {self.value(best)}"
        if enough is not smallest:
            told += f" and {at_smallest}"
        value = self.value(enough)
        point = f"{value[0].upper()}{value[1:]} gives {speed(enough) / speed(best):.0%} of the best throughput"
        return Sentence(f"{point}{_with_less_memory(enough, best)}:", f"{told}, {named}.")

    def _order(self, row: Row) -> tuple[bool, Any]:
        """Numbers by their size, then words."""
        value = self.varied(row)
        return isinstance(value, str), value

    def _reasons(self, axes: Any, rows: Sequence[Row], axis: _Axis) -> None:
        """A line at each value that none has figures for, with the reason beside it."""
        measured = {self.varied(row) for row in rows if row.images_per_second}
        reasons = {self.varied(row): bars.without_figure(row) for row in rows if self.varied(row) not in measured}
        for value, reason in list(reasons.items())[:_MAX_TICKS]:
            axes.axvline(axis.place[value], color=INK, linewidth=1, linestyle=":")
            where = {"xy": (axis.place[value], 0.03), "xycoords": ("data", "axes fraction")}
            shift = {"xytext": (-3, 0), "textcoords": "offset points"}
            text = f"{reason} at {legible(value_words(value), 20)}"
            axes.annotate(text, **where, **shift, rotation=90, ha="right", va="bottom")

    def _point_told(self, row: Row) -> str:
        memory = f", {row.peak_memory_bytes / 2**30:.2f} GiB" if row.peak_memory_bytes else ""
        return f"{self.value(row)}: {bars.speed_told(row)}{memory}"


class _Axis:
    """Where values stand: positive numbers on a logarithmic scale, other numbers on a linear one, words in a row."""

    def __init__(self, values: Sequence[Any]) -> None:
        numbers = _are_numbers(values)
        self._log = numbers and values[0] > 0
        self.place: Mapping[Any, float] = {
            value: float(value if numbers else place) for place, value in enumerate(values)
        }

    def paint(self, columns: Sequence[Any], label: str) -> None:
        """Ticks at the values, as many as there is room for, and what the axes show."""
        ticks = list(self.place)[:: math.ceil(len(self.place) / _MAX_TICKS)]
        names = [legible(value_words(value), 20) for value in ticks]
        first, last = min(self.place.values()), max(self.place.values())
        for axes, what in zip(columns, ("images/s, 95 % intervals", "peak memory in GiB"), strict=True):
            if self._log:
                axes.set_xscale("log", base=2)
            axes.set_xticks(
                [self.place[value] for value in ticks],
                names,
                rotation=90 if sum(map(len, names)) + len(names) > 24 else 0,
            )
            axes.minorticks_off()
            room = min(1.4, (last / first) ** 0.5) if self._log and last > first else 1.4
            beside = 0.1 * (last - first) or 1.0
            axes.set_xlim(*((first / room, last * room) if self._log else (first - beside, last + beside)))
            axes.set_xlabel(label)
            axes.set_ylim(bottom=0)
            axes.set_ylabel(what)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _paint_speeds(axes: Any, measured: Sequence[tuple[float, Row]], label: str, look: Mapping[str, Any]) -> None:
    """A line with its intervals."""
    for place, row in measured:
        low, high = row.images_per_second_ci_low, row.images_per_second_ci_high
        if low is not None and high is not None:
            axes.plot([place] * 2, [low, high], "_-", color=look["color"], markersize=6, linewidth=1)
    axes.plot([place for place, _ in measured], [row.images_per_second for _, row in measured], label=label, **look)


def _crosses(axes: Any, failed: Sequence[float], number: int) -> None:
    """At the foot of the plot one for each value without figures, above those of other series."""
    foot = [0.03 + 0.05 * number] * len(failed)
    look = {"color": COLOURS[number % len(COLOURS)], "markersize": 7, "markeredgewidth": 2}
    axes.plot(failed, foot, "x", transform=axes.get_xaxis_transform(), **look)


def _with_less_memory(row: Row, best: Row) -> str:
    """Only where it is less by more than a rounding."""
    if not row.peak_memory_bytes or not best.peak_memory_bytes:
        return ""
    share = row.peak_memory_bytes / best.peak_memory_bytes
    return f" with {share:.0%} of the memory" if share <= WORTH_SAVING else ""
