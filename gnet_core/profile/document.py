"""What a profile.json holds, as types: whatever does not fit is refused by its field."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import bounded, json_documents
from gnet_core.files.json_documents import CASE_NAME, MAX_WHOLE, Count
from gnet_core.files.migrations import read_config
from gnet_core.machine.environment import Environment
from gnet_core.profile import tensor_cores
from gnet_core.profile.counting import counting_of
from gnet_core.profile.parts import PARTS, Direction

MAX_ROWS = 100_000
"""Of a table; no step has as many operations."""

MAX_TOLD = 50
"""Of rows that a report shows all of: kinds of time, what is not available, warnings."""

_LIBRARY = re.compile(r"_+(Mkl)?(Native)?(Fused)?(?P<type>[A-Z]\w*?)(WithBias)?")


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
    """Of the self time of all operations, 0..1."""

    @property
    def plain(self) -> str:
        """The type without what oneDNN and Grappler put around it: _MklNativeFusedConv2D is a Conv2D."""
        found = _LIBRARY.fullmatch(self.operation)
        return found["type"] if found else self.operation


class PartTime(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the network in one direction, over all traced steps."""

    part: str
    direction: Direction
    occurrences: Count
    self_seconds: Figure
    share: Figure

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise ValueError(f"part is {self.part!r:.40}; it has to be one of {', '.join(PARTS)}")


class KindOfTime(msgspec.Struct, frozen=True, kw_only=True):
    """What a step's time goes to as xprof divides it: the mean over its steps."""

    kind: str
    seconds: Figure
    share: Figure
    """Of the step's time."""


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel of a GPU, over all traced steps."""

    kernel: str
    tensor_cores: tensor_cores.Use
    """Whether it uses them."""
    occurrences: Count
    seconds: Figure
    occupancy: Figure
    """Theoretical, 0..1."""
    share: Figure
    """Of the time of all kernels."""


class DeviceTime(msgspec.Struct, frozen=True, kw_only=True):
    """What operations and kernels tell of a GPU's time, over all traced steps."""

    operations_seconds: Figure
    kernels_seconds: Figure
    unnamed_kernels_seconds: Figure
    """Of kernels that belong to no operation."""
    operations_cut: bool
    """Whether xprof left out the shorter operations."""
    kernels_cut: bool


class PeakMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The most that an allocator had handed out at once while the trace was taken."""

    allocator: str
    peak_bytes: Count
    capacity_bytes: Count | None


class NotAvailable(msgspec.Struct, frozen=True, kw_only=True):
    """What a trace does not tell, and why."""

    what: str
    why: str


class TracedSteps(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the steps went that were traced, and those before them without the profiler."""

    xplane: str = ""
    """The trace's file, from the profile's directory."""
    traced_step_seconds: StepSeconds
    untraced_step_seconds: StepSeconds
    overhead_seconds: float | None = None
    warnings: Annotated[list[str], Meta(max_length=MAX_TOLD)]


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
    """How the operations' times were counted, a Counting; the note of a version that knew of none."""
    note: str = ""
    """What the operations' times are."""
    operations: Annotated[list[OperationType], Meta(max_length=MAX_ROWS)]
    """Longest first; empty where the trace tells none."""
    parts: Annotated[list[PartTime], Meta(max_length=MAX_ROWS)] = []
    breakdown: Annotated[list[KindOfTime], Meta(max_length=MAX_TOLD)] = []
    kernels: Annotated[list[Kernel], Meta(max_length=MAX_ROWS)] = []
    device_time: DeviceTime | None = None
    peak_memory: PeakMemory | None = None
    not_available: Annotated[list[NotAvailable], Meta(max_length=MAX_TOLD)] = []
    trace: TracedSteps
    environment: Environment | None = None

    @property
    def name(self) -> str:
        """Of the case."""
        return self.config.name

    @property
    def steps(self) -> int:
        """How many the operations' times are summed over."""
        return len(self.trace.traced_step_seconds)

    @property
    def untraced_seconds(self) -> float:
        """A step without the profiler, the median."""
        return statistics.median(self.trace.untraced_step_seconds)

    @property
    def traced_seconds(self) -> float:
        """A step under the profiler, the median."""
        return statistics.median(self.trace.traced_step_seconds)

    @property
    def busy_threads(self) -> float:
        """How many threads were inside operations at once, on average over the traced steps."""
        return sum(each.self_seconds for each in self.operations) / sum(self.trace.traced_step_seconds)

    @property
    def overhead(self) -> float:
        """What the profiler added to a step, as a fraction of it; medians."""
        return self.traced_seconds / self.untraced_seconds - 1


def read(document: Any) -> Profile:
    """A profile.json as a type. Raises GnetError naming the field that is missing or wrong.

    Old files lack what was added since: parts, breakdown, kernels, device_time, peak_memory and not_available, and of a
    kernel what its name tells of tensor cores.
    """
    if not isinstance(document, dict):
        raise GnetError(f"profile.json: {document!r:.60} is no object")
    if "config" not in document:
        raise GnetError("profile.json: field 'config' is missing")
    try:
        config = read_config(document["config"])
    except TypeError as error:
        raise GnetError(f"profile.json: field 'config' is of no case ({error!s:.200})") from error
    counting = document.get("counting") or counting_of(str(document.get("note", "")))
    current = {**document, "config": config.to_dict(), "counting": counting}
    if isinstance(document.get("kernels"), list):
        current["kernels"] = [_with_tensor_cores(kernel) for kernel in document["kernels"][: MAX_ROWS + 1]]
    profile = json_documents.typed("profile.json", current, Profile)
    profile = msgspec.structs.replace(profile, config=config)  # its numbers as they were written: 0 and not 0.0
    if not CASE_NAME.fullmatch(profile.name):
        raise GnetError(f"profile.json: field 'config' is of a case that cannot be: {profile.name!r:.80}")
    return profile


def _with_tensor_cores(kernel: Any) -> Any:
    """Earlier versions told xprof's opinion of tensor cores; a kernel's name tells more."""
    if not isinstance(kernel, dict) or "tensor_cores" in kernel:
        return kernel
    return {**kernel, "tensor_cores": tensor_cores.use(str(kernel.get("kernel", "")))}


def is_profile(directory: Path) -> bool:
    """Whether gnet profile wrote it. Raises GnetError where no run.json can be read."""
    document, _digest = json_documents.read_json(directory / "run.json", directory)
    return document.get("kind") == "profile"


def load_profile(directory: Path) -> ProfileRun:
    """run.json of `gnet profile`. Raises GnetError naming it for a field that is missing or wrong."""
    path = directory / "run.json"
    found = json_documents.typed(str(path), json_documents.read_versioned(path, directory), ProfileRun)
    try:
        read_config(found.config)
        bounded.require_inside(directory / found.trace.xplane, directory)
    except (TypeError, GnetError) as error:
        raise GnetError(f"{path}: it describes no profile: {error}") from error
    return found
