"""A suite of a run, answered: the base of the views, each of which owns what differs between kinds of question."""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import re
from enum import IntEnum
from typing import Any, NamedTuple

from gnet_core.config import StepConfig
from gnet_core.plan.suites import AXES, SOURCE, SuiteDescription
from gnet_core.report.document import Sentence
from gnet_core.report.drawing import Picture
from gnet_core.report.fields import field_words, is_text, setting_words, value_words
from gnet_core.report.grid import Column, Grid, grid, shared_columns
from gnet_core.report.views import columns
from gnet_core.report.views.answers import NoAnswer, counts, speed, speed_interval, throughput
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import plain

_OF_THE_RUN = ("image_size", "device", "seed", "classes")
"""Fields that the head of a report tells of the whole run, and a row only where they differ within it."""


class Rank(IntEnum):
    """Which findings come first where not all can be told."""

    SPEED = 0
    DECIDED = 1
    SCALING = 2
    TRACED = 3
    PARTS = 4
    COST = 5
    SAME = 6
    UNRESOLVED = 7
    TOO_FEW = 8
    SAME_CODE = 9
    FURTHER = 10


class Finding(NamedTuple):
    """A sentence that may stand first in a report."""

    rank: Rank
    sentence: Sentence
    effect: float = 0.0
    """By how much the two differ, as a logarithm without sign; 0 where nothing is compared."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Section(abc.ABC):
    """A suite's rows and comparisons, and what a report says of them. A view is a subclass."""

    run: Run
    suite: SuiteDescription
    rows: list[Row]
    comparisons: dict[str, Comparison]
    """By the variant's case."""

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
    def tells_costs(self) -> bool:
        """Whether the short table has what a step takes: where no ratio says it."""
        return not self.comparisons

    def too_few_processes(self) -> list[Comparison]:
        """The comparisons whose ratios are told, although they rest on too few processes for a verdict."""
        return []

    def answers(self) -> list[Sentence]:
        """The answers to the suite's question, or why there is none."""
        if not any(row.images_per_second for row in self.rows):
            return [NoAnswer("none of its cases could be measured.")]
        return self.answer()

    def picture(self) -> Picture | None:
        """The picture that carries the answer; None where nothing was measured."""
        return self.draw() if any(row.images_per_second for row in self.rows) else None

    def title(self) -> str:
        """The answer in a sentence short enough for a picture: the first answer, else the best speed."""
        answered = next((each for each in self.answers() if not isinstance(each, NoAnswer)), None)
        if answered is None and (best := self.best()):
            answered = throughput(self.named(best, whole=True), best)
        if answered is None:
            return "None of these cases did the work that was asked for"
        return " ".join(answered).partition(". ")[0].rstrip(".")

    def full_table(self) -> Grid:
        """All that is known of the suite's rows, with what they are compared to."""
        shown = [
            *self._field_columns(),
            *columns.SPEED,
            *columns.STEPS,
            *columns.comparison_columns(self.comparisons, self.base),
            *columns.work_columns(self.rows),
            *columns.START,
            *columns.OUTCOME,
        ]
        return grid(shown, self.rows, f"{self.name}, all columns")

    def short_table(self) -> Grid:
        """The handful of columns that answer the suite's question; what all rows share is told once."""
        shared, varied = shared_columns(self._field_columns(), self.rows)
        shown = [
            *varied,
            *columns.SPEED,
            *([] if any(map(speed_interval, self.rows)) else [columns.TURNS]),
            *columns.comparison_columns(self.comparisons, self.base)[:3],
            *(columns.COST if self.tells_costs else ()),
            columns.FAILED,
        ]
        return dataclasses.replace(grid(shown, self.rows, self.name), shared=plain(shared))

    @property
    def name(self) -> str:
        return self.suite.name

    @property
    def picture_name(self) -> str:
        """The suite's name, with its digest where a file may not be called so."""
        slug = re.sub(r"[^A-Za-z0-9]+", "-", self.name[:60]).strip("-")
        if slug and slug == self.name:
            return slug
        return f"{slug or 'suite'}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"

    @property
    def varies(self) -> str | None:
        """The field of StepConfig that the suite varies, or plan.suites.SOURCE."""
        return self.suite.varies

    @property
    def compares_identical_code(self) -> bool:
        return self.suite.compares_identical_code

    @property
    def compares_sources(self) -> bool:
        """Whether base and variant are of one configuration."""
        return self.varies == SOURCE or self.compares_identical_code

    @property
    def base(self) -> str:
        """What the others are compared with."""
        if self.compares_identical_code:
            return "itself"
        return self._setting(self.suite.base)

    def row(self, case: str) -> Row:
        return self.run.row_of[case]

    def config(self, row: Row) -> StepConfig:
        return self.run.configs[row.case]

    def is_whole(self, row: Row) -> bool:
        """Whether its step is a whole one with all its losses, on the largest images that the run has."""
        config = self.config(row)
        largest = max(other.image_size for other in self.run.configs.values())
        return config.part == "train" and config.aux_weight > 0 and config.image_size == largest

    def varied(self, row: Row) -> Any:
        """The value of the field that the suite varies; its source where that varies; None where nothing does."""
        if self.compares_sources:
            return row.source
        return getattr(self.config(row), self.varies) if self.varies else None

    def value(self, row: Row) -> str:
        """The same in words that need no heading; empty where nothing varies."""
        return self._setting(self.varied(row))

    def best(self) -> Row | None:
        """The fastest row of those that count."""
        return max(filter(counts, self.rows), key=speed, default=None)

    def named(self, row: Row, *, whole: bool = False) -> str:
        """The row in words: its fields but for the one that the suite varies, unless the whole is asked for."""
        return ", ".join(self.words(row, whole=whole))

    def words(self, row: Row, *, whole: bool = False) -> list[str]:
        """The same, field by field."""
        config = self.config(row)
        words = [setting_words(field, getattr(config, field)) for field in self.fields if whole or field != self.varies]
        return [*words, f"from {row.source}"] if row.source and not self.compares_sources else words

    @functools.cached_property
    def fields(self) -> list[str]:
        """The fields of StepConfig that the suite's rows are told by: the axes of every sweep, whatever differs between
        its rows, and what is not at its default.
        """
        names = [field.name for field in dataclasses.fields(StepConfig) if field.name not in AXES]
        return [*AXES, *filter(self._is_told, names)]

    def _is_told(self, field: str) -> bool:
        values = {getattr(self.config(row), field) for row in self.rows}
        if field in _OF_THE_RUN:
            return len({getattr(config, field) for config in self.run.configs.values()}) > 1
        return len(values) > 1 or values != {getattr(StepConfig, field)}

    def _setting(self, value: Any) -> str:
        """A value of what the suite varies, in words that need no heading."""
        if value is None or isinstance(value, str):
            return value or ""
        return setting_words(str(self.varies), value)

    def _field_columns(self) -> list[Column[Row]]:
        def of(field: str) -> Column[Row]:
            return Column(
                field_words(field), lambda row: value_words(getattr(self.config(row), field)), text=is_text(field)
            )

        return [*map(of, self.fields), Column("source", lambda row: row.source, text=True)]
