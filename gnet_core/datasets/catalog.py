"""Data sets, opened and checked without TensorFlow: digits, Fashion-MNIST, folders of images, DTD's folders, packs."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnet_core.config import MAX_CLASSES, GnetError, bad_data
from gnet_core.datasets import packs, tfds_files
from gnet_core.datasets.data_set import DataSet, RecordFiles, Split, broken_notes, require_classes_left
from gnet_core.datasets.idx_files import holds_idx, read_idx_split
from gnet_core.datasets.image_files import BrokenImage, BrokenImageError, ImageFile, content_keys, look_at
from gnet_core.files.whole import read_bytes

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package dataset-fashion-mnist
FASHION_MNIST_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

TINY_IMAGE_SIZE = 72  # for pictures of 8 or 28 pixels a side: enlarging them further adds no detail
PHOTO_IMAGE_SIZE = 224  # as in the published run
_TEST_SHARE = 0.2
_MAX_COMPARED_ARRAY_BYTES = 2**28
_SPLIT_SEED = 0  # not StepConfig.seed: runs with different seeds are compared, so they must share their test images


def open_data(name_or_path: str, *, strict: bool = False) -> DataSet:
    """Open and check a data set, without TensorFlow: `digits`, `fashion-mnist`, or the path of a folder.

    A folder is one of
    - what `gnet data pack` wrote;
    - the four IDX files of (Fashion-)MNIST, plain or .gz;
    - DTD's `images/<class>/<file>` with `labels/train1.txt`: split 1, or split N of 1 to 10 as `PATH:N`. The lists
      trainN.txt and testN.txt are used and valN.txt is left alone, as in the published run;
    - `<class>/<file>`: of each class a fixed 80 % trains and 20 % tests. Hidden files, and files beside the class
      folders, are ignored.
    `tfds:NAME@DIR` is what TensorFlow Datasets has prepared in a local directory; it needs the extra `tfds`.
    Images are JPEG, PNG, GIF or BMP (in full colour or grey: TensorFlow takes a BMP palette's numbers for grey levels),
    regular files of at most 256 MiB and 67 million pixels.

    A file that is no such image, is empty, damaged in its header or cannot be read is left out and stands in
    DataSet.broken with its reason; with `strict` it is an error. Whether the pixels of the others decode, only decoding
    tells (gnet_core.frameworks.tf.decode_check). Which images of a folder test does not hang on which are broken.

    A list of DTD's that names a file twice, also under two spellings, or a file of another class is refused. Images
    whose content is the same in train and test, which many data sets have, are counted in DataSet.notes.

    Raises GnetError naming the file or folder that is missing, damaged, empty or not what it should be, and a class of
    which no image is left to train or to test with.

    >>> from gnet_core import open_data
    >>> digits = open_data("digits")
    >>> digits.classes, len(digits.train), len(digits.test)
    (10, 1438, 359)
    """
    if name_or_path in NAMED:
        return NAMED[name_or_path]()
    if name_or_path == "synthetic":
        raise GnetError(f"data: 'synthetic' has nothing to learn; use {', '.join(NAMED)}, or the path of a folder")
    if name_or_path.startswith(tfds_files.PREFIX):
        return tfds_files.open_prepared(name_or_path)
    numbered = re.fullmatch(r"(.+):([1-9]|10)", name_or_path)
    if numbered and _is_dtd(Path(numbered[1])):
        return _open_dtd(name_or_path, Path(numbered[1]), int(numbered[2]), strict=strict)
    if not _exists(name_or_path):
        known = f"{', '.join(NAMED)}, or the path of an existing folder"
        raise GnetError(f"data: {name_or_path!r} is unknown; use {known}")
    folder = Path(name_or_path)
    if not folder.is_dir():
        raise bad_data(folder, "is a file; use the path of a folder")
    if packs.holds_pack(folder):
        return packs.open_pack(name_or_path, folder)
    if holds_idx(folder):
        return _open_idx(name_or_path, folder)
    if _is_dtd(folder):
        return _open_dtd(name_or_path, folder, 1, strict=strict)
    return _open_folder(name_or_path, folder, strict=strict)


def absolute(name_or_path: str) -> str:
    """The name or path for a process in another directory: paths are made absolute, names are kept."""
    if name_or_path.startswith(tfds_files.PREFIX):
        return tfds_files.absolute(name_or_path)
    path, colon, split = name_or_path.rpartition(":")
    if colon and _is_dtd(Path(path)):
        return f"{Path(path).resolve()}:{split}"
    is_name = name_or_path in ("synthetic", *NAMED)
    return name_or_path if is_name or not _exists(name_or_path) else str(Path(name_or_path).resolve())


def fingerprint(data: DataSet) -> str:
    """A digest of classes, labels and images (files: path, size, time). Raises GnetError for a file that is gone."""
    digest = hashlib.sha256(ascii(data.class_names).encode())
    for split in (data.train, data.test):
        digest.update(split.labels.tobytes())
        if isinstance(split.images, RecordFiles):
            digest.update(split.images.digest.encode())
            continue
        if not isinstance(split.images, tuple):
            digest.update(split.images.tobytes())
            continue
        for path in split.images:
            try:
                status = Path(path).stat()
            except OSError as error:
                raise bad_data(path, f"cannot be read: {error.strerror}") from None
            digest.update(ascii((path, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()


def check_labels(data: DataSet, classes: int) -> None:
    """Raise GnetError unless every label of the data set is below `classes`."""
    highest = max(int(data.train.labels.max()), int(data.test.labels.max()))
    if highest >= classes:
        needed = f"data {data.name} has labels up to {highest}, so use at least {highest + 1}"
        raise GnetError(f"classes: {classes} is too few; {needed}")


def _open_digits() -> DataSet:
    """scikit-learn's 1,797 handwritten digits of 8×8 pixels, levels 0..16 spread over 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    train, test = _split_each_class(images, digits.target.astype(np.uint16))
    names = tuple(map(str, digits.target_names))
    return DataSet("digits", names, train, test, TINY_IMAGE_SIZE, mirrored="other")


def _open_fashion_mnist() -> DataSet:
    if not holds_idx(FASHION_MNIST_FOLDER):
        remedy = "install Debian's package dataset-fashion-mnist, or give the folder that holds the four IDX files"
        raise GnetError(f"data: 'fashion-mnist' is not in {FASHION_MNIST_FOLDER}; {remedy}")
    opened = _open_idx("fashion-mnist", FASHION_MNIST_FOLDER, FASHION_MNIST_CLASSES)
    return dataclasses.replace(opened, mirrored="same", aligned=True)


NAMED: Mapping[str, Callable[[], DataSet]] = {"digits": _open_digits, "fashion-mnist": _open_fashion_mnist}
"""The data sets that are opened by a name."""


def _open_idx(name: str, folder: Path, class_names: tuple[str, ...] = ()) -> DataSet:
    """The four IDX files of a folder; without names its classes are called 0 to the highest label."""
    parts = [read_idx_split(folder, part) for part in ("train", "t10k")]
    keys = [key for images, _ in parts for key in _array_keys(images)]
    train, test = (Split(images, labels.astype(np.uint16)) for images, labels in parts)
    highest = max(int(train.labels.max()), int(test.labels.max()))
    if not 0 < highest < (len(class_names) or highest + 1):
        wanted = f"0 to {len(class_names) - 1}" if class_names else "two classes or more"
        raise bad_data(folder, f"has labels up to {highest}; it needs those of {wanted}")
    class_names = class_names or tuple(map(str, range(highest + 1)))
    notes, duplicates = _notes(class_names, train, test, keys), len(keys) - len(set(keys))
    return DataSet(name, class_names, train, test, TINY_IMAGE_SIZE, notes, duplicates=duplicates)


def _array_keys(images: npt.NDArray[np.uint8]) -> list[Hashable]:
    """One key an image, equal for equal pictures; all different for an array that takes too long to compare."""
    compared = images.nbytes <= _MAX_COMPARED_ARRAY_BYTES
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() if compared else object() for image in images]


def _notes(class_names: tuple[str, ...], train: Split, test: Split, keys: Sequence[Hashable]) -> tuple[str, ...]:
    """Sentences on doubtful labels and splits. Equal images have equal keys, of which those of training come first."""
    notes = []
    first_trained = {key: index for index, key in reversed(list(enumerate(keys[: len(train)])))}
    shared = [(index, first_trained[key]) for index, key in enumerate(keys[len(train) :]) if key in first_trained]
    if shared:
        test_name, train_name = (
            repr(split.images[index]) if isinstance(split.images, tuple) else f"number {index}"
            for split, index in zip((test, train), shared[0], strict=True)
        )
        notes.append(
            f"{len(shared)} of {len(test)} test images are training images as well, such as {test_name}, "
            f"the same as {train_name}; the test accuracy is too good by what was learnt by heart"
        )
    labels_of: dict[Hashable, set[int]] = defaultdict(set)
    for key, label in zip(keys, [*train.labels.tolist(), *test.labels.tolist()], strict=True):
        labels_of[key].add(label)
    if torn := sum(len(labels) > 1 for labels in labels_of.values()):
        notes.append(f"images that stand under two classes or more: {torn}; at most one class can be right")
    if untrained := sorted(set(test.labels.tolist()) - set(train.labels.tolist())):
        first = f"{class_names[untrained[0]]!r} the first"
        notes.append(f"classes with test images but none to train with: {len(untrained)}, {first}")
    return tuple(notes)


def _open_folder(name: str, folder: Path, *, strict: bool) -> DataSet:
    """`<class>/<file>`, split within each class."""
    class_names = _class_names(folder)
    looks: list[ImageFile | BrokenImage] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        paths = _visible(folder / class_name)
        if len(paths) < 2:
            problem = f"has {len(paths)} images; a class needs 2, one to train and one to test"
            raise bad_data(folder / class_name, problem)
        looks += [_look(path, strict=strict) for path in paths]
        labels += [label] * len(paths)
    # Broken images take part in the split, so that no other one changes sides when they are mended.
    tested = _tested(np.array(labels, np.uint16)).tolist()
    train, test = (
        [(look, label) for look, label, tests in zip(looks, labels, tested, strict=True) if tests is part]
        for part in (False, True)
    )
    return _of_files(name, class_names, train, test)


Looked = Sequence[tuple[ImageFile | BrokenImage, int]]
"""Files of one split that were looked at, each with its label."""


def _look(path: Path, *, strict: bool) -> ImageFile | BrokenImage:
    """The image file, or if not `strict` what is wrong with it. Raises GnetError."""
    try:
        return look_at(path)
    except BrokenImageError as error:
        if strict:
            raise
        return error.image


def _of_files(name: str, class_names: tuple[str, ...], train: Looked, test: Looked) -> DataSet:
    """The data set of those files that are not broken."""
    broken = tuple(look for look, _ in (*train, *test) if isinstance(look, BrokenImage))
    splits: list[Split] = []
    files: list[ImageFile] = []
    for part, looked in (("train", train), ("test", test)):
        whole = [(look, label) for look, label in looked if isinstance(look, ImageFile)]
        files += [file for file, _ in whole]
        splits.append(Split.of_files([file for file, _ in whole], [label for _, label in whole]))
        before = np.array([label for _, label in looked], np.uint16)
        require_classes_left(class_names, before, splits[-1].labels, part, broken)
    keys = content_keys(files)
    notes = (*_notes(class_names, splits[0], splits[1], keys), *broken_notes(broken))
    return DataSet(
        name,
        class_names,
        splits[0],
        splits[1],
        PHOTO_IMAGE_SIZE,
        notes,
        broken,
        duplicates=len(keys) - len(set(keys)),
        mirrored="same",
    )


def _is_dtd(folder: Path) -> bool:
    # Path.is_file raises for a text too long to be a name.
    return os.path.isfile(folder / "labels" / "train1.txt") and (folder / "images").is_dir()  # noqa: PTH113


def _open_dtd(name: str, folder: Path, number: int, *, strict: bool) -> DataSet:
    class_names = _class_names(folder / "images")
    first_lines: dict[tuple[int, int], str] = {}
    train, test = (
        _read_list(folder, f"{part}{number}.txt", class_names, first_lines, strict=strict) for part in ("train", "test")
    )
    return _of_files(name, class_names, train, test)


def _read_list(
    folder: Path,
    list_name: str,
    class_names: tuple[str, ...],
    first_lines: dict[tuple[int, int], str],
    *,
    strict: bool,
) -> Looked:
    """The images in a list of lines such as `banded/banded_0002.jpg`; adds the line of each file to `first_lines`."""
    list_path = folder / "labels" / list_name
    label_of = {class_name: label for label, class_name in enumerate(class_names)}
    try:
        text = read_bytes(list_path).decode(errors="replace")
    except OSError as error:
        raise bad_data(list_path, f"cannot be read: {error.strerror}") from None
    looked: list[tuple[ImageFile | BrokenImage, int]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not (entry := line.strip()):
            continue
        where = f"line {number}: {entry!r:.200}"
        class_name = entry.partition("/")[0]
        if class_name not in label_of:
            problem = f"{class_name!r:.200} is no class; images has no folder of that name"
            raise bad_data(list_path, f"line {number}: {problem}")
        if not os.path.lexists(folder / "images" / entry):
            raise bad_data(list_path, f"{where} is not in images")
        _require_own_class(list_path, where, folder / "images", entry)
        file = _look(folder / "images" / entry, strict=strict)
        if isinstance(file, ImageFile):
            if file.identity in first_lines:
                first = first_lines[file.identity]
                raise bad_data(list_path, f"{where} is the same file as {first}; remove one of them")
            first_lines[file.identity] = f"{entry!r:.200} in line {number} of {list_name}"
        looked.append((file, label_of[class_name]))
    if not looked:
        raise bad_data(list_path, "lists no images")
    return looked


def _require_own_class(list_path: Path, where: str, images: Path, entry: str) -> None:
    """Raise GnetError unless a file stands in the folder of the class that its line begins with."""
    class_name, _, file_name = entry.partition("/")
    if "/" in file_name or file_name in ("", ".", ".."):
        raise bad_data(list_path, f"{where} is not of the form class/file, so its class cannot be told")
    if (images / class_name).is_symlink():
        raise bad_data(list_path, f"{where} is of a class whose folder is a link; put the folder itself there")
    if (images / entry).is_symlink():
        home = Path(os.path.relpath(os.path.realpath(images / entry), os.path.realpath(images))).parts[0]
        if home not in (class_name, os.pardir):
            raise bad_data(list_path, f"{where} is a link to an image of {home!r}, which is another class")


def _class_names(folder: Path) -> tuple[str, ...]:
    """The sub-folders, sorted. Raises GnetError where two are one, or would be one to a careless eye."""
    names: list[str] = []
    alike: dict[Hashable, str] = {}
    for entry in _visible(folder):
        try:
            status = entry.stat()
        except OSError as error:
            raise bad_data(entry, f"cannot be read: {error.strerror}; a link there has to lead to a folder") from None
        if not stat.S_ISDIR(status.st_mode):
            continue
        plain = unicodedata.normalize("NFKC", entry.name).casefold().strip()
        for key, how in (
            (plain, "are told apart by case, spaces or Unicode form alone"),
            ((status.st_dev, status.st_ino), "are one folder, to which a link leads"),
        ):
            if key in alike:
                raise bad_data(folder, f"has classes {alike[key]!r} and {entry.name!r} that {how}; keep one of them")
            alike[key] = entry.name
        names.append(entry.name)
    if len(names) < 2:
        present = f"only the class folder {names[0]!r}" if names else "no class folders"
        raise bad_data(folder, f"has {present}; it needs at least 2, each holding the images of one class")
    if len(names) > MAX_CLASSES:
        raise bad_data(folder, f"has {len(names)} class folders; labels travel as uint16, so at most {MAX_CLASSES}")
    return tuple(names)


def _visible(folder: Path) -> list[Path]:
    """The entries of a folder, sorted by name, without hidden files."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise bad_data(folder, f"cannot be read: {error.strerror}") from None


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110  Path.exists raises for a text too long to be a name


def _split_each_class(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint16]) -> tuple[Split, Split]:
    """Train and test of images in an array."""
    tested = _tested(labels)
    return Split(images[~tested], labels[~tested]), Split(images[tested], labels[tested])


def _tested(labels: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Which images test: a fixed random fifth of each class, at least one image."""
    random = np.random.RandomState(_SPLIT_SEED)  # NumPy promises this generator's numbers for all versions
    tested = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        tested[members[: max(1, round(_TEST_SHARE * len(members)))]] = True
    return tested
