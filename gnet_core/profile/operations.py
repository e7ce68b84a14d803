"""The operations that ran in a TensorFlow trace: self time by name, by type, and by part of the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from gnet_core.config import GnetError
from gnet_core.profile import compiled
from gnet_core.profile.document import Counting
from gnet_core.profile.parts import OTHER, PARTS, place
from gnet_core.profile.xprof import NoAnswerError, Trace, nested, rows

MAX_EVENTS = 1_000_000
"""xprof's trace_viewer drops further events without a warning, so that counts would be too small."""

MAX_DEVICE_OPERATIONS = 499
"""xprof's framework_op_stats lists the longest 500 rows of a device, and idle time is one of them."""

NO_NAMES = "eager execution gives the profiler an operation's type and not its name; trace with execution graph"
NO_PARTS = "none of the operations' names is one of the network's"

_EAGER_EVENT = "EagerLocalExecute: "
_GPU = "/device:GPU"


class OperationTimes(NamedTuple):
    """The operations of a trace with their time; shares are 0 to 1 and add up to 1."""

    table: pd.DataFrame
    """A row for every named operation, longest first: name, operation (its type), occurrences, self_seconds, share."""
    counting: Counting
    named: bool = True
    """Whether operations have names; those of eager execution have types alone."""
    launched_seconds: float = 0.0
    """Seconds of a GPU's kernels that could be assigned to operations only by the launches of the kernels."""
    cut: bool = False
    """Whether xprof left out the shorter operations."""

    @property
    def unplaced(self) -> str:
        """Why no operation has a part of the network; empty where some have."""
        if not self.named:
            return NO_NAMES
        return "" if any(place(name).part != OTHER for name in self.table["name"]) else NO_PARTS


def operation_times(trace: Trace, *, on_gpu: bool) -> OperationTimes:
    """The time of each operation, from the events of the trace.

    xprof's own framework_op_stats leaves out all but 500 operations, counts a memory allocation as one more occurrence,
    and does not know eager execution. It is used for what XLA compiled for a GPU, whose kernels it finds in the module.
    On a GPU the operations of the host are left out, since they only wait for the device. Raises NoAnswerError for a
    trace that holds no time of operations, and GnetError for more events than xprof keeps.
    """
    times = _device_operations(trace) if on_gpu else _host_operations(trace)
    if times.table.empty:
        missing = "operation that ran on the GPU" if on_gpu else "operations; trace at least one whole train step"
        raise NoAnswerError(f"the trace holds no {missing}")
    return times._replace(table=_with_share(times.table))


def by_type(times: OperationTimes) -> pd.DataFrame:
    """The time by type, longest first: operation, occurrences, self_seconds, share."""
    return _with_share(times.table.groupby("operation", as_index=False)[["occurrences", "self_seconds"]].sum())


def by_part(times: OperationTimes) -> pd.DataFrame:
    """The time in the order of a step: part, direction, occurrences, self_seconds, share. Empty where unplaced."""
    places = pd.DataFrame([place(name) for name in times.table["name"]], columns=["part", "direction"])
    if times.unplaced:
        places = places.iloc[:0]
    table = places.join(times.table[["occurrences", "self_seconds", "share"]])
    table = table.groupby(["part", "direction"], as_index=False).sum()
    order = table["part"].map(PARTS.index)
    return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def _with_share(table: pd.DataFrame) -> pd.DataFrame:
    table = table.assign(share=table["self_seconds"] / (table["self_seconds"].sum() or 1.0))
    return table.sort_values("share", ascending=False, ignore_index=True, kind="stable")


def _totals(runs: list[tuple[str, str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(runs, columns=["name", "operation", "self_seconds"])
    grouped = table.groupby(["name", "operation"], as_index=False)
    return grouped.agg(occurrences=("self_seconds", "size"), self_seconds=("self_seconds", "sum"))


def _device_operations(trace: Trace) -> OperationTimes:
    try:
        events = trace.events()
    except NoAnswerError:
        return _listed_operations(trace)
    on_device = [event for event in events if event["device"].startswith(_GPU) and "correlation_id" in event["args"]]
    if len(events) >= MAX_EVENTS or not on_device or any("hlo_op" in event["args"] for event in on_device):
        return _listed_operations(trace)
    launched = _launched_by(events)
    runs, launched_seconds = [], 0.0
    for event in on_device:
        seconds = event["dur"] / 1e6
        name, _colon, kind = event["args"].get("tf_op", "").rpartition(":")
        if not name and (kind := launched.get(event["args"]["correlation_id"], "")):
            name = kind
            launched_seconds += seconds
        if name:
            runs.append((name, kind, seconds))
    # In an eager step the copies between host and device have names all the same.
    named = launched_seconds < sum(seconds for name, kind, seconds in runs if name != kind)
    counting: Counting = "launched kernels" if launched_seconds else "kernels"
    return OperationTimes(_totals(runs), counting, named, launched_seconds)


def _listed_operations(trace: Trace) -> OperationTimes:
    """The operations that xprof's framework_op_stats lists, which knows XLA's modules."""
    _with_idle, without_idle = trace.tool("framework_op_stats")
    listed = [row for row in rows(without_idle) if row["host_or_device"] == "Device"]
    values = [(row["operation"], row["type"], int(row["occurrences"]), row["total_self_time"] / 1e6) for row in listed]
    table = pd.DataFrame(values, columns=["name", "operation", "occurrences", "self_seconds"])
    named = bool((table["name"] != table["operation"]).any())
    return OperationTimes(table, "kernels", named, cut=len(table) >= MAX_DEVICE_OPERATIONS)


def _launched_by(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The type of the eager operation that launched each kernel, by the correlation id of the launch and the kernel.

    The profiler writes no operation on the kernels of an eager step. A launch lies inside its operation on the same
    thread of the host; of nested operations the innermost one counts.
    """
    spans = [
        event
        for event in events
        if not event["device"].startswith(_GPU) and ("correlation_id" in event["args"] or _is_eager(event))
    ]
    _own, parents = nested(spans)
    launched = {}
    for span, parent in zip(spans, parents, strict=True):
        while parent is not None and "correlation_id" in spans[parent]["args"]:
            parent = parents[parent]
        if parent is not None and "correlation_id" in span["args"]:
            launched[span["args"]["correlation_id"]] = spans[parent]["name"].removeprefix(_EAGER_EVENT)
    return launched


def _host_operations(trace: Trace) -> OperationTimes:
    events = trace.events()
    if len(events) >= MAX_EVENTS:
        raise GnetError(f"xplane: '{trace.xplane}' has {len(events)} events, as many as xprof keeps; trace fewer steps")
    if any(map(compiled.is_instruction, events)):
        return OperationTimes(_totals(compiled.operations(events, trace.module_texts())), "compiled instructions")
    counting: Counting = "graph operations"
    spans = [(event, *operation) for event in events if (operation := _graph_operation(event))]
    if not spans:
        counting = "eager operations"  # which have a type and no name
        kinds = [(event, event["name"].removeprefix(_EAGER_EVENT)) for event in events if _is_eager(event)]
        spans = [(event, kind, kind) for event, kind in kinds]
    own_microseconds, _parents = nested([event for event, *_ in spans])
    runs = [(name, kind, max(own, 0.0) / 1e6) for (_, name, kind), own in zip(spans, own_microseconds, strict=True)]
    return OperationTimes(_totals(runs), counting, named=counting == "graph operations")


def _graph_operation(event: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and type of the operation that a graph's executor ran, which xprof joins by a colon."""
    name, colon, kind = event["args"].get("long_name", "").rpartition(":")
    return (name, kind) if colon else None


def _is_eager(event: Mapping[str, Any]) -> bool:
    return str(event["name"]).startswith(_EAGER_EVENT)
