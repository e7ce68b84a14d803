"""Ratios with their intervals as a forest plot, and how a verdict looks in any plot."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.report.drawing import (
    COLOURS,
    FAINT,
    INK,
    Picture,
    described,
    draw,
    height_of,
    label_lines,
    legible,
    subtitle,
)
from gnet_core.report.grid import ratio, ratio_interval
from gnet_core.stats.verdicts import Comparison, Verdict

LOOKS: Mapping[Verdict, tuple[str, str]] = {
    "FASTER": (COLOURS[2], "^"),
    "SLOWER": (COLOURS[4], "v"),
    "SAME": (COLOURS[5], "s"),
    "UNRESOLVED": (COLOURS[6], "o"),
}
"""Colour and marker of each verdict, in the order in which verdicts are told."""

_LABEL_CHARACTERS = 26
"""Of a row of a line's label."""
_NO_BREAK = "\N{NO-BREAK SPACE}"

MAX_LINES = 40
"""Of a plot: more cases than that cannot be read, and stand in the table."""

WIDEST = 2.0
"""An interval may stretch an axis to so many times what the estimates need; the rest of it is cut off."""


def forest(
    comparisons: Sequence[Comparison], margin: float, name: str, title: str, labels: Sequence[str], shared: str = ""
) -> Picture:
    """Ratios of images a second with their intervals on a log axis, and the band of ±`margin`, a fraction.

    `labels` are the comparisons' names, in their order, less what they have in common, `shared`. Beyond MAX_LINES the
    first of those that differ, and then of the others, are shown, and the picture says how many are not.
    """
    shown = [(comparisons[index], legible(labels[index])) for index in _most_telling(comparisons)]
    labels = [wrapped(label) for _, label in shown]

    def paint(axes: Any) -> None:
        low, high = _limits([found for found, _ in shown], margin)
        axes.set_xscale("log")
        axes.axvspan(1 / (1 + margin), 1 + margin, color=FAINT, linewidth=0)
        axes.axvline(1, color=INK, linewidth=0.8)
        for line, (found, _) in enumerate(shown):
            _paint_ratio(axes, line, found, low, high)
        label_lines(axes, labels)
        axes.set_xlim(low, high)
        _ticks(axes, high / low)
        axes.set_xlabel(f"× images/s of the base, 95 % intervals; the band is ±{100 * margin:.3g} %, the margin")
        subtitle(axes, shared, len(comparisons) - len(shown))

    what = f"Ratios of images a second on a log axis, margin ±{100 * margin:.3g} %."
    told = described(what, [f"{label}: {verdict_told(found, interval=True)}" for found, label in shown])
    return draw(
        name, title, told, paint, height_of(len(shown), 1 + max((label.count("\n") for label in labels), default=0))
    )


def distinct(names: Sequence[Sequence[str]]) -> tuple[list[str], str]:
    """Of each name, a list of words, those that tell it from the others; and the words that all have in common.

    Of a single name, which nothing has to be told from, the first word stands for the whole.
    """
    if len(names) <= 1:
        return [words[0] for words in names], ", ".join(word for words in names for word in words[1:])
    shared = [word for word in names[0] if all(word in words for words in names)]
    labels = [", ".join(word for word in words if word not in shared) or ", ".join(words) for words in names]
    return labels, ", ".join(shared)


def wrapped(label: str) -> str:
    """In rows that break after commas only, so that no batch stands apart from its size."""
    kept = label.replace(" ", _NO_BREAK).replace(f",{_NO_BREAK}", ", ")
    return textwrap.fill(kept, _LABEL_CHARACTERS).replace(_NO_BREAK, " ")


def ratio_told(found: Comparison) -> str:
    """0.67× (0.64–0.70)"""
    interval = ratio_interval(found)
    return f"{ratio(found)}×{f' ({interval})' if interval else ''}"


def verdict_told(found: Comparison, *, interval: bool = False) -> str:
    """0.67× SLOWER, with the interval where that is wanted."""
    if found.ratio is None:
        return f"{found.verdict}, no ratio"
    return f"{ratio_told(found) if interval else f'{ratio(found)}×'} {found.verdict}"


def _paint_ratio(axes: Any, line: int, found: Comparison, lowest: float, highest: float) -> None:
    """A ratio with as much of its interval as the axis shows, and its verdict at the right."""
    colour, marker = LOOKS[found.verdict]
    axes.text(1.02, line, verdict_told(found), transform=axes.get_yaxis_transform(), va="center")
    if found.ratio is None:
        return
    if found.low is not None and found.high is not None:
        ends = max(found.low, lowest), min(found.high, highest)
        axes.plot(ends, [line, line], color=INK, linewidth=1.2)
        beyond = [(lowest, "<")] * (found.low < lowest) + [(highest, ">")] * (found.high > highest)
        for end, arrow in beyond:
            axes.plot([end], [line], color=INK, marker=arrow, markersize=5, clip_on=False)
    # An open circle is told from the others without its colour, as their shapes are.
    face = "none" if found.verdict == "UNRESOLVED" else colour
    axes.plot([found.ratio], [line], marker=marker, markersize=7, markerfacecolor=face, markeredgecolor=INK)


def _limits(shown: Sequence[Comparison], margin: float) -> tuple[float, float]:
    """Of the axis: all ratios and the margin, and of the intervals what does not stretch it beyond measure."""
    needed = [1 / (1 + margin) ** 2, (1 + margin) ** 2, *(found.ratio for found in shown if found.ratio)]
    lows = [found.low for found in shown if found.low is not None]
    highs = [found.high for found in shown if found.high is not None]
    low = max(min([*needed, *lows]), min(needed) / WIDEST)
    high = min(max([*needed, *highs]), max(needed) * WIDEST)
    room = (high / low) ** 0.06
    return low / room, high * room


def _ticks(axes: Any, width: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    # A logarithmic locator has hardly a tick within one octave.
    near = MaxNLocator(6, steps=[1, 2, 5, 10])
    axes.xaxis.set_major_locator(near if width < 4 else LogLocator(subs=(1, 2, 5) if width < 100 else (1,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))


def _most_telling(comparisons: Sequence[Comparison]) -> list[int]:
    """Which are shown: all, or the first so many of those that differ and then of the others, in their own order."""
    order = list(LOOKS)
    ranked = sorted(range(len(comparisons)), key=lambda index: order.index(comparisons[index].verdict))
    return sorted(ranked[:MAX_LINES])
