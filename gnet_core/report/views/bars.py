"""Rows of a suite as bars: their images/s, what a start took, or the parts of a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.report.drawing import (
    COLOURS,
    INK,
    Picture,
    beside,
    described,
    draw,
    height_of,
    label_lines,
    legible,
    subtitle,
)
from gnet_core.report.ratios import LOOKS, MAX_LINES, WIDEST, distinct, verdict_told, wrapped
from gnet_core.report.views.answers import counts, speed, speed_interval
from gnet_core.report.views.section import Section
from gnet_core.results.records import Row

LEGEND_INCHES = 0.3

_BAR = 0.62
"""Of the room of its line."""
_PHASES = {"import": COLOURS[6], "build": COLOURS[5], "trace": COLOURS[1], "compile and first step": COLOURS[3]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Lines:
    """Rows of a suite as the lines of a plot."""

    section: Section
    rows: list[Row]
    names: list[str]
    """Of each, what tells it from the others."""
    shared: str

    @property
    def left_out(self) -> int:
        return len(self.section.rows) - len(self.rows)

    @property
    def labels(self) -> list[str]:
        """The names, and below each how the case compares with its base, or why it does not count."""
        told = []
        for row, name in zip(self.rows, self.names, strict=True):
            below = _remark(self.section, row)
            told.append("\n".join([wrapped(name), *([below] if below else [])]))
        return told

    @property
    def height_inches(self) -> float:
        return height_of(len(self.rows), 1 + max(label.count("\n") for label in self.labels))


def speeds(section: Section) -> Picture:
    """Images/s of each case with their intervals."""
    lines = _lines(section)

    def paint(axes: Any) -> None:
        _bars(axes, lines, with_mfu=True)

    return draw(section.picture_name, section.title(), _speeds_told(lines), paint, lines.height_inches)


def speeds_and_starts(section: Section) -> Picture:
    """The same, and beside them what each took to start; without that where no start was measured."""
    lines = _lines(section)
    starts = [_start(row) for row in lines.rows]
    longest = max(map(sum, starts))
    if not longest:
        return speeds(section)

    def paint(columns: Any) -> None:
        left, phases = columns
        _bars(left, lines, with_mfu=False)
        stacks(phases, starts, _PHASES)
        for line, start in enumerate(starts):
            beside(phases, sum(start), line, f"{sum(start):.1f}" if start else "")
        label_lines(phases, [""] * len(starts))
        phases.set_xlim(0, 1.2 * longest)
        phases.set_xlabel("seconds to the first step")

    told = [f"{name}: {sum(start):.1f} s" for name, start in zip(lines.names, starts, strict=True) if start]
    description = described(f"{_speeds_told(lines)} Time to the end of the first step, import included.", told)
    height = lines.height_inches + LEGEND_INCHES
    return draw(section.picture_name, section.title(), description, paint, height, columns=2)


def stacks(axes: Any, lines: Sequence[Sequence[float]], looks: Mapping[str, str]) -> None:
    """A horizontal stack a line, with a legend of its parts' colours below the figure."""
    from matplotlib.patches import Patch

    for line, stack in enumerate(lines):
        left = 0.0
        for width, colour in zip(stack, looks.values(), strict=False):
            axes.barh(line, width, _BAR, left=left, color=colour)
            left += width
    patches = [Patch(color=colour, label=label) for label, colour in looks.items()]
    axes.figure.legend(handles=patches, loc="outside lower right", ncols=len(looks))


def shares(axes: Any, line: int, seconds: Sequence[float], stack: Sequence[float]) -> None:
    """Above each part of a stack its share of the whole."""
    left = 0.0
    for part, width in zip(seconds, stack, strict=True):
        axes.text(left + width / 2, line - 0.55 * _BAR, f"{part / sum(seconds):.0%}", ha="center", va="bottom")
        left += width


def row_words(section: Section, row: Row) -> list[str]:
    """What a row is called in a plot, the value that the suite varies first."""
    return [word for word in (section.value(row), *section.words(row)) if word]


def speed_told(row: Row) -> str:
    """A row's images/s with their interval, or why it has none."""
    if row.images_per_second is None:
        return without_figure(row)
    interval = speed_interval(row)
    return f"{_figure(row.images_per_second)} images/s{f' ({interval})' if interval else ''}"


def without_figure(row: Row) -> str:
    """Why a row has none."""
    return "out of memory" if row.status == "oom" else legible(row.status, 20)


def _lines(section: Section) -> _Lines:
    """The suite's rows in their order; where they are too many, the fastest of them."""
    fastest_first = sorted(range(len(section.rows)), key=lambda index: -speed(section.rows[index]))
    rows = [section.rows[index] for index in sorted(fastest_first[:MAX_LINES])]
    names, shared = distinct([row_words(section, row) for row in rows])
    return _Lines(section=section, rows=rows, names=[legible(name) for name in names], shared=shared)


def _remark(section: Section, row: Row) -> str:
    if row.images_per_second and not counts(row):
        return "loss not finite" if not row.finite else "other losses than float32's"
    found = section.comparisons.get(row.case)
    return verdict_told(found) if found and found.ratio is not None else ""


def _start(row: Row) -> tuple[float, ...]:
    """Seconds of the phases until the first step has ended; empty where they were not measured."""
    if row.import_seconds is None or row.build_seconds is None or row.first_step_seconds is None:
        return ()
    traced = row.trace_seconds or 0.0
    called = max(0.0, row.first_step_seconds - row.build_seconds - traced)
    return row.import_seconds, row.build_seconds, traced, called


def _bars(axes: Any, lines: _Lines, *, with_mfu: bool) -> None:
    """A bar a case with its images/s and their interval; in words where there is no figure."""
    fastest = max(map(speed, lines.rows))
    reach = max(fastest, max(min(row.images_per_second_ci_high or 0.0, WIDEST * fastest) for row in lines.rows))
    for line, row in enumerate(lines.rows):
        value, low, high = row.images_per_second, row.images_per_second_ci_low, row.images_per_second_ci_high
        if value is None:
            beside(axes, 0, line, without_figure(row))
            continue
        axes.barh(line, value, _BAR, color=_colour(lines.section, row))
        end = value
        if low is not None and high is not None:
            end = max(value, min(high, reach))
            axes.plot([low, end], [line, line], color=INK, linewidth=1.2, marker="|", markersize=6)
        mfu = f", MFU {row.mfu:.0%}" if with_mfu and row.mfu is not None else ""
        beside(axes, end, line, f"{_figure(value)}{mfu}")
    label_lines(axes, lines.labels)
    axes.set_xlim(0, reach * (1.35 if with_mfu and any(row.mfu for row in lines.rows) else 1.25))
    axes.set_xlabel("images/s, 95 % intervals" if any(map(speed_interval, lines.rows)) else "images/s")
    subtitle(axes, lines.shared, lines.left_out)


def _colour(section: Section, row: Row) -> str:
    if not counts(row):
        return COLOURS[6]
    found = section.comparisons.get(row.case)
    return COLOURS[0] if found is None else LOOKS[found.verdict][0]


def _speeds_told(lines: _Lines) -> str:
    told = []
    for row, name in zip(lines.rows, lines.names, strict=True):
        mfu = f", MFU {row.mfu:.0%}" if row.mfu is not None else ""
        remark = _remark(lines.section, row)
        told.append(f"{name}: {speed_told(row)}{mfu}{f', {remark}' if remark else ''}")
    return described("Images a second.", told)


def _figure(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"
