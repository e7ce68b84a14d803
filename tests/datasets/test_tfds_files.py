"""What TensorFlow Datasets has prepared, with a stand-in for its package: little is asked, nothing is downloaded."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from gnet_core.config import GnetError
from gnet_core.datasets.catalog import absolute, open_data
from gnet_core.datasets.data_set import RecordFiles


def encoded() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 5)).save(file, "JPEG")
    return file.getvalue()


class Builder:
    """A prepared data set of two classes, with three images to train and two to test in one file each."""

    def __init__(self, folder: Path, splits: tuple[str, ...] = ("train", "test")) -> None:
        counts = {"train": 3, "test": 2, "validation": 1}
        self.examples = {
            part: [{"image": encoded(), "label": number % 2} for number in range(counts[part])] for part in splits
        }
        files = {part: folder / f"dtd-{part}.tfrecord-00000-of-00001" for part in splits}
        for path in files.values():
            path.write_bytes(b"records")
        self.info = SimpleNamespace(
            features={"image": None, "label": SimpleNamespace(names=["banded", "woven"])},
            splits={
                part: SimpleNamespace(
                    file_instructions=[SimpleNamespace(filename=str(files[part]), examples_in_shard=counts[part])]
                )
                for part in splits
            },
        )

    def as_dataset(self, split: str, **how: Any) -> list[dict[str, Any]]:
        assert how["shuffle_files"] is False
        assert how["read_config"] == {"interleave_cycle_length": 1, "try_autocache": False}
        assert how["decoders"] == {"image": "as it is"}
        return self.examples[split]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes DIR with dtd in it, and the package that reads it."""

    def prepare(splits: tuple[str, ...] = ("train", "test")) -> Path:
        folder = tmp_path / "data" / "dtd" / "3.0.1"
        folder.mkdir(parents=True)
        (folder / "features.json").write_text("{}")

        def builder_from_directory(name: str) -> Builder:
            assert name == str(folder)
            return Builder(folder, splits)

        package = SimpleNamespace(
            builder_from_directory=builder_from_directory,
            ReadConfig=lambda **how: how,
            as_numpy=lambda examples: examples,
            decode=SimpleNamespace(SkipDecoding=lambda: "as it is"),
        )
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", package)
        return tmp_path / "data"

    return prepare


def test_a_prepared_set_opens_by_its_name_and_its_directory(prepared: Any) -> None:
    directory = prepared()
    for where in (directory, directory / "dtd" / "3.0.1"):
        opened = open_data(f"tfds:dtd@{where}")
        assert opened.name == f"tfds:dtd@{where}"
        assert opened.class_names == ("banded", "woven")
        assert (opened.train.labels.tolist(), opened.test.labels.tolist()) == ([0, 1, 0], [0, 1])
        assert isinstance(opened.train.images, RecordFiles)
        assert opened.train.images.counts == (3,)
        assert opened.train.headers is not None
        assert opened.train.headers["width"].tolist() == [9, 9, 9]


def test_without_the_package_one_line_says_what_to_install(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = prepared()
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    needed = r"^data: .* needs the package tensorflow-datasets .*; pip install -e '\.\[tfds\]'"
    with pytest.raises(GnetError, match=needed):
        open_data(f"tfds:dtd@{directory}")


@pytest.mark.parametrize("name", ["tfds:", "tfds:dtd", "tfds:dtd@", "tfds:@here"])
def test_a_name_that_is_incomplete_says_the_form(name: str) -> None:
    with pytest.raises(GnetError, match="is incomplete; use tfds:NAME@DIR"):
        open_data(name)


def test_a_directory_without_the_set_is_refused(prepared: Any) -> None:
    directory = prepared()
    with pytest.raises(GnetError, match="is not prepared there"):
        open_data(f"tfds:mnist@{directory}")


def test_two_versions_have_to_be_told_apart(prepared: Any) -> None:
    directory = prepared()
    (directory / "dtd" / "2.0.0").mkdir()
    (directory / "dtd" / "2.0.0" / "features.json").write_text("{}")
    with pytest.raises(GnetError, match="is there 2 times"):
        open_data(f"tfds:dtd@{directory}")


def test_a_set_without_images_to_test_is_refused(prepared: Any) -> None:
    directory = prepared(("train", "validation"))
    with pytest.raises(GnetError, match="has the splits train, validation; it needs train and test"):
        open_data(f"tfds:dtd@{directory}")


def test_a_damaged_description_is_named(prepared: Any) -> None:
    directory = prepared()
    folder = directory / "dtd" / "3.0.1"

    def fails(_: str) -> Any:
        raise KeyError("of the package's own")

    sys.modules["tensorflow_datasets"].builder_from_directory = fails  # type: ignore[attr-defined]
    with pytest.raises(GnetError, match=f"^data: {re.escape(repr(str(folder)))} cannot be read by tensorflow-datasets"):
        open_data(f"tfds:dtd@{directory}")


def test_the_directory_is_made_absolute_for_a_process_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("tfds:dtd@here") == f"tfds:dtd@{tmp_path / 'here'}"
