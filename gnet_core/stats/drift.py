"""Drift: whether the time of a case still changes over its run, so that there is no steady state to speak of."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gnet_core.stats.ratio import Array, Process, by_cohort, two_sided_p_value

ERROR = 0.01
"""Two-sided error of the drift test. It is stricter than a comparison's, because every row of a table is tested."""

MIN_CHANGE = 0.05
"""A smaller change of the time over the whole run does not matter, however significant it is."""

MIN_ROUNDS = 5
"""Fewer rounds cannot tell drift from noise: the line takes two of them."""

AUTOCORRELATION_ALONE = 0.75
"""Correlation between neighbouring turns that is assumed of a case whose common-mode drift no other case shows.

A correlation fitted to 20 turns comes out far too low, so that steady processes seem to drift. This is the smallest
value that keeps a steady process from being called drifting more than one time in twenty under the worst common-mode
drift that was measured: a standard deviation of 20 % with a correlation of 0.9 from turn to turn, over MAX_TURNS_ALONE
turns.
"""

MAX_TURNS_ALONE = 20
"""Longer series of a case alone are averaged down to so many values, which then are less correlated than assumed."""


@dataclasses.dataclass(frozen=True)
class Drift:
    """How the time of a case changes over its run."""

    change: float
    """Fitted time at the end ÷ fitted time at the beginning, less 1."""

    p_value: float
    """Two-sided p-value of the hypothesis that the case is steady."""

    @property
    def drifting(self) -> bool:
        """Whether the change is seen beyond doubt (ERROR) and large enough to matter (MIN_CHANGE)."""
        return self.p_value < ERROR and abs(math.log1p(self.change)) > math.log1p(MIN_CHANGE)


def drift_by_case(cases: Mapping[str, Sequence[Process]]) -> dict[str, Drift | None]:
    """Test each case for drift of its time over the run; None where it has fewer than MIN_ROUNDS rounds.

    A straight line in time is fitted to each of the case's cohorts, with one slope for all. Its series is the mean of
    the case's processes less the median of the others in the round: common-mode drift cancels, what is left is
    independent from turn to turn, and one case that drifts among several does not make the others look as if they did.
    (Of two cases that are alone together both are reported, since which of them drifts cannot be known.) A case that
    ran alone is fitted as an AR(1) series of AUTOCORRELATION_ALONE, which takes a much larger change to be significant.
    Samples are winsorised first at three robust standard deviations: a stalled turn is no drift.
    """
    cohorts: dict[str, dict[str, list[Process]]] = defaultdict(dict)
    for case, processes in cases.items():
        for cohort, own in by_cohort(processes).items():
            cohorts[cohort][case] = own
    lines: dict[str, dict[bool, list[Array]]] = {case: {True: [], False: []} for case in cases}
    for members in cohorts.values():
        for case, accompanied, line in _lines(members):
            lines[case][accompanied].append(line)
    return {case: _pooled(fitted[True] or fitted[False]) for case, fitted in lines.items()}


def _lines(cohort: Mapping[str, Sequence[Process]]) -> Iterable[tuple[str, bool, Array]]:
    """For each case of a cohort that has enough rounds, whether others took turns with it in them, and its line."""
    rounds = max(len(process.log_seconds) for members in cohort.values() for process in members)
    if rounds < MIN_ROUNDS:
        return
    owners = np.array([case for case, members in cohort.items() for _ in members])
    logs = np.full((owners.size, rounds), np.nan)
    for row, process in zip(logs, (process for members in cohort.values() for process in members), strict=True):
        row[: len(process.log_seconds)] = process.log_seconds
    # Levelled, so that a voided sample does not move the round's centre by its process' level.
    logs -= _median(logs, axis=1)[:, np.newaxis]
    for case in cohort:
        own, others = logs[owners == case], logs[owners != case]
        shared = _rounds_with_samples(own) & _rounds_with_samples(others)
        accompanied = int(shared.sum()) >= MIN_ROUNDS
        kept = np.flatnonzero(shared if accompanied else _rounds_with_samples(own))
        if kept.size < MIN_ROUNDS:
            continue
        series = np.nanmean(own[:, kept], axis=0)
        if accompanied:
            series -= _median(others[:, kept], axis=0)
            yield case, True, _line(kept / (rounds - 1), _winsorised(series))
        else:
            turns, series = _averaged(kept, _winsorised(series))
            yield case, False, _line(turns / (rounds - 1), series, AUTOCORRELATION_ALONE)


def _rounds_with_samples(logs: Array) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(logs).all(axis=0)) if logs.size else np.zeros(logs.shape[1], dtype=bool)


def _median(logs: Array, axis: int) -> Array:
    # nanmedian takes ten times as long over small arrays, and voided samples are rare.
    return np.asarray((np.nanmedian if np.isnan(logs).any() else np.median)(logs, axis=axis))


def _winsorised(series: Array) -> Array:
    """Values beyond three robust standard deviations of the median are set to that distance from it."""
    centre = np.median(series)
    # 1.4826 turns the median absolute deviation of a normal distribution into its standard deviation.
    limit = 3 * 1.4826 * np.median(np.abs(series - centre))
    return np.clip(series, centre - limit, centre + limit) if limit else series


def _averaged(turns: NDArray[np.intp], series: Array) -> tuple[Array, Array]:
    """Mean turns and mean values of at most MAX_TURNS_ALONE stretches of about equal length."""
    ends = np.linspace(0, turns.size, min(turns.size, MAX_TURNS_ALONE) + 1).astype(int)
    lengths = np.diff(ends)
    return np.add.reduceat(turns, ends[:-1]) / lengths, np.add.reduceat(series, ends[:-1]) / lengths


def _line(times: Array, series: Array, autocorrelation: float = 0.0) -> Array:
    """What a straight line y(x) is fitted from, summed over one series: x·x, x·y, y·y and the degrees of freedom.

    The sums are those after whitening the series as AR(1) (Prais & Winsten 1954) and taking out its level.
    `autocorrelation` is that of each value with the one before, whether or not voided turns lie between them. `times`
    run from 0 in the cohort's first round to 1 in its last.
    """
    columns = np.stack([series, times, np.ones(times.size)])
    columns[:, 1:] = (columns[:, 1:] - autocorrelation * columns[:, :-1]) / math.sqrt(1 - autocorrelation**2)
    level = columns[2] / np.linalg.norm(columns[2])
    y, x = columns[:2] - np.outer(columns[:2] @ level, level)
    return np.array([x @ x, x @ y, y @ y, times.size - 1])


def _pooled(lines: Sequence[Array]) -> Drift | None:
    """The drift of a case by one slope for all of its lines."""
    if not lines:
        return None
    xx, xy, yy, values = np.sum(lines, axis=0).tolist()
    slope = xy / xx
    variance = max(0.0, yy - slope * xy) / (values - 1) / xx
    return Drift(change=math.expm1(slope), p_value=two_sided_p_value(slope, math.sqrt(variance), values - 1))
