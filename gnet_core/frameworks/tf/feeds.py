"""What a case is fed from: a batch that is ready, or pictures in files, in TFRecord files or in memory."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from gnet_core.config import GnetError, StepConfig, bad_data
from gnet_core.datasets import packs, photographs
from gnet_core.datasets.catalog import check_labels, open_data
from gnet_core.datasets.data_set import DataSet, RecordFiles, Split
from gnet_core.datasets.image_files import MAX_IMAGE_BYTES, look_at
from gnet_core.files.whole import read_bytes
from gnet_core.frameworks.base import Feed, Pictures
from gnet_core.frameworks.tf.input_pipeline import PREFETCHED_BATCHES, Loader, endless_batches, named_errors
from gnet_core.frameworks.tf.pack import pack
from gnet_core.machine.description import USABLE_THREADS

MADE_PICTURES = 128
"""Photographs that are made, which are of one kind; for a larger batch twice as many as it has."""
SAMPLED_PICTURES = 1024
"""Images of a data set, drawn from those of training: enough to stand for all, and soon packed or decoded."""
MAX_KEPT_BYTES = 2**29
"""Memory for images that are kept, so that large ones are fewer, but a batch at least."""

Batch = tuple[tf.Tensor, tf.Tensor]


class BatchFeed(Feed):
    """Batches without end: images float32 (batch, image_size, image_size, 3) and labels uint16 (batch,)."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        super().__init__()
        self._batches = batches

    def __next__(self) -> Batch:
        return next(self._batches)


class PictureFeed(BatchFeed):
    """Batches of pictures, with the time that was waited for them. They lie in a folder that goes with the process.

    Whatever the feed, the pictures are the same. They have been written or read before, so that the operating system
    has them in memory: what is measured is reading, decoding and resizing, and no disk.
    """

    def __init__(self, config: StepConfig, tensorflow_device: str) -> None:
        """Raises GnetError for a data set that cannot be fed to the case, and where there is no room for its files."""
        try:
            folder = Path(tempfile.mkdtemp(prefix="gnet-pictures-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # at the end of the process at the latest
            split = _as_files(config, folder)
        except OSError as error:
            why = f"cannot have the pictures of feed {config.feed} ({error.strerror})"
            raise GnetError(f"TMPDIR: the folder of temporary files {why}; name one with room") from error
        pictures = _read(split, made=config.data == "synthetic")
        loader = Loader(
            _packed(split, config, folder) if config.feed == "tfrecord" else split,
            config,
            training=True,
            memory_bytes=sys.maxsize if config.feed == "cache" else 0,
        )
        loader.fill()
        super().__init__(named_errors(loader.split, loader.endless(config.seed)))
        self.pictures, self._device = pictures, tensorflow_device
        # Those that are prefetched, those that threads are making of their images, and one whose images are not all.
        self.made_ahead = PREFETCHED_BATCHES + USABLE_THREADS + 1

    def __next__(self) -> Batch:
        began = time.perf_counter()
        images, labels = super().__next__()
        if self._device != "/CPU:0":
            # A step returns once its kernels are queued, so that this copies while the step before still runs.
            with tf.device(self._device):
                images, labels = tf.identity(images), tf.identity(labels)
        self.waited_seconds += time.perf_counter() - began
        return images, labels


def open_feed(config: StepConfig, tensorflow_device: str) -> BatchFeed:
    """The case's batches for a step on that device. Raises GnetError for a data set that cannot be fed to the case."""
    if config.feed == "ready":
        return BatchFeed(endless_batches(config, tensorflow_device))
    return PictureFeed(config, tensorflow_device)


def _as_files(config: StepConfig, folder: Path) -> Split:
    """The pictures as image files, those that are none yet in the folder."""
    if config.data == "synthetic":
        chance = np.random.default_rng(config.seed)
        count = _number(config, max(MADE_PICTURES, 2 * config.batch_size))
        labels = chance.integers(config.classes, size=count, dtype=np.uint16)
        levels = photographs.photographs(count, config.seed)
        encoded = (tf.io.encode_jpeg(each, quality=photographs.QUALITY).numpy() for each in levels)
        return _written(encoded, labels, folder)
    data = open_data(config.data)
    check_labels(data, config.classes)
    split, count = data.train, _number(config, max(SAMPLED_PICTURES, 2 * config.batch_size))
    if isinstance(split.images, RecordFiles):  # which are in an order that was drawn
        return _written(_records(split.images), split.labels[:count], folder)
    sample = np.sort(np.random.default_rng(config.seed).permutation(len(split))[:count])
    if isinstance(split.images, tuple):
        paths = tuple(split.images[number] for number in sample)
        return Split(paths, split.labels[sample], None if split.headers is None else split.headers[sample])
    images = (image if image.ndim == 3 else image[..., np.newaxis] for image in split.images[sample])
    encoded = (tf.io.encode_jpeg(image, quality=photographs.QUALITY).numpy() for image in images)
    return _written(encoded, split.labels[sample], folder)


def _number(config: StepConfig, wanted: int) -> int:
    """So many pictures, or as many as may be kept, but a batch at least."""
    return max(config.batch_size, min(wanted, MAX_KEPT_BYTES // (3 * config.image_size**2)))


def _written(encoded: Iterator[bytes], labels: np.ndarray[tuple[int], np.dtype[np.uint16]], folder: Path) -> Split:
    """The split of image files that are written into the folder, as many as there are labels."""
    files = []
    for number, content in enumerate(itertools.islice(encoded, len(labels))):
        path = folder / f"{number:05}"
        path.write_bytes(content)
        files.append(look_at(path))
    return Split.of_files(files, labels.tolist())


def _records(records: RecordFiles) -> Iterator[bytes]:
    """The encoded images of TFRecord files."""
    for record in tf.data.TFRecordDataset(list(records.paths)).as_numpy_iterator():
        yield tf.train.Example.FromString(record).features.feature["image"].bytes_list.value[0]


def _packed(split: Split, config: StepConfig, folder: Path) -> Split:
    """The same images in TFRecord files, which are written into the folder."""
    assert isinstance(split.images, tuple)
    names = tuple(f"{label:05}" for label in range(config.classes))
    first = Split(split.images[:1], split.labels[:1], None if split.headers is None else split.headers[:1])
    pack(DataSet("pictures", names, split, test=first, default_image_size=config.image_size), folder)
    return packs.open_pack("pictures", folder).train


def _read(split: Split, *, made: bool) -> Pictures:
    """What the image files are. They are read for it, so that none comes from a disk later. Raises GnetError for one
    that is gone.
    """
    assert isinstance(split.images, tuple)
    assert split.headers is not None
    widths, heights = (split.headers[side].astype(np.int64) for side in ("width", "height"))
    encoded_bytes = 0
    for path in split.images:
        try:
            encoded_bytes += len(read_bytes(Path(path), MAX_IMAGE_BYTES))
        except OSError as error:
            raise bad_data(path, f"cannot be read: {error.strerror}") from None
    return Pictures(images=len(split), pixels=int((widths * heights).sum()), encoded_bytes=encoded_bytes, made=made)
