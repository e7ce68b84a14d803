"""The view of a suite that scales over devices: what n replicas bring, as efficiency against one, and what is lost."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from gnet_core.config import StepConfig
from gnet_core.report.document import Sentence
from gnet_core.report.drawing import COLOURS, FAINT, INK, LEGEND_INCHES, Picture, described, draw, legible, subtitle
from gnet_core.report.fields import setting_words
from gnet_core.report.grid import Column, Grid, grid, ratio, shared_columns
from gnet_core.report.views import bars, columns
from gnet_core.report.views.answers import (
    NoAnswer,
    processes_in_words,
    ratio_in_words,
    share_in_words,
    speed_interval,
)
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.results.records import Row
from gnet_core.stats.verdicts import DEFAULT_MARGIN, MIN_PROCESSES, Comparison
from gnet_core.text import number

MAX_SERIES = 6  # lines of a plot
_MARKERS = "os^DvP"
_OF_A_TEAM = ("batch_size", "replicas", "workers")
"""Fields that differ along a curve."""


class _Point(NamedTuple):
    """A place on a curve, with its interval where there is one."""

    replicas: int
    value: float
    low: float | None
    high: float | None


class DevicesView(Section):
    """A sentence and a row for each team of replicas, and the curve of their speeds beside the ideal line."""

    quantity: ClassVar[str] = "efficiency"

    @property
    def base(self) -> str:
        return ""  # of an efficiency it goes without saying

    def value(self, row: Row) -> str:
        return team_in_words(self.config(row))

    def words(self, row: Row, *, whole: bool = False) -> list[str]:
        config = self.config(row)
        fields = [field for field in self.fields if field not in ("replicas", "workers")]
        words = [setting_words(field, getattr(config, field)) for field in fields]
        words += [f"from {row.source}"] if row.source else []
        return [self.value(row), *words] if whole else words

    def judged(self, comparison: Comparison) -> str:
        """2 replicas, an efficiency of 0.97 (0.95–0.98): SLOWER"""
        figures = f", {_efficiency(comparison)}" if comparison.ratio is not None else ""
        return f"{self.which(comparison)}{figures}: {comparison.verdict}"

    def answer(self) -> list[Sentence]:
        if not self.comparisons:
            return [NoAnswer("one replica and several were not both run.")]
        return [self._sentence(comparison) for comparison in self.comparisons.values()]

    def findings(self) -> list[Finding]:
        """The most replicas tell the most; the others are answered below."""
        enough = [item for item in self._with_ratio() if item.pairs >= MIN_PROCESSES]
        if not enough:
            return []
        largest = max(enough, key=self._replicas_of_variant)
        rank = Rank.UNRESOLVED if largest.verdict == "UNRESOLVED" else Rank.SCALING
        return [Finding(rank, self._sentence(largest), abs(math.log(largest.ratio or 1)))]

    def too_few_processes(self) -> list[Comparison]:
        return [item for item in self._with_ratio() if item.pairs < MIN_PROCESSES]

    def title(self) -> str:
        if not (known := self._with_ratio()):
            return super().title()
        largest = max(known, key=self._replicas_of_variant)
        kind, team = str(self.suite.scaling).capitalize(), self.value(self.row(largest.variant))
        return f"{kind} scaling: {team} have {_efficiency(largest)}"

    def short_table(self) -> Grid:
        rows = sorted(self.rows, key=self._order)
        shared, varied = shared_columns([c for c in self._field_columns() if c.heading != "batch"], rows)
        shown = [
            Column[Row]("n", lambda row: str(self._replicas(row))),
            *varied,
            Column[Row]("batch", lambda row: str(row.batch_size)),
            *columns.SPEED,
            *([] if any(map(speed_interval, rows)) else [columns.TURNS]),
            Column[Row]("speedup", self._speedup),
            *columns.comparison_columns(self.comparisons, self.base, self.quantity)[:3],
            Column[Row]("exchange takes", self._cost_of_exchange),
            *columns.EXCHANGE,
            Column[Row]("GiB a replica", self._memory),
            columns.FAILED,
        ]
        return grid(shown, rows, self.suite.name, shared)

    def draw(self) -> Picture:
        """Images/s with the ideal line, and efficiency with the margin, over the number of replicas."""
        rows = sorted(self.rows, key=self._order)
        series: dict[str, list[Row]] = {}
        for row in rows:
            series.setdefault(legible(self._curve(row), 80), []).append(row)
        shown = list(series.items())[:MAX_SERIES]
        numbers = sorted(set(map(self._replicas, rows)))

        def paint(axes: Any) -> None:
            speeds, efficiencies = axes
            for place, (label, line) in enumerate(shown):
                look = {"color": COLOURS[place], "marker": _MARKERS[place], "markersize": 5, "label": label}
                _paint_curve(speeds, self._speeds(line), look)
                _paint_curve(efficiencies, self._efficiencies(line), look)
            for place, row in enumerate(row for row in rows if self._replicas(row) == 1 and row.images_per_second):
                ideal = [replicas * (row.images_per_second or 0.0) for replicas in (1, numbers[-1])]
                speeds.plot([1, numbers[-1]], ideal, ":", color=INK, label=None if place else "ideal")
            efficiencies.axhspan(1 / (1 + DEFAULT_MARGIN), 1 + DEFAULT_MARGIN, color=FAINT, linewidth=0)
            for column, quantity in ((speeds, "images/s, 95 % intervals"), (efficiencies, "efficiency, band: margin")):
                column.set_xticks(numbers, list(map(str, numbers)))
                column.set_xlabel("replicas in all")
                column.set_ylabel(quantity)
                column.set_xlim(numbers[0] - 0.1 * numbers[-1], 1.1 * numbers[-1])
                column.set_ylim(bottom=0)
            subtitle(speeds, "", len(series) - len(shown))
            speeds.figure.legend(*speeds.get_legend_handles_labels(), loc="outside lower center", ncols=2)

        text = described("Images a second and efficiency by replicas.", list(map(self._described, rows)))
        legend = LEGEND_INCHES * math.ceil((len(shown) + 1) / 2)
        return draw(self.picture_name, self.title(), text, paint, 3.1 + legend, columns=2)

    def _with_ratio(self) -> list[Comparison]:
        return [item for item in self.comparisons.values() if item.ratio is not None]

    def _replicas(self, row: Row) -> int:
        return self.config(row).total_replicas

    def _replicas_of_variant(self, comparison: Comparison) -> int:
        return self._replicas(self.row(comparison.variant))

    def _order(self, row: Row) -> tuple[str, int, int]:
        return self._kept(row), self._replicas(row), self.config(row).workers

    def _kept(self, row: Row) -> str:
        """What the rows of one base have in common, with the batch that scaling keeps."""
        config = self.config(row)
        words = [setting_words(field, getattr(config, field)) for field in self.fields if field not in _OF_A_TEAM]
        weak = self.suite.scaling == "weak"
        batch = f"batch {config.replica_batch_size} a replica" if weak else f"batch {config.batch_size}"
        return ", ".join([*words, batch, *([f"from {row.source}"] if row.source else [])])

    def _curve(self, row: Row) -> str:
        """The curve that a row belongs to: so many processes, where these have several devices."""
        several = any(self.config(other).replicas > 1 for other in self.rows)
        return f"{self._kept(row)}, {processes_in_words(self.config(row).workers)}" if several else self._kept(row)

    def _sentence(self, comparison: Comparison) -> Sentence:
        row = self.row(comparison.variant)
        team, where = self.value(row), ", ".join(self.words(row))
        if comparison.ratio is None:
            return NoAnswer(f"how {team} scale, {where}. {comparison.reason}")
        speedup = f"{self._speedup(row)} times the images/s of one, {_efficiency(comparison)}"
        figures = "; ".join([speedup, *self._losses(row), where])
        if comparison.verdict == "UNRESOLVED":
            return Sentence(f"UNRESOLVED whether {team} scale:", f"{figures}. {comparison.reason}")
        if comparison.verdict == "SAME":
            return Sentence(f"{team} scale", f"within {100 * comparison.margin:.3g}%: {figures}.")
        if comparison.verdict == "FASTER":
            return Sentence(f"{team} gain {comparison.ratio - 1:.0%}:", f"{figures}.")
        return Sentence(f"{team} lose {1 - comparison.ratio:.0%}:", f"{figures}.")

    def _losses(self, row: Row) -> list[str]:
        """What is known to take time that one replica does not need."""
        cost, spread = self._cost_of_exchange(row), row.straggler_spread
        exchange = [f"exchanging gradients takes {cost} of a step"] if cost else []
        return exchange + (
            [f"the replicas' own parts of a step are {spread:.1%} apart in time"] if spread is not None else []
        )

    def _speedup(self, row: Row) -> str:
        comparison = self.comparisons.get(row.case)
        if comparison is None or comparison.ratio is None:
            return ""
        return f"{self._replicas(row) * comparison.ratio:.2f}"

    def _memory(self, row: Row) -> str:
        memory = row.peak_memory_bytes if self._replicas(row) == 1 else row.replica_memory_bytes
        return number(memory and memory / 2**30, "{:.2f}")

    def _cost_of_exchange(self, row: Row) -> str:
        """The share of a step that communication takes, where that was compared."""
        comparison = self._without_exchange.get(row.case)
        if comparison is None or comparison.ratio is None:
            return ""
        low, high = (None if end is None else 1 - 1 / end for end in (comparison.low, comparison.high))
        return share_in_words(1 - 1 / comparison.ratio, low, high)

    @functools.cached_property
    def _without_exchange(self) -> dict[str, Comparison]:
        """By case, its comparison with the same step without exchange, which another suite makes."""
        names = [suite.name for suite in self.run.document.suites if suite.varies == "all_reduce"]
        compared = [comparison for name in names for comparison in self.families.get(name, {}).values()]
        return {comparison.base: comparison for comparison in compared}

    def _speeds(self, rows: Sequence[Row]) -> list[_Point]:
        return [
            _Point(self._replicas(row), value, row.images_per_second_ci_low, row.images_per_second_ci_high)
            for row in rows
            if (value := row.images_per_second)
        ]

    def _efficiencies(self, rows: Sequence[Row]) -> list[_Point]:
        """One replica's is 1 by definition."""
        compared = [(self._replicas(row), self.comparisons.get(row.case)) for row in rows]
        bases = [_Point(1, 1.0, None, None) for replicas, _item in compared if replicas == 1]
        judged = [(replicas, item) for replicas, item in compared if item is not None]
        return bases + [_Point(replicas, item.ratio, item.low, item.high) for replicas, item in judged if item.ratio]

    def _described(self, row: Row) -> str:
        comparison = self.comparisons.get(row.case)
        judged = f", efficiency {ratio(comparison)} {comparison.verdict}" if comparison else ""
        return f"{self.value(row)}, batch {row.batch_size}: {bars.speed_words(row)}{judged}"


def team_in_words(config: StepConfig) -> str:
    """one replica, 2 workers, or 2 workers of 4 replicas"""
    replicas = "one replica" if config.replicas == 1 else f"{config.replicas} replicas"
    if config.workers == 1:
        return replicas
    return f"{config.workers} workers{f' of {replicas}' if config.replicas > 1 else ''}"


def _efficiency(comparison: Comparison) -> str:
    """an efficiency of 0.97 (0.95–0.98)"""
    return f"an efficiency of {ratio_in_words(comparison, unit='')}"


def _paint_curve(axes: Any, points: Sequence[_Point], look: dict[str, Any]) -> None:
    for point in points:
        if point.low is not None and point.high is not None:
            ends = [point.low, point.high]
            axes.plot([point.replicas] * 2, ends, "_-", color=look["color"], markersize=6, linewidth=1)
    axes.plot([point.replicas for point in points], [point.value for point in points], **look)
