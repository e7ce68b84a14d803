"""Two profiles side by side, said to people and to programs. Pure but for `write`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from gnet_core import html
from gnet_core.drawing import COLOURS, Picture, draw, legible
from gnet_core.files import write_whole
from gnet_core.network_parts import PARTS
from gnet_core.profile_comparison import Change, ProfileComparison
from gnet_core.tables import Column, Grid, grid, in_style, inert, plain

NO_VERDICT = (
    "These times were taken under the profiler, in one process each, one after the other. They tell where time went, "
    "not which is faster: gnet bench measures that, and gnet compare gives a verdict."
)
SUMMED = (
    "The time of operations is summed over threads, so it may exceed the step's; what runs beside something else may "
    "grow without making the step longer."
)

MOST_ROWS = 25
"""Of a table by type of operation."""

MOST_BARS = 12

NEGLIGIBLE = 0.01
"""Of the largest difference. What changed less is in no sentence."""

_BAR_INCHES = 0.26


def answer(compared: ProfileComparison) -> str:
    """What changed most, in a few sentences."""
    total = sum(change.difference for change in compared.operations)
    told = [
        f"NEW spends {_milliseconds(abs(total))} ms {'more' if total > 0 else 'less'} inside operations "
        f"a{'n' if compared.per_image else ''} {compared.unit} than BASE."
    ]
    for where, changes in (("By type of operation", compared.operations), ("By part of the network", compared.parts)):
        least = NEGLIGIBLE * max((abs(each.difference) for each in changes), default=0.0)
        slower, faster = ([each for each in changes if each.difference * sign > least][:3] for sign in (1, -1))
        sides = [f"{word} {_named(some)}" for word, some in (("slower", slower), ("faster", faster)) if some]
        told += [f"{where}, {'; '.join(sides)}."] if sides else []
    return " ".join(told)


def _named(changes: list[Change]) -> str:
    return ", ".join(f"{each.name} {_signed(each)}" for each in changes)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if abs(seconds) < 0.1 else f"{seconds * 1e3:.0f}"


def _signed(change: Change) -> str:
    return f"{'+' if change.difference > 0 else '−'}{_milliseconds(abs(change.difference))} ms"


def step_line(compared: ProfileComparison) -> str:
    """Both steps without the profiler, as the run that took the trace timed them beforehand."""
    base, new = compared.base.untraced_seconds, compared.new.untraced_seconds
    if compared.per_image:
        base, new = base / compared.base.config.batch_size, new / compared.new.config.batch_size
    return (
        f"Right before its trace, without the profiler, a{'n' if compared.per_image else ''} {compared.unit} took "
        f"{_milliseconds(base)} ms in BASE and {_milliseconds(new)} ms in NEW (medians of {compared.base.steps} and "
        f"{compared.new.steps} steps: no measurement)."
    )


def caveats(compared: ProfileComparison) -> list[str]:
    """What the tables have to be read with."""
    told = [NO_VERDICT]
    if compared.across_machines:
        told.append("ACROSS MACHINES: the hardware differs, so the differences are of machines as much as of steps.")
    if compared.per_image:
        sizes = f"{compared.base.config.batch_size} and {compared.new.config.batch_size}"
        told.append(f"The batches differ ({sizes}), so all times are divided by them: they are of one image.")
    if not compared.parts:
        told.append("By part of the network: not available, since one of the traces tells no operations' names.")
    if compared.base.note != compared.new.note:
        told.append(f"The two count time in different ways. BASE: {compared.base.note} NEW: {compared.new.note}")
    told += [SUMMED, step_line(compared)]
    if compared.base.config.device == compared.new.config.device == "cpu":
        busy = f"{compared.base.busy_threads:.1f} in BASE and {compared.new.busy_threads:.1f} in NEW"
        told.append(f"Threads that were inside operations at once, on average: {busy}.")
    told += [f"Not configured alike: {each}" for each in compared.other_configs]
    return told + [f"The environments differ: {each}" for each in compared.differences]


def grids(compared: ProfileComparison) -> list[tuple[str, Grid]]:
    """The tables, each with its heading."""
    unit = compared.unit
    found = [
        (f"By part of the network, in one {unit}", _grid("part", compared.parts)),
        ("The same, forward and backward apart", _grid("part", compared.by_direction)),
        (f"By type of operation, in one {unit}", _grid("operation", compared.operations[:MOST_ROWS])),
    ]
    return [(heading, each) for heading, each in found if each.rows]


def _grid(what: str, changes: list[Change]) -> Grid:
    columns = [
        Column[Change](what, lambda change: change.name, text=True),
        Column[Change]("BASE ms", lambda change: f"{change.base_seconds * 1e3:.2f}"),
        Column[Change]("NEW ms", lambda change: f"{change.new_seconds * 1e3:.2f}"),
        Column[Change]("difference ms", lambda change: f"{change.difference * 1e3:+.2f}"),
        Column[Change]("× BASE", lambda change: "only in NEW" if change.ratio is None else f"{change.ratio:.2f}"),
    ]
    return grid(columns, changes, f"Differences by {what}, the largest first")


def pictures(compared: ProfileComparison) -> list[Picture]:
    """The differences by part, in the order of a step, and both times by type of operation."""
    found = [_operations_picture(compared)]
    return [_parts_picture(compared), *found] if compared.parts else found


def _parts_picture(compared: ProfileComparison) -> Picture:
    changes = sorted(compared.parts, key=lambda change: PARTS.index(change.name))

    def paint(axes: Any) -> None:
        places = range(len(changes), 0, -1)
        colours = [COLOURS[4] if change.difference > 0 else COLOURS[2] for change in changes]
        axes.barh(places, [change.difference * 1e3 for change in changes], color=colours, height=0.7)
        axes.set_yticks(list(places), [change.name for change in changes])
        axes.axvline(0, color=COLOURS[6], linewidth=0.8)
        axes.set_xlabel(f"NEW − BASE, milliseconds of self time in one {compared.unit} (right: slower)")
        axes.grid(visible=False, axis="y")

    told = "; ".join(f"{change.name} {_signed(change)}" for change in changes)
    largest = compared.parts[0]
    return draw(
        "profile-parts-compared",
        f"{largest.name} changed most, {_signed(largest)}: {compared.base.name} → {compared.new.name}",
        f"Bars of the difference in self time by part of the network, in the order of a step: {told}.",
        paint,
        height_inches=0.9 + _BAR_INCHES * len(changes),
    )


def _operations_picture(compared: ProfileComparison) -> Picture:
    changes = compared.operations[:MOST_BARS]

    def paint(axes: Any) -> None:
        places = list(range(len(changes), 0, -1))
        for side, offset, colour in (("BASE", 0.19, COLOURS[0]), ("NEW", -0.19, COLOURS[1])):
            seconds = [change.base_seconds if side == "BASE" else change.new_seconds for change in changes]
            positions = [place + offset for place in places]
            axes.barh(positions, [each * 1e3 for each in seconds], color=colour, height=0.38, label=side)
        axes.set_yticks(places, [legible(change.name, 40) for change in changes])
        axes.set_xlabel(f"self time in one {compared.unit}, milliseconds")
        axes.grid(visible=False, axis="y")
        axes.legend(loc="best")

    told = "; ".join(f"{change.name} {_signed(change)}" for change in changes)
    largest = changes[0]
    return draw(
        "profile-operations-compared",
        f"{largest.name} changed most, {_signed(largest)}",
        f"Bars of self time by type of operation in BASE and in NEW, the largest difference first: {told}.",
        paint,
        height_inches=1.0 + _BAR_INCHES * len(changes),
    )


def to_json(compared: ProfileComparison) -> dict[str, Any]:
    """One document for programs."""

    def told(changes: list[Change]) -> list[dict[str, Any]]:
        return [
            dataclasses.asdict(change) | {"difference_seconds": change.difference, "ratio": change.ratio}
            for change in changes
        ]

    return {
        "base": str(compared.base_directory),
        "new": str(compared.new_directory),
        "base_case": compared.base.name,
        "new_case": compared.new.name,
        "seconds_of_one": compared.unit,
        "across_machines": compared.across_machines,
        "answer": answer(compared),
        "parts": told(compared.parts),
        "parts_by_direction": told(compared.by_direction),
        "operations": told(compared.operations),
        "caveats": caveats(compared),
        "environment_differences": [difference._asdict() for difference in compared.differences],
    }


def to_terminal(compared: ProfileComparison) -> str:
    """The answer, the tables and the caveats, for a terminal."""
    parts = [
        f"BASE {compared.base.name}  {plain(compared.base_directory)}\n"
        f"NEW  {compared.new.name}  {plain(compared.new_directory)}",
        plain(answer(compared)),
    ]
    for heading, each in grids(compared):
        parts += [f"{heading}:", in_style(each, "simple")]
    return "\n\n".join([*parts, "\n".join(f"- {plain(told)}" for told in caveats(compared))])


def to_markdown(compared: ProfileComparison, drawn: list[Picture]) -> str:
    """The whole report.md of a comparison."""
    parts = [
        "# Two profiles of GoogleNet_2's train step, side by side",
        f"BASE is {inert(compared.base.name)}, NEW is {inert(compared.new.name)}.",
        f"**{inert(answer(compared))}**",
        *(f"![{inert(picture.description)}](plots/{picture.name}.svg)" for picture in drawn),
    ]
    for heading, each in grids(compared):
        parts += [f"## {inert(heading)}", in_style(each, "pipe")]
    parts += ["## How to read these figures", "\n".join(f"- {inert(told)}" for told in caveats(compared))]
    return "\n\n".join(parts) + "\n"


def to_html(compared: ProfileComparison, drawn: list[Picture]) -> str:
    """The whole report.html of a comparison: one file that needs no other."""
    return html.render(
        "profile_comparison.html.jinja",
        base=compared.base.name,
        new=compared.new.name,
        answer=answer(compared),
        warning=NO_VERDICT,
        pictures=drawn,
        grids=grids(compared),
        caveats=caveats(compared)[1:],
    )


def write(compared: ProfileComparison, directory: Path) -> None:
    """Write comparison.json, report.md, report.html and plots/ into a directory that exists."""
    drawn = pictures(compared)
    write_whole(directory / "comparison.json", json.dumps(to_json(compared), indent=1, allow_nan=False))
    write_whole(directory / "report.md", to_markdown(compared, drawn))
    write_whole(directory / "report.html", to_html(compared, drawn))
    (directory / "plots").mkdir(exist_ok=True)
    for picture in drawn:
        write_whole(directory / "plots" / f"{picture.name}.svg", picture.svg)
