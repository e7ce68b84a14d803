"""What runs write: format versions, files that are whole or absent, directories that nothing is lost in."""

from __future__ import annotations

from pathlib import Path

from gnet_core.config import GnetError

RUN_FORMAT_VERSION = 3
"""Of run.json."""

RAW_FORMAT_VERSION = 3
"""Of what a worker adds to pytest-benchmark's file, its extra_info."""


def write_whole(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader never sees half a file, whenever the writer is killed."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.unlink(missing_ok=True)  # a stranger's directory may hold a link of that name to anywhere
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def require_empty(out: Path) -> None:
    """Raise GnetError for a directory with files in it, or one that cannot be looked into; create nothing."""
    try:
        if out.exists() and not out.is_dir():
            raise GnetError(f"out: {out} is a file; name a folder that does not exist yet")
        if out.is_dir() and any(out.iterdir()):
            raise GnetError(f"out: {out} has files in it already; name an empty folder or one that does not exist yet")
    except OSError as error:
        raise GnetError(f"out: {out} cannot be written ({error.strerror}); name a folder that can") from error


def make_empty_directory(out: Path) -> None:
    """Create it, or take an empty one. Raises GnetError for one with files in it or that cannot be written."""
    require_empty(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        attempt = out / ".attempt"
        attempt.touch()
        attempt.unlink()
    except OSError as error:
        raise GnetError(f"out: {out} cannot be written ({error.strerror}); name a folder that can") from error
