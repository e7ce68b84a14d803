"""The builder in whose terms the network is written: each method applies the layer of that name to x."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

Tensor = Any  # of the builder's framework; none ships types for it


class Kit(ABC):
    """One kit makes the layers, another computes with layers that are made, a third belongs to another framework."""

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
        """Convolution with bias. `normalised` says that every way from here leads through a batch normalisation first,
        which takes away whatever constant the bias adds to a channel."""

    @abstractmethod
    def relu(self, x: Tensor, name: str) -> Tensor:
        """ReLU in x's own precision."""

    @abstractmethod
    def norm_relu(self, x: Tensor, name: str) -> Tensor:
        """Batch normalisation, then ReLU: the layers `name`_bn and `name`_relu."""

    def norm_relu_pool(self, x: Tensor, name: str, pool: str) -> Tensor:
        """norm_relu, then the max pool of that name, which halves the map."""
        return self.max_pool(self.norm_relu(x, name), pool)

    @abstractmethod
    def max_pool(self, x: Tensor, name: str, strides: int = 2, padding: str = "valid") -> Tensor:
        """Max pooling with a 3×3 window."""

    @abstractmethod
    def average_pool(self, x: Tensor, name: str, size: int, strides: int) -> Tensor:
        """Average pooling with a window of size × size, clipped to the map."""

    @abstractmethod
    def global_average_pool(self, x: Tensor, name: str) -> Tensor:
        """Mean over the map, to (batch, channels)."""

    @abstractmethod
    def concatenate(self, parts: list[Tensor], name: str) -> Tensor:
        """Maps of one size, joined on channels."""

    @abstractmethod
    def flatten(self, x: Tensor, name: str) -> Tensor:
        """Map to (batch, values), channels fastest."""

    @abstractmethod
    def dense(self, x: Tensor, units: int, name: str) -> Tensor:
        """Dense layer with bias."""

    @abstractmethod
    def dropout(self, x: Tensor, rate: float, name: str) -> Tensor:
        """Dropout that can be switched off in a compiled step."""

    @abstractmethod
    def logits(self, x: Tensor, classes: int, name: str) -> Tensor:
        """Dense layer with bias, in float32 under every precision."""
