"""What a report says of a profile: an answer, tables, pictures and notes. Pure: it reads nothing and prints nothing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from gnet_core.plan.request import ProfileRequest, command_line, quoted
from gnet_core.profile import device_time, step_breakdown, tensor_cores
from gnet_core.profile.document import Kernel, KindOfTime, OperationType, PeakMemory, Profile
from gnet_core.profile.parts import DIRECTIONS, OTHER, PARTS
from gnet_core.profile.step_breakdown import at_work, input_bound
from gnet_core.report.document import Block, Bullets, Command, Paragraph, Section, section
from gnet_core.report.drawing import COLOURS, Picture, described, draw, height_of, label_lines, legible
from gnet_core.report.grid import Cell, Column, Grid, grid, pairs
from gnet_core.text import milliseconds, percent

MAX_OPERATIONS = 12
MAX_KERNELS_SHOWN = 15
"""Rows of a table; one more sums up the rest."""

_LEGEND_INCHES = 0.25
_BAR = 0.7
"""Of a line's height."""


def blocks(profile: Profile, *, with_pictures: bool = True) -> list[Block]:
    """What a run's report says of a profile: the answer, pictures, tables, notes and the command that traces again."""
    return [
        Paragraph(answer(profile)),
        *(pictures(profile) if with_pictures else []),
        *tables(profile),
        Bullets(notes(profile)),
        Command(command(profile), "What traces it again:"),
    ]


def command(profile: Profile) -> str:
    """What takes such a trace again."""
    return command_line(ProfileRequest.of(profile.config, steps=profile.steps))


def tensorboard_line(directory: Path) -> str:
    """The command that shows the traces of a directory."""
    return f"tensorboard --logdir {quoted(str(directory / 'traces'))}"


def pivot(profile: Profile) -> dict[str, dict[str, float]]:
    """Seconds a step by part, in the order in which a step comes to them, and by direction."""
    found: dict[str, dict[str, float]] = {}
    for part in PARTS:
        times: dict[str, float] = {
            each.direction: each.self_seconds / profile.steps for each in profile.parts if each.part == part
        }
        if times:
            found[part] = times
    return found


def answer(profile: Profile) -> str:
    """Where the time goes, in a sentence or two; what the step is bound by comes first."""
    return f"{launch_bound(profile)} {_most_time(profile)}".lstrip()


def _most_time(profile: Profile) -> str:
    if not profile.operations:
        return profile.note or "The trace tells no operations."
    first = profile.operations[:3]
    named = ", ".join(f"{each.plain} {each.share:.0%}" for each in first)
    told = f"{sum(each.share for each in first):.0%} of the time inside operations goes to {named}."
    if profile.parts:
        longest = sorted(pivot(profile).items(), key=lambda item: -sum(item[1].values()))[:3]
        whole = sum(each.self_seconds for each in profile.parts) / profile.steps or 1.0
        parts = ", ".join(f"{part} {sum(times.values()) / whole:.0%}" for part, times in longest)
        told += f" By part of the network: {parts}; backward {_share(profile, 'backward'):.0%} of it all."
    return told


def launch_bound(profile: Profile) -> str:
    """A sentence on a GPU's step that is bound by launching kernels, else ""."""
    device_seconds = profile.device_seconds
    if profile.config.device == "cpu" or device_seconds is None:
        return ""
    told = step_breakdown.launch_bound(device_seconds, profile.untraced_seconds)
    if told and profile.config.execution == "xla":
        told += " That is without XLA's command buffers, which are off while a trace is taken."
    return told


def _share(profile: Profile, direction: str) -> float:
    return sum(each.share for each in profile.parts if each.direction == direction)


def tables(profile: Profile) -> list[Section]:
    """The tables, each below its heading; a section without rows is empty."""
    return [
        section("What a step's time goes to", _breakdown_grid(profile)),
        section("By part of the network, in one step", _part_grid(profile)),
        section("By type of operation, in one step", _operation_grid(profile)),
        section("The GPU's kernels, in one step", _kernel_grid(profile)),
        section("Not available from this trace", _missing_grid(profile)),
    ]


def _breakdown_grid(profile: Profile) -> Grid:
    columns = [
        Column[KindOfTime]("time", lambda each: each.kind, text=True),
        Column[KindOfTime]("ms a step", lambda each: milliseconds(each.seconds)),
        Column[KindOfTime]("of the step", lambda each: f"{each.share:.1%}"),
    ]
    return grid(columns, profile.breakdown, "What a step's time goes to")


def _part_grid(profile: Profile) -> Grid:
    times = pivot(profile)
    whole = sum(sum(each.values()) for each in times.values()) or 1.0
    columns = [
        Column[str]("part", lambda part: part, text=True),
        *(_direction_column(direction, times) for direction in DIRECTIONS),
        Column[str]("ms", lambda part: milliseconds(sum(times[part].values()))),
        Column[str]("share", lambda part: f"{sum(times[part].values()) / whole:.1%}"),
    ]
    return grid(columns, list(times), "Self time by part of the network")


def _direction_column(direction: str, times: dict[str, dict[str, float]]) -> Column[str]:
    return Column(f"{direction} ms", lambda part: milliseconds(times[part].get(direction)))


def _operation_grid(profile: Profile) -> Grid:
    kept, cut = profile.operations[:MAX_OPERATIONS], profile.operations[MAX_OPERATIONS:]
    if cut:
        rest = OperationType(
            operation=f"{len(cut)} other type{'s' if len(cut) > 1 else ''}",
            occurrences=sum(each.occurrences for each in cut),
            self_seconds=sum(each.self_seconds for each in cut),
            share=sum(each.share for each in cut),
        )
        kept = [*kept, rest]
    columns = [
        Column[OperationType]("operation", lambda each: each.operation, text=True),
        Column[OperationType]("count", lambda each: f"{each.occurrences / profile.steps:.4g}"),
        Column[OperationType]("self time (ms)", lambda each: milliseconds(each.self_seconds / profile.steps)),
        Column[OperationType]("share", lambda each: f"{each.share:.1%}"),
    ]
    return grid(columns, kept, "Self time by type of operation")


def _kernel_grid(profile: Profile) -> Grid:
    columns = [
        Column[Kernel]("kernel", lambda each: _shortened(each.kernel), text=True),
        Column[Kernel]("count", lambda each: f"{each.occurrences / profile.steps:.4g}"),
        Column[Kernel]("ms", lambda each: milliseconds(each.seconds / profile.steps)),
        Column[Kernel]("share", lambda each: f"{each.share:.1%}"),
        Column[Kernel]("tensor cores", lambda each: each.tensor_cores, text=True),
        Column[Kernel]("occupancy", lambda each: f"{each.occupancy:.0%}"),
    ]
    longest = grid(columns, profile.kernels[:MAX_KERNELS_SHOWN], "The longest kernels")
    cut = profile.kernels[MAX_KERNELS_SHOWN:]
    return dataclasses.replace(longest, rows=[*longest.rows, _other_kernels(cut, profile.steps)]) if cut else longest


def _other_kernels(kernels: list[Kernel], steps: int) -> tuple[Cell, ...]:
    """The cells of a row that sums up kernels; tensor cores by share of their time, and their occupancy by time."""
    seconds = sum(each.seconds for each in kernels)
    occupancy = sum(each.occupancy * each.seconds for each in kernels) / (seconds or 1.0)
    cells = (
        f"{len(kernels)} other kernel{'s' if len(kernels) > 1 else ''}",
        f"{sum(each.occurrences for each in kernels) / steps:.4g}",
        milliseconds(seconds / steps),
        f"{sum(each.share for each in kernels):.1%}",
        _tensor_core_shares(kernels),
        f"{occupancy:.0%}",
    )
    return tuple(map(Cell, cells))


def _tensor_core_shares(kernels: list[Kernel]) -> str:
    """As in used 60%, unknown 40%."""
    shares = tensor_cores.shares((each.tensor_cores, each.seconds) for each in kernels) or {}
    return ", ".join(f"{use} {share:.0%}" for use, share in shares.items() if share)


def _shortened(name: str, most: int = 52) -> str:
    """A kernel's name without its arguments, cut where templates make it endless."""
    name = name.removeprefix("void ").partition("(")[0]
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _missing_grid(profile: Profile) -> Grid:
    lines = [(each.what, each.why) for each in profile.not_available]
    return pairs(lines, ("what", "why not"), "Not available from this trace")


def notes(profile: Profile) -> list[str]:
    """What the figures are and what they rest on, a sentence or two each."""
    told = [profile.note] if profile.operations and profile.note else []
    if profile.operations and profile.config.device == "cpu":
        told.append(f"On average {profile.busy_threads:.1f} threads were inside operations at once.")
    kinds = {each.kind: each.share for each in profile.breakdown}
    if "input" in kinds:
        same = "The traced steps all take one batch that lies on the device already, so a slow input would not show."
        told.append(f"{input_bound(kinds['input'])} {same}")
    if (device := profile.device_seconds) is not None:
        told.append(f"By the trace {at_work(device, profile.untraced_seconds)}, timed without the profiler.")
    if shares := _tensor_core_shares(profile.kernels):
        told.append(f"Tensor cores, by the kernels' names, of the kernels' time: {shares}.")
    if profile.device_time:
        told += device_time.reconciled(profile.device_time, profile.steps, profile.device_seconds)
    if profile.peak_memory:
        told.append(_memory_line(profile.peak_memory, on_gpu=profile.config.device != "cpu"))
    return [*told, overhead_line(profile), *profile.trace.warnings]


def _memory_line(memory: PeakMemory, *, on_gpu: bool) -> str:
    if not on_gpu:
        return (
            f"TensorFlow's CPU allocator ({memory.allocator}), which is not the whole process, held at most "
            f"{memory.peak_bytes / 2**30:.2f} GiB while the trace was taken."
        )
    of = f" of {memory.capacity_bytes / 2**30:.1f} GiB" if memory.capacity_bytes else ""
    return f"Memory peaked at {memory.peak_bytes / 2**30:.2f} GiB{of} ({memory.allocator})."


def overhead_line(profile: Profile) -> str:
    """What the profiler cost, as the trace's own run saw it."""
    steps = f"{profile.steps} step{'s' if profile.steps > 1 else ''}"
    change = percent(abs(profile.overhead))
    sign = "" if change == percent(0.0) else "+" if profile.overhead > 0 else "−"
    return (
        f"A step took {milliseconds(profile.untraced_seconds)} ms without the profiler and "
        f"{milliseconds(profile.traced_seconds)} ms ({sign}{change}) under it (medians of {steps} each, one after the "
        "other)."
    )


def pictures(profile: Profile) -> list[Picture]:
    """The time by part of the network and by type of operation, where there are any."""
    parts = [_parts_picture(profile)] if profile.parts else []
    return [*parts, _operations_picture(profile)] if profile.operations else parts


def picture_name(subject: str, case: str) -> str:
    """Of a file, in letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"profile-{subject}-{case}").strip("-")


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
        label_lines(axes, parts)
        axes.set_xlim(0, 1.05 * max(left))
        axes.set_xlabel("self time in one step, milliseconds")
        axes.figure.legend(loc="outside lower center", ncols=len(DIRECTIONS))

    backward = _share(profile, "backward")
    return draw(
        picture_name("parts", profile.name),
        f"{longest} takes the longest, and the backward pass {backward:.0%} of the time inside operations",
        described(
            "Bars of self time by part of the network, in the order of a step, forward and backward stacked:",
            [f"{part} {milliseconds(sum(each.values()))} ms" for part, each in times.items()],
        ),
        paint,
        height_of(len(parts)) + _LEGEND_INCHES,
    )


def _operations_picture(profile: Profile) -> Picture:
    first = profile.operations[:MAX_OPERATIONS]

    def paint(axes: Any) -> None:
        widths = [each.self_seconds / profile.steps * 1e3 for each in first]
        axes.barh(range(len(first)), widths, _BAR, color=COLOURS[0])
        label_lines(axes, [legible(each.operation, 40) for each in first])
        axes.set_xlabel("self time in one step, milliseconds")

    return draw(
        picture_name("operations", profile.name),
        f"{first[0].plain} takes {percent(first[0].share)} of the time inside operations",
        described(
            "Bars of self time by type of operation, longest first:",
            [f"{legible(each.operation)} {each.share:.1%}" for each in first],
        ),
        paint,
        height_of(len(first)),
    )
