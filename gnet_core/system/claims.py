"""One writer for a run's directory at a time, by a lock that names its holder and dies with it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gnet_core.config import GnetError
from gnet_core.files.whole import LOCK_FILE, remove_partial_files, require_empty
from gnet_core.system import interrupts


class BusyError(GnetError):
    """Another process writes into the directory."""


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Be the only process that writes into a directory that exists, until the context ends.

    The lock is the system's (flock), so that a killed holder leaves none behind. Raises BusyError, which names the
    holder, and GnetError for a directory that cannot be written.
    """
    path = directory / LOCK_FILE
    with contextlib.ExitStack() as stack:
        with interrupts.deferred():  # a lock that was made is always removed
            stack.enter_context(_locked(path))
            # Removed before it is let go: whoever waited for this file sees that it is gone and makes another.
            stack.callback(_remove, path)
        remove_partial_files(directory)
        yield


@contextlib.contextmanager
def claimed_empty(out: Path) -> Iterator[None]:
    """Create a directory, or take an empty one, and be the only process that writes into it until the context ends.

    A directory in which nothing was written is removed again, if it was not there before. Raises GnetError for one
    with files in it and for one that cannot be written, and BusyError.
    """
    require_empty(out)
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GnetError(f"out: {out} cannot be written ({error.strerror}); name a folder that can") from error
    try:
        with claimed(out):
            require_empty(out)  # another may have been faster
            yield
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # it holds something by now
                folder.rmdir()


def _locked(path: Path) -> BinaryIO:
    """The lock's file, open and locked, with its holder's name in it. Closing it lets go."""
    while True:
        try:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644), "r+b", 0)
        except OSError as error:
            reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
            raise GnetError(f"{path}: it cannot be opened ({reason}), so {path.parent} cannot be claimed") from error
        with contextlib.ExitStack() as stack:
            stack.enter_context(file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still_there(path, file.fileno()):  # else its last holder has just removed it
                    file.truncate(0)
                    file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
                    stack.pop_all()
                    return file
            except BlockingIOError:
                holder = file.read(200).decode(errors="replace") or "another process"
                message = f"{path.parent}: {holder} is writing into it; wait for its end, or name another"
                raise BusyError(message) from None
            except OSError as error:
                path.unlink(missing_ok=True)  # it would keep the directory from being removed
                raise GnetError(f"{path}: it cannot be locked ({error}); name a folder on another disk") from error


@interrupts.deferred()
def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # the disk is gone or read-only, and the lock goes with its file
        path.unlink(missing_ok=True)


def _is_still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
