"""The learning rate by steps, and momenta that fit the length of a run."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.training.recipe import PLAIN, RECIPE, Recipe, recipe_of

CASE = StepConfig(learning_rate=0.2)


def rates(recipe: Recipe, steps: int) -> list[float]:
    return [recipe.learning_rate(CASE, step, steps) for step in range(1, steps + 1)]


def test_the_learning_rate_rises_linearly_and_falls_along_half_a_cosine() -> None:
    recipe = Recipe(warmup=0.2, final_learning_rate=0.1)
    curve = rates(recipe, 100)
    assert curve[:20] == pytest.approx([0.01 * step for step in range(1, 21)])
    assert curve[59] == pytest.approx(0.2 * 0.55)  # half way down
    assert curve[-1] == pytest.approx(0.02)
    assert curve[19:] == sorted(curve[19:], reverse=True)


def test_a_constant_schedule_keeps_the_learning_rate_after_its_warmup() -> None:
    assert rates(Recipe(schedule="constant", warmup=0.5), 4) == pytest.approx([0.1, 0.2, 0.2, 0.2])
    assert rates(PLAIN, 3) == [0.2, 0.2, 0.2]


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_shortest_runs_have_a_learning_rate_at_each_step(steps: int) -> None:
    assert all(0 < rate <= 0.2 for rate in rates(RECIPE, steps))


@pytest.mark.parametrize("steps", [1, 10, 220, 440, 9000, 10**6])
def test_the_time_constants_are_well_below_the_number_of_steps(steps: int) -> None:
    for momentum in (RECIPE.bn_momentum(CASE, steps), RECIPE.average_decay(steps)):
        assert 0.5 <= momentum < 1
        assert 1 / (1 - momentum) <= max(2.0, steps / 20 + 1e-9)


@pytest.mark.parametrize(("steps", "interval"), [(1, 1), (99, 1), (250, 2), (440, 4), (800, 8), (10**6, 8)])
def test_averages_move_a_hundred_times_in_a_run_or_in_each_of_its_steps(steps: int, interval: int) -> None:
    assert RECIPE.average_interval(steps) == interval


def test_without_the_fit_the_momentum_is_the_cases() -> None:
    assert PLAIN.bn_momentum(StepConfig(bn_momentum=0.3), 1000) == 0.3


def test_a_plain_recipe_does_not_depend_on_the_length_of_the_run_and_each_other_does() -> None:
    assert not PLAIN.depends_on_length
    for changes in ({"schedule": "cosine"}, {"warmup": 0.1}, {"fit_bn_momentum": True}, {"average": True}):
        assert dataclasses.replace(PLAIN, **changes).depends_on_length


def test_as_published_nothing_of_a_recipe_is_left() -> None:
    assert recipe_of(StepConfig(as_published=True), RECIPE) == PLAIN
    assert recipe_of(StepConfig(), RECIPE) == RECIPE


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("schedule", "linear", "'linear' is unknown; use one of cosine, constant"),
        ("warmup", 1, "1 will not do; use a fraction from 0 to below 1"),
        ("warmup", -0.1, "-0.1 will not do"),
        ("final_learning_rate", 1.5, "1.5 will not do; use a fraction from 0 to 1"),
        ("label_smoothing", "much", "'much' will not do; use a fraction"),
        ("label_smoothing", True, "True will not do"),
        ("weight_decay", -1, "-1 will not do; use a number of at least 0"),
        ("weight_decay", float("nan"), "nan will not do"),
        ("weight_decay", 10**400, "will not do"),
        ("average", 1, "1 will not do; use true or false"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_field(field: str, value: Any, complaint: str) -> None:
    with pytest.raises(GnetError, match=rf"^{field}: .*{complaint}"):
        Recipe(**{field: value})
