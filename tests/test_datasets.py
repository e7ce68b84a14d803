"""Data sets: what opens, what is refused and how it is named."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnet_core import datasets
from gnet_core.config import GnetError
from gnet_core.datasets import DataSet, Split, check_labels, open_data
from tests.pictures import write_dtd, write_folder, write_image

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
    """Opening fails with one line that holds each of the parts."""
    with pytest.raises(GnetError) as caught:
        open_data(str(name))
    message = str(caught.value)
    assert message.startswith("data: ")
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


def file_names(split: Split) -> list[str]:
    return ["/".join(Path(str(path)).parts[-2:]) for path in split.images]


def test_opening_and_importing_do_not_import_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; import gnet_core.datasets as data; assert 'sklearn' not in sys.modules; "
        "data.open_data(sys.argv[1]); "
        "data.open_data('digits'); assert 'tensorflow' not in sys.modules and 'sklearn' in sys.modules"
    )
    root = Path(datasets.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, str(write_folder(tmp_path / "photos"))], cwd=root, check=True)


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
    monkeypatch.setattr(datasets, "FASHION_MNIST_FOLDER", write_idx(tmp_path, compress=True))
    opened = open_data("fashion-mnist")
    assert (opened.name, opened.classes, len(opened.train)) == ("fashion-mnist", 10, 6)
    assert opened.class_names[0] == "T-shirt/top"
    assert opened.class_names[9] == "Ankle boot"


def test_fashion_mnist_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "FASHION_MNIST_FOLDER", tmp_path / "absent")
    refused(
        "fashion-mnist", "install Debian's package dataset-fashion-mnist", "the folder that holds the four IDX files"
    )


@pytest.mark.skipif(
    not datasets.FASHION_MNIST_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)
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
    message = "data: 'x' is unknown; use synthetic, digits, fashion-mnist, or the path of an existing folder"
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


@pytest.mark.parametrize("content", [b"", b"text", b"RIFF\0\0\0\0WEBPVP8 "])
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


def test_too_few_classes_for_the_labels_are_refused_with_the_number_needed() -> None:
    message = "classes: 5 is too few; data digits has labels up to 9, so use at least 10"
    with pytest.raises(GnetError, match=f"^{re.escape(message)}$"):
        check_labels(open_data("digits"), 5)


def test_a_label_too_high_in_test_alone_is_seen() -> None:
    train, test = (Split(np.zeros((2, 8, 8), np.uint8), np.array(labels, np.uint16)) for labels in ([0, 1], [0, 7]))
    with pytest.raises(GnetError, match="labels up to 7"):
        check_labels(DataSet("uneven", ("a", "b"), train, test, 72), 7)


def test_enough_classes_pass() -> None:
    check_labels(open_data("digits"), 10)
