"""The suites of a run as sections of a report, each by the view that it declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gnet_core.plan.suites import ViewName
from gnet_core.report.views.comparison import ComparisonView
from gnet_core.report.views.parts import PartsView
from gnet_core.report.views.scaling import ScalingView
from gnet_core.report.views.section import Section
from gnet_core.report.views.speed import SpeedView
from gnet_core.results import comparisons
from gnet_core.results.comparisons import Family
from gnet_core.results.records import Run

_VIEWS: Mapping[ViewName, type[Section]] = {
    "comparison": ComparisonView,
    "scaling": ScalingView,
    "parts": PartsView,
    "speed": SpeedView,
}


def sections(run: Run, families: Sequence[Family] | None = None) -> list[Section]:
    """The suites of a run that have rows, in the run's order; `families` are the run's comparisons, where known."""
    families = comparisons.within(run) if families is None else families
    by_suite = {family.suite: family.comparisons for family in families}
    result = []
    for suite in run.document.suites:
        compared = by_suite.get(suite.name, {})
        cases = {*compared, *(comparison.base for comparison in compared.values())}
        rows = [row for row in run.rows if row.case in cases or suite.name in row.suite.split("+")]
        if rows:
            result.append(_VIEWS[suite.view](run=run, suite=suite, rows=rows, comparisons=compared))
    return result
