"""The files of a report, which replace those of an earlier one together or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from gnet_core.config import GnetError
from gnet_core.files.whole import make_own_folder, written_whole
from gnet_core.report.document import Document, pictures_in
from gnet_core.report.drawing import PLOTS
from gnet_core.report.html import to_html
from gnet_core.report.markdown import to_markdown

VERDICT_COLUMNS = (
    *("verdict", "ratio", "low", "high", "margin", "p_value", "adjusted_p_value", "minimum_detectable_effect", "mode"),
    *("base_processes", "variant_processes", "max_looks", "reason"),
)


def write(directory: Path, document: Document, others: Mapping[str, str], stem: str = "report") -> None:
    """Write a document as `stem`.html and `stem`.md, texts by their files' names, and plots/ with its pictures alone.

    All are on the disk under other names before the first takes its place, so a disk that fills up leaves the earlier
    ones as they were. Raises OSError, and GnetError for a plots/ that is a link.
    """
    plots = directory / PLOTS
    pictures = list(pictures_in([*document.intro, *document.summary, *document.sections]))
    texts = {**others, f"{stem}.md": to_markdown(document), f"{stem}.html": to_html(document)}
    texts |= {picture.path: picture.svg for picture in pictures}
    wanted = {directory / name: text for name, text in texts.items()}
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
