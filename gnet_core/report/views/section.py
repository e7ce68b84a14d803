"""A suite of a run with what its part of a report is made of: its rows, its comparisons, and how they are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gnet_core.config import StepConfig
from gnet_core.results import comparisons
from gnet_core.results.comparisons import Family
from gnet_core.results.records import AA_SUITE, Row, Run
from gnet_core.stats.verdicts import Comparison

_NAMED_FIELDS = ("framework", "part", "aux_weight", "layers", "data")
"""Of StepConfig, besides the axes: told only where they are not the default."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """What a report says of one suite is made of this."""

    run: Run
    suite: dict[str, Any]
    """As run.json has it."""
    rows: list[Row]
    comparisons: dict[str, Comparison]
    """By the variant's case."""

    @property
    def name(self) -> str:
        return str(self.suite["name"])

    @property
    def varies(self) -> str | None:
        found: str | None = self.suite["varies"]
        return found

    def row(self, case: str) -> Row:
        return self.run.row_of[case]

    def value(self, row: Row) -> str:
        """Of the field that the suite varies."""
        if self.varies is None:
            return ""
        return row.source if self.varies == "source" else str(getattr(self.run.configs[row.case], self.varies))

    @property
    def base(self) -> str:
        """What the others are compared with."""
        if self.name == AA_SUITE:
            return "itself"
        base = self.suite["base"]
        return base if isinstance(base, str) else f"{self.varies} {base}"

    def named(self, row: Row, *, whole: bool = False) -> str:
        """The row by its axes, but for the one that the suite varies, unless the whole is asked for."""
        config = self.run.configs[row.case]
        words = {"execution": row.execution, "precision": row.precision, "batch_size": f"batch {row.batch_size}"}
        for field in _NAMED_FIELDS:
            value = getattr(config, field)
            if value != getattr(StepConfig, field):
                words[field] = f"{field} {value}"
        if row.source:
            words["source"] = f"from {row.source}"
        return ", ".join(word for field, word in words.items() if whole or field != self.varies)


def sections(run: Run, families: Sequence[Family] | None = None) -> list[Section]:
    """The suites of a run that have rows, in the run's order; `families` are the run's comparisons, where known."""
    families = comparisons.within(run) if families is None else families
    by_suite = {family.suite: family.comparisons for family in families}
    found = []
    for suite in run.document["suites"]:
        compared = by_suite.get(suite["name"], {})
        involved = {*compared, *(each.base for each in compared.values())}
        named = {row.case for row in run.rows if suite["name"] in row.suite.split("+")}
        rows = [row for row in run.rows if row.case in involved | named]
        if rows:
            found.append(Section(run=run, suite=suite, rows=rows, comparisons=compared))
    return found
