"""What a profile.json holds, as typed records: whatever does not fit is refused by its field."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import bounded, json_documents
from gnet_core.files.json_documents import CASE_NAME
from gnet_core.files.migrations import read_config
from gnet_core.machine import environment as machine
from gnet_core.profile import tensor_cores
from gnet_core.profile.counting import counting_of
from gnet_core.profile.parts import DIRECTIONS, PARTS

MOST_ROWS = 100_000
"""Of a table; no step has as many operations."""

MOST_TOLD = 50
"""Of rows that a report shows all of: kinds of time, what is not available, warnings."""

_RUN_FIELDS: json_documents.Fields = {
    "created": str,
    "device": str,
    "config": dict,
    "environment": dict,
    "trace": dict,
}
"""Of the run.json beside a profile."""

Record = TypeVar("Record")

_LIBRARY = re.compile(r"_+(Mkl)?(Native)?(Fused)?(?P<type>[A-Z]\w*?)(WithBias)?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OperationType:
    """A type of operation, over all traced steps."""

    operation: str
    occurrences: int
    self_seconds: float
    share: float
    """Of the self time of all operations, 0..1."""

    @property
    def plain(self) -> str:
        """The type without what oneDNN and Grappler put around it: _MklNativeFusedConv2D is a Conv2D."""
        found = _LIBRARY.fullmatch(self.operation)
        return found["type"] if found else self.operation


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartTime:
    """A part of the network in one direction, over all traced steps."""

    part: str
    direction: str
    occurrences: int
    self_seconds: float
    share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class KindOfTime:
    """What a step's time goes to as xprof divides it: the mean over its steps."""

    kind: str
    seconds: float
    share: float
    """Of the step's time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel of a GPU, over all traced steps."""

    kernel: str
    tensor_cores: str
    """Whether it uses them: one of gnet_core.profile.tensor_cores.USES."""
    occurrences: int
    seconds: float
    occupancy: float
    """Theoretical, 0..1."""
    share: float
    """Of the time of all kernels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceTime:
    """What operations and kernels tell of a GPU's time, over all traced steps."""

    operations_seconds: float
    kernels_seconds: float
    unnamed_kernels_seconds: float
    """Of kernels that belong to no operation."""
    operations_cut: bool
    """Whether xprof left out the shorter operations."""
    kernels_cut: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """The most that an allocator had handed out at once while the trace was taken."""

    allocator: str
    peak_bytes: int
    capacity_bytes: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class NotAvailable:
    """What a trace does not tell, and why."""

    what: str
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """A profile.json, read."""

    config: StepConfig
    created: str
    counting: str
    """How the operations' times were counted, a Counting; the note of a version that knew of none."""
    note: str
    """What the operations' times are."""
    operations: list[OperationType]
    """Longest first; empty where the trace tells none."""
    parts: list[PartTime]
    breakdown: list[KindOfTime]
    kernels: list[Kernel]
    device_time: DeviceTime | None
    peak_memory: PeakMemory | None
    not_available: list[NotAvailable]
    traced_step_seconds: list[float]
    untraced_step_seconds: list[float]
    warnings: list[str]
    environment: Mapping[str, Any]
    """Not looked at; empty where there is none."""

    @property
    def name(self) -> str:
        """Of the case."""
        return self.config.name

    @property
    def steps(self) -> int:
        """How many the operations' times are summed over."""
        return len(self.traced_step_seconds)

    @property
    def untraced_seconds(self) -> float:
        """A step without the profiler, the median."""
        return statistics.median(self.untraced_step_seconds)

    @property
    def traced_seconds(self) -> float:
        """A step under the profiler, the median."""
        return statistics.median(self.traced_step_seconds)

    @property
    def busy_threads(self) -> float:
        """How many threads were inside operations at once, on average over the traced steps."""
        return sum(each.self_seconds for each in self.operations) / sum(self.traced_step_seconds)

    @property
    def overhead(self) -> float:
        """What the profiler added to a step, as a fraction of it; medians."""
        return self.traced_seconds / self.untraced_seconds - 1


def read(document: Any) -> Profile:
    """A profile.json as records. Raises GnetError naming the field that is missing or wrong.

    Old files lack what was added since: parts, breakdown, kernels, device_time, peak_memory and not_available, and of a
    kernel what its name tells of tensor cores.
    """
    if not isinstance(document, dict):
        raise GnetError(f"profile.json: {document!r:.60} is no object")
    trace = _of_type(document, "trace", dict)
    return Profile(
        config=_config(document),
        created=str(document.get("created", "")),
        counting=str(document.get("counting") or counting_of(str(document.get("note", "")))),
        note=str(document.get("note", "")),
        operations=_records(document, "operations", OperationType),
        parts=_parts(document),
        breakdown=_records(document, "breakdown", KindOfTime, optional=True, most=MOST_TOLD),
        kernels=_kernels(document),
        device_time=_optional(document, "device_time", DeviceTime),
        peak_memory=_optional(document, "peak_memory", PeakMemory),
        not_available=_records(document, "not_available", NotAvailable, optional=True, most=MOST_TOLD),
        traced_step_seconds=_times(trace, "traced_step_seconds"),
        untraced_step_seconds=_times(trace, "untraced_step_seconds"),
        warnings=[str(warning) for warning in _rows(trace, "warnings", MOST_TOLD)],
        environment=document["environment"] if isinstance(document.get("environment"), dict) else {},
    )


def _config(document: Mapping[str, Any]) -> StepConfig:
    try:
        config = read_config(_of_type(document, "config", dict))
    except TypeError as error:
        raise GnetError(f"profile.json: field 'config' is of no case ({error!s:.200})") from error
    if not CASE_NAME.fullmatch(config.name):
        raise GnetError(f"profile.json: field 'config' is of a case that cannot be: {config.name!r:.80}")
    return config


def _parts(document: Mapping[str, Any]) -> list[PartTime]:
    parts = _records(document, "parts", PartTime, optional=True)
    for each in parts:
        if each.part not in PARTS or each.direction not in DIRECTIONS:
            raise GnetError(
                f"profile.json: field 'parts' holds {each.part!r:.40}, {each.direction!r:.40}; no such part"
            )
    return parts


def _kernels(document: Mapping[str, Any]) -> list[Kernel]:
    """Earlier versions told xprof's opinion of tensor cores; a kernel's name tells more."""
    kernels = []
    for value in _rows(document, "kernels", MOST_ROWS) if "kernels" in document else []:
        if isinstance(value, dict) and "tensor_cores" not in value:
            value = {**value, "tensor_cores": tensor_cores.use(str(value.get("kernel", "")))}
        kernel = _record("kernels", value, Kernel)
        if kernel.tensor_cores not in tensor_cores.USES:
            raise GnetError(
                f"profile.json: field 'kernels.tensor_cores' is {kernel.tensor_cores!r:.60}; it is one of "
                f"{', '.join(tensor_cores.USES)}"
            )
        kernels.append(kernel)
    return kernels


def _times(trace: Mapping[str, Any], field: str) -> list[float]:
    times = _of_type(trace, field, list)
    for seconds in times:
        if not _is_number(seconds, float) or seconds <= 0:
            raise GnetError(f"profile.json: field 'trace.{field}' holds {seconds!r:.40}; times are positive seconds")
    if not times:
        raise GnetError(f"profile.json: field 'trace.{field}' is empty; a trace has at least one step")
    return [float(seconds) for seconds in times]


def _records(
    document: Mapping[str, Any], field: str, kind: type[Record], *, optional: bool = False, most: int = MOST_ROWS
) -> list[Record]:
    if optional and field not in document:
        return []
    return [_record(field, value, kind) for value in _rows(document, field, most)]


def _optional(document: Mapping[str, Any], field: str, kind: type[Record]) -> Record | None:
    return None if document.get(field) is None else _record(field, document[field], kind)


def _rows(document: Mapping[str, Any], field: str, most: int) -> list[Any]:
    values = _of_type(document, field, list)
    if len(values) > most:
        raise GnetError(f"profile.json: field '{field}' has {len(values)} rows; no trace of a step has as many")
    return values


def _record(where: str, value: Any, kind: type[Record]) -> Record:
    """One row; fields that this version does not know are left out."""
    if not isinstance(value, dict):
        raise GnetError(f"profile.json: field '{where}' holds {value!r:.60}, which is no object")
    found = {}
    for field, wanted in get_type_hints(kind).items():
        if field not in value:
            raise GnetError(f"profile.json: field '{where}' has a row without '{field}'")
        if not _fits(value[field], wanted):
            raise GnetError(f"profile.json: field '{where}.{field}' is {value[field]!r:.60}, which it cannot be")
        found[field] = value[field]
    return kind(**found)


def _fits(value: Any, wanted: Any) -> bool:
    if options := get_args(wanted):  # int | None
        return any(_fits(value, option) for option in options)
    if wanted in (int, float):
        return _is_number(value, wanted)
    return isinstance(value, wanted)


def _is_number(value: Any, wanted: type) -> bool:
    """Whether it is a figure that a trace can hold: finite, not negative, and not too large to calculate with."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or (wanted is float and isinstance(value, float))
    return number and 0 <= value < 2**63 and math.isfinite(value)


def _of_type(document: Mapping[str, Any], field: str, wanted: type[Record]) -> Record:
    if field not in document:
        raise GnetError(f"profile.json: field '{field}' is missing")
    found = document[field]
    if not isinstance(found, wanted):
        raise GnetError(f"profile.json: field '{field}' is {found!r:.60}; it has to be a {wanted.__name__}")
    return found


def is_profile(directory: Path) -> bool:
    """Whether gnet profile wrote it. Raises GnetError where no run.json can be read."""
    document, _digest = json_documents.read_json(directory / "run.json", directory)
    return document.get("kind") == "profile"


def load_profile(directory: Path) -> dict[str, Any]:
    """What gnet profile wrote into run.json. Raises GnetError naming it for a field that is missing or wrong."""
    path = directory / "run.json"
    document = json_documents.read_versioned(path, directory)
    json_documents.require_fields(str(path), document, _RUN_FIELDS)
    machine.require_environment(path, document["environment"], document["device"])
    try:
        read_config(document["config"])
        bounded.require_inside(directory / document["trace"]["xplane"], directory)
    except (KeyError, TypeError, GnetError) as error:
        raise GnetError(f"{path}: it describes no profile: {error}") from error
    return document
