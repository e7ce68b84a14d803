"""Gates: what makes a command end with GATE_FAILED, by the cases that it fails on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gnet_core.config import GnetError
from gnet_core.plan.suites import SOURCE
from gnet_core.results import comparisons
from gnet_core.results.comparisons import Between, other_work, within
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import Comparison

_OF_SOURCES = ("slower", "unresolved")
"""Gates that are, within a run, on the verdicts between its sources, and on no others."""

NOTHING = "any comparison"
"""What is missing where not even the names of cases are known."""


def require_sources(gates: Sequence[str], *, compared: bool) -> None:
    """Raise GnetError for a gate that could never fail, since no sources are compared."""
    idle = [gate for gate in gates if gate in _OF_SOURCES]
    if idle and not compared:
        raise GnetError(
            f"fail_on: {idle[0]!r} is about sources that are compared, and this run compares none; "
            "compare two (--against REV, or --python twice), or leave it out"
        )


def failed_in(run: Run, gates: Sequence[str]) -> dict[str, list[str]]:
    """The cases that each gate fails on in a run; a gate that holds is left out.

    Raises GnetError for a gate that could never fail.
    """
    of_sources = [suite for suite in run.document.suites if suite.varies == SOURCE]
    require_sources(gates, compared=bool(of_sources))
    names = {suite.name for suite in of_sources}
    families = within(run)
    compared = [each for family in families for each in family.comparisons.values()]
    judged = [each for family in families if family.suite in names for each in family.comparisons.values()]
    unfinished = [case.case for case in run.document.cases if case.status is None]
    without_base = [
        row.case
        for suite in of_sources or run.document.suites
        for row in run.rows
        if (wanted := comparisons.wanted_base(run, suite, row)) and wanted not in run.row_of_config
    ]
    # What one source measures and another cannot has nothing to be compared with either.
    beside_unsupported = [
        row.case
        for suite in of_sources
        for row in run.rows
        if row.status == "ok" and (base := comparisons.base_row(run, suite, row)) and base.status == "unsupported"
    ]
    nothing = [NOTHING] if of_sources and not judged else []
    missing = [*unfinished, *without_base, *beside_unsupported] or nothing
    return _failed(gates, run, judged, missing, _otherwise(run, run, compared))


def failed_between(base: Run, new: Run, found: Between, gates: Sequence[str]) -> dict[str, list[str]]:
    """The cases that each gate fails on where `new` is compared with `base`; a gate that holds is left out."""
    compared = list(found.family.comparisons.values())
    configured = {case.case for case in base.document.cases}
    missing = [*found.only_base, *(case for case in found.only_new if case in configured)]
    nothing = [] if compared else [NOTHING]
    return _failed(gates, new, compared, missing or nothing, _otherwise(base, new, compared))


def failures(run: Run) -> list[Row]:
    """Rows that should have had figures. A batch too large for the memory is a finding where a smaller one fitted."""
    return [
        row
        for row in run.rows
        if row.status in ("failed", "timeout") or (row.status == "oom" and not _smaller_batch_fitted(row, run.rows))
    ]


def _failed(
    gates: Sequence[str], run: Run, judged: Sequence[Comparison], missing: list[str], otherwise: list[str]
) -> dict[str, list[str]]:
    endless = (case for case, processes in run.trajectories.items() if any(None in losses for losses in processes))
    cases: dict[str, Iterable[str]] = {
        "slower": (each.variant for each in judged if each.verdict == "SLOWER"),
        "missing": missing,
        "unresolved": (each.variant for each in judged if each.verdict == "UNRESOLVED"),
        "failed": (row.case for row in failures(run)),
        "not-finite": (*(row.case for row in run.rows if not row.finite), *endless),
        "other-work": (*(row.case for row in run.rows if row.equal_work is False), *otherwise),
    }
    by_gate = {gate: list(dict.fromkeys(cases[gate])) for gate in gates}
    return {gate: found for gate, found in by_gate.items() if found}


def _otherwise(base: Run, new: Run, compared: Iterable[Comparison]) -> list[str]:
    """Cases whose losses are not those of the same configuration that they are compared with."""
    return [
        each.variant for each in compared if other_work(base, base.row_of[each.base], new, new.row_of[each.variant])
    ]


def _smaller_batch_fitted(row: Row, rows: list[Row]) -> bool:
    return any(
        other.status == "ok"
        and other.batch_size < row.batch_size
        and (other.execution, other.precision) == (row.execution, row.precision)
        for other in rows
    )
