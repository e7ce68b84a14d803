"""What was said of the test images, counted and shown."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets.data_set import DataSet, Split
from gnet_core.datasets.packs import open_pack
from gnet_core.frameworks.tf.pack import pack
from gnet_core.training.document import MAX_SAMPLES, SAMPLE_SIDE, Confusion
from gnet_core.training.judgement import Judgement, confusion, said_of, samples

CONFIG = StepConfig(classes=3, image_size=96)


def split(labels: list[int]) -> Split:
    """Each image is as bright as its number."""
    levels = np.arange(len(labels), dtype=np.uint8)
    return Split(np.broadcast_to(levels[:, None, None], (len(labels), 8, 8)).copy(), np.array(labels, np.uint16))


def judged(said: list[int], probability: list[float]) -> Judgement:
    return Judgement(said=np.array(said), probability=np.array(probability, np.float32))


def test_the_class_of_the_largest_logit_is_said_with_its_probability() -> None:
    first = said_of(tf.constant([[0.0, np.log(3.0)], [np.log(4.0), 0.0]], tf.float32))
    second = said_of(tf.constant([[1.0, 1.0]], tf.float32))
    judgement = Judgement.of([first, second])
    assert judgement.said.tolist() == [1, 0, 0]
    assert judgement.probability.tolist() == pytest.approx([0.75, 0.8, 0.5])


def test_confusion_counts_each_pair_of_classes_once() -> None:
    counted = confusion(split([0, 0, 1, 2, 2]), judged([0, 1, 1, 0, 0], [1.0] * 5))
    assert counted == [
        Confusion(label=0, said=0, images=1),
        Confusion(label=0, said=1, images=1),
        Confusion(label=1, said=1, images=1),
        Confusion(label=2, said=0, images=2),
    ]


def test_the_sheet_has_the_surest_mistakes_first_and_then_right_ones() -> None:
    shown = samples(split([0, 1, 2, 0]), judged([0, 2, 0, 0], [0.9, 0.6, 0.8, 0.7]), CONFIG)
    assert [(sample.label, sample.said) for sample in shown] == [(2, 0), (1, 2), (0, 0), (0, 0)]
    assert [sample.pixels[0] for sample in shown] == [2, 1, 0, 3]  # each with its own picture
    assert {len(sample.pixels) for sample in shown} == {SAMPLE_SIDE * SAMPLE_SIDE * 3}


@pytest.mark.parametrize(("right", "wrong"), [(200, 0), (200, 3), (200, 55), (3, 200), (0, 40), (1, 0)])
def test_a_sheet_is_never_longer_than_it_may_be_and_shows_no_image_twice(right: int, wrong: int) -> None:
    images = right + wrong
    shown = samples(split([0] * images), judged([0] * right + [1] * wrong, [0.5] * images), CONFIG)
    assert len(shown) <= MAX_SAMPLES
    assert sum(sample.said == 1 for sample in shown) == min(wrong, MAX_SAMPLES // 2)
    assert len({sample.pixels for sample in shown}) == len(shown)


def test_image_files_are_shown_as_arrays_are_and_one_that_is_gone_is_named(tmp_path: Path) -> None:
    paths = tuple(str(tmp_path / f"{number}.png") for number in range(2))
    for number, path in enumerate(paths):
        keras.utils.save_img(path, np.full((8, 8, 3), 100 * number, np.uint8), scale=False)
    files = Split(paths, np.array([0, 1], np.uint16))
    shown = samples(files, judged([0, 1], [0.5, 0.5]), CONFIG)
    assert [sample.pixels[0] for sample in shown] == [0, 100]
    Path(paths[1]).unlink()
    with pytest.raises(GnetError, match=r"^data: '.*1\.png' cannot be decoded"):
        samples(files, judged([0, 1], [0.5, 0.5]), CONFIG)


def test_images_in_records_are_shown_as_those_in_arrays_are(tmp_path: Path) -> None:
    arrays = split([0, 1, 2, 0])
    pack(DataSet("made", ("a", "b", "c"), arrays, arrays, 67), tmp_path)
    judgement = judged([0, 2, 0, 0], [0.9, 0.6, 0.8, 0.7])
    assert samples(open_pack("made", tmp_path).test, judgement, CONFIG) == samples(arrays, judgement, CONFIG)
