"""Equal work: the losses of a case on its way, judged against float32's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from gnet_core.config import PRECISIONS, Precision, require_choice

TOLERANCE: dict[Precision, tuple[float, ...]] = {
    "float32": (0.002, 0.04, 0.4),
    "tf32": (0.02, 0.12, 0.5),
    "mixed_bfloat16": (0.08, 0.12, 0.5),
    "mixed_float16": (0.02, 0.12, 0.5),
}
"""How far the loss after 0, 1, 2 updates may be from float32's, relative to it: about twice what sound steps showed.

Measured on a CPU at batch 8, images of 96 and 224 pixels, against float32 as a graph with the same seed: eager and XLA
were up to 0.0001 %, 1.0 % and 21 % off, bfloat16 3.4 %, 4.0 % and 27 %, float16 0.2 %, 5.5 % and 13 %. tf32, not
measured, rounds its operands as finely as float16 and is given its tolerances. There is no fourth entry: Adam's first
steps are nearly the sign of the gradient, so that rounding noise moves weights by whole steps, and after 3 updates
XLA's float32 was 33 % off. None of these tolerances has been measured on a GPU yet: what is judged there says so.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """The result of comparing a loss trajectory with that of float32."""

    within: bool
    """Whether every loss is finite and every judged one within its tolerance."""
    deviation: float | None
    """The largest |loss / reference - 1| among the judged entries; None where there was none to compare."""
    reason: str = ""
    """Why it is not within tolerance, in one sentence; empty where it is."""


def judge_trajectory(
    losses: Sequence[float | None], reference: Sequence[float | None], precision: Precision, device: str = "cpu"
) -> Judgement:
    """Compare losses with float32's of the same seed, batch, batch size and image size, both with dropout off.

    Entry n of either is the loss after n applied updates; None or a number that is not finite stands for a loss that
    was none. Entries after the last tolerance are not compared, but must be finite too; a shorter trajectory, such as
    that of a step without an optimizer, is compared as far as both go. `device` is the one that both were computed on.
    Raises GnetError for an unknown precision.
    """
    require_choice("precision", precision, PRECISIONS)
    pairs = list(zip(losses, reference, TOLERANCE[precision], strict=False))
    for whose, values in (("", losses), (" of float32", reference[: len(pairs)])):
        if (entry := _first_not_finite(values)) is not None:
            reason = f"The loss{whose} after {entry} updates is not finite."
            return Judgement(within=False, deviation=None, reason=reason)
    if not pairs:
        return Judgement(within=False, deviation=None, reason="There is no loss to compare with float32's.")
    deviations = [_deviation(loss, base) for loss, base, _ in pairs]
    for updates, (deviation, (loss, base, allowed)) in enumerate(zip(deviations, pairs, strict=True)):
        if deviation > allowed:
            reason = (
                f"The loss after {updates} updates is {loss:.4g} where float32 has {base:.4g}: "
                f"{deviation:.1%} off, and {precision} may be {allowed:.1%} off"
                f"{'' if device == 'cpu' else ' on a CPU; on a GPU that tolerance has not been measured'}."
            )
            return Judgement(within=False, deviation=max(deviations), reason=reason)
    return Judgement(within=True, deviation=max(deviations))


def judge_trajectories(
    processes: Iterable[Sequence[float | None]],
    reference: Sequence[float | None],
    precision: Precision,
    device: str = "cpu",
) -> Judgement:
    """Judge each process' trajectory; return the first that is not within tolerance, else the one furthest off."""
    judged = [judge_trajectory(losses, reference, precision, device) for losses in processes]
    return min(judged, key=lambda judgement: (judgement.within, -(judgement.deviation or 0.0)))


def share_of_tolerance(
    losses: Sequence[float | None], reference: Sequence[float | None], precision: Precision
) -> float | None:
    """The largest deviation of a trajectory from float32's as a share of what its entry may deviate by: 1 is as far as
    `judge_trajectory` lets it be. None where there is nothing to compare, and where a loss is not finite.
    """
    pairs = list(zip(losses, reference, TOLERANCE[precision], strict=False))
    if _first_not_finite([loss for pair in pairs for loss in pair[:2]]) is not None:
        return None
    return max((_deviation(loss, base) / allowed for loss, base, allowed in pairs), default=None)


def _first_not_finite(losses: Sequence[float | None]) -> int | None:
    """The first entry that is missing or not finite."""
    return next((entry for entry, loss in enumerate(losses) if loss is None or not math.isfinite(loss)), None)


def _deviation(loss: float | None, base: float | None) -> float:
    assert loss is not None
    assert base is not None
    return abs(loss / base - 1) if base else math.inf if loss else 0.0
