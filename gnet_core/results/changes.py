"""What changed in a history: the changes of each series, those that were accepted, and the gates that fail."""

from __future__ import annotations

import dataclasses
import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, get_args

from gnet_core.config import GnetError
from gnet_core.results.history import History, Point, RunInHistory, Series
from gnet_core.results.rules import Accepted
from gnet_core.stats.changepoints import MIN_RUNS, ChangePoint, Segment

HistoryGate = Literal["slower", "missing", "failed"]
HISTORY_GATES: tuple[HistoryGate, ...] = get_args(HistoryGate)
"""Gates that a history has. The others are about one run, or about two."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """A change point of a series with the runs beside it, its margin and the rule that accepts it."""

    change_point: ChangePoint
    before: Point
    """The last run before it."""
    after: Point
    """The first run after it, in which it appears."""
    margin: float
    """As a fraction."""
    accepted: Accepted | None
    """The rule that accepts it, also where that has expired."""
    expired: bool

    @property
    def is_accepted(self) -> bool:
        return self.accepted is not None and not self.expired

    @property
    def verdict(self) -> Literal["FASTER", "SLOWER", "SAME"]:
        """SAME is a change within the margin: certain, and too small to matter."""
        if 1 / (1 + self.margin) <= self.change_point.ratio <= 1 + self.margin:
            return "SAME"
        return "FASTER" if self.change_point.ratio > 1 else "SLOWER"


class Slowdown(NamedTuple):
    """A series that is slower now than it was, which nobody has accepted."""

    since: Change
    ratio: float
    """Its speed now ÷ the best level that it had since the last accepted change."""


class Missing(NamedTuple):
    """A case that a run should have and has not."""

    series: Series
    run: RunInHistory
    """The run that lacks it, the last of its kind."""
    before: RunInHistory
    """The run of the same options before it, which has it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trend:
    """A series with what changed in it."""

    series: Series
    segments: tuple[Segment, ...]
    changes: tuple[Change, ...]
    slowdown: Slowdown | None
    margin: float
    """The case's, as a fraction."""
    current: bool
    """Whether no other setup of the case, such as a newer framework, began on this machine after its last run."""

    @property
    def is_looked_at(self) -> bool:
        """Whether it has as many runs as a change takes."""
        return len(self.series.measured) >= MIN_RUNS

    def is_undone(self, change: Change) -> bool:
        """Whether the series is no slower any more than it was before this change, within the margin."""
        now = self.segments[-1].level
        return now >= self.segments[self.changes.index(change)].level / (1 + change.margin)

    def stands(self, change: Change) -> bool:
        """Whether the series has been slower since this change or an earlier one, which nobody accepted."""
        return self.slowdown is not None and change.change_point.index >= self.slowdown.since.change_point.index


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A history with what changed in it."""

    history: History
    trends: list[Trend]
    """The series that have any figure."""
    current: list[Series]
    """The series that no other setup has replaced, also those that were never measured."""
    unmatched: list[Accepted]
    """Accepted changes that no series shows."""


def judge(
    history: History,
    accepted: Sequence[Accepted],
    margin_of: Callable[[str], float],
    today: datetime.date,
) -> Judged:
    """Find the changes of each series and say what is known of them. `margin_of` gives a case's margin, a fraction."""
    current = _current(history)
    standing = set(current)
    trends = [
        _trend(
            series,
            [rule for rule in accepted if rule.matches(series.key.case)],
            margin_of(series.key.case),
            today,
            current=series in standing,
        )
        for series in history.series
        if series.measured
    ]
    unmatched = [rule for rule in accepted if not any(_marks(rule, trend) for trend in trends)]
    return Judged(history=history, trends=trends, current=current, unmatched=unmatched)


def require_gates(gates: Iterable[str]) -> None:
    """Raise GnetError for a gate that a history has not."""
    if other := [gate for gate in gates if gate not in HISTORY_GATES]:
        raise GnetError(f"fail_on: {other[0]!r} is no gate of a history; use one of {', '.join(HISTORY_GATES)}")


def is_idle(judged: Judged) -> bool:
    """Whether no series has two runs with figures, so that nothing could be compared."""
    return not any(len(trend.series.measured) > 1 for trend in judged.trends)


def idle_gates(judged: Judged, gates: Sequence[str]) -> list[str]:
    """Those of the gates that looked at nothing: all of an idle history, and `slower` where no current series has the
    runs that a change takes.
    """
    if is_idle(judged):
        return list(gates)
    looked = any(trend.current and trend.is_looked_at for trend in judged.trends)
    return [gate for gate in gates if gate == "slower" and not looked]


def not_looked_at(judged: Judged) -> list[Series]:
    """Current series in which changes are not looked for, since they have too few runs."""
    return [trend.series for trend in judged.trends if trend.current and not trend.is_looked_at]


def failing_series(judged: Judged, gates: Sequence[str]) -> dict[str, list[Series]]:
    """By gate that fails, the series on which it does.

    slower: a current series is slower now than the best level since its last accepted change, by more than its margin.
    missing: see `missing`. failed: a case crashed, hung or ran out of memory in the last run of a current series; out
    of memory where it has never had figures is a finding.
    """
    ends = [(series, series.points[-1].status) for series in judged.current]
    by_gate = {
        "slower": [trend.series for trend in judged.trends if trend.current and trend.slowdown],
        "missing": [item.series for item in missing(judged)],
        "failed": [
            series
            for series, status in ends
            if status in ("failed", "timeout") or (status == "oom" and series.measured)
        ],
    }
    return {gate: by_gate[gate] for gate in gates if by_gate[gate]}


def failed_in_history(judged: Judged, gates: Sequence[str]) -> dict[str, list[str]]:
    """By gate that fails, the cases on which it does (see `failing_series`)."""
    failing = failing_series(judged, gates)
    return {gate: list(dict.fromkeys(one.key.case for one in series)) for gate, series in failing.items()}


def missing(judged: Judged) -> list[Missing]:
    """Cases with figures that the last run of a kind has no row of, and the run before it has.

    Runs are of one kind where they are of one machine, of the same options and sources, and of the same frameworks and
    variables. The first run of a kind is held against the last one that differs in frameworks or variables alone. A
    kind says nothing once another one of its options has begun after it, nor of cases that one of other options has,
    nor of series that another setup has replaced.
    """
    runs_of: dict[tuple[int, str, str], list[RunInHistory]] = defaultdict(list)
    for run in judged.history.runs:
        runs_of[run.machine, run.request, run.software].append(run)
    series_of = {
        (point.run, trend.series.key.case): trend.series
        for trend in judged.trends
        if trend.current
        for point in trend.series.points
    }
    lacking = []
    for (machine, request, _software), runs in runs_of.items():
        last = runs[-1]
        later = [(key, others) for key, others in runs_of.items() if others[0].created > last.created]
        before = _run_before(judged.history.runs, runs)
        if before is None or any(key[:2] == (machine, request) for key, _ in later):
            continue
        elsewhere = {case for key, others in later if key[0] == machine for run in others for case in run.cases}
        lacking += [
            Missing(series_of[before, case], last, before)
            for case in sorted(before.cases - last.cases - elsewhere)
            if (before, case) in series_of
        ]
    return lacking


def _run_before(history: Sequence[RunInHistory], runs: Sequence[RunInHistory]) -> RunInHistory | None:
    """What the last of the runs, which are of one kind, is held against; None where there is nothing."""
    if len(runs) > 1:
        return runs[-2]
    (only,) = runs
    earlier = history[: history.index(only)]
    alike = [run for run in earlier if (run.machine, run.request) == (only.machine, only.request)]
    return alike[-1] if alike else None


def _current(history: History) -> list[Series]:
    """The series that were not replaced: no other setup of the case began on the machine after their last run.

    Setups that are measured in turns, such as three releases each night, are all current, whichever came last.
    """
    begins: dict[tuple[str, str], datetime.datetime] = {}
    for series in history.series:
        if series.measured:
            first = series.measured[0].run.created
            begins[_where(series)] = max(first, begins.get(_where(series), first))
    return [
        series
        for series in history.series
        if _where(series) not in begins or begins[_where(series)] <= series.points[-1].run.created
    ]


def _where(series: Series) -> tuple[str, str]:
    """The case and the machine in words, which a new driver leaves as they are."""
    return series.key.case, series.key.setup.label


def _trend(
    series: Series, accepted: Sequence[Accepted], margin: float, today: datetime.date, *, current: bool
) -> Trend:
    segments, change_points = series.segmentation.segments, series.segmentation.changes
    changes = tuple(_change(series, change_point, accepted, margin, today) for change_point in change_points)
    slowdown = _slowdown(segments, changes, margin)
    return Trend(series=series, segments=segments, changes=changes, slowdown=slowdown, margin=margin, current=current)


def _change(
    series: Series, change_point: ChangePoint, accepted: Sequence[Accepted], margin: float, today: datetime.date
) -> Change:
    points = series.measured
    rules = [rule for rule in accepted if _is_at(points, change_point.index, rule.date)]
    in_force = [rule for rule in rules if rule.expires is None or rule.expires >= today]
    return Change(
        change_point=change_point,
        before=points[change_point.index - 1],
        after=points[change_point.index],
        margin=margin,
        accepted=next(iter(in_force or rules), None),
        expired=bool(rules) and not in_force,
    )


def _marks(rule: Accepted, trend: Trend) -> bool:
    """Whether the series has a change that the rule is about."""
    points = trend.series.measured
    return rule.matches(trend.series.key.case) and any(
        _is_at(points, change.change_point.index, rule.date) for change in trend.changes
    )


def _is_at(points: Sequence[Point], index: int, date: datetime.date) -> bool:
    """Whether a change that appears in run number `index` is the one of that day: the run is of the day, or the first
    after it, or a neighbour of that one, since further runs may still move the place of a change by one.
    """
    days = [point.run.created.date() for point in points]
    first = next((number for number, day in enumerate(days) if day >= date), None)
    return days[index] == date or (first is not None and abs(first - index) <= 1)


def _slowdown(segments: Sequence[Segment], changes: Sequence[Change], margin: float) -> Slowdown | None:
    """How much slower the last segment is than the best since the last accepted change; None within the margin."""
    begins = max((number for number, change in enumerate(changes, start=1) if change.is_accepted), default=0)
    levels = [segment.level for segment in segments]
    best = max(levels[begins:])
    near_best = [number for number in range(begins, len(levels)) if levels[number] >= best / (1 + margin)]
    if near_best[-1] == len(levels) - 1:
        return None
    return Slowdown(since=changes[near_best[-1]], ratio=levels[-1] / best)
