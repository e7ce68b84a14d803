"""Batches: what reaches the train step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets.catalog import open_data
from gnet_core.datasets.data_set import Split
from gnet_core.frameworks.tf import input_pipeline
from gnet_core.frameworks.tf.decoding import fit
from gnet_core.frameworks.tf.input_pipeline import (
    Loader,
    batches,
    endless_batches,
    explain_decode_error,
    named_errors,
    synthetic_batch,
)
from gnet_core.frameworks.tf.pack import pack
from tests.pictures import paths_of, write_dtd, write_folder, write_image

SIZE = 67


def config(**changes: Any) -> StepConfig:
    return StepConfig(**{"image_size": SIZE, "batch_size": 4, "classes": 10, **changes})


def labels_of(split: Split, config: StepConfig, training: bool = True) -> list[int]:
    return [int(label) for _, labels in batches(split, config, training=training) for label in labels]


def one_image(path: Path) -> Any:
    split = Split((str(path),), np.zeros(1, np.uint16))
    ((images, _),) = batches(split, config(batch_size=1), training=False)
    return images.numpy()[0]


@pytest.mark.parametrize("seed", [0, 2**31 + 5])
def test_the_synthetic_batch_is_noise_between_0_and_1_with_labels_of_every_class(seed: int) -> None:
    images, labels = synthetic_batch(config(batch_size=64, classes=5, seed=seed))
    assert images.shape == (64, SIZE, SIZE, 3)
    assert images.dtype == "float32"
    assert labels.shape == (64,)
    assert labels.dtype == "uint16"
    values = images.numpy()
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert values.mean() == pytest.approx(1 / 2, abs=0.01)
    assert values.std() == pytest.approx(12**-0.5, abs=0.01)
    assert set(labels.numpy().tolist()) == {0, 1, 2, 3, 4}


def test_the_synthetic_batch_is_the_same_for_a_seed_and_another_for_another() -> None:
    first, again, other = (synthetic_batch(config(seed=seed)) for seed in (3, 3, 4))
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, different)


def test_digits_arrive_as_float32_squares_of_three_equal_channels() -> None:
    seen = 0
    for images, labels in batches(open_data("digits").test, config(batch_size=64), training=True):
        assert images.shape == (64, SIZE, SIZE, 3)
        assert images.dtype == "float32"
        assert labels.shape == (64,)
        assert labels.dtype == "uint16"
        values = images.numpy()
        assert values.min() == 0.0
        assert 0.9 < values.max() <= 1.0
        np.testing.assert_array_equal(values[..., 0], values[..., 1])
        np.testing.assert_array_equal(values[..., 0], values[..., 2])
        seen += len(labels)
    assert seen == len(open_data("digits").test) // 64 * 64


def test_images_held_in_colour_keep_their_colours() -> None:
    split = Split(np.full((1, 8, 8, 3), (0, 51, 255), np.uint8), np.zeros(1, np.uint16))
    ((images, _),) = batches(split, config(), training=False)
    np.testing.assert_allclose(images[0, 33, 33], (0.0, 0.2, 1.0), atol=1e-6)


def test_testing_keeps_the_order_and_the_last_smaller_batch() -> None:
    split = open_data("digits").test
    settings = config(batch_size=100)
    sizes = [len(labels) for _, labels in batches(split, settings, training=False)]
    assert sizes == [100] * (len(split) // 100) + [len(split) % 100]
    assert labels_of(split, settings, training=False) == split.labels.tolist()


def test_training_shuffles_anew_each_epoch_and_repeatably_for_the_seed() -> None:
    split = Split(np.zeros((40, 8, 8), np.uint8), np.arange(40, dtype=np.uint16))

    def two_epochs(seed: int) -> list[list[int]]:
        dataset = batches(split, config(seed=seed), training=True)
        return [[int(label) for _, labels in dataset for label in labels] for _ in range(2)]

    first, second = two_epochs(1)
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second
    assert list(range(40)) not in (first, second)
    assert two_epochs(1) == [first, second]
    assert two_epochs(2)[0] != first


def test_images_and_labels_stay_together_when_shuffled() -> None:
    levels = np.arange(40, dtype=np.uint8)
    split = Split(np.tile(levels[:, None, None], (1, 8, 8)), levels.astype(np.uint16))
    for images, labels in batches(split, config(), training=True):
        np.testing.assert_allclose(images[:, 20, 20, 0] * 255, labels.numpy(), atol=1e-3)


def test_a_batch_larger_than_the_training_images_is_refused() -> None:
    split = Split(np.zeros((3, 8, 8), np.uint8), np.zeros(3, np.uint16))
    with pytest.raises(
        GnetError, match=r"^batch_size: 4 is too large; the data has 3 training images, so use at most 3$"
    ):
        batches(split, config(), training=True)
    assert labels_of(split, config(), training=False) == [0, 0, 0]


def test_the_batch_size_of_training_is_known_before_it_runs() -> None:
    split = Split(np.zeros((8, 8, 8), np.uint8), np.zeros(8, np.uint16))
    images, labels = batches(split, config(), training=True).element_spec
    assert images.shape == (4, SIZE, SIZE, 3)
    assert labels.shape == (4,)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
@pytest.mark.parametrize("size", [(90, 80), (30, 20), (200, 20), (SIZE, SIZE)])
def test_image_files_of_any_size_keep_their_colour(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    values = one_image(write_image(tmp_path / f"1.{suffix}", (204, 102, 51), size))
    assert values.shape == (SIZE, SIZE, 3)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, np.broadcast_to((0.8, 0.4, 0.2), values.shape), atol=0.01)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif"])
def test_a_grey_image_file_becomes_three_equal_channels(tmp_path: Path, suffix: str) -> None:
    values = one_image(write_image(tmp_path / f"1.{suffix}", 51))
    np.testing.assert_allclose(values, np.full((SIZE, SIZE, 3), 0.2), atol=1e-5)


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "1.gif"
    frames = [Image.new("RGB", (90, 80), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(one_image(path), np.broadcast_to((1.0, 0.0, 0.0), (SIZE, SIZE, 3)), atol=0.01)


def test_a_white_photo_made_smaller_does_not_exceed_1(tmp_path: Path) -> None:
    values = one_image(write_image(tmp_path / "1.png", 255, size=(300, 200)))
    assert values.max() == 1.0
    assert values.min() == pytest.approx(1.0, abs=1e-4)


def test_making_smaller_averages_every_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4 * SIZE, 4 * SIZE), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    blocks = pixels.reshape(SIZE, 4, SIZE, 4).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(one_image(tmp_path / "noise.png")[..., 0], blocks, atol=0.51 / 255)  # whole levels


@pytest.mark.parametrize("height", [2, 4 * SIZE])
def test_enlarging_in_either_direction_makes_a_ramp_and_no_blocks(tmp_path: Path, height: int) -> None:
    Image.fromarray(np.tile(np.array([0, 255], np.uint8), (height, 1))).save(tmp_path / "edge.png")
    row = one_image(tmp_path / "edge.png")[SIZE // 2, :, 0]
    assert len(np.unique(row.round(4))) > SIZE // 4
    assert (np.diff(row) > -1e-6).all()


def test_a_narrow_picture_is_averaged_along_its_long_side(tmp_path: Path) -> None:
    stripes = np.tile(np.array([[0], [0], [0], [255]], np.uint8), (2 * SIZE, 2))
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    np.testing.assert_allclose(one_image(tmp_path / "stripes.png"), np.full((SIZE, SIZE, 3), 0.25), atol=0.05)


def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    path = write_folder(tmp_path, images=2) / "sand" / "01.png"
    path.write_bytes(path.read_bytes()[:60])
    opened = open_data(str(tmp_path))
    damaged, whole = (opened.train, opened.test) if path in paths_of(opened.train) else (opened.test, opened.train)
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(batches(damaged, config(), training=False))
    assert str(explain_decode_error(damaged)).startswith(f"data: {str(path)!r} cannot be decoded")
    assert "each of the 3 images decodes" in str(explain_decode_error(whole))


def test_a_file_that_has_gone_since_opening_is_named(tmp_path: Path) -> None:
    opened = open_data(str(write_folder(tmp_path, images=2)))
    gone = paths_of(opened.train)[1]
    gone.unlink()
    assert str(gone) in str(explain_decode_error(opened.train))


def test_every_image_of_a_dtd_split_decodes(tmp_path: Path) -> None:
    opened = open_data(str(write_dtd(tmp_path)))
    assert labels_of(opened.train, config(batch_size=2), training=False) == [0, 1]


def test_the_synthetic_batch_never_ends_and_is_made_once() -> None:
    endless = endless_batches(config(), "/CPU:0")
    assert next(endless)[0] is next(endless)[0]


def test_a_data_set_begins_anew_after_its_last_whole_batch() -> None:
    endless = endless_batches(config(data="digits", batch_size=1000), "/CPU:0")
    first, second = next(endless), next(endless)  # 1,438 training images hold one batch of 1,000
    assert first[0].shape == second[0].shape == (1000, SIZE, SIZE, 3)
    assert not np.array_equal(first[1], second[1])


def test_labels_beyond_the_classes_are_refused_before_the_first_batch() -> None:
    with pytest.raises(GnetError, match="classes: 5 is too few; data digits has labels up to 9"):
        endless_batches(config(data="digits", classes=5), "/CPU:0")


IMAGE_BYTES = 3 * SIZE**2 + 512
"""What an image that is kept is reckoned at."""


def passes(loader: Loader, *epochs: int) -> list[tuple[Any, Any]]:
    """Images and labels of each of these epochs, all batches together."""
    found = []
    for epoch in epochs:
        images, labels = zip(*loader.epoch(epoch), strict=True)
        found.append((np.concatenate(images), np.concatenate(labels)))
    return found


def require_equal(these: list[tuple[Any, Any]], those: list[tuple[Any, Any]]) -> None:
    for (images, labels), (other_images, other_labels) in zip(these, those, strict=True):
        np.testing.assert_array_equal(labels, other_labels)
        np.testing.assert_array_equal(images, other_images)


@pytest.fixture
def photos(tmp_path: Path) -> Split:
    """24 noisy images of three classes, no two alike."""
    chance = np.random.default_rng(0)
    for name in ("bark", "sand", "wool"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            levels = chance.integers(0, 256, (40 + number, 70, 3), np.uint8)
            Image.fromarray(levels).save(tmp_path / "photos" / name / f"{number}.png")
    return open_data(str(tmp_path / "photos")).train


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kept", [1, 10, 23, 24, 1000])
@pytest.mark.parametrize("kind", ["files", "arrays"])
def test_what_is_kept_in_memory_changes_no_batch(photos: Split, kind: str, kept: int, training: bool) -> None:
    digits = np.array(open_data("digits").train.images)[:24]
    split = photos if kind == "files" else Split(digits, photos.labels)
    settings = config(batch_size=5)
    fresh = Loader(split, settings, training=training)
    keeping = Loader(split, settings, training=training, memory_bytes=kept * IMAGE_BYTES)
    assert fresh.kept == fresh.kept_bytes == 0
    assert keeping.kept == min(kept, 24)
    assert keeping.kept_bytes == keeping.kept * IMAGE_BYTES
    require_equal(passes(keeping, 1, 2, 1), passes(fresh, 1, 2, 1))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kept", [10, 24])
def test_an_image_that_is_kept_is_read_once(photos: Split, kept: int, training: bool) -> None:
    loader = Loader(photos, config(batch_size=4), training=training, memory_bytes=kept * IMAGE_BYTES)
    first = passes(loader, 1)
    for path in paths_of(photos)[:kept]:
        path.unlink()
    require_equal(passes(loader, 1), first)


def test_an_image_more_than_fits_is_not_kept(photos: Split) -> None:
    assert Loader(photos, config(), training=True, memory_bytes=10 * IMAGE_BYTES - 1).kept == 9


@pytest.mark.parametrize("kept", [0, 7, 24])
def test_an_epoch_is_the_same_whenever_it_is_run_with_its_augmentation(photos: Split, kept: int) -> None:
    def loader() -> Loader:
        how: dict[str, Any] = {"augmentation": "crop-flip", "memory_bytes": kept * IMAGE_BYTES}
        return Loader(photos, config(batch_size=4), training=True, **how)

    one = loader()
    first, second, again = passes(one, 1, 2, 1)
    require_equal([again], [first])
    require_equal(passes(loader(), 2), [second])  # as a session that is resumed runs it
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize("kind", ["files", "arrays", "pack"])
@pytest.mark.parametrize("kept", [0, 7, 24])
def test_an_epoch_that_goes_on_leaves_out_what_is_done_and_does_not_decode_it(
    photos: Split, kind: str, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = photos
    if kind == "arrays":
        split = Split(np.array(open_data("digits").train.images)[:24], photos.labels)
    elif kind == "pack":
        (tmp_path / "pack").mkdir()
        pack(open_data(str(tmp_path / "photos")), tmp_path / "pack", shard_bytes=50_000)
        split = open_data(str(tmp_path / "pack")).train
    decoded = 0

    def count() -> None:
        nonlocal decoded
        decoded += 1

    def counted(levels: tf.Tensor, size: int) -> tf.Tensor:
        with tf.control_dependencies([tf.py_function(count, [], [])]):
            return fit(levels, size)

    monkeypatch.setattr(input_pipeline, "fit", counted)
    how: dict[str, Any] = {"augmentation": "crop", "memory_bytes": kept * IMAGE_BYTES}
    loader = Loader(split, config(batch_size=4), training=True, **how)
    whole: list[tuple[Any, Any]] = [(np.array(images), np.array(labels)) for images, labels in loader.epoch(2)]
    first_pass, decoded = decoded, 0
    rest: list[tuple[Any, Any]] = [(np.array(images), np.array(labels)) for images, labels in loader.epoch(2, done=4)]
    require_equal(rest, whole[4:])
    assert first_pass == 24
    assert decoded <= 8


def test_augmentation_changes_images_of_training_anew_in_each_epoch_and_none_of_test(photos: Split) -> None:
    plain = Loader(photos, config(batch_size=24), training=True)
    changed = Loader(photos, config(batch_size=24), training=True, augmentation="crop-flip")
    for (images, labels), (others, other_labels) in zip(passes(plain, 1, 2), passes(changed, 1, 2), strict=True):
        np.testing.assert_array_equal(labels, other_labels)
        assert sum(np.array_equal(image, other) for image, other in zip(images, others, strict=True)) < 4
    testing = Loader(photos, config(batch_size=24), training=False, augmentation="crop-flip")
    require_equal(passes(testing, 1), passes(Loader(photos, config(batch_size=24), training=False), 2))


def test_a_loader_knows_its_batches(photos: Split) -> None:
    training, testing = (Loader(photos, config(batch_size=7), training=training) for training in (True, False))
    assert (len(training), len(testing)) == (3, 4)
    assert (len(training.epoch(1)), len(testing.epoch(1))) == (3, 4)


def test_a_pack_gives_the_same_images_as_what_it_was_made_of(photos: Split, tmp_path: Path) -> None:
    data = open_data(str(tmp_path / "photos"))
    (tmp_path / "pack").mkdir()
    pack(data, tmp_path / "pack", shard_bytes=50_000)
    packed = open_data(str(tmp_path / "pack"))
    everything = [Loader(split, config(), training=False) for split in (data.test, packed.test)]
    require_equal(passes(everything[0], 1), passes(everything[1], 1))

    def sorted_images(loader: Loader, epoch: int) -> list[bytes]:
        ((images, labels),) = passes(loader, epoch)
        return sorted(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))

    expected = sorted_images(Loader(photos, config(batch_size=24), training=True), 1)
    for memory_bytes in (0, 23 * IMAGE_BYTES, 24 * IMAGE_BYTES):
        loader = Loader(packed.train, config(batch_size=24), training=True, memory_bytes=memory_bytes)
        assert loader.kept == (24 if memory_bytes == 24 * IMAGE_BYTES else 0)
        first, second, again = passes(loader, 1, 2, 1)
        require_equal([again], [first])
        assert not np.array_equal(first[1], second[1])
        assert sorted_images(loader, 3) == expected


@pytest.mark.usefixtures("photos")
def test_a_record_that_is_damaged_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    pack(open_data(str(tmp_path / "photos")), tmp_path / "pack")
    packed = open_data(str(tmp_path / "pack"))
    path = tmp_path / "pack" / "train-00000.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(GnetError, match=f"^data: {re.escape(repr(str(path)))} is not as it was packed"):
        list(named_errors(packed.train, Loader(packed.train, config(), training=False).epoch(1)))
