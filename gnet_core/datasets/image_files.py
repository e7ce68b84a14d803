"""Files of pictures, looked at before any is decoded: their kind, size and which of them hold the same."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

from gnet_core.config import bad_data
from gnet_core.datasets.image_headers import HeaderError, picture_size
from gnet_core.files.whole import open_regular, read_bytes

MAX_IMAGE_BYTES = 2**28
MAX_PICTURE_PIXELS = 2**26
"""Largest picture, such as 8,192 × 8,192. It takes 0.8 GB as float32, and several are decoded at a time."""
MAX_FRAMES_PIXELS = 2**28
"""Pixels of all frames of the largest animation, which takes a byte for each."""

_END_BYTES = 4096
_MAX_COMPARED_BYTES = 2**28  # of files with equal lengths and ends, which are read whole to be sure


class ImageFile(NamedTuple):
    """An image file, before it is decoded."""

    path: str
    identity: tuple[int, int]
    """Device and inode, which are the same for each link to a file and each spelling of its path."""
    size_bytes: int
    ends: bytes
    """A digest of how the file begins and ends."""


def look_at(path: Path) -> ImageFile:
    """The file, undecoded. Raises GnetError for no regular file, no image, a damaged header or too large a picture."""
    if path.is_dir():
        raise bad_data(path, "is a folder; images stand directly in the folder of their class")
    try:
        with open_regular(path, MAX_IMAGE_BYTES) as file:
            status = os.fstat(file.fileno())
            size = picture_size(file)
            file.seek(0)
            digest = hashlib.blake2b(file.read(_END_BYTES), digest_size=16)
            file.seek(max(0, status.st_size - _END_BYTES))
            digest.update(file.read(_END_BYTES))
    except HeaderError as error:
        raise bad_data(path, str(error)) from None
    except OSError as error:
        raise bad_data(path, f"cannot be read: {error.strerror}") from None
    if not 0 < size.width * size.height <= MAX_PICTURE_PIXELS:
        limit = f"a picture has 1 to {MAX_PICTURE_PIXELS}"
        raise bad_data(path, f"is to be {size.width} x {size.height} pixels; {limit}, so replace or remove it")
    if size.frames_pixels > MAX_FRAMES_PIXELS:
        limit = f"at most {MAX_FRAMES_PIXELS} are unpacked"
        raise bad_data(path, f"has frames of {size.frames_pixels} pixels; {limit}, so keep its first frame alone")
    return ImageFile(str(path), (status.st_dev, status.st_ino), status.st_size, digest.digest())


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
