"""Files of pictures, looked at before any is decoded: their kind, size and which of them hold the same."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gnet_core.config import GnetError, bad_data
from gnet_core.datasets.image_headers import HeaderError, PictureHeader, picture_header
from gnet_core.files.whole import open_regular, read_bytes

MAX_IMAGE_BYTES = 2**28
MAX_PICTURE_PIXELS = 2**26
"""Largest picture, such as 8,192 × 8,192. It takes 0.8 GB as float32, and several are decoded at a time."""
MAX_FRAMES_PIXELS = 2**28
"""Pixels of all frames of the largest animation, which takes a byte for each."""

_END_BYTES = 4096
_MAX_COMPARED_BYTES = 2**28  # of files with equal lengths and ends, which are read whole to be sure


@dataclass(frozen=True, kw_only=True)
class BrokenImage:
    """An image that cannot be used."""

    path: str
    reason: str
    """What is wrong with it. It continues a sentence that begins with the path."""


class BrokenImageError(GnetError):
    """The error that names one image that cannot be used."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(str(bad_data(path, reason)))
        self.image = BrokenImage(path=str(path), reason=reason)


class ImageFile(NamedTuple):
    """An image file, before it is decoded."""

    path: str
    identity: tuple[int, int]
    """Device and inode, which are the same for each link to a file and each spelling of its path."""
    size_bytes: int
    ends: bytes
    """A digest of how the file begins and ends."""
    header: PictureHeader


def look_at(path: Path) -> ImageFile:
    """The file, undecoded. Raises BrokenImageError for no regular file, no image, a damaged header or too large a
    picture, and GnetError for a folder, whose images would be lost without a word.
    """
    if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises where a folder above may not be searched
        raise bad_data(path, "is a folder; images stand directly in the folder of their class")
    try:
        with open_regular(path, MAX_IMAGE_BYTES) as file:
            status = os.fstat(file.fileno())
            header = usable_header(file)
            file.seek(0)
            digest = hashlib.blake2b(file.read(_END_BYTES), digest_size=16)
            file.seek(max(0, status.st_size - _END_BYTES))
            digest.update(file.read(_END_BYTES))
    except HeaderError as error:
        raise BrokenImageError(path, str(error)) from None
    except OSError as error:
        raise BrokenImageError(path, f"cannot be read: {error.strerror}") from None
    return ImageFile(str(path), (status.st_dev, status.st_ino), status.st_size, digest.digest(), header)


def usable_header(file: BinaryIO) -> PictureHeader:
    """The header of an image of a size that is decoded. Raises HeaderError and OSError."""
    header = picture_header(file)
    if not 0 < header.width * header.height <= MAX_PICTURE_PIXELS:
        limit = f"a picture has 1 to {MAX_PICTURE_PIXELS}"
        raise HeaderError(f"is to be {header.width} x {header.height} pixels; {limit}, so replace or remove it")
    if header.frames_pixels > MAX_FRAMES_PIXELS:
        limit = f"at most {MAX_FRAMES_PIXELS} are unpacked"
        raise HeaderError(f"has frames of {header.frames_pixels} pixels; {limit}, so keep its first frame alone")
    return header


def content_keys(files: Sequence[ImageFile]) -> list[Hashable]:
    """One key a file, equal for files that hold the same bytes; once 256 MiB were read, length and ends decide."""
    keys: list[Hashable] = [(file.size_bytes, file.ends) for file in files]
    times = Counter(keys)
    left_bytes = _MAX_COMPARED_BYTES
    for index, file in enumerate(files):
        if times[keys[index]] > 1 and file.size_bytes <= left_bytes and file.size_bytes > 2 * _END_BYTES:
            left_bytes -= file.size_bytes
            try:
                digest = hashlib.sha256(read_bytes(Path(file.path), MAX_IMAGE_BYTES)).digest()
            except OSError as error:
                raise bad_data(file.path, f"cannot be read: {error.strerror}") from None
            keys[index] = (file.size_bytes, file.ends, digest)
    return keys
