"""Where workers come from: copies of the code as it was when the run began, other interpreters, other revisions."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gnet_core.config import FRAMEWORKS, PEERS, Framework, GnetError
from gnet_core.plan.suites import AGAIN, Source
from gnet_core.system import git

HERE = "here"
"""The working tree, beside the revision it is compared with."""

MEASURED = ("gnet_core", "benchmarks", "pyproject.toml")
"""What of a checkout decides what a worker measures."""

_NO_CODE = ("__pycache__", ".#*")
"""What lies beside the code of a checkout and is none: compiled files, and Emacs' locks, which lead nowhere."""

MAX_NAME_CHARACTERS = 60
"""Of a source. It is part of the names of files, which also hold a case."""

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.]{{0,{MAX_NAME_CHARACTERS - 1}}}")
_COPY_PREFIX = "gnet-code-"
_NEW_SECONDS = 60.0


@contextlib.contextmanager
def code_folder() -> Iterator[Path]:
    """A temporary folder for copies of code, which is gone when the context ends.

    One that a killed process has left is removed by the next that starts: a live one's owner holds its lock. Raises
    GnetError where there is no room for one.
    """
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
    """The checkout as it is now, copied into a new `folder`, so that later changes do not reach a run that goes on.

    Raises GnetError for what cannot be copied.
    """
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
    """Of copytree's error, which has every file that it could not copy, what is wrong with the first."""
    if isinstance(error, shutil.Error):
        source, _copy, why = error.args[0][0]
        return why if source in why else f"{source}: {why}"
    return str(error)


def revision(asked: str, checkout: Path, folder: Path) -> Source:
    """A git revision of the checkout, written into a new `folder`; the repository is only read.

    Its name is that of the revision, made fit for a file's name and unlike HERE and AGAIN. Raises GnetError for what
    names no commit, or one without benchmarks to measure.
    """
    if asked.startswith("-"):
        raise GnetError(f"against: {asked!r} is an option of git's; name a revision, such as main or HEAD~1")
    found = _git(checkout, asked, "rev-parse", "--verify", "--end-of-options", f"{asked}^{{commit}}")
    commit = found.decode().strip()
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        raise GnetError(f"against: {asked!r} is no single revision; name one, such as main or HEAD~1")
    if git.run(checkout, "cat-file", "-e", f"{commit}:./benchmarks/conftest.py").returncode != 0:
        raise GnetError(f"against: {asked!r} has no benchmarks/ to measure; name a later revision")
    archive = _git(checkout, asked, "archive", "--format=tar", commit, "--", *MEASURED)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise GnetError(f"against: {asked!r} cannot be written into {folder}: {error}") from error
    _require_whole(checkout, asked, commit, folder)
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", asked).strip("._")[: MAX_NAME_CHARACTERS - 8]
    if not _NAME.fullmatch(name) or name.casefold() in (HERE, AGAIN):
        name = f"{name or 'revision'}_{commit[:7]}"
    (folder / git.COMMIT_FILE).write_text(commit)
    return Source(name=name, checkout=folder)


def interpreters(asked: Sequence[str]) -> dict[str, str]:
    """The programs of `NAME=INTERPRETER` options, in their order. Raises GnetError for one that is no such pair."""
    programs: dict[str, str] = {}
    for pair in asked:
        name, _, python = pair.partition("=")
        if not python or not _NAME.fullmatch(name) or name.casefold() == AGAIN:
            raise GnetError(
                f"python: {pair!r} is no NAME=INTERPRETER, such as old=.tox/tf219-cpu/bin/python; a name has up to "
                f"{MAX_NAME_CHARACTERS} letters and digits and is not {AGAIN}"
            )
        if name.casefold() in (other.casefold() for other in programs):
            raise GnetError(f"python: {name!r} is named twice; give each interpreter a name of its own")
        program = shutil.which(python)
        if program is None:
            raise GnetError(f"python: {python!r} of {name} is no program that can be started; name an interpreter")
        programs[name] = str(Path(program).absolute())
    return programs


def is_of_framework(pair: str) -> bool:
    """Whether a NAME=INTERPRETER names the interpreter of a framework's rows and no source to compare."""
    return pair.partition("=")[0] in FRAMEWORKS


def with_interpreters(here: Source, programs: Mapping[str, str]) -> list[Source]:
    """The sources that the programs make of the working tree: a name that is no framework's is a source to compare, and
    a framework's is the interpreter of its rows, which are measured once, from the first source. Where TensorFlow's is
    named, the peers that are not keep to gnet's own.

    Raises GnetError for an interpreter of TensorFlow's beside sources, which bring their own.
    """
    compared = {name: python for name, python in programs.items() if name not in FRAMEWORKS}
    if "tensorflow" in programs and compared:
        raise GnetError(
            f"python: 'tensorflow' cannot be named beside {next(iter(compared))!r}, which brings its own TensorFlow"
        )
    peers: dict[Framework, str] = {each: programs[each] for each in PEERS if each in programs}
    if "tensorflow" in programs:
        peers = {each: programs.get(each, here.python) for each in PEERS}
    if not compared:
        return [dataclasses.replace(here, python=programs.get("tensorflow", here.python), peers=peers)]
    found = [dataclasses.replace(here, name=name, python=python) for name, python in compared.items()]
    return [dataclasses.replace(found[0], peers=peers), *found[1:]]


def digests(source: Source) -> dict[str, str]:
    """A digest of each file that decides what the source's workers measure, by its path in the checkout."""
    paths = [
        path
        for name in MEASURED
        for path in ([source.checkout / name] if Path(name).suffix else sorted((source.checkout / name).rglob("*")))
    ]
    return {
        str(path.relative_to(source.checkout)): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The files that differ between two answers of `digests`, added and removed ones among them."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def _require_whole(checkout: Path, asked: str, commit: str, folder: Path) -> None:
    """Raise GnetError naming what git leaves out when it writes a revision: it would be measured without."""
    listed = _git(checkout, asked, "ls-tree", "-r", "-z", "--name-only", commit, "--", *MEASURED)
    for name in map(os.fsdecode, filter(None, listed.split(b"\0"))):
        if not (folder / name).is_file():
            raise GnetError(
                f"against: {asked!r} cannot be read whole: git leaves out {name!r:.300}; is it a submodule, a broken "
                "link, or marked export-ignore in .gitattributes?"
            )


def _git(checkout: Path, asked: str, *arguments: str) -> bytes:
    """What git prints. Raises GnetError with all that it says where it fails."""
    try:
        answer = git.run(checkout, *arguments)
    except (OSError, subprocess.SubprocessError) as error:
        raise GnetError(f"against: git cannot be asked ({error}); it is needed to read a revision") from error
    if answer.returncode != 0:
        said = "; ".join(answer.stderr.decode(errors="replace").split("\n")).strip("; ") or "nothing"
        if git.run(checkout, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
            said += " (this clone is shallow: git fetch --unshallow brings its older revisions)"
        raise GnetError(f"against: {asked!r} cannot be read; git said: {said}")
    return answer.stdout


def _remove_abandoned(own: Path) -> None:
    for folder in own.parent.glob(f"{_COPY_PREFIX}*"):
        with contextlib.suppress(OSError):  # another process has just removed it, or its owner is alive
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                # One that has just been made has no lock yet.
                if status.st_uid == os.getuid() and time.time() - status.st_mtime > _NEW_SECONDS and folder != own:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
