"""The input of a step: a synthetic batch made on the device, or a data set decoded and resized in tf.data."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gnet_core.config import Augmentation, GnetError, StepConfig, bad_data
from gnet_core.datasets import packs, synthetic
from gnet_core.datasets.catalog import check_labels, open_data
from gnet_core.datasets.data_set import RecordFiles, Split
from gnet_core.datasets.image_files import BrokenImageError, ImageFile
from gnet_core.frameworks.tf.augmentation import augmented
from gnet_core.frameworks.tf.decoding import decode, fit, read_and_decode
from gnet_core.machine import description

_DAMAGED = "cannot be decoded, it is cut short or damaged"
UNDECODABLE = f"{_DAMAGED}; replace it or remove it from the data set"

_KEPT_OVERHEAD_BYTES = 512
"""Beside the levels of an image that is kept: a buffer, the descriptions of three tensors, what malloc rounds up."""
PREFETCHED_BATCHES = 4
"""A fixed number, since AUTOTUNE's grows with whatever memory is free."""
_SHUFFLED_RECORD_BYTES = 2**28
"""Encoded images among which the records of a pack are shuffled. The order of its shards is shuffled as well, and
which images are in a shard was drawn when it was packed."""
_SHARDS_AT_A_TIME = 4

Image = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""An image in the pipeline: its number in the split, int64; its levels, uint8 (size, size, 3); its label, uint16."""


def endless_batches(config: StepConfig, tensorflow_device: str) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """The same synthetic batch for ever, made on that device, or training epochs without end. Raises as `batches`."""
    if config.data == "synthetic":
        with tf.device(tensorflow_device):
            return itertools.repeat(synthetic_batch(config))
    dataset = open_data(config.data)
    check_labels(dataset, config.classes)
    return named_errors(dataset.train, batches(dataset.train, config, training=True).repeat())


def named_errors(split: Split, examples: tf.data.Dataset) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """The data set's batches; a file that cannot be decoded or read raises a GnetError that names it."""
    try:
        yield from examples
    except tf.errors.ResourceExhaustedError:  # too little memory is no fault of a file's
        raise
    except tf.errors.OpError as error:
        raise explain_decode_error(split) from error


def synthetic_batch(config: StepConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """The case's batch of noise, as gnet_core.datasets.synthetic has it, on the device current at the call."""
    images, labels = synthetic.batch(config)
    return tf.identity(images), tf.identity(labels)


def batches(split: Split, config: StepConfig, *, training: bool) -> tf.data.Dataset:
    """One epoch of a Loader that keeps nothing in memory and changes no image, in the order of config.seed."""
    return Loader(split, config, training=training).batches(config.seed)


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of an epoch's order and of its augmentation, below 2**32.

    A resumed epoch must see what it would have seen, so it hangs on the epoch and not on what ran before.
    """
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


class Loader:
    """The batches of one split, epoch after epoch: the input pipeline alone, without a step.

    A batch is images float32 (batch, image_size, image_size, 3) in [0, 1] and labels uint16 (batch,). Training
    shuffles, augments, and drops what does not fill a batch. Testing keeps the order and the last, smaller batch.
    Pictures are decoded in parallel and stretched to the square; a grey one becomes three equal channels.

    The first images of the split, as many as fit into `memory_bytes` as levels of a byte, are decoded and resized in
    the first epoch and kept; the others are made anew in each. Records are kept all or none, since they are read in
    sequence. So the memory that the pipeline takes hangs on `memory_bytes`, the batch and the largest picture, and not
    on how much data there is (but for the data set's list of paths, or its arrays).

    The same seed gives the same batches, whatever the number of threads and whatever is kept; of records the order also
    hangs on whether they are kept. gnet bench input-pipeline measures it alone and with a step.
    """

    def __init__(
        self,
        split: Split,
        config: StepConfig,
        *,
        training: bool,
        augmentation: Augmentation = "none",
        memory_bytes: int = 0,
    ) -> None:
        """Raises GnetError where there are fewer training images than one batch takes."""
        if training and len(split) < config.batch_size:
            raise GnetError(
                f"batch_size: {config.batch_size} is too large; the data has {len(split)} training images, "
                f"so use at most {len(split)}"
            )
        self.split = split
        self._config = config
        self._training = training
        self._augmentation: Augmentation = augmentation if training else "none"
        image_bytes = 3 * config.image_size**2 + _KEPT_OVERHEAD_BYTES
        fitting = min(len(split), memory_bytes // image_bytes)
        all_or_none = isinstance(split.images, RecordFiles) and fitting < len(split)
        self.kept = 0 if all_or_none else fitting
        """Images that are kept once they were made: the first of the split."""
        self.kept_bytes = self.kept * image_bytes
        with tf.device("/CPU:0"):  # also when called under a GPU's scope, which has no decoder
            # Built once: what it keeps belongs to this tf.data.Dataset, which those of all epochs read.
            self._kept = self._made(0, self.kept).cache() if self.kept else None

    def __len__(self) -> int:
        """Batches of an epoch."""
        whole, rest = divmod(len(self.split), self._config.batch_size)
        return whole if self._training else whole + bool(rest)

    def epoch(self, number: int, done: int = 0) -> tf.data.Dataset:
        """The batches of an epoch of a session, counted from 1, in an order and with an augmentation of its own; the
        first `done` of them are left out.
        """
        return self.batches(epoch_seed(self._config.seed, number), done)

    def batches(self, seed: int, done: int = 0) -> tf.data.Dataset:
        """The batches of one pass, but for the first `done`, of which only what has to be kept is decoded.

        A training pass shuffles anew each time it is iterated, repeatably for the seed.

        Iterating raises tf.errors.OpError for a file that is damaged or gone, which explain_decode_error names.
        """
        with tf.device("/CPU:0"):
            skipped = done * self._config.batch_size
            images = self._shuffled(seed, skipped) if self._training else self._in_order().skip(skipped)
            dataset = self._batched(images, seed)
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(self) - done))
            return _made_ahead(dataset)

    def endless(self, seed: int) -> tf.data.Dataset:
        """The batches of training passes without end, each in an order of its own. A batch may have images of two of
        them, so that none waits for a pass to begin. Iterating raises as that of `batches` does.
        """
        with tf.device("/CPU:0"):
            return _made_ahead(self._batched(self._shuffled(seed, endless=True), seed))

    def fill(self) -> None:
        """Make now what is kept, which the first pass would do otherwise. Raises as named_errors does."""
        if self._kept is not None:
            for _ in named_errors(self.split, self._kept):
                pass

    def pictures(self, numbers: Sequence[int]) -> tf.data.Dataset:
        """Number, int64, and levels, uint8 (image_size, image_size, 3), of the images that have these numbers in the
        split, in its order. Iterating raises as that of `batches` does.
        """

        def is_one_of_them(number: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
            return tf.reduce_any(tf.equal(number, tf.constant(numbers, tf.int64)))

        with tf.device("/CPU:0"):
            images = self._decoded(_source(self.split, 0, len(self.split)).filter(is_one_of_them))
            return images.map(lambda number, image, _: (number, image))

    def _batched(self, images: tf.data.Dataset, seed: int) -> tf.data.Dataset:
        """Batches as a step is fed them, of images (see Image) that are augmented first."""

        def changed(number: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> Image:
            return number, augmented(image, self._augmentation, seed, number), label

        def fed(_: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return _as_fed(images), labels

        if self._augmentation != "none":
            images = images.map(changed, num_parallel_calls=tf.data.AUTOTUNE)
        dataset = images.batch(self._config.batch_size, drop_remainder=self._training)
        return dataset.map(fed, num_parallel_calls=tf.data.AUTOTUNE)

    def _in_order(self) -> tf.data.Dataset:
        """The images (see Image) in the order of the split."""
        images = len(self.split)
        if self._kept is None:
            return self._made(0, images)
        return self._kept if self.kept == images else self._kept.concatenate(self._made(self.kept, images))

    def _shuffled(self, seed: int, skipped: int = 0, *, endless: bool = False) -> tf.data.Dataset:
        """The images (see Image) in an order drawn by the seed, anew at each iteration, without the first `skipped`;
        `endless` begins the next pass before anything is decoded, so that the processors go on while a pass ends.

        The buffer of the shuffle holds what an image is made of, such as its path, and of those that are kept a
        reference, so that no image is in memory twice.
        """
        images, size = len(self.split), self._config.image_size

        def shuffled(source: tf.data.Dataset) -> tf.data.Dataset:
            return left(source.shuffle(images, seed=seed, reshuffle_each_iteration=True))

        def left(source: tf.data.Dataset) -> tf.data.Dataset:
            return source.repeat() if endless else source.skip(skipped)

        if self._kept is not None and self.kept == images:
            return shuffled(self._kept)
        if isinstance(self.split.images, RecordFiles):
            return self._decoded(left(_shuffled_records(self.split.images, seed)))
        if self._kept is None:
            return self._decoded(shuffled(_source(self.split, 0, images)))

        def with_image(image: Image, columns: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            return (*columns, image[1])

        def without_image(*columns: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return (*columns, tf.zeros((0, 0, 3), tf.uint8))

        def kept_or_made(number: tf.Tensor, label: tf.Tensor, *content_and_image: tf.Tensor) -> Image:
            *content, image = content_and_image
            levels = tf.cond(
                tf.size(image) > 0,
                lambda: tf.ensure_shape(image, (size, size, 3)),
                lambda: fit(self._levels(*content), size),
            )
            return number, levels, label

        # What is kept comes first: only a pass that has asked beyond its last image keeps it, and zip asks in order.
        kept = tf.data.Dataset.zip((self._kept, _source(self.split, 0, self.kept))).map(with_image)
        source = kept.concatenate(_source(self.split, self.kept, images).map(without_image))
        return shuffled(source).map(kept_or_made, num_parallel_calls=tf.data.AUTOTUNE)

    def _made(self, start: int, stop: int) -> tf.data.Dataset:
        """The images (see Image) from `start` to `stop` in the order of the split."""
        return self._decoded(_source(self.split, start, stop))

    def _decoded(self, source: tf.data.Dataset) -> tf.data.Dataset:
        """The images (see Image) of a source, decoded and resized in parallel."""

        def made(number: tf.Tensor, label: tf.Tensor, *content: tf.Tensor) -> Image:
            return number, fit(self._levels(*content), self._config.image_size), label

        return source.map(made, num_parallel_calls=tf.data.AUTOTUNE)

    def _levels(self, *content: tf.Tensor) -> tf.Tensor:
        """Levels, uint8 (height, width, 3), of what a source has of an image beside its number and its label."""
        if isinstance(self.split.images, RecordFiles):
            return decode(*content)
        return read_and_decode(*content) if isinstance(self.split.images, tuple) else _in_colour(*content)


def decoded_image(file: ImageFile, size: int) -> tf.Tensor:
    """One picture as a step is fed it: float32 (size, size, 3) in [0, 1]. Raises BrokenImageError for a file that does
    not decode.
    """
    look = (tf.constant(file.header.orientation), tf.constant(file.header.transparent))
    try:
        with tf.device("/CPU:0"):
            return _as_fed(fit(read_and_decode(os.fsencode(file.path), *look), size))
    except tf.errors.OpError:
        raise BrokenImageError(file.path, _DAMAGED) from None


def _made_ahead(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The batches in one order whatever the number of threads, and some of them made before they are asked for."""
    options = tf.data.Options()
    options.deterministic = True
    if tf.config.threading.get_inter_op_parallelism_threads() == 1:  # the threads that would decode otherwise
        options.threading.private_threadpool_size = description.USABLE_THREADS
    return dataset.prefetch(PREFETCHED_BATCHES).with_options(options)


def _as_fed(levels: tf.Tensor) -> tf.Tensor:
    """Levels as a step takes them: float32 in [0, 1]."""
    return tf.cast(levels, tf.float32) / 255.0


def explain_decode_error(split: Split) -> GnetError:
    """The error to raise after iterating a pass has failed: it names the first file that cannot be decoded."""
    if isinstance(split.images, RecordFiles):
        for shard in packs.changed_shards(split.images):
            return bad_data(shard.path, shard.reason)
        return bad_data(split.images.paths[0], "or a file beside it has a record that cannot be read; pack them again")
    if isinstance(split.images, tuple):
        for path, *look in zip(split.images, split.orientations(), split.transparencies(), strict=True):
            try:
                read_and_decode(os.fsencode(path), *map(tf.constant, look))
            except tf.errors.OpError:
                return bad_data(path, UNDECODABLE)
    return GnetError(f"data: each of the {len(split)} images decodes on its own; try again")


def file_source(split: Split, start: int, stop: int) -> tf.data.Dataset:
    """Number, label, path, orientation and transparency of the image files from `start` to `stop`."""
    assert isinstance(split.images, tuple)
    part = slice(start, stop)
    numbers, paths = np.arange(start, stop, dtype=np.int64), list(map(os.fsencode, split.images[part]))
    columns = (numbers, split.labels[part], paths, split.orientations()[part], split.transparencies()[part])
    return tf.data.Dataset.from_tensor_slices(columns)


def _source(split: Split, start: int, stop: int) -> tf.data.Dataset:
    """Number, label and undecoded content of the images from `start` to `stop`; of records that is all of them."""
    if isinstance(split.images, RecordFiles):
        return _records(split.images).flat_map(_numbered).map(_parsed, num_parallel_calls=tf.data.AUTOTUNE)
    if isinstance(split.images, tuple):
        return file_source(split, start, stop)
    columns = (np.arange(start, stop, dtype=np.int64), split.labels[start:stop], split.images[start:stop])
    return tf.data.Dataset.from_tensor_slices(columns)


def _in_colour(image: tf.Tensor) -> tf.Tensor:
    """Levels (height, width, 3) of an image in an array, which is grey or in colour."""
    return tf.repeat(image[..., tf.newaxis], 3, axis=-1) if image.shape.rank == 2 else image


def _records(records: RecordFiles) -> tf.data.Dataset:
    """The path of each file, the number of its first record and how many it has."""
    counts = np.array(records.counts, np.int64)
    return tf.data.Dataset.from_tensor_slices((list(map(os.fsencode, records.paths)), counts.cumsum() - counts, counts))


def _numbered(path: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
    """The records of a file, each with its number in the split."""
    return tf.data.Dataset.zip((tf.data.Dataset.range(first, first + count), tf.data.TFRecordDataset(path)))


def _shuffled_records(records: RecordFiles, seed: int) -> tf.data.Dataset:
    """Number, label and content of all records: files in an order that is drawn, several at a time, their records mixed
    within a window of bounded bytes.
    """
    files = _records(records).shuffle(len(records.paths), seed=seed, reshuffle_each_iteration=True)
    cycle = min(_SHARDS_AT_A_TIME, len(records.paths))
    examples = files.interleave(_numbered, cycle_length=cycle, num_parallel_calls=tf.data.AUTOTUNE)
    images = sum(records.counts)
    record_bytes = max(1, sum(records.sizes_bytes) // images)
    window = max(1, min(images, _SHUFFLED_RECORD_BYTES // record_bytes))
    examples = examples.shuffle(window, seed=seed, reshuffle_each_iteration=True)
    return examples.map(_parsed, num_parallel_calls=tf.data.AUTOTUNE)


def _parsed(number: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Number, label, encoded image, orientation and transparency. A record that does not tell how its image stands has
    it upright and opaque.
    """
    features: dict[str, Any] = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
        "orientation": tf.io.FixedLenFeature((), tf.int64, default_value=1),
        "transparent": tf.io.FixedLenFeature((), tf.int64, default_value=0),
    }
    example = tf.io.parse_single_example(record, features)
    label, transparent = tf.cast(example["label"], tf.uint16), tf.cast(example["transparent"], tf.bool)
    return number, label, example["image"], example["orientation"], transparent
