"""The code that workers run: copies of the working tree as it was when the run began, and other revisions."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from gnet_core.config import GnetError
from gnet_core.plan.suites import AGAIN, Source
from gnet_core.system import git

HERE = "here"
"""The working tree, beside the revision it is compared with."""

MEASURED = ("gnet_core", "benchmarks", "pyproject.toml")
"""Parts of a checkout that decide what a worker measures."""

_NO_CODE = ("__pycache__", ".#*")
"""Files beside the code of a checkout that are none: compiled ones, and Emacs' locks, which lead nowhere."""

MAX_NAME_CHARACTERS = 52
"""Length of the name that a revision gives its source, with room for a commit beside it (see named_sources)."""

MAX_FILES_NAMED = 5

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*")
_COPY_PREFIX = "gnet-code-"
_NEW_SECONDS = 60.0
"""Age up to which a folder may not have its lock yet."""


@contextlib.contextmanager
def code_folder() -> Iterator[Path]:
    """A temporary folder for code; what killed processes left is removed. Raises GnetError for lack of room."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=_COPY_PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise GnetError(
            f"TMPDIR: no folder for a copy of the code can be made ({error.strerror}); name one that can be written"
        ) from error
    with folder as name:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _remove_abandoned(Path(name))
            yield Path(name)
        finally:
            os.close(descriptor)


def working_tree(checkout: Path, folder: Path) -> Source:
    """A copy of the checkout in a new `folder`, safe from later changes. Raises GnetError for what cannot be copied."""
    folder.mkdir()
    try:
        for name in MEASURED:
            if (checkout / name).is_dir():
                shutil.copytree(checkout / name, folder / name, ignore=shutil.ignore_patterns(*_NO_CODE))
            elif (checkout / name).exists():
                shutil.copy2(checkout / name, folder / name)
    except OSError as error:
        raise GnetError(
            f"checkout: {checkout} cannot be copied ({_first_reason(error):.300}); all that counts has to be files "
            f"that can be read, and {folder.parent} (see TMPDIR) has to have room for them"
        ) from error
    (folder / git.COMMIT_FILE).write_text(git.commit(checkout) or "")
    return Source(checkout=folder)


def _first_reason(error: OSError) -> str:
    """The reason for the first file that copytree could not copy; its error has all of them."""
    if isinstance(error, shutil.Error):
        source, _copy, why = error.args[0][0]
        return why if source in why else f"{source}: {why}"
    return str(error)


def revision(name: str, checkout: Path, folder: Path) -> Source:
    """A git revision of the checkout, written into a new `folder`; the repository is only read.

    The source's name is that of the revision, made fit for a file's name and unlike HERE and AGAIN. Raises GnetError
    for what names no commit, or one without benchmarks to measure.
    """
    if name.startswith("-"):
        raise GnetError(f"against: {name!r} is an option of git's; name a revision, such as main or HEAD~1")
    commit = _git(checkout, name, "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        raise GnetError(f"against: {name!r} is no single revision; name one, such as main or HEAD~1")
    if git.run(checkout, "cat-file", "-e", f"{commit}:./benchmarks/conftest.py").returncode != 0:
        raise GnetError(f"against: {name!r} has no benchmarks/ to measure; name a later revision")
    archive = _git(checkout, name, "archive", "--format=tar", commit, "--", *MEASURED)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise GnetError(f"against: {name!r} cannot be written into {folder}: {error}") from error
    # What git leaves out when it writes a revision would be measured without.
    listed = _git(checkout, name, "ls-tree", "-r", "-z", "--name-only", commit, "--", *MEASURED)
    for path in map(os.fsdecode, filter(None, listed.split(b"\0"))):
        if not (folder / path).is_file():
            raise GnetError(
                f"against: {name!r} cannot be read whole: git leaves out {path!r:.300}; is it a submodule, a broken "
                "link, or marked export-ignore in .gitattributes?"
            )
    (folder / git.COMMIT_FILE).write_text(commit)
    source = re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("._")[:MAX_NAME_CHARACTERS]
    if not _NAME.fullmatch(source) or source.casefold() in (HERE, AGAIN):
        source = f"{source or 'revision'}_{commit[:7]}"
    return Source(name=source, checkout=folder)


def digests(source: Source) -> dict[str, str]:
    """A digest of each file that decides what the source's workers measure, by its path in the checkout."""
    roots = [source.checkout / name for name in MEASURED]
    paths = [path for root in roots for path in (sorted(root.rglob("*")) if root.is_dir() else [root])]
    return {
        str(path.relative_to(source.checkout)): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


def digest(source: Source) -> str:
    """One digest of all of them."""
    return hashlib.sha256(json.dumps(digests(source), sort_keys=True).encode()).hexdigest()


def differing_files(code: Mapping[str, str], other: Mapping[str, str]) -> str:
    """The files in which two codes by their `digests` differ, named as far as a line holds them; "" where in none."""
    paths = sorted({path for path, _digest in code.items() ^ other.items()})
    more = f" and {len(paths) - MAX_FILES_NAMED} more" if len(paths) > MAX_FILES_NAMED else ""
    return ", ".join(paths[:MAX_FILES_NAMED]) + more


def _git(checkout: Path, revision: str, *arguments: str) -> bytes:
    """Git's output. Raises GnetError with all of its errors where it fails."""
    try:
        answer = git.run(checkout, *arguments)
    except (OSError, subprocess.SubprocessError) as error:
        raise GnetError(f"against: git cannot be asked ({error}); it is needed to read a revision") from error
    if answer.returncode != 0:
        message = "; ".join(answer.stderr.decode(errors="replace").split("\n")).strip("; ") or "nothing"
        if git.run(checkout, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
            message += " (this clone is shallow: git fetch --unshallow brings its older revisions)"
        raise GnetError(f"against: {revision!r} cannot be read; git said: {message}")
    return answer.stdout


def _remove_abandoned(own: Path) -> None:
    """Remove the folders whose owners are gone: a live one holds the lock of its own."""
    for folder in own.parent.glob(f"{_COPY_PREFIX}*"):
        with contextlib.suppress(OSError):  # another process has just removed it, or its owner is alive
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if status.st_uid == os.getuid() and time.time() - status.st_mtime > _NEW_SECONDS and folder != own:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
