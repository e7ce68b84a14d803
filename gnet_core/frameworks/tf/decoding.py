"""From an image file to levels: decoded, seen against white, turned upright, stretched to a square.

What tf.io.decode_image makes of the odd ones was read in TensorFlow's sources (core/kernels/image/decode_image_op.cc,
core/lib/png/png_io.cc, core/lib/jpeg/jpeg_mem.cc): a CMYK JPEG is converted to RGB; of 16-bit PNGs the upper 8 bits are
taken; a palette is looked up; of an animation the first frame is taken where animations are not expanded; a JPEG that
ends before its last row is an error. Alpha it drops, so that the colour which a program left beneath is seen.
"""

from __future__ import annotations

import tensorflow as tf

from gnet_core.datasets.image_headers import UPRIGHT

_TRANSPOSED = (5, 6, 7, 8)
_UPSIDE_DOWN = (3, 4, 7, 8)
_LEFT_SIDE_RIGHT = (2, 3, 6, 7)
"""EXIF's orientations (JEITA CP-3451, 4.6.4) in which rows are columns and, after that was put right, the picture is
upside down or its left side is its right one."""


def decode(encoded: tf.Tensor, orientation: tf.Tensor, transparent: tf.Tensor) -> tf.Tensor:
    """Levels, uint8 (height, width, 3), of the bytes of an image file; scalars of its orientation and transparency.

    A transparent PNG is composed onto white, as viewers and pages show it: that is what whoever labelled it saw. Raises
    tf.errors.InvalidArgumentError for bytes that cannot be decoded.
    """
    image = tf.cond(
        transparent,
        lambda: _on_white(tf.io.decode_png(encoded, channels=4)),
        lambda: tf.ensure_shape(tf.io.decode_image(encoded, channels=3, expand_animations=False), (None, None, 3)),
    )
    return tf.cond(tf.equal(orientation, UPRIGHT), lambda: image, lambda: _turned(image, orientation))


def read_and_decode(path: tf.Tensor | bytes, orientation: tf.Tensor, transparent: tf.Tensor) -> tf.Tensor:
    """The same of a file. Raises tf.errors.OpError also for one that cannot be read."""
    return decode(tf.io.read_file(path), orientation, transparent)


def fit(image: tf.Tensor, size: int) -> tf.Tensor:
    """Whole levels, uint8 (size, size, 3), of a picture of levels of any size.

    Area averages every pixel of a photo that shrinks, as the published run did. To enlarge, it would repeat pixels into
    blocks, so a picture that is too small in either direction goes bilinear. Levels are rounded, so that an image is
    the same whether it is kept in memory, a byte a level, or made anew.
    """
    image = tf.cast(image, tf.float32)
    image = tf.cond(
        tf.reduce_all(tf.shape(image)[:2] >= size),
        lambda: tf.image.resize(image, (size, size), "area"),
        lambda: tf.image.resize(image, (size, size), "bilinear", antialias=True),
    )
    return tf.saturate_cast(tf.round(tf.ensure_shape(image, (size, size, 3))), tf.uint8)


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """uint8 (height, width, 3) of red, green, blue and alpha over white, rounded to the nearest level."""
    levels = tf.cast(image, tf.int32)
    alpha = levels[..., 3:]
    composed = (levels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return tf.ensure_shape(tf.cast(composed, tf.uint8), (None, None, 3))


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The picture as EXIF's orientation wants it shown."""

    def is_one_of(orientations: tuple[int, ...]) -> tf.Tensor:
        return tf.reduce_any(tf.equal(tf.cast(orientation, tf.int32), orientations))

    upright = tf.cond(is_one_of(_TRANSPOSED), lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    standing = tf.cond(is_one_of(_UPSIDE_DOWN), lambda: tf.reverse(upright, (0,)), lambda: upright)
    return tf.cond(is_one_of(_LEFT_SIDE_RIGHT), lambda: tf.reverse(standing, (1,)), lambda: standing)
