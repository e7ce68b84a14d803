"""Small data sets that the tests of data sets and of training write."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from gnet_core.datasets.data_set import Split


def write_image(path: Path, colour: tuple[int, ...] | int = (200, 100, 50), size: tuple[int, int] = (90, 80)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(path)
    return path


def write_folder(root: Path, images: int = 10) -> Path:
    for class_name in ("wool", "bark", "sand"):
        for number in range(images):
            write_image(root / class_name / f"{number:02}.png", (10 * number, 0, 0))
    return root


def write_dtd(root: Path) -> Path:
    """Split N trains with picture N of a class, validates with N + 10 and tests with N + 20."""
    for class_name in ("banded", "woven"):
        for number in range(1, 31):
            write_image(root / "images" / class_name / f"{class_name}_{number:04}.jpg", size=(8, 8))
    for split in range(1, 11):
        for offset, part in enumerate(("train", "val", "test")):
            lines = [f"{name}/{name}_{split + 10 * offset:04}.jpg\n" for name in ("banded", "woven")]
            list_path = root / "labels" / f"{part}{split}.txt"
            list_path.parent.mkdir(exist_ok=True)
            list_path.write_text("".join(lines))
    return root


def paths_of(split: Split) -> list[Path]:
    """The image files of a split."""
    assert isinstance(split.images, tuple)
    return list(map(Path, split.images))
