"""Sizes of the network's feature maps. Too small a map leaves batch normalisation one value a channel."""

from __future__ import annotations

import dataclasses

from gnet_core.config import GnetError, StepConfig
from gnet_core.networks.builder import Kit
from gnet_core.networks.googlenet import Architecture


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeKit(Kit):
    """Follows the side of a square map through the network, in pixels, and computes nothing else."""

    normalised_sides: dict[str, int] = dataclasses.field(default_factory=dict)
    """Side in pixels of the map that each batch normalisation normalises, by the name of the normalisation."""

    def conv(
        self,
        x: int,
        filters: int,  # noqa: ARG002
        size: int,
        name: str,  # noqa: ARG002
        *,
        strides: int = 1,
        padding: str = "valid",
        normalised: bool = True,  # noqa: ARG002
    ) -> int:
        return _side(x, size, strides, padding)

    def relu(self, x: int, name: str) -> int:  # noqa: ARG002
        return x

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

    def flatten(self, x: int, name: str) -> int:  # noqa: ARG002
        return x

    def dense(self, x: int, units: int, name: str) -> int:  # noqa: ARG002
        return x

    def dropout(self, x: int, rate: float, name: str) -> int:  # noqa: ARG002
        return x

    def logits(self, x: int, classes: int, name: str) -> int:  # noqa: ARG002
        return x


def single_value_norms(config: StepConfig) -> list[str]:
    """The batch normalisations of a case that see one value a channel in a step, in the network's order.

    Such a value is its own mean, so what comes out tells nothing of what went in and no gradient goes back. A step
    takes no less time for it.
    """
    if config.batch_size > 1:
        return []
    kit = SizeKit(norm_before_conv3=config.widths == "paper")
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
