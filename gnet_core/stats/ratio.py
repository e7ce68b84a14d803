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

LEAST_SAMPLES = {50: 1, 95: 100, 99: 1000}
"""A percentile needs some samples beyond it: five beyond the 95th, ten beyond the 99th."""

CONFIDENCE = 0.95
"""Of every interval; one minus it is the error of every two-sided test."""

DRIFT_ERROR = 0.01
"""Two-sided error of the drift test: stricter than a comparison's, because every row of a table is asked."""

LEAST_DRIFT = 0.05
"""A smaller change of the time over the whole run is no matter, however well it is seen."""

LEAST_DRIFT_ROUNDS = 5
"""Fewer rounds say nothing about drift: two of them go into the line."""

WEATHER_MEMORY = 0.75
"""Correlation between neighbours that the drift test assumes where no company shows the weather.

It is assumed, since one fitted to 20 turns comes out far too low and steady processes seem to drift. It is the least
that keeps a steady process from being called drifting more than one time in twenty under the worst weather measured:
a standard deviation of 20 % whose correlation from turn to turn is 0.9, over TURNS_ALONE turns.
"""

TURNS_ALONE = 20
"""Longer series without company are averaged down to so many, further apart and so less correlated than assumed."""

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
    """None, like all that rests on it, where there is one unit too few to see any scatter."""

    degrees: float
    """Degrees of freedom of the t interval."""

    low: float | None
    high: float | None
    """The 95 % t interval."""

    p_value: float | None
    """Two-sided, of the hypothesis that both are equally fast."""

    in_turns: bool
    """Whether base and variant took turns in a cohort; else they were timed one after the other."""

    base_processes: int
    variant_processes: int
    """Processes the estimate rests on."""

    base_units: int
    variant_units: int
    """What the interval takes as independent: processes in turns, whole cohorts in sequence."""

    spread: float | None
    """Standard deviation between units, in logarithms. In sequence the weather is part of it, in turns it is not."""

    leverage: float
    """Standard error ÷ spread; follows from the numbers of units and cohorts alone."""

    def smallest_effect(self, power: float = 0.9, spread: float | None = None, margin: float = 0.0) -> float | None:
        """The smallest true effect, as a fraction, that this comparison would have found with the given probability.

        Found means that the two-sided test at 5 % sees it, which takes (t(0.975) + t(power)) × standard error, and that
        the estimate is beyond `margin`, a fraction, which takes log(1 + margin) + t(power) × standard error. A `spread`
        measured between identical cases stands in for this comparison's own. None where there is no interval.
        """
        if self.spread is None:
            return None
        standard_error = self.leverage * (self.spread if spread is None else spread)
        threshold = max(_quantile(0.5 + CONFIDENCE / 2, self.degrees) * standard_error, math.log1p(margin))
        return math.expm1(threshold + _quantile(power, self.degrees) * standard_error)


@dataclasses.dataclass(frozen=True)
class Drift:
    """How the time of a case changes over its run."""

    change: float
    """Fitted time at the end ÷ fitted time at the beginning, less 1."""

    p_value: float
    """Two-sided, of the hypothesis that the case is steady."""

    @property
    def drifting(self) -> bool:
        """Whether the change is seen beyond doubt (DRIFT_ERROR) and large enough to matter (LEAST_DRIFT)."""
        return self.p_value < DRIFT_ERROR and abs(math.log1p(self.change)) > math.log1p(LEAST_DRIFT)


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
    """The percentile by linear interpolation; None where too few values say anything about it (LEAST_SAMPLES)."""
    if len(values) < LEAST_SAMPLES[percent]:
        return None
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def log_ratio(base: Iterable[Process], variant: Iterable[Process], scale: float = 1.0) -> LogRatio | None:
    """Compare two cases; None where no sample of one of them can be set against the other.

    Where the two share cohorts, those alone count: turns take the weather out. Else they are compared in sequence, as
    also where turns have one pair alone and the other processes have an interval to give. That takes every cohort's
    weather for independent. Where all of base ran before all of variant, as in two runs, weather that outlasts a
    process looks like a difference between the cases, and no interval shows it.

    `scale` is images of a variant step ÷ images of a base step, so that the ratio is one of images a second.
    """
    shift = math.log(scale)
    bases, variants = _by_cohort(base), _by_cohort(variant)
    in_turns, in_sequence = (compare(bases, variants, shift) for compare in (_in_turns, _in_sequence))
    if in_turns is None or (in_turns.low is None and in_sequence is not None and in_sequence.low is not None):
        return in_sequence
    return in_turns


def resolvable_effect(
    processes: int, turns: int, process_spread: float = 0.015, block_spread: float = 0.07, power: float = 0.9
) -> float | None:
    """The smallest true effect, as a fraction, that so many processes a side and turns find with the given probability.

    For pairs that take turns, each in a cohort of its own. The spreads are standard deviations in logarithms; their
    defaults are the middle of what was measured on a shared two-core virtual machine. None below two processes.
    """
    if processes < 2:
        return None
    degrees = processes - 1
    standard_error = math.sqrt(2 * (process_spread**2 + block_spread**2 / turns) / processes)
    return math.expm1((_quantile(0.5 + CONFIDENCE / 2, degrees) + _quantile(power, degrees)) * standard_error)


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


def drift(cases: Mapping[str, Sequence[Process]]) -> dict[str, Drift | None]:
    """Say of every case whether its time still changes over the run; None where it has too few rounds to say.

    A straight line in time is fitted to each of the case's cohorts, with one slope for all. Its series is the mean of
    the case's processes less the median of the others in the round: the weather cancels, what is left is independent
    from turn to turn, and one case that drifts among several does not make the others look as if they did. (With one
    other case alone, it is open which of the two drifts, and both are told.) A case without company is fitted as an
    AR(1) series of WEATHER_MEMORY, which asks for much more before it says anything. Samples beyond three standard
    deviations (by the median absolute deviation) are drawn in first: a stalled turn is no drift.
    """
    cohorts: dict[str, dict[str, list[Process]]] = defaultdict(dict)
    for case, processes in cases.items():
        for cohort, own in _by_cohort(processes).items():
            cohorts[cohort][case] = own
    lines: dict[str, dict[bool, list[_Line]]] = {case: {True: [], False: []} for case in cases}
    for members in cohorts.values():
        for case, company, line in _lines(members):
            lines[case][company].append(line)
    return {case: _pooled(found[True] or found[False]) for case, found in lines.items()}


def _quantile(probability: float, degrees: float) -> float:
    # The cheap twin of scipy.stats.t.ppf, which spends a hundred times as long on its arguments.
    return float(special.stdtrit(degrees, probability))


def _two_sided(t: float, degrees: float) -> float:
    return float(2 * special.stdtr(degrees, -abs(t)))


def _by_cohort(processes: Iterable[Process]) -> dict[str, list[Process]]:
    """The processes that have any sample, by cohort."""
    grouped: dict[str, list[Process]] = defaultdict(list)
    for process in processes:
        if not all(map(math.isnan, process.log_seconds)):
            grouped[process.cohort].append(process)
    return grouped


def _in_turns(
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
    degrees = y.size - len(counts) - 1
    base_count, variant_count = (sum(side) for side in zip(*counts, strict=True))
    return _with_interval(
        estimate=estimate + shift,
        spread=math.sqrt(residuals @ residuals / degrees) if degrees else None,
        leverage=1 / math.sqrt(x @ x),
        degrees=degrees,
        in_turns=True,
        processes=(base_count, variant_count),
        units=(base_count, variant_count),
    )


def _means_of_shared_rounds(processes: Sequence[Process]) -> Array | None:
    """Each process' mean over the rounds in which all of them have a sample; None where there is no such round."""
    rounds = min(len(process.log_seconds) for process in processes)
    logs = np.array([process.log_seconds[:rounds] for process in processes])
    complete = logs[:, ~np.isnan(logs).any(axis=0)]
    return complete.mean(axis=1) if complete.size else None


def _in_sequence(
    bases: Mapping[str, list[Process]], variants: Mapping[str, list[Process]], shift: float
) -> LogRatio | None:
    """Welch's t test on the cohorts' means: processes alive together have their weather in common."""
    alone = bases.keys() ^ variants.keys()
    sides = [{cohort: side[cohort] for cohort in side if cohort in alone} for side in (bases, variants)]
    base, variant = (np.array([_mean(members) for members in side.values()]) for side in sides)
    if not base.size or not variant.size:
        return None
    leverage = math.sqrt(1 / base.size + 1 / variant.size)
    standard_error, degrees = _welch(base, variant) if max(base.size, variant.size) > 1 else (None, 0.0)
    processes = [sum(map(len, side.values())) for side in sides]
    return _with_interval(
        estimate=float(base.mean() - variant.mean()) + shift,
        spread=None if standard_error is None else standard_error / leverage,
        leverage=leverage,
        degrees=degrees,
        in_turns=False,
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
    degrees = [part**2 / (side.size - 1) for part, side in zip(parts, (base, variant), strict=True)]
    total = sum(parts)
    if total == 0:
        return 0.0, base.size + variant.size - 2
    return math.sqrt(total), total**2 / sum(degrees)


def _with_interval(
    *,
    estimate: float,
    spread: float | None,
    leverage: float,
    degrees: float,
    in_turns: bool,
    processes: tuple[int, int],
    units: tuple[int, int],
) -> LogRatio:
    standard_error = low = high = p_value = None
    if spread is not None:
        standard_error = spread * leverage
        half = _quantile(0.5 + CONFIDENCE / 2, degrees) * standard_error
        low, high = estimate - half, estimate + half
        # Without any scatter t is infinite, or 0 ÷ 0 where the cases are equal too.
        t = estimate / standard_error if standard_error else math.copysign(math.inf, estimate) if estimate else 0.0
        p_value = _two_sided(t, degrees)
    return LogRatio(
        estimate=estimate,
        standard_error=standard_error,
        degrees=degrees,
        low=low,
        high=high,
        p_value=p_value,
        in_turns=in_turns,
        base_processes=processes[0],
        variant_processes=processes[1],
        base_units=units[0],
        variant_units=units[1],
        spread=spread,
        leverage=leverage,
    )


@dataclasses.dataclass(frozen=True)
class _Line:
    """The sums that one series gives to the fit of a line: x is time, from 0 at the first round to 1 at the last."""

    xx: float
    xy: float
    yy: float
    degrees: int


def _lines(cohort: Mapping[str, Sequence[Process]]) -> Iterable[tuple[str, bool, _Line]]:
    """A line for each case of a cohort, and whether it had company; none for a case with too few rounds."""
    rounds = max(len(process.log_seconds) for members in cohort.values() for process in members)
    if rounds < LEAST_DRIFT_ROUNDS:
        return
    owners = np.array([case for case, members in cohort.items() for _ in members])
    logs = np.full((owners.size, rounds), np.nan)
    for row, process in zip(logs, (process for members in cohort.values() for process in members), strict=True):
        row[: len(process.log_seconds)] = process.log_seconds
    # Levelled, so that a voided sample does not move the round's centre by its process' level.
    logs -= _median(logs, axis=1)[:, np.newaxis]
    for case in cohort:
        own, others = logs[owners == case], logs[owners != case]
        in_company = _rounds_with_samples(own) & _rounds_with_samples(others)
        company = int(in_company.sum()) >= LEAST_DRIFT_ROUNDS
        kept = np.flatnonzero(in_company if company else _rounds_with_samples(own))
        if kept.size < LEAST_DRIFT_ROUNDS:
            continue
        series = np.nanmean(own[:, kept], axis=0)
        if company:
            series -= _median(others[:, kept], axis=0)
            yield case, True, _line(kept / (rounds - 1), _drawn_in(series))
        else:
            turns, series = _averaged(kept, _drawn_in(series))
            yield case, False, _line(turns / (rounds - 1), series, WEATHER_MEMORY)


def _rounds_with_samples(logs: Array) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(logs).all(axis=0)) if logs.size else np.zeros(logs.shape[1], dtype=bool)


def _median(logs: Array, axis: int) -> Array:
    # nanmedian takes ten times as long over small arrays, and voided samples are rare.
    return np.asarray((np.nanmedian if np.isnan(logs).any() else np.median)(logs, axis=axis))


def _drawn_in(series: Array) -> Array:
    centre = np.median(series)
    # 1.4826 turns the median absolute deviation of a normal distribution into its standard deviation.
    reach = 3 * 1.4826 * np.median(np.abs(series - centre))
    return np.clip(series, centre - reach, centre + reach) if reach else series


def _averaged(turns: NDArray[np.intp], series: Array) -> tuple[Array, Array]:
    """Times and values of at most TURNS_ALONE stretches of about equal length."""
    ends = np.linspace(0, turns.size, min(turns.size, TURNS_ALONE) + 1).astype(int)
    lengths = np.diff(ends)
    return np.add.reduceat(turns, ends[:-1]) / lengths, np.add.reduceat(series, ends[:-1]) / lengths


def _line(times: Array, series: Array, memory: float = 0.0) -> _Line:
    """The sums after whitening the series as AR(1) (Prais & Winsten 1954) and taking out its level.

    `memory` is the correlation of each value with the one before, voided turns between them or not.
    """
    columns = np.stack([series, times, np.ones(times.size)])
    columns[:, 1:] = (columns[:, 1:] - memory * columns[:, :-1]) / math.sqrt(1 - memory**2)
    level = columns[2] / np.linalg.norm(columns[2])
    y, x = columns[:2] - np.outer(columns[:2] @ level, level)
    return _Line(float(x @ x), float(x @ y), float(y @ y), times.size - 1)


def _pooled(lines: Sequence[_Line]) -> Drift | None:
    if not lines:
        return None
    xx, xy, yy = (sum(getattr(line, name) for line in lines) for name in ("xx", "xy", "yy"))
    degrees = sum(line.degrees for line in lines) - 1
    slope = xy / xx
    variance = max(0.0, yy - slope * xy) / degrees / xx
    t = slope / math.sqrt(variance) if variance else math.copysign(math.inf, slope) if slope else 0.0
    return Drift(change=math.expm1(slope), p_value=_two_sided(t, degrees))
