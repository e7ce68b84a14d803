"""The view of sources beside each other: a row a case, a column a source, and above each column what differs in it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from gnet_core.machine.differences import compared_names, differences
from gnet_core.report.document import Sentence
from gnet_core.report.drawing import COLOURS, FAINT, INK, Picture, described, draw_lines, legible, subtitle
from gnet_core.report.grid import Cell, Column, Grid, grid, ratio
from gnet_core.report.ratios import MAX_LINES, distinct, verdict_words, wrapped
from gnet_core.report.views.answers import NoAnswer, relation, speed_in_words
from gnet_core.report.views.bars import without_figure
from gnet_core.report.views.comparison import ComparisonView, counted
from gnet_core.results.records import Row
from gnet_core.results.run_document import RecordedSource
from gnet_core.stats.verdicts import Comparison, Verdict

MARKS: dict[Verdict, str] = {"FASTER": "▲", "SLOWER": "▼", "SAME": "=", "UNRESOLVED": "?"}
"""The verdicts in a heat map, which are told apart without its colours."""

MAX_SENTENCES = 6
"""Comparisons that are answered one by one; of more there is a sentence a source."""

MAX_COLUMNS_WITH_RATIOS = 7
"""Columns of a heat map that have room for ratios; in narrower ones stand the marks alone."""

MAX_DIFFERENCES = 16
"""Rows of versions above the cases. What differs in more stands under Environment."""

_FULL_COLOUR = math.log(1.5)
"""The logarithm of the ratio from which on a cell has all of its colour."""

_STRONGEST = 0.65  # share of the colour in such a cell, on which text can still be read


class _Line(NamedTuple):
    """A row of the table: what it is about, and its cell of each source."""

    name: str
    cells: dict[str, Cell]


class AcrossView(ComparisonView):
    """A table of cases by sources, and a heat map of the ratios; of two sources the ratios with their intervals."""

    @functools.cached_property
    def sources(self) -> list[RecordedSource]:
        """The sources, the base first; those of a file of an earlier version are told by their rows."""
        if self.run.document.sources:
            return list(self.run.document.sources)
        names = dict.fromkeys([str(self.suite.base), *(row.source for row in self.rows)])
        return [RecordedSource(name=name) for name in names]

    @functools.cached_property
    def cases(self) -> dict[str, dict[str, Row]]:
        """Rows by case and then by source."""
        cases: dict[str, dict[str, Row]] = {}
        for row in self.rows:
            cases.setdefault(row.case.removesuffix(f"@{row.source}"), {})[row.source] = row
        return cases

    @functools.cached_property
    def _case_names(self) -> tuple[list[str], str]:
        """What distinguishes each case, and what all have in common (see distinct)."""
        first_rows = [next(iter(rows.values())) for rows in self.cases.values()]
        return distinct([self.words(row) for row in first_rows])

    def answer(self) -> list[Sentence]:
        missing = [NoAnswer(f"{one.name} could not be measured: {one.missing}") for one in self.sources if one.missing]
        idle = [
            Sentence(f"{effect.variable} of {one.name} changes nothing here:", f"{effect.evidence}.")
            for one in self.sources
            for effect in one.effects
            if effect.effect == "changes nothing"
        ]
        return [*self._verdicts(), *missing, *idle]

    def title(self) -> str:
        compared = [comparison for comparison in self.comparisons.values() if comparison.ratio is not None]
        several = len(self.sources) > 2 and compared
        return f"Against {self.base}: {counted(compared)}" if several else super().title()

    def draw(self) -> Picture:
        if len(self.sources) == 2 or not self.comparisons:
            return super().draw()
        return self._heat_map()

    def short_table(self) -> Grid:
        """What differs between the sources above what was measured from each."""
        names, shared = self._case_names
        lines = [*self._differing(), *map(self._case_line, names, self.cases.values())]
        columns = [Column[_Line](f"case, × {self.base}", lambda line: line.name, text=True)]
        columns += [self._column(one.name) for one in self.sources]
        return grid(columns, lines, self.suite.name, shared)

    def _column(self, source: str) -> Column[_Line]:
        return Column(source, lambda line: line.cells.get(source, Cell("")), text=True)

    def _verdicts(self) -> list[Sentence]:
        if len(self.comparisons) <= MAX_SENTENCES:
            return super().answer()
        by_source: dict[str, list[Comparison]] = {}
        for comparison in self.comparisons.values():
            by_source.setdefault(self.row(comparison.variant).source, []).append(comparison)
        return [self._sentence_of_source(source, group) for source, group in by_source.items()]

    def _sentence_of_source(self, source: str, comparisons: Sequence[Comparison]) -> Sentence:
        with_ratio = [comparison for comparison in comparisons if comparison.ratio is not None]
        if not with_ratio:
            return NoAnswer(f"{source} against {self.base}. {comparisons[0].reason}")
        verdicts = {comparison.verdict for comparison in with_ratio}
        agree = len(verdicts) == 1 and "UNRESOLVED" not in verdicts
        relating = relation(with_ratio[0]) if agree else "against"
        return Sentence(f"{source} {relating} {self.base}:", f"{counted(with_ratio)}.")

    def _case_line(self, name: str, rows: dict[str, Row]) -> _Line:
        return _Line(name, {source: self._cell(row) for source, row in rows.items()})

    def _cell(self, row: Row) -> Cell:
        """47.0 images/s (46.3–47.7), 1.02× (1.01–1.03) FASTER"""
        if row.images_per_second is None:
            return Cell(without_figure(row))
        comparison = self.comparisons.get(row.case)
        if comparison is None:
            return Cell(speed_in_words(row))
        judged = verdict_words(comparison, interval=True) if comparison.ratio is not None else comparison.verdict
        return Cell(f"{speed_in_words(row)}, {judged}", comparison.verdict)

    def _differing(self) -> list[_Line]:
        """What differs between the sources in settings and versions, and why some were not measured."""
        environments = self.run.document.environments
        base = environments.get(str(self.suite.base))
        texts: dict[str, dict[str, str]] = {}
        of_base: dict[str, str] = {}
        for one in self.sources:
            if one.name not in environments or one.name == self.suite.base:
                continue
            for difference in differences(base, environments[one.name]):
                texts.setdefault(difference.name, {})[one.name] = difference.new
                of_base[difference.name] = difference.base
        named = {name: compared_names(environment) for name, environment in environments.items()}
        lines = [self._setting_line(variable) for variable in self._variables]
        for name in [name for name in texts if name not in self._variables][:MAX_DIFFERENCES]:
            line = _Line(name, {})
            for one in self.sources:
                if text := texts[name].get(one.name):
                    line.cells[one.name] = Cell(text)
                elif not one.missing:
                    lacks = name in named[str(self.suite.base)] and name not in named[one.name]
                    line.cells[one.name] = Cell("–" if lacks else of_base[name])
            lines.append(line)
        if (more := len(texts.keys() - set(self._variables)) - MAX_DIFFERENCES) > 0:
            lines.append(_Line(f"{more} more, under Environment", {}))
        missing = {one.name: Cell(one.missing) for one in self.sources if one.missing}
        return [*lines, *([_Line("not measured", missing)] if missing else [])]

    @functools.cached_property
    def _variables(self) -> list[str]:
        """The variables that some source sets, which are what is compared: none of them is cut off."""
        return list(dict.fromkeys(variable for one in self.sources for variable in one.variables))

    def _setting_line(self, variable: str) -> _Line:
        """The value of a variable in each source, and whether it acts there."""
        cells = {}
        for one in self.sources:
            acts = next((effect.effect for effect in one.effects if effect.variable == variable), "")
            environment = self.run.document.environments.get(one.name)
            outside = environment.machine.environment_variables.get(variable, "not set") if environment else ""
            text = one.variables.get(variable, outside)
            cells[one.name] = Cell(f"{text}, {acts}" if acts else text)
        return _Line(variable, cells)

    def _heat_map(self) -> Picture:
        """Ratios as colours with the verdicts as marks: sources are columns, or lines where they are the more."""
        sources = [one.name for one in self.sources if one.name != self.suite.base]
        words, shared = self._case_names
        cells = {
            (name, source): self.comparisons[row.case]
            for name, rows in zip(words, self.cases.values(), strict=True)
            for source, row in rows.items()
            if row.case in self.comparisons
        }
        turned = len(sources) > len(words)
        lines, columns = (sources, words) if turned else (words, sources)
        shown = lines[:MAX_LINES]

        def at(line: str, column: str) -> Comparison | None:
            return cells.get((column, line) if turned else (line, column))

        def paint(axes: Any) -> None:
            for number, line in enumerate(shown):
                for place, column in enumerate(columns):
                    _paint_cell(axes, place, number, at(line, column), len(columns))
            axes.set_xlim(-0.5, len(columns) - 0.5)
            axes.set_xticks(range(len(columns)), [wrapped(legible(column, 30)) for column in columns])
            axes.tick_params(axis="x", length=0, labelrotation=90 if len(columns) > MAX_COLUMNS_WITH_RATIOS else 0)
            axes.grid(visible=False)
            marks = ", ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items())
            axes.set_xlabel(f"× images/s of {legible(self.base, 30)}: {marks}")
            subtitle(axes, shared, len(lines) - len(shown))

        said = [
            f"{name}, {source}: {verdict_words(comparison, interval=True)}"
            for (name, source), comparison in cells.items()
        ]
        description = described(f"Ratios of images a second to {self.base}, by case and source.", said)
        labels = [wrapped(legible(line)) for line in shown]
        legend = 0.06 * max(map(len, columns)) if len(columns) > MAX_COLUMNS_WITH_RATIOS else 0.2
        return draw_lines(self.picture_name, self.title(), description, paint, labels, legend=legend)


def _paint_cell(axes: Any, place: int, line: int, comparison: Comparison | None, columns: int) -> None:
    """A cell of a heat map, which no colour fills where there is no ratio."""
    if comparison is None or comparison.ratio is None:
        axes.text(place, line, "–", ha="center", va="center", color=INK)
        return
    strength = min(1.0, abs(math.log(comparison.ratio)) / _FULL_COLOUR) * _STRONGEST
    colour = COLOURS[2] if comparison.ratio > 1 else COLOURS[4]
    axes.barh(line, 0.94, 0.9, left=place - 0.47, color=colour, alpha=strength, edgecolor=FAINT, linewidth=0.6)
    mark = MARKS[comparison.verdict]
    text = mark if columns > MAX_COLUMNS_WITH_RATIOS else f"{ratio(comparison)}× {mark}"
    axes.text(place, line, text, ha="center", va="center", color=INK)
