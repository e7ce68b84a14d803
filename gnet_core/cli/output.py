"""What a command says and ends with: exit statuses, one line on stderr, documents on stdout."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnet_core.report.document import Document

FINE, GATE_FAILED, BAD_USAGE, CASES_FAILED, UNEXPECTED, INTERRUPTED = 0, 1, 2, 3, 70, 130
"""Exit statuses. 70 is what sysexits.h calls an internal software error."""


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
