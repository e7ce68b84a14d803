"""Whether one way to train ends as accurate as another: AS GOOD, WORSE or OPEN, each said with a known error.

The test is one of non-inferiority: Piaggio et al., "Reporting of noninferiority and equivalence randomized trials:
extension of the CONSORT 2010 statement" (JAMA 308, 2012), figure 1. A test that finds no difference shows nothing: with
few sessions it finds none between any two.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Literal

from gnet_core.stats import ratio
from gnet_core.stats.verdicts import MIN_PROCESSES

Goodness = Literal["AS GOOD", "WORSE", "OPEN"]

MIN_PAIRS = MIN_PROCESSES
"""Pairs that a verdict takes, as in all comparisons of gnet."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AccuracyComparison:
    """Accuracies at the end, variant − base in percentage points, paired by seed."""

    verdict: Goodness
    pairs: int
    difference: float | None = None
    """Mean of the pairs."""
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    """Confidence level of the interval, which shares the error of 5 % among a table's comparisons (Bonferroni)."""


def compare_accuracies(
    comparisons: Sequence[Sequence[float]], margin: float, resolution: float
) -> list[AccuracyComparison]:
    """Judge the comparisons of one table by their differences of paired sessions, in percentage points.

    AS GOOD where the t interval lies above −margin, WORSE where it lies below: of a variant that is truly worse by just
    the margin either is said with at most 2.5 %, and in a table of several comparisons with at most 2.5 % of any.
    Normally distributed differences are assumed. `resolution` is what one test image counts: accuracies move by whole
    images, so differences that happen to be equal are taken to spread by its rounding, resolution ÷ √6, at least.
    """
    family = sum(len(differences) >= MIN_PAIRS for differences in comparisons)
    confidence = 1 - (1 - ratio.CONFIDENCE) / max(1, family)
    return [_compare(differences, margin, resolution, confidence) for differences in comparisons]


def _compare(differences: Sequence[float], margin: float, resolution: float, confidence: float) -> AccuracyComparison:
    pairs = len(differences)
    if pairs < 2:
        difference = differences[0] if differences else None
        return AccuracyComparison(verdict="OPEN", pairs=pairs, difference=difference)
    mean = statistics.fmean(differences)
    spread = max(statistics.stdev(differences), resolution / math.sqrt(6))
    half = ratio.quantile(0.5 + confidence / 2, pairs - 1) * spread / math.sqrt(pairs)
    low, high = mean - half, mean + half
    verdict: Goodness = "AS GOOD" if low > -margin else "WORSE" if high < -margin else "OPEN"
    return AccuracyComparison(
        verdict=verdict if pairs >= MIN_PAIRS else "OPEN",
        pairs=pairs,
        difference=mean,
        low=low,
        high=high,
        confidence=confidence,
    )
