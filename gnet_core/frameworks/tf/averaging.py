"""Averaged weights: exponential moving averages beside a network, which take its weights' place to be tested."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gnet_core.networks.builder import Tensor


class AveragedWeights:
    """Averages of all float32 variables of a network, batch normalisation's moving statistics included.

    Statistics that belong to the weights of the last step alone would not fit averaged ones. Dropout's seeds, which are
    counters, are left out.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self._decay = decay
        self._weights = [variable for variable in model.variables if variable.dtype == "float32"]
        self.variables = [
            keras.Variable(weight.numpy(), trainable=False, dtype="float32", name=f"average_of_{weight.name}")
            for weight in self._weights
        ]

    def update(self, steps: Tensor) -> None:
        """Move the averages towards the weights after so many steps; part of a train step.

        The decay rises from 0.1 to its value, as tf.train.ExponentialMovingAverage's does with num_updates: the first
        weights, which are random, are soon forgotten.
        """
        done = tf.cast(steps, tf.float32)
        moved = 1 - tf.minimum(self._decay, (1 + done) / (10 + done))
        with tf.name_scope("average"):  # so that a profile can tell it apart
            for average, weight in zip(self.variables, self._weights, strict=True):
                average.value.assign_sub((average.value - weight.value) * moved)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The network with the averages as its weights while the block runs, and then with its own again."""
        kept = [np.array(weight.numpy()) for weight in self._weights]  # copies: a tensor's memory may be used again
        try:
            for weight, average in zip(self._weights, self.variables, strict=True):
                weight.assign(average.numpy())
            yield
        finally:
            for weight, value in zip(self._weights, kept, strict=True):
                weight.assign(value)
