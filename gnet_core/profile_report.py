"""A profile, said to people and to programs: operations.csv, report.md and the terminal. Pure but for `write`."""

from __future__ import annotations

import statistics
from typing import Any

import pandas as pd

from gnet_core import machine, profile
from gnet_core.config import GnetError
from gnet_core.files import write_whole
from gnet_core.markdown import environment_table, escape
from gnet_core.records import Profile


class WhereTimeWent:
    """The trace's tables, or why it has none."""

    def __init__(self, profiled: Profile) -> None:
        """Raises GnetError for a trace that cannot be read at all."""
        self.step_seconds = profile.step_seconds(profiled.xplane)
        self.operations: pd.DataFrame | None = None
        self.missing = ""
        try:
            self.operations = profile.operation_table(profiled.xplane)
        except GnetError as error:
            self.missing = f"There is no table of operations. {error}."


def write(profiled: Profile) -> WhereTimeWent:
    """Convert the trace and write operations.csv (where it has operations) and report.md beside it."""
    where = WhereTimeWent(profiled)
    if where.operations is not None:
        write_whole(profiled.directory / "operations.csv", where.operations.to_csv(index=False, lineterminator="\n"))
    write_whole(profiled.directory / "report.md", to_markdown(profiled, where))
    return where


def to_json(profiled: Profile, where: WhereTimeWent) -> dict[str, Any]:
    operations = None if where.operations is None else where.operations.to_dict(orient="records")
    document = {key: profiled.document[key] for key in ("device", "config", "environment", "trace")}
    return document | {
        "directory": str(profiled.directory),
        "step_seconds": where.step_seconds,
        "operations": operations,
        "missing": where.missing,
    }


def to_markdown(profiled: Profile, where: WhereTimeWent) -> str:
    """The whole report.md of a profile."""
    environment = profiled.document["environment"]
    parts = [
        "**Do not quote the times below as the step's speed:** they were taken under the profiler.",
        "# Where the time of GoogleNet_2's train step goes",
        f"`{profiled.config.name}` on {escape(machine.label(environment['machine'], profiled.config.device))}, "
        f"TensorFlow {environment['tensorflow']['version']}, {profiled.document['created']}.",
        answer(where),
    ]
    if where.operations is not None:
        parts += [profile.operation_markdown(where.operations), str(where.operations.attrs["note"])]
    parts += [
        overhead_line(profiled),
        *(f"- {escape(warning)}" for warning in profiled.document["trace"]["warnings"]),
        f"TensorBoard's Profile page opens the trace: `{tensorboard_line('<this directory>')}`.",
        "## Environment",
        environment_table(environment),
    ]
    return "\n\n".join(parts) + "\n"


def to_terminal(profiled: Profile, where: WhereTimeWent) -> str:
    parts = [profiled.config.name, answer(where).replace("**", "")]
    if where.operations is not None:
        parts += [profile.operation_markdown(where.operations), str(where.operations.attrs["note"])]
    parts += [overhead_line(profiled), *profiled.document["trace"]["warnings"]]
    parts += [f"Report: {profiled.directory / 'report.md'}", f"Trace: {tensorboard_line(str(profiled.directory))}"]
    return "\n\n".join(parts)


def answer(where: WhereTimeWent) -> str:
    """Where the time went, in a sentence."""
    if where.operations is None:
        return where.missing
    first = where.operations.iloc[:3]
    named = ", ".join(f"{row.operation} {row.share:.0%}" for row in first.itertuples())
    return f"**{first['share'].sum():.0%} of the time inside operations** goes to {named}."


def overhead_line(profiled: Profile) -> str:
    """What the profiler cost, as the trace's own run saw it."""
    trace = profiled.document["trace"]
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
