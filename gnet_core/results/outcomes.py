"""What a pipeline is to read of a command: one outcome a case, as test reports know them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from gnet_core.machine.differences import Difference, differences
from gnet_core.plan.request import Gate
from gnet_core.plan.suites import SOURCE
from gnet_core.results import changes, gates
from gnet_core.results.changes import Judged, Missing, Trend
from gnet_core.results.comparisons import Between
from gnet_core.results.gates import Excused, GateResult
from gnet_core.results.history import Series
from gnet_core.results.records import Row, Run
from gnet_core.results.rules import Margin, Rules, Waiver
from gnet_core.stats.changepoints import MIN_RUNS
from gnet_core.stats.verdicts import Comparison

Kind = Literal["failure", "error", "skipped", "passed"]
"""failure: a gate failed on what was measured; error: what should have been measured was not; skipped: nothing can be
said of it, or a waiver keeps a gate from failing."""

WITHOUT_FIGURES: tuple[Gate, ...] = ("missing", "failed")
"""Gates that fail on cases of which there are no figures."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a case ended, or whatever else a gate failed on."""

    case: str
    failed: Sequence[str] = ()
    """The gates that failed on it."""
    excused: Sequence[Excused] = ()
    """The gates that rules kept from failing on it."""
    note: str = ""
    """Why it has no figures, or none that can be judged."""
    series: Series | None = None
    """The series of a history that it is about."""
    trend: Trend | None = None
    """That series with what changed in it, where it has any figure."""
    comparison: Comparison | None = None
    first: Comparison | None = None
    """The comparison that looked slower, where the case was measured again and `comparison` is of that."""
    margin: Margin | None = None
    """Its own for the gate `slower`."""
    row: Row | None = None
    base_row: Row | None = None
    differences: Sequence[Difference] = ()
    """Between the environments of its base and its own."""
    seconds: float = 0.0
    """What its timed blocks took, over all its processes."""

    @property
    def waived(self) -> bool:
        return any(isinstance(item.rule, Waiver) for item in self.excused)

    @property
    def kind(self) -> Kind:
        if self.failed:
            return "error" if set(self.failed) & set(WITHOUT_FIGURES) else "failure"
        if self.waived or self.note:
            return "skipped"
        return "skipped" if self.comparison and self.comparison.verdict == "UNRESOLVED" else "passed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcomes:
    """How all cases of a command ended."""

    command: str
    """The command's name."""
    subject: str
    """What it judges, in words."""
    created: str
    """When that was measured, in the form that run.json has."""
    outcomes: Sequence[Outcome]
    gates: GateResult
    warnings: Sequence[str] = ()
    """Sentences that go with every outcome, since they limit what it means."""

    def of_kind(self, kind: Kind) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.kind == kind]


def of_run(run: Run, asked: Sequence[str], rules: Rules) -> Outcomes:
    """The outcomes of a run by the gates that were `asked` for and by those that a pipeline always reads: `slower`
    where it compares sources, `missing` and `failed`.
    """
    document = run.document
    cases = [case.case for case in document.cases]
    compares = any(suite.varies == SOURCE for suite in document.suites)
    result = gates.check_run(run, _with_usual(asked, compares=compares), rules)

    def outcome(case: str) -> Outcome:
        comparison, row = result.judged.get(case), run.row_of.get(case)
        base_row = run.row_of[comparison.base] if comparison else None
        return Outcome(
            case=case,
            failed=result.failed_on(case),
            excused=result.excused_on(case),
            note=_why_no_figures(run, case),
            comparison=comparison,
            margin=result.margins.get(case),
            row=row,
            base_row=base_row,
            differences=_differing(run, base_row, row),
            seconds=run.timed_seconds.get(case, 0.0),
        )

    return Outcomes(
        command="bench",
        subject=str(run.directory),
        created=document.created,
        outcomes=[*map(outcome, cases), *_others(result, cases)],
        gates=result,
    )


def of_comparison(
    base: Run,
    new: Run,
    between: Between,
    asked: Sequence[str],
    rules: Rules,
    *,
    again: Mapping[str, Comparison],
    differing: Sequence[Difference],
    warnings: Sequence[str],
) -> Outcomes:
    """The outcomes of two runs, by gates as in `of_run`. `again` are the comparisons of cases that were measured again,
    and `differing` the differences of the two environments.
    """
    result = gates.check_between(base, new, between, _with_usual(asked, compares=True), rules, again)
    cases = list(dict.fromkeys(case.case for run in (base, new) for case in run.document.cases))

    def outcome(case: str) -> Outcome:
        why = {name: _why_no_figures(run, case) for name, run in (("NEW", new), ("BASE", base))}
        return Outcome(
            case=case,
            failed=result.failed_on(case),
            excused=result.excused_on(case),
            note="; ".join(f"{name}: {text}" for name, text in why.items() if text),
            comparison=result.judged.get(case),
            margin=result.margins.get(case),
            first=between.family.comparisons[case] if case in again else None,
            row=new.row_of.get(case),
            base_row=base.row_of.get(case),
            differences=differing,
            seconds=new.timed_seconds.get(case, 0.0),
        )

    return Outcomes(
        command="compare",
        subject=f"{new.directory} against {base.directory}",
        created=new.document.created,
        outcomes=[*map(outcome, cases), *_others(result, cases)],
        gates=result,
        warnings=warnings,
    )


def of_history(judged: Judged, asked: Sequence[str], rules: Rules, names: Mapping[Series, str]) -> Outcomes:
    """The outcomes of a history, one a current series, by the gates that were `asked` for and those that a pipeline
    always reads. `names` are those of the current series, each its own.
    """
    wanted = _with_usual(asked, compares=True)
    failing = changes.failing_series(judged, wanted)
    by_case = {gate: list(dict.fromkeys(one.key.case for one in series)) for gate, series in failing.items()}
    cases = list(dict.fromkeys(series.key.case for series in judged.current))
    # A history of a few runs has no changes yet, which is no fault where nobody asked for them.
    idle = changes.idle_gates(judged, wanted if changes.is_idle(judged) else asked)
    result = gates.under_rules(by_case, wanted, rules, cases, idle_gates=idle)
    trend_of = {trend.series: trend for trend in judged.trends}
    missing_in = {item.series: item for item in changes.missing(judged)}
    history = judged.history

    def outcome(series: Series) -> Outcome:
        # Rules are about cases, so they excuse a gate on all series of one or on none.
        case, own = series.key.case, [gate for gate, of_gate in failing.items() if series in of_gate]
        return Outcome(
            case=names[series],
            failed=[gate for gate in result.failed_on(case) if gate in own],
            excused=[item for item in result.excused_on(case) if item.gate in own],
            note=_why_not_judged(series, missing_in.get(series)),
            series=series,
            trend=trend_of.get(series),
        )

    return Outcomes(
        command="history",
        subject=f"{len(history.runs)} runs, the last of them {history.runs[-1].directory}",
        created=history.runs[-1].created.isoformat(),
        outcomes=[*map(outcome, judged.current), *_others(result, cases)],
        gates=result,
        warnings=[*history.unread, *history.notes],
    )


def _why_not_judged(series: Series, missing: Missing | None) -> str:
    """Why nothing is said of a series as it stands now; empty where its last run has figures and changes are looked
    for.
    """
    last, measured = series.points[-1], len(series.measured)
    reasons = []
    if missing:
        reasons.append(f"no row in {missing.run.directory}, which {missing.before.directory} has")
    if last.images_per_second is None:
        reasons.append(f"{last.status} in {last.run.directory}")
    if not measured:
        reasons.append("never measured")
    elif measured < MIN_RUNS:
        reasons.append(f"{measured} of {MIN_RUNS} runs that changes take")
    return "; ".join(reasons)


def _differing(run: Run, base: Row | None, row: Row | None) -> list[Difference]:
    """Between the environments of the sources of two rows."""
    environments = run.document.environments
    return differences(environments.get(base.source), environments.get(row.source)) if base and row else []


def _with_usual(asked: Sequence[str], *, compares: bool) -> list[str]:
    return list(dict.fromkeys([*asked, *(["slower"] if compares else []), *WITHOUT_FIGURES]))


def _others(result: GateResult, cases: Sequence[str]) -> list[Outcome]:
    """What gates failed on that is no case: that nothing was compared, and waivers that have expired."""
    names = dict.fromkeys(name for failing in result.failed.values() for name in failing if name not in cases)
    return [Outcome(case=name, failed=result.failed_on(name)) for name in names]


def _why_no_figures(run: Run, case: str) -> str:
    """Why the run has no figures for a case; empty where it has."""
    if row := run.row_of.get(case):
        return "" if row.status == "ok" else f"{row.status}: {row.note}"
    return dict(run.unmeasured).get(case, "not configured")
