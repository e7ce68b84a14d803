"""The size of a picture from the header of its file, before it is decoded: JPEG, PNG, GIF or BMP."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")  # what tf.io.decode_image itself goes by

_MAX_STEPS = 2**20
"""Parts of one file that are looked at. A picture of 256 MiB has hardly more, and these take half a second."""


class PictureSize(NamedTuple):
    """The size that the header of a file gives, in pixels."""

    width: int
    height: int
    frames_pixels: int
    """Pixels of all frames together: an animation is unpacked whole, although only its first frame is used."""


class HeaderError(ValueError):
    """A damaged or unknown header. The message continues a sentence that begins with the name of the file."""


def picture_size(file: BinaryIO) -> PictureSize:
    """The size that an image file promises. Raises HeaderError for what is no image file or a damaged one, OSError."""
    start = file.read(32)
    if not start.startswith(_STARTS):
        raise HeaderError("is not an image; use JPEG, PNG, GIF or BMP")
    try:
        if start.startswith(b"GIF8"):
            return _gif_size(file, start)
        if start.startswith(b"\x89PNG"):
            width, height = struct.unpack_from(">II", start, 16)
        elif start.startswith(b"BM"):
            width, height = map(abs, struct.unpack_from("<ii", start, 18))
        else:
            width, height = _jpeg_size(file)
    except (struct.error, IndexError):
        raise HeaderError("is cut short; replace it or remove it from the data set") from None
    return PictureSize(width, height, width * height)


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height in the frame header, which comes after segments of any length (ITU-T T.81, annex B)."""
    file.seek(2)
    before = 0
    for _ in range(_MAX_STEPS):
        code = file.read(1)[0]
        # Decoders pass over whatever stands between segments, and a marker may begin with several bytes 0xFF.
        is_marker = before == 0xFF and code not in (0x00, 0xFF)
        before = code
        if not is_marker or code == 0x01 or 0xD0 <= code <= 0xD8:  # the latter are followed by no segment
            continue
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", file.read(7), 3)
            return width, height
        if code in (0xD9, 0xDA):  # the end, or the picture itself
            break
        (length,) = struct.unpack(">H", file.read(2))
        file.seek(max(0, length - 2), 1)
    raise HeaderError("has no frame header, which a JPEG needs; replace it or remove it from the data set")


def _gif_size(file: BinaryIO, start: bytes) -> PictureSize:
    """The largest of the screen and the frames, each of which may have a size of its own (GIF89a specification)."""
    width, height, flags = struct.unpack_from("<HHB", start, 6)
    frames_pixels = 0
    file.seek(13 + _colour_table_bytes(flags))
    in_blocks = False  # a chain of blocks, each of which begins with its length; one of length 0 ends it
    for _ in range(_MAX_STEPS):
        byte = file.read(1)
        if in_blocks and byte:
            in_blocks = byte != b"\0"
            file.seek(byte[0], 1)
        elif byte == b",":
            _, _, frame_width, frame_height, flags = struct.unpack("<HHHHB", file.read(9))
            width, height = max(width, frame_width), max(height, frame_height)
            frames_pixels += frame_width * frame_height
            file.seek(_colour_table_bytes(flags) + 1, 1)
            in_blocks = True
        elif byte == b"!":
            file.seek(1, 1)
            in_blocks = True
        else:  # the end, or damage that the decoder will meet
            return PictureSize(width, height, frames_pixels)
    raise HeaderError("has too many parts to look through; replace it or remove it from the data set")


def _colour_table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
