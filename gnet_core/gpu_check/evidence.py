"""What a check of a GPU has seen, and the form in which a claim is judged by it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import pandas as pd

from gnet_core.config import Execution
from gnet_core.machine.environment import Environment
from gnet_core.machine.gpu_conditions import GpuConditions, Sample, Span, conditions
from gnet_core.profile.document import Profile
from gnet_core.results.raw_files import RawProcess
from gnet_core.results.records import Run

Verdict = Literal["wrong", "open", "confirmed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""The worst first."""

MAX_NAMED = 5
"""Kernels or cases that evidence names."""

SAMPLED: tuple[Execution, ...] = ("graph", "eager", "xla")
"""The workers, in mixed_bfloat16."""

PROFILED = (*SAMPLED, "float32", "batch 1")
"""The traces: one of each execution in mixed_bfloat16, that of a graph in float32, and that of one with one image."""


class Figure(NamedTuple):
    """A figure that a verdict rests on."""

    name: str
    value: float
    unit: str
    """Of the value; empty for a share or a ratio, 0 to 1 or more."""

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g}{f' {self.unit}' if self.unit else ''}"


class Finding(NamedTuple):
    """What one worker, trace or case says of a claim, or the whole of it where `of` is empty."""

    verdict: Verdict
    figures: tuple[Figure, ...] = ()
    because: str = ""
    """Why it is wrong or open, or what else was seen."""
    of: str = ""

    def __str__(self) -> str:
        told = "; ".join(filter(None, [self.because.removesuffix("."), ", ".join(map(str, self.figures))]))
        return f"{self.of} ({self.verdict}): {told}" if self.of else told

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, which has no infinity."""
        figures = [
            figure._asdict() | {"value": figure.value if math.isfinite(figure.value) else None}
            for figure in self.figures
        ]
        return {**self._asdict(), "figures": figures}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One promise, and what became of it."""

    claim: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings'."""
        return min((finding.verdict for finding in self.findings), key=VERDICTS.index)

    @property
    def evidence(self) -> list[str]:
        """A line a finding."""
        return [text for finding in self.findings if (text := str(finding))]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "claim": self.claim,
            "verdict": self.verdict,
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class TakenMemory:
    """What NVML says of a worker after its turn, in bytes; 0 is not told."""

    process_bytes: int
    """Of its processes. Not told where their numbers are not the driver's, as in a container."""
    growth_bytes: int
    """By which the device's used memory grew since before its start, alone on the device."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerReading:
    """What was seen of one worker that took a single turn, alone on the device."""

    process: RawProcess
    samples: Sequence[Sample]
    """Of the turn and of the idle seconds after it; none where NVML cannot tell which of its GPUs the device is."""
    block: Span | None
    """Of the timed block, as the worker says."""
    work: Span | None
    """Of all its steps; after it the GPU idles."""
    taken: TakenMemory | None
    """None on a CPU."""

    @property
    def gpu(self) -> GpuConditions:
        """What turns.csv would tell of the turn."""
        return conditions(self.samples, self.block, self.work)

    @property
    def idle(self) -> list[Sample]:
        """Of the last second, by when power that is averaged has fallen."""
        last = max((sample.at_seconds for sample in self.samples), default=0.0)
        return [] if self.work is None else self._between(max(self.work.ended, last - 1.0), last)

    @property
    def at_work(self) -> list[Sample]:
        return [] if self.work is None else self._between(*self.work)

    def _between(self, begin: float, end: float) -> list[Sample]:
        return [sample for sample in self.samples if begin <= sample.at_seconds <= end]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """What the steps of a check have left so far."""

    device: str
    environment: Environment
    workers: Mapping[Execution, WorkerReading]
    traces: Mapping[str, Profile]
    """By the names of PROFILED."""
    peak_flop_per_second: float | None
    """Of the device in mixed_bfloat16."""
    run: Run | None
    """Of the precisions."""
    executions: Run | None
    """Of the implementations and executions."""
    turns: pd.DataFrame
    """Of the run (see turns.read_turns); empty where there is none."""
    frameworks: Run | None
    why_not: Mapping[str, str]
    """Why a step left nothing, by its name: worker graph, profile float32, bench, frameworks, and so on."""

    def missing(self, step: str) -> Finding:
        return Finding("open", because=self.why_not.get(step, f"the step {step!r} was not reached"))


Question = Callable[[Seen], Finding | list[Finding]]
"""Judges a claim."""

Claims = tuple[tuple[str, Question], ...]
"""Each with what judges it."""


def of_workers(ask: Callable[[WorkerReading], Finding]) -> Question:
    """A finding for each worker."""

    def question(seen: Seen) -> list[Finding]:
        found = {name: ask(worker) for name, worker in seen.workers.items()}
        return [(found.get(name) or seen.missing(f"worker {name}"))._replace(of=name) for name in SAMPLED]

    return question


def of_traces(ask: Callable[[Profile], Finding], names: Sequence[str] = PROFILED) -> Question:
    """A finding for each of these traces."""

    def question(seen: Seen) -> list[Finding]:
        found = {name: ask(seen.traces[name]) for name in names if name in seen.traces}
        return [(found.get(name) or seen.missing(f"profile {name}"))._replace(of=name) for name in names]

    return question
