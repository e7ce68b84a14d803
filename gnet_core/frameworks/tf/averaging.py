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

    They move once in so many steps and not in each: some hundred variables are as many small kernels, which took a
    third of a step on a GPU that had images of 72 pixels.
    """

    def __init__(self, model: Any, decay: float, interval: int = 1) -> None:
        """`decay` is the share that an average keeps of itself in a step; they move after every `interval` steps."""
        self._decay, self._interval = decay**interval, interval
        self._weights = [variable for variable in model.variables if variable.dtype == "float32"]
        self.variables = [
            keras.Variable(weight.numpy(), trainable=False, dtype="float32", name=f"average_of_{weight.name}")
            for weight in self._weights
        ]
        # Traced here, so that no step takes longer by it.
        self._move = tf.function(self._moved, autograph=False).get_concrete_function(tf.TensorSpec((), tf.float32))

    def after_step(self, number: int) -> None:
        """Move the averages towards the weights, where it is their turn after step 1, 2, …

        The decay rises from 0.2 to its value, as tf.train.ExponentialMovingAverage's does with num_updates: the first
        weights, which are random, are soon forgotten.
        """
        moves, rest = divmod(number, self._interval)
        if not rest:
            self._move(tf.constant(1 - min(self._decay, (1 + moves) / (10 + moves)), tf.float32))

    def _moved(self, share: Tensor) -> None:
        for average, weight in zip(self.variables, self._weights, strict=True):
            average.value.assign_sub((average.value - weight.value) * share)

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
