"""What a report says of a profile: an answer, tables, pictures and notes. Pure: it reads nothing and prints nothing."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

from gnet_core.plan.request import ProfileRequest, command_line, quoted
from gnet_core.profile import device_time, tensor_cores
from gnet_core.profile.document import Kernel, KindOfTime, NotAvailable, OperationType, PeakMemory, Profile, read
from gnet_core.profile.parts import DIRECTIONS, OTHER, PARTS
from gnet_core.profile.step_breakdown import AT_WORK, at_work, input_bound, launch_bound
from gnet_core.report.document import Block, Bullets, Command, Paragraph, Sentence, section
from gnet_core.report.drawing import COLOURS, Picture, described, draw, height_of, label_lines, legible
from gnet_core.report.grid import Cell, Column, Grid, grid
from gnet_core.text import milliseconds, percent

MOST_OPERATIONS = 12
MOST_KERNELS = 15
"""Rows of a table; one more sums up the rest."""

_LEGEND_INCHES = 0.25
_BAR = 0.7
"""Of a line's height."""


@dataclasses.dataclass(frozen=True, eq=False)
class ProfileView:
    """What is said of one profile, as plain text, tables and pictures. Each is made when it is asked for, and once."""

    profile: Profile

    @property
    def case(self) -> str:
        return self.profile.name

    @property
    def command(self) -> str:
        """What takes such a trace again."""
        return command_line(ProfileRequest.of(self.profile.config, steps=self.profile.steps))

    @functools.cached_property
    def answer(self) -> str:
        """Where the time goes, in a sentence or two; what the step is bound by comes first."""
        return " ".join(part for part in (self.launch_bound, _answer(self.profile)) if part)

    @functools.cached_property
    def launch_bound(self) -> str:
        """A sentence on a step that is bound by launching kernels, else ""."""
        return _launch_bound(self.profile)

    @functools.cached_property
    def grids(self) -> list[tuple[str, Grid]]:
        """The tables that have rows, each with its heading."""
        return [(heading, each) for heading, each in _grids(self.profile) if each.rows]

    @functools.cached_property
    def pictures(self) -> list[Picture]:
        """The time by part of the network, and by type of operation."""
        return _pictures(self.profile)

    @functools.cached_property
    def notes(self) -> list[str]:
        """What the figures are and what they rest on, a sentence or two each."""
        return _notes(self.profile)


def view(document: Any) -> ProfileView:
    """What is said of a profile.json. Raises GnetError naming the field that is missing or wrong in it."""
    return ProfileView(read(document))


def blocks_of(told: ProfileView, *, with_pictures: bool = True) -> list[Block]:
    """What a report says of a profile: the answer, pictures, tables and notes, and the command that traces again."""
    return [
        Paragraph(Sentence(told.answer, "")),
        *(told.pictures if with_pictures else []),
        *(section(heading, each) for heading, each in told.grids),
        Bullets(told.notes),
        Command(told.command, "What traces it again:"),
    ]


def tensorboard_line(directory: Path) -> str:
    """The command that shows the traces of a directory."""
    return f"tensorboard --logdir {quoted(str(directory / 'traces'))}"


def pivot(profile: Profile) -> dict[str, dict[str, float]]:
    """Seconds a step by part, in the order in which a step comes to them, and by direction."""
    found: dict[str, dict[str, float]] = {}
    for part in PARTS:
        times = {each.direction: each.self_seconds / profile.steps for each in profile.parts if each.part == part}
        if times:
            found[part] = times
    return found


def _answer(profile: Profile) -> str:
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


def _launch_bound(profile: Profile) -> str:
    """A sentence on a GPU's step that is bound by launching kernels, else ""."""
    device_seconds = _device_seconds(profile)
    if profile.config.device == "cpu" or device_seconds is None:
        return ""
    told = launch_bound(device_seconds, profile.untraced_seconds)
    if told and profile.config.execution == "xla":
        told += " That is without XLA's command buffers, which are off while a trace is taken."
    return told


def _device_seconds(profile: Profile) -> float | None:
    """How long the device is at work in a step; None where xprof recognised no step, or nothing of the device."""
    return sum(each.seconds for each in profile.breakdown if each.kind in AT_WORK) or None


def _share(profile: Profile, direction: str) -> float:
    return sum(each.share for each in profile.parts if each.direction == direction)


def _grids(profile: Profile) -> list[tuple[str, Grid]]:
    return [
        ("What a step's time goes to", _breakdown_grid(profile)),
        ("By part of the network, in one step", _part_grid(profile)),
        ("By type of operation, in one step", _operation_grid(profile)),
        ("The GPU's kernels, in one step", _kernel_grid(profile)),
        ("Not available from this trace", _missing_grid(profile)),
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
    kept, cut = profile.operations[:MOST_OPERATIONS], profile.operations[MOST_OPERATIONS:]
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
    longest = grid(columns, profile.kernels[:MOST_KERNELS], "The longest kernels")
    cut = profile.kernels[MOST_KERNELS:]
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
    columns = [
        Column[NotAvailable]("what", lambda each: each.what, text=True),
        Column[NotAvailable]("why not", lambda each: each.why, text=True),
    ]
    return grid(columns, profile.not_available, "Not available from this trace")


def _notes(profile: Profile) -> list[str]:
    told = [profile.note] if profile.operations and profile.note else []
    if profile.operations and profile.config.device == "cpu":
        told.append(f"On average {profile.busy_threads:.1f} threads were inside operations at once.")
    kinds = {each.kind: each.share for each in profile.breakdown}
    if "input" in kinds:
        same = "The traced steps all take one batch that lies on the device already, so a slow input would not show."
        told.append(f"{input_bound(kinds['input'])} {same}")
    if (device := _device_seconds(profile)) is not None:
        told.append(f"By the trace {at_work(device, profile.untraced_seconds)}, timed without the profiler.")
    if shares := _tensor_core_shares(profile.kernels):
        told.append(f"Tensor cores, by the kernels' names, of the kernels' time: {shares}.")
    if profile.device_time:
        told += device_time.reconciled(profile.device_time, profile.steps, _device_seconds(profile))
    if profile.peak_memory:
        told.append(_memory_line(profile.peak_memory, on_gpu=profile.config.device != "cpu"))
    return [*told, overhead_line(profile), *profile.warnings]


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


def _pictures(profile: Profile) -> list[Picture]:
    pictures = []
    if profile.parts:
        pictures.append(_parts_picture(profile))
    if profile.operations:
        pictures.append(_operations_picture(profile))
    return pictures


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
    first = profile.operations[:MOST_OPERATIONS]

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
