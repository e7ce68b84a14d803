"""Photographs that are made: as large in files as those of a camera, and the same for the same seed."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from gnet_core.datasets.photographs import HEIGHT, QUALITY, WIDTH, photographs


def encoded_bytes(levels: np.ndarray) -> int:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return len(file.getvalue())


def test_a_pixel_takes_as_many_bytes_as_in_a_photograph():
    pictures = list(photographs(12, 0))
    assert {(picture.shape, picture.dtype) for picture in pictures} == {((HEIGHT, WIDTH, 3), np.dtype(np.uint8))}
    per_pixel = [encoded_bytes(picture) / (WIDTH * HEIGHT) for picture in pictures]
    assert 0.2 < min(per_pixel) < max(per_pixel) < 0.3
    noise = np.random.default_rng(0).integers(256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    assert encoded_bytes(noise) / (WIDTH * HEIGHT) > 0.9  # which no photograph takes


def test_the_seed_decides_them_and_no_two_are_alike():
    first, again, other = (list(photographs(20, seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert len({picture.tobytes() for picture in (*first, *other)}) == 40
