"""What a command says and ends with: exit statuses, one line on stderr, documents on stdout and on the disk."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gnet_core.config import GnetError

if TYPE_CHECKING:
    from gnet_core.report.document import Document

FINE, GATE_FAILED, BAD_USAGE, CASES_FAILED, UNEXPECTED, INTERRUPTED = 0, 1, 2, 3, 70, 130
"""Exit statuses. 70 is what sysexits.h calls an internal software error."""


class Unwritten(NamedTuple):
    """Documents that were not written."""

    why: str
    status: int
    """The exit status for it: FINE where it is no fault of the run or of the machine."""


def complain(message: str) -> None:
    """Say what is wrong in one line on stderr; no character of a file or an argument controls the terminal."""
    harmless = "".join(character if character.isprintable() else " " for character in message)
    print(f"gnet: {' '.join(harmless.split())}", file=sys.stderr)


def print_document(document: Document) -> None:
    """Print a report, no wider than the terminal where stdout is one."""
    from gnet_core.report.terminal import to_terminal

    print(to_terminal(document, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(document, indent=1, allow_nan=False))


def write_documents(write: Callable[[], None], unclaimed: Path | None = None) -> Unwritten | None:
    """Write documents, in a directory `unclaimed` once it is claimed; return why they were not written, if so."""
    from gnet_core.system.claims import BusyError, claimed

    try:
        with claimed(unclaimed) if unclaimed else contextlib.nullcontext():
            write()
    except BusyError as error:
        return Unwritten(str(error), FINE)
    except (GnetError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        only_readable = isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Unwritten(why, FINE if only_readable else BAD_USAGE)
    return None
