"""Losses of the real network at batch 8, images of 96 pixels (LARGE: 224), are told from those of faulty steps."""

import math

import pytest

from gnet_core.config import PRECISIONS, GnetError
from gnet_core.stats.losses import TOLERANCE, judge_trajectory

FLOAT32 = (6.9489, 4.9316, 2.9924, 1.0804)
OTHER_SEED = (6.2388, 5.2025, 3.0224, 1.0511)
LARGE = (6.5565, 2.2404, 0.4510, 0.0761)


@pytest.mark.parametrize(
    ("precision", "reference", "losses"),
    [
        ("float32", FLOAT32, FLOAT32),
        ("float32", FLOAT32, (6.9489, 4.9317, 2.9910, 1.1314)),  # eager
        ("float32", FLOAT32, (6.9489, 4.9821, 3.0294, 1.0852)),  # XLA
        ("float32", OTHER_SEED, (6.2388, 5.2022, 2.9458, 1.0262)),  # eager
        ("float32", OTHER_SEED, (6.2388, 5.1636, 3.0647, 1.2702)),  # XLA
        ("mixed_bfloat16", FLOAT32, (6.9219, 4.9089, 2.8385, 1.1711)),  # graph
        ("mixed_bfloat16", FLOAT32, (6.9062, 4.7364, 2.6205, 1.1463)),  # XLA
        ("mixed_bfloat16", OTHER_SEED, (6.0652, 5.2356, 2.4493, 0.9802)),  # graph
        ("mixed_bfloat16", OTHER_SEED, (6.0265, 5.2315, 2.6793, 1.0647)),  # XLA
        ("float32", LARGE, (6.5565, 2.2404, 0.4512, 0.0756)),  # eager
        ("float32", LARGE, (6.5565, 2.2175, 0.3566, 0.0507)),  # XLA
        ("mixed_bfloat16", LARGE, (6.5830, 2.1973, 0.3302, 0.0231)),  # graph
        ("mixed_float16", FLOAT32, (6.9435, 5.0142, 2.7387, 1.2280)),  # graph
        ("mixed_float16", LARGE, (6.5563, 2.2808, 0.3933, 0.0855)),  # graph
        ("mixed_float16", OTHER_SEED, (6.2275, 5.4892, 2.6778, 1.0739)),  # graph
    ],
)
def test_what_sound_steps_gave_is_within_tolerance(precision, reference, losses):
    judgement = judge_trajectory(losses, reference, precision)
    assert judgement.within, judgement.reason
    assert judgement.reason == ""


FAULTS = {
    "learning rate × 10": (6.9489, 4.6187, 5.5783),
    "learning rate × 3": (6.9489, 3.7412, 0.8905),
    "weights that stay": (6.9489, 6.9489, 6.9489),
    "gradient of the wrong sign": (6.9489, 8.3446, 11.2754),
    "block 4c of zeros": (6.1991, 5.6296, 5.1571),
    "no auxiliary losses": (4.5619, 3.0259, 1.6370),
}
SMALL_FAULTS = {
    "labels shifted by one": (6.7547, 5.5014, 2.7386),
    "one convolution of zeros": (6.6848, 5.1990, 2.8074),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_faulty_steps_gave_is_out_of_every_precisions_tolerance(precision, fault):
    assert not judge_trajectory(FAULTS[fault], FLOAT32, precision).within


@pytest.mark.parametrize("fault", SMALL_FAULTS)
def test_a_small_fault_is_out_of_float32s_tolerance(fault):
    assert not judge_trajectory(SMALL_FAULTS[fault], FLOAT32, "float32").within


def test_the_deviation_is_the_largest_of_the_judged_entries():
    assert judge_trajectory((2.0, 2.04, 9.0), (2.0, 2.0, 9.0), "float32").deviation == pytest.approx(0.02)
    assert judge_trajectory((*FLOAT32[:3], 99.0), FLOAT32, "float32").deviation == 0.0


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
@pytest.mark.parametrize("entry", [0, 5])
def test_a_loss_that_is_not_finite_is_invalid_wherever_it_stands(bad, entry):
    losses: list[float | None] = [1.0] * 6
    losses[entry] = bad
    judgement = judge_trajectory(losses, [1.0] * 6, "mixed_bfloat16")
    assert not judgement.within
    assert judgement.reason == f"The loss after {entry} updates is not finite."


def test_a_reference_that_is_not_finite_is_reported():
    assert "float32 after 1 updates" in judge_trajectory((1.0, 1.0), (1.0, None), "float32").reason


def test_a_step_without_updates_is_compared_at_its_one_entry():
    assert judge_trajectory(FLOAT32[:1], FLOAT32, "float32").within
    assert not judge_trajectory((), FLOAT32, "float32").within


def test_the_reason_names_the_step_both_losses_and_what_is_allowed():
    reason = judge_trajectory(FAULTS["weights that stay"], FLOAT32, "float32").reason
    allowed = TOLERANCE["float32"][1]
    assert reason == (
        f"The loss after 1 updates is 6.949 where float32 has 4.932: 40.9% off, and float32 may be {allowed:.1%} off."
    )


def test_on_a_gpu_the_reason_says_whose_tolerance_it_is():
    reason = judge_trajectory(FAULTS["weights that stay"], FLOAT32, "tf32", "gpu:0").reason
    assert reason.endswith("tf32 may be 12.0% off on a CPU; on a GPU that tolerance has not been measured.")


def test_an_unknown_precision_is_refused():
    with pytest.raises(GnetError, match="precision: 'float64'"):
        judge_trajectory(FLOAT32, FLOAT32, "float64")  # type: ignore[arg-type]
