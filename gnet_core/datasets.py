"""Data sets, opened and checked without TensorFlow: digits, Fashion-MNIST, folders of images, DTD's own folders."""

from __future__ import annotations

import gzip
import itertools
import math
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnet_core.config import GnetError

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the four files."""

FASHION_MNIST_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

TINY_IMAGE_SIZE = 72
"""Pixels a side for pictures of 8 or 28 pixels: enlarging them further costs time and adds no detail."""

PHOTO_IMAGE_SIZE = 224
"""Pixels a side, as the published run had it."""

_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")  # what tf.io.decode_image itself goes by
_TEST_SHARE = 0.2
_SPLIT_SEED = 0  # not StepConfig.seed: runs with different seeds are compared, so they must share their test images


@dataclass(frozen=True, eq=False)
class Split:
    """The images of either training or testing, with their labels."""

    images: npt.NDArray[np.uint8] | tuple[str, ...]
    """An array (n, height, width) of grey or (n, height, width, 3) of RGB levels 0..255; or n paths of image files."""

    labels: npt.NDArray[np.uint16]
    """(n,), each the position of a class in DataSet.class_names."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class DataSet:
    """A named data set, opened and checked, its image files not yet decoded."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    default_image_size: int
    """Pixels a side that a training session uses when it is not asked for others."""

    @property
    def classes(self) -> int:
        return len(self.class_names)


def open_data(name_or_path: str) -> DataSet:
    """Open and check a data set, without TensorFlow: `digits`, `fashion-mnist`, or the path of a folder.

    A folder is one of
    - the four IDX files of (Fashion-)MNIST, plain or .gz;
    - DTD's `images/<class>/<file>` with `labels/train1.txt`: split 1, or split N of 1 to 10 as `PATH:N`. The lists
      trainN.txt and testN.txt are used and valN.txt is left alone, as in the published run;
    - `<class>/<file>`: of each class a fixed 80 % trains and 20 % tests. Hidden files, and files beside the class
      folders, are ignored.
    Images are JPEG, PNG, GIF or BMP (in full colour or grey: TensorFlow takes a BMP palette's numbers for grey levels).

    Raises GnetError naming the file or folder that is missing, damaged, empty or not what it should be.
    """
    if name_or_path == "digits":
        return _open_digits()
    if name_or_path == "fashion-mnist":
        if not _holds_idx(FASHION_MNIST_FOLDER):
            raise GnetError(
                f"data: 'fashion-mnist' is not in {FASHION_MNIST_FOLDER}; install Debian's package "
                "dataset-fashion-mnist, or give the folder that holds the four IDX files"
            )
        return _open_idx(name_or_path, FASHION_MNIST_FOLDER, FASHION_MNIST_CLASSES)
    if name_or_path == "synthetic":
        raise GnetError("data: 'synthetic' has nothing to learn; use digits, fashion-mnist, or the path of a folder")
    numbered = re.fullmatch(r"(.+):([1-9]|10)", name_or_path)
    if numbered and _is_dtd(Path(numbered[1])):
        return _open_dtd(name_or_path, Path(numbered[1]), int(numbered[2]))
    if not os.path.exists(name_or_path):  # noqa: PTH110  Path.exists raises for a text too long to be a name
        raise GnetError(
            f"data: {name_or_path!r} is unknown; use synthetic, digits, fashion-mnist, "
            "or the path of an existing folder"
        )
    folder = Path(name_or_path)
    if not folder.is_dir():
        raise bad_data(folder, "is a file; use the path of a folder")
    if _holds_idx(folder):
        return _open_idx(name_or_path, folder)
    if _is_dtd(folder):
        return _open_dtd(name_or_path, folder, 1)
    return _open_folder(name_or_path, folder)


def absolute(name_or_path: str) -> str:
    """The same data set for a process in another directory: a path made absolute, a name left alone."""
    path, colon, split = name_or_path.rpartition(":")
    if colon and _is_dtd(Path(path)):
        return f"{Path(path).resolve()}:{split}"
    is_name = name_or_path in ("synthetic", "digits", "fashion-mnist")
    return name_or_path if is_name or not Path(name_or_path).exists() else str(Path(name_or_path).resolve())


def check_labels(data: DataSet, classes: int) -> None:
    """Raise GnetError unless every label of the data set is below `classes`."""
    highest = max(int(data.train.labels.max()), int(data.test.labels.max()))
    if highest >= classes:
        raise GnetError(
            f"classes: {classes} is too few; data {data.name} has labels up to {highest}, so use at least {highest + 1}"
        )


def _open_digits() -> DataSet:
    """scikit-learn's 1,797 handwritten digits of 8×8 pixels, levels 0..16 spread over 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    train, test = _split_each_class(images, digits.target.astype(np.uint16))
    return DataSet("digits", tuple(map(str, digits.target_names)), train, test, TINY_IMAGE_SIZE)


def _holds_idx(folder: Path) -> bool:
    return any(folder.glob("*-idx[13]-ubyte*"))


def _open_idx(name: str, folder: Path, class_names: tuple[str, ...] = ()) -> DataSet:
    """The four IDX files of a folder; without names its classes are called 0 to the highest label."""
    train, test = (_read_idx_split(folder, part) for part in ("train", "t10k"))
    highest = max(int(train.labels.max()), int(test.labels.max()))
    return DataSet(name, class_names or tuple(map(str, range(highest + 1))), train, test, TINY_IMAGE_SIZE)


def _read_idx_split(folder: Path, part: str) -> Split:
    images_path, labels_path = (_find_idx(folder, f"{part}-{what}-ubyte") for what in ("images-idx3", "labels-idx1"))
    images, labels = _read_idx(images_path, dimensions=3), _read_idx(labels_path, dimensions=1)
    if len(images) != len(labels):
        raise bad_data(labels_path, f"has {len(labels)} labels for the {len(images)} images of {images_path.name}")
    return Split(images, labels.astype(np.uint16))


def _find_idx(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise bad_data(folder, f"lacks {name} (or {name}.gz); all four IDX files are needed")


def _read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array of an IDX file: bytes 0, 0, 8 (unsigned bytes), dimensions; each length as uint32; values."""
    content = _read(path)
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            raise bad_data(path, "is not a whole gzip file; copy or download it again") from None
    header_bytes = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < header_bytes:
        raise bad_data(path, f"is not an IDX file of unsigned bytes in {dimensions} dimensions")
    shape = [int(length) for length in np.frombuffer(content, ">u4", dimensions, offset=4)]
    promised_bytes = header_bytes + math.prod(shape)
    if len(content) != promised_bytes:
        raise bad_data(
            path, f"has {len(content)} bytes, its header promises {promised_bytes}; copy or download it again"
        )
    if 0 in shape:
        raise bad_data(path, f"is empty; its header promises {' x '.join(map(str, shape))} values")
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)


def _open_folder(name: str, folder: Path) -> DataSet:
    """`<class>/<file>`, split within each class."""
    class_names = _class_names(folder)
    paths: list[str] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        files = _visible(folder / class_name)
        if len(files) < 2:
            raise bad_data(
                folder / class_name, f"has {len(files)} images; a class needs 2, one to train and one to test"
            )
        for file in files:
            _check_image(file)
        paths += map(str, files)
        labels += [label] * len(files)
    train, test = _split_each_class(tuple(paths), np.array(labels, np.uint16))
    return DataSet(name, class_names, train, test, PHOTO_IMAGE_SIZE)


def _is_dtd(folder: Path) -> bool:
    return _is_file(folder / "labels" / "train1.txt") and (folder / "images").is_dir()


def _open_dtd(name: str, folder: Path, number: int) -> DataSet:
    class_names = _class_names(folder / "images")
    train, test = (_read_list(folder, f"{part}{number}.txt", class_names) for part in ("train", "test"))
    return DataSet(name, class_names, train, test, PHOTO_IMAGE_SIZE)


def _read_list(folder: Path, list_name: str, class_names: tuple[str, ...]) -> Split:
    """The images that a list of lines such as `banded/banded_0002.jpg` names."""
    list_path = folder / "labels" / list_name
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    paths: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(_read(list_path).decode(errors="replace").splitlines(), start=1):
        if not (entry := line.strip()):
            continue
        class_name = entry.partition("/")[0]
        if class_name not in label_of:
            raise bad_data(list_path, f"line {number}: {class_name!r} is no class; images has no folder of that name")
        path = folder / "images" / entry
        if not _is_file(path):
            raise bad_data(list_path, f"line {number}: {entry!r} is not in images")
        _check_image(path)
        paths.append(str(path))
        labels.append(label_of[class_name])
    if not paths:
        raise bad_data(list_path, "lists no images")
    return Split(tuple(paths), np.array(labels, np.uint16))


def _class_names(folder: Path) -> tuple[str, ...]:
    """The sub-folders, sorted."""
    names = tuple(entry.name for entry in _visible(folder) if entry.is_dir())
    if len(names) < 2:
        found = f"only the class folder {names[0]!r}" if names else "no class folders"
        raise bad_data(folder, f"has {found}; it needs at least 2, each holding the images of one class")
    return names


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, sorted by name, without hidden files."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise bad_data(folder, f"cannot be read: {error.strerror}") from None


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  Path.is_file raises for a text too long to be a name


def _check_image(path: Path) -> None:
    """Raise GnetError unless a file starts as an image does; decoding it all would take minutes."""
    if path.is_dir():
        raise bad_data(path, "is a folder; images stand directly in the folder of their class")
    if not _read(path, 8).startswith(_IMAGE_STARTS):
        raise bad_data(path, "is not an image; use JPEG, PNG, GIF or BMP files")


def _read(path: Path, count: int = -1) -> bytes:
    """The first `count` bytes of a file, or all of it."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise bad_data(path, f"cannot be read: {error.strerror}") from None


def _split_each_class(
    images: npt.NDArray[np.uint8] | tuple[str, ...], labels: npt.NDArray[np.uint16]
) -> tuple[Split, Split]:
    """Train and test: a fixed random fifth of each class, at least one image, tests."""
    random = np.random.RandomState(_SPLIT_SEED)  # NumPy promises this generator's numbers for all versions
    tests = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        tests[members[: max(1, round(_TEST_SHARE * len(members)))]] = True

    def where(chosen: npt.NDArray[np.bool_]) -> Split:
        if isinstance(images, tuple):
            return Split(tuple(itertools.compress(images, chosen)), labels[chosen])
        return Split(images[chosen], labels[chosen])

    return where(~tests), where(tests)


def bad_data(path: Path | str, what: str) -> GnetError:
    """The error that says what is wrong with a file or folder."""
    return GnetError(f"data: {str(path)!r} {what}")
