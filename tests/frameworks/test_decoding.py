"""What odd image files are decoded to, against Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from gnet_core.datasets.image_files import look_at
from gnet_core.frameworks.tf.decoding import fit, read_and_decode

Levels = Any


def decoded(path: Path) -> Levels:
    header = look_at(path).header
    levels = read_and_decode(str(path), tf.constant(header.orientation), tf.constant(header.transparent)).numpy()
    assert levels.dtype == np.uint8
    return levels


def quarters(mode: str = "RGB") -> Image.Image:
    """Four squares of different colours, no two of whose turns or mirror images are alike."""
    picture = Image.new("RGB", (64, 32))
    for corner, colour in (((0, 0), "red"), ((32, 0), "lime"), ((0, 16), "blue"), ((32, 16), "white")):
        picture.paste(colour, (*corner, corner[0] + 32, corner[1] + 16))
    return picture.convert(mode)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_is_turned_as_its_exif_data_say(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"1.{suffix}"
    options: dict[str, Any] = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    quarters().save(path, exif=exif, **options)
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), np.int16)
    levels = decoded(path)
    assert levels.shape == expected.shape
    assert np.abs(levels - expected).max() <= 12  # TensorFlow's fast transform of a JPEG differs from Pillow's


def test_a_cmyk_photo_has_the_colours_that_it_was_made_of(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    quarters("CMYK").save(path, quality=100, subsampling=0)
    assert np.abs(decoded(path) - np.asarray(quarters(), np.int16)).max() <= 12


def test_of_16_bits_the_upper_8_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    levels = np.array([[0, 255, 256, 32767, 65280, 65535]], np.uint16)
    Image.fromarray(levels).save(path)
    np.testing.assert_array_equal(decoded(path), np.repeat((levels >> 8)[..., np.newaxis], 3, axis=-1))


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    quarters().quantize(4).save(path)
    np.testing.assert_array_equal(decoded(path), np.asarray(quarters()))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_can_be_seen_through_is_seen_on_white(tmp_path: Path, mode: str) -> None:
    colours: dict[str, Any] = {
        "RGBA": [(200, 100, 0, 255), (200, 100, 0, 128), (0, 0, 0, 0)],
        "LA": [(200, 255), (200, 128), (0, 0)],
    }
    picture = Image.new(mode, (3, 1))
    for place, colour in enumerate(colours[mode]):
        picture.putpixel((place, 0), colour)
    picture.save(tmp_path / "1.png")
    white = Image.new("RGBA", (3, 1), "white")
    expected = np.asarray(Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB"), np.int16)
    assert np.abs(decoded(tmp_path / "1.png") - expected).max() <= 1


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_a_transparent_colour_is_white(tmp_path: Path, mode: str) -> None:
    picture = Image.new(mode, (2, 1))
    if mode == "P":
        picture.putpalette([0, 0, 0, 200, 100, 0])
        picture.putpixel((1, 0), 1)
    else:
        picture.putpixel((1, 0), (200, 100, 0))
    picture.save(tmp_path / "1.png", transparency=0 if mode == "P" else (0, 0, 0))
    assert decoded(tmp_path / "1.png").tolist() == [[[255, 255, 255], [200, 100, 0]]]


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 5), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "1.gif", save_all=True, append_images=frames[1:])
    assert decoded(tmp_path / "1.gif").tolist() == [[[255, 0, 0]] * 9] * 5


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_photo_that_is_cut_off_does_not_decode(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "1.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(path, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(path)


def test_levels_are_whole_and_stay_so_where_nothing_is_resized() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (67, 67, 3), np.uint8)
    np.testing.assert_array_equal(fit(tf.constant(levels), 67), levels)
