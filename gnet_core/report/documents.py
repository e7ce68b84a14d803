"""The documents of a report, which replace those of an earlier one together or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from gnet_core.config import GnetError
from gnet_core.files.whole import make_own_folder, written_whole
from gnet_core.report.drawing import Picture

PLOTS = "plots"

_MAX_NAME_CHARACTERS = 120
"""Of a picture's file."""


def write(directory: Path, texts: Mapping[str, str], pictures: Sequence[Picture] = ()) -> None:
    """Write texts by the names of their files, and pictures as SVG into plots/, where no picture of before remains.

    Everything is on the disk under other names before the first file takes its place, so a disk that fills up leaves
    the earlier documents as they were. Raises OSError, and GnetError for a plots/ that is a link.
    """
    plots = directory / PLOTS
    wanted = {directory / name: text for name, text in texts.items()}
    wanted |= {plots / picture_file(picture): picture.svg for picture in pictures}
    for path in wanted:
        if path.is_dir() and not path.is_symlink():
            raise GnetError(f"{path}: it is a folder where a document belongs; move it away")
    if pictures or plots.is_symlink():
        make_own_folder(plots)
    with contextlib.ExitStack() as stack:
        for path, text in wanted.items():
            stack.enter_context(written_whole(path)).write_text(text, encoding="utf-8")
    for path in plots.glob("*.svg"):
        if path not in wanted:
            path.unlink()


def picture_file(picture: Picture) -> str:
    """The name of a picture's file in plots/."""
    return f"{picture.name[:_MAX_NAME_CHARACTERS]}.svg"
