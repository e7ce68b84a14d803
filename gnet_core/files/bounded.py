"""Files of a run's directory, which anybody may have made: each lies in it, is regular and bounded, and no pointer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gnet_core.config import GnetError
from gnet_core.files.whole import MAX_TEXT_BYTES, open_regular

MAX_RAW_BYTES = 2**24
"""Largest raw file that is read. The largest of a run of twenty cases has 0.3 MB."""

MAX_TRACE_BYTES = 2**31 - 1
"""Largest trace that is read, which is the largest size of a protocol buffer."""

MAX_FOLDERS = 100
"""Folders of traces/ at most. A run traces one case."""

_POINTERS = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer, not the file itself; `git lfs pull` fetches that",
    b"/annex/objects/": "a git-annex pointer, not the file itself; `git annex get` fetches that",
}
"""Beginnings of the pointers that replace a large file in a checkout until it is fetched."""


@contextmanager
def opened(path: Path, directory: Path, limit: int) -> Iterator[BinaryIO]:
    """Open a file of `directory` for reading. Raises GnetError naming it: where it is missing, a link that leads out of
    the directory, no regular file, larger than `limit` bytes, or a pointer to what was not fetched.
    """
    require_inside(path, directory)
    with _named(path):
        file = open_regular(path, limit)
    with file:
        with _named(path):
            start = file.read(max(map(len, _POINTERS)))
            file.seek(0)
        for prefix, kind in _POINTERS.items():
            if start.startswith(prefix):
                raise GnetError(f"{path}: it is {kind}")
        yield file


def read_bytes(path: Path, directory: Path, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The whole of such a file. Raises GnetError as `opened` does."""
    with opened(path, directory, limit) as file, _named(path):
        return file.read(limit)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into a GnetError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise GnetError(f"{path}: there is no such file; name a whole directory that gnet bench wrote") from None
    except OSError as error:
        raise GnetError(f"{path}: it cannot be read ({error.strerror or error})") from error


def trace_files(directory: Path, name: str) -> list[Path]:
    """The files of that name in the folders of traces/, in order. Raises GnetError where those are too many to read."""
    traces = directory / "traces"
    try:
        require_inside(traces, directory)
        with os.scandir(traces) as entries:
            folders = [Path(entry) for entry in itertools.islice(entries, MAX_FOLDERS + 1)]
    except OSError:  # there are none
        return []
    if len(folders) > MAX_FOLDERS:
        raise GnetError(f"{traces}: it holds more than {MAX_FOLDERS} traces; a run of gnet bench --profile leaves one")
    return sorted(folder / name for folder in folders if os.path.lexists(folder / name))


def require_inside(path: Path, directory: Path) -> None:
    """Raise GnetError for a path that leads out of the directory, by a link or by itself."""
    try:
        inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory))
    except (OSError, ValueError) as error:  # it holds a character that no path can
        raise GnetError(f"{str(path)!r}: it cannot be read ({error})") from error
    if not inside:
        raise GnetError(f"{path}: it leads out of {directory}; put the file itself there")
