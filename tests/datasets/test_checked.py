"""What was found not to decode is remembered, and a memory that is spoilt or cannot be written is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnet_core.datasets import checked
from gnet_core.datasets.image_files import BrokenImage

BROKEN = (BrokenImage(path="/a/ü.png", reason="cannot be decoded"),)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("broken", [BROKEN, ()])
def test_what_was_recorded_comes_back(broken: tuple[BrokenImage, ...]) -> None:
    assert checked.recorded("key") is None
    checked.record("key", broken)
    assert checked.recorded("key") == broken
    assert checked.recorded("other") is None


@pytest.mark.parametrize("text", ["", "[]", '{"broken": [1]}', '{"format_version": 2, "broken": []}'])
def test_a_spoilt_record_is_none(cache: Path, text: str) -> None:
    checked.record("key", BROKEN)
    (path,) = (cache / "gnet").iterdir()
    path.write_text(text)
    assert checked.recorded("key") is None


def test_a_cache_that_cannot_be_written_is_left_alone(cache: Path) -> None:
    (cache / "gnet").write_text("a file")
    checked.record("key", BROKEN)
    assert checked.recorded("key") is None
