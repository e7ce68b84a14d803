"""AS GOOD, WORSE and OPEN: the error of each, by simulation, and what is never said."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gnet_core.stats.noninferiority import compare_accuracies

TRIALS = 2000
NOISE = 3 * math.sqrt(0.025 * 0.975 / TRIALS)
"""Three standard errors of a share of 2.5 %."""


def verdicts(true_difference: float, pairs: int, comparisons: int = 1, spread: float = 0.3) -> list[list[str]]:
    """Of each trial the verdicts at a margin of half a point."""
    random = np.random.default_rng(pairs + comparisons)
    samples = random.normal(true_difference, spread, (TRIALS, comparisons, pairs))
    return [[one.verdict for one in compare_accuracies(trial, 0.5, 1e-9)] for trial in samples.tolist()]


def share(trials: list[list[str]], verdict: str) -> float:
    return float(np.mean([verdict in said for said in trials]))


@pytest.mark.parametrize("pairs", [3, 5, 10])
def test_of_a_precision_that_is_worse_by_the_margin_neither_verdict_is_said_too_often(pairs: int) -> None:
    trials = verdicts(-0.5, pairs)
    assert share(trials, "AS GOOD") <= 0.025 + NOISE
    assert share(trials, "WORSE") <= 0.025 + NOISE


def test_the_error_is_that_of_the_whole_table() -> None:
    trials = verdicts(-0.5, pairs=4, comparisons=3)
    assert share(trials, "AS GOOD") <= 0.025 + NOISE


def test_equal_precisions_are_as_good_once_there_are_enough_seeds_and_one_that_is_a_point_worse_is_worse() -> None:
    assert share(verdicts(0.0, pairs=10), "AS GOOD") > 0.95
    assert share(verdicts(-1.0, pairs=10), "WORSE") > 0.95
    assert share(verdicts(0.0, pairs=3, spread=1.0), "OPEN") > 0.8


@pytest.mark.parametrize("differences", [[], [0.0], [2.0, 2.0]])
def test_fewer_than_three_pairs_have_no_verdict(differences: list[float]) -> None:
    (found,) = compare_accuracies([differences], 0.5, 0.1)
    assert found.verdict == "OPEN"
    assert found.pairs == len(differences)
    assert (found.low is None) == (len(differences) < 2)


def test_differences_that_happen_to_be_equal_are_no_certainty() -> None:
    (coarse,) = compare_accuracies([[0.0, 0.0, 0.0]], 0.5, resolution=2.0)
    (fine,) = compare_accuracies([[0.0, 0.0, 0.0]], 0.5, resolution=0.1)
    assert (coarse.verdict, fine.verdict) == ("OPEN", "AS GOOD")
    assert coarse.low == pytest.approx(-4.302653 * 2 / math.sqrt(6) / math.sqrt(3))


def test_what_cannot_be_judged_takes_no_share_of_the_error() -> None:
    alone = compare_accuracies([[0.1, -0.1, 0.0]], 0.5, 0.1)[0]
    beside, other = compare_accuracies([[0.1, -0.1, 0.0], [0.0]], 0.5, 0.1)
    assert beside == alone
    assert alone.confidence == pytest.approx(0.95)
    assert other.confidence is None
