"""A TensorFlow trace (*.xplane.pb) as tables, by way of xprof. Nothing here needs TensorFlow."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tabulate import tabulate

from gnet_core.config import GnetError, require_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_STEPS = 10
"""xprof recognises no more steps in one trace."""

MOST_EVENTS = 1_000_000
"""xprof's trace_viewer drops events beyond this without a word, so that counts would fall short."""

MOST_DEVICE_OPERATIONS = 499
"""xprof's framework_op_stats lists 500 rows, idle time being one of them."""

_COMPILED_FUNCTION = "__inference_"
_EAGER_EVENT = "EagerLocalExecute: "


def require_steps(steps: int) -> None:
    """Raise GnetError for a number of steps that a trace cannot have."""
    require_whole("steps", steps, least=1)
    if steps > MOST_STEPS:
        raise GnetError(f"steps: {steps} is too many; xprof recognises at most {MOST_STEPS} in a trace")


def operation_table(xplane: Path) -> pd.DataFrame:
    """Self time by type of operation, longest first: operation, occurrences, self_seconds, share (0..1, summing to 1).

    `attrs["note"]` says what the times are. See single_operation_table for where they come from and for what is raised.
    """
    singles = single_operation_table(xplane)
    table = singles.groupby("operation", as_index=False)[["occurrences", "self_seconds"]].sum()
    return _with_share(table, singles.attrs["note"])


def single_operation_table(xplane: Path) -> pd.DataFrame:
    """As operation_table with a row for every named operation of the graph, and its name in a first column `name`.

    A GPU's operations come from xprof's framework_op_stats. A CPU's come from the trace's events, since there
    framework_op_stats leaves out all but 500 operations, counts a memory allocation as one more occurrence, and knows
    nothing of eager execution. Raises GnetError for a file that is no trace or that holds no time per operation, as the
    trace of an XLA step on a CPU.
    """
    _with_idle, without_idle = _convert(xplane, "framework_op_stats")
    table, note = _device_operations(_rows(without_idle))
    if table.empty:
        table, note = _host_operations(xplane, _convert(xplane, "trace_viewer")["traceEvents"])
    if table.empty:
        raise GnetError(f"xplane: '{xplane}' holds no operations; trace at least one whole train step")
    if table["operation"].str.startswith(_COMPILED_FUNCTION).all():
        raise GnetError(
            f"xplane: '{xplane}' is of an XLA step on a CPU, one compiled function that the profiler cannot split into "
            "operations; trace with execution graph or eager, or on a GPU"
        )
    return _with_share(table, note)


def step_seconds(xplane: Path) -> list[float]:
    """Seconds of each traced step as xprof sees it, in order; empty for a trace whose steps were not marked.

    Of six steps or more xprof leaves out the first and the last. Raises GnetError for a file that is no trace.
    """
    overview = _convert(xplane, "overview_page")
    step_tables = [table for table in overview if any(column["id"] == "stepTimeMs" for column in table.get("cols", []))]
    return [row["stepTimeMs"] / 1e3 for table in step_tables for row in _rows(table)]


def operation_markdown(table: pd.DataFrame, most: int = 12) -> str:
    """An operation_table as Markdown: its first `most` rows, and one for all others. Raises GnetError for most < 1."""
    require_whole("most", most, least=1)
    kept, cut = table.iloc[:most], table.iloc[most:]
    rows = list(kept[["operation", "occurrences", "self_seconds", "share"]].itertuples(index=False, name=None))
    if len(cut):
        label = f"other ({len(cut)} operation{'s' if len(cut) > 1 else ''})"
        rows.append((label, cut["occurrences"].sum(), cut["self_seconds"].sum(), cut["share"].sum()))
    return tabulate(
        [(name, f"{count:.0f}", f"{seconds * 1e3:.2f}", f"{share:.1%}") for name, count, seconds, share in rows],
        headers=("operation", "count", "self time (ms)", "share"),
        tablefmt="pipe",
        colalign=("left", "right", "right", "right"),
        disable_numparse=True,
    )


def _with_share(table: pd.DataFrame, note: str) -> pd.DataFrame:
    table = table.assign(share=table["self_seconds"] / table["self_seconds"].sum())
    table = table.sort_values("share", ascending=False, ignore_index=True, kind="stable")
    table.attrs["note"] = note
    return table


def _device_operations(rows: list[dict[str, Any]]) -> tuple[pd.DataFrame, str]:
    """What ran on accelerators, which is where the time goes when there is one: the host's rows then only wait."""
    rows = [row for row in rows if row["host_or_device"] == "Device"]
    note = "Self time of the device's kernels."
    if len(rows) >= MOST_DEVICE_OPERATIONS:
        note += f" xprof lists the longest {len(rows)} operations and leaves the rest out."
    columns = ["name", "operation", "occurrences", "self_seconds"]
    values = [(row["operation"], row["type"], int(row["occurrences"]), row["total_self_time"] / 1e6) for row in rows]
    return pd.DataFrame(values, columns=columns), note


def _host_operations(xplane: Path, events: list[dict[str, Any]]) -> tuple[pd.DataFrame, str]:
    if len(events) >= MOST_EVENTS:
        raise GnetError(f"xplane: '{xplane}' has {len(events)} events, as many as xprof keeps; trace fewer steps")
    spans = [(event, _graph_operation(event)) for event in events]
    note = "Wall time inside each operation on the CPU, summed over threads."
    if not any(operation for _, operation in spans):
        spans = [(event, _eager_operation(event)) for event in events]
        note = "Wall time inside each operation on the CPU, TensorFlow's own dispatch included, Python's left out."
    operations = [(event, operation) for event, operation in spans if operation]
    seconds = _self_seconds([event for event, _ in operations])
    values = [(*operation, own) for (_, operation), own in zip(operations, seconds, strict=True)]
    table = pd.DataFrame(values, columns=["name", "operation", "self_seconds"])
    grouped = table.groupby(["name", "operation"], as_index=False)
    return grouped.agg(occurrences=("self_seconds", "size"), self_seconds=("self_seconds", "sum")), note


def _graph_operation(event: dict[str, Any]) -> tuple[str, str] | None:
    """Name and type of the operation that a graph's executor ran, which xprof joins by a colon."""
    name, colon, kind = event.get("args", {}).get("long_name", "").rpartition(":")
    return (name, kind) if colon else None


def _eager_operation(event: dict[str, Any]) -> tuple[str, str] | None:
    kind = event.get("name", "")
    if not kind.startswith(_EAGER_EVENT):
        return None
    kind = kind.removeprefix(_EAGER_EVENT)
    return kind, kind  # eager operations have a type and no name


def _self_seconds(events: list[dict[str, Any]]) -> list[float]:
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


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table in Google's visualisation format, by column id."""
    columns = [column["id"] for column in table["cols"]]
    return [dict(zip(columns, (cell.get("v") for cell in row["c"]), strict=True)) for row in table["rows"]]


def _convert(xplane: Path, tool: str) -> Any:
    """What one of xprof's tools says of a trace, parsed. Raises GnetError for a file that xprof cannot read."""
    if not xplane.is_file():
        raise GnetError(f"xplane: '{xplane}' is no file; use the *.xplane.pb that a trace wrote")
    # xprof leaves cache files beside what it reads, so it reads a copy.
    with tempfile.TemporaryDirectory() as folder, _silent_stderr():
        from xprof.convert import raw_to_tool_data

        copy = shutil.copy(xplane, Path(folder) / "host.xplane.pb")
        data, _content_type = raw_to_tool_data.xspace_to_tool_data([str(copy)], tool, {})
    if data is None:  # all that xprof says of a failure
        raise GnetError(f"xplane: '{xplane}' is no trace that xprof can read; use the *.xplane.pb that a trace wrote")
    return json.loads(data)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: xprof's C++ side logs there, out of reach of sys.stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
