"""The median of values that may be endless, as times are to what was never reached, with an interval that assumes
nothing of how they are distributed.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from scipy import special

from gnet_core.stats.ratio import CONFIDENCE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Median:
    """A median with its interval between two of the values; inf is what was never reached."""

    value: float
    low: float
    high: float
    coverage: float
    """Probability with which such an interval covers the true median, whatever the distribution."""


def median(values: Sequence[float]) -> Median:
    """The median of at least one value, between the k-th smallest and the k-th largest.

    k is the largest with which the interval covers the true median with at least 95 %, or 1 where none does: of n
    independent values it misses with the probability 2·P(Bin(n, 1/2) < k), as fewer than k of them fall on one side of
    the median (David & Nagaraja, "Order Statistics", 3rd edition, section 7.1). That is 75 % of three values, and above
    95 % from six on.
    """
    ordered = sorted(values)
    count = len(ordered)
    place = max([1, *(k for k in range(1, (count + 1) // 2 + 1) if _coverage(count, k) >= CONFIDENCE)])
    return Median(
        value=statistics.median(ordered),
        low=ordered[place - 1],
        high=ordered[count - place],
        coverage=_coverage(count, place),
    )


def _coverage(count: int, place: int) -> float:
    tail = sum(special.comb(count, fewer, exact=True) for fewer in range(place))
    return 1 - 2 * tail / math.pow(2, count) if 2 * place <= count + 1 else 0.0
