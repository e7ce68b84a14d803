"""A history for people and for programs: the terminal, JSON, history.html, history.md, a CSV and a picture a series."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core.config import StepConfig
from gnet_core.files import csv_text
from gnet_core.report import documents, gates
from gnet_core.report.document import Bullets, Document, Paragraph, Sentence, section
from gnet_core.report.drawing import Picture
from gnet_core.report.grid import Cell, Column, Grid, grid, ratio, ratio_and_interval, ratio_interval
from gnet_core.report.history_plot import change_words, direction, over_runs
from gnet_core.report.ratios import distinct
from gnet_core.results.changes import Change, Judged, Trend
from gnet_core.results.gates import GateResult
from gnet_core.results.history import Point, Series, SeriesKey
from gnet_core.results.rules import Accepted
from gnet_core.stats.changepoints import MIN_RUNS, MIN_SEGMENT
from gnet_core.stats.verdicts import DEFAULT_MARGIN
from gnet_core.text import percent, plain

HTML_FILE = "history.html"
CSV_FILE = "history.csv"

MAX_PICTURES = 40
"""Series that have a picture, those with a change first. The others stand in the table."""

MAX_SENTENCES = 12
"""Changes that the page begins with. The others stand in the table."""

_COMMIT_CHARACTERS = 10
_DIGEST_CHARACTERS = 8

_HOW_TO_READ = Bullets(
    [
        Sentence(
            "series:",
            "A case over the runs that measured it alike. What parts series is the machine's model (processor, "
            "threads, memory, GPUs), the GPUs' driver, the framework's version, the environment variables that tune, "
            "the configuration without its seed, and the images of a data set. A change of these is no change point. "
            "Two machines of one model are one series, and an upgrade of anything else, such as Python or the system, "
            "may be a change.",
        ),
        Sentence(
            "change:",
            "A step of the level between two segments of a series, each of at least "
            f"{MIN_SEGMENT} runs, from {MIN_RUNS} runs on. Binary segmentation proposes it, and a t test confirms it, "
            "in which each run weighs as its interval lets it: in simulated series of unchanged runs fewer than one "
            "in 1,000 runs had one. A machine that slows down little by little shows as one step or several.",
        ),
        Sentence(
            "×, 95 % of ×:",
            "Images/s of the segment after the change ÷ those of the segment before it, with its t interval over runs. "
            "A place that was chosen because it stands out makes the ratio lean outward a little.",
        ),
        Sentence(
            "SLOWER, FASTER:",
            f"The ratio is more than the margin ({100 * DEFAULT_MARGIN:g} % unless the rules have another, as the "
            "table of all series shows) away from 1; in small letters it is within, so the change is certain and too "
            "small to matter.",
        ),
        Sentence(
            "SLOWER now:",
            "The last segment is slower than the best since the last accepted change, by more than the margin.",
        ),
    ]
)


def write(judged: Judged, result: GateResult, directory: Path) -> None:
    """Write history.html, history.md, history.csv and plots/ into a directory. Raises OSError."""
    documents.write(directory, document(judged, result), {CSV_FILE: to_csv(judged)}, stem="history")


def document(judged: Judged, result: GateResult, *, with_pictures: bool = True) -> Document:
    """The whole report, with what the gates came to."""
    history, trends = judged.history, judged.trends
    names, shared = _names([trend.series for trend in trends])
    changes = [(trend, change) for trend in trends for change in trend.changes]
    changes.sort(key=lambda item: (_stands(*item), item[1].after.run.created), reverse=True)
    sentences = [_change_words(names[trend.series], trend, change) for trend, change in changes[:MAX_SENTENCES]]
    if len(changes) > MAX_SENTENCES:
        sentences.append(Sentence(f"{len(changes) - MAX_SENTENCES} more", "are in the table of changes."))
    outcome = _result(judged)
    pictures = _pictures(trends, names, shared) if with_pictures else []
    left_out = len(trends) - len(pictures)
    more = Paragraph(f"Pictures of {left_out} more series are left out.") if with_pictures and left_out else None
    first, last = (history.runs[end].created.date() for end in (0, -1))
    never = [series for series in history.series if not series.measured]
    return Document(
        heading=f"{len(trends)} series over {len(history.runs)} runs",
        title=outcome,
        intro=[Paragraph(f"Runs from {first} to {last}, in the order in which they began.")],
        summary=[Paragraph(f"{outcome}."), Bullets(sentences)] if sentences else [Paragraph(f"{outcome}.")],
        sections=[
            section("What changed", _changes(changes, names, shared)),
            section("Images/s over the runs", *pictures, more),
            section("All series", _series(trends, names, shared)),
            section("Accepted changes", Bullets(_accepted(judged))),
            *gates.sections(result),
            section("Never measured", Bullets([_never_words(series) for series in never]), reference=True),
            section("Left out, or in doubt", Bullets([*history.unread, *history.notes])),
            section("How to read it", _HOW_TO_READ, reference=True),
        ],
    )


def to_json(judged: Judged, result: GateResult) -> dict[str, Any]:
    """One document for programs."""
    return {
        "runs": [
            {"directory": str(run.directory), "run": run.run, "created": run.created.isoformat()}
            for run in judged.history.runs
        ],
        "series": [
            {
                "case": trend.series.key.case,
                **_setup_to_dict(trend.series.key),
                "current": trend.current,
                "margin": trend.margin,
                "slowdown": trend.slowdown
                and {"run": trend.slowdown.since.after.run.run, "ratio": trend.slowdown.ratio},
                "changes": [_change_to_dict(change) for change in trend.changes],
                "points": list(_point_rows(trend)),
            }
            for trend in judged.trends
        ],
        "unmatched_accepted_changes": [accepted_words(rule) for rule in judged.unmatched],
        "notes": judged.history.notes,
        "unread": judged.history.unread,
        **gates.to_json(result),
    }


def to_csv(judged: Judged) -> str:
    """history.csv: a line a point, with the segment that it lies in; what it has no figure for is empty."""
    rows = []
    for trend in judged.trends:
        key = trend.series.key
        setup = _setup_to_dict(key)
        variables = " ".join(f"{name}={value}" for name, value in key.setup.variables)
        same = {"case": key.case, "source": key.source, **setup, "variables": variables}
        rows += [same | row for row in _point_rows(trend)]
    columns = [
        *("case", "source", "machine", "machine_name", "driver", "framework", "variables", "data_fingerprint"),
        *_POINT_COLUMNS,
    ]
    return csv_text.to_csv(pd.DataFrame(rows, columns=columns, dtype=object))


def figures(trend: Trend) -> str:
    """The level of a series now, and whether it is slower than it was: 41.2 images/s over 12 runs since 2026-11-20;
    SLOWER now: 0.940× of its best level, below its margin since 2026-11-20. A level is now's where the last run has it.
    """
    segment, last = trend.segments[-1], trend.series.points[-1]
    since = trend.series.measured[segment.start].run.created.date()
    level = f"{segment.level:.1f} images/s over {segment.end - segment.start} runs since {since}"
    return "; ".join(filter(None, [level if last.images_per_second is not None else "", _slower_now(trend)]))


def details(series: Series, trend: Trend | None) -> list[Sentence]:
    """With what a series was measured, its last run, and the changes that it is slower since, else its last one."""
    setup, last = series.key.setup, series.points[-1]
    lines = [Sentence("machine:", f"{setup.label} (machine {setup.machine})")]
    texts = {
        "driver": setup.driver,
        "framework": setup.framework,
        "variables": " ".join(f"{name}={value}" for name, value in setup.variables),
        "data": " ".join(filter(None, [series.key.config.data, series.key.data_fingerprint])),
    }
    lines += [Sentence(f"{name}:", text) for name, text in texts.items() if text]
    lines.append(
        Sentence("last run:", f"{last.run.directory} of {last.run.created.date()} {_commit_words(last)}: {last.status}")
    )
    if trend is None:
        return lines
    lines.append(Sentence("margin:", percent(trend.margin)))
    standing = [change for change in trend.changes if trend.stands(change)] or trend.changes[-1:]
    return lines + [
        Sentence(
            f"change since {change.after.run.created.date()}:",
            f"{change_words(change)} {_commit_words(change.after)}, first in {change.after.run.directory}",
        )
        for change in standing
    ]


def series_names(series: Sequence[Series]) -> dict[Series, str]:
    """A name for each series: its case, and whatever tells it from the others of that case."""
    words_of_case: dict[str, list[list[str]]] = {}
    words = _words(series)
    for one, of_one in zip(series, words, strict=True):
        words_of_case.setdefault(one.key.case, []).append(of_one)
    names = {}
    for one, of_one in zip(series, words, strict=True):
        others = words_of_case[one.key.case]
        names[one] = ", ".join([one.key.case, *(word for word in of_one if not all(word in other for other in others))])
    return names


def not_looked_at(series: Sequence[Series], names: Mapping[Series, str]) -> str:
    """A sentence on series in which changes are not looked for."""
    listed = [f"{names[one]} ({len(one.measured)})" for one in series]
    return f"slower: changes are not looked for below {MIN_RUNS} runs, so not in {', '.join(listed)}"


def accepted_words(rule: Accepted) -> str:
    """An accepted change with its date, its reason and its end."""
    until = f", until {rule.expires}" if rule.expires else ""
    return f"{rule.date}: {rule.reason}{until}"


_POINT_COLUMNS = (
    *("run", "directory", "created", "commit", "status", "processes", "images_per_second"),
    *("images_per_second_ci_low", "images_per_second_ci_high", "segment", "segment_images_per_second", "change"),
)


def _point_rows(trend: Trend) -> Iterator[dict[str, Any]]:
    """Each point as plain data: with the number of its segment, from 1, and that one's level, and in the first run
    after a change its ratio.
    """
    number_of = {point: number for number, point in enumerate(trend.series.measured)}
    ratio_at = {change.change_point.index: change.change_point.ratio for change in trend.changes}
    for point in trend.series.points:
        number = number_of.get(point)
        inside = [one for one in enumerate(trend.segments, start=1) if number in range(one[1].start, one[1].end)]
        place, level = (inside[0][0], inside[0][1].level) if inside else (None, None)
        values = (
            *(point.run.run, str(point.run.directory), point.run.created.isoformat(), point.commit or None),
            *(point.status, point.processes, point.images_per_second, point.low, point.high, place, level),
            None if number is None else ratio_at.get(number),
        )
        yield dict(zip(_POINT_COLUMNS, values, strict=True))


def _change_to_dict(change: Change) -> dict[str, Any]:
    return {
        **dataclasses.asdict(change.change_point),
        "run": change.after.run.run,
        "date": change.after.run.created.date().isoformat(),
        "commit": change.after.commit or None,
        "commit_before": change.before.commit or None,
        "verdict": change.verdict,
        "margin": change.margin,
        "accepted": change.accepted and accepted_words(change.accepted),
        "expired": change.expired,
    }


def _setup_to_dict(key: SeriesKey) -> dict[str, Any]:
    setup = dataclasses.asdict(key.setup) | {"variables": dict(key.setup.variables)}
    machine, label = setup.pop("machine"), setup.pop("label")
    return {"machine": machine, "machine_name": label, **setup, "data_fingerprint": key.data_fingerprint or None}


def _names(series: Sequence[Series]) -> tuple[dict[Series, str], str]:
    """What distinguishes each series from the others, and what all have in common."""
    words = _words(series)
    if not words:
        return {}, ""
    names, shared = distinct(words)
    return dict(zip(series, names, strict=True)), shared


def _words(series: Sequence[Series]) -> list[list[str]]:
    """Of each series its case, and then all in which two of them can differ."""
    machines: dict[str, set[int]] = {}
    configs: dict[str, set[StepConfig]] = {}
    for one in series:
        machines.setdefault(one.key.setup.label, set()).add(one.key.setup.machine)
        configs.setdefault(one.key.case, set()).add(one.key.config)
    fields = {case: _differing_fields(of_case) for case, of_case in configs.items()}
    return [
        _words_of(one.key, numbered=len(machines[one.key.setup.label]) > 1, fields=fields[one.key.case])
        for one in series
    ]


def _differing_fields(configs: Collection[StepConfig]) -> list[str]:
    """Fields in which the configurations of one case differ, but for the data, which is told in any case."""
    first, *others = (config.to_dict() for config in configs)
    return [name for name in first if name != "data" and any(other[name] != first[name] for other in others)]


def _words_of(key: SeriesKey, *, numbered: bool, fields: Sequence[str]) -> list[str]:
    """The words for one series, with the number of its machine and these fields of its configuration."""
    setup, data = key.setup, key.config.data
    words = [
        key.case,
        f"{setup.label}{f' (machine {setup.machine})' if numbered else ''}",
        setup.framework,
        f"driver {setup.driver}" if setup.driver else "",
        *(f"{name}={value}" for name, value in setup.variables),
        "" if data == "synthetic" else f"data {data}",
        f"images {key.data_fingerprint[:_DIGEST_CHARACTERS]}" if key.data_fingerprint else "",
        *(f"{name} {getattr(key.config, name)}" for name in fields),
    ]
    return list(filter(None, words))


def _stands(trend: Trend, change: Change) -> bool:
    """Whether the change is one that a current series has been slower since, which nobody accepted."""
    return trend.current and trend.stands(change)


def _result(judged: Judged) -> str:
    """What the history comes to, in a sentence."""
    current = [trend for trend in judged.trends if trend.current]
    slower = [trend for trend in current if trend.slowdown]
    few = _few_runs(judged.trends)
    if slower:
        verb = "is" if len(slower) == 1 else "are"
        return f"{len(slower)} of {len(current)} current series {verb} SLOWER now than before{few}"
    if any(trend.changes for trend in judged.trends):
        return f"No current series of {len(current)} is SLOWER now than before{few}"
    return f"No series of {len(judged.trends)} changed{few}"


def _few_runs(trends: Sequence[Trend]) -> str:
    short = [trend for trend in trends if not trend.is_looked_at]
    return (
        f"; in {len(short)} of {len(trends)} series changes are not looked for, below {MIN_RUNS} runs" if short else ""
    )


def _change_words(name: str, trend: Trend, change: Change) -> Sentence:
    """graph-float32-b8: SLOWER since 2026-11-20 (commit abc1234): 0.94× (0.92–0.96)."""
    remark = _remark(trend, change)
    return Sentence(
        f"{name}: {direction(change)} since {change.after.run.created.date()}",
        f"{_commit_words(change.after)}: {ratio_and_interval(change.change_point)}{f', {remark}' if remark else ''}.",
    )


def _commit_words(point: Point) -> str:
    return f"(commit {_commit(point) or 'unknown'})"


def _commit(point: Point) -> str:
    """The commit in short; empty where it is unknown."""
    commit, plus, _changes = point.commit.partition("+")
    return f"{commit[:_COMMIT_CHARACTERS]}{' with changes' if plus else ''}"


def _remark(trend: Trend, change: Change) -> str:
    """Whether a change is accepted, undone, or in a series that was replaced."""
    remarks = []
    if rule := change.accepted:
        over = ", which is over" if change.expired else ""
        until = f" until {rule.expires}{over}" if rule.expires else ""
        remarks.append(f"accepted{until}: {rule.reason}")
    if change.verdict == "SLOWER" and trend.is_undone(change):
        remarks.append("undone since")
    if not trend.current:
        remarks.append("a newer setup has replaced this series")
    return "; ".join(remarks)


def _changes(changes: Sequence[tuple[Trend, Change]], names: dict[Series, str], shared: str) -> Grid:
    columns = [
        Column[tuple[Trend, Change]]("series", lambda item: names[item[0].series], text=True),
        Column[tuple[Trend, Change]]("since", lambda item: str(item[1].after.run.created.date()), text=True),
        Column[tuple[Trend, Change]]("commit", lambda item: _commit(item[1].after), text=True),
        Column[tuple[Trend, Change]]("× before", lambda item: ratio(item[1].change_point)),
        Column[tuple[Trend, Change]]("95 % of ×", lambda item: ratio_interval(item[1].change_point)),
        Column[tuple[Trend, Change]]("change", lambda item: _direction_cell(item[1]), text=True),
        Column[tuple[Trend, Change]]("remark", lambda item: _remark(*item), text=True),
    ]
    return grid(columns, changes, "What changed, and when", shared)


def _direction_cell(change: Change) -> Cell:
    return Cell(direction(change), None if change.verdict == "SAME" else change.verdict)


def _series(trends: Sequence[Trend], names: dict[Series, str], shared: str) -> Grid:
    columns = [
        Column[Trend]("series", lambda trend: names[trend.series], text=True),
        Column[Trend]("runs", lambda trend: str(len(trend.series.points))),
        Column[Trend]("without a figure", lambda trend: _gaps(trend.series)),
        Column[Trend]("from", lambda trend: str(trend.series.points[0].run.created.date()), text=True),
        Column[Trend]("to", lambda trend: str(trend.series.points[-1].run.created.date()), text=True),
        Column[Trend]("images/s at first", lambda trend: f"{trend.segments[0].level:.1f}"),
        Column[Trend]("images/s now", lambda trend: f"{trend.segments[-1].level:.1f}"),
        Column[Trend]("changes", lambda trend: str(len(trend.changes))),
        Column[Trend]("margin", lambda trend: percent(trend.margin)),
        Column[Trend]("state", _state, text=True),
    ]
    return grid(columns, trends, "All series, with the levels of their first and last segments", shared)


def _gaps(series: Series) -> str:
    """How many points have no figure, and why: 3 (2 failed, 1 oom)."""
    reasons = [point.status for point in series.points if point.images_per_second is None]
    if not reasons:
        return ""
    counts = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(reasons))
    return f"{len(reasons)} ({counts})"


def _state(trend: Trend) -> Cell:
    if trend.slowdown:
        return Cell(_slower_now(trend), "SLOWER")
    return Cell("" if trend.is_looked_at else _runs_of_changes(trend))


def _slower_now(trend: Trend) -> str:
    """How slow a series is now, and since when; empty where it is not slower. The ratio is to the best level, which may
    be older than the change that brought the series below its margin.
    """
    if trend.slowdown is None:
        return ""
    since = trend.slowdown.since.after.run.created.date()
    return f"SLOWER now: {trend.slowdown.ratio:.3f}× of its best level, below its margin since {since}"


def _runs_of_changes(trend: Trend) -> str:
    return f"{len(trend.series.measured)} of {MIN_RUNS} runs that changes take"


def _accepted(judged: Judged) -> list[str]:
    """Accepted changes in words: those that a series shows, and those that no series shows."""
    rules: list[Accepted] = []
    for trend in judged.trends:
        for change in trend.changes:
            if change.accepted and not any(change.accepted is rule for rule in rules):
                rules.append(change.accepted)
    expired = {id(change.accepted) for trend in judged.trends for change in trend.changes if change.expired}
    shown = [f"{accepted_words(rule)}{', which is over' if id(rule) in expired else ''}" for rule in rules]
    return [*shown, *(f"{accepted_words(rule)}: no series shows it" for rule in judged.unmatched)]


def _never_words(series: Series) -> str:
    reasons = [point.status for point in series.points]
    return f"{series.key.case}: {', '.join(dict.fromkeys(reasons))} in {len(reasons)} runs"


def _pictures(trends: Sequence[Trend], names: dict[Series, str], shared: str) -> list[Picture]:
    """The pictures of as many series as a page can show; those in which something changed come first."""
    changed_first = sorted(trends, key=lambda trend: not trend.changes)
    return [
        over_runs(trend, number, _picture_title(names[trend.series], trend), shared)
        for number, trend in enumerate(changed_first[:MAX_PICTURES], start=1)
    ]


def _picture_title(name: str, trend: Trend) -> str:
    number = len(trend.changes)
    if trend.slowdown:
        text = _slower_now(trend)
    elif not trend.is_looked_at:
        text = _runs_of_changes(trend)
    else:
        text = f"{number} change{'s' if number > 1 else ''}, not SLOWER now" if number else "no change"
    return plain(f"{name}: {text}")
