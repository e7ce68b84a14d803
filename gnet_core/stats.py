"""The statistics of a row: plain numbers in, plain numbers out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats as distributions

LEAST_SAMPLES = {50: 1, 95: 100, 99: 1000}
"""A percentile needs some samples beyond it: five beyond the 95th, ten beyond the 99th."""


def geometric_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The t interval on the logarithms of positive values, turned back; None below two values.

    Each value stands for one process. Georges et al., "Statistically rigorous Java performance evaluation" (OOPSLA
    2007); on the logarithm because times are positive and their noise is proportional.
    """
    if len(values) < 2:
        return None
    logs = [math.log(value) for value in values]
    centre = statistics.fmean(logs)
    half = (
        float(distributions.t.ppf(0.5 + confidence / 2, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    )
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
