"""Comparisons, findings and doubts of a run, worked out once for every form of its report."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gnet_core.config import FRAMEWORKS, GnetError
from gnet_core.machine import overview
from gnet_core.plan.suites import ViewName
from gnet_core.profile.document import Profile, read
from gnet_core.report import checks, reservations
from gnet_core.report.document import Sentence
from gnet_core.report.findings import findings
from gnet_core.report.reservations import Doubt
from gnet_core.report.views.across import AcrossView
from gnet_core.report.views.comparison import ComparisonView
from gnet_core.report.views.devices import DevicesView
from gnet_core.report.views.input_pipeline import InputView
from gnet_core.report.views.parts import PartsView
from gnet_core.report.views.scaling import ScalingView, SpeedView
from gnet_core.report.views.section import Section
from gnet_core.results.comparisons import Family, within
from gnet_core.results.records import Run
from gnet_core.stats.verdicts import Comparison

_VIEWS: Mapping[ViewName, type[Section]] = {
    "comparison": ComparisonView,
    "scaling": ScalingView,
    "devices": DevicesView,
    "parts": PartsView,
    "speed": SpeedView,
    "input": InputView,
    "across": AcrossView,
}


class Judged(NamedTuple):
    """A comparison, and the section that has the words for it."""

    section: Section
    comparison: Comparison


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """A run with its comparisons, findings and doubts. Each is worked out when it is first needed, and once."""

    run: Run

    @functools.cached_property
    def families(self) -> list[Family]:
        return within(self.run)

    @functools.cached_property
    def sections(self) -> list[Section]:
        """The suites that have rows, in the run's order, each by the view that it declares."""
        by_suite = {family.suite: family.comparisons for family in self.families}
        sections = []
        for suite in self.run.document.suites:
            comparisons = by_suite.get(suite.name, {})
            cases = {*comparisons, *(comparison.base for comparison in comparisons.values())}
            rows = [row for row in self.run.rows if row.case in cases or suite.name in row.suite.split("+")]
            if rows:
                view = _VIEWS[suite.view]
                sections.append(view(run=self.run, suite=suite, rows=rows, comparisons=comparisons, families=by_suite))
        return sections

    @functools.cached_property
    def findings(self) -> list[Sentence]:
        return findings(self.sections, self.profiles[0])

    @functools.cached_property
    def profiles(self) -> tuple[list[Profile], list[str]]:
        """The run's traces, and a sentence for each trace that cannot be read."""
        profiles, failed = [], []
        for document in self.run.profiles:
            try:
                profiles.append(read(document))
            except GnetError as error:
                failed.append(f"A profile.json in traces/ cannot be told: {error}")
        return profiles, failed

    @functools.cached_property
    def failed_checks(self) -> list[str]:
        """Each of the report's own checks that failed, in a sentence, first those that speak against all of the run."""
        return [*self._failed_of_run, *(f"{case}: {text}" for case, text in checks.unproven_work(self.run))]

    @functools.cached_property
    def _failed_of_run(self) -> list[str]:
        return checks.failed_checks(self.run, self.families)

    @functools.cached_property
    def sequential(self) -> list[Comparison]:
        """The comparisons of processes that were timed one after the other."""
        comparisons = (comparison for family in self.families for comparison in family.comparisons.values())
        return [comparison for comparison in comparisons if comparison.mode == "sequential"]

    @functools.cached_property
    def faults(self) -> list[str]:
        """Reasons against quoting any of the run's figures."""
        return list(reservations.faults(self.run, self.families, self._failed_of_run))

    @functools.cached_property
    def doubts(self) -> list[Doubt]:
        """Reasons against quoting figures of some cases."""
        return reservations.doubts(self.run)

    @property
    def reservations(self) -> list[str]:
        """Every reason against quoting the run's figures."""
        return [*self.faults, *map(str, self.doubts)]

    @functools.cached_property
    def quotable(self) -> list[Judged]:
        """The comparisons that are settled and that nothing speaks against."""
        judged = [] if self.faults else self._judged()
        return [item for item in judged if item.comparison.verdict != "UNRESOLVED"]

    @functools.cached_property
    def open(self) -> list[Judged]:
        """The comparisons that a run until resolved left open; a fixed number of processes leaves none."""
        judged = self._judged() if self.run.document.until == "resolved" else []
        return [item for item in judged if item.comparison.verdict == "UNRESOLVED"]

    def _judged(self) -> Iterator[Judged]:
        """The comparisons of cases that were measured and are not in doubt."""
        doubtful = {case for doubt in self.doubts for case in doubt.cases}
        for section in self.sections:
            for comparison in section.comparisons.values():
                cases = comparison.base, comparison.variant
                if all(section.row(case).status == "ok" and case not in doubtful for case in cases):
                    yield Judged(section, comparison)

    @functools.cached_property
    def machine(self) -> str:
        """The machine and what was measured on it, each framework with its version, in one line."""
        document = self.run.document
        measured = {config.framework for config in self.run.configs.values()} or {document.environment.leading}
        versions = [document.environment_of(name).version(name) for name in FRAMEWORKS if name in measured]
        return ", ".join(filter(None, [overview.label(document.environment, document.device), *versions]))
