"""The sources of a run by their names: interpreters, a revision and environment variables, from options or a file."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from gnet_core.config import FRAMEWORKS, PEERS, Framework, GnetError, require_choice
from gnet_core.files.json_documents import typed
from gnet_core.files.toml_documents import read_toml
from gnet_core.plan.request import BenchRequest
from gnet_core.plan.suites import AGAIN, Source
from gnet_core.run.sources import HERE, revision
from gnet_core.system import settings

PLAIN = "default"
"""The source without settings, beside those that have some, where it has no other name."""

MAX_NAME_CHARACTERS = 60
"""Length of a source's name, which is part of the names of files, beside that of a case."""

MAX_VALUE_CHARACTERS = 4096

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MAX_NAME_CHARACTERS - 1}}}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_NEXT_ASSIGNMENT = re.compile(rf",(?={_VARIABLE.pattern}=)")
"""A comma that separates two assignments; others belong to a value, such as a list of flags."""

_LACKS_EQUALS = re.compile(r",(?:[A-Z]+_[A-Z0-9_]*)?(?=,|$)")
"""A variable in a list of assignments that is assigned nothing, or a comma with nothing behind it."""

_CHOOSE_DEVICES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
"""What would give a source another GPU than the one whose power and memory are read."""

_NOT_FOR_SOURCES = {
    "framework": "the suite frameworks compares those, and --python names their interpreters",
    "device": "--device chooses one",
}
"""By field that a variable would decide, what decides it instead. Execution and precision may be decided by a source's
settings: autoclustering and the mathematics of oneDNN are no values of StepConfig's."""


class FileSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source of a file of sources."""

    name: str
    python: str | None = None
    """Its interpreter, from the file's folder; None: the one that runs gnet. One that is not there is a source that
    says so, as where the installation of a release failed."""
    revision: str | None = None
    """Git revision of the checkout; None: the working tree."""
    variables: dict[str, str] = {}


class SourcesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML file of sources: tables [[source]], and the name of the base."""

    source: tuple[FileSource, ...]
    base: str | None = None


def of_request(request: BenchRequest, here: Source, checkout: Path, folder: Path) -> list[Source]:
    """The sources of a run, the one that the others are compared with first. `here` is a copy of the working tree of
    `checkout`; revisions are written into new folders in `folder`. Raises GnetError for what cannot be a source, or two
    of one name.
    """
    if request.sources is not None:
        if beside := [name for name in ("python", "against") if getattr(request, name)]:
            raise GnetError(f"sources: {request.sources} cannot be named beside --{beside[0]}; put it into the file")
        named, base = _from_file(Path(request.sources), here, checkout, folder)
        base = request.base or base
    else:
        named, base = with_interpreters(here, interpreters(request.python)), request.base
        if request.against is not None:
            named = _beside_revision(request.against, named, checkout, folder)
    named = crossed(named, variables(request.settings))
    names = [source.name.casefold() for source in named]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise GnetError(f"sources: two of them are called {twice!r}; give each a name of its own")
    if base is None:
        return named
    if len(named) == 1:
        raise GnetError(f"base: {base!r:.100} is compared with nothing, as there is one source; name another, too")
    require_choice("base", base, tuple(source.name for source in named))
    return sorted(named, key=lambda source: source.name != base)


def interpreters(pairs: Sequence[str]) -> dict[str, str]:
    """The programs of `NAME=INTERPRETER` options, in their order. Raises GnetError for one that is no such pair."""
    programs: dict[str, str] = {}
    for pair in pairs:
        name, _, python = pair.partition("=")
        if not python or not _is_name(name):
            raise GnetError(
                f"python: {pair!r} is no NAME=INTERPRETER, such as old=.tox/tf219-cpu/bin/python; a name has up to "
                f"{MAX_NAME_CHARACTERS} letters and digits and is not {AGAIN}"
            )
        if name.casefold() in (other.casefold() for other in programs):
            raise GnetError(f"python: {name!r} is named twice; give each interpreter a name of its own")
        if (program := shutil.which(python)) is None:
            raise GnetError(f"python: {python!r} of {name} is no program that can be started; name an interpreter")
        programs[name] = str(Path(program).absolute())
    return programs


def with_interpreters(here: Source, programs: Mapping[str, str]) -> list[Source]:
    """The sources that the programs make of the working tree: a name that is no framework's is a source to compare, and
    a framework's is the interpreter of its rows, which are measured once, from the first source. Where TensorFlow's is
    named, the peers that are not keep to gnet's own. Raises GnetError where it stands beside sources to compare.
    """
    compared = {name: python for name, python in programs.items() if name not in FRAMEWORKS}
    if "tensorflow" in programs and compared:
        raise GnetError(
            f"python: 'tensorflow' cannot be named beside {next(iter(compared))!r}, which brings its own TensorFlow"
        )
    peers: dict[Framework, str] = {peer: programs[peer] for peer in PEERS if peer in programs}
    if "tensorflow" in programs:
        peers = {peer: programs.get(peer, here.python) for peer in PEERS}
    named = (compared or {here.name: programs.get("tensorflow", here.python)}).items()
    first, *others = [dataclasses.replace(here, name=name, python=python) for name, python in named]
    return [dataclasses.replace(first, peers=peers), *others]


def variables(pairs: Sequence[str]) -> dict[str, dict[str, str]]:
    """The environment variables of `NAME=VARIABLE=VALUE[,VARIABLE=VALUE]…` options, by name in their order; of `NAME=`
    there are none. Raises GnetError for what is no such option, and for variables that no source may set.
    """
    named: dict[str, dict[str, str]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        assigned = [assignment.partition("=") for assignment in _NEXT_ASSIGNMENT.split(text) if text]
        is_name = _is_name(name) and name not in FRAMEWORKS
        if not equals or not is_name or not all(equal for _variable, equal, _value in assigned):
            raise GnetError(
                f"set: {pair!r:.300} is no NAME=VARIABLE=VALUE[,VARIABLE=VALUE]…, such as "
                f"onednn0=TF_ENABLE_ONEDNN_OPTS=0; a name has up to {MAX_NAME_CHARACTERS} letters and digits and is "
                f"neither {AGAIN} nor a framework's"
            )
        if name.casefold() in (other.casefold() for other in named):
            raise GnetError(f"set: {name!r} is named twice; give each of the settings a name of its own")
        if not assigned and (plain := next((other for other in named if not named[other]), None)) is not None:
            raise GnetError(f"set: {plain!r} and {name!r} both have no variable; one name is enough for what has none")
        named[name] = {}
        for variable, _equal, value in assigned:
            if variable in named[name]:
                raise GnetError(f"set: {variable} has two values in {name!r}; give it one")
            named[name][variable] = value
        _require_variables(f"set: {name}", named[name])
    return named


def crossed(sources: Sequence[Source], settings_by_name: Mapping[str, Mapping[str, str]]) -> list[Source]:
    """Each source without settings and then with each of the settings, called by both names. Settings without a
    variable are the plain source under their own name. The interpreters of other frameworks stay the plain one's.
    Raises GnetError where a plain source would have two names.
    """
    if not settings_by_name:
        return list(sources)
    given = dict(settings_by_name)
    plain = next((name for name, assigned in given.items() if not assigned), None)
    if plain and (own := next((source.name for source in sources if source.name), "")):
        raise GnetError(f"set: {plain!r} names what has no variable, and that is called {own!r} already; leave it out")
    named: list[Source] = []
    for source in sources:
        named.append(dataclasses.replace(source, name=source.name or plain or PLAIN))
        for name, assigned in given.items():
            if assigned:
                both = "-".join(filter(None, (source.name, name)))
                together = {**source.variables, **assigned}
                named.append(dataclasses.replace(source, name=both, variables=together, peers={}))
    return named


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name.casefold() != AGAIN


def _require_variables(where: str, assigned: Mapping[str, str]) -> None:
    """Raise GnetError for what no process can be started with, or what is not for a source to decide."""
    for variable, value in assigned.items():
        if not _VARIABLE.fullmatch(variable):
            raise GnetError(f"{where}: {variable!r:.100} is no name of an environment variable")
        if "\0" in value or len(value) > MAX_VALUE_CHARACTERS or not value.isprintable():
            raise GnetError(
                f"{where}: {variable} is {value!r:.100}; use at most {MAX_VALUE_CHARACTERS} printable characters"
            )
        if (last := _LACKS_EQUALS.search(value)) is not None:
            raise GnetError(f"{where}: {variable} ends in {last[0]!r:.100}, which has no '='; assign it a value")
        decided = "device" if variable in _CHOOSE_DEVICES else settings.defined_by_case(variable, value)
        if variable in settings.SET or variable.startswith("GNET_") or variable == "PYTHONHASHSEED":
            raise GnetError(f"{where}: {variable} is the suite's own; leave it out")
        if decided in _NOT_FOR_SOURCES:
            raise GnetError(f"{where}: {variable} would decide the {decided}; {_NOT_FOR_SOURCES[decided]}")


def _beside_revision(name: str, named: list[Source], checkout: Path, folder: Path) -> list[Source]:
    """Each source with the revision's code and then with its own, called by both names."""
    # Peers are measured from the working tree alone: a revision from before they were told of knows none.
    old = revision(name, checkout, folder / "revision")
    together = []
    for source in named:
        both = "-".join(filter(None, (source.name, old.name)))
        together.append(dataclasses.replace(old, name=both, python=source.python))
        together.append(dataclasses.replace(source, name=source.name or HERE))
    return together


def _from_file(path: Path, here: Source, checkout: Path, folder: Path) -> tuple[list[Source], str | None]:
    """The sources of a TOML file, and the base that it names. Raises GnetError naming file, source and field."""
    document = typed(f"sources: {path}", read_toml("sources", path), SourcesFile)
    if not document.source:
        raise GnetError(f"sources: {path}: it has no [[source]]; name one at least")
    for number, entry in enumerate(document.source):
        if entry.revision is not None and not (entry.revision and entry.revision.isprintable()):
            raise GnetError(
                f"sources: {path}: source[{number}]: revision is {entry.revision!r:.100}, which git has not"
            )
    checkouts = _checkouts(path, document.source, here, checkout, folder)
    named = []
    for number, entry in enumerate(document.source):
        where = f"sources: {path}: source[{number}]"
        if not _is_name(entry.name) or entry.name in FRAMEWORKS:
            raise GnetError(
                f"{where}: name is {entry.name!r:.100}; use up to {MAX_NAME_CHARACTERS} letters, digits and _.-, and "
                f"neither {AGAIN} nor a framework's name"
            )
        _require_variables(f"{where}: variables", entry.variables)
        python, missing = _interpreter(path, entry.python)
        named.append(
            Source(
                name=entry.name,
                python=python,
                checkout=checkouts[entry.revision],
                variables=entry.variables,
                missing=missing,
            )
        )
    return named, document.base


def _checkouts(
    path: Path, entries: Iterable[FileSource], here: Source, checkout: Path, folder: Path
) -> dict[str | None, Path]:
    """The code of each revision that the entries name, each written once; None is the working tree."""
    checkouts: dict[str | None, Path] = {None: here.checkout}
    for number, entry in enumerate(entries):
        if entry.revision not in checkouts:
            try:
                code = revision(str(entry.revision), checkout, folder / f"revision-{number}")
            except GnetError as error:
                raise GnetError(
                    f"sources: {path}: source[{number}]: {str(error).replace('against', 'revision', 1)}"
                ) from error
            checkouts[entry.revision] = code.checkout
    return checkouts


def _interpreter(path: Path, python: str | None) -> tuple[str, str]:
    """The program of a source of a file, and why it cannot be started, if so."""
    if python is None:
        return sys.executable, ""
    program = str(path.parent.absolute() / python) if "/" in python else python
    if (found := shutil.which(program)) is None:
        return program, f"python: {python!r:.300} is no program that can be started; was its installation finished?"
    return str(Path(found).absolute()), ""
