"""Comparisons, findings and doubts of a run, worked out once for every form of its report."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

from gnet_core.config import FRAMEWORKS, GnetError
from gnet_core.machine import overview
from gnet_core.plan.suites import ViewName
from gnet_core.profile.document import Profile, read
from gnet_core.report import checks
from gnet_core.report.document import Sentence
from gnet_core.report.findings import findings
from gnet_core.report.views.answers import DIFFERENT, processes_in_words
from gnet_core.report.views.comparison import ComparisonView
from gnet_core.report.views.parts import PartsView
from gnet_core.report.views.scaling import ScalingView, SpeedView
from gnet_core.report.views.section import Section
from gnet_core.results.comparisons import Family, within
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison

MAX_DISTURBED = 0.2
"""Share of a case's turns. Beyond it, its figures are those of a machine that was busy with something else as well."""

_VIEWS: Mapping[ViewName, type[Section]] = {
    "comparison": ComparisonView,
    "scaling": ScalingView,
    "parts": PartsView,
    "speed": SpeedView,
}


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
                sections.append(_VIEWS[suite.view](run=self.run, suite=suite, rows=rows, comparisons=comparisons))
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
        return checks.failed_checks(self.run, self.families)

    @functools.cached_property
    def sequential(self) -> list[Comparison]:
        """The comparisons of processes that were timed one after the other."""
        comparisons = (comparison for family in self.families for comparison in family.comparisons.values())
        return [comparison for comparison in comparisons if comparison.mode == "sequential"]

    @functools.cached_property
    def reservations(self) -> list[str]:
        """Every reason against quoting the run's figures. (That no A/A comparison was run is none.)"""
        measured = [row for row in self.run.rows if row.status == "ok"]
        why = []
        if self.run.document.preset == "smoke":
            why.append("the preset smoke only shows that everything works, it measures nothing")
        if not self.run.document.complete:
            why.append("the run was interrupted")
        if not measured:
            why.append("nothing was measured")
        elif (fewest := min(row.replicates for row in measured)) < MIN_PROCESSES:
            processes = processes_in_words(fewest)
            why.append(f"they rest on {processes} a case, so how far the next process would differ is unknown")
        why += _doubtful_rows(measured)
        for family in self.families:
            verdicts = [comparison.verdict for comparison in family.comparisons.values() if family.identical_code]
            why += [f"identical code against itself came out {verdict}" for verdict in verdicts if verdict in DIFFERENT]
        if failed := self.failed_checks:
            why.append(f"{len(failed)} of the report's own checks failed, of which the first: {failed[0].rstrip('.')}")
        return why

    @functools.cached_property
    def machine(self) -> str:
        """The machine and what was measured on it, each framework with its version, in one line."""
        document = self.run.document
        measured = {config.framework for config in self.run.configs.values()} or {document.environment.leading}
        versions = [document.environment_of(name).version(name) for name in FRAMEWORKS if name in measured]
        return ", ".join(filter(None, [overview.label(document.environment, document.device), *versions]))


def _doubtful_rows(measured: list[Row]) -> list[str]:
    def is_disturbed(row: Row) -> bool:
        return row.disturbed_turns > MAX_DISTURBED * (row.samples + row.voided_samples)

    doubts = {
        "a loss was not finite, and speed counts only at equal work": lambda row: not row.finite,
        "other losses than float32's, and speed counts only at equal work": lambda row: row.equal_work is False,
        "every step was delayed to test the suite": lambda row: row.delay_seconds,
        "no steady state, its time still changed over the run": lambda row: row.drift is not None,
        f"more than {MAX_DISTURBED:.0%} of its turns were disturbed": is_disturbed,
    }
    reasons = []
    for why, applies in doubts.items():
        if cases := [row.case for row in measured if applies(row)]:
            more = f" and {len(cases) - 3} more" if len(cases) > 3 else ""
            reasons.append(f"{why} ({', '.join(cases[:3])}{more})")
    return reasons
