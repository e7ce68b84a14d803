"""Where workers come from when a run compares several: other interpreters, or another revision of the checkout."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from gnet_core.config import GnetError
from gnet_core.sweep import Source

AGAIN = "again"
"""The source of an A/A comparison's second half: the first source under another name."""
HERE = "here"
"""The working tree, beside the revision it is compared with."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*")


def interpreters(asked: Sequence[str], checkout: Path) -> dict[str, Source]:
    """The sources of `NAME=INTERPRETER` options, in their order. Raises GnetError for one that is no such pair."""
    sources: dict[str, Source] = {}
    for pair in asked:
        name, _, python = pair.partition("=")
        if not python or not _NAME.fullmatch(name) or name == AGAIN:
            raise GnetError(f"python: {pair!r} is no NAME=INTERPRETER, such as old=.tox/tf219-cpu/bin/python")
        if name in sources:
            raise GnetError(f"python: {name!r} is named twice; give each interpreter a name of its own")
        found = shutil.which(python)
        if found is None:
            raise GnetError(f"python: {python!r} of {name} is no program that can be started; name an interpreter")
        sources[name] = Source(name=name, python=str(Path(found).absolute()), checkout=checkout)
    return sources


@contextlib.contextmanager
def against(revision: str, checkout: Path) -> Iterator[dict[str, Source]]:
    """The sources `revision` and HERE, the first checked out into a temporary folder until the context ends.

    Raises GnetError for a revision that git does not know.
    """
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", revision).strip("._") or "revision"
    with tempfile.TemporaryDirectory(prefix="gnet-against-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / "checkout"
        added = _git(checkout, "worktree", "add", "--quiet", "--detach", str(folder), revision)
        if added.returncode != 0:
            said = (added.stderr.strip().splitlines() or ["nothing"])[-1]
            raise GnetError(f"against: {revision!r} cannot be checked out; git said: {said}")
        try:
            if not (folder / "benchmarks" / "conftest.py").is_file():
                raise GnetError(f"against: {revision!r} has no benchmarks/ to measure; name a later revision")
            yield {name: Source(name=name, checkout=folder), HERE: Source(name=HERE, checkout=checkout)}
        finally:
            _git(checkout, "worktree", "remove", "--force", str(folder))


def _git(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise GnetError(f"against: git cannot be started ({error}); it is needed to check a revision out") from error
