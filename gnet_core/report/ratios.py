"""Ratios with their intervals as a forest plot, and how a verdict looks in any plot."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.report.drawing import COLOURS, FAINT, INK, Picture, described, draw_lines, legible, subtitle
from gnet_core.report.grid import interval_words, ratio, ratio_and_interval
from gnet_core.stats.verdicts import Comparison, Verdict

LOOKS: Mapping[Verdict, tuple[str, str]] = {
    "FASTER": (COLOURS[2], "^"),
    "SLOWER": (COLOURS[4], "v"),
    "SAME": (COLOURS[5], "s"),
    "UNRESOLVED": (COLOURS[6], "o"),
}
"""Colour and marker of each verdict, in the order in which verdicts are listed."""

MAX_LINES = 40
"""Lines of a plot: more cases than that cannot be read, and stand in the table."""

WIDEST = 2.0
"""An interval may stretch an axis to so many times what the estimates need; the rest of it is cut off."""

_LABEL_CHARACTERS = 26  # in a row of a line's label
_NO_BREAK = "\N{NO-BREAK SPACE}"


def forest(
    comparisons: Sequence[Comparison], margin: float, name: str, title: str, labels: Sequence[str], shared: str = ""
) -> Picture:
    """Ratios of images a second with their intervals on a log axis, and the band of ±`margin`, a fraction.

    `labels` are the comparisons' names, in their order, less what they have in common, `shared`. Of more than MAX_LINES
    those that differ are preferred, and the picture says how many are not shown.
    """
    order = list(LOOKS)
    ranked = sorted(range(len(comparisons)), key=lambda index: order.index(comparisons[index].verdict))
    shown = [(comparisons[index], legible(labels[index])) for index in sorted(ranked[:MAX_LINES])]

    def paint(axes: Any) -> None:
        low, high = _limits([comparison for comparison, _ in shown], margin)
        axes.set_xscale("log")
        axes.axvspan(1 / (1 + margin), 1 + margin, color=FAINT, linewidth=0)
        axes.axvline(1, color=INK, linewidth=0.8)
        for line, (comparison, _) in enumerate(shown):
            _paint_ratio(axes, line, comparison, low, high)
        axes.set_xlim(low, high)
        _set_ticks(axes, high / low)
        intervals, band = interval_words(comparisons), f"±{100 * margin:.3g} %"
        axes.set_xlabel(f"× images/s of base, {intervals} intervals; band: {band}, the margin")
        subtitle(axes, shared, len(comparisons) - len(shown))

    lines = [f"{label}: {verdict_words(comparison, interval=True)}" for comparison, label in shown]
    description = described(f"Ratios of images a second on a log axis, margin ±{100 * margin:.3g} %.", lines)
    return draw_lines(name, title, description, paint, [wrapped(label) for _, label in shown])


def distinct(names: Sequence[Sequence[str]]) -> tuple[list[str], str]:
    """The words of each name that distinguish it, of a single name the first; and those that all have in common."""
    if len(names) <= 1:
        return [words[0] for words in names], ", ".join(word for words in names for word in words[1:])
    shared = [word for word in names[0] if all(word in words for words in names)]
    labels = [", ".join(word for word in words if word not in shared) or ", ".join(words) for words in names]
    return labels, ", ".join(shared)


def wrapped(label: str) -> str:
    """A label in rows that break after commas only, so that no batch is parted from its size."""
    kept = label.replace(" ", _NO_BREAK).replace(f",{_NO_BREAK}", ", ")
    return textwrap.fill(kept, _LABEL_CHARACTERS).replace(_NO_BREAK, " ")


def verdict_words(comparison: Comparison, *, interval: bool = False) -> str:
    """0.67× SLOWER, with the interval on request."""
    if comparison.ratio is None:
        return f"{comparison.verdict}, no ratio"
    early = ", early" if comparison.settled_early else ""
    return f"{ratio_and_interval(comparison) if interval else f'{ratio(comparison)}×'} {comparison.verdict}{early}"


def _paint_ratio(axes: Any, line: int, comparison: Comparison, lowest: float, highest: float) -> None:
    """A ratio with as much of its interval as the axis shows, and its verdict at the right."""
    colour, marker = LOOKS[comparison.verdict]
    axes.text(1.02, line, verdict_words(comparison), transform=axes.get_yaxis_transform(), va="center")
    if comparison.ratio is None:
        return
    low, high = comparison.low, comparison.high
    if low is not None and high is not None:
        axes.plot([max(low, lowest), min(high, highest)], [line, line], color=INK, linewidth=1.2)
        for end, arrow in [(lowest, "<")] * (low < lowest) + [(highest, ">")] * (high > highest):
            axes.plot([end], [line], color=INK, marker=arrow, markersize=5, clip_on=False)
    # An open circle differs from the other markers without its colour, as their shapes do.
    face = "none" if comparison.verdict == "UNRESOLVED" else colour
    axes.plot([comparison.ratio], [line], marker=marker, markersize=7, markerfacecolor=face, markeredgecolor=INK)


def _limits(comparisons: Sequence[Comparison], margin: float) -> tuple[float, float]:
    """Ends of the axis: it holds all ratios and the margin, and of wide intervals a part."""
    needed = [1 / (1 + margin) ** 2, (1 + margin) ** 2, *filter(None, (item.ratio for item in comparisons))]
    lows = [item.low for item in comparisons if item.low is not None]
    highs = [item.high for item in comparisons if item.high is not None]
    low = max(min(needed + lows), min(needed) / WIDEST)
    high = min(max(needed + highs), max(needed) * WIDEST)
    room = (high / low) ** 0.06
    return low / room, high * room


def _set_ticks(axes: Any, width: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    # A logarithmic locator has hardly a tick within one octave.
    near = MaxNLocator(6, steps=[1, 2, 5, 10])
    axes.xaxis.set_major_locator(near if width < 4 else LogLocator(subs=(1, 2, 5) if width < 100 else (1,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
