"""Augmentation: shifted and mirrored images, the same for a seed and a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from gnet_core.config import AUGMENTATIONS, Augmentation
from gnet_core.frameworks.tf.augmentation import augmented

SIZE = 72
IMAGE = np.arange(SIZE * SIZE, dtype=np.int64).reshape(SIZE, SIZE, 1).repeat(3, axis=-1)
"""No two of its pixels are alike, so that a shift can be read off."""


def made(augmentation: Augmentation, seed: int = 1, number: int = 0) -> Any:
    levels = augmented(tf.constant(IMAGE), augmentation, seed, tf.constant(number, tf.int64))
    assert levels.shape == IMAGE.shape
    return levels.numpy()


def test_none_changes_nothing() -> None:
    np.testing.assert_array_equal(made("none"), IMAGE)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_image_is_the_same_for_its_number_and_the_seed(augmentation: Augmentation) -> None:
    np.testing.assert_array_equal(made(augmentation, 5, 7), made(augmentation, 5, 7))


def test_half_of_the_images_are_mirrored() -> None:
    mirrored = [np.array_equal(made("flip", number=number), IMAGE[:, ::-1]) for number in range(200)]
    same = [np.array_equal(made("flip", number=number), IMAGE) for number in range(200)]
    assert all(one != other for one, other in zip(mirrored, same, strict=True))
    assert 70 < sum(mirrored) < 130
    others = [np.array_equal(made("flip", seed=2, number=number), IMAGE[:, ::-1]) for number in range(200)]
    assert others != mirrored


def test_a_crop_shifts_by_up_to_an_eighth_each_way_and_reflects_what_is_missing() -> None:
    padding = SIZE // 8
    wider = np.pad(IMAGE, ((padding, padding), (padding, padding), (0, 0)), "reflect")
    places = set()
    for number in range(200):
        shifted = made("crop", number=number)
        centre = np.argwhere(wider[:, :, 0] == shifted[SIZE // 2, SIZE // 2, 0])[0]
        top, left = (int(place) - SIZE // 2 for place in centre)
        np.testing.assert_array_equal(shifted, wider[top : top + SIZE, left : left + SIZE])
        places.add((top, left))
    assert len(places) > 100
    assert {place for pair in places for place in pair} <= set(range(2 * padding + 1))


def test_levels_of_a_byte_stay_such_in_a_graph() -> None:
    dataset = tf.data.Dataset.from_tensors(IMAGE.astype(np.uint8))
    dataset = dataset.map(lambda image: augmented(image, "crop-flip", 1, tf.constant(3, tf.int64)))
    assert dataset.element_spec.shape == IMAGE.shape
    (levels,) = dataset
    assert levels.dtype == tf.uint8
