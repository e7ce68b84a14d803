"""A made data set of DTD's shape: 47 classes of textures, each of a pattern and a scale, as JPEGs in DTD's layout.

Colours, phase, angle, noise, size and shape differ by image, so that a class is told by its pattern alone. Scales are
in repetitions a side, since images are stretched to a square, and no class is the mirror image of another.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[np.floating[Any]]
"""Values at each pixel, (height, width)."""
Random = np.random.Generator


class Texture(NamedTuple):
    """A class: the pattern, from 0 to 1, that a function makes of places from 0 to 1 and repetitions a side."""

    name: str
    pattern: Callable[[Field, Field, float, Random], Field]
    repetitions: float


def wave(place: Field, repetitions: float, chance: Random) -> Field:
    """-1 to 1, repeated along a place, beginning anywhere."""
    return np.asarray(np.sin(2 * np.pi * (repetitions * place + chance.random(dtype=np.float32))), np.float32)


def either_way(u: Field, v: Field, chance: Random) -> Field:
    """One of the two diagonals."""
    return (u + v if chance.random() < 0.5 else u - v) / np.float32(np.sqrt(2))


def across(_: Field, v: Field, repetitions: float, chance: Random) -> Field:
    return (wave(v, repetitions, chance) > 0).astype(np.float32)


def upright(u: Field, _: Field, repetitions: float, chance: Random) -> Field:
    return (wave(u, repetitions, chance) > 0).astype(np.float32)


def slanted(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    return (wave(either_way(u, v, chance), repetitions, chance) > 0).astype(np.float32)


def checked(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    return (wave(u, repetitions, chance) * wave(v, repetitions, chance) > 0).astype(np.float32)


def diamonds(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    return checked((u + v) / np.float32(np.sqrt(2)), (u - v) / np.float32(np.sqrt(2)), repetitions, chance)


def dots(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    return (wave(u, repetitions, chance) + wave(v, repetitions, chance) > 1.2).astype(np.float32)


def blobs(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    return np.float32(0.5) + wave(u, repetitions, chance) * wave(v, repetitions, chance) / 2


def rings(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    x, y = chance.uniform(0.3, 0.7, 2).astype(np.float32)
    return (wave(np.hypot(u - x, v - y), repetitions, chance) > 0).astype(np.float32)


def cloudy(u: Field, _: Field, repetitions: float, chance: Random) -> Field:
    side = max(2, round(repetitions))
    coarse = Image.fromarray(chance.integers(0, 256, (side, side), np.uint8))
    fine = coarse.resize((u.shape[1], u.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(fine, np.float32) / 255


def darker_below(_: Field, v: Field, __: float, ___: Random) -> Field:
    return 1 - v


def darker_above(_: Field, v: Field, __: float, ___: Random) -> Field:
    return v


def darker_aside(u: Field, _: Field, __: float, chance: Random) -> Field:
    return u if chance.random() < 0.5 else 1 - u


def darker_outside(u: Field, v: Field, __: float, ___: Random) -> Field:
    return np.asarray(np.maximum(0, 1 - 1.6 * np.hypot(u - 0.5, v - 0.5)), np.float32)


def wavy(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    return (wave(v + wave(u, 3, chance) / 12, repetitions, chance) > 0).astype(np.float32)


def netted(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    return (np.maximum(wave(u, repetitions, chance), wave(v, repetitions, chance)) > 0.85).astype(np.float32)


def bricks(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    row = np.floor(v * repetitions)
    shifted = u * repetitions / 2 + row / 2 + chance.random(dtype=np.float32)
    mortar = (v * repetitions % 1 < 0.2) | (shifted % 1 < 0.1)
    return np.asarray(~mortar, np.float32)


def zigzag(u: Field, v: Field, repetitions: float, chance: Random) -> Field:
    teeth = np.abs(u * repetitions % 1 - np.float32(0.5)) / np.float32(repetitions) * 2
    return (wave(v + teeth, repetitions, chance) > 0).astype(np.float32)


TEXTURES = tuple(
    Texture(f"{pattern.__name__}_{repetitions:02}", pattern, repetitions)
    for pattern, scales in (
        (across, (3, 6, 11, 20)),
        (upright, (3, 6, 11, 20)),
        (slanted, (3, 6, 11, 20)),
        (checked, (3, 6, 12)),
        (diamonds, (3, 6, 12)),
        (dots, (4, 8, 15)),
        (blobs, (4, 8, 15)),
        (rings, (4, 8, 15)),
        (cloudy, (3, 7, 15, 32)),
        (darker_below, (1,)),
        (darker_above, (1,)),
        (darker_aside, (1,)),
        (darker_outside, (1,)),
        (wavy, (5, 9, 16)),
        (netted, (4, 8, 15)),
        (bricks, (5, 9, 16)),
        (zigzag, (4, 7, 12)),
    )
    for repetitions in scales
)
"""The 47 classes."""


def texture(kind: Texture, seed: tuple[int, ...], sides: tuple[int, int] = (200, 400)) -> Image.Image:
    """One image of a class, RGB, whose sides are within the limits; the same for a seed."""
    chance = np.random.default_rng(seed)
    height, width = (int(side) for side in chance.integers(sides[0], sides[1], 2, endpoint=True))
    y, x = np.meshgrid(
        np.linspace(0, 1, height, endpoint=False, dtype=np.float32),
        np.linspace(0, 1, width, endpoint=False, dtype=np.float32),
        indexing="ij",
    )
    angle = np.float32(chance.uniform(-0.06, 0.06))  # radians
    u, v = x + angle * (y - 0.5), y - angle * (x - 0.5)
    values = kind.pattern(u, v, kind.repetitions * chance.uniform(0.92, 1.08), chance)
    dark, light = chance.uniform(0, 90, 3), chance.uniform(150, 255, 3)
    levels = dark + np.clip(values, 0, 1)[..., np.newaxis] * (light - dark)
    levels += chance.normal(0, 10, (height, width, 1))
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def write_textures(
    root: Path, images: int = 120, classes: int = len(TEXTURES), seed: int = 0, sides: tuple[int, int] = (200, 400)
) -> Path:
    """The data set in DTD's layout, with one split: a third of each class each to train, to validate and to test.

    One image is in memory at a time; 5,640 images take about a minute and 0.2 GB of disk.
    """
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label, kind in enumerate(TEXTURES[:classes]):
        folder = root / "images" / kind.name
        folder.mkdir(parents=True)
        for number in range(images):
            name = f"{kind.name}/{kind.name}_{number + 1:04}.jpg"
            texture(kind, (seed, label, number), sides).save(root / "images" / name, quality=85)
            lists[("train", "val", "test")[3 * number // images]].append(f"{name}\n")
    (root / "labels").mkdir()
    for part, lines in lists.items():
        (root / "labels" / f"{part}1.txt").write_text("".join(lines))
    return root
