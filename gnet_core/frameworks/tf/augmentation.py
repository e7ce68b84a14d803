"""Augmentation: what is done to an image of training, anew in each epoch and the same whenever that epoch is run."""

from __future__ import annotations

import tensorflow as tf

from gnet_core.config import Augmentation

_PADDED_SHARE = 8
"""A crop shifts an image by up to an eighth of its side, which is one pixel of a digit and 28 of a photo of 224."""


def augmented(image: tf.Tensor, augmentation: Augmentation, seed: int, number: tf.Tensor) -> tf.Tensor:
    """An image of levels, (size, size, 3) of any type, shifted and mirrored by chance, of the same shape and type.

    crop: the image is continued on all sides by its reflection and cut out at a random place (He et al., arXiv
    1512.03385, section 4.2, who pad with zeros; a reflection leaves no black bars in a texture). flip: half of the
    images are mirrored, left to right. Chance hangs on the epoch's seed and on the image's `number` alone, an int64
    scalar, so neither on how many images are made at a time nor on what was run before.
    """
    if augmentation == "none":
        return image
    draws = tf.random.stateless_uniform((3,), tf.stack([tf.constant(seed, tf.int64), number]))
    if "crop" in augmentation:
        size = image.shape[0]
        padding = size // _PADDED_SHARE
        wider = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]], "REFLECT")
        top_left = tf.cast(draws[:2] * (2 * padding + 1), tf.int32)
        image = tf.slice(wider, tf.concat([top_left, [0]], axis=0), [size, size, 3])
    if "flip" in augmentation:
        original = image
        image = tf.cond(draws[2] < 0.5, lambda: tf.reverse(original, [1]), lambda: original)
    return image
