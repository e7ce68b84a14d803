"""A suite of a run, answered: the base of the views, which own what differs between kinds of question."""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple

from gnet_core.config import StepConfig
from gnet_core.plan.suites import AXES, SOURCE, SuiteDescription
from gnet_core.report.document import Sentence
from gnet_core.report.drawing import Picture, picture_name
from gnet_core.report.fields import field_words, setting_words, value_words
from gnet_core.report.grid import Column, Grid, grid, shared_columns
from gnet_core.report.views import columns
from gnet_core.report.views.answers import NoAnswer, counts, ratio_in_words, relation, speed, speed_interval, throughput
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import Comparison

_OF_THE_RUN = ("image_size", "device", "seed", "classes")
"""Fields that the head of a report gives for the whole run, and a row only where they differ within it."""


class Rank(IntEnum):
    """Order of the findings, where there is no room for all."""

    SPEED = 0
    DECIDED = 1
    SCALING = 2
    TRACED = 3
    PARTS = 4
    INPUT = 5
    COST = 6
    SAME = 7
    UNRESOLVED = 8
    TOO_FEW = 9
    SAME_CODE = 10
    FURTHER = 11


class Finding(NamedTuple):
    """A sentence that may stand first in a report."""

    rank: Rank
    sentence: Sentence
    effect: float = 0.0
    """Absolute logarithm of the ratio; 0 where nothing is compared."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Section(abc.ABC):
    """A suite's rows and comparisons. A view is a subclass."""

    run: Run
    suite: SuiteDescription
    rows: list[Row]
    comparisons: dict[str, Comparison]
    """By the variant's case."""
    families: Mapping[str, Mapping[str, Comparison]]
    """The comparisons of every suite of the run, by its name."""

    quantity: ClassVar[str] = "×"
    """What a ratio of its comparisons is, in the heading of its column: times the images/s of the base."""

    @abc.abstractmethod
    def answer(self) -> list[Sentence]:
        """The answers to the suite's question, of which at least one row has figures."""

    @abc.abstractmethod
    def draw(self) -> Picture:
        """The picture that carries the answer; at least one row has figures."""

    @abc.abstractmethod
    def findings(self) -> list[Finding]:
        """The sentences that may stand first in a report."""

    @property
    def shows_costs(self) -> bool:
        """Whether the short table has what a step takes: where no ratio says it."""
        return not self.comparisons

    def too_few_processes(self) -> list[Comparison]:
        """The comparisons that rest on too few processes for a verdict, and whose ratios are shown all the same."""
        return []

    @property
    def is_measured(self) -> bool:
        """Whether any row has figures."""
        return any(row.images_per_second for row in self.rows)

    def answers(self) -> list[Sentence]:
        """The answers to the suite's question, or why there is none."""
        return self.answer() if self.is_measured else [NoAnswer("none of its cases could be measured.")]

    def picture(self) -> Picture | None:
        """The picture that carries the answer; None where nothing was measured."""
        return self.draw() if self.is_measured else None

    def title(self) -> str:
        """The answer in a sentence short enough for a picture: the first answer, else the best speed."""
        answer = next((answer for answer in self.answers() if not isinstance(answer, NoAnswer)), None)
        if answer is None and (best := self.best()):
            answer = throughput(self.named(best, whole=True), best)
        if answer is None:
            return "None of these cases did the work that was asked for"
        return " ".join(answer).partition(". ")[0].rstrip(".")

    def full_table(self) -> Grid:
        """All that is known of the suite's rows, with what they are compared to."""
        measured = [*self._field_columns(), *columns.SPEED, *columns.STEPS]
        compared = columns.comparison_columns(self.comparisons, self.base, self.quantity)
        others = [*columns.EXCHANGE, *columns.work_columns(self.rows), *columns.START, *columns.OUTCOME]
        return grid([*measured, *compared, *others], self.rows, f"{self.suite.name}, all columns")

    def short_table(self) -> Grid:
        """The handful of columns that answer the suite's question; what all rows share is said once."""
        shared, varied = shared_columns(self._field_columns(), self.rows)
        spread = [] if any(map(speed_interval, self.rows)) else [columns.TURNS]
        compared = columns.comparison_columns(self.comparisons, self.base)[:3]
        costs = columns.COST if self.shows_costs else ()
        shown = [*varied, *columns.SPEED, *spread, *compared, *costs, columns.FAILED]
        return grid(shown, self.rows, self.suite.name, shared)

    @property
    def picture_name(self) -> str:
        """The suite's name, with its digest where a file may not be called so."""
        name = self.suite.name
        slug = picture_name(name[:60])
        return slug if slug and slug == name else f"{slug or 'suite'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

    @property
    def compares_sources(self) -> bool:
        """Whether base and variant are of one configuration."""
        return self.suite.varies == SOURCE or self.suite.compares_identical_code

    @property
    def base(self) -> str:
        """The base of the comparisons in words."""
        return "itself" if self.suite.compares_identical_code else self._setting(self.suite.base)

    def row(self, case: str) -> Row:
        return self.run.row_of[case]

    def config(self, row: Row) -> StepConfig:
        return self.run.configs[row.case]

    def varied(self, row: Row) -> Any:
        """The value of the field that the suite varies; its source where that varies; None where nothing does."""
        if self.compares_sources:
            return row.source
        return getattr(self.config(row), self.suite.varies) if self.suite.varies else None

    def value(self, row: Row) -> str:
        """The varied value in words that need no heading; empty where nothing varies."""
        return self._setting(self.varied(row))

    def which(self, comparison: Comparison) -> str:
        """The variant in as few words as tell it from the section's others."""
        row = self.row(comparison.variant)
        alone = sum(self.value(self.row(variant)) == self.value(row) for variant in self.comparisons) == 1
        value = "identical code" if self.suite.compares_identical_code else self.value(row)
        return value if alone else f"{value}, {self.named(row)},"

    def judged(self, comparison: Comparison) -> str:
        """eager is SLOWER than graph, 0.67× (0.64–0.70)"""
        figures = f", {ratio_in_words(comparison)}" if comparison.ratio is not None else ""
        return f"{self.which(comparison)} {relation(comparison)} {self.base}{figures}"

    def best(self) -> Row | None:
        """The fastest row of those that count."""
        return max(filter(counts, self.rows), key=speed, default=None)

    def named(self, row: Row, *, whole: bool = False) -> str:
        """The row in words: its fields, with the one that the suite varies only in the `whole`."""
        return ", ".join(self.words(row, whole=whole))

    def words(self, row: Row, *, whole: bool = False) -> list[str]:
        """As `named`, field by field."""
        config, varies = self.config(row), self.suite.varies
        words = [setting_words(field, getattr(config, field)) for field in self.fields if whole or field != varies]
        return [*words, f"from {row.source}"] if row.source and not self.compares_sources else words

    @functools.cached_property
    def fields(self) -> list[str]:
        """The fields that describe the rows: every sweep's axes, and what differs or is not at its default."""
        names = [field.name for field in dataclasses.fields(StepConfig) if field.name not in AXES]
        return [*AXES, *filter(self._describes, names)]

    def _describes(self, field: str) -> bool:
        if field in _OF_THE_RUN:
            return len({getattr(config, field) for config in self.run.configs.values()}) > 1
        values = {getattr(self.config(row), field) for row in self.rows}
        return len(values) > 1 or values != {getattr(StepConfig, field)}

    def _setting(self, value: Any) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        return setting_words(str(self.suite.varies), value)

    def _field_columns(self) -> list[Column[Row]]:
        def column(field: str) -> Column[Row]:
            is_text = isinstance(getattr(StepConfig, field), str | bool)
            return Column(field_words(field), lambda row: value_words(getattr(self.config(row), field)), text=is_text)

        return [*map(column, self.fields), Column("source", lambda row: row.source, text=True)]
