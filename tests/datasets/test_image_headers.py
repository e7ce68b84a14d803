"""Headers of images: which way is up, and what can be seen through."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from PIL import Image

from gnet_core.datasets.image_headers import HeaderError, PictureHeader, picture_header

ORIENTATION = 0x0112


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def header_of(content: bytes) -> PictureHeader:
    return picture_header(io.BytesIO(content))


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "a maker whose name is long enough to stand outside of its entry"
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_s_orientation_is_read(kind: str, orientation: int) -> None:
    header = header_of(saved(Image.new("RGB", (9, 5)), kind, exif=exif_of(orientation)))
    assert (header.width, header.height, header.orientation) == (9, 5, orientation)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_orders_of_bytes_are_read(order: str) -> None:
    tiff = struct.pack(f"{order}2sHIHHHIHHI", b"II" if order == "<" else b"MM", 42, 8, 1, ORIENTATION, 3, 1, 6, 0, 0)
    assert header_of(saved(Image.new("RGB", (9, 5)), "JPEG", exif=b"Exif\0\0" + tiff)).orientation == 6


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"II",
        b"XX*\0" + bytes(20),
        struct.pack("<2sHI", b"II", 42, 2**31),
        struct.pack("<2sHIH", b"II", 42, 8, 65535),
        struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 1, 9, 0, 0),
        struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 2, 6, 0, 0),
        struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 4, 1, 6, 0, 0),
    ],
)
def test_damaged_or_odd_exif_data_leave_a_picture_upright(tiff: bytes) -> None:
    segment = b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff
    whole = saved(Image.new("RGB", (9, 5)), "JPEG")
    assert header_of(whole[:2] + segment + whole[2:])[1:] == (9, 5, 45, 1, False)


def test_another_segment_of_the_same_number_is_no_exif() -> None:
    segment = b"\xff\xe1" + struct.pack(">H", 2 + 29) + b"http://ns.adobe.com/xap/1.0/\0"
    whole = saved(Image.new("RGB", (9, 5)), "JPEG", exif=exif_of(3))
    assert header_of(whole[:2] + segment + whole[2:]).orientation == 3


@pytest.mark.parametrize(
    ("mode", "options", "transparent"),
    [
        ("RGB", {}, False),
        ("L", {}, False),
        ("P", {}, False),
        ("I;16", {}, False),
        ("RGBA", {}, True),
        ("LA", {}, True),
        ("P", {"transparency": 0}, True),
        ("RGB", {"transparency": (0, 0, 0)}, True),
    ],
)
def test_a_png_with_alpha_or_a_transparent_colour_is_transparent(mode: str, options: Any, transparent: bool) -> None:
    assert header_of(saved(Image.new(mode, (9, 5)), "PNG", **options)).transparent is transparent


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP"])
def test_other_files_are_opaque(kind: str) -> None:
    header = header_of(saved(Image.new("RGB", (9, 5)), kind))
    assert (header.kind, header.transparent, header.orientation) == (kind, False, 1)


def test_an_empty_file_is_named_as_such() -> None:
    with pytest.raises(HeaderError, match=r"^is empty; "):
        header_of(b"")


def test_a_png_of_empty_chunks_is_not_looked_through_for_ever() -> None:
    whole = saved(Image.new("RGB", (9, 5)), "PNG")
    assert header_of(whole[:33] + bytes(12) * 2**16 + whole[33:])[1:3] == (9, 5)
