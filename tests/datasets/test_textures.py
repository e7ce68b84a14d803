"""The made textures: of DTD's shape, repeatable, and each class unlike the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gnet_core.datasets.catalog import open_data
from tests.datasets.textures import TEXTURES, texture, write_textures


def test_a_set_opens_as_dtd_does(tmp_path: Path) -> None:
    opened = open_data(str(write_textures(tmp_path, images=6, classes=5, sides=(20, 40))))
    assert opened.classes == 5
    assert np.bincount(opened.train.labels).tolist() == np.bincount(opened.test.labels).tolist() == [2] * 5
    assert (opened.broken, opened.notes, opened.duplicates) == ((), (), 0)
    assert opened.train.headers is not None
    for side in ("width", "height"):
        assert opened.train.headers[side].min() >= 20
        assert opened.train.headers[side].max() <= 40


def test_there_are_47_classes_of_different_names() -> None:
    assert len(TEXTURES) == len({kind.name for kind in TEXTURES}) == 47


def test_an_image_is_the_same_for_a_seed_and_another_for_another() -> None:
    first, same, other = (np.asarray(texture(TEXTURES[5], seed, (30, 30))) for seed in ((0, 5), (0, 5), (1, 5)))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_every_pattern_fills_its_range() -> None:
    for number, kind in enumerate(TEXTURES):
        levels = np.asarray(texture(kind, (number,), (120, 120)), np.float32).mean(axis=2)
        assert levels.shape == (120, 120)
        assert np.ptp(levels) > 60, kind.name
        assert levels.std() > 10, kind.name
