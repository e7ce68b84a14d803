"""The computations of Keras' layers and optimizer, on the same weights, in fewer and faster kernels of TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gnet_core.frameworks.keras_layers import LayerKit
from gnet_core.networks.builder import Tensor

CHANNEL_BLOCK = 16
"""float32 values in a 512-bit register: with other multiples a CPU's kernels fall back to a loop, in bfloat16 six times
slower."""


class BatchStatistics(NamedTuple):
    """Mean and variance of a batch's activations, for whichever normalisations share them: float32 (channels,)."""

    mean: Tensor
    variance: Tensor
    reserved: Sequence[Tensor]
    """Tensors that TensorFlow's kernel keeps for its gradient."""

    def normalise(self, x: Tensor, scale: Tensor, offset: Tensor, epsilon: float, name: str) -> Tensor:
        """x normalised by them, with the gradient of a normalisation by its batch, in a profile under `name`."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def normalised(x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
            def gradient(upstream: Tensor) -> list[Tensor]:
                kept = {f"reserve_space_{number}": kept for number, kept in enumerate(self.reserved, start=1)}
                with tf.name_scope(f"gradient_tape/{name}/"):
                    gradients = tf.raw_ops.FusedBatchNormGradV3(
                        y_backprop=upstream, x=x, scale=scale, **kept, epsilon=epsilon, is_training=True
                    )
                return list(gradients[:3])

            return _normalise(x, scale, offset, self.mean, self.variance, epsilon), gradient

        outputs: Tensor = normalised(x, scale, offset)
        return outputs


class SharedStatistics(NamedTuple):
    """Mean and variance of all replicas' activations together, float32 (channels,), with gradients through both."""

    mean: Tensor
    variance: Tensor

    def normalise(self, x: Tensor, scale: Tensor, offset: Tensor, epsilon: float, name: str) -> Tensor:  # noqa: ARG002
        """x normalised by them: by operations that have a gradient for mean and variance, which no fused kernel has."""
        outputs = tf.nn.batch_normalization(
            tf.cast(x, tf.float32), self.mean, self.variance, offset, scale, variance_epsilon=epsilon
        )
        return tf.cast(outputs, x.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FusedKit(LayerKit):
    """Computes with the layers of a network that is already made, of images (batch, height, width, channels).

    A kit is for one pass. What it does not compute by itself it leaves to the Keras layer.
    """

    layers: Mapping[str, Any]
    training: bool
    on_gpu: bool
    """Whether to take the kernels that are fast on a GPU; the results are the same but for rounding."""
    _statistics: dict[Any, BatchStatistics | SharedStatistics] = dataclasses.field(default_factory=dict, init=False)

    def layer(self, kind: Callable[..., Any], name: str, *arguments: Any, **settings: Any) -> Any:  # noqa: ARG002
        layer = self.layers[name]
        return lambda x: layer(x, training=self.training) if isinstance(layer, keras.layers.Dropout) else layer(x)

    def conv(self, x: Tensor, filters: int, size: int, name: str, **settings: Any) -> Tensor:
        layer, normalised = self.layers[name], settings.get("normalised", True)
        with tf.name_scope(name):
            x = tf.cast(x, layer.compute_dtype)
            kernel = _widened(tf.cast(layer.kernel.value, x.dtype), x.shape[-1], axis=2)
            # On a CPU as a matrix product, whose gradient by the weights is faster in float32; in bfloat16 it is not.
            # On a GPU TensorFlow computes float32 channels first, and would transpose before and after each product.
            if size == 1 and x.dtype == tf.float32 and not self.on_gpu:
                shape = (-1, *x.shape[1:3], filters)
                x = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), tf.reshape(kernel, kernel.shape[2:]))
                return tf.reshape(self._biased(x, layer, normalised=normalised), shape)
            x = tf.nn.conv2d(x, kernel, layer.strides, layer.padding.upper())
            return self._biased(x, layer, normalised=normalised)

    def _biased(self, x: Tensor, layer: Any, *, normalised: bool) -> Tensor:
        bias = tf.convert_to_tensor(layer.bias.value)
        if normalised and self._normalises_by_batch:
            return _with_no_effect(x, tf.cast(bias, x.dtype))
        if self.on_gpu and x.dtype != tf.float32:
            return _with_summed_gradient(x, bias, layer.name)
        return tf.nn.bias_add(x, tf.cast(bias, x.dtype))

    def relu(self, x: Tensor, name: str) -> Tensor:
        with tf.name_scope(name):
            return tf.nn.relu(x)

    def norm_relu(self, x: Tensor, name: str) -> Tensor:
        return self.relu(self._norm(x, self.layers[f"{name}_bn"]), f"{name}_relu")

    def norm_relu_pool(self, x: Tensor, name: str, pool: str) -> Tensor:
        # The largest of the ReLUs is the ReLU of the largest, of which there are a quarter as many.
        return self.relu(self.max_pool(self._norm(x, self.layers[f"{name}_bn"]), pool), f"{name}_relu")

    def max_pool(self, x: Tensor, name: str, strides: int = 2, padding: str = "valid") -> Tensor:
        with tf.name_scope(name):
            return tf.nn.max_pool2d(x, 3, strides, padding.upper())

    def concatenate(self, parts: list[Tensor], name: str) -> Tensor:
        """Join on channels. On a CPU zeros follow until they fill CHANNEL_BLOCK; what takes them widens its weights."""
        with tf.name_scope(name):
            missing = -sum(part.shape[-1] for part in parts) % CHANNEL_BLOCK
            if missing and not self.on_gpu:
                parts = [*parts, tf.zeros_like(parts[0][..., :missing])]
            return tf.concat(parts, axis=-1)

    @property
    def _normalises_by_batch(self) -> bool:
        norms = (layer for layer in self.layers.values() if isinstance(layer, keras.layers.BatchNormalization))
        return self.training and all(norm.trainable for norm in norms)

    def _norm(self, x: Tensor, layer: Any) -> Tensor:
        """Batch normalisation (Ioffe & Szegedy, arXiv 1502.03167), its statistics and weights in float32."""
        with tf.name_scope(layer.name):
            channels = x.shape[-1]
            scale, offset = (_widened(weights.value, channels) for weights in (layer.gamma, layer.beta))
            if not (self.training and layer.trainable):
                averages = (layer.moving_mean, layer.moving_variance)
                mean, variance = (_widened(average.value, channels) for average in averages)
                return _normalise(x, scale, offset, mean, variance, layer.epsilon)
            statistics = self._statistics.get(x.ref())
            if statistics is None and not layer.synchronized:
                outputs, statistics = _normalise_by_batch(x, scale, offset, layer.epsilon)
            else:
                statistics = statistics or _statistics_of_all_replicas(x)
                outputs = statistics.normalise(x, scale, offset, layer.epsilon, layer.name)
            self._statistics[x.ref()] = statistics
            _move(layer.moving_mean, statistics.mean, layer.momentum)
            _move(layer.moving_variance, statistics.variance, layer.momentum)
            return outputs


@keras.saving.register_keras_serializable(package="gnet_core")
class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras' Adam (Kingma & Ba, arXiv 1412.6980, its ε as Keras has it) in one kernel a variable instead of a dozen."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        steps = tf.cast(self.iterations.value + 1, tf.float32)
        beta1, beta2 = tf.constant(self.beta_1), tf.constant(self.beta_2)
        self._shared = {  # made once, not once a variable, which takes time to trace
            "beta1": beta1,
            "beta2": beta2,
            "beta1_power": tf.pow(beta1, steps),
            "beta2_power": tf.pow(beta2, steps),
            "epsilon": tf.constant(self.epsilon),
        }
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            lr=learning_rate,
            grad=gradient,
            **self._shared,
        )


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _with_no_effect(x: Tensor, bias: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """x and a bias that normalisation takes away again: its gradient is 0, where summing it up leaves rounding errors.

    A CPU's float32 kernel for both gradients of a convolution takes twice as long as the one for the filter's alone. On
    a GPU the sums were 43 % of what an H200 computed in an eager step, whose unused gradients nothing prunes.
    """
    return tf.nn.bias_add(x, bias), lambda upstream: (upstream, tf.zeros_like(bias))


def _with_summed_gradient(x: Tensor, bias: Tensor, name: str) -> Tensor:
    """x (batch, height, width, channels) of 16 bits and a bias (channels,) of float32, whose gradient is summed there.

    TensorFlow's own kernel adds up with atomic operations, in 16 bits at last (BiasGradNHWC_SharedAtomics), a seventh
    of a step's work on an H200; in float32 it takes next to nothing. In a profile the gradient stands under `name`.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def biased(x: Tensor, bias: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
            with tf.name_scope(f"gradient_tape/{name}/"):
                return upstream, tf.reduce_sum(tf.cast(upstream, tf.float32), axis=(0, 1, 2))

        return tf.nn.bias_add(x, tf.cast(bias, x.dtype)), gradient

    outputs: Tensor = biased(x, bias)
    return outputs


def _normalise(x: Tensor, scale: Tensor, offset: Tensor, mean: Tensor, variance: Tensor, epsilon: float) -> Tensor:
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=epsilon, is_training=False
    ).y


def _normalise_by_batch(x: Tensor, scale: Tensor, offset: Tensor, epsilon: float) -> tuple[Tensor, BatchStatistics]:
    none = tf.zeros((0,))
    result = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=none, variance=none, epsilon=epsilon, is_training=True
    )
    # The kernel hands out the unbiased variance, n ÷ (n - 1) times the one that Keras' average holds.
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    variance = tf.stop_gradient(result.batch_variance) * ((count - 1) / count)
    return result.y, BatchStatistics(tf.stop_gradient(result.batch_mean), variance, result[3:6])


def _statistics_of_all_replicas(x: Tensor) -> SharedStatistics:
    """Those of x (batch, height, width, channels) on all replicas, which have as many values each."""
    replicas = tf.distribute.get_replica_context()
    values, axes = tf.cast(x, tf.float32), (0, 1, 2)
    own = [tf.reduce_mean(values, axes), tf.reduce_mean(tf.square(values), axes)]
    parts = [part / replicas.num_replicas_in_sync for part in own]
    mean, mean_square = replicas.all_reduce(tf.distribute.ReduceOp.SUM, parts)
    # Rounding makes the difference of nearly equal numbers fall below zero.
    return SharedStatistics(mean, tf.maximum(mean_square - tf.square(mean), 0.0))


def _move(average: Any, value: Tensor, momentum: float) -> None:
    channels = average.shape[0]
    value = value if value.shape[0] == channels else value[:channels]
    average.value.assign_sub((average.value - value) * (1 - momentum))


def _widened(weights: Tensor, channels: int, axis: int = 0) -> Tensor:
    """Zeros appended for the channels that only fill a block."""
    missing = channels - weights.shape[axis]
    if not missing:
        return tf.convert_to_tensor(weights)
    # Not by tf.pad: TensorFlow 2.21's oneDNN pass takes the Pad of a filter for that of the images, merges it into a
    # convolution of 16 bits whose gradient nobody asks for, and aborts the process (mkl_layout_pass.cc).
    shape = [missing if side == axis else length for side, length in enumerate(weights.shape)]
    return tf.concat([weights, tf.zeros(shape, weights.dtype)], axis)
