"""GoogleNet_2 in Keras on TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from gnet_core.config import LAYERS, MIN_IMAGE_SIZE, Layers, StepConfig, Widths, require_choice, require_whole
from gnet_core.frameworks.keras_layers import LayerKit, SwitchedDropout
from gnet_core.frameworks.tf.fused import FusedKit
from gnet_core.networks.builder import Tensor
from gnet_core.networks.googlenet import TABLES, Architecture
from gnet_core.system import settings

settings.require_keras_backend("tensorflow")


@keras.saving.register_keras_serializable(package="gnet_core")
class GoogleNet_2(keras.Model):  # type: ignore[misc]  # noqa: N801 - the network's published name
    """Images (batch, h, w, 3), float32 in [0, 1] → logits (main, class_1, class_2), each float32 (batch, classes).

    The three sub-models `inception_model`, `class_1` and `class_2` share one trunk and its weights; calling the whole
    network passes over that trunk once. `layers="fused"` changes how the whole network computes, neither its layers nor
    its weights. Raises GnetError for images under 67 pixels a side.

    >>> import numpy as np
    >>> from gnet_core import GoogleNet_2
    >>> network = GoogleNet_2((96, 96, 3), classes=10)
    >>> main, class_1, class_2 = network(np.zeros((1, 96, 96, 3), np.float32))
    >>> main.shape
    TensorShape([1, 10])
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        widths: Widths = "published",
        layers: Layers = "keras",
        device: str = "cpu",
        dtype: str = "float32",
        bn_momentum: float = 0.9,
        synchronised: bool = False,
        dropout: bool = True,
        as_published: bool = False,
        name: str = "googlenet_2",
    ) -> None:
        """`dtype` is each layer's policy; `device`, cpu or gpu:N, decides by which kernels fused layers compute;
        `synchronised` batch normalisation has the statistics of all replicas' images (tf.distribute)."""
        for side in input_shape[:2]:
            require_whole("image_size", side, least=MIN_IMAGE_SIZE, why="a smaller image leaves no final map")
        require_choice("widths", widths, tuple(TABLES))
        require_choice("layers", layers, LAYERS)
        architecture = Architecture(classes=classes, widths=widths, dropout=dropout, as_published=as_published)
        inputs = keras.Input(input_shape, name="images")
        kit = LayerKit(dtype=dtype, bn_momentum=bn_momentum, synchronised=synchronised)
        main, class_1, class_2 = architecture.outputs(inputs, kit)

        super().__init__(inputs=inputs, outputs=(main, class_1, class_2), name=name)
        self.inception_model = keras.Model(inputs, main, name="inception_model")
        self.class_1 = keras.Model(inputs, class_1, name="class_1")
        self.class_2 = keras.Model(inputs, class_2, name="class_2")
        self._architecture, self._fused, self._on_gpu = architecture, layers == "fused", device != "cpu"
        self._arguments = dataclasses.asdict(architecture) | {"layers": layers, "device": device, "name": name}
        self._arguments |= {"input_shape": tuple(input_shape), "dtype": dtype, "bn_momentum": bn_momentum}
        self._arguments |= {"synchronised": synchronised}

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not self._fused:
            return super().call(inputs, training=training, mask=mask)
        return self.fused_outputs(inputs, bool(training))

    def main_output(self, images: Tensor, training: bool) -> Tensor:
        """The main output alone, without what only the classifiers compute."""
        if not self._fused:
            return self.inception_model(images, training=training)
        return self.fused_outputs(images, training, classifiers=False)[0]

    def fused_outputs(self, images: Tensor, training: bool, *, classifiers: bool = True) -> tuple[Tensor, ...]:
        layers = {layer.name: layer for layer in self.layers}
        kit = FusedKit(layers=layers, training=training, on_gpu=self._on_gpu)
        return self._architecture.outputs(images, kit, classifiers=classifiers)

    def set_dropout(self, active: bool) -> None:
        """Switch dropout on, as it is at first, or off, also in steps already traced; off, it drops nothing."""
        for layer in self.dropouts:
            layer.switch.assign(float(active))

    @property
    def dropouts(self) -> list[SwitchedDropout]:
        return [layer for layer in self.layers if isinstance(layer, SwitchedDropout)]

    def get_config(self) -> dict[str, Any]:
        return dict(self._arguments)


def build_model(config: StepConfig) -> GoogleNet_2:
    """The network of a case, its weights drawn from the case's seed (which becomes Keras' global seed).

    >>> from gnet_core import StepConfig, build_model
    >>> build_model(StepConfig(widths="published")).count_params()
    8179037
    """
    keras.utils.set_random_seed(config.seed)
    return GoogleNet_2(
        (config.image_size, config.image_size, 3),
        config.classes,
        widths=config.widths,
        layers=config.layers,
        device=config.device,
        dtype=LayerKit.of(config).dtype,
        bn_momentum=config.bn_momentum,
        synchronised=config.synchronises,
        dropout=config.dropout,
        as_published=config.as_published,
    )
