"""Gates: what makes a command end with GATE_FAILED, by the cases that it fails on, and what rules excuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from gnet_core.config import GnetError
from gnet_core.plan.suites import SOURCE
from gnet_core.results import comparisons
from gnet_core.results.comparisons import Between, other_work, within
from gnet_core.results.records import Row, Run
from gnet_core.results.rules import NO_RULES, Margin, Rules, Waiver
from gnet_core.stats.verdicts import Comparison

_OF_SOURCES = ("slower", "unresolved")
"""Gates that look, within a run, at the verdicts between its sources and at no others."""

NOTHING = "nothing was compared"
"""Stands for the cases of every gate where there is no comparison: what looked at nothing has not held."""

EXPIRED_WAIVER = "expired-waiver"
"""The gate that fails on each waiver that has expired, whichever others were asked for, so that no forgotten waiver
carries a pipeline."""


class Excused(NamedTuple):
    """A gate that would have failed on a case, and the rule that keeps it from failing."""

    gate: str
    case: str
    rule: Waiver | Margin

    @property
    def why(self) -> str:
        return str(self.rule) if isinstance(self.rule, Waiver) else f"not for certain beyond {self.rule}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateResult:
    """What the gates of a command came to."""

    failed: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """By gate that fails, the cases on which it does; a gate that holds is left out."""
    judged: Mapping[str, Comparison] = dataclasses.field(default_factory=dict)
    """The comparisons that `slower` and `unresolved` look at, by the variant's case."""
    margins: Mapping[str, Margin] = dataclasses.field(default_factory=dict)
    """The margins of their own that these cases have for the gate `slower`, by case."""
    excused: Sequence[Excused] = ()
    unmatched: Sequence[Waiver] = ()
    """Waivers in force that match no case."""

    def failed_on(self, case: str) -> list[str]:
        """The gates that failed on a case."""
        return [gate for gate, cases in self.failed.items() if case in cases]

    def excused_on(self, case: str) -> list[Excused]:
        """The gates that rules kept from failing on a case."""
        return [item for item in self.excused if item.case == case]


def require_sources(gates: Sequence[str], *, compared: bool) -> None:
    """Raise GnetError for a gate that could never fail, since no sources are compared."""
    idle = [gate for gate in gates if gate in _OF_SOURCES]
    if idle and not compared:
        raise GnetError(
            f"fail_on: {idle[0]!r} is about sources that are compared, and this run compares none; "
            "compare two (--against REV, --set, --sources, or --python twice), or leave it out"
        )


def check_run(run: Run, gates: Sequence[str], rules: Rules = NO_RULES) -> GateResult:
    """The gates on the cases of a run. Raises GnetError for a gate that could never fail."""
    source_suites = [suite for suite in run.document.suites if suite.varies == SOURCE]
    require_sources(gates, compared=bool(source_suites))
    names = {suite.name for suite in source_suites}
    by_family = [(family.suite, list(family.comparisons.values())) for family in within(run)]
    compared = [comparison for _suite, cases in by_family for comparison in cases]
    judged = [comparison for suite, cases in by_family if suite in names for comparison in cases]
    unfinished = [case.case for case in run.document.cases if case.status is None]
    without_base = [
        row.case
        for suite in source_suites or run.document.suites
        for row in run.rows
        if (wanted := comparisons.wanted_base(run, suite, row)) and wanted not in run.row_of_config
    ]
    # What one source measures and another cannot has nothing to be compared with either.
    beside_unsupported = [
        row.case
        for suite in source_suites
        for row in run.rows
        if row.status == "ok" and (base := comparisons.base_row(run, suite, row)) and base.status == "unsupported"
    ]
    # A source that was asked for and could not be measured has none of its cases.
    unmeasured = {one.name for one in run.document.sources if one.missing}
    of_unmeasured = [row.case for row in run.rows if row.source in unmeasured]
    missing = [*unfinished, *without_base, *beside_unsupported, *of_unmeasured]
    failed = _failed(gates, run, run, judged, compared, missing)
    idle = bool(source_suites) and _is_idle(judged)
    return under_rules(failed, gates, rules, [case.case for case in run.document.cases], judged, idle=idle)


def check_between(
    base: Run,
    new: Run,
    between: Between,
    gates: Sequence[str],
    rules: Rules = NO_RULES,
    again: Mapping[str, Comparison] | None = None,
) -> GateResult:
    """The gates on the cases of two runs, where `new` is compared with `base`. `again` are the comparisons of cases
    that were measured again, whose verdicts count in place of the first.
    """
    compared = list(between.family.comparisons.values())
    judged = [dataclasses.replace((again or {}).get(first.variant, first), variant=first.variant) for first in compared]
    configured = {case.case for case in base.document.cases}
    missing = [*between.only_base, *(case for case in between.only_new if case in configured)]
    failed = _failed(gates, base, new, judged, compared, missing)
    cases = [case.case for run in (base, new) for case in run.document.cases]
    idle = _is_idle(compared) or _is_same_run(base, new, compared)
    return under_rules(failed, gates, rules, cases, judged, idle=idle)


def failures(run: Run) -> list[Row]:
    """Rows that should have had figures. A batch too large for the memory is a finding where a smaller one fitted."""
    fitted = [((row.execution, row.precision), row.batch_size) for row in run.rows if row.status == "ok"]

    def failed(row: Row) -> bool:
        smaller = (axes == (row.execution, row.precision) and size < row.batch_size for axes, size in fitted)
        return row.status in ("failed", "timeout") or (row.status == "oom" and not any(smaller))

    return list(filter(failed, run.rows))


def under_rules(
    failed: Mapping[str, Sequence[str]],
    gates: Sequence[str],
    rules: Rules,
    cases: Sequence[str],
    judged: Sequence[Comparison] = (),
    *,
    idle: bool = False,
    idle_gates: Collection[str] = (),
) -> GateResult:
    """What is left of the `gates` that `failed`, by gate with its cases, under rules. Where nothing was compared, which
    is `idle`, all of them fail, as `idle_gates` do that looked at nothing by themselves, and no rule excuses that.
    `cases` are all that there are, and `judged` is what `slower` looked at.
    """
    by_case = {comparison.variant: comparison for comparison in judged}
    left: dict[str, list[str]] = {}
    excused = []
    for gate, failing in failed.items():
        for case in failing:
            if rule := _excuse(rules, gate, case, by_case.get(case)):
                excused.append(Excused(gate, case, rule))
            else:
                left.setdefault(gate, []).append(case)
    nothing = gates if idle else idle_gates
    left = {gate: left.get(gate, [NOTHING]) for gate in gates if gate in left or gate in nothing}
    if gates and rules.expired:
        left[EXPIRED_WAIVER] = [waiver.label for waiver in rules.expired]
    return GateResult(
        failed=left,
        judged=by_case,
        margins={case: margin for case in by_case if (margin := rules.margin_of(case))},
        excused=excused,
        unmatched=rules.unmatched(cases),
    )


def _failed(
    gates: Sequence[str], base: Run, new: Run, judged: list[Comparison], compared: list[Comparison], missing: list[str]
) -> dict[str, list[str]]:
    endless = (case for case, processes in new.trajectories.items() if any(None in losses for losses in processes))
    pairs = ((base.row_of[one.base], new.row_of[one.variant]) for one in compared)
    cases: dict[str, Iterable[str]] = {
        "slower": (comparison.variant for comparison in judged if comparison.verdict == "SLOWER"),
        "missing": missing,
        "unresolved": (comparison.variant for comparison in judged if comparison.verdict == "UNRESOLVED"),
        "failed": (row.case for row in failures(new)),
        "not-finite": (*(row.case for row in new.rows if not row.finite), *endless),
        "other-work": (
            *(row.case for row in new.rows if row.equal_work is False),
            *(variant.case for row, variant in pairs if other_work(base, row, new, variant)),
        ),
    }
    by_gate = {gate: list(dict.fromkeys(cases[gate])) for gate in gates}
    return {gate: failed for gate, failed in by_gate.items() if failed}


def _is_idle(judged: Iterable[Comparison]) -> bool:
    """Whether no pair of cases could be compared."""
    return all(comparison.ratio is None for comparison in judged)


def _is_same_run(base: Run, new: Run, compared: Iterable[Comparison]) -> bool:
    """Whether one run is the other or a copy of it, so that its figures stand beside themselves. In format version 3
    the identity is the second of the start, which runs of two machines may share: their samples have to be alike too.
    """
    first, second = base.document, new.document
    if first.run != second.run:
        return False
    return first.run != first.created or all(_samples(base, one.base) == _samples(new, one.variant) for one in compared)


def _samples(run: Run, case: str) -> list[str]:
    """The samples of each process as text, in which a void one is alike to itself."""
    return [repr(process.log_seconds) for process in run.processes.get(case, ())]


def _excuse(rules: Rules, gate: str, case: str, comparison: Comparison | None) -> Waiver | Margin | None:
    """The rule that keeps a gate from failing on a case."""
    margin = rules.margin_of(case) if gate == "slower" else None
    if margin and comparison and not margin.is_exceeded(comparison):
        return margin
    return rules.waiver_of(case, gate)
