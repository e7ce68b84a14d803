"""Gates: what makes a command end with GATE_FAILED, by the cases that it fails on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from gnet_core.config import GnetError
from gnet_core.plan.suites import SOURCE
from gnet_core.results import comparisons
from gnet_core.results.comparisons import Between, other_work, within
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import Comparison

_OF_SOURCES = ("slower", "unresolved")
"""Gates that look, within a run, at the verdicts between its sources and at no others."""

NOTHING = "nothing was compared"
"""Stands for the cases of every gate where there is no comparison: what looked at nothing has not held."""


def require_sources(gates: Sequence[str], *, compared: bool) -> None:
    """Raise GnetError for a gate that could never fail, since no sources are compared."""
    idle = [gate for gate in gates if gate in _OF_SOURCES]
    if idle and not compared:
        raise GnetError(
            f"fail_on: {idle[0]!r} is about sources that are compared, and this run compares none; "
            "compare two (--against REV, or --python twice), or leave it out"
        )


def failed_in(run: Run, gates: Sequence[str]) -> dict[str, list[str]]:
    """By gate that fails, the cases of the run on which it does. Raises GnetError for a gate that could never fail."""
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
    missing = [*unfinished, *without_base, *beside_unsupported]
    failed = _failed(gates, run, run, judged, compared, missing)
    return failed if not source_suites else _with_idle(failed, gates, judged)


def failed_between(
    base: Run, new: Run, between: Between, gates: Sequence[str], again: Mapping[str, Comparison] | None = None
) -> dict[str, list[str]]:
    """The cases that each gate fails on where `new` is compared with `base`; a gate that holds is left out. `again` are
    the comparisons of cases that were measured again, whose verdicts count in place of the first.
    """
    compared = list(between.family.comparisons.values())
    judged = [dataclasses.replace((again or {}).get(first.variant, first), variant=first.variant) for first in compared]
    configured = {case.case for case in base.document.cases}
    missing = [*between.only_base, *(case for case in between.only_new if case in configured)]
    return _with_idle(_failed(gates, base, new, judged, compared, missing), gates, compared)


def failures(run: Run) -> list[Row]:
    """Rows that should have had figures. A batch too large for the memory is a finding where a smaller one fitted."""
    fitted = [((row.execution, row.precision), row.batch_size) for row in run.rows if row.status == "ok"]

    def failed(row: Row) -> bool:
        smaller = (axes == (row.execution, row.precision) and size < row.batch_size for axes, size in fitted)
        return row.status in ("failed", "timeout") or (row.status == "oom" and not any(smaller))

    return list(filter(failed, run.rows))


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


def _with_idle(
    failed: dict[str, list[str]], gates: Sequence[str], judged: Iterable[Comparison]
) -> dict[str, list[str]]:
    """The gates that failed, and all the others where no pair of cases could be compared."""
    if any(comparison.ratio is not None for comparison in judged):
        return failed
    return {gate: failed.get(gate, [NOTHING]) for gate in gates}
