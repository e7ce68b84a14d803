"""A run's rows, said to people and to programs: cases.csv, report.md and the terminal. Pure but for `write`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from tabulate import tabulate

from gnet_core import machine
from gnet_core.files import write_whole
from gnet_core.markdown import environment_table, escape
from gnet_core.profile_report import section
from gnet_core.records import Row, Run

LEAST_REPLICATES = 3
"""Processes a case below which no interval is worth the name."""

HOW_TO_READ = (
    "`images/s` is the batch size over the mean step of all timed blocks. `± turns` is the standard deviation of those "
    "blocks within a process, which says nothing about the next process. p50 and p95 are of steps synchronised one by "
    "one, p95 only from 100 of them. Compile is the first call less a steady step; first step is from TensorFlow "
    "imported to the end of the first step."
)

GOOD_ENOUGH = 0.95
"""Share of the best throughput at which a smaller batch will do."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A table's column: its heading with the unit, and a row's cell."""

    heading: str
    cell: Callable[[Row], str]


def write(run: Run) -> None:
    """Write cases.csv and report.md into the run directory, each under a temporary name first."""
    write_whole(run.directory / "cases.csv", to_csv(run))
    write_whole(run.directory / "report.md", to_markdown(run))


def to_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A row a case and a column a field of Row, in its order; what was not measured is empty."""
    fields = [field.name for field in dataclasses.fields(Row)]
    return pd.DataFrame([dataclasses.asdict(row) for row in rows], columns=fields, dtype=object)


def to_csv(run: Run) -> str:
    return str(to_frame(run.rows).to_csv(index=False, lineterminator="\n"))


def to_json(run: Run) -> dict[str, Any]:
    """The same rows for programs, with the run they belong to."""
    return {
        "directory": str(run.directory),
        "complete": run.document["complete"],
        "quotable": not reservations(run),
        "reservations": reservations(run),
        "environment": run.document["environment"],
        "rows": [dataclasses.asdict(row) for row in run.rows],
        "unmeasured": [{"case": case, "reason": reason} for case, reason in run.unmeasured],
        "profiles": run.profiles,
    }


def to_markdown(run: Run) -> str:
    """The whole report.md."""
    document = run.document
    parts = [
        quotable_line(run),
        "# The train step of GoogleNet_2",
        f"On {escape(machine_line(run))}. Preset `{document['preset']}`, seed {document['seed']}, "
        f"started {document['created']}, gnet {document['environment']['machine']['packages'].get('gnet', 'unknown')}.",
    ]
    for suite in document["suites"]:
        rows = rows_of(run, suite["name"])
        if rows:
            parts += [f"## {suite['name']}: {escape(suite['question'])}", answer(suite, rows)]
            parts.append(suite_table(suite, rows, "pipe"))
    for document_of_profile in run.profiles:
        parts += ["## profile: Where does the time of a step go?", *section(document_of_profile)]
    parts += [
        HOW_TO_READ,
        "## Environment",
        environment_table(document["environment"]),
    ]
    parts += ["## What was not measured, and why", _unmeasured(run)]
    parts += ["## What measures a row again", _commands(run)]
    return "\n\n".join(parts) + "\n"


def to_terminal(run: Run) -> str:
    """The answers and tables of the report, for a terminal."""
    parts = [machine_line(run)]
    for suite in run.document["suites"]:
        rows = rows_of(run, suite["name"])
        if rows:
            parts.append(f"{suite['name']}: {suite['question']}\n{answer(suite, rows).replace('**', '')}")
            parts.append(suite_table(suite, rows, "simple"))
    parts += [f"{row.case}: {row.status}: {row.note}" for row in run.rows if row.status != "ok"]
    parts += [f"{case}: {reason}" for case, reason in run.unmeasured]
    for document in run.profiles:
        parts += [part.replace("**", "") for part in section(document)]
    parts.append(quotable_line(run).replace("**", ""))
    return "\n\n".join(parts)


def machine_line(run: Run) -> str:
    environment = run.document["environment"]
    label = machine.label(environment, run.document["device"])
    return f"{label}, TensorFlow {environment['tensorflow']['version']}"


def quotable_line(run: Run) -> str:
    """Whether the run's figures may be quoted, and if not, why."""
    why = reservations(run)
    if not why:
        return (
            "**These figures may be quoted**, each with its machine, its configuration and its interval. The ratios "
            "between cases carry no interval yet and may not."
        )
    return f"**Do not quote these figures:** {'; '.join(why)}."


def reservations(run: Run) -> list[str]:
    """Every reason against quoting the run's figures."""
    why = []
    if run.document["preset"] == "smoke":
        why.append("the preset smoke only shows that everything works, it measures nothing")
    if not run.document["complete"]:
        why.append("the run was interrupted")
    measured = [row for row in run.rows if row.status == "ok"]
    if not measured:
        why.append("nothing was measured")
    elif (fewest := min(row.replicates for row in measured)) < LEAST_REPLICATES:
        processes = "one process" if fewest == 1 else f"{fewest} processes"
        why.append(f"they rest on {processes} a case, so how far the next process would differ is unknown")
    if any(not row.finite for row in measured):
        why.append("a loss was not finite, and speed counts only at equal work")
    return why


def failures(run: Run) -> list[Row]:
    """Rows that should have had figures. A batch too large for the memory is a finding where a smaller one fitted."""
    return [
        row
        for row in run.rows
        if row.status in ("failed", "timeout") or (row.status == "oom" and not _smaller_batch_fitted(row, run.rows))
    ]


def _smaller_batch_fitted(row: Row, rows: list[Row]) -> bool:
    return any(
        other.status == "ok"
        and other.batch_size < row.batch_size
        and (other.execution, other.precision) == (row.execution, row.precision)
        for other in rows
    )


def rows_of(run: Run, suite: str) -> list[Row]:
    return [row for row in run.rows if suite in row.suite.split("+")]


def answer(suite: dict[str, Any], rows: list[Row]) -> str:
    """One sentence that answers the suite's question from its rows."""
    measured = [row for row in rows if row.images_per_second]
    if not measured:
        return "**No answer:** none of its cases could be measured."
    best = max(measured, key=_speed)
    if suite["varies"] == "batch_size":
        return _scaling_answer(measured, best)
    if suite["base"] is not None:
        return _ratio_answer(suite, measured)
    return f"**{_speed(best):.1f} images/s** with {_named(best)}: {_milliseconds(best.step_seconds)} ms a step."


def _scaling_answer(measured: list[Row], best: Row) -> str:
    alike = [row for row in measured if (row.execution, row.precision) == (best.execution, best.precision)]
    smallest = min(alike, key=lambda row: row.batch_size)
    enough = min((row for row in alike if _speed(row) >= GOOD_ENOUGH * _speed(best)), key=lambda row: row.batch_size)
    if smallest is best:
        return f"**{_speed(best):.1f} images/s** with {_named(best)}, the smallest batch, is the most."
    sentence = (
        f"From {_speed(smallest):.1f} images/s at batch {smallest.batch_size} to "
        f"**{_speed(best):.1f} images/s** with {_named(best)}"
    )
    if enough is not best:
        sentence += f"; batch {enough.batch_size} already gives {_speed(enough) / _speed(best):.0%} of that"
    return f"{sentence}."


def _ratio_answer(suite: dict[str, Any], measured: list[Row]) -> str:
    said = []
    for row in measured:
        base = base_of(suite, row, measured)
        if base is None or base is row:
            continue
        ratio = _speed(row) / _speed(base)
        named = _named(row, leave_out=suite["varies"])
        said.append(f"{getattr(row, suite['varies'])} does **{ratio:.2f}×** the images/s of {suite['base']} ({named})")
    if not said:
        return (
            f"**No answer:** {suite['base']}, which the others are compared with, has no figures to compare with here."
        )
    return f"{'; '.join(said)}."


def _named(row: Row, leave_out: str | None = None) -> str:
    """The row by its axes."""
    axes = {"execution": row.execution, "precision": row.precision, "batch_size": f"batch {row.batch_size}"}
    return ", ".join(value for axis, value in axes.items() if axis != leave_out)


def base_of(suite: dict[str, Any], row: Row, rows: list[Row]) -> Row | None:
    """The row that this one is compared with: the same but for the suite's axis, which has the base's value."""
    axes = {"execution", "precision", "batch_size"} - {suite["varies"]}
    for other in rows:
        same = all(getattr(other, axis) == getattr(row, axis) for axis in axes)
        if same and getattr(other, suite["varies"]) == suite["base"] and other.images_per_second:
            return other
    return None


def suite_table(suite: dict[str, Any], rows: list[Row], style: str) -> str:
    """The suite's rows; a column that no row fills is left out."""
    columns = _columns(suite, rows)
    cells = [[column.cell(row) for column in columns] for row in rows]
    filled = [index for index in range(len(columns)) if any(line[index] for line in cells)]
    protect = escape if style == "pipe" else str
    return tabulate(
        [[protect(line[index]) for index in filled] for line in cells],
        headers=[columns[index].heading for index in filled],
        tablefmt=style,
        disable_numparse=True,
        colalign=["left" if columns[index].heading in _TEXT else "right" for index in filled],
    )


_TEXT = {"execution", "precision", "data", "status", "note"}


def _columns(suite: dict[str, Any], rows: list[Row]) -> list[Column]:
    columns = [
        Column("execution", lambda row: row.execution),
        Column("precision", lambda row: row.precision),
        Column("batch", lambda row: str(row.batch_size)),
        Column("data", lambda row: row.data if row.data != "synthetic" else ""),
        Column("images/s", lambda row: _number(row.images_per_second, "{:.1f}")),
        Column("95 % interval", _interval),
        Column("± turns", lambda row: _number(row.turn_spread, "{:.1%}")),
        Column("ms a step", lambda row: _milliseconds(row.step_seconds)),
        Column("p50 ms", lambda row: _milliseconds(row.step_seconds_p50)),
        Column("p95 ms", lambda row: _milliseconds(row.step_seconds_p95)),
    ]
    if suite["base"] is not None:
        columns.append(Column(f"× {suite['base']}", lambda row: _ratio(suite, row, rows)))
    return [
        *columns,
        Column("trace s", lambda row: _number(row.trace_seconds, "{:.1f}")),
        Column("compile s", lambda row: _number(row.compile_seconds, "{:.1f}")),
        Column("first step s", lambda row: _number(row.first_step_seconds, "{:.1f}")),
        Column("peak GiB", lambda row: _number(row.peak_memory_bytes and row.peak_memory_bytes / 2**30, "{:.2f}")),
        Column("blocks", lambda row: f"{row.replicates}×{row.samples // row.replicates}" if row.samples else ""),
        Column("status", lambda row: row.status),
        Column("note", lambda row: row.note),
    ]


def _unmeasured(run: Run) -> str:
    lines = [f"- `{row.case}`: {row.status}, {escape(row.note)}" for row in run.rows if row.status != "ok"]
    lines += [f"- `{case}`: {escape(reason)}" for case, reason in run.unmeasured]
    if note := run.document.get("profile_note"):
        lines.append(f"- A trace: {escape(note)}")
    lines.append("- Verdicts between cases, model FLOP utilisation and energy: this version does not measure them yet.")
    return "\n".join(lines)


def _commands(run: Run) -> str:
    lines = [(f"`{row.case}`", f"`{row.command.replace('`', '')}`".replace("|", "\\|")) for row in run.rows]
    return tabulate(lines, headers=("case", "command"), tablefmt="pipe")


def _speed(row: Row) -> float:
    assert row.images_per_second is not None
    return row.images_per_second


def _ratio(suite: dict[str, Any], row: Row, rows: list[Row]) -> str:
    base = base_of(suite, row, rows)
    if base is None or not row.images_per_second:
        return ""
    return "1" if base is row else f"{_speed(row) / _speed(base):.2f}"


def _interval(row: Row) -> str:
    if row.images_per_second_ci_low is None or row.images_per_second_ci_high is None:
        return ""
    return f"{row.images_per_second_ci_low:.1f}–{row.images_per_second_ci_high:.1f}"


def _number(value: float | None, shape: str) -> str:
    return "" if value is None else shape.format(value)


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f}" if seconds >= 0.1 else f"{seconds * 1000:.2f}"
