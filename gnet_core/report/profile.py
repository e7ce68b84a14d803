"""A profile, for people and for programs: profile.json, CSV, report.md, report.html, plots and the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pandas as pd

from gnet_core.config import GnetError
from gnet_core.files import csv_text, json_documents
from gnet_core.files.whole import PROFILE_FILE
from gnet_core.machine import overview
from gnet_core.plan.request import ProfileRequest, command_line, quoted
from gnet_core.profile import device_time, reading, step_breakdown, tensor_cores
from gnet_core.profile.document import Kernel, KindOfTime, OperationType, PeakMemory, Profile, load_profile
from gnet_core.profile.document import read as read_profile
from gnet_core.profile.parts import DIRECTIONS, OTHER, PARTS, Direction
from gnet_core.profile.step_breakdown import at_work, input_bound
from gnet_core.report import documents
from gnet_core.report.document import Banner, Block, Bullets, Command, Document, Paragraph, Section, Sentence, section
from gnet_core.report.drawing import COLOURS, Picture, described, draw_lines, legible, picture_name
from gnet_core.report.environment_section import environment_section
from gnet_core.report.fields import case_words
from gnet_core.report.grid import Column, grid, text_table
from gnet_core.text import milliseconds, percent, plain

NOT_TO_QUOTE = "Do not quote the times below as the step's speed: they were taken under the profiler."

MAX_OPERATIONS = 12
MAX_KERNELS_SHOWN = 15
"""Rows of a table; one more sums up the rest."""

PROFILE_LEGEND_INCHES = 0.25
_BAR = 0.7  # height of a bar, as a share of its line's

TableRow = TypeVar("TableRow", bound=msgspec.Struct)


def write(directory: Path) -> dict[str, Any]:
    """Convert the trace that directory/run.json names, write its documents, and return what profile.json holds."""
    stored = read(directory)
    write_documents(stored, directory)
    return stored


def read(directory: Path) -> dict[str, Any]:
    """The content of profile.json: the trace that directory/run.json names, converted, or where it was left out what
    the profile.json there has of it. Raises GnetError for a directory without a profile, and for a trace that cannot be
    read or holds less than that profile.json.
    """
    run = load_profile(directory)
    xplane = directory / run.trace.xplane
    stored: dict[str, Any] = msgspec.to_builtins(run)
    if not xplane.exists() and (directory / PROFILE_FILE).exists():
        before, _digest = json_documents.read_json(directory / PROFILE_FILE, directory, strict=True)
        if before.get("run", "") != run.run:
            raise GnetError(f"{directory / PROFILE_FILE}: it is of another run than run.json; bring the trace back")
        read_profile(stored := before | stored)
        return stored
    stored |= reading.tables(xplane, on_gpu=run.device.startswith("gpu"))
    if not stored["operations"]:
        try:
            before, _digest = json_documents.read_json(directory / PROFILE_FILE, directory)
        except GnetError:
            before = {}
        if before.get("operations"):
            raise GnetError(
                f"{xplane}: it tells no operations, which the {PROFILE_FILE} of before does; bring the whole trace back"
            )
    return stored


def write_documents(stored: dict[str, Any], directory: Path) -> None:
    """Write profile.json, its tables and reports. Raises as documents.write does, and GnetError for no profile."""
    texts = {PROFILE_FILE: json.dumps(stored, indent=1)}
    for name in ("operations", "parts"):
        if stored.get(name):
            texts[f"{name}.csv"] = csv_text.to_csv(pd.DataFrame(stored[name]))
    documents.write(directory, document(stored, no_trace=why_no_trace(stored, directory)), texts)


def why_no_trace(stored: dict[str, Any], directory: Path) -> str:
    """Why the trace cannot be shown, in a sentence; empty where it is there."""
    xplane = directory / stored.get("trace", {}).get("xplane", "")
    missing = f"{plain(xplane.name)} is not there, so these are the tables that {PROFILE_FILE} has of it."
    return "" if xplane.exists() else missing


def document(stored: dict[str, Any], *, with_pictures: bool = True, no_trace: str = "") -> Document:
    """The whole report; `no_trace` is why no trace can be shown. Raises GnetError naming a field that is wrong."""
    profile = read_profile(stored)
    environment = profile.environment
    if environment is None:
        raise GnetError(f"{PROFILE_FILE}: field 'environment' is missing")
    where = ", ".join(filter(None, [overview.label(environment, stored["device"]), environment.version("tensorflow")]))
    charts = "In this directory, with charts that are loaded from the internet:"
    show = Paragraph(no_trace) if no_trace else Command(tensorboard_line(Path()), charts)
    return Document(
        heading="Where the time of GoogleNet_2's train step goes",
        banners=[Banner("bad", NOT_TO_QUOTE)],
        intro=[Paragraph(Sentence(f"{', '.join(case_words(profile.config))}:", f"{where}, {stored['created']}."))],
        summary=[Paragraph(answer(profile)), *(pictures(profile) if with_pictures else [])],
        sections=[
            *tables(profile),
            section("How to read these figures", Bullets(notes(profile))),
            section("What traces it again", Command(command(profile))),
            section("What shows the whole trace", show, reference=True),
            environment_section(environment),
        ],
    )


def blocks(profile: Profile, *, with_pictures: bool = True) -> list[Block]:
    """A profile in the report of a run: the answer, pictures, tables, notes and the command that traces again."""
    return [
        Paragraph(answer(profile)),
        *(pictures(profile) if with_pictures else []),
        *tables(profile),
        Bullets(notes(profile)),
        Command(command(profile), "What traces it again:"),
    ]


def command(profile: Profile) -> str:
    """The command that takes such a trace again."""
    return command_line(ProfileRequest.of(profile.config, steps=profile.steps))


def tensorboard_line(directory: Path) -> str:
    """The command that shows the traces of a directory."""
    return f"tensorboard --logdir {quoted(str(directory / 'traces'))}"


def pivot(profile: Profile) -> dict[str, dict[Direction, float]]:
    """Seconds a step by part, in the order in which a step comes to them, and by direction."""
    times = {
        part: {row.direction: row.self_seconds / profile.steps for row in profile.parts if row.part == part}
        for part in PARTS
    }
    return {part: by_direction for part, by_direction in times.items() if by_direction}


def answer(profile: Profile) -> str:
    """Where the time goes, in a sentence or two; what the step is bound by comes first."""
    if not profile.operations:
        return f"{launch_bound(profile)} {profile.note or 'The trace tells no operations.'}".lstrip()
    top = profile.operations[:3]
    names = ", ".join(f"{row.plain} {row.share:.0%}" for row in top)
    text = f"{launch_bound(profile)} {sum(row.share for row in top):.0%} of the time inside operations goes to {names}."
    if profile.parts:
        longest = sorted(pivot(profile).items(), key=lambda item: -sum(item[1].values()))[:3]
        whole = sum(row.self_seconds for row in profile.parts) / profile.steps or 1.0
        parts = ", ".join(f"{part} {sum(times.values()) / whole:.0%}" for part, times in longest)
        text += f" By part of the network: {parts}; backward {_backward_share(profile):.0%} of it all."
    return text.lstrip()


def launch_bound(profile: Profile) -> str:
    """A sentence on a GPU's step that is bound by launching kernels, else ""."""
    device_seconds = profile.device_seconds
    if profile.config.device == "cpu" or device_seconds is None:
        return ""
    text = step_breakdown.launch_bound(device_seconds, profile.untraced_seconds)
    if text and profile.config.execution == "xla":
        text += " That is without XLA's command buffers, which are off while a trace is taken."
    return text


def _backward_share(profile: Profile) -> float:
    return sum(row.share for row in profile.parts if row.direction == "backward")


def tables(profile: Profile) -> list[Section]:
    """The tables, each below its heading; a section without rows is empty."""
    breakdown = [
        Column[KindOfTime]("time", lambda row: row.kind, text=True),
        Column[KindOfTime]("ms a step", lambda row: milliseconds(row.seconds)),
        Column[KindOfTime]("of the step", lambda row: f"{row.share:.1%}"),
    ]
    times = pivot(profile)
    totals = {part: sum(by_direction.values()) for part, by_direction in times.items()}
    whole = sum(totals.values()) or 1.0

    def direction_column(direction: Direction) -> Column[str]:
        return Column(f"{direction} ms", lambda part: milliseconds(times[part].get(direction)))

    parts = [
        Column[str]("part", lambda part: part, text=True),
        *map(direction_column, DIRECTIONS),
        Column[str]("ms", lambda part: milliseconds(totals[part])),
        Column[str]("share", lambda part: f"{totals[part] / whole:.1%}"),
    ]
    operations = [
        Column[OperationType]("operation", lambda row: row.operation, text=True),
        Column[OperationType]("count", lambda row: f"{row.occurrences / profile.steps:.4g}"),
        Column[OperationType]("self time (ms)", lambda row: milliseconds(row.self_seconds / profile.steps)),
        Column[OperationType]("share", lambda row: f"{row.share:.1%}"),
    ]
    kernels = [
        Column[Kernel]("kernel", lambda row: _shortened(row.kernel), text=True),
        Column[Kernel]("count", lambda row: f"{row.occurrences / profile.steps:.4g}"),
        Column[Kernel]("ms", lambda row: milliseconds(row.seconds / profile.steps)),
        Column[Kernel]("share", lambda row: f"{row.share:.1%}"),
        Column[Kernel]("tensor cores", lambda row: row.tensor_cores, text=True),
        Column[Kernel]("occupancy", lambda row: f"{row.occupancy:.0%}"),
    ]

    def other_types(cut: list[OperationType]) -> dict[str, Any]:
        return {"operation": f"{len(cut)} other type{'s' if len(cut) > 1 else ''}"}

    operation_rows = _with_rest(
        profile.operations, MAX_OPERATIONS, ("occurrences", "self_seconds", "share"), other_types
    )
    kernel_rows = _with_rest(profile.kernels, MAX_KERNELS_SHOWN, ("occurrences", "seconds", "share"), _other_kernels)
    why_not = [(missing.what, missing.why) for missing in profile.not_available]
    grids = {
        "What a step's time goes to": grid(breakdown, profile.breakdown, "What a step's time goes to"),
        "By part of the network, in one step": grid(parts, list(times), "Self time by part of the network"),
        "By type of operation, in one step": grid(operations, operation_rows, "Self time by type of operation"),
        "The GPU's kernels, in one step": grid(kernels, kernel_rows, "The longest kernels"),
        "Not available from this trace": text_table(("what", "why not"), why_not, "Not available from this trace"),
    }
    return [section(heading, table) for heading, table in grids.items()]


def _with_rest(
    rows: list[TableRow], most: int, summed: Sequence[str], rest: Callable[[list[TableRow]], dict[str, Any]]
) -> list[TableRow]:
    """As many rows as a table shows, and one that sums up the others in the fields of `summed` and else is `rest`."""
    cut = rows[most:]
    if not cut:
        return rows
    sums = {field: sum(getattr(row, field) for row in cut) for field in summed}
    return [*rows[:most], msgspec.structs.replace(cut[0], **sums, **rest(cut))]


def _other_kernels(kernels: list[Kernel]) -> dict[str, Any]:
    """The name of several kernels, their use of tensor cores by share of time, and their mean occupancy by time."""
    seconds = sum(row.seconds for row in kernels) or 1.0
    return {
        "kernel": f"{len(kernels)} other kernel{'s' if len(kernels) > 1 else ''}",
        "tensor_cores": _tensor_core_shares(kernels),
        "occupancy": sum(row.occupancy * row.seconds for row in kernels) / seconds,
    }


def _tensor_core_shares(kernels: Sequence[Kernel]) -> str:
    """Use of tensor cores by share of the kernels' time: used 60%, unknown 40%."""
    shares = tensor_cores.shares((row.tensor_cores, row.seconds) for row in kernels) or {}
    return ", ".join(f"{use} {share:.0%}" for use, share in shares.items() if share)


def _shortened(name: str, most: int = 52) -> str:
    name = name.removeprefix("void ").partition("(")[0]
    return name if len(name) <= most else f"{name[: most - 1]}…"


def notes(profile: Profile) -> list[str]:
    """Meaning and basis of the figures, a sentence or two each."""
    sentences = [profile.note] if profile.operations and profile.note else []
    if profile.operations and profile.config.device == "cpu":
        sentences.append(f"On average {profile.busy_threads:.1f} threads were inside operations at once.")
    kinds = {row.kind: row.share for row in profile.breakdown}
    if "input" in kinds:
        same = "The traced steps all take one batch that lies on the device already, so a slow input would not show."
        sentences.append(f"{input_bound(kinds['input'])} {same}")
    if (device := profile.device_seconds) is not None:
        sentences.append(f"By the trace {at_work(device, profile.untraced_seconds)}, timed without the profiler.")
    if shares := _tensor_core_shares(profile.kernels):
        sentences.append(f"Tensor cores, by the kernels' names, of the kernels' time: {shares}.")
    if profile.device_time:
        sentences += device_time.reconciled(profile.device_time, profile.steps, device)
    if profile.peak_memory:
        sentences.append(_memory_line(profile.peak_memory, on_gpu=profile.config.device != "cpu"))
    steps = f"{profile.steps} step{'s' if profile.steps > 1 else ''}"
    change = percent(abs(profile.overhead))
    sign = "" if change == percent(0.0) else "+" if profile.overhead > 0 else "−"
    overhead = (
        f"A step took {milliseconds(profile.untraced_seconds)} ms without the profiler and "
        f"{milliseconds(profile.traced_seconds)} ms ({sign}{change}) under it (medians of {steps} each, one after the "
        "other)."
    )
    return [*sentences, overhead, *profile.trace.warnings]


def _memory_line(memory: PeakMemory, *, on_gpu: bool) -> str:
    if not on_gpu:
        return (
            f"TensorFlow's CPU allocator ({memory.allocator}), which is not the whole process, held at most "
            f"{memory.peak_bytes / 2**30:.2f} GiB while the trace was taken."
        )
    capacity = f" of {memory.capacity_bytes / 2**30:.1f} GiB" if memory.capacity_bytes else ""
    return f"Memory peaked at {memory.peak_bytes / 2**30:.2f} GiB{capacity} ({memory.allocator})."


def pictures(profile: Profile) -> list[Picture]:
    """The time by part of the network and by type of operation, where there are any."""
    parts = [_parts_picture(profile)] if profile.parts else []
    return [*parts, _operations_picture(profile)] if profile.operations else parts


def _parts_picture(profile: Profile) -> Picture:
    times = pivot(profile)
    parts = list(times)
    longest = max((part for part in parts if part != OTHER), key=lambda part: sum(times[part].values()), default=OTHER)

    def paint(axes: Any) -> None:
        left = [0.0] * len(parts)
        for direction, colour in zip(DIRECTIONS, COLOURS, strict=False):
            widths = [times[part].get(direction, 0.0) * 1e3 for part in parts]
            if any(widths):
                axes.barh(range(len(parts)), widths, _BAR, left=left, color=colour, label=direction)
            left = [before + width for before, width in zip(left, widths, strict=True)]
        axes.set_xlim(0, 1.05 * max(left))
        axes.set_xlabel("self time in one step, milliseconds")
        axes.figure.legend(loc="outside lower center", ncols=len(DIRECTIONS))

    share = f"{_backward_share(profile):.0%} of the time inside operations"
    title = f"{longest} takes the longest, and the backward pass {share}"
    description = described(
        "Bars of self time by part of the network, in the order of a step, forward and backward stacked:",
        [f"{part} {milliseconds(sum(by_direction.values()))} ms" for part, by_direction in times.items()],
    )
    name = picture_name(f"profile-parts-{profile.config.name}")
    return draw_lines(name, title, description, paint, parts, legend=PROFILE_LEGEND_INCHES)


def _operations_picture(profile: Profile) -> Picture:
    first = profile.operations[:MAX_OPERATIONS]

    def paint(axes: Any) -> None:
        widths = [row.self_seconds / profile.steps * 1e3 for row in first]
        axes.barh(range(len(first)), widths, _BAR, color=COLOURS[0])
        axes.set_xlabel("self time in one step, milliseconds")

    title = f"{first[0].plain} takes {percent(first[0].share)} of the time inside operations"
    lines = [f"{legible(row.operation)} {row.share:.1%}" for row in first]
    description = described("Bars of self time by type of operation, longest first:", lines)
    labels = [legible(row.operation, 40) for row in first]
    return draw_lines(picture_name(f"profile-operations-{profile.config.name}"), title, description, paint, labels)
