"""Packs: a data set in TFRecord files with an index of what they hold. gnet_core.frameworks.tf.pack writes them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from gnet_core.config import MAX_CLASSES, GnetError, bad_data
from gnet_core.datasets.data_set import DataSet, Mirrored, RecordFiles, Split, header_array
from gnet_core.datasets.image_files import BrokenImage
from gnet_core.datasets.image_headers import Kind, PictureHeader
from gnet_core.files.json_documents import Count, Positive, read_json, typed
from gnet_core.files.whole import MAX_TEXT_BYTES, open_regular, write_whole

INDEX_FILE = "pack.json"
FORMAT_VERSION: Final = 1
MAX_SHARD_BYTES = 2**40
"""Largest shard that is opened; those that are written are far smaller."""

_Label = Annotated[int, Meta(ge=0, lt=MAX_CLASSES, description=f"a whole number from 0 to {MAX_CLASSES - 1}")]
_Side = Annotated[int, Meta(ge=1, lt=2**32, description="a number of pixels")]
_Orientation = Annotated[int, Meta(ge=1, le=8, description="a whole number from 1 to 8")]
_ShardName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]+\.tfrecord(?!\n)$", description="a name such as train-00000.tfrecord")
]


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One TFRecord file."""

    file: _ShardName
    images: Positive
    size_bytes: Positive
    sha256: str


class PackedSplit(msgspec.Struct, frozen=True, kw_only=True):
    """The images of training or of testing, in the order of their records; the lists have one entry an image."""

    shards: list[Shard]
    labels: list[_Label]
    kinds: list[Kind]
    widths: list[_Side]
    heights: list[_Side]
    orientations: list[_Orientation]
    transparent: list[bool]


class PackIndex(msgspec.Struct, frozen=True, kw_only=True):
    """pack.json. It is written last, so a folder that has it has all the rest."""

    format_version: Literal[1] = FORMAT_VERSION
    source: str
    """Name or path of the data set that was packed."""
    source_fingerprint: str
    class_names: list[str]
    default_image_size: Count
    mirrored: Mirrored
    aligned: bool = False
    """Packs of older versions do not say; a shift was their default."""
    duplicates: Count
    notes: list[str]
    train: PackedSplit
    test: PackedSplit


def holds_pack(folder: Path) -> bool:
    """Whether a folder has an index."""
    return os.path.lexists(folder / INDEX_FILE)


def open_pack(name: str, folder: Path) -> DataSet:
    """The data set in a pack. Raises GnetError naming the index or the shard that is missing, cut off or damaged."""
    path = folder / INDEX_FILE
    document, digest = read_json(path, folder, strict=True)
    if document.get("format_version") != FORMAT_VERSION:
        version = document.get("format_version")
        raise GnetError(f"{path}: format_version is {version!r:.60}; this version of gnet reads {FORMAT_VERSION}")
    index = typed(str(path), document, PackIndex)
    classes = len(set(index.class_names))
    if classes < 2 or classes != len(index.class_names):
        raise GnetError(f"{path}: field 'class_names' has {classes} different names; a pack has 2 or more, each once")
    train = _open_split(path, "train", index.train, classes, digest)
    test = _open_split(path, "test", index.test, classes, digest)
    return DataSet(
        name,
        tuple(index.class_names),
        train,
        test,
        index.default_image_size,
        tuple(index.notes),
        duplicates=index.duplicates,
        mirrored=index.mirrored,
        aligned=index.aligned,
    )


def _open_split(path: Path, part: str, packed: PackedSplit, classes: int, digest: str) -> Split:
    images = sum(shard.images for shard in packed.shards)
    for field in ("labels", "kinds", "widths", "heights", "orientations", "transparent"):
        if (entries := len(getattr(packed, field))) != images or not images:
            of = f"the {images} images of its shards"
            raise GnetError(f"{path}: field '{part}.{field}' has {entries} entries for {of}")
    if (highest := max(packed.labels)) >= classes:
        raise GnetError(f"{path}: field '{part}.labels' has labels up to {highest}; there are {classes} classes")
    for shard in packed.shards:
        _require_whole(path.parent / shard.file, shard)
    columns = zip(packed.kinds, packed.widths, packed.heights, packed.orientations, packed.transparent, strict=True)
    headers = (
        PictureHeader(kind, width, height, width * height, orientation, transparent)
        for kind, width, height, orientation, transparent in columns
    )
    records = RecordFiles(
        paths=tuple(str(path.parent / shard.file) for shard in packed.shards),
        counts=tuple(shard.images for shard in packed.shards),
        sizes_bytes=tuple(shard.size_bytes for shard in packed.shards),
        digest=f"{digest} {part}",
        sha256=tuple(shard.sha256 for shard in packed.shards),
    )
    return Split(records, np.array(packed.labels, np.uint16), header_array(headers))


def _require_whole(path: Path, shard: Shard) -> None:
    """Raise GnetError where a shard is missing, no regular file or of another length than it was written."""
    remedy = "copy it again, or pack the data again"
    try:
        with open_regular(path, MAX_SHARD_BYTES) as file:
            size_bytes = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise bad_data(path, f"cannot be read: {error.strerror}; {remedy}") from None
    if size_bytes != shard.size_bytes:
        raise bad_data(path, f"has {size_bytes} bytes, {INDEX_FILE} promises {shard.size_bytes}; {remedy}")


def changed_shards(records: RecordFiles) -> tuple[BrokenImage, ...]:
    """The files whose content is not what was written, as far as digests were kept. All of them are read."""
    changed = []
    for path, sha256 in zip(records.paths, records.sha256, strict=bool(records.sha256)):
        try:
            with open_regular(Path(path), MAX_SHARD_BYTES) as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except OSError as error:
            changed.append(BrokenImage(path=path, reason=f"cannot be read: {error.strerror}"))
            continue
        if not same:
            reason = "is not as it was packed, its digest differs; copy it again, or pack the data again"
            changed.append(BrokenImage(path=path, reason=reason))
    return tuple(changed)


def packed_split(shards: list[Shard], labels: npt.NDArray[np.uint16], headers: list[PictureHeader]) -> PackedSplit:
    """The entry of a split in the index, of images in the order of their records."""
    return PackedSplit(
        shards=shards,
        labels=labels.tolist(),
        kinds=[header.kind for header in headers],
        widths=[header.width for header in headers],
        heights=[header.height for header in headers],
        orientations=[header.orientation for header in headers],
        transparent=[header.transparent for header in headers],
    )


def write_index(folder: Path, index: PackIndex) -> None:
    """Write pack.json. Raises GnetError where it would be too large to be read again, and OSError."""
    document: dict[str, Any] = msgspec.to_builtins(index)
    text = json.dumps(document) + "\n"
    if len(text) > MAX_TEXT_BYTES:
        images = len(index.train.labels) + len(index.test.labels)
        raise GnetError(f"data: {images} images are too many for one pack; pack a part of the classes at a time")
    write_whole(folder / INDEX_FILE, text)
