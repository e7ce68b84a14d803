"""What `gnet data check` tells of a data set: classes, sizes, kinds of file, duplicates and what is broken."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from gnet_core.datasets.data_set import DataSet
from gnet_core.datasets.image_files import BrokenImage
from gnet_core.datasets.image_headers import KINDS, UPRIGHT


class ClassImages(msgspec.Struct, frozen=True, kw_only=True):
    """Images of one class that can be used."""

    name: str
    train: int
    test: int


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Pixels of a picture as it is stored."""

    width: int
    height: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `gnet data check --json`."""

    data: str
    classes: list[ClassImages]
    smallest: Size
    """By its number of pixels, as are the others."""
    median: Size
    largest: Size
    kinds: dict[str, int]
    """Images of each kind of file; `array` is what needs no decoding."""
    transparent: int
    turned: int
    """Images whose EXIF data say that they are to be turned or mirrored."""
    duplicates: int
    image_size: int
    """Pixels a side in a training session that names none."""
    broken: list[BrokenImage]
    notes: list[str]


def overview(data: DataSet) -> Overview:
    """The overview of an opened data set, of which the broken images were left out."""
    splits = (data.train, data.test)
    counts = [np.bincount(split.labels, minlength=data.classes).tolist() for split in splits]
    headers = [split.headers for split in splits if split.headers is not None]
    if headers:
        seen = np.concatenate(headers)
        widths, heights = seen["width"], seen["height"]
        kinds: Counter[str] = Counter(KINDS[kind] for kind in seen["kind"].tolist())
        transparent, turned = int(seen["transparent"].sum()), int((seen["orientation"] != UPRIGHT).sum())
    else:
        shapes = [split.images.shape for split in splits if isinstance(split.images, np.ndarray)]
        widths, heights = (
            np.concatenate([np.full(shape[0], shape[axis], np.uint32) for shape in shapes]) for axis in (2, 1)
        )
        kinds = Counter({"array": sum(map(len, splits))})
        transparent = turned = 0
    by_area = np.argsort(widths.astype(np.int64) * heights, kind="stable")
    smallest, median, largest = (
        Size(width=int(widths[place]), height=int(heights[place]))
        for place in (by_area[0], by_area[len(by_area) // 2], by_area[-1])
    )
    return Overview(
        data=data.name,
        classes=[
            ClassImages(name=name, train=train, test=test)
            for name, train, test in zip(data.class_names, *counts, strict=True)
        ],
        smallest=smallest,
        median=median,
        largest=largest,
        kinds=dict(kinds),
        transparent=transparent,
        turned=turned,
        duplicates=data.duplicates,
        image_size=data.default_image_size,
        broken=list(data.broken),
        notes=list(data.notes),
    )
