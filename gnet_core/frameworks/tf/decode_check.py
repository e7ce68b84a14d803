"""Which images of a data set do not decode, found out before training.

Skipping them while training would need no pass of its own, but the number of steps, on which the learning rate's
schedule and the progress hang, would be known after the first epoch alone, and tf.data's ignore_errors keeps no names.
So all images are decoded once, in parallel and without being resized; an element that ignore_errors drops is missing
among the numbers that come back, which names it. What was found is remembered by the data set's fingerprint, so this
costs one decoding of the images in the life of a data set.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from gnet_core.datasets import checked
from gnet_core.datasets.catalog import fingerprint
from gnet_core.datasets.data_set import DataSet, Split, leave_out
from gnet_core.datasets.image_files import BrokenImage
from gnet_core.frameworks.tf.decoding import read_and_decode
from gnet_core.frameworks.tf.input_pipeline import UNDECODABLE, file_source

_NUMBERS_AT_A_TIME = 256


def decodable(data: DataSet, *, strict: bool = False, progress: Callable[[str], None] = lambda _: None) -> DataSet:
    """The data set without the image files that do not decode; `progress` is told where that takes a while.

    Raises GnetError as leave_out does: where `strict` and there is one, and where a class loses its last image.
    """
    if not isinstance(data.train.images, tuple):  # arrays are decoded, and records were checked when they were written
        return data
    key = f"{fingerprint(data)}-{tf.__version__}"
    broken = checked.recorded(key)
    if broken is None:
        progress(f"decoding all {len(data.train) + len(data.test)} images once, to find those that are damaged")
        broken = (*undecodable(data.train), *undecodable(data.test))
        checked.record(key, broken)
    present = {*data.train.images, *data.test.images} if isinstance(data.test.images, tuple) else set()
    return leave_out(data, [image for image in broken if image.path in present], strict=strict)


def undecodable(split: Split) -> tuple[BrokenImage, ...]:
    """The image files of a split that do not decode. Raises tf.errors.ResourceExhaustedError for too little memory."""

    def number_and_size(number: tf.Tensor, _: tf.Tensor, *content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return number, tf.size(read_and_decode(*content))  # what nobody asks for would not be computed

    assert isinstance(split.images, tuple)
    decoded = np.zeros(len(split), np.bool_)
    with tf.device("/CPU:0"):
        numbers = file_source(split, 0, len(split)).map(
            number_and_size, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False
        )
        for batch, _ in numbers.ignore_errors().batch(_NUMBERS_AT_A_TIME).prefetch(1):
            decoded[batch.numpy()] = True
        columns = zip(split.images, split.orientations(), split.transparencies(), decoded, strict=True)
        reasons = [(path, _reason(path, *look)) for path, *look, was_decoded in columns if not was_decoded]
    return tuple(BrokenImage(path=path, reason=reason) for path, reason in reasons if reason)


def _reason(path: str, orientation: np.uint8, transparent: np.bool_) -> str:
    """Why a file does not decode; empty if it does after all, as when memory was short for a moment."""
    try:
        read_and_decode(os.fsencode(path), tf.constant(orientation), tf.constant(transparent))
    except tf.errors.ResourceExhaustedError:
        raise
    except tf.errors.InvalidArgumentError:
        return UNDECODABLE
    except tf.errors.OpError:
        return "cannot be read any more"
    return ""
