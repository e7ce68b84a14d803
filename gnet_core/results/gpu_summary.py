"""What the turns of a run tell of its GPU: the median turn, the lowest and the highest, and what lowered its clocks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from gnet_core.machine.gpu_conditions import POWER_CAP

SETTLED = 0.04
"""As a fraction, how far a clock in the first quarter of a block may be from the rest's. That much there is 1 % of the
block's time."""

_COLUMNS = [
    *("gpu_sm_clock_hz", "gpu_sm_clock_change", "gpu_power_watts", "gpu_power_limit_watts", "gpu_temperature_celsius"),
    *("gpu_power_cap_share", "gpu_throttle_reasons"),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over turns, each of which has one of its own."""

    median: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuSummary:
    """A GPU over some turns. None is what none of them tells."""

    turns: int
    """That were read while their blocks ran."""
    sm_clock_hz: Spread | None
    power_watts: Spread | None
    temperature_celsius: Spread | None
    power_limit_watts: Spread | None
    power_cap_share: float | None
    """Of the blocks' time, for how much the power limit lowered the clocks: the mean over turns."""
    lowered_turns: Mapping[str, int]
    """In how many turns each of the other reasons did."""
    unsettled_turns: int
    """In which the clock had not settled."""
    settling_turns: int
    """Of which that is known."""


def summary(turns: pd.DataFrame) -> GpuSummary | None:
    """Of turns as `turns.read_turns` reads them; None where the GPU was read during none, as in a run of an older gnet,
    which looked at it only once it was idle again.
    """
    if "gpu_samples" not in turns:
        return None
    turns = turns[turns["gpu_samples"] > 0].reindex(columns=_COLUMNS)
    if turns.empty:
        return None
    shares, changes = turns["gpu_power_cap_share"].dropna(), turns["gpu_sm_clock_change"].dropna()
    reasons = Counter(reason for told in turns["gpu_throttle_reasons"].dropna() for reason in told.split(", "))
    del reasons[POWER_CAP]
    return GpuSummary(
        turns=len(turns),
        sm_clock_hz=_spread(turns["gpu_sm_clock_hz"]),
        power_watts=_spread(turns["gpu_power_watts"]),
        temperature_celsius=_spread(turns["gpu_temperature_celsius"]),
        power_limit_watts=_spread(turns["gpu_power_limit_watts"]),
        power_cap_share=float(shares.mean()) if len(shares) else None,
        lowered_turns=dict(reasons.most_common()),
        unsettled_turns=int((changes.abs() > SETTLED).sum()),
        settling_turns=len(changes),
    )


def _spread(figures: pd.Series[float]) -> Spread | None:
    told = figures.dropna()
    if told.empty:
        return None
    return Spread(median=float(told.median()), low=float(told.min()), high=float(told.max()))
