"""Packs: what is written, what comes back, and how each kind of damage is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gnet_core.config import GnetError
from gnet_core.datasets.catalog import fingerprint, open_data
from gnet_core.datasets.data_set import RecordFiles, Split
from gnet_core.datasets.packs import changed_shards
from gnet_core.frameworks.tf import pack as packing
from gnet_core.frameworks.tf.pack import pack
from tests.pictures import paths_of, write_folder, write_image


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A pack of 24 images to train and 6 to test, one of which is turned and one transparent."""
    folder = write_folder(tmp_path / "photos")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 5)).save(folder / "bark" / "00.png", exif=exif)
    Image.new("RGBA", (9, 5)).save(folder / "wool" / "00.png")
    out = tmp_path / "pack"
    out.mkdir()
    pack(open_data(str(folder)), out, shard_bytes=500)
    return out


def refused(folder: Path, *parts: object) -> None:
    with pytest.raises(GnetError) as caught:
        open_data(str(folder))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


def test_a_pack_opens_as_what_was_packed(packed: Path) -> None:
    source, opened = open_data(str(packed.with_name("photos"))), open_data(str(packed))
    assert opened.name == str(packed)
    assert opened.class_names == source.class_names
    for name in ("notes", "duplicates", "mirrored", "aligned"):
        assert getattr(opened, name) == getattr(source, name)
    assert opened.default_image_size == source.default_image_size
    assert opened.test.labels.tolist() == source.test.labels.tolist()
    assert opened.train.labels.dtype == np.uint16
    assert sorted(opened.train.labels.tolist()) == source.train.labels.tolist() != opened.train.labels.tolist()
    for split, before in ((opened.train, source.train), (opened.test, source.test)):
        assert sorted(split.orientations().tolist()) == sorted(before.orientations().tolist())
        assert sorted(split.transparencies().tolist()) == sorted(before.transparencies().tolist())
        assert isinstance(split.images, RecordFiles)
        assert len(split.images.paths) > 1
        assert sum(split.images.counts) == len(split)
        assert changed_shards(split.images) == ()


def test_arrays_are_packed_as_png(tmp_path: Path) -> None:
    digits = open_data("digits")
    index = pack(digits, tmp_path)
    assert set(index.train.kinds) == {"PNG"}
    opened = open_data(str(tmp_path))
    assert (opened.default_image_size, opened.mirrored, len(opened.train)) == (72, "other", 1438)
    assert [shard.file for shard in index.train.shards] == ["train-00000.tfrecord"]


def test_two_packs_of_the_same_are_the_same_and_one_of_another_seed_is_not(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    pack(open_data(str(tmp_path / "photos")), tmp_path / "again", shard_bytes=500)
    for path in packed.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    write_image(tmp_path / "photos" / "bark" / "01.png", (5, 6, 7))
    (tmp_path / "other").mkdir()
    pack(open_data(str(tmp_path / "photos")), tmp_path / "other", shard_bytes=500)
    assert fingerprint(open_data(str(packed))) != fingerprint(open_data(str(tmp_path / "other")))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file or directory"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "pack.json promises"),
        (lambda path: path.write_bytes(b""), "has 0 bytes"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read: is no regular file"),
    ],
)
def test_a_shard_that_is_missing_or_cut_off_is_named(
    packed: Path, damage: Callable[[Path], Any], complaint: str
) -> None:
    path = packed / "train-00001.tfrecord"
    damage(path)
    refused(packed, path, complaint)


def test_a_shard_of_another_content_is_named_by_its_digest(packed: Path) -> None:
    path = packed / "test-00000.tfrecord"
    path.write_bytes(bytes(path.stat().st_size))
    images = open_data(str(packed)).test.images
    assert isinstance(images, RecordFiles)
    (changed,) = changed_shards(images)
    assert changed.path == str(path)
    assert changed.reason.startswith("is not as it was packed")


def set_to(*where: Any, value: Any) -> Callable[[Any], None]:
    def change(index: Any) -> None:
        *path, last = where
        for step in path:
            index = index[step]
        index[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (set_to("format_version", value=2), "format_version is 2; this version of gnet reads 1"),
        (set_to("format_version", value=None), "format_version is None"),
        (set_to("class_names", value=["a"]), "'class_names' has 1 different names"),
        (set_to("class_names", value=["a", "a", "b"]), "'class_names' has 2 different names"),
        (set_to("train", "labels", 3, value=3), "'train.labels' has labels up to 3; there are 3 classes"),
        (set_to("train", "labels", 3, value=-1), "'train.labels[3]' is -1"),
        (set_to("train", "labels", value=[]), "'train.labels' has 0 entries for the 24 images"),
        (set_to("train", "shards", value=[]), "entries for the 0 images"),
        (set_to("test", "orientations", 0, value=9), "'test.orientations[0]' is 9; it has to be a whole number"),
        (set_to("test", "kinds", 0, value="TIFF"), "it has to be one of JPEG, PNG, GIF, BMP"),
        (set_to("test", "shards", 0, "file", value="../photos/x.tfrecord"), "a name such as train-00000.tfrecord"),
        (set_to("test", "shards", 0, "images", value=0), "'test.shards[0].images' is 0"),
        (set_to("notes", value=None), "'notes' is None"),
    ],
)
def test_a_field_of_the_index_that_is_wrong_is_named(
    packed: Path, change: Callable[[Any], None], complaint: str
) -> None:
    path = packed / "pack.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    refused(packed, path, complaint)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": NaN}'])
def test_an_index_that_is_none_is_named(packed: Path, text: str) -> None:
    (packed / "pack.json").write_text(text)
    refused(packed, packed / "pack.json")


def test_what_is_not_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data(str(write_folder(tmp_path / "photos")))
    gone = paths_of(data.test)[4]

    def removes(split: Split, number: int) -> Any:
        gone.unlink(missing_ok=True)
        return encoded(split, number)

    encoded = packing._encoded
    monkeypatch.setattr(packing, "_encoded", removes)
    (tmp_path / "pack").mkdir()
    with pytest.raises(GnetError, match=f"^data: {re.escape(repr(str(gone)))} cannot be read: No such file"):
        pack(data, tmp_path / "pack", shard_bytes=500)
    assert list((tmp_path / "pack").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(GnetError, match=r"^out: .*absent cannot be written: No such file or directory"):
        pack(open_data("digits"), tmp_path / "absent")


def test_a_pack_is_not_packed_again(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(GnetError, match="is in TFRecord files already"):
        pack(open_data(str(packed)), tmp_path)
