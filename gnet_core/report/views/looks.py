"""The looks at a suite's comparisons while they were measured, as a table: how each verdict came about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gnet_core.report.grid import Cell, Column, Grid, grid, ratio, ratio_interval
from gnet_core.report.views.section import Section
from gnet_core.results.run_document import LookAtComparison
from gnet_core.stats.sequential import ERROR, spent_share
from gnet_core.text import number


class _Seen(NamedTuple):
    """A comparison as it stood at a look."""

    comparison: str
    stood: LookAtComparison
    max_looks: int


def table(section: Section) -> Grid:
    """A line a look at each comparison, to the one that settled it; none where the run was not looked at."""
    columns = [
        Column[_Seen]("comparison", lambda seen: seen.comparison, text=True),
        Column[_Seen]("n", lambda seen: f"{seen.stood.pairs} of {seen.max_looks}"),
        Column[_Seen](f"{section.quantity} {section.base}", lambda seen: ratio(seen.stood)),
        Column[_Seen](f"repeated 95 % of {section.quantity}", lambda seen: ratio_interval(seen.stood)),
        Column[_Seen]("repeated p", lambda seen: number(seen.stood.p_value, "{:.2g}")),
        Column[_Seen]("verdict", lambda seen: Cell(seen.stood.verdict, seen.stood.verdict), text=True),
        Column[_Seen]("spent error", lambda seen: f"{ERROR * spent_share(seen.stood.pairs, seen.max_looks):.2%}"),
    ]
    seen = [line for variant in section.comparisons for line in _looks_at(section, variant)]
    return grid(columns, seen, f"{section.suite.name}, look by look")


def _looks_at(section: Section, variant: str) -> Iterator[_Seen]:
    document, pairs = section.run.document, 0
    for look in document.looks if document.max_looks else ():
        for stood in look.comparisons:
            # A settled comparison is measured no more, so that later looks see what this one saw.
            if (stood.suite, stood.variant) == (section.suite.name, variant) and stood.pairs > pairs:
                pairs = stood.pairs
                yield _Seen(section.which(section.comparisons[variant]), stood, document.max_looks or 0)
