"""Reasons against quoting figures of a run: faults of all of it, and doubts about some of its cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gnet_core.report import checks
from gnet_core.report.views.answers import DIFFERENT, processes_in_words
from gnet_core.results.comparisons import Family
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import MIN_PROCESSES

MAX_DISTURBED = 0.2
"""Share of a case's turns. Beyond it, its figures are those of a machine that was busy with something else as well."""

_MAX_NAMED = 3  # cases of a doubt; more are counted


class Doubt(NamedTuple):
    """A reason against quoting the figures of some cases."""

    why: str
    cases: list[str]

    def __str__(self) -> str:
        more = f" and {len(self.cases) - _MAX_NAMED} more" if len(self.cases) > _MAX_NAMED else ""
        return f"{self.why} ({', '.join(self.cases[:_MAX_NAMED])}{more})"


def faults(run: Run, families: Sequence[Family], failed_checks: Sequence[str]) -> Iterator[str]:
    """Reasons against quoting any of the run's figures. (That no A/A comparison was run is none.)"""
    document, measured = run.document, _measured(run)
    if document.preset == "smoke":
        yield "the preset smoke only shows that everything works, it measures nothing"
    if not document.complete and document.until == "fixed":  # repeated intervals hold whatever ended the run
        yield "the run was interrupted"
    if not measured:
        yield "nothing was measured"
    elif all(map(_rests_on_too_few, measured)):
        processes = processes_in_words(min(row.replicates for row in measured))
        yield f"they rest on {processes} a case, so how far the next process would differ is unknown"
    for family in families:
        for comparison in family.comparisons.values():
            if family.identical_code and comparison.verdict in DIFFERENT:
                yield f"identical code against itself came out {comparison.verdict}"
    if failed_checks:
        number, first = len(failed_checks), failed_checks[0].rstrip(".")
        yield f"{number} of the report's own checks failed, of which the first: {first}"


def doubts(run: Run) -> list[Doubt]:
    """Reasons against quoting figures of some cases, each once with its cases."""
    measured = _measured(run)
    few = f"fewer than {MIN_PROCESSES} processes measured it, so how far the next would differ is unknown"
    tests = {
        few: lambda row: _rests_on_too_few(row) and not all(map(_rests_on_too_few, measured)),
        "a loss was not finite, and speed counts only at equal work": lambda row: not row.finite,
        "other losses than float32's, and speed counts only at equal work": lambda row: row.equal_work is False,
        "every step was delayed to test the suite": lambda row: row.delay_seconds,
        "no steady state, its time still changed over the run": lambda row: row.drift is not None,
        f"more than {MAX_DISTURBED:.0%} of its turns were disturbed": _was_disturbed,
    }
    cases_by_reason = {why: [row.case for row in measured if applies(row)] for why, applies in tests.items()}
    for case, text in checks.unproven_work(run):
        cases_by_reason.setdefault(text.rstrip("."), []).append(case)
    return [Doubt(why, cases) for why, cases in cases_by_reason.items() if cases]


def _measured(run: Run) -> list[Row]:
    return [row for row in run.rows if row.status == "ok"]


def _rests_on_too_few(row: Row) -> bool:
    return row.replicates < MIN_PROCESSES


def _was_disturbed(row: Row) -> bool:
    return row.disturbed_turns > MAX_DISTURBED * (row.samples + row.voided_samples)
