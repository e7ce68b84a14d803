"""A profile, said to people and to programs: profile.json, operations.csv, report.md and the terminal."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core import machine, profile
from gnet_core.config import GnetError, StepConfig
from gnet_core.files import write_whole
from gnet_core.markdown import environment_table, escape
from gnet_core.records import PROFILE_FILE, load_profile


def write(directory: Path) -> dict[str, Any]:
    """Convert the trace that directory/run.json names; write profile.json, operations.csv and report.md beside it.

    Returns what profile.json holds. Raises GnetError for a directory without a profile or a trace that cannot be read.
    """
    described = load_profile(directory)
    document = {key: described[key] for key in ("created", "device", "config", "environment", "trace")}
    document |= _where_time_went(directory / described["trace"]["xplane"])
    write_whole(directory / PROFILE_FILE, json.dumps(document, indent=1))
    if document["operations"]:
        table = pd.DataFrame(document["operations"])
        write_whole(directory / "operations.csv", table.to_csv(index=False, lineterminator="\n"))
    write_whole(directory / "report.md", to_markdown(document))
    return document


def _where_time_went(xplane: Path) -> dict[str, Any]:
    """The trace's tables as plain data, or why it has none."""
    found: dict[str, Any] = {"step_seconds": profile.step_seconds(xplane), "operations": [], "note": ""}
    try:
        table = profile.operation_table(xplane)
    except GnetError as error:
        found["note"] = f"There is no table of operations. {error}."
    else:
        found |= {"operations": table.to_dict(orient="records"), "note": str(table.attrs["note"])}
    return found


def to_markdown(document: dict[str, Any]) -> str:
    """The whole report.md of a profile."""
    environment = document["environment"]
    parts = [
        "**Do not quote the times below as the step's speed:** they were taken under the profiler.",
        "# Where the time of GoogleNet_2's train step goes",
        f"On {escape(machine.label(environment, document['device']))}, "
        f"TensorFlow {environment['tensorflow']['version']}, {document['created']}.",
        *section({**document, "operations": [_inert(row) for row in document["operations"]]}),
        f"TensorBoard's Profile page opens the trace: `{tensorboard_line('<this directory>')}`.",
        "## Environment",
        environment_table(environment),
    ]
    return "\n\n".join(parts) + "\n"


def _inert(row: dict[str, Any]) -> dict[str, Any]:
    """An operation whose name is no Markdown. Its underscores stay: they are inside words or before them."""
    return {**row, "operation": escape(str(row["operation"])).replace("\\_", "_")}


def section(document: dict[str, Any]) -> list[str]:
    """The answer, the table, what its times are, and what the profiler cost; paragraphs of Markdown."""
    parts = [f"`{StepConfig.from_dict(document['config']).name}`: {answer(document)}"]
    if document["operations"]:
        parts += [profile.operation_markdown(pd.DataFrame(document["operations"])), escape(document["note"])]
    parts.append(overhead_line(document))
    return [*parts, *(f"- {escape(warning)}" for warning in document["trace"]["warnings"])]


def to_terminal(document: dict[str, Any], directory: Path) -> str:
    parts = [part.replace("**", "") for part in section(document)]
    parts += [f"Report: {directory / 'report.md'}", f"Trace: {tensorboard_line(str(directory))}"]
    return "\n\n".join(parts)


def answer(document: dict[str, Any]) -> str:
    """Where the time went, in a sentence."""
    if not document["operations"]:
        return str(document["note"])
    first = document["operations"][:3]
    named = ", ".join(f"{row['operation'].strip('_')} {row['share']:.0%}" for row in first)
    return f"**{sum(row['share'] for row in first):.0%} of the time inside operations** goes to {named}."


def overhead_line(document: dict[str, Any]) -> str:
    """What the profiler cost, as the trace's own run saw it."""
    trace = document["trace"]
    without = statistics.median(trace["untraced_step_seconds"])
    overhead = trace["overhead_seconds"] / without
    steps = len(trace["traced_step_seconds"])
    return (
        f"A step took {without * 1e3:.0f} ms without the profiler and {overhead:+.0%} under it "
        f"(medians of {steps} steps each, one after the other)."
    )


def tensorboard_line(directory: str) -> str:
    """The command that shows the trace."""
    return f"tensorboard --logdir {directory}/traces"
