"""The input of a step: a synthetic batch made on the device, or a data set decoded and resized in tf.data."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import tensorflow as tf

from gnet_core.config import GnetError, StepConfig, bad_data
from gnet_core.datasets import synthetic
from gnet_core.datasets.catalog import Split, check_labels, open_data


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
    """One epoch: images float32 (batch, image_size, image_size, 3) in [0, 1], labels uint16 (batch,).

    Training shuffles, anew each time the data set is iterated and repeatably for config.seed, and drops what does not
    fill a batch. Testing keeps the order and the last, smaller batch. Pictures are stretched to the square; a grey one
    becomes three equal channels. Raises GnetError where there are fewer training images than one batch takes; iterating
    raises tf.errors.InvalidArgumentError for a damaged file, which explain_decode_error names.
    """
    if training and len(split) < config.batch_size:
        raise GnetError(
            f"batch_size: {config.batch_size} is too large; the data has {len(split)} training images, "
            f"so use at most {len(split)}"
        )
    from_files = isinstance(split.images, tuple)

    def prepare(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if from_files:
            image = _decode(image)
        elif image.shape.rank == 2:  # grey
            image = tf.repeat(image[..., tf.newaxis], 3, axis=-1)
        return _fit(image, config.image_size), label

    with tf.device("/CPU:0"):  # also when called under a GPU's scope, which has no decoder
        images = list(map(os.fsencode, split.images)) if isinstance(split.images, tuple) else split.images
        dataset = tf.data.Dataset.from_tensor_slices((images, split.labels))
        if training:
            dataset = dataset.shuffle(len(split), seed=config.seed, reshuffle_each_iteration=True)
        dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.batch(config.batch_size, drop_remainder=training).prefetch(tf.data.AUTOTUNE)


def decoded_image(path: str, size: int) -> tf.Tensor:
    """One picture as a step is fed it: float32 (size, size, 3) in [0, 1]. Raises GnetError naming a file that cannot be
    decoded.
    """
    try:
        with tf.device("/CPU:0"):
            return _fit(_decode(os.fsencode(path)), size)
    except tf.errors.OpError:
        raise bad_data(path, "cannot be decoded") from None


def explain_decode_error(split: Split) -> GnetError:
    """The error to raise after iterating `batches` has failed: it names the first file that cannot be decoded."""
    for path in split.images if isinstance(split.images, tuple) else ():
        try:
            _decode(os.fsencode(path))
        except tf.errors.OpError:
            return bad_data(path, "cannot be decoded; replace it or remove it from the data set")
    return GnetError(f"data: each of the {len(split)} images decodes on its own; try again")


def _decode(path: tf.Tensor | bytes) -> tf.Tensor:
    """uint8 (height, width, 3) from an image file; of an animation its first frame."""
    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    return tf.ensure_shape(image, (None, None, 3))


def _fit(image: tf.Tensor, size: int) -> tf.Tensor:
    """float32 (size, size, 3) in [0, 1] from levels 0..255.

    Area averages every pixel of a photo that shrinks, as the published run did. To enlarge, it would repeat pixels into
    blocks, so a picture that is too small in either direction goes bilinear.
    """
    image = tf.cast(image, tf.float32)
    image = tf.cond(
        tf.reduce_all(tf.shape(image)[:2] >= size),
        lambda: tf.image.resize(image, (size, size), "area"),
        lambda: tf.image.resize(image, (size, size), "bilinear", antialias=True),
    )
    # Averages of 255 round to slightly more than 255.
    return tf.minimum(tf.ensure_shape(image, (size, size, 3)) / 255.0, 1.0)
