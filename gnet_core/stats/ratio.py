"""The statistics of rows and of their comparisons: plain numbers in, plain numbers out.

Samples travel as logarithms of seconds, because times are positive and their noise is proportional. The process is the
unit of replication (Kalibera & Jones, "Rigorous benchmarking in reasonable time", ISMM 2013): the steps inside one are
never pooled as if they were independent.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

MIN_SAMPLES = {50: 1, 95: 100, 99: 1000}
"""Samples that a percentile needs, so that some lie beyond it: five beyond the 95th, ten beyond the 99th."""

CONFIDENCE = 0.95
"""Confidence level of every interval. One minus it is the error of every two-sided test."""

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Process:
    """The samples of one process, one a round."""

    cohort: str
    """Which processes were alive together; no two runs share one. Sample i of each of them is from round i."""

    log_seconds: tuple[float, ...]
    """Natural logarithm of the seconds a step, by round; NaN where a retrace or a recompile voided the sample."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogRatio:
    """The logarithm of speed(variant) ÷ speed(base): above 0 the variant is the faster."""

    estimate: float
    standard_error: float | None
    """None where too few units were measured to estimate one, and so is all that rests on it."""

    degrees_of_freedom: float
    """Degrees of freedom of the t interval."""

    low: float | None
    high: float | None
    """The 95 % t interval."""

    p_value: float | None
    """Two-sided, of the hypothesis that both are equally fast."""

    interleaved: bool
    """Whether base and variant took turns in a cohort; else they were timed one after the other."""

    base_processes: int
    variant_processes: int
    """Processes the estimate rests on."""

    base_units: int
    variant_units: int
    """What the interval takes as independent: processes in turns, whole cohorts in sequence."""

    spread: float | None
    """Standard deviation between units, in logarithms. Common-mode drift is part of it where cases were timed in
    sequence, and not where they were interleaved.
    """

    leverage: float
    """Standard error ÷ spread. It follows from the numbers of units and cohorts alone."""

    def smallest_effect(self, power: float = 0.9, spread: float | None = None, margin: float = 0.0) -> float | None:
        """The smallest true effect, as a fraction, that this comparison would have found with the given probability.

        Found means that the two-sided test at 5 % sees it, which takes (t(0.975) + t(power)) × standard error, and that
        the estimate is beyond `margin`, a fraction, which takes log(1 + margin) + t(power) × standard error. A `spread`
        measured between identical cases stands in for this comparison's own. None where there is no interval.
        """
        if self.spread is None:
            return None
        standard_error = self.leverage * (self.spread if spread is None else spread)
        threshold = max(_quantile(0.5 + CONFIDENCE / 2, self.degrees_of_freedom) * standard_error, math.log1p(margin))
        return math.expm1(threshold + _quantile(power, self.degrees_of_freedom) * standard_error)


def geometric_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The t interval on the logarithms of positive values, turned back; None below two values.

    Each value stands for one process. Georges et al., "Statistically rigorous Java performance evaluation" (OOPSLA
    2007); on the logarithm because times are positive and their noise is proportional.
    """
    if len(values) < 2:
        return None
    logs = [math.log(value) for value in values]
    centre = statistics.fmean(logs)
    half = _quantile(0.5 + confidence / 2, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(centre - half), math.exp(centre + half)


def relative_spread(values: Sequence[float]) -> float | None:
    """Standard deviation over mean; None below two values."""
    if len(values) < 2:
        return None
    return statistics.stdev(values) / statistics.fmean(values)


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The percentile by linear interpolation; None where too few values say anything about it (MIN_SAMPLES)."""
    if len(values) < MIN_SAMPLES[percent]:
        return None
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def log_ratio(base: Iterable[Process], variant: Iterable[Process], scale: float = 1.0) -> LogRatio | None:
    """Compare two cases; None where no sample of one of them can be set against the other.

    Where the two share cohorts, those alone count: interleaving takes common-mode drift out. Else they are compared in
    sequence, as also where only one pair was interleaved and the other processes have an interval to give. That takes
    the drift of each cohort for independent. Where all of base ran before all of variant, as in two runs, drift that
    outlasts a process looks like a difference between the cases, and no interval shows it.

    `scale` is images of a variant step ÷ images of a base step, so that the ratio is one of images a second.
    """
    shift = math.log(scale)
    bases, variants = by_cohort(base), by_cohort(variant)
    interleaved, sequential = (compare(bases, variants, shift) for compare in (_interleaved, _sequential))
    if interleaved is None or (interleaved.low is None and sequential is not None and sequential.low is not None):
        return sequential
    return interleaved


def resolvable_effect(
    processes: int, turns: int, process_spread: float = 0.015, block_spread: float = 0.07, power: float = 0.9
) -> float | None:
    """The smallest true effect, as a fraction, that so many processes a side and turns find with the given probability.

    For pairs that take turns, each in a cohort of its own. The spreads are standard deviations in logarithms; their
    defaults are the middle of what was measured on a shared two-core virtual machine. None below two processes.
    """
    if processes < 2:
        return None
    degrees_of_freedom = processes - 1
    standard_error = math.sqrt(2 * (process_spread**2 + block_spread**2 / turns) / processes)
    quantiles = _quantile(0.5 + CONFIDENCE / 2, degrees_of_freedom) + _quantile(power, degrees_of_freedom)
    return math.expm1(quantiles * standard_error)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The p-values of one family, adjusted so that those below 0.05 hold at most 5 % false discoveries on average.

    Benjamini and Hochberg, 1995, as scipy.stats.false_discovery_control has it, whose import takes half a second.
    """
    count = len(p_values)
    falling = np.argsort(p_values)[::-1]
    scaled = np.asarray(p_values, float)[falling] * (count / np.arange(count, 0, -1))
    adjusted = np.empty(count)
    adjusted[falling] = np.minimum.accumulate(np.minimum(scaled, 1.0))
    return [float(value) for value in adjusted]


def _quantile(probability: float, degrees_of_freedom: float) -> float:
    # The cheap twin of scipy.stats.t.ppf, which spends a hundred times as long on its arguments.
    return float(special.stdtrit(degrees_of_freedom, probability))


def two_sided_p_value(t: float, degrees_of_freedom: float) -> float:
    return float(2 * special.stdtr(degrees_of_freedom, -abs(t)))


def by_cohort(processes: Iterable[Process]) -> dict[str, list[Process]]:
    """The processes that have any sample, by cohort."""
    grouped: dict[str, list[Process]] = defaultdict(list)
    for process in processes:
        if not all(map(math.isnan, process.log_seconds)):
            grouped[process.cohort].append(process)
    return grouped


def _interleaved(
    bases: Mapping[str, list[Process]], variants: Mapping[str, list[Process]], shift: float
) -> LogRatio | None:
    """Least squares on the processes' means with an effect a cohort and one of the case.

    It is the paired t test where every cohort is one pair, and the pooled two-sample t test where all share one cohort.
    Cohorts that lack one of the cases would take up their own effect and say nothing.
    """
    cases, speeds, counts = [], [], []
    for cohort in [cohort for cohort in bases if cohort in variants]:
        means = _means_of_shared_rounds([*bases[cohort], *variants[cohort]])
        if means is None:
            continue
        counts.append((len(bases[cohort]), len(variants[cohort])))
        case = np.repeat([0.0, 1.0], counts[-1])
        cases.append(case - case.mean())
        speeds.append(means.mean() - means)
    if not counts:
        return None
    # With the cohorts' means taken out of both sides, what is left is a regression on the case alone.
    x, y = np.concatenate(cases), np.concatenate(speeds)
    estimate = float(x @ y / (x @ x))
    residuals = y - estimate * x
    degrees_of_freedom = y.size - len(counts) - 1
    base_count, variant_count = (sum(side) for side in zip(*counts, strict=True))
    return _with_interval(
        estimate=estimate + shift,
        spread=math.sqrt(residuals @ residuals / degrees_of_freedom) if degrees_of_freedom else None,
        leverage=1 / math.sqrt(x @ x),
        degrees_of_freedom=degrees_of_freedom,
        interleaved=True,
        processes=(base_count, variant_count),
        units=(base_count, variant_count),
    )


def _means_of_shared_rounds(processes: Sequence[Process]) -> Array | None:
    """Each process' mean over the rounds in which all of them have a sample; None where there is no such round."""
    rounds = min(len(process.log_seconds) for process in processes)
    logs = np.array([process.log_seconds[:rounds] for process in processes])
    complete = logs[:, ~np.isnan(logs).any(axis=0)]
    return complete.mean(axis=1) if complete.size else None


def _sequential(
    bases: Mapping[str, list[Process]], variants: Mapping[str, list[Process]], shift: float
) -> LogRatio | None:
    """Welch's t test on the cohorts' means: processes alive together share their common-mode drift."""
    alone = bases.keys() ^ variants.keys()
    sides = [{cohort: side[cohort] for cohort in side if cohort in alone} for side in (bases, variants)]
    base, variant = (np.array([_mean(members) for members in side.values()]) for side in sides)
    if not base.size or not variant.size:
        return None
    leverage = math.sqrt(1 / base.size + 1 / variant.size)
    standard_error, degrees_of_freedom = _welch(base, variant) if max(base.size, variant.size) > 1 else (None, 0.0)
    processes = [sum(map(len, side.values())) for side in sides]
    return _with_interval(
        estimate=float(base.mean() - variant.mean()) + shift,
        spread=None if standard_error is None else standard_error / leverage,
        leverage=leverage,
        degrees_of_freedom=degrees_of_freedom,
        interleaved=False,
        processes=(processes[0], processes[1]),
        units=(base.size, variant.size),
    )


def _mean(processes: Sequence[Process]) -> float:
    return statistics.fmean(float(np.nanmean(process.log_seconds)) for process in processes)


def _welch(base: Array, variant: Array) -> tuple[float, float]:
    """Standard error and Welch's degrees of freedom of the difference of two means.

    A single value is taken to scatter as the other side does: the t test of one value against a sample.
    """
    if min(base.size, variant.size) == 1:
        many = max(base, variant, key=len)
        return math.sqrt(float(many.var(ddof=1)) * (1 + 1 / many.size)), many.size - 1
    parts = [float(side.var(ddof=1)) / side.size for side in (base, variant)]
    squares = [part**2 / (side.size - 1) for part, side in zip(parts, (base, variant), strict=True)]
    total = sum(parts)
    if total == 0:
        return 0.0, base.size + variant.size - 2
    return math.sqrt(total), total**2 / sum(squares)


def _with_interval(
    *,
    estimate: float,
    spread: float | None,
    leverage: float,
    degrees_of_freedom: float,
    interleaved: bool,
    processes: tuple[int, int],
    units: tuple[int, int],
) -> LogRatio:
    standard_error = low = high = p_value = None
    if spread is not None:
        standard_error = spread * leverage
        half = _quantile(0.5 + CONFIDENCE / 2, degrees_of_freedom) * standard_error
        low, high = estimate - half, estimate + half
        # Without any scatter t is infinite, or 0 ÷ 0 where the cases are equal too.
        t = estimate / standard_error if standard_error else math.copysign(math.inf, estimate) if estimate else 0.0
        p_value = two_sided_p_value(t, degrees_of_freedom)
    return LogRatio(
        estimate=estimate,
        standard_error=standard_error,
        degrees_of_freedom=degrees_of_freedom,
        low=low,
        high=high,
        p_value=p_value,
        interleaved=interleaved,
        base_processes=processes[0],
        variant_processes=processes[1],
        base_units=units[0],
        variant_units=units[1],
        spread=spread,
        leverage=leverage,
    )
