"""Floating-point operations of a train step, counted from layer shapes: what a rate is divided by for an MFU."""

from __future__ import annotations

import math
from typing import Any

from keras import layers

from gnet_core.config import GnetError, StepConfig


def multiply_adds(model: Any) -> dict[str, int]:
    """Multiply-adds of one image's forward pass, of every Conv2D and Dense layer by its name, in the model's order.

    Each weight of a kernel is used once at every position of the output, so it is kernel size × output positions, in
    NHWC. Biases, batch normalisation, activations and pools are left out, as is customary. Raises GnetError for a layer
    whose output has no fixed size.
    """
    counts = {}
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D | layers.Dense):
            positions: tuple[int, ...] = layer.output.shape[1:-1]
            if None in positions:
                raise GnetError(
                    f"model: the output of layer {layer.name!r} is {layer.output.shape}, of no fixed size; "
                    "build the model for images of one size"
                )
            counts[layer.name] = math.prod(layer.kernel.shape) * math.prod(positions)
    return counts


def train_step_flop_per_image(model: Any, config: StepConfig) -> int:
    """FLOP that one image needs in the case's step: 2 a multiply-add, in Conv2D and Dense layers.

    A layer's gradient with respect to its weights costs as much as its forward pass, and so does the one with respect
    to its input (backward is twice forward: arXiv 2001.08361, section 2.1), which a layer that reads the images does
    without. Only what the step's result depends on counts: without auxiliary losses no classifier, and no optimizer.
    Raises GnetError as multiply_adds does.
    """
    # A network of the main output alone is all of it needed.
    needed = model if config.trains_classifiers else getattr(model, "inception_model", model)
    flop = 0
    for name, count in multiply_adds(needed).items():
        reads_images = any(needed.get_layer(name).input is images for images in needed.inputs)
        passes = 1 if config.part == "forward" else 2 if reads_images else 3  # forward, for its weights, for its input
        flop += 2 * passes * count
    return flop
