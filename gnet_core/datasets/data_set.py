"""The types of an opened data set, and leaving images out of one."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gnet_core.config import AUGMENTATIONS, Augmentation, GnetError
from gnet_core.datasets.image_files import BrokenImage, ImageFile
from gnet_core.datasets.image_headers import KINDS, UPRIGHT, PictureHeader

HEADER = np.dtype([("kind", "u1"), ("width", "u4"), ("height", "u4"), ("orientation", "u1"), ("transparent", "?")])
"""What is kept of a PictureHeader: 11 bytes an image, since a set can have millions. A kind is its place in KINDS."""

Mirrored = Literal["same", "other", "unknown"]
"""What an image is in a mirror: of the same class, of another or of none, or nobody has said."""


@dataclass(frozen=True, kw_only=True)
class RecordFiles:
    """Images in TFRecord files, each record a tf.train.Example with at least `image`, encoded bytes, and `label`."""

    paths: tuple[str, ...]
    counts: tuple[int, ...]
    """Records of each file."""
    sizes_bytes: tuple[int, ...]
    digest: str
    """Differs for files of another content."""
    sha256: tuple[str, ...] = ()
    """Of each file; none where whoever wrote them has kept none."""


@dataclass(frozen=True, eq=False)
class Split:
    """The images of either training or testing, with their labels."""

    images: npt.NDArray[np.uint8] | tuple[str, ...] | RecordFiles
    """An array (n, height, width) of grey or (n, height, width, 3) of RGB levels 0..255; n paths of image files; or
    TFRecord files of n images."""
    labels: npt.NDArray[np.uint16]
    """Positions in DataSet.class_names, (n,)."""
    headers: npt.NDArray[np.void] | None = None
    """What the headers of files or records told, (n,) of HEADER. None of arrays, and where all stand upright and opaque
    and nothing else was asked."""

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_files(cls, files: Sequence[ImageFile], labels: Sequence[int]) -> Split:
        """The split of image files that were looked at, of which each has a label."""
        paths = tuple(file.path for file in files)
        return cls(paths, np.array(labels, np.uint16), header_array(file.header for file in files))

    def orientations(self) -> npt.NDArray[np.uint8]:
        """EXIF's orientation of each image, (n,)."""
        return np.full(len(self), UPRIGHT, np.uint8) if self.headers is None else self.headers["orientation"]

    def transparencies(self) -> npt.NDArray[np.bool_]:
        """Whether each image has an alpha channel or a transparent colour, (n,)."""
        return np.zeros(len(self), np.bool_) if self.headers is None else self.headers["transparent"]


@dataclass(frozen=True, eq=False)
class DataSet:
    """A named data set, opened and checked, its image files not yet decoded."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    default_image_size: int
    """Pixels a side in a training session that names none."""
    notes: tuple[str, ...] = ()
    """Sentences that a user should read before trusting a test accuracy."""
    broken: tuple[BrokenImage, ...] = ()
    """Images that cannot be used and were left out."""
    duplicates: int = 0
    """Images with the content of another one before them, as far as contents were compared."""
    mirrored: Mirrored = "unknown"
    aligned: bool = False
    """Whether every image shows its object at the same place and size, which a shift would make harder to learn."""

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def default_augmentation(self) -> Augmentation:
        """What a training session that names nothing does to the images: photos are shifted and mirrored, aligned ones
        mirrored alone, and what a mirror would make another, such as a digit, is shifted.
        """
        if self.mirrored == "same":
            return "flip" if self.aligned else "crop-flip"
        return "crop"

    def require_augmentation(self, augmentation: Augmentation) -> None:
        """Raise GnetError for one that would make images of other classes."""
        if self.mirrored == "other" and "flip" in augmentation:
            fit = ", ".join(name for name in AUGMENTATIONS if "flip" not in name)
            raise GnetError(
                f"augment: {augmentation!r} will not do for {self.name}, where a mirror makes other classes of images; "
                f"use one of {fit}"
            )


def header_array(headers: Iterable[PictureHeader]) -> npt.NDArray[np.void]:
    """The headers as an array (n,) of HEADER."""
    rows = [(KINDS.index(one.kind), one.width, one.height, one.orientation, one.transparent) for one in headers]
    return np.array(rows, HEADER)


def leave_out(data: DataSet, broken: Sequence[BrokenImage], *, strict: bool = False) -> DataSet:
    """The data set without these of its image files, which join those that were left out when it was opened.

    Raises GnetError where `strict` and there is any, and where a class loses its last image to train or to test with.
    """
    if not broken:
        return data
    if strict:
        raise GnetError(f"data: {broken[0].path!r} {broken[0].reason}{_and_more(len(broken))}")
    gone = {image.path for image in broken}
    together = (*data.broken, *broken)
    parts = []
    for part, split in (("train", data.train), ("test", data.test)):
        assert isinstance(split.images, tuple)
        kept = np.array([path not in gone for path in split.images], np.bool_)
        paths = tuple(itertools.compress(split.images, kept))
        headers = None if split.headers is None else split.headers[kept]
        parts.append(Split(paths, split.labels[kept], headers))
        require_classes_left(data.class_names, split.labels, parts[-1].labels, part, together)
    before = broken_notes(data.broken)
    notes = (*(note for note in data.notes if note not in before), *broken_notes(together))
    return dataclasses.replace(data, train=parts[0], test=parts[1], notes=notes, broken=together)


def require_classes_left(
    class_names: Sequence[str],
    before: npt.NDArray[np.uint16],
    after: npt.NDArray[np.uint16],
    part: str,
    broken: Sequence[BrokenImage],
) -> None:
    """Raise GnetError for a class whose last image to train or to test with is broken."""
    if lost := sorted(set(before.tolist()) - set(after.tolist())):
        first = broken[0]
        raise GnetError(
            f"data: class {class_names[lost[0]]!r} has no image left to {part} with; of those that are broken, "
            f"{len(broken)} in all, {first.path!r} {first.reason}"
        )


def broken_notes(broken: Sequence[BrokenImage]) -> tuple[str, ...]:
    """The sentence on images that were left out, if there are any."""
    if not broken:
        return ()
    first = broken[0]
    return (
        f"images left out because they are broken: {len(broken)}, {first.path!r} the first, which {first.reason} "
        "(gnet data check names each)",
    )


def _and_more(count: int) -> str:
    return f" ({count} images are broken in all)" if count > 1 else ""
