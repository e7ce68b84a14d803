"""Images that do not decode are found before training, each by its name, and once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gnet_core.config import GnetError
from gnet_core.datasets.catalog import open_data
from gnet_core.frameworks.tf import decode_check
from gnet_core.frameworks.tf.decode_check import decodable
from tests.pictures import paths_of, write_folder


def cut(path: Path) -> Path:
    """Leave a whole header and too few pixels."""
    path.write_bytes(path.read_bytes()[:60])
    return path


def test_every_image_that_does_not_decode_is_named_and_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    damaged = {str(cut(folder / name)) for name in ("bark/03.png", "sand/00.png", "wool/09.png")}
    opened = open_data(str(folder))
    assert not opened.broken
    usable = decodable(opened)
    assert {image.path for image in usable.broken} == damaged
    assert {image.reason for image in usable.broken} == {
        "cannot be decoded, it is cut short or damaged; replace it or remove it from the data set"
    }
    assert len(usable.train) + len(usable.test) == 27


def test_strict_refuses_the_first(tmp_path: Path) -> None:
    path = cut(write_folder(tmp_path) / "sand" / "04.png")
    with pytest.raises(GnetError, match=f"^data: {re.escape(repr(str(path)))} cannot be decoded"):
        decodable(open_data(str(tmp_path)), strict=True)


def test_whole_images_and_arrays_are_handed_on(tmp_path: Path) -> None:
    opened = open_data(str(write_folder(tmp_path, images=2)))
    assert decodable(opened) is opened
    digits = open_data("digits")
    assert decodable(digits) is digits


def test_images_are_decoded_once_as_long_as_they_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path)
    cut(folder / "sand" / "04.png")
    told: list[str] = []
    first = decodable(open_data(str(folder)), progress=told.append)
    with monkeypatch.context() as patched:
        patched.setattr(decode_check, "undecodable", None)
        assert decodable(open_data(str(folder)), progress=told.append).broken == first.broken
    assert told == ["decoding all 30 images once, to find those that are damaged"]
    cut(folder / "wool" / "05.png")
    assert len(decodable(open_data(str(folder)), progress=told.append).broken) == 2
    assert len(told) == 2


def test_an_image_that_is_gone_meanwhile_is_named(tmp_path: Path) -> None:
    opened = open_data(str(write_folder(tmp_path)))
    gone = paths_of(opened.train)[3]
    gone.unlink()
    with pytest.raises(GnetError, match=re.escape(repr(str(gone)))):
        decodable(opened)
