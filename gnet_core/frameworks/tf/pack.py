"""Packing a data set into TFRecord files, which are read in sequence: few large files instead of many small ones."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from gnet_core.config import GnetError, bad_data
from gnet_core.datasets.catalog import fingerprint
from gnet_core.datasets.data_set import DataSet, RecordFiles, Split
from gnet_core.datasets.image_files import MAX_IMAGE_BYTES
from gnet_core.datasets.image_headers import KINDS, UPRIGHT, PictureHeader
from gnet_core.datasets.packs import PackedSplit, PackIndex, Shard, packed_split, write_index
from gnet_core.files.whole import open_regular, read_bytes, written_whole

SHARD_BYTES = 2**26
"""A shard is closed once it has so many bytes of images: small enough to be shuffled among others, large enough to be
read without a search for each image."""
_ORDER_SEED = 0
"""Of the order in which images of training are packed, so that a shard holds images of all classes."""


def pack(data: DataSet, out: Path, shard_bytes: int = SHARD_BYTES) -> PackIndex:
    """Write a data set into a folder: train-00000.tfrecord and on, test-00000.tfrecord and on, and last pack.json.

    A record is a tf.train.Example with `image`, the bytes of the image file as they are or an array's image as PNG,
    `label`, `orientation` (EXIF's) and `transparent`. What is not finished leaves nothing. Raises GnetError for data in
    TFRecord files already, for names that are no UTF-8, an image that is gone, and a folder that cannot be written.
    """
    if isinstance(data.train.images, RecordFiles):
        raise GnetError(f"data: {data.name!r:.200} is in TFRecord files already; pack what they were made of")
    for name in (data.name, *data.class_names):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise GnetError(f"data: {name!r} is not UTF-8, in which {out} would name it; rename it") from None
    source_fingerprint = fingerprint(data)
    with contextlib.ExitStack() as undo:
        try:
            order = np.random.RandomState(_ORDER_SEED).permutation(len(data.train))
            train = _write_split(data.train, "train", order, out, shard_bytes, undo)
            test = _write_split(data.test, "test", np.arange(len(data.test)), out, shard_bytes, undo)
            index = PackIndex(
                source=data.name,
                source_fingerprint=source_fingerprint,
                class_names=list(data.class_names),
                default_image_size=data.default_image_size,
                mirrored=data.mirrored,
                aligned=data.aligned,
                duplicates=data.duplicates,
                notes=list(data.notes),
                train=train,
                test=test,
            )
            write_index(out, index)
        except (OSError, tf.errors.OpError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"{error.message:.200}"
            raise GnetError(f"out: {out} cannot be written: {reason}; name a folder with room") from error
        undo.pop_all()
    return index


def _write_split(
    split: Split, part: str, order: npt.NDArray[Any], out: Path, shard_bytes: int, undo: contextlib.ExitStack
) -> PackedSplit:
    """Write the images of a split in an order; `undo` is told to remove what was written."""
    shards: list[Shard] = []
    headers: list[PictureHeader] = []
    images = iter(order.tolist())
    number = next(images, None)
    while number is not None:
        path = out / f"{part}-{len(shards):05}.tfrecord"
        first = len(headers)
        undo.callback(path.unlink, missing_ok=True)
        with written_whole(path) as partial:
            written_bytes = 0
            with tf.io.TFRecordWriter(str(partial)) as writer:
                while number is not None and written_bytes < shard_bytes:
                    image, header = _encoded(split, number)
                    writer.write(_example(image, int(split.labels[number]), header))
                    headers.append(header)
                    written_bytes += len(image)
                    number = next(images, None)
            size_bytes = partial.stat().st_size
            with open_regular(partial, 2 * size_bytes) as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        shards.append(Shard(file=path.name, images=len(headers) - first, size_bytes=size_bytes, sha256=sha256))
    return packed_split(shards, split.labels[order], headers)


def _encoded(split: Split, number: int) -> tuple[bytes, PictureHeader]:
    """The bytes of an image as an image file has them, and their header."""
    if isinstance(split.images, tuple):
        path = split.images[number]
        try:
            image = read_bytes(Path(path), MAX_IMAGE_BYTES)
        except OSError as error:
            raise bad_data(path, f"cannot be read: {error.strerror}") from None
        assert split.headers is not None
        kind, width, height, orientation, transparent = split.headers[number].item()
        return image, PictureHeader(KINDS[kind], width, height, width * height, orientation, transparent)
    assert isinstance(split.images, np.ndarray)
    levels = split.images[number]
    height, width = levels.shape[:2]
    png = tf.io.encode_png(levels if levels.ndim == 3 else levels[..., np.newaxis]).numpy()
    return png, PictureHeader("PNG", width, height, width * height, UPRIGHT, False)


def _example(image: bytes, label: int, header: PictureHeader) -> bytes:
    """The serialised tf.train.Example of an image."""

    def number(value: int) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "label": number(label),
        "orientation": number(header.orientation),
        "transparent": number(int(header.transparent)),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString(deterministic=True))  # so that two packs of the same are the same
