"""A series of a history as a picture: its figures over the runs, the level of each segment, and what changed when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gnet_core.report.drawing import COLOURS, INK, Picture, described, draw, legible, picture_name, subtitle
from gnet_core.report.grid import ratio, ratio_and_interval
from gnet_core.report.ratios import LOOKS
from gnet_core.results.changes import Change, Trend
from gnet_core.results.history import Point

MAX_LABELS = 8
"""Changes whose ratio is written into the picture, the latest ones: more of them would hide each other."""

MANY_RUNS = 200
"""From so many runs on their marks are small."""

_TICKS = 5
_LABEL_ROWS, _LABEL_ROW_POINTS = 4, 13  # of the ratios at the top, one below the other
_AXES_POINTS = 160  # about the height of the axes, to make room for those rows


def over_runs(trend: Trend, number: int, title: str, shared: str) -> Picture:
    """Images/s over the runs in their order, with 95 % intervals. `number` tells pictures of one case apart."""
    points = trend.series.points
    places = [place for place, point in enumerate(points) if point.images_per_second is not None]
    speeds = [speed for point in points if (speed := point.images_per_second) is not None]

    def paint(axes: Any) -> None:
        _paint_points(axes, places, speeds, trend.series.measured)
        for start, end, level in trend.segments:
            axes.plot([places[start] - 0.4, places[end - 1] + 0.4], [level, level], color=INK, linewidth=1.6)
        bottom, top = _limits(speeds, trend.series.measured)
        rows = min(_LABEL_ROWS, len(trend.changes))
        axes.set_ylim(bottom, top + (top - bottom) * rows * _LABEL_ROW_POINTS / _AXES_POINTS)
        axes.set_xlim(-0.6, len(points) - 0.4)
        _paint_changes(axes, trend.changes, places, len(points))
        _set_dates(axes, points)
        gaps = len(points) - len(places)
        without = f", {gaps} of them without a figure" if gaps else ""
        axes.set_xlabel(f"{len(points)} runs in the order of time{without}")
        axes.set_ylabel("images/s")
        subtitle(axes, shared)

    lines = [f"{change_words(change)} since {change.after.run.created.date()}" for change in trend.changes]
    levels = " → ".join(f"{segment.level:.1f}" for segment in trend.segments)
    subject = f"Images a second over {len(points)} runs, levels of the segments: {levels}."
    name = f"history-{number:03}-{picture_name(trend.series.key.case)}"
    return draw(name, title, described(subject, lines), paint, 3.0)


def change_words(change: Change) -> str:
    """0.94× (0.92–0.96) SLOWER, or in small letters where it is within the margin."""
    return f"{ratio_and_interval(change.change_point)} {direction(change)}"


def direction(change: Change) -> str:
    """SLOWER or FASTER; in small letters where it is within the margin."""
    if change.verdict != "SAME":
        return change.verdict
    return "faster" if change.change_point.ratio > 1 else "slower"


def _paint_points(axes: Any, places: Sequence[int], speeds: Sequence[float], points: Sequence[Point]) -> None:
    """The figures, and their intervals as one line with gaps, which is drawn much faster than one a run."""
    with_interval = [(place, point) for place, point in zip(places, points, strict=True) if point.low is not None]
    across = [x for place, _ in with_interval for x in (place, place, math.nan)]
    along = [y for _, point in with_interval for y in (point.low, point.high, math.nan)]
    axes.plot(across, along, color=COLOURS[6], linewidth=0.7)
    size = 1.8 if len(places) >= MANY_RUNS else 3.5
    axes.plot(places, speeds, linestyle="", marker="o", markersize=size, color=COLOURS[0])


def _limits(speeds: Sequence[float], points: Sequence[Point]) -> tuple[float, float]:
    """Ends of the axis: it holds all figures, and of wide intervals as much again."""
    low, high = min(speeds), max(speeds)
    reach = max(high - low, 0.02 * high)
    lows = [point.low for point in points if point.low is not None]
    highs = [point.high for point in points if point.high is not None]
    low, high = max(min([low, *lows]), low - reach), min(max([high, *highs]), high + reach)
    return low - 0.05 * reach, high + 0.05 * reach


def _paint_changes(axes: Any, changes: Sequence[Change], places: Sequence[int], runs: int) -> None:
    """A vertical line at each change, dashed where it is accepted, with its ratio in words beside it."""
    for number, change in enumerate(changes):
        index = change.change_point.index
        x = (places[index - 1] + places[index]) / 2
        style = "--" if change.is_accepted else "-"
        axes.axvline(x, color=LOOKS[change.verdict][0], linestyle=style, linewidth=1.2)
        if len(changes) - number > MAX_LABELS:
            continue
        at_left = x > 0.6 * runs
        remark = ", accepted" if change.is_accepted else ""
        axes.annotate(
            legible(f"{ratio(change.change_point)}× {direction(change)}{remark}"),
            (x, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-4 if at_left else 4, -3 - _LABEL_ROW_POINTS * (number % _LABEL_ROWS)),
            textcoords="offset points",
            ha="right" if at_left else "left",
            va="top",
        )


def _set_dates(axes: Any, points: Sequence[Point]) -> None:
    """The dates of some of the runs, at equal distances."""
    last = len(points) - 1
    ticks = sorted({round(last * part / (_TICKS - 1)) for part in range(_TICKS)})
    axes.set_xticks(ticks, [points[tick].run.created.date().isoformat() for tick in ticks])
    axes.grid(visible=False, axis="x")
