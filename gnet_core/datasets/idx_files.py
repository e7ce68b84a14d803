"""The IDX files of (Fashion-)MNIST, read without believing what their headers promise."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gnet_core.config import bad_data
from gnet_core.files.whole import open_regular

MAX_IDX_BYTES = 2**30
"""Largest IDX file that is read, unpacked. EMNIST's largest has half as many bytes."""

_MAX_GZIP_RATIO = 1032  # bytes that one byte of a deflate stream can unpack to


def holds_idx(folder: Path) -> bool:
    """Whether any file in a folder has the name of an IDX file, with a hyphen or, as in some copies, a dot."""
    return any(folder.glob("*[-.]idx[13]-ubyte*"))


def read_idx_split(folder: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (n, height, width) and labels (n,) of a part, train or t10k. Raises GnetError naming what is wrong."""
    images_path, labels_path = (_find_idx(folder, part, *what) for what in (("images", "idx3"), ("labels", "idx1")))
    images, labels = _read_idx(images_path, dimensions=3), _read_idx(labels_path, dimensions=1)
    if len(images) != len(labels):
        raise bad_data(labels_path, f"has {len(labels)} labels for the {len(images)} images of {images_path.name}")
    return images, labels


def _find_idx(folder: Path, part: str, values: str, kind: str) -> Path:
    names = [f"{part}-{values}{separator}{kind}-ubyte" for separator in "-."]
    for name in (*names, *(f"{name}.gz" for name in names)):
        if os.path.lexists(folder / name):  # a link that leads nowhere is named when it is read
            return folder / name
    raise bad_data(folder, f"lacks {names[0]} (or {names[0]}.gz); all four IDX files are needed")


def _read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array of an IDX file: bytes 0, 0, 8 (unsigned bytes), dimensions; each length as uint32; values."""
    try:
        with open_regular(path, MAX_IDX_BYTES) as file:
            stored_bytes = os.fstat(file.fileno()).st_size
            if path.suffix != ".gz":
                shape, promised_bytes = _read_header(path, file, dimensions)
                content, held_bytes = file.read(math.prod(shape)), stored_bytes
            else:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    shape, promised_bytes = _read_header(path, unpacked, dimensions)
                    if promised_bytes > _MAX_GZIP_RATIO * stored_bytes:
                        problem = f"has {stored_bytes} bytes, which cannot hold the {promised_bytes} of its header"
                        raise bad_data(path, f"{problem}; copy or download it again")
                    content = unpacked.read(math.prod(shape))
                    # Asking for one more has the file's end and checksum looked at, and no bomb unpacked.
                    held_bytes = promised_bytes - math.prod(shape) + len(content) + len(unpacked.read(1))
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise bad_data(path, "is not a whole gzip file; copy or download it again") from None
    except OSError as error:
        raise bad_data(path, f"cannot be read: {error.strerror}") from None
    if held_bytes != promised_bytes:
        problem = f"has {held_bytes} bytes, its header promises {promised_bytes}"
        raise bad_data(path, f"{problem}; copy or download it again")
    if 0 in shape:
        raise bad_data(path, f"is empty; its header promises {' x '.join(map(str, shape))} values")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_header(path: Path, file: BinaryIO | gzip.GzipFile, dimensions: int) -> tuple[list[int], int]:
    """The array's shape, and the bytes of the whole file that go with it."""
    header_bytes = 4 + 4 * dimensions
    header = file.read(header_bytes)
    if header[:4] != bytes((0, 0, 8, dimensions)) or len(header) < header_bytes:
        raise bad_data(path, f"is not an IDX file of unsigned bytes in {dimensions} dimensions")
    shape = [int(length) for length in np.frombuffer(header, ">u4", dimensions, offset=4)]
    promised_bytes = header_bytes + math.prod(shape)
    if promised_bytes > MAX_IDX_BYTES:
        raise bad_data(path, f"promises {promised_bytes} bytes in its header; at most {MAX_IDX_BYTES} are read")
    return shape, promised_bytes
