"""profile.json as types, which refuse by field whatever does not fit."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import bounded, json_documents
from gnet_core.files.json_documents import CASE_NAME, MAX_WHOLE, Count
from gnet_core.files.migrations import read_config
from gnet_core.machine.environment import Environment
from gnet_core.profile import tensor_cores
from gnet_core.profile.parts import PARTS, Direction
from gnet_core.profile.step_breakdown import AT_WORK

MAX_ROWS = 100_000
"""Longest table that is read; no step has as many operations."""

MAX_SHOWN = 50
"""Longest list of which a report shows all: kinds of time, what is not available, warnings."""

_LIBRARY = re.compile(r"_+(Mkl)?(Native)?(Fused)?(?P<type>[A-Z]\w*?)(WithBias)?")

Counting = Literal["kernels", "launched kernels", "graph operations", "eager operations", "compiled instructions"]

COUNTINGS: dict[Counting, str] = {
    "kernels": "Self time of the device's kernels.",
    "launched kernels": "Self time of the device's kernels, each assigned to the eager operation that launched it.",
    "graph operations": "Wall time inside each operation on the CPU, what it hands to other threads included.",
    "eager operations": (
        "Wall time inside each operation on the CPU, TensorFlow's own dispatch included, Python's left out."
    ),
    "compiled instructions": (
        "Time of each compiled instruction on the CPU, summed over the threads that worked on it, under the name of "
        "the operation that XLA compiled it from. A fusion of several counts as the last of them, and a move between "
        "XLA's own layouts as a layout copy."
    ),
}
"""How the time of a trace's operations was counted. Times of different countings cannot be compared as they are."""

_COUNTING_OF_NOTE: dict[str, Counting] = {
    **{note: counting for counting, note in COUNTINGS.items()},
    "Self time of the device's kernels, each counted to the eager operation that launched it.": "launched kernels",
    (
        "Time of each compiled instruction on the CPU, summed over the threads that worked on it, told by the "
        "operations that XLA made it from: a fusion of several counts as the last of them, and what XLA moves around "
        "between layouts of its own as a layout copy."
    ): "compiled instructions",
}
"""Notes of this and of earlier versions, which wrote no field `counting`; an unknown note is a counting of its own."""

Figure = Annotated[float, Meta(ge=0, lt=MAX_WHOLE, description="a number, 0 or more")]
StepSeconds = Annotated[
    list[Annotated[float, Meta(gt=0, lt=MAX_WHOLE, description="a positive number of seconds")]], Meta(min_length=1)
]


class OperationType(msgspec.Struct, frozen=True, kw_only=True):
    """A type of operation, over all traced steps."""

    operation: str
    occurrences: Count
    self_seconds: Figure
    share: Figure
    """Share of the self time of all operations, 0 to 1."""

    @property
    def plain(self) -> str:
        """The type without what oneDNN and Grappler put around it: _MklNativeFusedConv2D is a Conv2D."""
        match = _LIBRARY.fullmatch(self.operation)
        return match["type"] if match else self.operation


class PartTime(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the network in one direction, over all traced steps."""

    part: str
    direction: Direction
    occurrences: Count
    self_seconds: Figure
    share: Figure

    @property
    def directed(self) -> str:
        return self.part if self.direction == "neither" else f"{self.part} {self.direction}"

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise ValueError(f"part is {self.part!r:.40}; it has to be one of {', '.join(PARTS)}")


class KindOfTime(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a step's time as xprof divides it, the mean over its steps."""

    kind: str
    seconds: Figure
    share: Figure
    """Share of the step's time, 0 to 1."""


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel of a GPU, over all traced steps."""

    kernel: str
    tensor_cores: tensor_cores.Use
    occurrences: Count
    seconds: Figure
    occupancy: Figure
    """The theoretical occupancy, 0 to 1."""
    share: Figure
    """Share of the time of all kernels, 0 to 1."""


class DeviceTime(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU's time by operations and by kernels, over all traced steps."""

    operations_seconds: Figure
    kernels_seconds: Figure
    unnamed_kernels_seconds: Figure
    """Those of kernels that belong to no operation."""
    operations_cut: bool
    """Whether xprof left out the shorter ones; likewise below."""
    kernels_cut: bool


class PeakMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The most that an allocator had handed out at once while the trace was taken."""

    allocator: str
    peak_bytes: Count
    capacity_bytes: Count | None


class NotAvailable(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a trace does not hold, and why."""

    what: str
    why: str


class TracedSteps(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times of the traced steps, and of those before them without the profiler."""

    xplane: str = ""
    """The trace's file, from the profile's directory."""
    traced_step_seconds: StepSeconds
    untraced_step_seconds: StepSeconds
    overhead_seconds: float | None = None
    warnings: Annotated[list[str], Meta(max_length=MAX_SHOWN)]


class ProfileRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """run.json of `gnet profile`, as far as it is read."""

    run: str = ""
    """The identity, which earlier versions did not give."""
    created: str
    device: str
    config: dict[str, Any]
    environment: Environment
    trace: TracedSteps


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile.json, read."""

    config: StepConfig
    created: str = ""
    counting: str = ""
    """The Counting of the operations' times; the note in its place where a version knew of none."""
    note: str = ""
    """The counting in words, or why there are no operations."""
    operations: Annotated[list[OperationType], Meta(max_length=MAX_ROWS)]
    """Longest first; empty where the trace tells none."""
    parts: Annotated[list[PartTime], Meta(max_length=MAX_ROWS)] = []
    breakdown: Annotated[list[KindOfTime], Meta(max_length=MAX_SHOWN)] = []
    kernels: Annotated[list[Kernel], Meta(max_length=MAX_ROWS)] = []
    device_time: DeviceTime | None = None
    peak_memory: PeakMemory | None = None
    not_available: Annotated[list[NotAvailable], Meta(max_length=MAX_SHOWN)] = []
    trace: TracedSteps
    environment: Environment | None = None

    @property
    def steps(self) -> int:
        """The number of traced steps, over which times are summed."""
        return len(self.trace.traced_step_seconds)

    @property
    def untraced_seconds(self) -> float:
        """Median seconds of a step without the profiler."""
        return statistics.median(self.trace.untraced_step_seconds)

    @property
    def traced_seconds(self) -> float:
        """Median seconds of a step under the profiler."""
        return statistics.median(self.trace.traced_step_seconds)

    @property
    def busy_threads(self) -> float:
        """Mean number of threads that were inside operations at once, over the traced steps."""
        seconds = sum(operation.self_seconds for operation in self.operations)
        return seconds / sum(self.trace.traced_step_seconds)

    @property
    def device_seconds(self) -> float | None:
        """Seconds of work on the device a step; None where xprof recognised no step, or nothing of a device."""
        return sum(time.seconds for time in self.breakdown if time.kind in AT_WORK) or None

    @property
    def overhead(self) -> float:
        """Median step under the profiler ÷ median step without it - 1."""
        return self.traced_seconds / self.untraced_seconds - 1


def read(document: Any) -> Profile:
    """A profile.json as a type. Raises GnetError naming the field that is missing or wrong.

    Old files lack what was added since: parts, breakdown, kernels, device_time, peak_memory and not_available, and a
    kernel's use of tensor cores.
    """
    if not isinstance(document, dict):
        raise GnetError(f"profile.json: {document!r:.60} is no object")
    if "config" not in document:
        raise GnetError("profile.json: field 'config' is missing")
    try:
        config = read_config(document["config"])
    except TypeError as error:
        raise GnetError(f"profile.json: field 'config' is of no case ({error!s:.200})") from error
    counting = document.get("counting") or _COUNTING_OF_NOTE.get(note := str(document.get("note", "")), note)
    current = {**document, "config": config.to_dict(), "counting": counting}
    if isinstance(document.get("kernels"), list):
        # Earlier versions recorded xprof's opinion of tensor cores; a kernel's name tells more.
        current["kernels"] = [
            {"tensor_cores": tensor_cores.use(str(kernel.get("kernel", ""))), **kernel}
            if isinstance(kernel, dict)
            else kernel
            for kernel in document["kernels"][: MAX_ROWS + 1]
        ]
    profile = json_documents.typed("profile.json", current, Profile)
    profile = msgspec.structs.replace(profile, config=config)  # its numbers as they were written: 0 and not 0.0
    if not CASE_NAME.fullmatch(config.name):
        raise GnetError(f"profile.json: field 'config' is of a case that cannot be: {config.name!r:.80}")
    return profile


def is_profile(directory: Path) -> bool:
    """Whether gnet profile wrote it. Raises GnetError where no run.json can be read."""
    document, _digest = json_documents.read_json(directory / "run.json", directory)
    return document.get("kind") == "profile"


def load_profile(directory: Path) -> ProfileRun:
    """run.json of `gnet profile`. Raises GnetError naming it for a field that is missing or wrong."""
    path = directory / "run.json"
    run = json_documents.typed(str(path), json_documents.read_versioned(path, directory), ProfileRun)
    try:
        read_config(run.config)
        bounded.require_inside(directory / run.trace.xplane, directory)
    except (TypeError, GnetError) as error:
        raise GnetError(f"{path}: it describes no profile: {error}") from error
    return run
