"""Two profiles side by side, for people and for programs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from gnet_core.profile.comparison import NO_SECONDS, Change, ProfileComparison
from gnet_core.profile.parts import PARTS
from gnet_core.report import documents
from gnet_core.report.document import Banner, Bullets, Document, Paragraph, Sentence, section
from gnet_core.report.drawing import COLOURS, Picture, described, draw_lines, legible
from gnet_core.report.fields import case_words
from gnet_core.report.grid import Column, Grid, grid
from gnet_core.report.profile import PROFILE_LEGEND_INCHES
from gnet_core.report.ratios import distinct
from gnet_core.text import milliseconds

NO_VERDICT = (
    "These times were taken under the profiler, in one process each, one after the other. They tell where time went, "
    "not which is faster: gnet bench measures that, and gnet compare gives a verdict."
)
SUMMED = (
    "The time of operations is summed over threads (on a GPU over streams), so it may exceed the step's; what runs "
    "beside something else may grow without making the step longer."
)
SHARED_OUT = (
    "Every figure is a part's or an operation's share of its own trace's time inside operations, times that side's "
    "step without the profiler, so that the differences add up to the difference of the steps; what a step spends "
    "outside of operations is shared out with the rest."
)

MAX_ROWS, MAX_BARS = 25, 12
"""Types of operation in the table and in the picture."""

NEGLIGIBLE = 0.01
"""Share of the largest difference. Smaller changes are in no sentence."""


def answer(compared: ProfileComparison) -> str:
    """The largest changes, in a few sentences."""
    sentences = [_whole(compared)]
    if all(change.is_none for change in (*compared.operations, *compared.by_direction)):
        sentences.append("Nothing changed, by type of operation or by part of the network.")
    for where, changes in (("By type of operation", compared.operations), ("By part of the network", compared.parts)):
        least = max(NO_SECONDS, NEGLIGIBLE * max((abs(change.difference) for change in changes), default=0.0))
        sides = []
        for word, sign in (("slower", 1), ("faster", -1)):
            if first := [change for change in changes if change.difference * sign > least][:3]:
                sides.append(f"{word} {', '.join(f'{change.name} {_signed(change)} ms' for change in first)}")
        sentences += [f"{where}, {'; '.join(sides)}."] if sides else []
    return " ".join(sentences)


def _whole(compared: ProfileComparison) -> str:
    """The sum of the differences, and what it is a sum of."""
    total = sum(change.difference for change in compared.operations)
    unit = "an image" if compared.per_image else "a step"
    if abs(total) < NO_SECONDS:
        amount, than = "as long", "as BASE"
    else:
        amount, than = f"{milliseconds(abs(total))} ms {'more' if total > 0 else 'less'}", "than BASE"
    if not compared.shared_out:
        return f"NEW spends {amount} inside operations {unit} {than}."
    return (
        f"NEW takes {amount} {unit} {than}, without the profiler. The two traces count time in different ways, so here "
        "every figure is a share of its own side's time inside operations, taken of its step without the profiler."
    )


def _signed(change: Change) -> str:
    if change.is_none:
        return "±0"
    return f"{'+' if change.difference > 0 else '−'}{milliseconds(abs(change.difference))}"


def _largest(changes: list[Change], what: str) -> str:
    largest = changes[0]
    return f"No {what} changed" if largest.is_none else f"{largest.name} changed most, {_signed(largest)} ms"


def caveats(compared: ProfileComparison) -> list[str]:
    """Caveats that the tables have to be read with, a sentence or two each."""
    base, new = compared.base, compared.new
    texts = [NO_VERDICT]
    if compared.across_machines:
        texts.append("ACROSS MACHINES: the hardware differs, so the differences are of machines as much as of steps.")
    if compared.per_image:
        sizes = f"{base.config.batch_size} and {new.config.batch_size}"
        texts.append(f"The batches differ ({sizes}), so all times are divided by them: they are of one image.")
    if not compared.parts:
        texts.append("By part of the network: not available, since one of the traces tells no operations' names.")
    if compared.shared_out:
        texts.append(f"The two count time in different ways. BASE: {base.note} NEW: {new.note}")
    unit = "an image" if compared.per_image else "a step"
    seconds = [side.untraced_seconds / (side.config.batch_size if compared.per_image else 1) for side in (base, new)]
    texts += [
        SHARED_OUT if compared.shared_out else SUMMED,
        f"Right before its trace, without the profiler, {unit} took {milliseconds(seconds[0])} ms in BASE and "
        f"{milliseconds(seconds[1])} ms in NEW (medians of {base.steps} and {new.steps} steps: no measurement).",
    ]
    if base.config.device == new.config.device == "cpu":
        busy = f"{base.busy_threads:.1f} in BASE and {new.busy_threads:.1f} in NEW"
        texts.append(f"Threads that were inside operations at once, on average: {busy}.")
    texts += [f"Not configured alike: {difference}" for difference in compared.other_configs]
    return texts + [f"The environments differ: {difference}" for difference in compared.differences]


def _grid(what: str, changes: list[Change]) -> Grid:
    def multiple(change: Change) -> str:
        if change.ratio is not None:
            return f"{change.ratio:.2f}"
        return "only in NEW" if change.new_seconds and not change.base_seconds else ""

    columns = [
        Column[Change](what, lambda change: change.name, text=True),
        Column[Change]("BASE ms", lambda change: milliseconds(change.base_seconds)),
        Column[Change]("NEW ms", lambda change: milliseconds(change.new_seconds)),
        Column[Change]("difference ms", _signed),
        Column[Change]("× BASE", multiple),
    ]
    return grid(columns, changes, f"Differences by {what}, the largest first")


def pictures(compared: ProfileComparison) -> list[Picture]:
    """The differences by part, in the order of a step, and both times by type of operation."""
    operations = _operations_picture(compared)
    return [_parts_picture(compared), operations] if compared.parts else [operations]


def _parts_picture(compared: ProfileComparison) -> Picture:
    changes = sorted(compared.parts, key=lambda change: PARTS.index(change.name))
    cases, _shared = distinct([case_words(side.config) for side in (compared.base, compared.new)])

    def paint(axes: Any) -> None:
        colours = [COLOURS[4] if change.difference > 0 else COLOURS[2] for change in changes]
        axes.barh(range(len(changes)), [change.difference * 1e3 for change in changes], 0.7, color=colours)
        axes.axvline(0, color=COLOURS[6], linewidth=0.8)
        axes.set_xlabel(f"NEW − BASE, milliseconds of {_time(compared)} (right: slower)")

    title = f"{_largest(compared.parts, 'part')}: {' → '.join(cases)}"
    lines = [f"{change.name} {_signed(change)} ms" for change in changes]
    description = described("Bars of the difference in time by part of the network, in the order of a step:", lines)
    return draw_lines("profile-parts-compared", title, description, paint, [change.name for change in changes])


def _operations_picture(compared: ProfileComparison) -> Picture:
    changes = compared.operations[:MAX_BARS]

    def paint(axes: Any) -> None:
        base = [1e3 * change.base_seconds for change in changes]
        new = [1e3 * change.new_seconds for change in changes]
        for side, widths, offset, colour in (("BASE", base, -0.19, COLOURS[0]), ("NEW", new, 0.19, COLOURS[1])):
            places = [line + offset for line in range(len(changes))]
            axes.barh(places, widths, 0.38, color=colour, label=side)
        axes.set_xlabel(f"milliseconds of {_time(compared)}")
        axes.figure.legend(loc="outside lower center", ncols=2)

    name, title = "profile-operations-compared", _largest(changes, "type of operation")
    lines = [f"{legible(change.name)} {_signed(change)} ms" for change in changes]
    subject = "Bars of time by type of operation in BASE and in NEW, the largest difference first:"
    labels = [legible(change.name, 40) for change in changes]
    return draw_lines(name, title, described(subject, lines), paint, labels, legend=PROFILE_LEGEND_INCHES)


def _time(compared: ProfileComparison) -> str:
    return f"{'a share of' if compared.shared_out else 'self time in'} one {compared.unit}"


def to_json(compared: ProfileComparison) -> dict[str, Any]:
    """One document for programs."""

    def record(change: Change) -> dict[str, Any]:
        return dataclasses.asdict(change) | {"difference_seconds": change.difference, "ratio": change.ratio}

    return {
        "base": str(compared.base_directory),
        "new": str(compared.new_directory),
        "base_case": compared.base.config.name,
        "new_case": compared.new.config.name,
        "seconds_of_one": compared.unit,
        "shares_of_the_untraced_step": compared.shared_out,
        "across_machines": compared.across_machines,
        "answer": answer(compared),
        "parts": list(map(record, compared.parts)),
        "parts_by_direction": list(map(record, compared.by_direction)),
        "operations": list(map(record, compared.operations)),
        "caveats": caveats(compared),
        "environment_differences": [difference._asdict() for difference in compared.differences],
    }


def document(compared: ProfileComparison, *, with_pictures: bool = True) -> Document:
    """The whole report of a comparison."""
    sides = (("BASE", compared.base, compared.base_directory), ("NEW", compared.new, compared.new_directory))
    cases = [Sentence(f"{name}:", f"{', '.join(case_words(side.config))}, {folder}") for name, side, folder in sides]
    first, *others = caveats(compared)
    unit = compared.unit
    return Document(
        heading="Two profiles of GoogleNet_2's train step, side by side",
        banners=[Banner("bad", first)],
        intro=[Bullets(cases)],
        summary=[Paragraph(answer(compared)), *(pictures(compared) if with_pictures else [])],
        sections=[
            section(f"By part of the network, in one {unit}", _grid("part", compared.parts)),
            section("The same, forward and backward apart", _grid("part", compared.by_direction)),
            section(f"By type of operation, in one {unit}", _grid("operation", compared.operations[:MAX_ROWS])),
            section("How to read these figures", Bullets(others)),
        ],
    )


def write(compared: ProfileComparison, directory: Path) -> None:
    """Write comparison.json, report.md, report.html and plots/ into a directory that exists. Raises OSError."""
    data = json.dumps(to_json(compared), indent=1, allow_nan=False)
    documents.write(directory, document(compared), {"comparison.json": data})
