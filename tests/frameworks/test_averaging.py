"""Averaged weights against their formula, and in the place of the weights they average."""

import contextlib

import numpy as np
import pytest

from gnet_core.frameworks.tf.averaging import AveragedWeights
from gnet_core.frameworks.tf.step import make_train_step
from tests.frameworks.test_step import CONFIG, TinyNetwork, batch


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_the_averages_move_towards_the_weights_once_an_interval(interval):
    model = TinyNetwork(CONFIG)
    average = AveragedWeights(model, 0.3, interval)
    step = make_train_step(model, CONFIG)
    kernel = model.get_layer("trunk").kernel
    (ours,) = [one for one in average.variables if one.shape == kernel.shape]
    expected = kernel.numpy()
    for done in range(1, 7):
        step(*batch())
        average.after_step(done)
        if done % interval == 0:
            moves = done // interval
            decay = min(0.3**interval, (1 + moves) / (10 + moves))
            expected = decay * expected + (1 - decay) * kernel.numpy()
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_the_averages_hold_moving_statistics_and_no_counter():
    model = TinyNetwork(CONFIG)
    average = AveragedWeights(model, 0.9)
    floats = [variable for variable in model.variables if variable.dtype == "float32"]
    assert [tuple(one.shape) for one in average.variables] == [tuple(one.shape) for one in floats]
    assert any("moving_variance" in one.name for one in average.variables)


def test_in_place_the_network_has_the_averages_and_then_its_own_weights_again_bit_for_bit():
    model = TinyNetwork(CONFIG)
    average = AveragedWeights(model, 0.5)
    for one in average.variables:
        one.assign(one.numpy() + 1)
    before = [variable.numpy().copy() for variable in model.variables]
    with contextlib.suppress(KeyError), average.in_place():
        for ours, value in zip(model.variables, before, strict=True):
            np.testing.assert_array_equal(ours.numpy(), value + 1)
        raise KeyError
    for ours, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ours.numpy(), value)


def test_the_decay_rises_to_its_value():
    model = TinyNetwork(CONFIG)
    average = AveragedWeights(model, 0.99)
    kernel = model.get_layer("trunk").kernel
    kernel.assign(np.zeros(kernel.shape, np.float32))
    (ours,) = [one for one in average.variables if one.shape == kernel.shape]
    ours.assign(np.ones(kernel.shape, np.float32))
    average.after_step(8)
    np.testing.assert_allclose(ours.numpy(), 0.5, rtol=1e-6)
