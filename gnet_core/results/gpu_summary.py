"""A run's GPU over its turns: the median turn, the lowest and the highest, and what lowered its clocks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from gnet_core.machine.gpu_conditions import POWER_CAP

SETTLED = 0.04
"""As a fraction, how far a clock in the first quarter of a block may be from the rest's. That much there is 1 % of the
block's time."""

_SPREADS = ("sm_clock_hz", "power_watts", "temperature_celsius", "power_limit_watts")
_OTHERS = ("gpu_sm_clock_change", "gpu_power_cap_share", "gpu_throttle_reasons")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over turns, each of which has one of its own."""

    median: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuSummary:
    """A GPU over some turns. None is what was read in none of them."""

    turns: int
    """Turns in which it was read while their blocks ran."""
    sm_clock_hz: Spread | None
    power_watts: Spread | None
    temperature_celsius: Spread | None
    power_limit_watts: Spread | None
    power_cap_share: float | None
    """Share of the blocks' time in which the power limit lowered the clocks, 0 to 1: the mean over turns."""
    lowered_turns: Mapping[str, int]
    """Turns in which each of the other reasons did."""
    unsettled_turns: int
    """Turns in which the clock had not settled."""
    settling_turns: int
    """Turns in which that is known."""


def summary(turns: pd.DataFrame) -> GpuSummary | None:
    """The GPU over turns (see `turns.read_turns`); None where it was read during none, as in a run of an older gnet."""
    if "gpu_samples" not in turns:
        return None
    turns = turns[turns["gpu_samples"] > 0].reindex(columns=[*(f"gpu_{name}" for name in _SPREADS), *_OTHERS])
    if turns.empty:
        return None
    shares, changes = turns["gpu_power_cap_share"].dropna(), turns["gpu_sm_clock_change"].dropna()
    reasons = Counter(reason for cell in turns["gpu_throttle_reasons"].dropna() for reason in cell.split(", "))
    del reasons[POWER_CAP]
    return GpuSummary(
        turns=len(turns),
        power_cap_share=float(shares.mean()) if len(shares) else None,
        lowered_turns=dict(reasons.most_common()),
        unsettled_turns=int((changes.abs() > SETTLED).sum()),
        settling_turns=len(changes),
        **{name: _spread(turns[f"gpu_{name}"].dropna()) for name in _SPREADS},
    )


def _spread(figures: pd.Series[float]) -> Spread | None:
    if figures.empty:
        return None
    return Spread(median=float(figures.median()), low=float(figures.min()), high=float(figures.max()))
