"""Many runs as one history: the speed of each case over time, in a series of its own for whatever else decides it."""

from __future__ import annotations

import collections
import csv
import dataclasses
import datetime
import functools
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnet_core.config import FRAMEWORKS, Framework, GnetError, StepConfig
from gnet_core.files import bounded, csv_text, json_documents, migrations
from gnet_core.machine import identity, overview
from gnet_core.machine.environment import Environment
from gnet_core.results import records
from gnet_core.results.run_document import RunDocument
from gnet_core.stats.changepoints import Segmentation, log_standard_error, segmented

CASES_FILE = "cases.csv"

MAX_CASES_BYTES = 2**22
"""Largest table of cases that is read; one of twenty cases has 15 kB. A larger one is made anew from the raw files."""

MIN_SPEED, MAX_SPEED = 1e-6, 1e12
"""Images/s. Beyond these no figure is believed."""

CLOCK_GRACE = datetime.timedelta(minutes=1)
"""How far clocks may be apart, and the times of runs that follow each other may overlap."""

MAX_RUN_SECONDS = 30 * 86_400
"""A run is taken to last no longer, whatever its file says."""

_MAX_NAMED = 3
"""Directories that a line names; it counts the others."""

_DECIDING_OPTIONS = (
    *("suites", "preset", "device", "execution", "precision", "batch_size", "case"),
    *("layers", "widths", "image_size", "data", "aa"),
)
"""Options of `gnet bench` that decide which cases a run has, beside its sources."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """With what a case was measured. Figures of two setups are in two series, so that none of them is a change."""

    machine: int
    """Number of the hardware, from 1; environments are alike where machine.differences sees no other hardware."""
    label: str = dataclasses.field(compare=False)
    """The machine in words, which follow from its number and the device of the case."""
    driver: str
    """Of the GPUs; empty without any."""
    framework: str
    """Name and version of the framework that computed the step."""
    variables: tuple[tuple[str, str], ...]
    """Environment variables that change how something computes, with their values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesKey:
    """Whatever has to be alike in all figures of a series."""

    case: str
    """Name of the case with its source, as cases.csv has it."""
    config: StepConfig
    """With the seed 0: other seeds are the same series."""
    source: str
    setup: Setup
    data_fingerprint: str
    """Digest of the images; empty for synthetic ones, and for files from before it was recorded."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RunInHistory:
    """A run as a history has it: where it is, when it was and what was asked of it. `Point` has the figures."""

    directory: Path
    run: str
    """Its identity."""
    created: datetime.datetime
    """With a time zone."""
    seconds: float
    """Wall time that it took."""
    machine: int
    """Number of its hardware."""
    request: str
    """Its sources and the options that decide which cases it has. Runs where it is the same should have the same."""
    software: str
    """Frameworks with their versions, and variables that tune, of each of its environments."""
    cases: frozenset[str]
    """Cases that have a row in it, whatever their status."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """What a run says of the speed of a case."""

    run: RunInHistory
    commit: str
    """Of the code that was measured; empty where it was not recorded."""
    status: str
    """ok, or why the case has no figure that counts: the status of its row, other work, not finite."""
    processes: int
    images_per_second: float | None
    low: float | None
    high: float | None
    """Ends of the 95 % interval over processes; None below two."""

    @property
    def log_error(self) -> float | None:
        """Standard error of the logarithm of its images/s."""
        if self.low is None or self.high is None:
            return None
        return log_standard_error(self.low, self.high, self.processes)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A case over the runs that measured it alike, in the order of time."""

    key: SeriesKey
    points: list[Point]

    @functools.cached_property
    def measured(self) -> list[Point]:
        """The points that have a figure. The numbers of runs in `segmentation` count these."""
        return [point for point in self.points if point.images_per_second is not None]

    @functools.cached_property
    def segmentation(self) -> Segmentation:
        """Its segments and the changes between them; only where anything was measured."""
        speeds = [point.images_per_second for point in self.measured if point.images_per_second is not None]
        return segmented(speeds, [point.log_error for point in self.measured])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Runs in the order of time, their cases as series, and what was not taken into it."""

    runs: list[RunInHistory]
    series: list[Series]
    """In the order of their first runs."""
    notes: list[str]
    """What was left out for a good reason, or is in doubt, a sentence each."""
    unread: list[str]
    """Why something cannot be read, a sentence each."""
    without_time: list[Path] = dataclasses.field(default_factory=list)
    """Runs that are left out, as a note says, since they began in the future or at no time that can be read."""


def load_history(directories: Iterable[Path], now: datetime.datetime) -> History:
    """Read run directories, and folders of them one level deep, as one history. `now` has a time zone.

    The figures are those of cases.csv, which is read in a hundredth of the time of the raw files; where it is not that
    of the run as run.json has it, it is passed over, and the raw files are read. A directory that cannot be read costs
    itself alone. Of copies of a run the most complete one counts; runs that began after `now`, or at no time that can
    be read, are left out.
    """
    remarks, machines = _Remarks(), _Machines()
    # In format version 3 a run's identity is the second in which it began, which runs of two machines may share.
    loaded: dict[tuple[str, int], _LoadedRun] = {}
    copies, future = [], []
    for directory in _run_directories(directories, remarks):
        try:
            run = _load(directory, machines, remarks)
        except GnetError as error:
            remarks.unread.append(str(error))
            continue
        if run is None:
            continue
        identity_of_run = run.about.run, run.about.machine
        if first := loaded.get(identity_of_run):
            kept, dropped = (run, first) if run.completeness > first.completeness else (first, run)
            loaded[identity_of_run] = kept
            copies.append(f"{dropped.about.directory} of {kept.about.directory}")
        elif run.about.created > now + CLOCK_GRACE:
            future.append(f"{directory} ({run.about.created})")
            remarks.without_time.append(directory)
        else:
            loaded[identity_of_run] = run
    if copies:
        remarks.notes.append(f"Copies of one run count once: {_few(copies)}.")
    if future:
        remarks.notes.append(f"Runs from the future are left out: {_few(future)}.")
    in_order = sorted(loaded.values(), key=lambda run: run.about.created)
    points: dict[SeriesKey, list[Point]] = collections.defaultdict(list)
    for run in in_order:
        for key, point in run.points:
            points[key].append(point)
    return History(
        runs=[run.about for run in in_order],
        series=[Series(key=machines.labelled(key), points=of_series) for key, of_series in points.items()],
        notes=[*remarks.notes, *_overlaps([run.about for run in in_order])],
        unread=remarks.unread,
        without_time=remarks.without_time,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _LoadedRun:
    about: RunInHistory
    completeness: tuple[bool, int]
    """Whether it came to its end, and how many of its cases have figures."""
    points: list[tuple[SeriesKey, Point]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Remarks:
    """What a history says of the directories beside their figures; its fields are those of History."""

    notes: list[str] = dataclasses.field(default_factory=list)
    unread: list[str] = dataclasses.field(default_factory=list)
    without_time: list[Path] = dataclasses.field(default_factory=list)


class _Machines:
    """Numbers environments by their hardware, and has words for each machine."""

    def __init__(self) -> None:
        self._first: list[Environment] = []
        self._labels: dict[tuple[int, str], tuple[bool, str]] = {}
        """By machine and device, whether the framework saw the device as a GPU, and the machine in words."""

    def number_of(self, environment: Environment) -> int:
        for number, first in enumerate(self._first, start=1):
            if identity.same_hardware(first, environment):
                return number
        self._first.append(environment)
        return len(self._first)

    def setup(self, environment: Environment, device: str, framework: Framework) -> Setup:
        """The setup of a case on that device. Its words for the machine are `labelled` once all runs are read: those of
        the first environment of that hardware that sees the device, which a build for CPUs does not see.
        """
        number, label = self.number_of(environment), overview.label(environment, device)
        sees = environment.gpu(device) is not None
        if (number, device) not in self._labels or (sees and not self._labels[number, device][0]):
            self._labels[number, device] = sees, label
        return Setup(
            machine=number,
            label=label,
            driver=identity.driver(self._first[number - 1]),
            framework=environment.version(framework),
            variables=identity.tuning(environment),
        )

    def labelled(self, key: SeriesKey) -> SeriesKey:
        """The key with the words that all its machine's series on that device have."""
        _sees, label = self._labels[key.setup.machine, key.config.device]
        return dataclasses.replace(key, setup=dataclasses.replace(key.setup, label=label))


def _run_directories(directories: Iterable[Path], remarks: _Remarks) -> Iterator[Path]:
    """The directories that have a run.json: those given, and where one of them has none, those in it. Each once."""
    seen = set()
    for given in directories:
        if os.path.lexists(given / "run.json"):
            found = [given]
        else:
            try:
                folders = sorted(path for path in given.iterdir() if path.is_dir())
            except OSError as error:
                remarks.unread.append(f"{given}: it cannot be read ({error.strerror or error}); name a run directory")
                continue
            found = [folder for folder in folders if os.path.lexists(folder / "run.json")]
            without = sorted(set(folders) - set(found))
            if not found:
                remarks.unread.append(f"{given}: it is neither a run directory of gnet bench nor a folder of them")
            elif without:
                remarks.notes.append(
                    f"Folders without a run in them are passed over: {_few([str(folder) for folder in without])}."
                )
        for directory in found:
            real = os.path.realpath(directory)
            if real not in seen:
                seen.add(real)
                yield directory


def _load(directory: Path, machines: _Machines, remarks: _Remarks) -> _LoadedRun | None:
    """A run with a point a row; None with a note for what is no run, or has no place in time. Raises GnetError."""
    try:
        document = records.read_run_document(directory)
    except GnetError:
        plain, _digest = json_documents.read_json(directory / "run.json", directory)
        if plain.get("kind") != "profile":
            raise
        remarks.notes.append(f"{directory}: it holds a profile and no run, so it is passed over.")
        return None
    created = _created(directory, document, remarks)
    if created is None:
        return None
    figures = _figures_of_table(directory, document)
    if figures is None:
        run = records.load_run(directory)
        figures = {row.case: _figures_of_row(row) for row in run.rows}
        if run.unread:
            more = f" (and {len(run.unread) - 1} more)" if len(run.unread) > 1 else ""
            remarks.unread.append(f"{run.unread[0]}{more}")
    about = RunInHistory(
        directory=directory,
        run=document.run,
        created=created,
        seconds=min(max(0.0, document.time_spent.total), MAX_RUN_SECONDS),
        machine=machines.number_of(document.environment),
        request=_request(document),
        software=_software(document),
        cases=frozenset(figures),
    )
    with_figures = sum(one.images_per_second is not None for one in figures.values())
    points = list(_points(about, document, figures, machines))
    return _LoadedRun(about=about, completeness=(document.complete, with_figures), points=points)


def _request(document: RunDocument) -> str:
    request = document.request
    sources = [one.name for one in document.sources] or sorted({case.source for case in document.cases})
    return repr((sources, [getattr(request, name) for name in _DECIDING_OPTIONS]))


def _software(document: RunDocument) -> str:
    environments = {"": document.environment, **document.environments}
    versions = {
        name: ([environment.version(framework) for framework in FRAMEWORKS], identity.tuning(environment))
        for name, environment in environments.items()
    }
    return repr(sorted(versions.items()))


def _created(directory: Path, document: RunDocument, remarks: _Remarks) -> datetime.datetime | None:
    """When the run began, with a time zone; None with a note where that cannot be read."""
    try:
        created = datetime.datetime.fromisoformat(document.created)
    except ValueError:
        remarks.notes.append(f"{directory}: it began at {document.created!r:.60}, which is no time, so it is left out.")
        remarks.without_time.append(directory)
        return None
    if created.tzinfo is None:
        remarks.notes.append(
            f"{directory}: the time of its start, {document.created}, has no zone; it is taken as UTC."
        )
        return created.replace(tzinfo=datetime.UTC)
    return created


def _points(
    about: RunInHistory, document: RunDocument, figures: dict[str, _Figures], machines: _Machines
) -> Iterator[tuple[SeriesKey, Point]]:
    setups: dict[tuple[str, Framework, str], tuple[Setup, str]] = {}
    own = document.own_interpreters
    for number, case in enumerate(document.cases):
        if case.case not in figures:
            continue
        try:
            config = migrations.read_config({**case.config, "seed": 0})
        except (TypeError, GnetError) as error:
            where = f"{about.directory / 'run.json'}: field 'cases[{number}].config' of case {case.case!r}"
            raise GnetError(f"{where} cannot be read: {error!s:.200}") from error
        measured_with = (case.source, config.framework, config.device)
        if measured_with not in setups:
            environment = document.environments.get(case.source, document.environment)
            if config.framework in own:
                environment = document.environments[config.framework]
            setup = machines.setup(environment, config.device, config.framework)
            setups[measured_with] = setup, environment.machine.commit or ""
        setup, commit = setups[measured_with]
        key = SeriesKey(
            case=case.case,
            config=config,
            source=case.source,
            setup=setup,
            data_fingerprint="" if config.data == "synthetic" else document.data_fingerprint,
        )
        yield key, Point(run=about, commit=commit, **dataclasses.asdict(figures[case.case]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Figures:
    """The part of a row that becomes a point."""

    status: str
    processes: int = 0
    images_per_second: float | None = None
    low: float | None = None
    high: float | None = None


def _figures_of_row(row: records.Row | _Line) -> _Figures:
    """A row as a point has it; without a figure where that is not of the work that was asked for."""
    if row.status != "ok":
        return _Figures(status=row.status)
    if not row.finite:
        return _Figures(status="not finite")
    if row.equal_work is False:
        return _Figures(status="other work")
    speed, low, high = row.images_per_second, row.images_per_second_ci_low, row.images_per_second_ci_high
    if speed is None or not MIN_SPEED <= speed <= MAX_SPEED:
        return _Figures(status="no figure")
    if low is None or high is None or not MIN_SPEED <= low <= high <= MAX_SPEED:
        low = high = None
    return _Figures(status="ok", processes=row.replicates, images_per_second=speed, low=low, high=high)


def _figures_of_table(directory: Path, document: RunDocument) -> dict[str, _Figures] | None:
    """What cases.csv says, by case; None where it is not the table of the run as run.json has it."""
    measured = {case.case: case for case in document.cases if case.status is not None}
    try:
        text = bounded.read_bytes(directory / CASES_FILE, directory, MAX_CASES_BYTES).decode("utf-8")
        rows = [_Line.of(cells) for cells in csv.DictReader(io.StringIO(text), strict=True)]
    except (GnetError, KeyError, TypeError, ValueError, csv.Error):
        return None
    if sorted(row.case for row in rows) != sorted(measured):
        return None
    for row in rows:
        case = measured[row.case]
        if row.run != document.run or row.status != case.status:
            return None
        believed = row.images_per_second is not None and MIN_SPEED <= row.images_per_second <= MAX_SPEED
        if row.status == "ok" and (row.replicates != len(case.raw) or not believed):
            return None
    return {row.case: _figures_of_row(row) for row in rows}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Line:
    """What a history needs of a line of cases.csv, by the names that the fields of a row have."""

    case: str
    run: str
    status: str
    replicates: int
    finite: bool
    equal_work: bool | None
    images_per_second: float | None
    images_per_second_ci_low: float | None
    images_per_second_ci_high: float | None

    @classmethod
    def of(cls, cells: Mapping[Any, str]) -> _Line:
        """Read a line. Raises KeyError, TypeError or ValueError where it is none."""
        if None in cells:
            raise ValueError("it has more cells than the table has columns")
        text = {field.name: csv_text.restored(cells[field.name]) for field in dataclasses.fields(cls)}
        return cls(
            case=text["case"],
            run=text["run"],
            status=text["status"],
            replicates=int(text["replicates"]),
            finite=_TRUTHS[text["finite"]],
            equal_work=_TRUTHS[text["equal_work"]] if text["equal_work"] else None,
            images_per_second=_number(text["images_per_second"]),
            images_per_second_ci_low=_number(text["images_per_second_ci_low"]),
            images_per_second_ci_high=_number(text["images_per_second_ci_high"]),
        )


def _number(text: str) -> float | None:
    return float(text) if text else None


_TRUTHS = {"True": True, "False": False}
"""How a table writes a bool."""


def _overlaps(runs: Sequence[RunInHistory]) -> list[str]:
    """A sentence for each machine two of whose runs, which are in the order of time, were there at once."""
    latest: dict[int, tuple[datetime.datetime, RunInHistory]] = {}
    pairs: dict[int, list[str]] = collections.defaultdict(list)
    for run in runs:
        ends, earlier = latest.get(run.machine, (None, None))
        if ends is not None and earlier is not None and run.created + CLOCK_GRACE < ends:
            pairs[run.machine].append(f"{earlier.directory} and {run.directory}")
        end = run.created + datetime.timedelta(seconds=run.seconds)
        if ends is None or end > ends:
            latest[run.machine] = end, run
    return [
        f"Runs of machine {machine} overlap in time: {_few(overlapping)}. Its clock went back, one of them was gone on "
        "with later, or several machines are alike; they stand in the order of the times that they recorded."
        for machine, overlapping in pairs.items()
    ]


def _few(texts: Sequence[str]) -> str:
    more = len(texts) - _MAX_NAMED
    return ", ".join([*texts[:_MAX_NAMED], *([f"and {more} more"] if more > 0 else [])])
