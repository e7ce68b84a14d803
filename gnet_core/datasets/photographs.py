"""Pictures that a decoder takes for photographs, where no data set is named: noise would decode far more slowly.

The time that a JPEG takes to decode hangs on its size in pixels and on how many coefficients are not 0, of which a
photograph has few. These have a photograph's spectrum, in which amplitude falls with frequency (D. J. Field, Relations
between the statistics of natural images and the response properties of cortical cells, 1987), edges, and a sensor's
grain.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 500, 375
"""Pixels of a usual picture of ImageNet (ILSVRC 2012)."""
QUALITY = 90
"""Of JPEG, at which they take 0.2 to 0.3 bytes a pixel."""

_SCENES = 8
"""Scenes of which the pictures show parts: to draw one takes as long as to take ten pictures of it."""
_MARGIN = 96  # pixels by which a scene, and the grain, are larger than a picture
_CELLS = (2, 4, 8, 16, 32, 64)
"""Cells across a scene's height of each octave of its light. Its colours have the first few."""
_COLOUR_OCTAVES = 3
_CONTRAST = 52.0  # levels, the standard deviation of the coarsest octave
_DISCS = 8
_GRAIN = 4.0  # levels, the standard deviation of the sensor's noise


def photographs(count: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """So many pictures, each levels (HEIGHT, WIDTH, 3), the same for the same seed."""
    chance = np.random.default_rng(seed)
    height, width = HEIGHT + _MARGIN, WIDTH + _MARGIN
    scenes = [_scene(chance, height, width) for _ in range(min(count, _SCENES))]
    grain = _GRAIN * chance.standard_normal((height, width, 1), np.float32)
    for number in range(count):
        picture = _part(scenes[number % _SCENES], chance) + _part(grain, chance)
        yield np.clip(picture[:, :: chance.choice((-1, 1))], 0, 255).astype(np.uint8)


def _part(scene: NDArray[np.float32], chance: np.random.Generator) -> NDArray[np.float32]:
    top, left = chance.integers(_MARGIN, size=2)
    return scene[top : top + HEIGHT, left : left + WIDTH]


def _scene(chance: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Levels (height, width, 3): lit softly, with discs that have edges before it."""
    light = _octaves(chance, height, width, _CELLS)
    tints = [_octaves(chance, height, width, _CELLS[:_COLOUR_OCTAVES]) / 2 for _ in range(3)]
    levels = np.stack([118 + light + tint for tint in tints], axis=-1, dtype=np.float32)
    y, x = np.ogrid[:height, :width]
    for centre_y, centre_x, radius in chance.uniform((0, 0, 10), (height, width, 90), (_DISCS, 3)):
        inside = (y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2
        levels[inside] += chance.normal(0, _CONTRAST, 3).astype(np.float32)
    return levels


def _octaves(chance: np.random.Generator, height: int, width: int, cells: tuple[int, ...]) -> NDArray[np.float32]:
    """A field (height, width) of smooth noise, of which each octave has half the amplitude of the one before."""
    field = np.zeros((height, width), np.float32)
    for octave, across in enumerate(cells):
        rows, columns = _between(height, across), _between(width, across * width // height)
        values = chance.standard_normal((rows.shape[1], columns.shape[1]), np.float32)
        field += _CONTRAST / 2**octave * (rows @ values @ columns.T)
    return field


@functools.cache
def _between(pixels: int, cells: int) -> NDArray[np.float32]:
    """The matrix (pixels, cells + 1) that interpolates linearly between values at the edges of cells."""
    places = np.linspace(0, cells, pixels, dtype=np.float32)
    weights: NDArray[np.float32] = np.maximum(
        0, 1 - np.abs(places[:, np.newaxis] - np.arange(cells + 1, dtype=np.float32))
    )
    return weights
