"""The part of GoogleNet_2 and the direction that an operation belongs to, by its name in TensorFlow.

A name is a path, as in gradient_tape/googlenet_2_1/inception_3a_5x5_1/convolution/Conv2DBackpropFilter: Keras names its
scopes after layers (with a number where a name is taken), the tape puts gradients under gradient_tape, and Grappler a
path of its own in front of what it rewrote.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

Direction = Literal["forward", "backward", "neither"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

SUMS = "gradient_sums"
"""Sums of the gradients of several users of a tensor, which the tape names after no layer."""

OTHER = "other"
"""Operations whose names belong to no part."""

PARTS = (
    *("stem", "inception_3a", "inception_3b", "pool_3"),
    *("inception_4a", "inception_4b", "inception_4c", "inception_4d", "inception_4e", "pool_4"),
    *("inception_5a", "inception_5b", "class_1", "class_2", "main"),
    *("loss", SUMS, "metrics", "optimizer", OTHER),
)
"""The parts, in the order of a step."""


class Place(NamedTuple):
    """Part and direction of an operation."""

    part: str
    direction: Direction


_LAYER = re.compile(r"(stem|inception_[345][a-e]|pool_[34]|class_[12]|main)(?=_|$)")
_SCOPES: dict[str, re.Pattern[str]] = {
    "loss": re.compile(r"(loss|sparse_categorical_crossentropy)(_\d+)?$"),
    "metrics": re.compile(r"metrics(_\d+)?$"),
    "optimizer": re.compile(r"(adam|loss_scale_optimizer)(_\d+)?$"),
    SUMS: re.compile(r"AddN(_\d+)?$"),
}
"""frameworks.tf.step opens the scopes of loss and metrics, Keras those of its losses and optimizers."""

_DIRECTIONS_OF_SCOPES: dict[str, Direction] = {"metrics": "neither", "optimizer": "neither", SUMS: "backward"}


def place(name: str) -> Place:
    """The part and the direction of an operation, by its name."""
    path = name.split("/")
    direction: Direction = "backward" if "gradient_tape" in path else "forward"
    for scope in path:
        if layer := _LAYER.match(scope):
            return Place(layer[1], direction)
        for part, pattern in _SCOPES.items():
            if pattern.match(scope):
                return Place(part, _DIRECTIONS_OF_SCOPES.get(part, direction))
    return Place(OTHER, direction if direction == "backward" else "neither")
