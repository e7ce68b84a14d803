"""Sizes of the network's feature maps. Too small a map leaves batch normalisation one value a channel."""

from __future__ import annotations

import dataclasses
from typing import Any

from gnet_core.config import GnetError, StepConfig
from gnet_core.networks.builder import Kit
from gnet_core.networks.googlenet import Architecture


class SizeKit(Kit):
    """Follows the side of a square map through the network, in pixels, and computes nothing else."""

    def __init__(self) -> None:
        self.normalised_sides: dict[str, int] = {}  # by the name of the batch normalisation

    def conv(self, x: int, filters: int, size: int, name: str, **settings: Any) -> int:  # noqa: ARG002
        return _side(x, size, settings.get("strides", 1), settings.get("padding", "valid"))

    def norm_relu(self, x: int, name: str) -> int:
        self.normalised_sides[f"{name}_bn"] = x
        return x

    def max_pool(self, x: int, name: str, strides: int = 2, padding: str = "valid") -> int:  # noqa: ARG002
        return _side(x, 3, strides, padding)

    def average_pool(self, x: int, name: str, size: int, strides: int) -> int:  # noqa: ARG002
        return _side(x, min(size, x), strides, "valid")

    def global_average_pool(self, x: int, name: str) -> int:  # noqa: ARG002
        return 1

    def concatenate(self, parts: list[int], name: str) -> int:  # noqa: ARG002
        return parts[0]

    def _kept(self, x: int, *_: Any, **__: Any) -> int:
        return x

    relu = flatten = dense = dropout = logits = _kept


def single_value_norms(config: StepConfig) -> list[str]:
    """The batch normalisations of a case that see one value a channel in a step, in the network's order; of several
    replicas each normalises its own images, unless they are synchronised.

    Such a value is its own mean, so the output does not depend on it and no gradient goes back.
    """
    if (config.batch_size if config.synchronises else config.replica_batch_size) > 1:
        return []
    kit = SizeKit()
    Architecture.of(config).outputs(config.image_size, kit, classifiers=config.trains_classifiers)
    return [name for name, side in kit.normalised_sides.items() if side == 1]


def require_learnable(config: StepConfig) -> None:
    """Raise GnetError where a step trains part of the network through a normalisation of single values."""
    names = single_value_norms(config)
    if not names:
        return
    larger = config.image_size
    while single_value_norms(dataclasses.replace(config, image_size=larger)):
        larger += 1
    raise GnetError(
        f"batch_size: 1 is too small at image_size {config.image_size}: {len(names)} batch normalisations, "
        f"{names[0]} the first, would see one value a channel, from which nothing is learnt; "
        f"use at least 2 images a step, or images of at least {larger} pixels a side"
    )


def _side(side: int, window: int, strides: int, padding: str) -> int:
    return -(-side // strides) if padding == "same" else (side - window) // strides + 1
