"""What a case is fed from: the same pictures from files, from TFRecord and from memory."""

from __future__ import annotations

import dataclasses
import gc
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from gnet_core.config import Feed, GnetError, StepConfig
from gnet_core.datasets.catalog import open_data
from gnet_core.frameworks.tf import feeds
from gnet_core.frameworks.tf.case import Case, InputCase
from gnet_core.frameworks.tf.pack import pack
from gnet_core.frameworks.tf.step import make_train_step
from gnet_core.frameworks.tf.trace import trace_case
from gnet_core.training.training import train
from tests.pictures import paths_of, write_folder

FEEDS: tuple[Feed, ...] = ("jpeg", "tfrecord", "cache")
SMALL: dict[str, Any] = {"image_size": 67, "batch_size": 6, "classes": 3}
"""24 pictures are four batches of six."""


def passes(config: StepConfig, number: int = 1) -> list[Counter[tuple[bytes, int]]]:
    """Each image with its label, and how often it came, in so many passes through 24 pictures."""
    feed = feeds.open_feed(config, "/CPU:0")
    counted = []
    for _ in range(number):
        seen: Counter[tuple[bytes, int]] = Counter()
        for images, labels in itertools.islice(iter(feed.__next__, None), 4):
            pairs = zip(images.numpy(), labels.numpy().tolist(), strict=True)
            seen.update((image.tobytes(), label) for image, label in pairs)
        counted.append(seen)
    return counted


def test_every_feed_of_a_folder_has_the_same_images_with_their_labels(tmp_path):
    folder = write_folder(tmp_path / "photos")
    config = StepConfig(data=str(folder), **SMALL)
    from_files, from_records, from_memory = (passes(dataclasses.replace(config, feed=feed), 2) for feed in FEEDS)
    assert from_files[0].total() == 24
    assert from_files[0] == from_files[1]
    assert from_files == from_records == from_memory


def test_a_pack_feeds_what_its_folder_feeds(tmp_path):
    folder = write_folder(tmp_path / "photos")
    (out := tmp_path / "pack").mkdir()
    pack(open_data(str(folder)), out)
    of_folder, of_pack = (passes(StepConfig(data=str(data), feed="jpeg", **SMALL)) for data in (folder, out))
    assert of_folder == of_pack


def test_arrays_are_fed_as_jpeg_files():
    feed = feeds.open_feed(StepConfig(data="digits", feed="jpeg", image_size=67, batch_size=4, classes=10), "/CPU:0")
    images, labels = next(feed)
    assert (images.shape, images.dtype.name, labels.dtype.name) == ((4, 67, 67, 3), "float32", "uint16")
    assert feed.pictures is not None
    assert (feed.pictures.images, feed.pictures.pixels, feed.pictures.made) == (1024, 1024 * 64, False)


def test_of_synthetic_data_photographs_are_made_of_which_a_data_set_has_fewer(monkeypatch):
    monkeypatch.setattr(feeds, "MADE_PICTURES", 10)
    made = feeds.open_feed(StepConfig(feed="cache", **SMALL), "/CPU:0").pictures
    assert made is not None
    assert (made.images, made.pixels, made.made) == (12, 12 * 500 * 375, True)  # twice the batch
    assert 0.2 < made.encoded_bytes / made.pixels < 0.3
    monkeypatch.setattr(feeds, "MAX_KEPT_BYTES", 3 * 67**2 * 8)
    fewer = feeds.open_feed(StepConfig(feed="cache", **SMALL), "/CPU:0").pictures
    assert fewer is not None
    assert fewer.images == 8


def test_a_cache_is_full_before_the_first_batch_and_reads_no_file_again(tmp_path):
    folder = write_folder(tmp_path / "photos")
    feed = feeds.open_feed(StepConfig(data=str(folder), feed="cache", **SMALL), "/CPU:0")
    for path in folder.rglob("*.png"):
        path.unlink()
    images, _labels = next(feed)
    assert float(np.max(images.numpy())) <= 1
    feed = feeds.open_feed(StepConfig(data=str(write_folder(folder)), feed="jpeg", **SMALL), "/CPU:0")
    for path in folder.rglob("*.png"):
        path.unlink()
    with pytest.raises(GnetError, match=r"data: .*cannot be decoded"):
        list(itertools.islice(iter(feed.__next__, None), 40))


@pytest.mark.parametrize("feed", ["jpeg", "tfrecord"])
def test_what_is_written_for_a_feed_goes_with_it(feed, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = feeds.open_feed(StepConfig(data="digits", feed=feed, image_size=67, batch_size=4, classes=10), "/CPU:0")
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) >= 1024
    next(made)
    del made
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_temporary_files_without_room_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(GnetError, match=r"^TMPDIR: .* feed jpeg \(No such file or directory\); name one with room$"):
        feeds.open_feed(StepConfig(feed="jpeg", **SMALL), "/CPU:0")


def test_a_damaged_image_is_named_also_where_it_would_be_kept(tmp_path):
    folder = write_folder(tmp_path / "photos")
    damaged = folder / "bark" / "03.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    config = StepConfig(data=str(folder), **SMALL)
    assert damaged in paths_of(open_data(str(folder)).train)  # its header is sound
    with pytest.raises(GnetError, match=r"^data: '.*03\.png' cannot be decoded"):
        feeds.open_feed(dataclasses.replace(config, feed="cache"), "/CPU:0")


def test_more_images_than_a_batch_takes_are_needed(tmp_path):
    folder = write_folder(tmp_path / "photos")
    with pytest.raises(GnetError, match=r"batch_size: 32 is too large; the data has 24 training images"):
        feeds.open_feed(StepConfig(data=str(folder), feed="jpeg", image_size=67, classes=3), "/CPU:0")
    with pytest.raises(GnetError, match=r"classes: 2 is too few"):
        feeds.open_feed(StepConfig(data=str(folder), feed="jpeg", image_size=67, classes=2, batch_size=2), "/CPU:0")


def test_the_input_alone_takes_batches_and_has_neither_loss_nor_work(tmp_path):
    config = StepConfig(data=str(write_folder(tmp_path / "photos")), part="input", feed="jpeg", **SMALL)
    case = InputCase(config)
    case.trace()
    case.set_dropout(False)
    case.run(3)
    assert (case.steps, case.trace_count, case.applied_steps(), case.skipped_steps()) == (3, 0, 0, 0)
    assert case.flop_per_image() == 0
    assert case.feed.waited_seconds > 0
    assert case.feed.made_ahead > 4  # what is prefetched, at the least
    assert case.peak_memory()[0] > 0


def test_a_step_is_fed_and_learns(tmp_path):
    config = StepConfig(data=str(write_folder(tmp_path / "photos")), feed="tfrecord", execution="eager", **SMALL)
    case = Case(config)
    assert float(case.run(2)) > 0
    assert case.applied_steps() == 2
    assert case.feed.waited_seconds > 0


def test_a_batch_that_is_ready_is_never_waited_for():
    feed = feeds.open_feed(StepConfig(**SMALL), "/CPU:0")
    assert next(feed)[0] is next(feed)[0]
    assert (feed.made_ahead, feed.waited_seconds, feed.pictures) == (0, 0.0, None)


def test_what_has_no_step_or_no_ready_batch_is_neither_trained_nor_traced(tmp_path):
    alone, fed = StepConfig(part="input", feed="jpeg"), StepConfig(feed="jpeg")
    with pytest.raises(GnetError, match=r"^part: 'input' has no step; use train, gradients or forward$"):
        make_train_step(None, alone)  # type: ignore[arg-type]
    with pytest.raises(GnetError, match=r"^feed: 'jpeg' cannot be traced"):
        trace_case(fed, tmp_path, 1)
    digits = open_data("digits")
    with pytest.raises(GnetError, match=r"^part: 'input' is for gnet bench to measure; a session trains with train$"):
        train(alone, digits, tmp_path / "out", epochs=1)
    with pytest.raises(GnetError, match=r"^feed: 'jpeg' is for gnet bench to measure; a session trains with ready$"):
        train(fed, digits, tmp_path / "out", epochs=1)
    assert list(tmp_path.iterdir()) == []
