"""Change points: from which run on a case is faster or slower, in a series of runs.

The run is the unit. What separate runs of one code differ by decides how large a change has to be, and each run's own
interval what weight it has among the others. The search is binary segmentation (Scott & Knott 1974) by the library
ruptures (Truong, Oudre & Vayatis, "Selective review of offline change point detection methods", 2020), which proposes
more places than there are changes. A t test at each place then decides, as Hunter (arXiv 2301.03034) has it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from ruptures import Binseg
from ruptures.base import BaseCost

from gnet_core.stats.ratio import CONFIDENCE, Array, quantile, two_sided_p_value

MIN_RUNS = 8
"""Runs of a series in which changes are looked for. In fewer only a change of many times the scatter could be told."""

MIN_SEGMENT = 3
"""Runs between two changes. One or two that stand out are outliers."""

ERROR = 1e-5
"""Two-sided error of the t test at a single place. A series has many more places and lengths to choose from than runs;
at this level all of them together give less than one false change in 1,000 runs (`python -m tests.histories`)."""

_WINDOW = 5
"""Runs around a run, it among them, by whose median it is told for an outlier."""

_MIN_SPREAD = 1e-4
"""Standard deviation of runs, in logarithms, that is assumed at least: figures that repeat exactly have none."""

_MIN_SCALE = 0.1
"""The runs of a segment scatter by at least this share of what neighbours differ by, however alike they look."""

_MIN_GAIN = 2.0
"""Variances of a run that a proposed place has to explain. It ends the search where all that is left is noise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChangePoint:
    """A change of the level between two segments of a series."""

    index: int
    """Number of the first run after it, from 0."""
    ratio: float
    """Speed after it ÷ speed before it, each over its segment."""
    low: float
    high: float
    """Ends of the ratio's 95 % t interval."""
    p_value: float


class Segment(NamedTuple):
    """Runs without a change among them, from number `start` to before number `end`."""

    start: int
    end: int
    level: float
    """Their speed: the weighted geometric mean, in which outliers are winsorised."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segmentation:
    """A series in its segments, with a change between each two of them."""

    segments: tuple[Segment, ...]
    changes: tuple[ChangePoint, ...]


def log_standard_error(low: float, high: float, processes: int) -> float | None:
    """Standard error of the logarithm of a figure, of its 95 % t interval over so many processes; None below two."""
    if processes < 2:
        return None
    return math.log(high / low) / 2 / quantile(0.5 + CONFIDENCE / 2, processes - 1)


def segmented(speeds: Sequence[float], log_errors: Sequence[float | None]) -> Segmentation:
    """A series of speeds, one a run in the order of time, in segments of one level each.

    `speeds` are positive; `log_errors` are standard errors of their logarithms, None where a run tells none. Below
    MIN_RUNS runs there is one segment. Steps of the level are what is found: a machine that slows down little by little
    shows as one step or several.
    """
    logs = np.log(np.asarray(speeds, float))
    variances = _variances(logs, log_errors)
    weights = 1 / variances
    if len(speeds) < MIN_RUNS:
        return _segmentation(_Fit(logs, weights, []))
    logs = _winsorised(logs, np.sqrt(variances))
    cost = _WeightedSquares(weights)
    search = Binseg(custom_cost=cost, min_size=MIN_SEGMENT, jump=1).fit(logs)
    places = _confirmed(logs, weights, search.predict(pen=_MIN_GAIN)[:-1])
    places = _confirmed(logs, weights, _moved(cost, places, len(logs)))
    return _segmentation(_Fit(logs, weights, places))


@BaseCost.register
class _WeightedSquares:
    """What a segment costs: its runs' squared distances from their weighted mean, each times the run's weight."""

    model = "weighted squares"
    min_size = MIN_SEGMENT

    def __init__(self, weights: Array) -> None:
        self._weights = weights

    def fit(self, signal: Array) -> _WeightedSquares:
        self.signal = signal.reshape(-1, 1)
        values = signal.ravel() - np.median(signal)
        parts = self._weights, self._weights * values, self._weights * values**2
        # Lists: the search asks for single sums, which arrays are slow at.
        self._sums = [np.concatenate([[0.0], np.cumsum(part)]).tolist() for part in parts]
        return self

    def error(self, start: int, end: int) -> float:
        weight, first, second = (sums[end] - sums[start] for sums in self._sums)
        return float(second - first * first / weight)


class _Fit:
    """The levels of a series with changes at the given places, and the t test at each of them."""

    def __init__(self, logs: Array, weights: Array, places: Sequence[int]) -> None:
        self.starts, self.ends = [0, *places], [*places, logs.size]
        weight = np.add.reduceat(weights, self.starts)
        self.levels = np.add.reduceat(weights * logs, self.starts) / weight
        self.steps = np.diff(self.levels)
        residuals = logs - np.repeat(self.levels, np.subtract(self.ends, self.starts))
        self.degrees_of_freedom = logs.size - len(self.starts)
        # The Birge ratio: how far runs scatter ÷ how far their weights let expect.
        squares = float(weights @ residuals**2) / max(1, self.degrees_of_freedom)
        self.errors = max(_MIN_SCALE, math.sqrt(squares)) * np.sqrt(1 / weight[1:] + 1 / weight[:-1])

    def p_value(self, number: int) -> float:
        return two_sided_p_value(float(self.steps[number]), float(self.errors[number]), self.degrees_of_freedom)


def _confirmed(logs: Array, weights: Array, places: Sequence[int]) -> list[int]:
    """The places that are left once the least certain has been taken out, again and again, until all pass the test."""
    left = list(places)
    while left:
        fit = _Fit(logs, weights, left)
        weakest = int(np.argmin(np.abs(fit.steps) / fit.errors))
        if fit.p_value(weakest) < ERROR:
            break
        del left[weakest]
    return left


def _moved(cost: _WeightedSquares, places: Sequence[int], end: int) -> list[int]:
    """Each place where it explains most between its neighbours: the search chose it before it knew of all of them."""
    edges = [0, *places, end]
    for number in range(1, len(edges) - 1):
        before, after = edges[number - 1], edges[number + 1]
        possible = range(before + MIN_SEGMENT, after - MIN_SEGMENT + 1)
        costs = [cost.error(before, place) + cost.error(place, after) for place in possible]
        edges[number] = possible[int(np.argmin(costs))]
    return edges[1:-1]


def _segmentation(fit: _Fit) -> Segmentation:
    reach = quantile(0.5 + CONFIDENCE / 2, max(1, fit.degrees_of_freedom))
    speeds = np.exp(fit.levels).tolist()
    return Segmentation(
        segments=tuple(map(Segment, fit.starts, fit.ends, speeds)),
        changes=tuple(
            ChangePoint(
                index=index,
                ratio=math.exp(step),
                low=math.exp(step - reach * error),
                high=math.exp(step + reach * error),
                p_value=fit.p_value(number),
            )
            for number, (index, step, error) in enumerate(zip(fit.starts[1:], fit.steps, fit.errors, strict=True))
        ),
    )


def _variances(logs: Array, log_errors: Sequence[float | None]) -> Array:
    """The variance of each run's logarithm: that between runs, and its own.

    What neighbours differ by, by its median, which hardly any step is in, is the variance of a usual run. The runs'
    own say how much of it is each one's: a run whose interval is wider than the usual one weighs less. None weighs
    more, since an interval over few processes is narrow by luck as often as for a reason.
    """
    own = np.array([math.nan if error is None else error**2 for error in log_errors])
    # 0.6745 is the median of the absolute value of a standard normal variable; a difference has two runs' variance.
    between_neighbours = float(np.median(np.abs(np.diff(logs)))) / 0.6745 if logs.size > 1 else 0.0
    whole = max(between_neighbours**2 / 2, _MIN_SPREAD**2)
    if np.isnan(own).all():
        return np.full(logs.size, whole)
    usual = float(np.nanmedian(own))
    own = np.where(np.isnan(own), usual, np.maximum(own, usual))
    if usual > whole:
        return own * (whole / usual)
    return own + (whole - usual)


def _winsorised(logs: Array, deviations: Array) -> Array:
    """Runs more than three standard deviations from the median of those around them are set to that distance from it
    (Hampel's identifier). A step of the level is not touched by it.
    """
    padded = np.pad(logs, _WINDOW // 2, constant_values=np.nan)
    centres = np.nanmedian(sliding_window_view(padded, _WINDOW), axis=1)
    return np.clip(logs, centres - 3 * deviations, centres + 3 * deviations)
