"""The layers that the network is made of, each by its name: Keras' own, as a user would write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Self

import keras

from gnet_core.config import StepConfig
from gnet_core.networks.builder import Kit, Tensor


@keras.saving.register_keras_serializable(package="gnet_core")
class SwitchedDropout(keras.layers.Dropout):  # type: ignore[misc]
    """Dropout whose effective rate is `rate` · `switch`: off, the same kernels drop nothing and scale by 1.

    `switch` is a float32 variable of TensorFlow, 1 or 0, so that a traced or compiled step sees it change. It is no
    Keras weight: it is counted nowhere and saved nowhere, and a loaded layer is on.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        import tensorflow as tf  # here, since Keras' other backends make their layers with this module as well

        super().__init__(rate, **kwargs)
        self.switch = tf.Variable(1.0, trainable=False, name="switch")

    def call(self, inputs: Any, training: bool = False) -> Any:
        import tensorflow as tf

        if not training or self.rate == 0:
            return inputs
        rate = tf.cast(self.rate * self.switch, inputs.dtype)
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        return tf.nn.experimental.stateless_dropout(inputs, rate, seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerKit(Kit):
    """Makes Keras' layers. `dtype` is the policy of each; variables stay float32 under the mixed ones."""

    dtype: str = "float32"
    bn_momentum: float = 0.9
    synchronised: bool = False
    """Whether batch normalisation has the statistics of all replicas' images and not of its own replica's alone."""

    @classmethod
    def of(cls, config: StepConfig) -> Self:
        """The kit of a case."""
        dtype = "float32" if config.compute_dtype == "float32" else f"mixed_{config.compute_dtype}"
        return cls(dtype=dtype, bn_momentum=config.bn_momentum, synchronised=config.synchronises)

    def layer(self, kind: Callable[..., Any], name: str, *arguments: Any, **settings: Any) -> Any:
        return kind(*arguments, **{"name": name, "dtype": self.dtype, **settings})

    def conv(self, x: Tensor, filters: int, size: int, name: str, **settings: Any) -> Tensor:
        settings.pop("normalised", None)  # matters to a kit that computes by itself
        return self.layer(keras.layers.Conv2D, name, filters, size, **settings)(x)

    def relu(self, x: Tensor, name: str) -> Tensor:
        return self.layer(keras.layers.ReLU, name, dtype=x.dtype)(x)

    def norm_relu(self, x: Tensor, name: str) -> Tensor:
        settings = {"momentum": self.bn_momentum, "synchronized": self.synchronised}
        x = self.layer(keras.layers.BatchNormalization, f"{name}_bn", **settings)(x)
        return self.relu(x, f"{name}_relu")

    def max_pool(self, x: Tensor, name: str, strides: int = 2, padding: str = "valid") -> Tensor:
        return self.layer(keras.layers.MaxPooling2D, name, 3, strides, padding=padding)(x)

    def average_pool(self, x: Tensor, name: str, size: int, strides: int) -> Tensor:
        sides = (min(size, x.shape[1]), min(size, x.shape[2]))
        return self.layer(keras.layers.AveragePooling2D, name, sides, strides)(x)

    def global_average_pool(self, x: Tensor, name: str) -> Tensor:
        return self.layer(keras.layers.GlobalAveragePooling2D, name)(x)

    def concatenate(self, parts: list[Tensor], name: str) -> Tensor:
        return self.layer(keras.layers.Concatenate, name)(parts)

    def flatten(self, x: Tensor, name: str) -> Tensor:
        return self.layer(keras.layers.Flatten, name)(x)

    def dense(self, x: Tensor, units: int, name: str) -> Tensor:
        return self.layer(keras.layers.Dense, name, units)(x)

    def dropout(self, x: Tensor, rate: float, name: str) -> Tensor:
        return self.layer(SwitchedDropout, name, rate)(x)

    def logits(self, x: Tensor, classes: int, name: str) -> Tensor:
        return self.layer(keras.layers.Dense, name, classes, dtype="float32")(x)
