"""The statistics of cases and of their comparisons: plain numbers in, plain numbers out.

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

POWER = 0.9
"""Probability with which a minimum detectable effect is detected, and advised processes lead to a verdict."""

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Process:
    """The samples of one process, one a round."""

    cohort: str
    """Name that processes alive together share, and no two runs. Sample i of each of them is from round i."""

    log_seconds: tuple[float, ...]
    """Natural logarithm of the seconds a step, by round; NaN where a retrace or a recompile voided the sample."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogRatio:
    """The logarithm of speed(variant) ÷ speed(base): above 0 the variant is the faster."""

    estimate: float

    spread: float | None
    """Standard deviation between units, in logarithms; None where too few were measured to estimate one. Common-mode
    drift is part of it where cases were timed in sequence, and not where they were interleaved."""

    leverage: float
    """Standard error ÷ spread. It follows from the numbers of units and cohorts alone."""

    degrees_of_freedom: float
    """Degrees of freedom of the t interval."""

    interleaved: bool
    """Whether base and variant took turns in a cohort; else they were timed one after the other."""

    processes: tuple[int, int]
    """Processes of base and of variant that the estimate rests on."""

    units: tuple[int, int]
    """Independent units of base and of variant: processes that took turns, or whole cohorts in sequence."""

    @property
    def standard_error(self) -> float | None:
        """Standard error of the estimate; None, as all that rests on it, where there is no spread."""
        return None if self.spread is None else self.spread * self.leverage

    @property
    def error(self) -> float:
        """Error of the interval: the probability that it leaves out the true value."""
        return 1 - CONFIDENCE

    @property
    def interval(self) -> tuple[float, float] | None:
        """The t interval, 95 % unless the error is another."""
        if self.standard_error is None:
            return None
        half = quantile(1 - self.error / 2, self.degrees_of_freedom) * self.standard_error
        return self.estimate - half, self.estimate + half

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of the hypothesis that both are equally fast."""
        error = self.standard_error
        return None if error is None else two_sided_p_value(self.estimate, error, self.degrees_of_freedom)

    def minimum_detectable_effect(self, spread: float | None = None, margin: float = 0.0) -> float | None:
        """The smallest true effect, as a fraction, that this comparison would have detected with the probability POWER.

        Detected means that the two-sided test sees it, which takes (t(1 - error ÷ 2) + t(POWER)) × standard error, and
        that the estimate is beyond `margin`, a fraction, which takes log(1 + margin) + t(POWER) × standard error. A
        `spread` measured between identical cases stands in for this comparison's own. None where there is no interval.
        """
        if self.spread is None:
            return None
        standard_error = self.leverage * (self.spread if spread is None else spread)
        seen, powerful = (quantile(share, self.degrees_of_freedom) for share in (1 - self.error / 2, POWER))
        return math.expm1(max(seen * standard_error, math.log1p(margin)) + powerful * standard_error)


def geometric_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The t interval on the logarithms of positive values, turned back; None below two values.

    Each value stands for one process. Georges et al., "Statistically rigorous Java performance evaluation" (OOPSLA
    2007); on the logarithm because times are positive and their noise is proportional.
    """
    if len(values) < 2:
        return None
    logs = [math.log(value) for value in values]
    centre = statistics.fmean(logs)
    half = quantile(0.5 + confidence / 2, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(centre - half), math.exp(centre + half)


def relative_spread(values: Sequence[float]) -> float | None:
    """Standard deviation over mean; None below two values."""
    return statistics.stdev(values) / statistics.fmean(values) if len(values) > 1 else None


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The percentile by linear interpolation; None where too few values say anything about it (MIN_SAMPLES)."""
    if len(values) < MIN_SAMPLES[percent]:
        return None
    return values[0] if len(values) == 1 else statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


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
    if interleaved is None or (interleaved.spread is None and sequential and sequential.spread is not None):
        return sequential
    return interleaved


def resolvable_effect(
    processes: int,
    turns: int,
    error: float = 1 - CONFIDENCE,
    process_spread: float = 0.015,
    block_spread: float = 0.07,
) -> float | None:
    """The minimum effect, as a fraction, that so many processes a side and turns detect with the probability POWER.

    `error` is that of the two-sided test.

    For pairs that take turns, each in a cohort of its own. The spreads are standard deviations in logarithms; their
    defaults are the middle of what was measured on a shared two-core virtual machine. None below two processes.
    """
    if processes < 2:
        return None
    degrees_of_freedom = processes - 1
    standard_error = math.sqrt(2 * (process_spread**2 + block_spread**2 / turns) / processes)
    quantiles = quantile(1 - error / 2, degrees_of_freedom) + quantile(POWER, degrees_of_freedom)
    return math.expm1(quantiles * standard_error)


def optimal_turns(pairs: Sequence[tuple[Process, Process]], start_cost: float) -> float | None:
    """The turns a process with which a given time resolves most: √(start_cost × block variance ÷ process variance).

    Kalibera & Jones, "Rigorous benchmarking in reasonable time" (ISMM 2013), section 5. `pairs` are processes that took
    turns, `start_cost` is the time that a process takes to start ÷ that of a turn. The variances are of the difference
    between both of a pair, which is what is compared; inf where the pairs differ by no more than their blocks explain,
    None below two pairs of two rounds.
    """
    rounds = [_shared_rounds(pair) for pair in pairs]
    rounds = [logs[0] - logs[1] for logs in rounds if logs.shape[1] > 1]
    if len(rounds) < 2:
        return None
    between_blocks = float(np.mean([differences.var(ddof=1) for differences in rounds]))
    of_means = float(np.mean([1 / differences.size for differences in rounds])) * between_blocks
    between_processes = float(np.var([differences.mean() for differences in rounds], ddof=1)) - of_means
    return math.sqrt(start_cost * between_blocks / between_processes) if between_processes > 0 else math.inf


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The p-values of one family, adjusted so that those below 0.05 hold at most 5 % false discoveries on average.

    Benjamini and Hochberg, 1995, as scipy.stats.false_discovery_control has it, whose import takes half a second.
    """
    count = len(p_values)
    falling = np.argsort(p_values)[::-1]
    scaled = np.asarray(p_values, float)[falling] * (count / np.arange(count, 0, -1))
    adjusted = np.empty(count)
    adjusted[falling] = np.minimum.accumulate(np.minimum(scaled, 1.0))
    return adjusted.tolist()


def quantile(probability: float, degrees_of_freedom: float) -> float:
    """The quantile of the t distribution."""
    # The cheap twin of scipy.stats.t.ppf, which spends a hundred times as long on its arguments.
    return float(special.stdtrit(degrees_of_freedom, probability))


def two_sided_p_value(estimate: float, standard_error: float, degrees_of_freedom: float) -> float:
    """The p-value of a t test of the hypothesis that an estimate's true value is 0."""
    if standard_error == 0:
        return float(estimate == 0)
    return float(2 * special.stdtr(degrees_of_freedom, -abs(estimate / standard_error)))


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
    base, variant = (sum(side) for side in zip(*counts, strict=True))
    return LogRatio(
        estimate=estimate + shift,
        spread=math.sqrt(residuals @ residuals / degrees_of_freedom) if degrees_of_freedom else None,
        leverage=1 / math.sqrt(x @ x),
        degrees_of_freedom=degrees_of_freedom,
        interleaved=True,
        processes=(base, variant),
        units=(base, variant),
    )


def _means_of_shared_rounds(processes: Sequence[Process]) -> Array | None:
    """Each process' mean over the rounds in which all of them have a sample; None where there is no such round."""
    logs = _shared_rounds(processes)
    return logs.mean(axis=1) if logs.size else None


def _shared_rounds(processes: Sequence[Process]) -> Array:
    """The samples of the rounds in which all of the processes have one, an array of (processes, rounds)."""
    rounds = min(len(process.log_seconds) for process in processes)
    logs = np.array([process.log_seconds[:rounds] for process in processes])
    return logs[:, ~np.isnan(logs).any(axis=0)]


def _sequential(
    bases: Mapping[str, list[Process]], variants: Mapping[str, list[Process]], shift: float
) -> LogRatio | None:
    """Welch's t test on the cohorts' means: processes alive together share their common-mode drift."""
    alone = bases.keys() ^ variants.keys()
    sides = [[side[cohort] for cohort in side if cohort in alone] for side in (bases, variants)]
    base, variant = (
        np.array([statistics.fmean(float(np.nanmean(process.log_seconds)) for process in cohort) for cohort in side])
        for side in sides
    )
    if not base.size or not variant.size:
        return None
    leverage = math.sqrt(1 / base.size + 1 / variant.size)
    standard_error, degrees_of_freedom = _welch(base, variant) if max(base.size, variant.size) > 1 else (None, 0.0)
    return LogRatio(
        estimate=float(base.mean() - variant.mean()) + shift,
        spread=None if standard_error is None else standard_error / leverage,
        leverage=leverage,
        degrees_of_freedom=degrees_of_freedom,
        interleaved=False,
        processes=(sum(map(len, sides[0])), sum(map(len, sides[1]))),
        units=(base.size, variant.size),
    )


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
