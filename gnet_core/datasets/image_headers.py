"""What the header of a picture's file tells before it is decoded, of JPEG, PNG, GIF and BMP: its size, which way is up
(EXIF's orientation), and whether it can be seen through.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Literal, NamedTuple

Kind = Literal["JPEG", "PNG", "GIF", "BMP"]
KINDS: tuple[Kind, ...] = ("JPEG", "PNG", "GIF", "BMP")

UPRIGHT = 1
"""EXIF's orientation of a picture whose first row is its top and whose first column is its left side."""

_STARTS: dict[bytes, Kind] = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP"}
"""Beginnings of files, which are what tf.io.decode_image itself goes by."""

_MAX_STEPS = 2**20
"""Parts of one file that are looked at. A picture of 256 MiB has hardly more, and these take half a second."""
_MAX_PNG_CHUNKS = 2**10
"""Chunks before the pixels of a PNG that are looked at. Damaged files can have millions of empty ones."""
_MAX_EXIF_BYTES = 2**16  # as much as a segment of a JPEG holds
_ORIENTATION_TAG = 0x0112
_SHORT = 3  # TIFF's type of an unsigned number of 16 bits


class PictureHeader(NamedTuple):
    """What the header of a file promises; sizes are in pixels."""

    kind: Kind
    width: int
    """Of the picture as it is stored, before it is turned."""
    height: int
    frames_pixels: int
    """Pixels of all frames together: an animation is unpacked whole, although only its first frame is used."""
    orientation: int = UPRIGHT
    """EXIF's number, 1 to 8, of how the picture is to be turned and mirrored before it is shown."""
    transparent: bool = False
    """Whether a PNG has an alpha channel or a transparent colour."""


class HeaderError(ValueError):
    """A damaged or unknown header. The message continues a sentence that begins with the name of the file."""


def picture_header(file: BinaryIO) -> PictureHeader:
    """The header of an image file. Raises HeaderError for what is no image file or a damaged one, and OSError."""
    start = file.read(32)
    if not start:
        raise HeaderError("is empty; replace it or remove it from the data set")
    kind = next((kind for beginning, kind in _STARTS.items() if start.startswith(beginning)), None)
    if kind is None:
        raise HeaderError("is not an image; use JPEG, PNG, GIF or BMP")
    try:
        if kind == "GIF":
            return PictureHeader(kind, *_gif_size(file, start))
        if kind == "PNG":
            width, height = struct.unpack_from(">II", start, 16)
            return PictureHeader(kind, width, height, width * height, *_png_look(file, start))
        if kind == "BMP":
            width, height = map(abs, struct.unpack_from("<ii", start, 18))
            return PictureHeader(kind, width, height, width * height)
        width, height, orientation = _jpeg_look(file)
        return PictureHeader(kind, width, height, width * height, orientation)
    except (struct.error, IndexError):
        raise HeaderError("is cut short; replace it or remove it from the data set") from None


def _jpeg_look(file: BinaryIO) -> tuple[int, int, int]:
    """Width and height in the frame header, which comes after segments of any length (ITU-T T.81, annex B), and the
    orientation in the EXIF data, which are a segment before it (JEITA CP-3451, 4.5.4).
    """
    file.seek(2)
    before = 0
    orientation = 0
    for _ in range(_MAX_STEPS):
        code = file.read(1)[0]
        # Decoders pass over whatever stands between segments, and a marker may begin with several bytes 0xFF.
        is_marker = before == 0xFF and code not in (0x00, 0xFF)
        before = code
        if not is_marker or code == 0x01 or 0xD0 <= code <= 0xD8:  # the latter are followed by no segment
            continue
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", file.read(7), 3)
            return width, height, orientation or UPRIGHT
        if code in (0xD9, 0xDA):  # the end, or the picture itself
            break
        (length,) = struct.unpack(">H", file.read(2))
        following = file.tell() + max(0, length - 2)
        if code == 0xE1 and not orientation and file.read(6) == b"Exif\0\0":
            orientation = _exif_orientation(file.read(max(0, length - 8)))
        file.seek(following)
    raise HeaderError("has no frame header, which a JPEG needs; replace it or remove it from the data set")


def _png_look(file: BinaryIO, start: bytes) -> tuple[int, bool]:
    """Orientation and transparency out of the chunks before the pixels (PNG specification, 3rd edition, 5.6 and 11.3).

    What is damaged there is left for the decoder to refuse. EXIF data after the pixels, which the specification allows
    and hardly a program writes, are not looked for.
    """
    orientation, transparent = UPRIGHT, start[25] in (4, 6)  # the colour types with alpha
    position = 8
    for _ in range(_MAX_PNG_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        length, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            break
        if name == b"tRNS":
            transparent = True
        elif name == b"eXIf":
            orientation = _exif_orientation(file.read(min(length, _MAX_EXIF_BYTES)))
        position += 12 + length
    return orientation, transparent


def _exif_orientation(data: bytes) -> int:
    """The orientation in EXIF data (TIFF 6.0, sections 2 and 8). Damaged data and odd numbers are upright, as viewers
    have it.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(f"{order}I", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, directory)
        for number in range(entries):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", data, directory + 2 + 12 * number)
            if tag == _ORIENTATION_TAG:
                return value if kind == _SHORT and count == 1 and 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


def _gif_size(file: BinaryIO, start: bytes) -> tuple[int, int, int]:
    """The largest of the screen and the frames, each of which may have a size of its own (GIF89a specification), and
    the pixels of all frames.
    """
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
            return width, height, frames_pixels
    raise HeaderError("has too many parts to look through; replace it or remove it from the data set")


def _colour_table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
