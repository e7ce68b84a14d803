"""The operations that ran in a TensorFlow trace: self time by name, by type, and by part of the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from gnet_core.config import GnetError
from gnet_core.profile import compiled
from gnet_core.profile.parts import OTHER, PARTS, place
from gnet_core.profile.xprof import NoAnswerError, Trace, rows

MOST_EVENTS = 1_000_000
"""xprof's trace_viewer drops events beyond this without a word, so that counts would fall short."""

MOST_DEVICE_OPERATIONS = 499
"""xprof's framework_op_stats lists the longest 500 rows of a device, idle time being one of them."""

NO_NAMES = "eager execution tells the profiler an operation's type and not its name; trace with execution graph"
NO_PARTS = "none of the operations' names is one of the network's"
"""Why there is no time by part of the network."""

_EAGER_EVENT = "EagerLocalExecute: "


def single_operations(trace: Trace, *, on_gpu: bool) -> pd.DataFrame:
    """A row for every named operation of the step, longest first: name, operation (its type), occurrences,
    self_seconds, share (0..1, summing to 1). `attrs` hold a "note" that says what the times are, "unplaced", why the
    names tell no part of the network, else "", "cut", whether xprof left out the shorter operations, and
    "launched_seconds", the time that only the launches of a GPU's kernels gave to operations.

    They come from the trace's events, since xprof's framework_op_stats leaves out all but 500 operations, counts a
    memory allocation as one more occurrence, and knows nothing of eager execution. It is asked for what XLA compiled
    for a GPU, whose kernels it finds in the module. A GPU's operations are never the host's, which only waits for
    them. Raises NoAnswerError for a trace that holds no time per operation, and GnetError for more events than xprof
    keeps.
    """
    launched_seconds, cut = 0.0, False
    if on_gpu:
        table, note, named, launched_seconds, cut = _device_operations(trace)
    else:
        table, note, named = _host_operations(trace)
    if table.empty:
        raise NoAnswerError(
            "the trace tells of no operation that ran on the GPU"
            if on_gpu
            else "the trace holds no operations; trace at least one whole train step"
        )
    table = _with_share(table)
    placed = any(place(name).part != OTHER for name in table["name"])
    table.attrs = {
        "note": note,
        "unplaced": NO_NAMES if not named else "" if placed else NO_PARTS,
        "cut": cut,
        "launched_seconds": launched_seconds,
    }
    return table


def by_type(singles: pd.DataFrame) -> pd.DataFrame:
    """The same by type of operation: operation, occurrences, self_seconds, share, longest first."""
    return _with_share(singles.groupby("operation", as_index=False)[["occurrences", "self_seconds"]].sum())


def by_part(singles: pd.DataFrame) -> pd.DataFrame:
    """The same by part of the network and direction, in the order in which a step comes to them.

    Columns: part, direction, occurrences, self_seconds, share. Empty where operations have no names to go by.
    """
    places = pd.DataFrame([place(name) for name in singles["name"]], columns=["part", "direction"])
    if singles.attrs["unplaced"]:
        places = places.iloc[:0]
    table = places.join(singles[["occurrences", "self_seconds", "share"]])
    table = table.groupby(["part", "direction"], as_index=False).sum()
    order = table["part"].map(PARTS.index)
    return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def _with_share(table: pd.DataFrame) -> pd.DataFrame:
    table = table.assign(share=table["self_seconds"] / (table["self_seconds"].sum() or 1.0))
    return table.sort_values("share", ascending=False, ignore_index=True, kind="stable")


class _DeviceOperations(NamedTuple):
    """What ran on accelerators."""

    table: pd.DataFrame
    """Name, operation, occurrences (of kernels) and self_seconds."""
    note: str
    named: bool
    """Whether the names are names: an operation that ran eagerly is called by its type."""
    launched_seconds: float
    cut: bool


_KERNELS_NOTE = "Self time of the device's kernels."
_LAUNCHES_NOTE = "Self time of the device's kernels, each counted to the eager operation that launched it."


def _device_operations(trace: Trace) -> _DeviceOperations:
    try:
        events = trace.events()
    except NoAnswerError:
        return _listed_operations(trace)
    on_device = [event for event in events if event["device"].startswith(_GPU) and "correlation_id" in event["args"]]
    if len(events) >= MOST_EVENTS or not on_device or any("hlo_op" in event["args"] for event in on_device):
        return _listed_operations(trace)
    launched = _launched_by(events)
    values, launched_seconds = [], 0.0
    for event in on_device:
        name, _colon, kind = event["args"].get("tf_op", "").rpartition(":")
        if not name and (kind := launched.get(event["args"]["correlation_id"], "")):
            name = kind
            launched_seconds += event["dur"] / 1e6
        if name:
            values.append((name, kind, event["dur"] / 1e6))
    table = pd.DataFrame(values, columns=["name", "operation", "self_seconds"])
    grouped = table.groupby(["name", "operation"], as_index=False)
    table = grouped.agg(occurrences=("self_seconds", "size"), self_seconds=("self_seconds", "sum"))
    # Of an eager step the copies between host and device have names all the same.
    named = launched_seconds < sum(seconds for name, kind, seconds in values if name != kind)
    return _DeviceOperations(
        table, _LAUNCHES_NOTE if launched_seconds else _KERNELS_NOTE, named, launched_seconds, cut=False
    )


_GPU = "/device:GPU"


def _listed_operations(trace: Trace) -> _DeviceOperations:
    """As xprof's framework_op_stats lists them, which knows XLA's modules."""
    _with_idle, without_idle = trace.tool("framework_op_stats")
    found = [row for row in rows(without_idle) if row["host_or_device"] == "Device"]
    values = [(row["operation"], row["type"], int(row["occurrences"]), row["total_self_time"] / 1e6) for row in found]
    table = pd.DataFrame(values, columns=["name", "operation", "occurrences", "self_seconds"])
    named = any(name != kind for name, kind, *_ in values)
    return _DeviceOperations(table, _KERNELS_NOTE, named, 0.0, cut=len(table) >= MOST_DEVICE_OPERATIONS)


def _launched_by(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By the number that a launch and what it launched have in common, the type of the eager operation around it.

    The profiler writes on an eager step's kernels no operation. Both are on the same thread of the host; of operations
    within each other it is the innermost one.
    """
    threads: dict[int, list[Mapping[str, Any]]] = {}
    for event in events:
        is_launch = "correlation_id" in event["args"]
        if not event["device"].startswith(_GPU) and (is_launch or event["name"].startswith(_EAGER_EVENT)):
            threads.setdefault(event["tid"], []).append(event)
    found = {}
    for thread in threads.values():
        around: list[Mapping[str, Any]] = []
        for event in sorted(thread, key=lambda event: (event["ts"], -event["dur"])):
            while around and around[-1]["ts"] + around[-1]["dur"] < event["ts"]:
                around.pop()
            if "correlation_id" not in event["args"]:
                around.append(event)
            elif around:
                found[event["args"]["correlation_id"]] = around[-1]["name"].removeprefix(_EAGER_EVENT)
    return found


def _host_operations(trace: Trace) -> tuple[pd.DataFrame, str, bool]:
    """Name, type, count and self time of what ran on a CPU, a note on the times, and whether the names are names."""
    events = trace.events()
    if len(events) >= MOST_EVENTS:
        raise GnetError(f"xplane: '{trace.xplane}' has {len(events)} events, as many as xprof keeps; trace fewer steps")
    named = True
    spans = [(event, _graph_operation(event)) for event in events]
    note = "Wall time inside each operation on the CPU, what it hands to other threads included."
    if not any(operation for _, operation in spans):
        spans, named = [(event, _eager_operation(event)) for event in events], False
        note = "Wall time inside each operation on the CPU, TensorFlow's own dispatch included, Python's left out."
    operations = [(event, operation) for event, operation in spans if operation]
    if any(map(compiled.is_instruction, events)):
        values, note, named = compiled.operations(events, trace.module_texts()), compiled.NOTE, True
    else:
        seconds = self_seconds([event for event, _ in operations])
        values = [(*operation, own) for (_, operation), own in zip(operations, seconds, strict=True)]
    table = pd.DataFrame(values, columns=["name", "operation", "self_seconds"])
    grouped = table.groupby(["name", "operation"], as_index=False)
    return grouped.agg(occurrences=("self_seconds", "size"), self_seconds=("self_seconds", "sum")), note, named


def _graph_operation(event: dict[str, Any]) -> tuple[str, str] | None:
    """Name and type of the operation that a graph's executor ran, which xprof joins by a colon."""
    name, colon, kind = event["args"].get("long_name", "").rpartition(":")
    return (name, kind) if colon else None


def _eager_operation(event: dict[str, Any]) -> tuple[str, str] | None:
    kind = event["name"]
    if not kind.startswith(_EAGER_EVENT):
        return None
    kind = kind.removeprefix(_EAGER_EVENT)
    return kind, kind  # eager operations have a type and no name


def self_seconds(events: list[dict[str, Any]]) -> list[float]:
    """Each event's duration less that of the events directly inside it on the same thread, in the order received.

    `ts` and `dur` are microseconds.
    """
    rounding = 0.002  # xprof cuts both to nanoseconds, so that a nested event may seem to end later than its parent
    own = [event["dur"] for event in events]
    enclosing: list[int] = []
    for index in sorted(range(len(events)), key=lambda i: (events[i]["tid"], events[i]["ts"], -events[i]["dur"])):
        while enclosing and not _is_inside(events[index], events[enclosing[-1]], rounding):
            enclosing.pop()
        if enclosing:
            own[enclosing[-1]] -= events[index]["dur"]
        enclosing.append(index)
    return [max(microseconds, 0.0) / 1e6 for microseconds in own]


def _is_inside(event: dict[str, Any], other: dict[str, Any], rounding: float) -> bool:
    """Whether `event`, which started no earlier than `other`, also ended no later, on the same thread."""
    same_thread = bool(event["tid"] == other["tid"])
    return same_thread and bool(event["ts"] + event["dur"] <= other["ts"] + other["dur"] + rounding)
