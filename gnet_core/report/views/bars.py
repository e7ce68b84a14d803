"""Rows of a suite as bars: their images/s, what a start took, or the parts of a step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.report import drawing
from gnet_core.report.drawing import COLOURS, INK, Picture, beside, described, draw_lines, legible, subtitle
from gnet_core.report.ratios import LOOKS, MAX_LINES, WIDEST, distinct, verdict_words, wrapped
from gnet_core.report.views.answers import counts, speed, speed_interval
from gnet_core.report.views.section import Section
from gnet_core.results.records import Row

_BAR = 0.62  # height of a bar, as a share of its line's
_PHASES = {"import": COLOURS[6], "build": COLOURS[5], "trace": COLOURS[1], "compile and first step": COLOURS[3]}


def speeds(section: Section, *, with_starts: bool = False, logarithmic: bool = False) -> Picture:
    """Images/s of each case, on request beside what it took to start, or on a logarithmic axis, on which they lie far
    apart. Where rows are too many the fastest are shown.
    """
    fastest_first = sorted(range(len(section.rows)), key=lambda index: -speed(section.rows[index]))
    rows = [section.rows[index] for index in sorted(fastest_first[:MAX_LINES])]
    names, shared = distinct([row_words(section, row) for row in rows])
    names = [legible(name) for name in names]
    remarks = [_remark(section, row) for row in rows]
    starts = [_start(row) for row in rows]
    with_starts = with_starts and any(map(sum, starts))

    def paint(axes: Any) -> None:
        left = axes[0] if with_starts else axes
        foot = _power_below(rows) if logarithmic else 0.0
        _paint_speeds(left, section, rows, foot, with_mfu=not with_starts)
        if logarithmic:
            _to_logarithms(left, foot)
        subtitle(left, shared, len(section.rows) - len(rows))
        if with_starts:
            stacks(axes[1], starts, _PHASES)
            for line, start in enumerate(starts):
                beside(axes[1], sum(start), line, f"{sum(start):.1f}" if start else "")
            axes[1].set_xlim(0, 1.2 * max(map(sum, starts)))
            axes[1].set_xlabel("seconds to the first step")

    lines = []
    for row, name, remark in zip(rows, names, remarks, strict=True):
        mfu = f"MFU {row.mfu:.0%}" if row.mfu is not None else ""
        lines.append(", ".join(filter(None, [f"{name}: {speed_words(row)}", mfu, remark])))
    description = described("Images a second.", lines)
    if with_starts:
        lines = [f"{name}: {sum(start):.1f} s" for name, start in zip(names, starts, strict=True) if start]
        description = described(f"{description} Time to the end of the first step, import included.", lines)
    labels = ["\n".join(filter(None, [wrapped(name), remark])) for name, remark in zip(names, remarks, strict=True)]
    room: dict[str, Any] = {"legend": drawing.LEGEND_INCHES, "columns": 2} if with_starts else {}
    return draw_lines(section.picture_name, section.title(), description, paint, labels, **room)


def stacks(axes: Any, lines: Sequence[Sequence[float]], looks: Mapping[str, str], *, with_shares: bool = False) -> None:
    """A horizontal stack a line, and a legend. A part that noise made shorter than nothing has a share and no bar."""
    from matplotlib.patches import Patch

    for line, stack in enumerate(lines):
        left = 0.0
        for part, colour in zip(stack, looks.values(), strict=False):
            width = max(0.0, part)
            axes.barh(line, width, _BAR, left=left, color=colour)
            if with_shares:
                share = f"{part / sum(stack):.0%}"
                axes.text(left + width / 2, line - 0.55 * _BAR, share, ha="center", va="bottom")
            left += width
    patches = [Patch(color=colour, label=label) for label, colour in looks.items()]
    axes.figure.legend(handles=patches, loc="outside lower right", ncols=len(looks))


def row_words(section: Section, row: Row) -> list[str]:
    """Name of a row in a plot, word by word, the value that the suite varies first."""
    return [word for word in (section.value(row), *section.words(row)) if word]


def speed_words(row: Row) -> str:
    """A row's images/s with their interval, or why it has none."""
    if row.images_per_second is None:
        return without_figure(row)
    interval = speed_interval(row)
    return f"{_figure(row.images_per_second)} images/s{f' ({interval})' if interval else ''}"


def without_figure(row: Row) -> str:
    """Why a row has no figure."""
    return "out of memory" if row.status == "oom" else legible(row.status, 20)


def _remark(section: Section, row: Row) -> str:
    """How the case compares with its base, or why it does not count."""
    if row.images_per_second and not counts(row):
        return "loss not finite" if not row.finite else "other losses than float32's"
    comparison = section.comparisons.get(row.case)
    return verdict_words(comparison) if comparison and comparison.ratio is not None else ""


def _start(row: Row) -> tuple[float, ...]:
    """Seconds of the phases until the first step has ended; empty where they were not measured."""
    if row.import_seconds is None or row.build_seconds is None or row.first_step_seconds is None:
        return ()
    traced = row.trace_seconds or 0.0
    return row.import_seconds, row.build_seconds, traced, max(0.0, row.first_step_seconds - row.build_seconds - traced)


def _paint_speeds(axes: Any, section: Section, rows: Sequence[Row], foot: float, *, with_mfu: bool) -> None:
    """Bars on an axis that begins at `foot`."""
    fastest = max(map(speed, rows))
    reach = max(fastest, max(min(row.images_per_second_ci_high or 0.0, WIDEST * fastest) for row in rows))
    for line, row in enumerate(rows):
        end, low, high = row.images_per_second, row.images_per_second_ci_low, row.images_per_second_ci_high
        if end is None:
            beside(axes, foot, line, without_figure(row))
            continue
        comparison = section.comparisons.get(row.case)
        colour = COLOURS[0] if comparison is None else LOOKS[comparison.verdict][0]
        axes.barh(line, end, _BAR, color=colour if counts(row) else COLOURS[6])
        text = _figure(end) + (f", MFU {row.mfu:.0%}" if with_mfu and row.mfu is not None else "")
        if low is not None and high is not None:
            end = max(end, min(high, reach))
            axes.plot([low, end], [line, line], color=INK, linewidth=1.2, marker="|", markersize=6)
        beside(axes, end, line, text)
    axes.set_xlim(0, reach * (1.35 if with_mfu and any(row.mfu for row in rows) else 1.25))
    axes.set_xlabel("images/s, 95 % intervals" if any(map(speed_interval, rows)) else "images/s")


def _power_below(rows: Sequence[Row]) -> float:
    """The power of ten that leaves the slowest bar a length."""
    slowest = min(row.images_per_second for row in rows if row.images_per_second)
    return float(10 ** math.floor(math.log10(slowest / 1.5)))


def _to_logarithms(axes: Any, foot: float) -> None:
    """Make the axis of the bars a logarithmic one that begins at `foot`, with as much room for their figures."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    end = axes.get_xlim()[1]
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))  # no powers, which take TeX
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(foot, end * (end / foot) ** 0.25)
    axes.set_xlabel(f"{axes.get_xlabel()}, logarithmic")


def _figure(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"
