"""What the sessions of a document say of its configurations: medians, ratios and accuracies, made of it alone."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence

from gnet_core.config import StepConfig
from gnet_core.stats.medians import Median, median
from gnet_core.stats.noninferiority import AccuracyComparison, compare_accuracies
from gnet_core.stats.ratio import Process
from gnet_core.stats.verdicts import Comparison, Pair, judge
from gnet_core.time_to_accuracy.document import OPEN_STATUSES, SessionEntry, TimeToAccuracy
from gnet_core.training.ledger import WallTime
from gnet_core.training.session import Reached


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseResult:
    """One configuration over its seeds. A session that did not reach the target took endlessly long."""

    case: str
    config: StepConfig
    sessions: tuple[SessionEntry, ...]
    """Those that reached the target or are over: of one that is to be gone on with nobody knows."""
    seconds: Median | None
    """Wall time to the target; None where there is none of them, as in what follows."""
    steps: Median | None
    seconds_without_setup: Median | None
    """Likewise without imports, building, tracing and compiling."""

    @property
    def label(self) -> str:
        return f"{self.config.execution} {self.config.precision}"

    @property
    def reached(self) -> list[SessionEntry]:
        return [session for session in self.sessions if session.reached]

    @property
    def final_accuracies(self) -> dict[int, float]:
        """By seed, of the sessions that were trained to their end."""
        return {session.seed: value for session in self.sessions if (value := session.final_accuracy) is not None}

    def mean_wall_time(self) -> WallTime | None:
        """Each entry's mean over the sessions that were trained to their end."""
        ledgers = [session.wall_time for session in self.sessions if session.status == "finished" and session.wall_time]
        if not ledgers:
            return None
        names = [field.name for field in dataclasses.fields(WallTime)]
        return WallTime(**{name: statistics.fmean(getattr(ledger, name) for ledger in ledgers) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convergence:
    """Accuracies at the end of a precision against those of float32 in the same execution."""

    base: CaseResult
    variant: CaseResult
    comparison: AccuracyComparison
    doubt: str
    """Why it could not be judged, as a sentence; empty where it could."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that a page tells."""

    document: TimeToAccuracy
    cases: tuple[CaseResult, ...]
    base: CaseResult
    speed: tuple[Comparison, ...]
    """Of each other configuration with the base; a ratio of 2 got there in half of the time."""
    convergence: tuple[Convergence, ...]

    @property
    def largest_gap(self) -> float | None:
        """The largest share by which a ledger's sum differs from the wall time."""
        gaps = [session.ledger_gap for session in self.document.sessions if session.ledger_gap is not None]
        return max(gaps, default=None)

    def case(self, name: str) -> CaseResult:
        return next(result for result in self.cases if result.case == name)


def evaluate(document: TimeToAccuracy) -> Evaluation:
    """Medians of each configuration, its speed against the base's, and its accuracy against float32's."""
    cases = tuple(_result(case.case, case.step, document.of_case(case.case)) for case in document.cases)
    plain = [result for result in cases if (result.config.execution, result.config.precision) == ("graph", "float32")]
    base = (plain or cases)[0]
    others = [result for result in cases if result is not base]
    return Evaluation(
        document=document,
        cases=cases,
        base=base,
        speed=tuple(judge([_pair(base, other) for other in others])),
        convergence=_convergence(document, cases),
    )


def _result(case: str, config: StepConfig, sessions: Sequence[SessionEntry]) -> CaseResult:
    decided = tuple(one for one in sessions if one.reached or one.status not in OPEN_STATUSES)

    def to_target(amount: Callable[[Reached], float]) -> Median | None:
        return median([amount(one.reached) if one.reached else math.inf for one in decided]) if decided else None

    return CaseResult(
        case=case,
        config=config,
        sessions=decided,
        seconds=to_target(lambda reached: reached.seconds),
        steps=to_target(lambda reached: reached.step),
        seconds_without_setup=to_target(lambda reached: reached.seconds - (reached.setup_seconds or 0.0)),
    )


def _pair(base: CaseResult, variant: CaseResult) -> Pair:
    """Two configurations, a pair a seed: sessions of one seed are trained on the same images in the same order."""
    shared = {session.seed for session in base.sessions} & {session.seed for session in variant.sessions}
    sides = [{one.seed: one.reached for one in result.sessions if one.seed in shared} for result in (base, variant)]
    missing = [
        f"{len(shared) - found} of {len(shared)} sessions of {result.label} did not reach the target"
        for result, side in zip((base, variant), sides, strict=True)
        if (found := sum(reached is not None for reached in side.values())) < len(shared)
    ]
    invalid = f"{' and '.join(missing)}, so there is no ratio of times." if missing else ""
    processes = [
        tuple(Process(f"seed {seed}", (math.log(reached.seconds),)) for seed, reached in side.items() if reached)
        for side in sides
    ]
    return Pair(
        base=base.case,
        variant=variant.case,
        base_processes=processes[0],
        variant_processes=processes[1],
        invalid=invalid or ("" if shared else "No seed was trained by both."),
    )


def _convergence(document: TimeToAccuracy, cases: Sequence[CaseResult]) -> tuple[Convergence, ...]:
    request = document.request
    references = {result.config.execution: result for result in cases if result.config.precision == "float32"}
    pairs = [
        (references[result.config.execution], result)
        for result in cases
        if result.config.precision != "float32" and result.config.execution in references
    ]
    doubts = [_doubt(base, variant, stopped=request.stop_at_target) for base, variant in pairs]
    differences = [
        [] if doubt else _differences(base, variant) for (base, variant), doubt in zip(pairs, doubts, strict=True)
    ]
    judged = compare_accuracies(differences, request.margin, 100 / document.data_set.test_images)
    return tuple(
        Convergence(base=base, variant=variant, comparison=comparison, doubt=doubt)
        for (base, variant), comparison, doubt in zip(pairs, judged, doubts, strict=True)
    )


def _differences(base: CaseResult, variant: CaseResult) -> list[float]:
    """Variant − base in percentage points, of the seeds that both have trained to the end."""
    there, here = base.final_accuracies, variant.final_accuracies
    return [100 * (here[seed] - there[seed]) for seed in there if seed in here]


def _doubt(base: CaseResult, variant: CaseResult, *, stopped: bool) -> str:
    """Why accuracies at the end cannot be compared: sessions that broke off would be dropped from their side alone."""
    if stopped:
        return "Sessions ended at the target, so there is no accuracy at the end of the schedule to compare."
    for result in (base, variant):
        lost = [one for one in result.sessions if one.status != "finished" and one.status not in OPEN_STATUSES]
        if lost:
            how = ", ".join(dict.fromkeys(session.status for session in lost))
            return f"{len(lost)} of {len(result.sessions)} sessions of {result.label} broke off ({how})."
    return ""
