"""The builder in whose terms the network is written: each method applies the layer of that name to x."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any

Tensor = Any
"""A tensor of the builder's framework. No framework ships types for it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kit(ABC):
    """One kit makes the layers, another computes with layers that are made, a third is of another framework."""

    bn_momentum: float = 0.9
    """Momentum of batch normalisation's moving statistics: the share that they keep in a step."""
    norm_before_conv3: bool = False
    """Batch normalisation between the 3×3-reduce and the 3×3, which the notebook made and then bypassed."""

    @abstractmethod
    def conv(
        self,
        x: Tensor,
        filters: int,
        size: int,
        name: str,
        *,
        strides: int = 1,
        padding: str = "valid",
        normalised: bool = True,
    ) -> Tensor:
        """Convolution with bias. `normalised`: every way from here leads through a batch normalisation first, which
        takes away whatever constant the bias adds to a channel."""

    @abstractmethod
    def relu(self, x: Tensor, name: str) -> Tensor:
        """In x's own precision."""

    @abstractmethod
    def norm_relu(self, x: Tensor, name: str) -> Tensor:
        """Batch normalisation, then ReLU: the layers `name`_bn and `name`_relu."""

    def norm_relu_pool(self, x: Tensor, name: str, pool: str) -> Tensor:
        """norm_relu, then the max pool of that name, which halves the map."""
        return self.max_pool(self.norm_relu(x, name), pool)

    @abstractmethod
    def max_pool(self, x: Tensor, name: str, strides: int = 2, padding: str = "valid") -> Tensor:
        """Over 3×3."""

    @abstractmethod
    def average_pool(self, x: Tensor, name: str, size: int, strides: int) -> Tensor:
        """Its window is clipped to the map."""

    @abstractmethod
    def global_average_pool(self, x: Tensor, name: str) -> Tensor:
        """To (batch, channels)."""

    @abstractmethod
    def concatenate(self, parts: list[Tensor], name: str) -> Tensor:
        """On channels."""

    @abstractmethod
    def flatten(self, x: Tensor, name: str) -> Tensor:
        """To (batch, values), channels fastest."""

    @abstractmethod
    def dense(self, x: Tensor, units: int, name: str) -> Tensor:
        """With bias."""

    @abstractmethod
    def dropout(self, x: Tensor, rate: float, name: str) -> Tensor:
        """Which can be switched off in a compiled step."""

    @abstractmethod
    def logits(self, x: Tensor, classes: int, name: str) -> Tensor:
        """A dense layer in float32 under every precision."""
