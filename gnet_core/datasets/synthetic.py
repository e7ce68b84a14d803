"""A batch of noise, the same in every framework for the same seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnet_core.config import StepConfig


def batch(config: StepConfig) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Images float32 (batch_size, image_size, image_size, 3) in [0, 1), labels uint16 (batch_size,) in [0, classes)."""
    chance = np.random.default_rng(config.seed)
    images = chance.random((config.batch_size, config.image_size, config.image_size, 3), dtype=np.float32)
    return images, chance.integers(config.classes, size=config.batch_size, dtype=np.uint16)
