"""run.json as types: the options of a run, its environments, and how its cases ended."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gnet_core.config import PEERS, Framework
from gnet_core.files.json_documents import CaseName, Count, Positive
from gnet_core.machine.environment import Environment
from gnet_core.machine.setting_effects import SettingEffect
from gnet_core.plan.request import BenchRequest, Until
from gnet_core.plan.schedule import WorkerName
from gnet_core.plan.suites import Plan, SuiteDescription
from gnet_core.stats.sequential import FIRST_LOOK, MAX_LOOKS
from gnet_core.stats.verdicts import Verdict

MAX_RAW_FILES = 10_000
"""Raw files of a run. The largest so far has some 300."""

MIN_FLOP_PER_SECOND, MAX_FLOP_PER_SECOND = 1.0, 1e30
"""Beyond these no peak is believed."""

Origin = Literal["process", "growth", "allocator", "bound", "told"]
"""How a size is known: NVML's count for the process, what the device's used memory grew by, the allocator's count with
a reserve, a bound that follows from a smaller batch, or the option of whoever started the run."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """GPU memory of a worker."""

    taken_bytes: Positive = msgspec.field(name="bytes")
    origin: Origin

    @property
    def measured(self) -> bool:
        return self.origin != "bound"


class GpuMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory that was free of a GPU when a run was planned, and how much of it workers alive together may take."""

    free_bytes: Count | None
    """None where NVML does not report it."""
    budget_bytes: Count
    note: str


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The best that a device did in a precision (see gnet_core.frameworks.tf.peaks.Peak)."""

    precision: str | UnsetType = UNSET
    device: str | UnsetType = UNSET
    flop_per_second: Any = None
    """A value that is no number, or none that a device can have done, is passed over."""
    operation: str = "unknown"
    copy_bytes_per_second: float | UnsetType = UNSET
    candidates: tuple[dict[str, Any], ...] | UnsetType = UNSET
    left_out: dict[str, str] | UnsetType = UNSET
    seconds: float | UnsetType = UNSET


Peaks = dict[str, Peak | str]
"""Peaks by precision; under "error" why a measurement of them failed."""


def best_peaks(passes: Iterable[Peaks]) -> dict[str, Peak]:
    """By precision, the highest peak of several measurements; one that cannot be believed is passed over."""
    best: dict[str, Peak] = {}
    for measured in passes:
        for precision, peak in measured.items():
            if not isinstance(peak, Peak):
                continue
            value = peak.flop_per_second
            known = isinstance(value, int | float) and MIN_FLOP_PER_SECOND <= value < MAX_FLOP_PER_SECOND
            if known and (precision not in best or value > best[precision].flop_per_second):
                best[precision] = peak
    return best


class RecordedCohort(msgspec.Struct, frozen=True, kw_only=True):
    """Workers that were alive together."""

    workers: tuple[str, ...]
    """Texts of WorkerName."""
    order: tuple[tuple[int, ...], ...]
    """The workers by number, as they took their turns in each round."""
    complete: bool
    again: bool = False
    """Whether it measured again what an earlier part of the run had lost."""

    def __post_init__(self) -> None:
        for worker in self.workers:
            WorkerName.parse(worker)

    @property
    def names(self) -> list[WorkerName]:
        return [WorkerName.parse(worker) for worker in self.workers]


class RecordedCase(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A case and how it ended."""

    case: CaseName
    config: dict[str, Any]
    """Fields for gnet_core.files.migrations.read_config; in a case that was not measured, maybe another version's."""
    source: str
    suites: Annotated[tuple[str, ...], Meta(min_length=1, description="a list of the suites that share the case")]
    status: str | None
    """None while nothing was measured; `note` then says why."""
    note: str
    raw: tuple[str, ...]
    """The raw file of each process that measured it."""
    gpu_memory: Size | UnsetType = UNSET


class LookAtComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison as it stood at a look. Ratios are of images a second, variant ÷ base; None before an interval."""

    suite: str
    base: str
    variant: str
    pairs: Count
    """Pairs of processes, one of the base and one of the variant."""
    ratio: float | None
    low: float | None
    high: float | None
    """The repeated confidence interval (see gnet_core.stats.sequential)."""
    p_value: float | None
    """The smallest repeated p-value so far."""
    verdict: Verdict


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a run until resolved saw when it looked at its comparisons, from which it decided what to measure next."""

    cohorts: Positive
    """Cohorts that were finished by then."""
    spent_error: Annotated[float, Meta(ge=0, le=1)]
    """The share of the error of 5 % that this look and those before it have spent, 0 to 1."""
    comparisons: tuple[LookAtComparison, ...]


class TimeSpent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Wall time of a run in all its parts by what it went to, in seconds."""

    preparing: float = 0.0
    """Before the first worker: cases are planned, and interpreters describe their machine and frameworks."""
    starting: float = 0.0
    """Workers that import, build, trace and compile."""
    warming_up: float = 0.0
    timing: float = 0.0
    """Turns."""
    ending: float = 0.0
    """Workers that look up what else a row needs, write their samples and end."""
    waiting: float = 0.0
    """All the rest, in which no worker had a turn: what they measured is read, judged and written."""
    peaks: float = 0.0
    trace: float = 0.0
    report: float = 0.0
    """Known once it is written, so the first page of a run lacks it."""

    @property
    def measuring(self) -> float:
        """What grows with every process."""
        return self.starting + self.warming_up + self.timing + self.ending + self.waiting

    @property
    def total(self) -> float:
        return float(sum(msgspec.structs.astuple(self)))


class RecordedSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A source of a run that compares several."""

    name: str
    python: str = ""
    """Its interpreter, a path."""
    own_code: bool = True
    """Whether it measures the working tree; else a revision, whose commit is in its environment."""
    variables: dict[str, str] = {}
    """Environment variables that its processes are started with."""
    effects: tuple[SettingEffect, ...] = ()
    """Whether each of its variables acts; none of a source that could not be measured."""
    missing: str = ""
    """Why nothing could be measured from it; empty where that was possible."""


class RecordedHost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A host of a run that several take part in."""

    name: str
    address: str
    """HOST:PORT by which the site calls it."""
    environment: Environment
    differences: tuple[str, ...] = ()
    """What of its environment is not as the first host's, the hardware first."""


def source_of_peaks(sources: Sequence[RecordedSource], environments: Collection[str]) -> str:
    """The name of the source that measures the device's peaks and takes the trace, of those that have an environment:
    the working tree's code, which knows how to where an older revision's does not, without settings if there is such a
    source. Empty where the run has a single one.
    """
    able = [one for one in sources if one.own_code and one.name in environments]
    plain = [one for one in able if not one.variables]
    return next((one.name for one in [*plain, *able, *sources]), "")


class RunDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """run.json of a run of `gnet bench`, of the current format version."""

    format_version: int
    created: str
    run: str
    """The run's identity, which its files have too."""
    options: dict[str, Any]
    """Options of the command, for BenchRequest.from_dict."""
    preset: str
    device: str
    seed: int
    replicates: int
    plan: Plan | None = None
    memory_bytes: int
    environment: Environment
    """The one whose devices are the run's."""
    environments: dict[str, Environment]
    """Environments by source, then by framework that has an interpreter of its own."""
    sources: tuple[RecordedSource, ...] = ()
    """The sources that are compared, the base first; empty where there is one, and in files of earlier versions."""
    hosts: tuple[RecordedHost, ...] = ()
    """Those that take part, the one that reports first; empty where there is one."""
    code: dict[str, dict[str, str]] | None = None
    """A digest of each file that decides what is measured, by source and path."""
    data_fingerprint: str
    """Empty for synthetic data."""
    suites: tuple[SuiteDescription, ...]
    complete: bool
    peaks: tuple[Peaks, ...] = ()
    """The device's peaks in each pass of measuring them."""
    profile_note: str | None = None
    """Why the trace that was asked for could not be taken; empty where it was."""
    gpu_memory: GpuMemory | None = None
    until: Until = "fixed"
    budget_seconds: float | None = None
    """Wall time that the run may take in all its parts, None for any."""
    turns: int | None = None
    """Turns of each process after the pilot of a run until resolved (see gnet_core.stats.ratio.optimal_turns), which
    has as many as the plan says; None before that is known."""
    time_spent: TimeSpent = TimeSpent()
    max_looks: Annotated[int, Meta(ge=FIRST_LOOK, le=MAX_LOOKS)] | None = None
    """Pairs of processes at the last look of a run until resolved. It follows from the cost of the first ones, and is
    None until that is known."""
    looks: tuple[Look, ...] = ()
    """The looks so far, from the third pair of processes on."""
    cohorts: tuple[RecordedCohort, ...]
    cases: tuple[RecordedCase, ...]

    @property
    def left_seconds(self) -> float:
        """Wall time that is left of the budget, 0 or more; infinite where there is none."""
        return math.inf if self.budget_seconds is None else max(0.0, self.budget_seconds - self.time_spent.total)

    @property
    def own_interpreters(self) -> list[Framework]:
        """The frameworks whose rows an interpreter of their own has measured; no source is called so."""
        sources = {case.source for case in self.cases}
        return [peer for peer in PEERS if peer in self.environments and peer not in sources]

    def environment_of(self, framework: Framework) -> Environment:
        """The environment in which the framework's rows were measured, those of the first source."""
        return self.environments[framework] if framework in self.own_interpreters else self.environment

    @property
    def request(self) -> BenchRequest:
        """The request that measures all of the run again."""
        return BenchRequest.from_dict("run.json: options", self.options)

    def __post_init__(self) -> None:
        if sum(len(case.raw) for case in self.cases) > MAX_RAW_FILES:
            raise ValueError(f"its cases name more than {MAX_RAW_FILES} raw files; no run has as many")
