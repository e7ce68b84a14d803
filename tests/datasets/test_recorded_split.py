"""The images of a session that goes on are those that it began with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from gnet_core.config import GnetError
from gnet_core.datasets.catalog import open_data
from gnet_core.datasets.data_set import Split
from gnet_core.datasets.recorded_split import RecordedSplit, require_same
from tests.pictures import paths_of, write_folder, write_image


def test_the_same_images_pass_and_their_files_are_listed(tmp_path: Path) -> None:
    data = open_data(str(write_folder(tmp_path / "photos")))
    RecordedSplit.of(data).write(tmp_path)
    written = json.loads((tmp_path / "split.json").read_text())
    assert written["train"] == [ascii(str(path)) for path in paths_of(data.train)]
    assert len(written["test"]) == 6
    require_same(tmp_path, open_data(str(tmp_path / "photos")))


def test_a_session_of_an_older_version_has_no_list_and_passes(tmp_path: Path) -> None:
    require_same(tmp_path, open_data("digits"))


def test_the_first_file_that_differs_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos")
    data = open_data(str(folder))
    RecordedSplit.of(data).write(tmp_path)
    gone = paths_of(data.train)[0]
    gone.rename(gone.with_name("0.png"))
    with pytest.raises(GnetError, match=r"^data: to (train|test) with, .* stands where the session in .* had "):
        require_same(tmp_path, open_data(str(folder)))


def test_a_file_with_another_content_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos")
    RecordedSplit.of(open_data(str(folder))).write(tmp_path)
    write_image(folder / "sand" / "03.png", (9, 9, 9), size=(50, 60))
    with pytest.raises(GnetError, match=r"^data: images of .* have changed since the session in .* began"):
        require_same(tmp_path, open_data(str(folder)))


def test_arrays_are_told_apart_by_their_digest(tmp_path: Path) -> None:
    digits = open_data("digits")
    RecordedSplit.of(digits).write(tmp_path)
    require_same(tmp_path, digits)
    changed = np.array(digits.train.images)
    changed[0, 0, 0] ^= 1
    other = dataclasses.replace(digits, train=Split(changed, digits.train.labels))
    with pytest.raises(GnetError, match="have changed since"):
        require_same(tmp_path, other)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 2, "fingerprint": "", "train": [], "test": []}'])
def test_a_damaged_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(GnetError, match=r"^resume: .*split\.json' is damaged \("):
        require_same(tmp_path, open_data("digits"))
