"""Which sessions there are and the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")


def in_turns(cases: Sequence[Case], seeds: Sequence[int]) -> list[tuple[Case, int]]:
    """Each case with each seed: a round a seed, in which all cases run one after the other.

    Each round begins one case further on, so that a case stands in each place of a round equally often over as many
    rounds as there are cases: a machine that warms up or slows down within a round favours none.
    """
    return [
        (cases[(place + number) % len(cases)], seed) for number, seed in enumerate(seeds) for place in range(len(cases))
    ]
