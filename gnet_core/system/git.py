"""Asks git about a checkout, undisturbed by a git hook or an alias around gnet, and changes nothing in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

LIMIT_SECONDS = 120.0

COMMIT_FILE = ".gnet-commit"
"""File in a copy of code, which git does not know, with the commit that it was copied from, as `commit` returns it."""


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The output of `git -C checkout arguments`. Raises OSError where git cannot start, TimeoutExpired if it hangs."""
    # A hook has GIT_DIR, GIT_INDEX_FILE and their kind, which would point git at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    return subprocess.run(
        ["git", "-C", str(checkout), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def commit(checkout: Path) -> str | None:
    """The checkout's commit, with "+changes" when files differ from it; None for a folder that git does not know."""
    copied_from = checkout / COMMIT_FILE
    if copied_from.is_file():
        return copied_from.read_text().strip() or None
    try:
        head = run(checkout, "rev-parse", "--verify", "HEAD")
        known = run(checkout, "cat-file", "-e", "HEAD:./")
        # Settings of the user's may hide what differs.
        status = run(checkout, "status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=none")
    except (OSError, subprocess.SubprocessError):
        return None
    if any(answer.returncode != 0 for answer in (head, known, status)):
        return None
    return head.stdout.decode(errors="replace").strip() + ("+changes" if status.stdout.strip() else "")
