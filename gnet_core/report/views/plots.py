"""The plot of a suite that carries its answer, chosen by what the suite varies."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.report.document import NoAnswer
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
from gnet_core.report.grid import ratio, speed_interval
from gnet_core.report.ratios import LOOKS, MOST_LINES, WIDEST, distinct, forest, ratio_told, verdict_told, wrapped
from gnet_core.report.views.answers import answers, counts, throughput
from gnet_core.report.views.section import Section
from gnet_core.results.records import AA_SUITE, Row
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import milliseconds

MOST_SERIES = 10
"""Of a plot with lines."""

_MOST_TICKS = 12
_MOST_TOLD = 3
"""Values of a title, compared with their base; more are counted."""

_BAR = 0.62
"""Of the room of its line."""
_LEGEND_INCHES = 0.3

_PHASES = {"import": COLOURS[6], "build": COLOURS[5], "trace": COLOURS[1], "compile and first step": COLOURS[3]}
_PARTS = {"forward": COLOURS[0], "backward": COLOURS[1], "optimizer": COLOURS[2]}
_MARKERS = "os^DvPX<>p"
_STATUSES = {"oom": "out of memory"}


def plot_of(section: Section) -> Picture | None:
    """The picture that answers the suite's question; None where nothing was measured."""
    if not any(row.images_per_second for row in section.rows):
        return None
    by_varied = {
        "execution": _execution,
        "batch_size": _scaling,
        "part": _parts,
        "aux_weight": _ratios,
        "source": _ratios,
    }
    plot = by_varied.get(section.varies or "", _speeds)
    return plot(section) or _speeds(section)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cases:
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
            below = _beside(self.section, row)
            told.append("\n".join([wrapped(name), *([below] if below else [])]))
        return told

    @property
    def height_inches(self) -> float:
        return height_of(len(self.rows), 1 + max(label.count("\n") for label in self.labels))


def _cases(section: Section) -> _Cases:
    """The suite's rows in their order; where they are too many, the fastest of them."""
    fastest_first = sorted(range(len(section.rows)), key=lambda index: -(section.rows[index].images_per_second or 0.0))
    rows = [section.rows[index] for index in sorted(fastest_first[:MOST_LINES])]
    names, shared = distinct([_words(section, row) for row in rows])
    return _Cases(section=section, rows=rows, names=[legible(name) for name in names], shared=shared)


def _words(section: Section, row: Row) -> list[str]:
    value = section.value(row)
    varied = {"aux_weight": f"auxiliary weight {value}"}.get(section.varies or "", value)
    return [word for word in (varied, *section.named(row).split(", ")) if word]


def _beside(section: Section, row: Row) -> str:
    if row.images_per_second and not counts(row):
        return "loss not finite" if not row.finite else "other losses than float32's"
    found = section.comparisons.get(row.case)
    return verdict_told(found) if found and found.ratio is not None else ""


def _speeds(section: Section) -> Picture:
    cases = _cases(section)

    def paint(axes: Any) -> None:
        _bars(axes, cases, with_mfu=True)

    return draw(_name(section), _finding(section), _speeds_told(cases), paint, cases.height_inches)


def _execution(section: Section) -> Picture | None:
    """Speeds, and beside them what each took to start; None where no start was measured."""
    cases = _cases(section)
    starts = [_start(row) for row in cases.rows]
    longest = max(map(sum, starts))
    if not longest:
        return None

    def paint(columns: Any) -> None:
        speeds, phases = columns
        _bars(speeds, cases, with_mfu=False)
        _stacks(phases, starts, _PHASES)
        for line, start in enumerate(starts):
            beside(phases, sum(start), line, f"{sum(start):.1f}" if start else "")
        label_lines(phases, [""] * len(starts))
        phases.set_xlim(0, 1.2 * longest)
        phases.set_xlabel("seconds to the first step")

    told = [f"{name}: {sum(start):.1f} s" for name, start in zip(cases.names, starts, strict=True) if start]
    description = described(f"{_speeds_told(cases)} Time to the end of the first step, import included.", told)
    height = cases.height_inches + _LEGEND_INCHES
    return draw(_name(section), _finding(section), description, paint, height, columns=2)


def _start(row: Row) -> tuple[float, ...]:
    """Seconds of the phases until the first step has ended; empty where they were not measured."""
    if row.import_seconds is None or row.build_seconds is None or row.first_step_seconds is None:
        return ()
    traced = row.trace_seconds or 0.0
    called = max(0.0, row.first_step_seconds - row.build_seconds - traced)
    return row.import_seconds, row.build_seconds, traced, called


def _parts(section: Section) -> Picture | None:
    """Steps as stacks of their parts; None where no step has all of them."""
    steps = _seconds_of_parts(section)
    if not steps:
        return None
    shown = list(steps)[:MOST_LINES]
    names, shared = distinct([section.named(section.row(base)).split(", ") for base in shown])
    names = [legible(name) for name in names]
    # Where noise makes a part shorter than nothing, its share says so and its bar is empty.
    stacks = [tuple(1000 * max(0.0, seconds) for seconds in steps[base]) for base in shown]

    def paint(axes: Any) -> None:
        _stacks(axes, stacks, _PARTS)
        for line, base in enumerate(shown):
            _shares(axes, line, steps[base], stacks[line])
        label_lines(axes, [wrapped(name) for name in names])
        axes.set_xlabel("ms a step")
        subtitle(axes, shared, len(steps) - len(shown))

    lines = [
        f"{name}: " + ", ".join(f"{part} {milliseconds(took)} ms" for part, took in zip(_PARTS, took, strict=True))
        for name, took in zip(names, (steps[base] for base in shown), strict=True)
    ]
    height = height_of(len(shown), 3) + _LEGEND_INCHES
    return draw(_name(section), _finding(section), described("Parts of a step.", lines), paint, height)


def _seconds_of_parts(section: Section) -> dict[str, tuple[float, float, float]]:
    """Forward, backward and optimizer of each base whose parts were all measured.

    The ratios are of speeds, taken turn by turn, so their inverses are shares of the whole step.
    """
    shares: dict[str, dict[str, float]] = {}
    for found in section.comparisons.values():
        if found.ratio:
            shares.setdefault(found.base, {})[section.value(section.row(found.variant))] = 1 / found.ratio
    steps = {}
    for base, share in shares.items():
        whole = section.row(base).step_seconds
        if whole and {"forward", "gradients"} <= set(share):
            forward, gradients = share["forward"], share["gradients"]
            steps[base] = whole * forward, whole * (gradients - forward), whole * (1 - gradients)
    return steps


def _shares(axes: Any, line: int, seconds: Sequence[float], stack: Sequence[float]) -> None:
    """Above each part of a stack its share of the whole."""
    left = 0.0
    for part, width in zip(seconds, stack, strict=True):
        axes.text(left + width / 2, line - 0.55 * _BAR, f"{part / sum(seconds):.0%}", ha="center", va="bottom")
        left += width


def _ratios(section: Section) -> Picture | None:
    """The suite's comparisons as a forest; None where none has a ratio."""
    compared = list(section.comparisons.values())
    if not any(found.ratio for found in compared):
        return None
    labels, shared = distinct([_words(section, section.row(found.variant)) for found in compared])
    return forest(compared, compared[0].margin, _name(section), _finding(section), labels, shared)


def _scaling(section: Section) -> Picture | None:
    """Speed and memory against the batch, a line for each of what else differs; None where no batch can be shown."""
    rows = sorted(section.rows, key=lambda row: row.batch_size)
    if not any(row.images_per_second for row in rows):
        return None
    series: dict[str, list[Row]] = {}
    for row in rows:
        series.setdefault(section.named(row), []).append(row)
    shown = {legible(named, 80): series[named] for named in list(series)[:MOST_SERIES]}

    def paint(columns: Any) -> None:
        speeds, memory = columns
        for number, (label, of_series) in enumerate(shown.items()):
            look = {"color": COLOURS[number % len(COLOURS)], "marker": _MARKERS[number], "markersize": 5}
            _paint_speeds(speeds, of_series, label, look)
            _paint_memory(memory, of_series, look)
            _crosses(speeds, of_series, number)
        _reasons(memory, rows)
        _batch_axes(columns, sorted({row.batch_size for row in rows}))
        subtitle(speeds, "" if len(shown) > 1 else next(iter(shown)), len(series) - len(shown))
        if len(shown) > 1:
            speeds.plot([], [], "x", color=INK, label=", ".join(failures) or None)
            speeds.figure.legend(*speeds.get_legend_handles_labels(), loc="outside lower center", ncols=2)

    failures = sorted({_without_figure(row) for row in rows if not row.images_per_second})
    legend = _LEGEND_INCHES * math.ceil((len(shown) + 1) / 2) if len(shown) > 1 else 0
    told = described(
        "Images a second and peak memory against the batch size.",
        [f"{label}, {_point_told(row)}" for label, of_series in shown.items() for row in of_series],
    )
    return draw(_name(section), _finding(section), told, paint, 3.1 + legend, columns=2)


def _paint_speeds(axes: Any, rows: Sequence[Row], label: str, look: Mapping[str, Any]) -> None:
    """A line with its intervals."""
    measured = [row for row in rows if row.images_per_second]
    for row in measured:
        low, high = row.images_per_second_ci_low, row.images_per_second_ci_high
        if low is not None and high is not None:
            axes.plot([row.batch_size] * 2, [low, high], "_-", color=look["color"], markersize=6, linewidth=1)
    axes.plot([row.batch_size for row in measured], [row.images_per_second for row in measured], label=label, **look)


def _crosses(axes: Any, rows: Sequence[Row], number: int) -> None:
    """At the foot of the plot one for each batch without figures, above those of other series."""
    failed = [row.batch_size for row in rows if not row.images_per_second]
    foot = [0.03 + 0.05 * number] * len(failed)
    look = {"color": COLOURS[number % len(COLOURS)], "markersize": 7, "markeredgewidth": 2}
    axes.plot(failed, foot, "x", transform=axes.get_xaxis_transform(), **look)


def _paint_memory(axes: Any, rows: Sequence[Row], look: Mapping[str, Any]) -> None:
    known = [(row.batch_size, row.peak_memory_bytes / 2**30) for row in rows if row.peak_memory_bytes]
    axes.plot([batch for batch, _ in known], [gibibytes for _, gibibytes in known], **look)


def _reasons(axes: Any, rows: Sequence[Row]) -> None:
    """A line at each batch that none has figures for, with the reason beside it."""
    measured = {row.batch_size for row in rows if row.images_per_second}
    reasons = {row.batch_size: _without_figure(row) for row in rows if row.batch_size not in measured}
    for batch_size, reason in list(reasons.items())[:_MOST_TICKS]:
        axes.axvline(batch_size, color=INK, linewidth=1, linestyle=":")
        place = {"xy": (batch_size, 0.03), "xycoords": ("data", "axes fraction")}
        shift = {"xytext": (-3, 0), "textcoords": "offset points"}
        axes.annotate(f"{reason} at {batch_size}", **place, **shift, rotation=90, ha="right", va="bottom")


def _batch_axes(columns: Sequence[Any], batches: Sequence[int]) -> None:
    ticks = batches[:: math.ceil(len(batches) / _MOST_TICKS)]
    crowded = sum(len(str(batch)) + 1 for batch in ticks) > 24
    for axes, label in zip(columns, ("images/s, 95 % intervals", "peak memory in GiB"), strict=True):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(batch) for batch in ticks], rotation=90 if crowded else 0)
        axes.minorticks_off()
        axes.set_xlim(batches[0] / 1.4, batches[-1] * 1.4)
        axes.set_xlabel("batch size in images")
        axes.set_ylim(bottom=0)
        axes.set_ylabel(label)


def _bars(axes: Any, cases: _Cases, *, with_mfu: bool) -> None:
    """A bar a case with its images/s and their interval; in words where there is no figure."""
    fastest = max(row.images_per_second or 0.0 for row in cases.rows)
    reach = max(fastest, max(min(row.images_per_second_ci_high or 0.0, WIDEST * fastest) for row in cases.rows))
    for line, row in enumerate(cases.rows):
        speed, low, high = row.images_per_second, row.images_per_second_ci_low, row.images_per_second_ci_high
        if speed is None:
            beside(axes, 0, line, _without_figure(row))
            continue
        axes.barh(line, speed, _BAR, color=_colour(cases.section, row))
        end = speed
        if low is not None and high is not None:
            end = max(speed, min(high, reach))
            axes.plot([low, end], [line, line], color=INK, linewidth=1.2, marker="|", markersize=6)
        mfu = f", MFU {row.mfu:.0%}" if with_mfu and row.mfu is not None else ""
        beside(axes, end, line, f"{_figure(speed)}{mfu}")
    label_lines(axes, cases.labels)
    axes.set_xlim(0, reach * (1.35 if with_mfu and any(row.mfu for row in cases.rows) else 1.25))
    axes.set_xlabel("images/s, 95 % intervals" if any(map(speed_interval, cases.rows)) else "images/s")
    subtitle(axes, cases.shared, cases.left_out)


def _colour(section: Section, row: Row) -> str:
    if not counts(row):
        return COLOURS[6]
    found = section.comparisons.get(row.case)
    return COLOURS[0] if found is None else LOOKS[found.verdict][0]


def _stacks(axes: Any, stacks: Sequence[Sequence[float]], looks: Mapping[str, str]) -> None:
    """A horizontal stack a line, with a legend below the figure."""
    from matplotlib.patches import Patch

    for line, stack in enumerate(stacks):
        left = 0.0
        for width, colour in zip(stack, looks.values(), strict=False):
            axes.barh(line, width, _BAR, left=left, color=colour)
            left += width
    patches = [Patch(color=colour, label=label) for label, colour in looks.items()]
    axes.figure.legend(handles=patches, loc="outside lower right", ncols=len(looks))


def _finding(section: Section) -> str:
    """The suite's answer in a sentence short enough for a title."""
    of_its_own = section.varies in ("batch_size", "part", "aux_weight") or section.name == AA_SUITE
    if of_its_own or len(section.comparisons) == 1:
        for sentence in answers(section):
            if not isinstance(sentence, NoAnswer):
                return f"{sentence.point} {sentence.rest}".partition(". ")[0].rstrip(".")
    compared = [found for found in section.comparisons.values() if found.ratio is not None]
    return _verdicts_told(section, compared) if compared else _best_told(section)


def _verdicts_told(section: Section, compared: Sequence[Comparison]) -> str:
    """Each verdict where there is one a value; where there are more, how often each was given and of which ratios."""
    compared = sorted(compared, key=lambda found: list(LOOKS).index(found.verdict))
    by_value: dict[str, list[Comparison]] = {}
    for found in compared:
        by_value.setdefault(section.value(section.row(found.variant)), []).append(found)
    if len(by_value) == len(compared):
        told = [
            f"{value} {_relation(found)} {section.base}: {ratio_told(found)}" for value, (found,) in by_value.items()
        ]
    else:
        told = [f"{value} against {section.base}: {_counted(group)}" for value, group in by_value.items()]
    more = f"; {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return "; ".join(told[:_MOST_TOLD]) + more


def _counted(compared: Sequence[Comparison]) -> str:
    told: list[str] = []
    for verdict in dict.fromkeys(found.verdict for found in compared):
        alike = sorted((found for found in compared if found.verdict == verdict), key=lambda found: found.ratio or 0.0)
        highest = f"–{ratio(alike[-1])}" if len(alike) > 1 else ""
        total = "" if told else f" of {len(compared)}"
        told.append(f"{verdict} in {len(alike)}{total} ({ratio(alike[0])}{highest}×)")
    return ", ".join(told)


def _relation(found: Comparison) -> str:
    if found.verdict == "UNRESOLVED":
        return "is UNRESOLVED against"
    return "is the SAME as" if found.verdict == "SAME" else f"is {found.verdict} than"


def _best_told(section: Section) -> str:
    best = max(section.rows, key=lambda row: (counts(row), row.images_per_second or 0.0))
    if not counts(best):
        return "None of these cases did the work that was asked for"
    return " ".join(throughput(section, best)).rstrip(".")


def _speeds_told(cases: _Cases) -> str:
    lines = []
    for row, name in zip(cases.rows, cases.names, strict=True):
        mfu = f", MFU {row.mfu:.0%}" if row.mfu is not None else ""
        beside = _beside(cases.section, row)
        lines.append(f"{name}: {_speed_told(row)}{mfu}{f', {beside}' if beside else ''}")
    return described("Images a second.", lines)


def _point_told(row: Row) -> str:
    memory = f", {row.peak_memory_bytes / 2**30:.2f} GiB" if row.peak_memory_bytes else ""
    return f"batch {row.batch_size}: {_speed_told(row)}{memory}"


def _speed_told(row: Row) -> str:
    if row.images_per_second is None:
        return _without_figure(row)
    interval = speed_interval(row)
    return f"{_figure(row.images_per_second)} images/s{f' ({interval})' if interval else ''}"


def _without_figure(row: Row) -> str:
    """Why a row has none."""
    return _STATUSES.get(row.status, legible(row.status, 20))


def _figure(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def _name(section: Section) -> str:
    """Of the picture's file: that of the suite, with its digest where a file may not be called so."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", section.name[:60]).strip("-")
    if slug and slug == section.name:
        return slug
    return f"{slug or 'suite'}-{hashlib.sha256(section.name.encode()).hexdigest()[:8]}"
