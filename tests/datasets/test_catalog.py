"""Data sets: what opens, what is refused and how it is named."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import os
import re
import socket
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gnet_core.config import GnetError
from gnet_core.datasets import catalog
from gnet_core.datasets.catalog import check_labels, fingerprint, open_data
from gnet_core.datasets.data_set import DataSet, Split, leave_out
from gnet_core.datasets.image_files import BrokenImage, content_keys, look_at
from gnet_core.datasets.image_headers import picture_header
from tests.pictures import paths_of, write_dtd, write_folder, write_image

IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(values: Any) -> bytes:
    array = np.array(values, np.uint8)
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(root: Path, compress: bool = False) -> Path:
    """Six images to train with and three to test with, image i filled with level i, of labels 0, 1, 2, 0, 1, 2."""
    root.mkdir(exist_ok=True)
    for part, count in (("train", 6), ("t10k", 3)):
        levels = np.arange(count)
        contents = idx_bytes(np.ones((count, 5, 4)) * levels[:, None, None]), idx_bytes(levels % 3)
        for name, content in zip(("images-idx3", "labels-idx1"), contents, strict=True):
            path = root / f"{part}-{name}-ubyte{'.gz' if compress else ''}"
            path.write_bytes(gzip.compress(content) if compress else content)
    return root


def refused(name: object, *parts: object) -> None:
    """Opening fails with one line that holds each of the parts. Broken images are refused as well."""
    with pytest.raises(GnetError) as caught:
        open_data(str(name), strict=True)
    message = str(caught.value)
    assert message.startswith("data: ")
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


def file_names(split: Split) -> list[str]:
    return ["/".join(path.parts[-2:]) for path in paths_of(split)]


def test_opening_and_importing_do_not_import_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; import gnet_core.datasets.catalog as data; assert 'sklearn' not in sys.modules; "
        "data.open_data(sys.argv[1]); "
        "data.open_data('digits'); assert 'tensorflow' not in sys.modules and 'sklearn' in sys.modules"
    )
    root = Path(catalog.__file__).parents[1]
    words = [sys.executable, "-c", code, str(write_folder(tmp_path / "photos"))]
    answer = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_digits_are_ten_classes_of_eight_by_eight_levels_from_0_to_255() -> None:
    digits = open_data("digits")
    assert (digits.name, digits.classes, digits.default_image_size) == ("digits", 10, 72)
    assert digits.class_names == tuple("0123456789")
    assert len(digits.train) + len(digits.test) == 1797
    for split in (digits.train, digits.test):
        assert isinstance(split.images, np.ndarray)
        assert split.images.shape == (len(split), 8, 8)
        assert split.images.dtype == np.uint8
        assert split.labels.shape == (len(split),)
        assert split.labels.dtype == np.uint16
        assert (split.images.min(), split.images.max()) == (0, 255)


def test_digits_are_split_alike_each_time_with_a_fifth_of_every_digit_for_testing() -> None:
    first, second = open_data("digits"), open_data("digits")
    np.testing.assert_array_equal(first.test.images, second.test.images)
    tested, trained = np.bincount(first.test.labels), np.bincount(first.train.labels)
    np.testing.assert_allclose(tested / (tested + trained), 0.2, atol=0.005)


def test_digits_in_test_are_not_in_train() -> None:
    digits = open_data("digits")
    train, test = ({image.tobytes() for image in np.array(split.images)} for split in (digits.train, digits.test))
    assert len(train) + len(test) == 1797
    assert not train & test


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_idx_files_of_a_folder_are_read(tmp_path: Path, compress: bool) -> None:
    opened = open_data(str(write_idx(tmp_path, compress)))
    assert opened.class_names == ("0", "1", "2")
    assert opened.default_image_size == 72
    assert isinstance(opened.train.images, np.ndarray)
    assert isinstance(opened.test.images, np.ndarray)
    assert opened.train.images.shape == (6, 5, 4)
    assert opened.test.images.shape == (3, 5, 4)
    assert opened.train.images[:, 4, 3].tolist() == [0, 1, 2, 3, 4, 5]
    assert opened.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert opened.train.labels.dtype == np.uint16


def test_fashion_mnist_is_read_from_its_package_folder_with_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "FASHION_MNIST_FOLDER", write_idx(tmp_path, compress=True))
    opened = open_data("fashion-mnist")
    assert (opened.name, opened.classes, len(opened.train)) == ("fashion-mnist", 10, 6)
    assert opened.class_names[0] == "T-shirt/top"
    assert opened.class_names[9] == "Ankle boot"


def test_fashion_mnist_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "FASHION_MNIST_FOLDER", tmp_path / "absent")
    refused(
        "fashion-mnist", "install Debian's package dataset-fashion-mnist", "the folder that holds the four IDX files"
    )


@pytest.mark.skipif(not catalog.FASHION_MNIST_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_packaged_fashion_mnist_has_60000_and_10000_balanced_images() -> None:
    opened = open_data("fashion-mnist")
    assert np.bincount(opened.train.labels).tolist() == [6000] * 10
    assert np.bincount(opened.test.labels).tolist() == [1000] * 10


@pytest.mark.parametrize("missing", IDX_NAMES)
def test_a_missing_idx_file_is_named(tmp_path: Path, missing: str) -> None:
    (write_idx(tmp_path) / missing).unlink()
    refused(tmp_path, tmp_path, f"lacks {missing}")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("train-images-idx3-ubyte", idx_bytes(np.zeros((6, 5, 4)))[:-1], "has 135 bytes, its header promises 136"),
        ("t10k-images-idx3-ubyte", idx_bytes(np.zeros((3, 5, 4))) + b"\0", "has 77 bytes, its header promises 76"),
        ("t10k-images-idx3-ubyte", idx_bytes(np.zeros(3)), "is not an IDX file of unsigned bytes in 3 dimensions"),
        ("train-labels-idx1-ubyte", b"", "is not an IDX file of unsigned bytes in 1 dimensions"),
        ("train-labels-idx1-ubyte", bytes((0, 0, 8, 1)), "is not an IDX file"),
        ("train-labels-idx1-ubyte", bytes((0, 0, 13, 1, 0, 0, 0, 0)), "is not an IDX file"),
        ("train-labels-idx1-ubyte", idx_bytes([]), "is empty"),
        ("t10k-images-idx3-ubyte", idx_bytes(np.zeros((3, 0, 4))), "is empty; its header promises 3 x 0 x 4 values"),
        ("train-labels-idx1-ubyte", idx_bytes([0, 1]), "has 2 labels for the 6 images of train-images-idx3-ubyte"),
    ],
)
def test_a_damaged_idx_file_is_named_with_its_damage(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (write_idx(tmp_path) / name).write_bytes(content)
    refused(tmp_path, tmp_path / name, complaint)


@pytest.mark.parametrize("damage", ["not gzip", "truncated", "garbled"])
def test_a_damaged_gzip_file_is_named(tmp_path: Path, damage: str) -> None:
    path = write_idx(tmp_path, compress=True) / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    content = {"not gzip": b"no", "truncated": whole[:-9], "garbled": whole[:10] + b"\xff" * 20 + whole[30:]}
    path.write_bytes(content[damage])
    refused(tmp_path, path, "is not a whole gzip file")


def test_a_folder_of_classes_is_split_alike_each_time_with_a_fifth_of_every_class_for_testing(tmp_path: Path) -> None:
    opened = open_data(str(write_folder(tmp_path)))
    assert opened.class_names == ("bark", "sand", "wool")
    assert opened.default_image_size == 224
    assert np.bincount(opened.train.labels).tolist() == [8, 8, 8]
    assert np.bincount(opened.test.labels).tolist() == [2, 2, 2]
    assert opened.train.labels.dtype == np.uint16
    for split in (opened.train, opened.test):
        folders = [name.partition("/")[0] for name in file_names(split)]
        assert folders == [opened.class_names[label] for label in split.labels]
    assert len({*file_names(opened.train), *file_names(opened.test)}) == 30
    assert open_data(str(tmp_path)).test.images == opened.test.images


def test_two_images_a_class_give_one_to_train_and_one_to_test(tmp_path: Path) -> None:
    opened = open_data(str(write_folder(tmp_path, images=2)))
    assert opened.train.labels.tolist() == opened.test.labels.tolist() == [0, 1, 2]


def test_hidden_files_and_files_beside_the_classes_are_ignored(tmp_path: Path) -> None:
    write_folder(tmp_path, images=2)
    for name in ("README.txt", ".hidden", "bark/.DS_Store"):
        (tmp_path / name).write_text("no image")
    (tmp_path / ".git").mkdir()
    opened = open_data(str(tmp_path))
    assert opened.classes == 3
    assert len(opened.train) == len(opened.test) == 3


def test_an_unknown_name_lists_what_can_be_used() -> None:
    message = "data: 'x' is unknown; use digits, fashion-mnist, or the path of an existing folder"
    with pytest.raises(GnetError, match=f"^{re.escape(message)}$"):
        open_data("x")


@pytest.mark.parametrize("name", ["", "y" * 5000, "y" * 5000 + ":3", "no\0path"])
def test_a_name_that_no_path_can_have_is_unknown(name: str) -> None:
    refused(name, "is unknown")


def test_synthetic_is_refused_as_a_set_to_open() -> None:
    refused("synthetic", "'synthetic' has nothing to learn")


def test_a_file_is_refused_as_a_folder(tmp_path: Path) -> None:
    path = write_image(tmp_path / "one.png")
    refused(path, path, "is a file; use the path of a folder")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, tmp_path, "has no class folders")


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "bark" / "1.png")
    refused(tmp_path, tmp_path, "has only the class folder 'bark'", "at least 2")


@pytest.mark.parametrize("images", [0, 1])
def test_a_class_with_too_few_images_is_named(tmp_path: Path, images: int) -> None:
    write_folder(tmp_path, images=2)
    (tmp_path / "moss").mkdir()
    for number in range(images):
        write_image(tmp_path / "moss" / f"{number}.png")
    refused(tmp_path, tmp_path / "moss", f"has {images} images", "needs 2")


@pytest.mark.parametrize("content", [b"text", b"RIFF\0\0\0\0WEBPVP8 "])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = write_folder(tmp_path, images=2) / "sand" / "Thumbs.db"
    path.write_bytes(content)
    refused(tmp_path, path, "is not an image; use JPEG, PNG, GIF or BMP")


def test_a_folder_inside_a_class_is_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path, images=2) / "sand" / "more"
    path.mkdir()
    refused(tmp_path, path, "is a folder")


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path, images=2) / "sand" / "broken.png"
    path.symlink_to(tmp_path / "nowhere.png")
    refused(tmp_path, path, "cannot be read: No such file")


@pytest.mark.parametrize(("suffix", "split"), [("", 1), (":1", 1), (":3", 3), (":10", 10)])
def test_dtd_folders_follow_the_lists_of_the_split_asked_for(tmp_path: Path, suffix: str, split: int) -> None:
    opened = open_data(f"{write_dtd(tmp_path)}{suffix}")
    assert opened.name == f"{tmp_path}{suffix}"
    assert opened.class_names == ("banded", "woven")
    assert opened.default_image_size == 224
    assert file_names(opened.train) == [f"banded/banded_{split:04}.jpg", f"woven/woven_{split:04}.jpg"]
    assert file_names(opened.test) == [f"banded/banded_{split + 20:04}.jpg", f"woven/woven_{split + 20:04}.jpg"]
    assert opened.train.labels.tolist() == [0, 1]
    assert opened.train.labels.dtype == np.uint16


@pytest.mark.parametrize("suffix", [":0", ":11", ":x", ":"])
def test_a_dtd_split_that_is_not_1_to_10_is_unknown(tmp_path: Path, suffix: str) -> None:
    refused(f"{write_dtd(tmp_path)}{suffix}", suffix, "is unknown")


def test_a_split_of_a_folder_without_lists_is_unknown(tmp_path: Path) -> None:
    refused(f"{write_folder(tmp_path, images=2)}:1", "is unknown")


@pytest.mark.parametrize("list_name", ["train1.txt", "test1.txt"])
@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("banded/banded_0011.jpg\nbanded/absent.jpg\n", "line 2: 'banded/absent.jpg' is not in images"),
        ("banded/banded_0011.jpg\n\nplaid/x.jpg\n", "line 3: 'plaid' is no class"),
        ("../labels/train1.txt\n", "line 1: '..' is no class"),
        ("banded/" + "y" * 5000, "line 1: 'banded/yyy"),
        ("banded\n", "line 1: 'banded' is not of the form class/file"),
        ("", "lists no images"),
        ("\n \n", "lists no images"),
    ],
)
def test_a_wrong_line_of_a_dtd_list_is_named(tmp_path: Path, list_name: str, lines: str, complaint: str) -> None:
    path = write_dtd(tmp_path) / "labels" / list_name
    path.write_text(lines)
    refused(tmp_path, path, complaint)


def test_a_dtd_list_in_another_encoding_is_refused_by_line(tmp_path: Path) -> None:
    path = write_dtd(tmp_path) / "labels" / "test1.txt"
    path.write_bytes(b"caf\xe9/1.jpg\n")
    refused(tmp_path, path, "line 1:", "is no class")


def test_a_missing_dtd_list_is_named(tmp_path: Path) -> None:
    path = write_dtd(tmp_path) / "labels" / "test4.txt"
    path.unlink()
    refused(f"{tmp_path}:4", path, "cannot be read: No such file")


def test_a_listed_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    path = write_dtd(tmp_path) / "images" / "woven" / "woven_0001.jpg"
    path.write_text("no image")
    refused(tmp_path, path, "is not an image")


def list_of(tmp_path: Path, name: str, *lines: str) -> Path:
    path = tmp_path / "labels" / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("banded/banded_0001.jpg", "is the same file as 'banded/banded_0001.jpg' in line 1 of train1.txt"),
        ("banded/linked.jpg", "is the same file as 'banded/banded_0001.jpg' in line 1 of train1.txt"),
        ("banded/hard.jpg", "is the same file as 'banded/banded_0001.jpg' in line 1 of train1.txt"),
        ("banded/./banded_0012.jpg", "is not of the form class/file"),
        ("banded//banded_0012.jpg", "is not of the form class/file"),
        ("banded/../banded/banded_0012.jpg", "is not of the form class/file"),
        ("banded/../woven/woven_0012.jpg", "is not of the form class/file"),
        ("banded/../../labels/val1.txt", "is not of the form class/file"),
        ("banded/other.jpg", "is a link to an image of 'woven', which is another class"),
        ("elsewhere/1.png", "is of a class whose folder is a link"),
    ],
)
def test_a_list_with_a_file_twice_or_of_another_class_is_refused_by_name_and_line(
    tmp_path: Path, line: str, complaint: str
) -> None:
    images = write_dtd(tmp_path) / "images" / "banded"
    (images / "linked.jpg").symlink_to("banded_0001.jpg")
    (images / "hard.jpg").hardlink_to(images / "banded_0001.jpg")
    (images / "other.jpg").symlink_to("../woven/woven_0012.jpg")
    write_image(tmp_path / "stranger" / "1.png")
    (tmp_path / "images" / "elsewhere").symlink_to(tmp_path / "stranger")
    refused(tmp_path, list_of(tmp_path, "test1.txt", "woven/woven_0021.jpg", line), f"line 2: {line!r}", complaint)


def test_a_file_twice_in_one_list_is_refused(tmp_path: Path) -> None:
    write_dtd(tmp_path)
    path = list_of(tmp_path, "train1.txt", "woven/woven_0001.jpg", "", "woven/woven_0001.jpg")
    refused(tmp_path, path, "line 3", "is the same file as 'woven/woven_0001.jpg' in line 1 of train1.txt")


def test_a_listed_file_may_be_a_link_to_where_the_images_are_kept(tmp_path: Path) -> None:
    kept = write_image(tmp_path / "store" / "b6d1.jpg")
    root = write_dtd(tmp_path / "dtd")
    (root / "images" / "woven" / "linked.jpg").symlink_to(kept)
    list_of(root, "train1.txt", "banded/banded_0001.jpg", "woven/linked.jpg")
    assert file_names(open_data(str(root)).train)[1] == "woven/linked.jpg"


def test_a_list_that_never_ends_or_is_too_long_is_refused(tmp_path: Path) -> None:
    path = write_dtd(tmp_path) / "labels" / "test1.txt"
    path.unlink()
    path.symlink_to("/dev/zero")
    refused(tmp_path, path, "cannot be read: is no regular file")
    path.unlink()
    os.mkfifo(path)
    refused(tmp_path, path, "cannot be read: is no regular file")
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**26 + 1)
    refused(tmp_path, path, "cannot be read: has 67108865 bytes")


@pytest.mark.parametrize("names", [("Bark", "bark"), ("caf\u00e9", "cafe\u0301"), ("a", "a ")])
def test_classes_that_a_careless_eye_takes_for_one_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    for root in (tmp_path, tmp_path / "dtd" / "images"):
        for name in (*names, "wool"):
            for number in range(2):
                write_image(root / name / f"{number}.png")
    refused(tmp_path, *map(repr, sorted(names)), "are told apart by case, spaces or Unicode form alone")
    (tmp_path / "dtd" / "labels").mkdir()
    list_of(tmp_path / "dtd", "train1.txt", f"{names[0]}/0.png")
    refused(tmp_path / "dtd", *map(repr, sorted(names)), "alone")


def test_classes_that_are_one_folder_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, images=2)
    (tmp_path / "rind").symlink_to("bark")
    refused(tmp_path, "'bark' and 'rind' that are one folder")


@pytest.mark.parametrize("target", ["nowhere", "moss"])
def test_a_class_folder_that_is_a_link_to_nothing_is_refused(tmp_path: Path, target: str) -> None:
    write_folder(tmp_path, images=2)
    (tmp_path / "moss").symlink_to(target)
    refused(tmp_path, tmp_path / "moss", "cannot be read")


def test_more_classes_than_labels_can_number_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "MAX_CLASSES", 3)
    write_folder(tmp_path, images=2)
    assert open_data(str(tmp_path)).classes == 3
    write_image(tmp_path / "moss" / "1.png")
    refused(tmp_path, tmp_path, "has 4 class folders; labels travel as uint16, so at most 3")


def test_images_with_the_same_content_in_train_and_test_or_under_two_classes_are_noted(tmp_path: Path) -> None:
    for number in range(20):
        write_image(tmp_path / ("wool", "bark")[number % 2] / f"{number:02}.png", 10 * number)
    assert open_data(str(tmp_path)).notes == ()
    for number in range(10):
        write_image(tmp_path / ("wool", "bark")[number % 2] / f"{number:02}.png", 255)
    first, second = open_data(str(tmp_path)).notes
    assert re.match(r"\d+ of 4 test images are training images as well, such as '.*png', the same as '.*png';", first)
    assert second == "images that stand under two classes or more: 1; at most one class can be right"


def test_a_long_file_is_compared_whole(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{number}.bmp", number, size=(300, 300)) for number in range(3)]
    contents = [bytearray(paths[0].read_bytes()) for _ in paths]
    contents[1][-5000] = 99  # neither at the beginning nor at the end
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    keys = content_keys([look_at(path) for path in paths])
    assert keys[0] == keys[2] != keys[1]


def test_idx_images_shared_by_train_and_test_are_noted_and_so_are_classes_without_training(tmp_path: Path) -> None:
    notes = open_data(str(write_idx(tmp_path))).notes
    assert notes == (
        "3 of 3 test images are training images as well, such as number 0, the same as number 0; "
        "the test accuracy is too good by what was learnt by heart",
    )
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes([0, 1, 7]))
    assert open_data(str(tmp_path)).notes[2] == "classes with test images but none to train with: 1, '7' the first"


@pytest.mark.parametrize(("train", "complaint"), [([0] * 6, "has labels up to 0; it needs those of two classes")])
def test_idx_labels_of_one_class_are_refused(tmp_path: Path, train: list[int], complaint: str) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(train))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(train[:3]))
    refused(tmp_path, tmp_path, complaint)


def test_fashion_mnist_with_labels_beyond_its_classes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "FASHION_MNIST_FOLDER", write_idx(tmp_path))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes([0, 1, 10]))
    refused("fashion-mnist", "has labels up to 10; it needs those of 0 to 9")


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_idx_files_may_have_a_dot_in_their_names_as_some_copies_do(tmp_path: Path, compress: bool) -> None:
    for path in list(write_idx(tmp_path, compress).iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(open_data(str(tmp_path)).train) == 6


def test_an_idx_file_that_is_a_pipe_or_a_folder_is_named(tmp_path: Path) -> None:
    path = write_idx(tmp_path) / "train-images-idx3-ubyte"
    path.unlink()
    os.mkfifo(path)
    refused(tmp_path, path, "cannot be read: is no regular file")
    path.unlink()
    path.mkdir()
    refused(tmp_path, path, "cannot be read: is no regular file")


def test_a_gzip_file_that_unpacks_to_more_than_its_header_promises_is_not_unpacked(tmp_path: Path) -> None:
    path = write_idx(tmp_path, compress=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros((6, 5, 4))) + bytes(2**24)))
    tracemalloc.start()
    refused(tmp_path, path, "has 137 bytes, its header promises 136")
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [((2**32 - 1, 2**16, 2**16), "promises"), ((1000, 1000, 1000), "which cannot hold the 1000000016 of its header")],
)
def test_a_header_that_promises_too_much_is_refused(tmp_path: Path, shape: tuple[int, ...], complaint: str) -> None:
    path = write_idx(tmp_path, compress=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes((0, 0, 8, 3)) + struct.pack(">3I", *shape) + bytes(100)))
    refused(tmp_path, path, complaint)


def png_of(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s2I5B", 13, b"IHDR", width, height, 8, 2, 0, 0, 0) + bytes(40)


def jpeg_of(width: int, height: int, before: bytes = b"") -> bytes:
    return b"\xff\xd8" + before + struct.pack(">HHBHHB", 0xFFC2, 17, 8, height, width, 3) + bytes(40)


def gif_of(width: int, height: int, frames: int = 0, frame_side: int = 0) -> bytes:
    frame = b"," + struct.pack("<4HB", 0, 0, frame_side, frame_side, 0) + b"\x08\x01\x00\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + frames * frame + b";"


def bmp_of(width: int, height: int) -> bytes:
    return b"BM" + bytes(12) + struct.pack("<Iii", 40, width, height) + bytes(40)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (png_of(100_000, 100_000), "is to be 100000 x 100000 pixels; a picture has 1 to 67108864"),
        (png_of(0, 5), "is to be 0 x 5 pixels"),
        (jpeg_of(65_535, 65_535), "is to be 65535 x 65535 pixels"),
        (jpeg_of(65_535, 65_535, b"\xff\xe1\xff\xff" + bytes(65_533) + b"\0\xff\xff"), "is to be 65535 x 65535 pixels"),
        (jpeg_of(8, 8)[:9], "is cut short"),
        (b"\xff\xd8\xff\xda" + bytes(50), "has no frame header"),
        (b"\xff\xd8\xff" + b"\xff" * 2**21, "has no frame header"),
        (gif_of(60_000, 60_000), "is to be 60000 x 60000 pixels"),
        (gif_of(10, 10, frames=1, frame_side=60_000), "is to be 60000 x 60000 pixels"),
        (gif_of(10, 10, frames=300, frame_side=1000), "has frames of 300000000 pixels"),
        (gif_of(10, 10, frames=400_000, frame_side=1), "has too many parts"),
        (bmp_of(20_000, -20_000), "is to be 20000 x 20000 pixels"),
        (bmp_of(10, 10)[:20], "is cut short"),
    ],
)
def test_a_small_file_that_would_become_an_enormous_picture_is_refused(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = write_folder(tmp_path, images=2) / "sand" / "bomb"
    path.write_bytes(content)
    refused(tmp_path, path, complaint)


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif"])
def test_the_size_that_a_header_promises_is_the_picture_s(tmp_path: Path, suffix: str, mode: str) -> None:
    picture = Image.new("RGB" if (mode, suffix) == ("P", "jpg") else mode, (91, 47))
    options: dict[str, Any] = {"save_all": True, "append_images": [picture.rotate(90)] * 3} if suffix == "gif" else {}
    picture.save(tmp_path / f"1.{suffix}", **options)
    with (tmp_path / f"1.{suffix}").open("rb") as file:
        assert picture_header(file)[1:3] == (91, 47)


def test_a_progressive_photo_with_a_profile_and_a_comment_has_its_size_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    Image.new("RGB", (91, 47)).save(
        tmp_path / "1.jpg", progressive=True, icc_profile=bytes(200_000), comment=b"of a test", exif=exif
    )
    with (tmp_path / "1.jpg").open("rb") as file:
        assert picture_header(file) == ("JPEG", 91, 47, 91 * 47, 1, False)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "loop", "huge", "unreadable"])
def test_an_image_that_is_no_regular_file_of_a_bounded_size_is_named_without_waiting(tmp_path: Path, kind: str) -> None:
    path = write_folder(tmp_path, images=2) / "sand" / "odd.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:  # whose paths have to be short
            server.bind(path.name)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to("odd.png")
    elif kind == "huge":
        path.write_bytes(png_of(8, 8))
        os.truncate(path, 2**28 + 1)
    else:
        write_image(path).chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root may read everything")
    refused(tmp_path, path, "cannot be read: ")


def test_too_few_classes_for_the_labels_are_refused_with_the_number_needed() -> None:
    message = "classes: 5 is too few; data digits has labels up to 9, so use at least 10"
    with pytest.raises(GnetError, match=f"^{re.escape(message)}$"):
        check_labels(open_data("digits"), 5)


def test_a_label_too_high_in_test_alone_is_seen() -> None:
    train, test = (Split(np.zeros((2, 8, 8), np.uint8), np.array(labels, np.uint16)) for labels in ([0, 1], [0, 7]))
    with pytest.raises(GnetError, match="labels up to 7"):
        check_labels(DataSet("uneven", ("a", "b"), train, test, 72), 7)


def test_enough_classes_pass() -> None:
    with pytest.raises(GnetError):
        check_labels(open_data("digits"), 9)
    check_labels(open_data("digits"), 10)


def test_a_fingerprint_changes_with_what_a_data_set_holds(tmp_path):
    folder = write_folder(tmp_path / "pictures", images=4)
    first = fingerprint(open_data(str(folder)))
    assert fingerprint(open_data(str(folder))) == first
    assert fingerprint(open_data("digits")) == fingerprint(open_data("digits")) != first
    write_image(folder / "wool" / "00.png", colour=(1, 2, 3))
    changed = fingerprint(open_data(str(folder)))
    write_image(folder / "wool" / "more.png")
    more = fingerprint(open_data(str(folder)))
    (folder / "wool").rename(folder / "silk")
    assert len({first, changed, more, fingerprint(open_data(str(folder)))}) == 4


ODD_FILES = {
    "empty.png": (b"", "is empty"),
    "text.png": (b"text", "is not an image; use JPEG, PNG, GIF or BMP"),
    "cut.jpg": (b"\xff\xd8\xff\xe0", "is cut short"),
    "bomb.png": (png_of(100_000, 100_000), "is to be 100000 x 100000 pixels"),
}


def write_odd(folder: Path) -> list[str]:
    """Broken images beside whole ones; their paths in order."""
    for name, (content, _) in ODD_FILES.items():
        (folder / name).write_bytes(content)
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nowhere.png").symlink_to("nothing")
    return [str(folder / name) for name in sorted([*ODD_FILES, "loop.png", "nowhere.png"])]


def test_broken_images_are_left_out_named_and_counted(tmp_path: Path) -> None:
    odd = write_odd(write_folder(tmp_path) / "sand")
    opened = open_data(str(tmp_path))
    assert sorted(image.path for image in opened.broken) == odd
    reasons = {Path(image.path).name: image.reason for image in opened.broken}
    for name, (_, reason) in ODD_FILES.items():
        assert reasons[name].startswith(reason)
    assert reasons["loop.png"] == "cannot be read: Too many levels of symbolic links"
    assert reasons["nowhere.png"] == "cannot be read: No such file or directory"
    assert len(opened.train) + len(opened.test) == 30
    assert not {*map(str, paths_of(opened.train)), *map(str, paths_of(opened.test))} & set(odd)
    note = opened.notes[-1]
    assert note.startswith("images left out because they are broken: 6, ")
    assert note.endswith("(gnet data check names each)")


def test_an_image_that_may_not_be_read_is_left_out(tmp_path: Path) -> None:
    path = write_folder(tmp_path) / "sand" / "03.png"
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")
    assert open_data(str(tmp_path)).broken == (BrokenImage(path=str(path), reason="cannot be read: Permission denied"),)


def test_mending_a_broken_image_moves_no_other_between_train_and_test(tmp_path: Path) -> None:
    whole = open_data(str(write_folder(tmp_path)))
    path = tmp_path / "sand" / "04.png"
    content = path.read_bytes()
    path.write_bytes(b"")
    broken = open_data(str(tmp_path))
    for before, after in ((whole.train, broken.train), (whole.test, broken.test)):
        assert [name for name in file_names(before) if name != "sand/04.png"] == file_names(after)
    path.write_bytes(content)
    assert file_names(open_data(str(tmp_path)).train) == file_names(whole.train)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_whose_last_image_is_broken_is_refused_by_name(tmp_path: Path, part: str) -> None:
    opened = open_data(str(write_folder(tmp_path, images=2)))
    split = {"train": opened.train, "test": opened.test}[part]
    path = paths_of(split)[1]
    path.write_bytes(b"")
    with pytest.raises(GnetError) as caught:
        open_data(str(tmp_path))
    lost = f"data: class 'sand' has no image left to {part} with; of those that are broken, 1 in all, {str(path)!r}"
    assert str(caught.value).startswith(lost)


def test_a_broken_image_that_a_dtd_list_names_is_left_out(tmp_path: Path) -> None:
    root = write_dtd(tmp_path)
    list_of(root, "train1.txt", "banded/banded_0001.jpg", "banded/banded_0002.jpg", "woven/woven_0001.jpg")
    path = root / "images" / "banded" / "banded_0001.jpg"
    path.write_bytes(b"")
    opened = open_data(str(root))
    assert [image.path for image in opened.broken] == [str(path)]
    assert file_names(opened.train) == ["banded/banded_0002.jpg", "woven/woven_0001.jpg"]


def test_a_link_loop_that_a_dtd_list_names_is_left_out(tmp_path: Path) -> None:
    root = write_dtd(tmp_path)
    (root / "images" / "woven" / "loop.jpg").symlink_to("loop.jpg")
    list_of(root, "train1.txt", "banded/banded_0001.jpg", "woven/woven_0001.jpg", "woven/loop.jpg")
    assert [Path(image.path).name for image in open_data(str(root)).broken] == ["loop.jpg"]


def test_leaving_out_joins_what_was_left_out_before_in_one_note(tmp_path: Path) -> None:
    write_odd(write_folder(tmp_path) / "sand")
    opened = open_data(str(tmp_path))
    path = str(paths_of(opened.train)[0])
    less = leave_out(opened, [BrokenImage(path=path, reason="cannot be decoded")])
    assert less.broken == (*opened.broken, BrokenImage(path=path, reason="cannot be decoded"))
    assert len(less.train) == len(opened.train) - 1 == len(less.train.orientations())
    told = [note.partition(",")[0] for note in less.notes if note.startswith("images left out")]
    assert told == ["images left out because they are broken: 7"]
    with pytest.raises(GnetError, match=re.escape(f"data: {path!r} cannot be decoded")):
        leave_out(opened, [BrokenImage(path=path, reason="cannot be decoded")], strict=True)
    assert leave_out(opened, [], strict=True) is opened


def test_images_whose_content_was_there_before_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path)
    assert open_data(str(tmp_path)).duplicates == 20  # the classes hold the same ten
    assert open_data("digits").duplicates == 0


def test_a_mirror_suits_photos_and_no_digits(tmp_path: Path) -> None:
    assert open_data(str(write_folder(tmp_path / "photos"))).default_augmentation == "crop-flip"
    assert open_data(str(write_idx(tmp_path / "idx"))).default_augmentation == "crop"
    same = dataclasses.replace(open_data(str(tmp_path / "photos")), aligned=True)
    assert same.default_augmentation == "flip"
    digits = open_data("digits")
    assert digits.default_augmentation == "crop"
    digits.require_augmentation("crop")
    with pytest.raises(GnetError, match=r"^augment: 'flip' will not do for digits, .*; use one of none, crop$"):
        digits.require_augmentation("flip")
