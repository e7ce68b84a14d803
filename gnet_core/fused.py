"""Layers that compute what Keras' own compute, in fewer kernels. Their weights are the same and change places freely.

Each bears the name of what it stands in for, by which Keras finds a layer's weights in a file.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="gnet_core")
class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras' BatchNormalization of NHWC images by TensorFlow's fused kernel, forward and backward.

    Input and output are (batch, height, width, channels) in the layer's compute dtype; scale, offset and statistics are
    float32 (Ioffe & Szegedy, arXiv 1502.03167). Keras spreads the same over a dozen kernels, each of which goes through
    memory.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if mask is not None:
            raise ValueError("batch normalisation takes no mask")
        if not training or not self.trainable:
            return self._normalised(inputs, self.moving_mean, self.moving_variance, of_batch=False)[0]
        outputs, mean, variance = self._normalised(inputs, (), (), of_batch=True)
        # The kernel hands out the unbiased variance, n ÷ (n - 1) times the one that Keras' average holds.
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance * ((count - 1) / count))
        return outputs

    def _normalised(self, inputs: Any, mean: Any, variance: Any, *, of_batch: bool) -> tuple[Any, Any, Any]:
        """Outputs, mean and variance: the given statistics, or the batch's own, for which none are given."""
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.convert_to_tensor(mean, tf.float32),
            variance=tf.convert_to_tensor(variance, tf.float32),
            epsilon=self.epsilon,
            is_training=of_batch,
        )
        return outputs, mean, variance

    def _move(self, average: Any, value: Any) -> None:
        average.assign(average * self.momentum + tf.stop_gradient(value) * (1 - self.momentum))
