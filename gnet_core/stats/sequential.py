"""Repeated confidence intervals: a t test that is looked at after every process and errs in 5 % of runs all the same.

A process of the base and one of the variant that took turns give one difference of logarithms. After n such pairs the
statistic is the paired t with n - 1 degrees of freedom. Whoever tests at 5 % after each of eight pairs and stops at
the first success calls identical code different in 12 % of runs. Here each look spends a share of the 5 % that was
fixed before the first result (Kim & DeMets, Biometrika 74:149, 1987), and the interval at each look is as much wider
(Jennison & Turnbull, "Repeated confidence intervals for group sequential clinical trials", Controlled Clinical Trials
5:33, 1984). All the intervals of a comparison hold together, for whatever reason a run stops.

The thresholds are calculated, as in Jennison & Turnbull, "Exact calculations for sequential t, χ² and F tests"
(Biometrika 78:133, 1991). With S the sum of n independent normal values of mean 0 and Q the sum of their squares,
S ÷ √Q is √n · sin θ, where t is √(n - 1) · tan θ. One more value makes that √n · sin θ · cos φ + sin φ, where φ does
not depend on θ and has a density proportional to cosⁿ⁻¹ φ, since the direction of a normal vector is uniform. So θ is
a Markov chain on an interval, and a grid follows its distribution from look to look.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from gnet_core.stats.ratio import CONFIDENCE, LogRatio, Process, by_cohort, log_ratio

FIRST_LOOK = 3
"""Pairs at the first look. Two give an interval, but its width is mostly luck."""

MAX_LOOKS = 20
"""Pairs at the last look of the longest run. More of them cost hours and gain little."""

ERROR = 1 - CONFIDENCE
"""Probability over all looks that the interval of identical code leaves out 1."""

_SPENDING_POWER = 1.5
_CELLS = 401
"""Cells of the grid. With four times as many the thresholds differ by less than 0.5 %."""

_ERRORS = np.sort(np.append(np.geomspace(1e-3, 1.0, 61), ERROR))
"""Errors whose thresholds are calculated. Repeated p-values are interpolated between them."""

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepeatedLogRatio(LogRatio):
    """A log ratio at one of several looks, with the interval and the p-value that all looks together allow."""

    max_looks: int
    """Pairs at the last look, which was fixed before the first."""

    earlier_p_value: float
    """The smallest repeated p-value of the looks before."""

    @property
    def looks(self) -> int:
        """Pairs so far."""
        return self.units[0]

    @property
    def error(self) -> float:
        """Error of this look's interval by itself; all looks together have one of 5 %."""
        return nominal_error(self.looks, self.max_looks)

    @property
    def p_value(self) -> float:
        """The smallest repeated p-value so far, so that what was once seen stays seen as data arrive."""
        now = super().p_value
        if now is None:
            return self.earlier_p_value
        return min(self.earlier_p_value, float(repeated_p_value(now, self.looks, self.max_looks)))

    def minimum_detectable_effect(self, spread: float | None = None, margin: float = 0.0) -> float | None:
        """The smallest true effect, as a fraction, that the last look detects with the probability POWER."""
        if self.spread is None:
            return None
        last = dataclasses.replace(
            self,
            degrees_of_freedom=self.max_looks - 1,
            units=(self.max_looks, self.max_looks),
            leverage=math.sqrt(2 / self.max_looks),
        )
        return LogRatio.minimum_detectable_effect(last, spread, margin)


def repeated_log_ratio(
    base: Sequence[Process],
    variant: Sequence[Process],
    scale: float,
    max_looks: int,
    earlier_p_value: float = 1.0,
) -> RepeatedLogRatio | None:
    """Compare two cases by pairs of processes; None before the first pair.

    A pair are the two processes of one cohort. Where base and variant share none, since the memory does not hold both,
    the first of the one and the first of the other are a pair, and so on: they were timed soon after each other.

    `scale` is images of a variant step ÷ images of a base step, `earlier_p_value` the comparison's at the look before.
    """
    interleaved = bool(by_cohort(base).keys() & by_cohort(variant).keys())
    if not interleaved:
        base, variant = (
            [dataclasses.replace(process, cohort=str(number)) for number, process in enumerate(side)]
            for side in (base, variant)
        )
    effect = log_ratio(base, variant, scale)
    if effect is None or not effect.interleaved:
        return None
    values = {field.name: getattr(effect, field.name) for field in dataclasses.fields(effect)}
    values["interleaved"] = interleaved
    if effect.units[0] < FIRST_LOOK:
        values["spread"] = None  # An interval before the first look would spend error.
    return RepeatedLogRatio(**values, max_looks=max_looks, earlier_p_value=earlier_p_value)


def spent_share(looks: int, max_looks: int) -> float:
    """Share of the whole error, 0 to 1, that is spent after `looks` pairs of at most `max_looks`."""
    return (looks / max_looks) ** _SPENDING_POWER if looks >= FIRST_LOOK else 0.0


def nominal_error(looks: int, max_looks: int) -> float:
    """The p-value that the paired t test after `looks` pairs has to be below, so that all looks together err in 5 %."""
    if looks < FIRST_LOOK:
        return 0.0
    return float(_nominal_errors(max_looks)[np.searchsorted(_ERRORS, ERROR), looks - FIRST_LOOK])


def repeated_p_value(p_value: ArrayLike, looks: int, max_looks: int) -> Array:
    """The smallest error over all looks with which the interval after `looks` pairs leaves out 1.

    `p_value` is the paired t test's, of any shape. Below 0.001 the result is an upper bound. Before the first look it
    is 1.
    """
    p_values = np.asarray(p_value, float)
    if looks < FIRST_LOOK:
        return np.ones_like(p_values)
    nominal = _nominal_errors(max_looks)[:, looks - FIRST_LOOK]
    with np.errstate(divide="ignore"):
        between = np.exp(np.interp(np.log(p_values), np.log(nominal), np.log(_ERRORS)))
    # The chance of being beyond a threshold now is at least the chance of being so for the first time.
    share = spent_share(looks, max_looks) - spent_share(looks - 1, max_looks)
    bound = np.minimum(p_values / share, _ERRORS[0])
    return np.asarray(np.where(p_values < nominal[0], bound, between))


@functools.cache
def _nominal_errors(max_looks: int) -> Array:
    """The thresholds as p-values of the paired t test, an array of (errors, looks)."""
    edges = _edges()
    mass = np.tile(_first_cells(), (len(_ERRORS), 1))
    nominal = []
    for looks in range(FIRST_LOOK, max_looks + 1):
        if looks > FIRST_LOOK:
            mass = mass @ _transition(looks - 1)
        spend = _ERRORS * (spent_share(looks, max_looks) - spent_share(looks - 1, max_looks))
        thresholds = np.array([_threshold(cells, beyond) for cells, beyond in zip(mass, spend, strict=True)])
        # Cells beyond the threshold have stopped, and the part beyond it of the cell that holds it.
        inside = (thresholds[:, None] - np.abs(edges[:-1] + edges[1:]) / 2) / (edges[1] - edges[0]) + 0.5
        mass = mass * np.clip(inside, 0, 1)
        t = math.sqrt(looks - 1) * np.tan(thresholds)
        nominal.append(spend if looks == FIRST_LOOK else 2 * special.stdtr(looks - 1, -t))
    return np.maximum.accumulate(np.stack(nominal, axis=1), axis=0)


def _edges() -> Array:
    """The edges of the cells of θ, from -π/2 to π/2."""
    return np.linspace(-math.pi / 2, math.pi / 2, _CELLS + 1)


def _first_cells() -> Array:
    """The probability of each cell at the first look."""
    with np.errstate(over="ignore"):
        return np.diff(special.stdtr(FIRST_LOOK - 1, math.sqrt(FIRST_LOOK - 1) * np.tan(_edges())))


def _threshold(cells: Array, beyond: float) -> float:
    """The θ outside which, on both sides together, lies the probability `beyond`."""
    half = len(cells) // 2 + 1
    tails = np.append(0.0, np.cumsum((cells + cells[::-1])[:half]))
    tails[-1] -= cells[half - 1]  # The middle cell is its own mirror image.
    return float(np.interp(beyond, tails, -_edges()[: half + 1].clip(max=0)))


@functools.cache
def _transition(looks: int) -> Array:
    """The probabilities to come from the middle of each cell after `looks` pairs (rows) to each cell after one more."""
    edges = _edges()
    slopes = math.sqrt(looks) * np.sin((edges[:-1] + edges[1:]) / 2)[:, None]
    sums = math.sqrt(looks + 1) * np.sin(edges)
    # slope · cos φ + sin φ = length · sin(φ + shift): for a positive slope it rises with φ, and then falls again.
    length, shift = np.hypot(slopes, 1), np.arctan(slopes)
    rising = np.arcsin(np.clip(sums / length, -1, 1)) - shift
    falling = math.pi - rising - 2 * shift
    below = _angle_probability(rising, looks) + 1 - _angle_probability(falling, looks)
    # A negative slope is the mirror image of a positive one.
    below = np.where(slopes >= 0, below, 1 - below[::-1, ::-1])
    return np.diff(below, axis=1)


def _angle_probability(angle: Array, looks: int) -> Array:
    """The probability that φ of one more value after `looks` is below `angle`, which is cut to -π/2 … π/2."""
    sine = np.sin(np.clip(angle, -math.pi / 2, math.pi / 2))
    return np.asarray(0.5 + 0.5 * np.sign(sine) * special.betainc(0.5, looks / 2, sine**2))
