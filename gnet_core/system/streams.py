"""Standard streams on which printing never fails, whatever their encoding is and whoever reads them."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from typing import TextIO

_SPELLED = {
    **dict(zip("×–—−÷±≤≥→…µ", ("x", "-", "-", "-", "/", "+-", "<=", ">=", "->", "...", "u"), strict=True)),
    **dict(zip("²³‘’“”·█▏▎▍▌▋▊▉", ("^2", "^3", "'", "'", '"', '"', "*", *"########"), strict=True)),
}
"""Replacements for characters of ours that the encoding of a stream lacks."""


class _Output(io.FileIO):
    """A descriptor to write to. What its reader does not want any more is dropped, and so is what finds no room."""

    failure: OSError | None = None  # the first for want of room

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._on_terminal = self.isatty()

    def write(self, data: object, /) -> int:
        with memoryview(data) as view:  # type: ignore[arg-type]
            try:
                # It is None where the pipe is full and somebody who shares it has set it not to wait for room.
                while (written := super().write(view)) is None:
                    select.select([], [self], [])
                return written
            except ConnectionError:
                return view.nbytes
            except OSError as error:
                if not (self._on_terminal and error.errno == errno.EIO):  # which is a terminal that was closed
                    self.failure = self.failure or error
                return view.nbytes


def install() -> None:
    """Make stdout and stderr such streams, where nobody has replaced Python's own; closed ones lead nowhere."""
    _fill_gaps()
    codecs.register_error("gnet", _spell)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _open(stream, descriptor))


def flush() -> OSError | None:
    """Print what is left; why some of what was printed on stdout was lost, or None where nothing was."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # what cannot be printed any more is lost
            stream.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Output) else None


def _fill_gaps() -> None:
    """Give closed descriptors to the null device: else the next file that is opened gets one and is printed into."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free, which is this one


def _open(stream: TextIO | None, descriptor: int) -> TextIO:
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(descriptor)),
        encoding=_usable(getattr(stream, "encoding", None) or "utf-8"),
        errors="gnet",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
        write_through=bool(getattr(stream, "write_through", False)),
    )


def _usable(encoding: str) -> str:
    """The encoding, or UTF-8 in the place of one that cannot spell: idna, for one, is for names of hosts alone."""
    try:
        "1.0 × \u0416\n".encode(encoding, "gnet")
    except (LookupError, UnicodeError):
        return "utf-8"
    return encoding


def _spell(error: UnicodeError) -> tuple[str, int]:
    """The error handler of these streams: our own characters as they are typed, others by their number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    spelled = (_SPELLED.get(character) or character.encode("ascii", "backslashreplace").decode() for character in text)
    return "".join(spelled), error.end
