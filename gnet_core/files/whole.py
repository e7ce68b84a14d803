"""Files of any directory: regular files of bounded size in, files that are whole or absent out; format versions."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from gnet_core.config import GnetError

RUN_FORMAT_VERSION = 4
RAW_FORMAT_VERSION = 4
"""Format version of the extra_info that a worker adds to pytest-benchmark's file."""

READABLE_FORMAT_VERSIONS = (3, 4)
"""Format versions of both kinds of file. Version 3 identifies a run by the time of its start alone."""

MAX_TEXT_BYTES = 2**26
"""Largest file of text or JSON that is read. The largest of a run of twenty cases has 0.3 MB."""

PARTIAL_PREFIX = ".partial-"
"""Prefix of files that are being written. A leftover of one has no use."""

LOCK_FILE = ".lock"
"""Lock of the process that writes into a directory (see gnet_core.system.claims)."""

GPU_CHECK = "gpu-check"
"""The folder in which a check of a GPU keeps what its steps leave, and the stem of the files that it ends with. They
lie in the directory of the check's run, before that is begun."""

PROFILE_FILE = "profile.json"
"""The document of a trace, beside it."""


def open_regular(path: Path, limit: int = MAX_TEXT_BYTES) -> BufferedReader:
    """Open a regular file, which a link may lead to, for reading. Raises OSError, also for any other kind of file (a
    pipe would wait for ever, a device never ends) and for one of more than `limit` bytes.
    """
    # Without O_NONBLOCK opening a pipe waits for its writer, so its kind could not be asked for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
            raise OSError(number, "is no regular file", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"has {status.st_size} bytes, more than the {limit} that are read", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The content of a file that `open_regular` opens. Raises OSError as it does."""
    with open_regular(path, limit) as file:
        return file.read(os.fstat(file.fileno()).st_size or limit)


def read_text(path: Path, limit: int = MAX_TEXT_BYTES) -> str:
    """The content as UTF-8 text. Raises OSError as `read_bytes` does, and UnicodeDecodeError."""
    return read_bytes(path, limit).decode("utf-8")


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A new empty file beside `path` and of the same suffix, for the block to write; it then takes the place of `path`.

    A reader never sees half a file, whenever the writer is killed, and nothing is left behind when the block raises.
    The new file's name cannot be guessed, so no link that lies in wait is written through.
    """
    temporary = path.with_name(f"{PARTIAL_PREFIX}{secrets.token_hex(8)}{path.suffix}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # which would hide why it ends
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write UTF-8 text as `written_whole` does."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_own_folder(folder: Path) -> None:
    """Create a folder in a run's directory where there is none. Raises GnetError for what is none, and for a link,
    through which files would be written to wherever it leads.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    if folder.is_symlink() or not folder.is_dir():
        kind = "a link" if folder.is_symlink() else "no folder"
        raise GnetError(f"{folder}: it is {kind}; a run writes only into folders of its own, so move it away")


def remove_partial_files(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder. Only whoever has claimed it may do so."""
    for path in folder.glob(f"{PARTIAL_PREFIX}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def require_empty(out: Path) -> None:
    """Raise GnetError for a directory that has files in it or cannot be read. What a killed process has left of a file
    does not count, nor what a check of a GPU has written before its run.
    """

    def counts(path: Path) -> bool:
        return path.name != LOCK_FILE and not path.name.startswith(PARTIAL_PREFIX) and path.stem != GPU_CHECK

    try:
        if out.exists() and not out.is_dir():
            raise GnetError(f"out: {out} is a file; name a folder that does not exist yet")
        if out.is_dir() and any(map(counts, out.iterdir())):
            raise GnetError(f"out: {out} has files in it already; name an empty folder or one that does not exist yet")
    except OSError as error:
        raise GnetError(f"out: {out} cannot be written ({error.strerror}); name a folder that can") from error
