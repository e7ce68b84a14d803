"""What a check of a GPU has seen, and the form in which a claim is judged by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import msgspec
import pandas as pd

from gnet_core.config import Execution
from gnet_core.machine.environment import Environment
from gnet_core.machine.gpu_conditions import GpuConditions, Sample, Span, conditions
from gnet_core.profile.document import Profile
from gnet_core.results.raw_files import RawProcess
from gnet_core.results.records import Run

Verdict = Literal["wrong", "open", "confirmed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)  # the worst comes first

MAX_NAMED = 5  # kernels or cases that evidence names

SAMPLED: tuple[Execution, ...] = ("graph", "eager", "xla")  # the workers, each in mixed_bfloat16
PROFILED = (*SAMPLED, "float32", "batch 1")
"""The traces: one of each execution in mixed_bfloat16, of a graph in float32, and of a graph with a single image."""

Left = TypeVar("Left")


class Figure(msgspec.Struct, frozen=True):
    """A figure that a verdict rests on."""

    name: str
    value: float
    unit: str = ""
    """Empty for a number, a share or a ratio."""

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g} {self.unit}".rstrip()


class Finding(msgspec.Struct, frozen=True):
    """A verdict on a claim by one worker, trace or case, or by all that was seen where `subject` is empty."""

    verdict: Verdict
    figures: tuple[Figure, ...] = ()
    because: str = ""
    """Why it is wrong or open, or what else was seen."""
    subject: str = msgspec.field(default="", name="of")

    def __str__(self) -> str:
        text = "; ".join(filter(None, [self.because.removesuffix("."), ", ".join(map(str, self.figures))]))
        return f"{self.subject} ({self.verdict}): {text}" if self.subject else text


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A promise with its findings; `verdict` is the worst of theirs."""

    claim: str
    verdict: Verdict
    findings: Sequence[Finding]

    @property
    def evidence(self) -> list[str]:
        """A line for each finding that has anything to say."""
        return [text for finding in self.findings if (text := str(finding))]


class OpenError(Exception):
    """A claim cannot be judged by what was seen: the reason, and the figures that there are all the same."""

    def __init__(self, because: str, *figures: Figure) -> None:
        super().__init__(because)
        self.figures = figures


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerReading:
    """One worker that took a single turn, alone on the device."""

    process: RawProcess
    samples: Sequence[Sample]
    """Readings of the turn and of the idle seconds after it; none where NVML cannot tell which GPU the device is."""
    block: Span | None
    work: Span | None
    """All steps, by the worker's clock as the timed block; after them the GPU idles."""
    process_bytes: int | None
    """GPU memory of its processes by NVML after the turn; 0 where NVML does not report it, as in a container."""
    growth_bytes: int | None
    """Growth of the device's used memory since before its start, likewise. Both are None on a CPU."""

    @property
    def gpu(self) -> GpuConditions:
        """The turn as turns.csv would have it."""
        return conditions(self.samples, self.block, self.work)

    def watts(self, began: float, ended: float) -> list[float]:
        """The power readings between two times of the monotonic clock, as far as there are any."""
        within = [sample.power_watts for sample in self.samples if began <= sample.at_seconds <= ended]
        return [watts for watts in within if watts is not None]


Result = WorkerReading | Profile | Run | float
"""What a step leaves: a sampled worker, a trace, a run of gnet bench, or the device's peak in FLOP/s."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """What the steps of a check have left so far."""

    device: str
    environment: Environment
    results: Mapping[str, Result]
    """By step: worker graph, profile float32, bench (the precisions), peak, bench execution, frameworks, and so on."""
    turns: pd.DataFrame
    """Turns of the run of the step bench (see turns.read_turns); empty where there is none."""
    why_not: Mapping[str, str]
    """Why a step left nothing, by its name."""

    def result(self, step: str, *figures: Figure) -> Any:
        """The Result of a step. Raises OpenError with the reason, and these figures, where it left nothing."""
        if step not in self.results:
            raise OpenError(self.why_not.get(step, f"the step {step!r} was not reached"), *figures)
        return self.results[step]

    def results_of(self, kind: type[Left]) -> dict[str, Left]:
        """All results of a kind, by the names of SAMPLED or PROFILED."""
        return {step.partition(" ")[2]: left for step, left in self.results.items() if isinstance(left, kind)}

    def turns_of_run(self) -> pd.DataFrame:
        """The turns, at least one. Raises OpenError where there are none."""
        self.result("bench")
        if self.turns.empty:
            raise OpenError("the run has no turns")
        return self.turns


Question = Callable[[Seen], Finding | Iterable[Finding]]  # raises OpenError where a claim cannot be judged
Judges = Callable[[Callable[[Any], Any]], Callable[[Any], Any]]  # decorates the judge of a claim


def judged(holds: bool, *figures: Figure, because: str = "", subject: str = "") -> Finding:
    """A finding that is confirmed where the claim holds, and wrong where it does not."""
    return Finding("confirmed" if holds else "wrong", figures, because, subject)


def attempt(judge: Callable[..., Finding | Iterable[Finding]], *seen: Any) -> list[Finding]:
    """The findings of a judge of what was seen; one that is open where it cannot be judged."""
    try:
        answer = judge(*seen)
        findings = [answer] if isinstance(answer, Finding) else list(answer)
        return findings or [Finding("open", because="nothing that it is about was measured")]
    except OpenError as error:
        return [Finding("open", error.figures, str(error))]
    except Exception as error:  # a GPU may leave what no one has foreseen, and the other claims must not be lost for it
        return [Finding("open", because=f"it could not be judged: {type(error).__name__}: {error!s:.200}")]


def by_step(
    judge: Callable[[Any], Finding], seen: Seen, step: str = "worker", names: Sequence[str] = SAMPLED
) -> list[Finding]:
    """A finding for the result of each of the steps that have these names."""

    def judge_step(name: str) -> Finding:
        return judge(seen.result(f"{step} {name}"))

    findings = [(name, finding) for name in names for finding in attempt(judge_step, name)]
    return [msgspec.structs.replace(finding, subject=name) for name, finding in findings]


class Claims(list[tuple[str, Question]]):
    """Promises, each with what judges it: the function that its promise stands above."""

    def of_all(self, promise: str) -> Judges:
        """Judge a promise by all that was seen."""

        def add(question: Question) -> Question:
            self.append((promise, question))
            return question

        return add

    def of_workers(self, promise: str) -> Judges:
        """Judge a promise for each worker."""
        return lambda judge: self.of_all(promise)(partial(by_step, judge))

    def of_traces(self, promise: str, names: Sequence[str] = PROFILED) -> Judges:
        """Judge a promise for each of these traces."""
        return lambda judge: self.of_all(promise)(partial(by_step, judge, step="profile", names=names))
