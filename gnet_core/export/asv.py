"""Results for airspeed velocity (asv), in the files that its docs/source/dev.rst describes: seconds a step, by commit.

A file of results is of one machine, commit and environment. Its benchmarks have no parameters, since the name of a case
tells its configuration.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from gnet_core.config import GnetError
from gnet_core.export.cases import Case, Export
from gnet_core.export.samples import Process, processes
from gnet_core.files.json_documents import read_json, typed
from gnet_core.files.whole import make_own_folder, write_whole
from gnet_core.machine.environment import UNKNOWN
from gnet_core.stats.ratio import geometric_interval
from gnet_core.text import plain

BENCHMARKS_FILE = "benchmarks.json"

_BENCHMARKS_VERSION = 2

_COLUMNS = (
    *("result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b", "stats_q_25"),
    *("stats_q_75", "stats_number", "stats_repeat", "samples", "profile"),
)
"""asv's own, in its order. A line of results may end before the last."""

_CASE_VERSION = "1"
"""asv passes over results of another version than the benchmark's. What a case is never changes under its name."""

_CONFIDENCE = 0.99
"""Of the interval by which asv weights and compares results."""

_ARCHITECTURES = ("x86_64", "aarch64", "arm64", "ppc64le", "riscv64", "s390x")

_MAX_CHARACTERS = 100
"""Of a text, of which two may stand in the name of a folder of asv's; that has at most 255 bytes."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """machine.json. It tells what of a machine stays, since each text separates graphs of asv's."""

    machine: str
    os: str
    arch: str
    cpu: str
    num_cpu: str
    ram: str


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of benchmarks.json."""

    name: str
    code: str
    """The command that measures it again, where asv shows a benchmark's source."""
    params: list[list[str]] = []
    param_names: list[str] = []
    type: str = "time"
    unit: str = "seconds"
    version: str = _CASE_VERSION


class ResultFile(msgspec.Struct, frozen=True, kw_only=True):
    """COMMIT-env.json: the results of one machine, commit and environment."""

    commit_hash: str
    env_name: str
    date: int
    """When the run began, in ms. asv has the commit's time here, which run.json does not tell; it orders by git."""
    params: dict[str, str]
    """The machine and the environment, by which asv separates graphs."""
    python: str
    requirements: dict[str, str]
    env_vars: dict[str, str]
    result_columns: tuple[str, ...]
    results: dict[str, list[Any]]
    """By benchmark, a value for each of the columns."""
    durations: dict[str, float]
    version: Literal[2] = 2


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What a run adds to a results directory of asv's."""

    machine: Machine
    benchmarks: list[Benchmark]
    files: list[ResultFile]


def results(export: Export) -> Results:
    """The results of a run. Raises GnetError for a run without a time, or of code that is no commit's."""
    where = export.run.directory / "run.json"
    if export.created is None:
        raise GnetError(f"{where}: created is {export.run.document.created!r:.60}; asv needs a time with its zone")
    machine, date, of_case = _machine(export), round(1000 * export.created.timestamp()), processes(export.run)
    groups: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in export.cases:
        groups[_commit(where, case), _environment_name(case)].append(case)
    files = []
    for (commit, environment), cases in groups.items():
        requirements: dict[str, str] = {cases[0].config.framework: _short(cases[0].version or UNKNOWN)}
        python, variables = _python(cases[0]), cases[0].environment.machine.environment_variables
        lines = {case.row.case: _line(case, of_case.get(case.row.case, []), date) for case in cases}
        files.append(
            ResultFile(
                commit_hash=commit,
                env_name=environment,
                date=date,
                params={**msgspec.structs.asdict(machine), "python": python, **requirements},
                python=python,
                requirements=requirements,
                env_vars={_file_name(name): _short(value) for name, value in variables.items()},
                result_columns=_COLUMNS,
                results=lines,
                durations={},
            )
        )
    benchmarks = [Benchmark(name=case.row.case, code=case.row.command) for case in export.cases]
    return Results(machine=machine, benchmarks=benchmarks, files=files)


def add(new: Results, directory: Path) -> None:
    """Add results to a directory of asv's, or to an empty one. As with `asv run`, what is there of the same machine,
    commit and environment stays, but for benchmarks that were measured again. Raises GnetError naming a file there that
    is not of asv's present format, and OSError for one that cannot be written.
    """
    folder, known = directory / new.machine.machine, directory / BENCHMARKS_FILE
    texts = {folder / "machine.json": _text({**msgspec.structs.asdict(new.machine), "version": 1})}
    for file in new.files:
        path = folder / f"{file.commit_hash[:8]}-{file.env_name}.json"
        texts[path] = _text(_with_earlier(file, path, directory))
    benchmarks = {benchmark.name: benchmark for benchmark in new.benchmarks}
    texts[known] = _text(_known_benchmarks(known, directory) | benchmarks | {"version": _BENCHMARKS_VERSION})
    make_own_folder(folder)
    for path, text in texts.items():
        write_whole(path, text)


def _line(case: Case, measured: Sequence[Process], started_at: int) -> list[Any]:
    """A line of results. Null is a failure, and NaN what was never tried, as the device or the code cannot do it; the
    samples are processes.
    """
    head: list[Any] = [[], _CASE_VERSION, started_at]
    if not case.has_figures:
        return [[math.nan] if case.row.status == "unsupported" else None, *head]
    means = [process.step_seconds for process in measured]
    # asv takes the quartiles of a single sample as well, of which there is no interval.
    lower, _median, upper = statistics.quantiles(means, n=4, method="inclusive") if len(means) > 1 else 3 * means
    low, high = geometric_interval(means, _CONFIDENCE) or (None, None)
    return [[case.row.step_seconds], *head, None, [low], [high], [lower], [upper], None, [len(means)], [means]]


def _machine(export: Export) -> Machine:
    machine = export.run.document.environment.machine
    return Machine(
        machine=_file_name(export.machine),
        os=_short(machine.system.partition("-")[0]),
        arch=next((name for name in _ARCHITECTURES if name in machine.system), UNKNOWN),
        cpu=_short(machine.processor),
        num_cpu=str(machine.usable_threads),
        ram=f"{machine.memory_bytes / 2**30:.0f} GiB",
    )


def _commit(where: Path, case: Case) -> str:
    commit = case.environment.machine.commit
    if commit is None or not re.fullmatch("[0-9a-f]{7,64}", commit):
        named = "unknown" if commit is None else f"{commit!r:.60}"
        of_source = f" of {case.row.source}" if case.row.source else ""
        raise GnetError(
            f"{where}: the commit{of_source} is {named}, and asv files results by a commit that has all that was "
            "measured; commit the changes and measure in the checkout"
        )
    return commit


def _environment_name(case: Case) -> str:
    parts = [f"py{_python(case)}", f"{case.config.framework}{case.version}", case.row.source]
    return "-".join(_file_name(part) for part in parts if part)


def _python(case: Case) -> str:
    """Python's version without its third number, as asv has it."""
    return _short(".".join(case.environment.machine.python.split(".")[:2]))


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text).strip("._")[:_MAX_CHARACTERS] or UNKNOWN


def _short(text: str) -> str:
    return plain(text).encode("ascii", "replace").decode()[:_MAX_CHARACTERS]


def _with_earlier(file: ResultFile, path: Path, directory: Path) -> ResultFile:
    """The file with the results that are in its place already."""
    if not path.exists():
        return file
    document, _digest = read_json(path, directory)
    earlier = typed(str(path), document, ResultFile)
    if (earlier.commit_hash, earlier.result_columns) != (file.commit_hash, file.result_columns):
        raise GnetError(f"{path}: it has another commit_hash or other result_columns; move it or name another out")
    return msgspec.structs.replace(file, results={**earlier.results, **file.results})


def _known_benchmarks(path: Path, directory: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    document, _digest = read_json(path, directory)
    if document.get("version") != _BENCHMARKS_VERSION:
        version = document.get("version")
        raise GnetError(f"{path}: version is {version!r:.60}; gnet export adds to {_BENCHMARKS_VERSION} (asv update)")
    return document


def _text(document: Any) -> str:
    """JSON as Python's json has it, which asv reads: NaN stands in it."""
    return json.dumps(msgspec.to_builtins(document), indent=1) + "\n"
