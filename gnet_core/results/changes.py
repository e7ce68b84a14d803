"""What changed in a history: the changes of each series, those that were accepted, and the gates that fail."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol, get_args

from gnet_core.config import GnetError
from gnet_core.results.history import History, Point, Series
from gnet_core.stats.changepoints import ChangePoint, Segment

HistoryGate = Literal["slower", "missing", "failed"]
HISTORY_GATES: tuple[HistoryGate, ...] = get_args(HistoryGate)
"""Gates that a history has. The others are about one run, or about two."""


class AcceptedChange(Protocol):
    """A change of speed that was meant, as a file of rules has it."""

    @property
    def date(self) -> datetime.date: ...
    @property
    def reason(self) -> str: ...
    @property
    def expires(self) -> datetime.date | None: ...
    def matches(self, case: str) -> bool: ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """A change point of a series, and what is known of it."""

    found: ChangePoint
    before: Point
    """The last run before it."""
    after: Point
    """The first run after it, in which it appears."""
    margin: float
    """As a fraction."""
    accepted: AcceptedChange | None
    """The rule that accepts it, also where that has expired."""
    expired: bool

    @property
    def is_accepted(self) -> bool:
        return self.accepted is not None and not self.expired

    @property
    def verdict(self) -> Literal["FASTER", "SLOWER", "SAME"]:
        """SAME is a change within the margin: certain, and too small to matter."""
        if 1 / (1 + self.margin) <= self.found.ratio <= 1 + self.margin:
            return "SAME"
        return "FASTER" if self.found.ratio > 1 else "SLOWER"


class Slowdown(NamedTuple):
    """A series that is slower now than it was, which nobody has accepted."""

    since: Change
    ratio: float
    """Its speed now ÷ the best level that it had since the last accepted change."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trend:
    """A series with what changed in it."""

    series: Series
    segments: tuple[Segment, ...]
    changes: tuple[Change, ...]
    slowdown: Slowdown | None
    current: bool
    """Whether no later run measured the case on this machine with another setup, such as a newer framework."""

    def is_undone(self, change: Change) -> bool:
        """Whether the series is no slower any more than it was before this change, within the margin."""
        now = self.segments[-1].level
        return now >= self.segments[self.changes.index(change)].level / (1 + change.margin)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A history with what changed in it."""

    history: History
    trends: list[Trend]
    """The series that have any figure."""
    unmatched: list[AcceptedChange]
    """Accepted changes that no series shows."""


def judge(
    history: History,
    accepted: Sequence[AcceptedChange],
    margin_of: Callable[[str], float],
    today: datetime.date,
) -> Judged:
    """Find the changes of each series and say what is known of them. `margin_of` gives a case's margin, a fraction."""
    measured = [series for series in history.series if series.measured]
    last_run: dict[tuple[str, str], datetime.datetime] = {}
    for series in measured:
        setup = series.key.setup
        ends = series.points[-1].run.created
        where = series.key.case, setup.label
        last_run[where] = max(ends, last_run.get(where, ends))
    trends = [
        _trend(
            series,
            [rule for rule in accepted if rule.matches(series.key.case)],
            margin_of(series.key.case),
            today,
            current=series.points[-1].run.created == last_run[series.key.case, series.key.setup.label],
        )
        for series in measured
    ]
    unmatched = [rule for rule in accepted if not any(_marks(rule, trend) for trend in trends)]
    return Judged(history=history, trends=trends, unmatched=unmatched)


def require_gates(gates: Iterable[str]) -> None:
    """Raise GnetError for a gate that a history has not."""
    if other := [gate for gate in gates if gate not in HISTORY_GATES]:
        raise GnetError(f"fail_on: {other[0]!r} is no gate of a history; use one of {', '.join(HISTORY_GATES)}")


def is_idle(judged: Judged) -> bool:
    """Whether no series has two runs with figures, so that nothing could be compared."""
    return not any(len(trend.series.measured) > 1 for trend in judged.trends)


def failed_in_history(judged: Judged, gates: Sequence[str]) -> dict[str, list[str]]:
    """By gate that fails, the cases on which it does.

    slower: a series is slower now than the best level since its last accepted change, by more than its margin, and no
    later run measured the case with another setup on that machine. missing: the last run has no row of a case that
    earlier runs on its machine have figures of. failed: a case crashed, hung or ran out of memory in the last run; out
    of memory where it has never had figures is a finding.
    """
    history = judged.history
    last = history.runs[-1]
    of_last = [(series, series.points[-1]) for series in history.series if series.points[-1].run is last]
    before = [
        trend.series.key.case
        for trend in judged.trends
        if any(point.run.machine == last.machine for point in trend.series.measured)
    ]
    cases: dict[str, Iterable[str]] = {
        "slower": (trend.series.key.case for trend in judged.trends if trend.current and trend.slowdown),
        "missing": (case for case in before if case not in last.cases),
        "failed": (
            series.key.case
            for series, point in of_last
            if point.status in ("failed", "timeout") or (point.status == "oom" and series.measured)
        ),
    }
    by_gate = {gate: list(dict.fromkeys(cases[gate])) for gate in gates}
    return {gate: failed for gate, failed in by_gate.items() if failed}


def _trend(
    series: Series, accepted: Sequence[AcceptedChange], margin: float, today: datetime.date, *, current: bool
) -> Trend:
    segments, found = series.segmentation.segments, series.segmentation.changes
    changes = tuple(_change(series, change, accepted, margin, today) for change in found)
    slowdown = _slowdown(segments, changes, margin)
    return Trend(series=series, segments=segments, changes=changes, slowdown=slowdown, current=current)


def _change(
    series: Series, found: ChangePoint, accepted: Sequence[AcceptedChange], margin: float, today: datetime.date
) -> Change:
    points = series.measured
    rules = [rule for rule in accepted if _is_at(points, found.index, rule.date)]
    in_force = [rule for rule in rules if rule.expires is None or rule.expires >= today]
    return Change(
        found=found,
        before=points[found.index - 1],
        after=points[found.index],
        margin=margin,
        accepted=next(iter(in_force or rules), None),
        expired=bool(rules) and not in_force,
    )


def _marks(rule: AcceptedChange, trend: Trend) -> bool:
    """Whether the series has a change that the rule is about."""
    points = trend.series.measured
    return rule.matches(trend.series.key.case) and any(
        _is_at(points, change.found.index, rule.date) for change in trend.changes
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
