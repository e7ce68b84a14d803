"""gnet data check and gnet data pack, and what gnet train does with broken images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from gnet_core.training import training
from tests.pictures import write_folder


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos")


def test_check_tells_classes_sizes_kinds_and_duplicates_of_a_sound_set(gnet, photos):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 100)).save(photos / "bark" / "00.jpg", exif=exif)
    Image.new("RGBA", (9, 5)).save(photos / "wool" / "00.png")
    status, out, err = gnet("data", "check", photos)
    assert status == 0, err
    told = lines(out)
    for line in (
        "bark 9 2",
        "sand 8 2",
        "all 25 6",
        "sizes smallest 9×5, median 90×80, largest 200×100",
        "transparent 1 (shown on white)",
        "turned 1 (turned upright, as their EXIF data say)",
        "duplicates 19",
        "broken 0",
    ):
        assert line in told
    assert any(line.startswith("kinds ") and "PNG 30" in line and "JPEG 1" in line for line in told)
    assert not any(line.startswith("Broken:") for line in told)


def test_check_names_each_broken_image_and_ends_with_3(gnet, photos):
    empty, cut = photos / "bark" / "03.png", photos / "sand" / "04.png"
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:60])
    status, out, _ = gnet("data", "check", photos)
    assert status == 3
    told = lines(out)
    assert f"Broken: {str(empty)!r} is empty; replace it or remove it from the data set" in told
    assert any(line.startswith(f"Broken: {str(cut)!r} cannot be decoded, ") for line in told)
    assert "broken 2" in told
    status, out, _ = gnet("data", "check", photos, "--json")
    assert status == 3
    document = json.loads(out)
    assert {image["path"] for image in document["broken"]} == {str(empty), str(cut)}
    assert [item["name"] for item in document["classes"]] == ["bark", "sand", "wool"]
    assert sum(item["train"] + item["test"] for item in document["classes"]) == 28
    assert document["kinds"] == {"PNG": 28}
    assert document["median"] == {"width": 90, "height": 80}


@pytest.mark.parametrize("damage", [b"", None], ids=["header", "pixels"])
@pytest.mark.parametrize("command", ["check", "pack"])
def test_strict_refuses_a_broken_image_in_one_line(gnet, photos, tmp_path, command, damage):
    path = photos / "bark" / "03.png"
    path.write_bytes(path.read_bytes()[:60] if damage is None else damage)
    how = ("--out", tmp_path / "pack") if command == "pack" else ()
    status, out, err = gnet("data", command, photos, "--strict", *how)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"gnet: data: {str(path)!r} ")
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["check", "nowhere"], "data: "),
        (["check", "synthetic"], "'synthetic' has nothing to learn"),
        (["pack", "digits"], "out: it is missing"),
        (["pack", "digits", "--out", "README.md"], "out: README.md is a file"),
        (["check", "tfds:dtd"], "is incomplete; use tfds:NAME@DIR"),
    ],
)
def test_what_cannot_be_used_at_all_is_one_line_and_ends_with_2(gnet, monkeypatch, words, part):
    monkeypatch.chdir(Path(__file__).parents[2])
    status, out, err = gnet("data", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert part in err


def test_arrays_are_checked_as_well(gnet):
    status, out, _ = gnet("data", "check", "digits", "--json")
    document = json.loads(out)
    assert (status, document["kinds"], document["image_size"]) == (0, {"array": 1797}, 72)
    assert document["largest"] == {"width": 8, "height": 8}


def test_a_pack_is_written_and_checked(gnet, photos, tmp_path):
    (photos / "bark" / "03.png").write_bytes(b"")
    status, out, err = gnet("data", "pack", photos, "--out", tmp_path / "pack")
    assert status == 0, err
    assert out.startswith("29 images, ")
    assert "gnet: note: images left out because they are broken: 1, " in err
    status, out, _ = gnet("data", "check", tmp_path / "pack", "--json")
    document = json.loads(out)
    assert (status, document["broken"], document["kinds"]) == (0, [], {"PNG": 29})
    path = tmp_path / "pack" / "test-00000.tfrecord"
    path.write_bytes(bytes(path.stat().st_size))
    status, out, err = gnet("data", "check", tmp_path / "pack")
    assert (status, out) == (2, "")
    assert err.startswith(f"gnet: data: {str(path)!r} is not as it was packed")
    status, _, err = gnet("data", "pack", photos, "--out", tmp_path / "pack")
    assert status == 2
    assert "has files in it already" in err


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """What gnet train hands on to the session, which is not run."""
    handed = []

    def train(config, dataset, _out, _epochs, **how):
        handed.append((config, dataset, how))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    monkeypatch.chdir(tmp_path)
    return handed


def test_train_leaves_broken_images_out_and_says_so(gnet, photos, trained):
    (photos / "bark" / "03.png").write_bytes(b"")
    cut = photos / "sand" / "04.png"
    cut.write_bytes(cut.read_bytes()[:60])
    status, _, err = gnet("train", "--data", photos, "--device", "cpu")
    assert status == 130
    ((_, dataset, how),) = trained
    assert len(dataset.broken) == 2
    assert "gnet: note: images left out because they are broken: 2, " in err
    assert (how["resume"], how["recipe"].augment, how["memory_bytes"]) == (False, "crop-flip", 2**30)


@pytest.mark.parametrize("damage", [b"", None], ids=["header", "pixels"])
def test_train_with_strict_refuses_a_broken_image(gnet, photos, trained, damage):
    path = photos / "bark" / "03.png"
    path.write_bytes(path.read_bytes()[:60] if damage is None else damage)
    status, _, err = gnet("train", "--data", photos, "--device", "cpu", "--strict")
    assert (status, trained) == (2, [])
    assert err.splitlines()[-1].startswith(f"gnet: data: {str(path)!r} ")


@pytest.mark.parametrize(
    ("words", "augmentation"),
    [
        ((), "crop"),
        (("--augment", "none"), "none"),
        (("--schedule", "constant", "--augment", "crop"), "crop"),
    ],
)
def test_train_shifts_digits_unless_it_is_told_otherwise(gnet, trained, words, augmentation):
    gnet("train", "--data", "digits", "--device", "cpu", "--memory", 1000, *words)
    ((_, _, how),) = trained
    assert (how["recipe"].augment, how["memory_bytes"]) == (augmentation, 1000)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--augment", "flip"], "augment: 'flip' will not do for digits"),
        (["--augment", "rotate"], "augment: 'rotate' is unknown; use one of none, flip, crop, crop-flip"),
        (["--memory", "lots"], "memory: 'lots'"),
        (["--as-published", "--augment", "crop"], "augment: it cannot be chosen beside --as-published"),
    ],
)
def test_train_refuses_what_does_not_suit_the_data(gnet, trained, words, part):
    status, _, err = gnet("train", "--data", "digits", "--device", "cpu", *words)
    assert (status, trained) == (2, [])
    assert part in err


def test_a_folder_that_may_not_be_read_is_one_line(gnet, photos):
    (photos / "bark").chmod(0)
    if os.access(photos / "bark", os.R_OK):
        pytest.skip("root may read everything")
    status, _, err = gnet("data", "check", photos)
    (photos / "bark").chmod(0o755)
    assert (status, err.count("\n")) == (2, 1)
