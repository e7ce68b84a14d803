"""GoogleNet_2: a batch-normalised GoogLeNet with two auxiliary classifiers, after a published notebook."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import KerasTensor

from gnet_core import fused
from gnet_core.config import LAYERS, MIN_IMAGE_SIZE, Layers, StepConfig, Widths, require_choice, require_whole


class Filters(NamedTuple):
    """Filter counts of one inception block; `reduce3` and `reduce5` are the 1×1 convolutions before the 3×3 and 5×5."""

    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    pool: int


# As the notebook ran: its pool projection took the 5×5-reduce width, and its own column of pool widths was never used.
PUBLISHED = {
    "3a": Filters(conv1=64, reduce3=96, conv3=128, reduce5=16, conv5=32, pool=16),
    "3b": Filters(conv1=128, reduce3=128, conv3=192, reduce5=32, conv5=64, pool=32),
    "4a": Filters(conv1=192, reduce3=96, conv3=208, reduce5=16, conv5=64, pool=16),
    "4b": Filters(conv1=160, reduce3=112, conv3=224, reduce5=24, conv5=64, pool=24),
    "4c": Filters(conv1=128, reduce3=128, conv3=256, reduce5=24, conv5=64, pool=24),
    "4d": Filters(conv1=112, reduce3=144, conv3=288, reduce5=32, conv5=64, pool=32),
    "4e": Filters(conv1=256, reduce3=160, conv3=320, reduce5=32, conv5=128, pool=32),
    "5a": Filters(conv1=256, reduce3=160, conv3=320, reduce5=32, conv5=128, pool=32),
    "5b": Filters(conv1=384, reduce3=192, conv3=384, reduce5=48, conv5=128, pool=48),
}

# Szegedy et al., "Going deeper with convolutions", arXiv 1409.4842, table 1.
PAPER = {
    "3a": Filters(conv1=64, reduce3=96, conv3=128, reduce5=16, conv5=32, pool=32),
    "3b": Filters(conv1=128, reduce3=128, conv3=192, reduce5=32, conv5=96, pool=64),
    "4a": Filters(conv1=192, reduce3=96, conv3=208, reduce5=16, conv5=48, pool=64),
    "4b": Filters(conv1=160, reduce3=112, conv3=224, reduce5=24, conv5=64, pool=64),
    "4c": Filters(conv1=128, reduce3=128, conv3=256, reduce5=24, conv5=64, pool=64),
    "4d": Filters(conv1=112, reduce3=144, conv3=288, reduce5=32, conv5=64, pool=64),
    "4e": Filters(conv1=256, reduce3=160, conv3=320, reduce5=32, conv5=128, pool=128),
    "5a": Filters(conv1=256, reduce3=160, conv3=320, reduce5=32, conv5=128, pool=128),
    "5b": Filters(conv1=384, reduce3=192, conv3=384, reduce5=48, conv5=128, pool=128),
}

TABLES: dict[Widths, dict[str, Filters]] = {"published": PUBLISHED, "paper": PAPER}


@keras.saving.register_keras_serializable(package="gnet_core")
class SwitchedDropout(keras.layers.Dropout):  # type: ignore[misc]
    """Dropout whose effective rate is `rate` · `switch`: off, the same kernels drop nothing and scale by 1.

    `switch` is a float32 variable of TensorFlow, 1 or 0, so that a traced or compiled step sees it change. It is no
    Keras weight: it is counted nowhere and saved nowhere, and a loaded layer is on.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(rate, **kwargs)
        self.switch = tf.Variable(1.0, trainable=False, name="switch")

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        rate = tf.cast(self.rate * self.switch, inputs.dtype)
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        return tf.nn.experimental.stateless_dropout(inputs, rate, seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerKit:
    """The three layers that every part is made of, with the settings that all of them share."""

    dtype: str = "float32"
    """Keras dtype policy of each layer; variables stay float32 under the mixed ones."""
    bn_momentum: float = 0.9
    layers: Layers = "keras"
    norm_before_conv3: bool = False
    """Batch normalisation between the 3×3-reduce and the 3×3, which the notebook made and then bypassed."""

    def conv(self, x: KerasTensor, filters: int, size: int, name: str, **kwargs: Any) -> KerasTensor:
        return keras.layers.Conv2D(filters, size, name=name, dtype=self.dtype, **kwargs)(x)

    def relu(self, x: KerasTensor, name: str) -> KerasTensor:
        return keras.layers.ReLU(name=name, dtype=self.dtype)(x)

    def norm_relu(self, x: KerasTensor, name: str) -> KerasTensor:
        source = fused if self.layers == "fused" else keras.layers
        x = source.BatchNormalization(momentum=self.bn_momentum, name=f"{name}_bn", dtype=self.dtype)(x)
        return self.relu(x, f"{name}_relu")

    def max_pool(self, x: KerasTensor, name: str, strides: int = 2, padding: str = "valid") -> KerasTensor:
        return keras.layers.MaxPooling2D(3, strides, padding=padding, name=name, dtype=self.dtype)(x)


def inception_layer(x: KerasTensor, filters: Filters, kit: LayerKit, name: str) -> KerasTensor:
    """One pre-activation inception block: (batch, h, w, c) → (batch, h, w, conv1 + conv3 + conv5 + pool)."""
    a = kit.norm_relu(x, f"{name}_1x1")
    a = kit.conv(a, filters.conv1, 1, f"{name}_1x1")

    b = kit.norm_relu(x, f"{name}_3x3_reduce")
    b = kit.conv(b, filters.reduce3, 1, f"{name}_3x3_reduce")
    b = kit.norm_relu(b, f"{name}_3x3") if kit.norm_before_conv3 else kit.relu(b, f"{name}_3x3_relu")
    b = kit.conv(b, filters.conv3, 3, f"{name}_3x3", padding="same")

    c = kit.norm_relu(x, f"{name}_5x5_reduce")
    c = kit.conv(c, filters.reduce5, 1, f"{name}_5x5_reduce")
    c = kit.norm_relu(c, f"{name}_5x5")
    c = kit.conv(c, filters.conv5, 5, f"{name}_5x5", padding="same")

    d = kit.max_pool(x, f"{name}_pool", strides=1, padding="same")
    d = kit.norm_relu(d, f"{name}_pool_project")
    d = kit.conv(d, filters.pool, 1, f"{name}_pool_project")

    return keras.layers.Concatenate(name=f"{name}_concat", dtype=kit.dtype)([a, b, c, d])


def classifier_layer(x: KerasTensor, classes: int, kit: LayerKit, name: str, dropout: float = 0.7) -> KerasTensor:
    """An auxiliary classifier: (batch, h, w, c) → float32 logits (batch, classes). Its pool is clipped to the map."""
    sides = (min(5, x.shape[1]), min(5, x.shape[2]))
    x = keras.layers.AveragePooling2D(sides, 3, name=f"{name}_pool", dtype=kit.dtype)(x)
    x = kit.norm_relu(x, f"{name}_project")
    x = kit.conv(x, 128, 1, f"{name}_project")
    x = keras.layers.Flatten(name=f"{name}_flatten", dtype=kit.dtype)(x)
    x = keras.layers.Dense(1024, name=f"{name}_dense", dtype=kit.dtype)(x)
    x = kit.relu(x, f"{name}_dense_relu")
    x = SwitchedDropout(dropout, name=f"{name}_dropout", dtype=kit.dtype)(x)
    return keras.layers.Dense(classes, name=f"{name}_logits", dtype="float32")(x)


@keras.saving.register_keras_serializable(package="gnet_core")
class GoogleNet_2(keras.Model):  # type: ignore[misc]  # noqa: N801 - the network's published name
    """Images (batch, h, w, 3), float32 in [0, 1] → logits (main, class_1, class_2), each float32 (batch, classes).

    The three sub-models `inception_model`, `class_1` and `class_2` share one trunk and its weights; calling the whole
    network passes over that trunk once. Raises GnetError for images under 67 pixels a side.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        widths: Widths = "published",
        layers: Layers = "keras",
        dtype: str = "float32",
        bn_momentum: float = 0.9,
        dropout: bool = True,
        as_published: bool = False,
        name: str = "googlenet_2",
    ) -> None:
        """`dtype` is each layer's policy; `dropout=False` sets every rate to 0; `as_published` ends in a ReLU."""
        for side in input_shape[:2]:
            require_whole("image_size", side, least=MIN_IMAGE_SIZE, why="a smaller image leaves no final map")
        require_choice("widths", widths, tuple(TABLES))
        require_choice("layers", layers, LAYERS)
        table = TABLES[widths]
        kit = LayerKit(dtype=dtype, bn_momentum=bn_momentum, layers=layers, norm_before_conv3=widths == "paper")
        aux_rate, main_rate = (0.7, 0.4) if dropout else (0.0, 0.0)

        inputs = keras.Input(input_shape, name="images")
        x = kit.conv(inputs, 64, 7, "stem_7x7", strides=2)  # 224 → 109
        x = kit.max_pool(kit.norm_relu(x, "stem_7x7"), "stem_pool_1")  # 54
        x = kit.conv(x, 192, 3, "stem_3x3", padding="same")
        x = kit.max_pool(kit.norm_relu(x, "stem_3x3"), "stem_pool_2")  # 26
        for block in ("3a", "3b"):
            x = inception_layer(x, table[block], kit, f"inception_{block}")
        x = kit.max_pool(x, "pool_3")  # 12
        aux = {}
        for block in ("4a", "4b", "4c", "4d", "4e"):
            x = inception_layer(x, table[block], kit, f"inception_{block}")
            if block in ("4a", "4d"):
                head = "class_1" if block == "4a" else "class_2"
                aux[head] = classifier_layer(x, classes, kit, head, aux_rate)
        x = kit.max_pool(x, "pool_4")  # 5
        for block in ("5a", "5b"):
            x = inception_layer(x, table[block], kit, f"inception_{block}")
        x = kit.norm_relu(x, "main")
        x = keras.layers.GlobalAveragePooling2D(name="main_pool", dtype=dtype)(x)
        x = SwitchedDropout(main_rate, name="main_dropout", dtype=dtype)(x)
        main = keras.layers.Dense(classes, name="main_logits", dtype="float32")(x)
        if as_published:
            main = keras.layers.ReLU(name="main_output_relu", dtype="float32")(main)

        super().__init__(inputs=inputs, outputs=(main, aux["class_1"], aux["class_2"]), name=name)
        self.inception_model = keras.Model(inputs, main, name="inception_model")
        self.class_1 = keras.Model(inputs, aux["class_1"], name="class_1")
        self.class_2 = keras.Model(inputs, aux["class_2"], name="class_2")
        self._arguments = {
            "input_shape": tuple(input_shape),
            "classes": classes,
            "widths": widths,
            "layers": layers,
            "dtype": dtype,
            "bn_momentum": bn_momentum,
            "dropout": dropout,
            "as_published": as_published,
            "name": name,
        }

    def set_dropout(self, active: bool) -> None:
        """Switch dropout on, as it is at first, or off, also in steps already traced or compiled from this network.

        Off, a training step computes what a network made with `dropout=False` computes, by the same kernels as on.
        """
        for layer in self.layers:
            if isinstance(layer, SwitchedDropout):
                layer.switch.assign(float(active))

    def get_config(self) -> dict[str, Any]:
        return dict(self._arguments)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> GoogleNet_2:  # noqa: ARG003
        return cls(**{**config, "input_shape": tuple(config["input_shape"])})


def build_model(config: StepConfig) -> GoogleNet_2:
    """The network of a case, its weights drawn from the case's seed (which becomes Keras' global seed).

    tf32 is a way for the device to multiply float32, so its layers are float32 ones.
    """
    keras.utils.set_random_seed(config.seed)
    return GoogleNet_2(
        (config.image_size, config.image_size, 3),
        config.classes,
        widths=config.widths,
        layers=config.layers,
        dtype=config.precision if config.precision.startswith("mixed_") else "float32",
        bn_momentum=config.bn_momentum,
        dropout=config.dropout,
        as_published=config.as_published,
    )
