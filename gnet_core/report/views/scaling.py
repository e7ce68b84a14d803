"""The views of suites that ask how fast, at all or over the values of a field: its effect on speed and memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gnet_core.report.document import Sentence
from gnet_core.report.drawing import COLOURS, INK, LEGEND_INCHES, Picture, described, draw, legible, subtitle
from gnet_core.report.fields import axis_words, field_words, value_words
from gnet_core.report.views import bars
from gnet_core.report.views.answers import NoAnswer, counts, speed, speed_in_words, speed_interval, throughput
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.results.records import Row

GOOD_ENOUGH = 0.95
"""Share of the best throughput at which a smaller value will do."""

WORTH_SAVING = 0.95
"""Largest share of the memory at which a smaller value is said to save some."""

MAX_SERIES = 10  # lines of a plot
_MAX_TICKS = 12
_MARKERS = "os^DvPX<>p"


class SpeedView(Section):
    """The fastest row answers. It is no finding of its own: the fastest of the whole run is one."""

    def answer(self) -> list[Sentence]:
        if (best := self.best()) is None:
            return [NoAnswer("the losses of its cases are not those of the work that was asked for.")]
        return [self.sentence(best)]

    def sentence(self, best: Row) -> Sentence:
        """The fastest row in words."""
        return throughput(self.named(best, whole=True), best)

    def draw(self) -> Picture:
        return bars.speeds(self)

    def findings(self) -> list[Finding]:
        return []


class ScalingView(SpeedView):
    """How far a larger value helps, and the smallest that is nearly as good as the best."""

    def findings(self) -> list[Finding]:
        best, measured = self.best(), {self.varied(row) for row in self.rows if counts(row)}
        return [Finding(Rank.SCALING, self.sentence(best))] if best and len(measured) > 1 else []

    def draw(self) -> Picture:
        """Speed and memory against the value, a line for each configuration of what else differs."""
        rows = sorted(self.rows, key=self._order)
        values = list(dict.fromkeys(map(self.varied, rows)))
        numbers = _are_numbers(values)  # which stand at their places on the axis, and words in a row
        places = {value: float(value if numbers else place) for place, value in enumerate(values)}
        series: dict[str, list[Row]] = {}
        for row in rows:
            series.setdefault(self.named(row), []).append(row)
        shown = {legible(name, 80): series[name] for name in list(series)[:MAX_SERIES]}
        failures = {bars.without_figure(row) for row in rows if not row.images_per_second}

        def paint(columns: Any) -> None:
            speeds, memory = columns
            for number, (label, line) in enumerate(shown.items()):
                self._paint_line(columns, places, line, number, label)
            self._paint_reasons(memory, rows, places)
            _paint_axes(columns, places, axis_words(str(self.suite.varies)))
            subtitle(speeds, "" if len(shown) > 1 else next(iter(shown)), len(series) - len(shown))
            if len(shown) > 1:
                speeds.plot([], [], "x", color=INK, label=", ".join(sorted(failures)) or None)
                speeds.figure.legend(*speeds.get_legend_handles_labels(), loc="outside lower center", ncols=2)

        legend = LEGEND_INCHES * math.ceil((len(shown) + 1) / 2) if len(shown) > 1 else 0
        lines = [
            f"{label}, {self.value(row)}: {bars.speed_words(row)}"
            + (f", {row.peak_memory_bytes / 2**30:.2f} GiB" if row.peak_memory_bytes else "")
            for label, line in shown.items()
            for row in line
        ]
        description = described(f"Images a second and peak memory by {field_words(str(self.suite.varies))}.", lines)
        return draw(self.picture_name, self.title(), description, paint, 3.1 + legend, columns=2)

    def sentence(self, best: Row) -> Sentence:
        name = self.named(best)
        alike = sorted((row for row in self.rows if counts(row) and self.named(row) == name), key=self._order)
        smallest, largest = alike[0], alike[-1]
        if not _are_numbers([self.varied(best)]) and len(alike) > 1:  # of which none is the smallest
            least = min(alike, key=speed)
            rest = f"with {name}, {self.value(best)}, is the most; {self._beside(least)}, the least."
            return Sentence(speed_in_words(best), rest)
        if smallest is best:
            rest = f"with {name}, {self.value(best)}, the smallest, is the most"
            beside = "" if largest is best else f"; {self._beside(largest)}, the largest"
            return Sentence(speed_in_words(best), f"{rest}{beside}.")
        enough = next(row for row in alike if speed(row) >= GOOD_ENOUGH * speed(best))
        if enough is best:
            return Sentence(speed_in_words(best), f"with {name}, {self.value(best)}, against {self._beside(smallest)}.")
        others = " and ".join(self._beside(row) for row in (best, smallest) if row is not enough)
        value = self.value(enough)
        point = f"{value[0].upper()}{value[1:]} gives {speed(enough) / speed(best):.0%} of the best throughput"
        if enough.peak_memory_bytes and best.peak_memory_bytes:
            share = enough.peak_memory_bytes / best.peak_memory_bytes
            point += f" with {share:.0%} of the memory" if share <= WORTH_SAVING else ""
        return Sentence(f"{point}:", f"{speed_in_words(enough)} against {others}, {name}.")

    def _beside(self, row: Row) -> str:
        """13.4 (12.1–14.7) at batch 8, beside another figure of images/s."""
        interval = speed_interval(row)
        return f"{speed(row):.1f}{f' ({interval})' if interval else ''} at {self.value(row)}"

    def _order(self, row: Row) -> tuple[bool, Any]:
        """Numbers by their size, then words."""
        value = self.varied(row)
        return isinstance(value, str), value

    def _paint_line(self, columns: Any, places: dict[Any, float], line: Sequence[Row], number: int, label: str) -> None:
        """Images/s with intervals, and memory; a row without figures is a cross at the foot, above other lines'."""
        speeds, memory = columns
        colour = COLOURS[number % len(COLOURS)]
        look: dict[str, Any] = {"color": colour, "marker": _MARKERS[number], "markersize": 5}
        placed = [(places[self.varied(row)], row) for row in line]
        for place, row in placed:
            low, high = row.images_per_second_ci_low, row.images_per_second_ci_high
            if row.images_per_second and low is not None and high is not None:
                speeds.plot([place] * 2, [low, high], "_-", color=colour, markersize=6, linewidth=1)
        measured = [(place, row.images_per_second) for place, row in placed if row.images_per_second]
        speeds.plot([place for place, _ in measured], [speed for _, speed in measured], label=label, **look)
        known = [(place, row.peak_memory_bytes / 2**30) for place, row in placed if row.peak_memory_bytes]
        memory.plot([place for place, _ in known], [gibibytes for _, gibibytes in known], **look)
        failed = [place for place, row in placed if not row.images_per_second]
        foot, below = [0.03 + 0.05 * number] * len(failed), speeds.get_xaxis_transform()
        speeds.plot(failed, foot, "x", transform=below, color=colour, markersize=7, markeredgewidth=2)

    def _paint_reasons(self, axes: Any, rows: Sequence[Row], places: dict[Any, float]) -> None:
        """A line at each value that no row has figures for, with the reason beside it."""
        measured = {self.varied(row) for row in rows if row.images_per_second}
        reasons = {self.varied(row): bars.without_figure(row) for row in rows if self.varied(row) not in measured}
        for value, reason in list(reasons.items())[:_MAX_TICKS]:
            axes.axvline(places[value], color=INK, linewidth=1, linestyle=":")
            where: dict[str, Any] = {"xy": (places[value], 0.03), "xycoords": ("data", "axes fraction")}
            shift: dict[str, Any] = {"xytext": (-3, 0), "textcoords": "offset points"}
            text = f"{reason} at {legible(value_words(value), 20)}"
            axes.annotate(text, **where, **shift, rotation=90, ha="right", va="bottom")


def _paint_axes(columns: Sequence[Any], places: dict[Any, float], label: str) -> None:
    """Ticks at as many values as there is room for; the scale is logarithmic where all are positive numbers."""
    ticks = list(places)[:: math.ceil(len(places) / _MAX_TICKS)]
    names = [legible(value_words(value), 20) for value in ticks]
    first, last = min(places.values()), max(places.values())
    logarithmic = _are_numbers(list(places)) and first > 0
    room = min(1.4, (last / first) ** 0.5) if logarithmic and last > first else 1.4
    beside = 0.1 * (last - first) or 1.0
    for axes, quantity in zip(columns, ("images/s, 95 % intervals", "peak memory in GiB"), strict=True):
        if logarithmic:
            axes.set_xscale("log", base=2)
        rotation = 90 if sum(map(len, names)) + len(names) > 24 else 0
        axes.set_xticks([places[value] for value in ticks], names, rotation=rotation)
        axes.minorticks_off()
        axes.set_xlim(*((first / room, last * room) if logarithmic else (first - beside, last + beside)))
        axes.set_xlabel(label)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(quantity)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
