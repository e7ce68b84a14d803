"""Many runs as one history: the speed of each case over time, in a series of its own for whatever else decides it."""

from __future__ import annotations

import collections
import csv
import dataclasses
import datetime
import functools
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from gnet_core.config import Framework, GnetError, StepConfig
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """With what a case was measured. Figures of two setups are in two series, so that none of them is a change."""

    machine: int
    """Number of the hardware, from 1; environments are alike where machine.differences sees no other hardware."""
    label: str
    """The machine in words."""
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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RunInHistory:
    """A run, less its figures."""

    directory: Path
    run: str
    """Its identity."""
    created: datetime.datetime
    """With a time zone."""
    seconds: float
    """Wall time that it took."""
    machine: int
    """Number of its hardware."""
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


def load_history(directories: Iterable[Path], now: datetime.datetime) -> History:
    """Read run directories, and folders of them one level deep, as one history. `now` has a time zone.

    The figures are those of cases.csv, which is read in a hundredth of the time of the raw files; where it is not that
    of the run as run.json has it, it is passed over, and the raw files are read. A directory that cannot be read costs
    itself alone. Copies of a run count once; runs that began after `now`, or at no time that can be read, are left out.
    """
    notes: list[str] = []
    unread: list[str] = []
    machines = _Machines()
    loaded: dict[str, _LoadedRun] = {}
    copies, future = [], []
    for directory in _run_directories(directories, notes, unread):
        try:
            run = _load(directory, machines, notes, unread)
        except GnetError as error:
            unread.append(str(error))
            continue
        if run is None:
            continue
        if first := loaded.get(run.about.run):
            copies.append(f"{directory} of {first.about.directory}")
        elif run.about.created > now + CLOCK_GRACE:
            future.append(f"{directory} ({run.about.created})")
        else:
            loaded[run.about.run] = run
    if copies:
        notes.append(f"Copies of one run count once: {_few(copies)}.")
    if future:
        notes.append(f"Runs from the future are left out: {_few(future)}.")
    in_order = sorted(loaded.values(), key=lambda run: run.about.created)
    notes += _overlaps([run.about for run in in_order])
    points: dict[SeriesKey, list[Point]] = collections.defaultdict(list)
    for run in in_order:
        for key, point in run.points:
            points[key].append(point)
    return History(
        runs=[run.about for run in in_order],
        series=[Series(key=key, points=of_series) for key, of_series in points.items()],
        notes=notes,
        unread=unread,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _LoadedRun:
    about: RunInHistory
    points: list[tuple[SeriesKey, Point]]


class _Machines:
    """Numbers environments by their hardware."""

    def __init__(self) -> None:
        self._first: list[Environment] = []

    def number_of(self, environment: Environment) -> int:
        for number, first in enumerate(self._first, start=1):
            if identity.same_hardware(first, environment):
                return number
        self._first.append(environment)
        return len(self._first)

    def setup(self, environment: Environment, device: str, framework: Framework) -> Setup:
        """The setup of a case on that device. Its words for the machine are those of the first of that hardware."""
        number = self.number_of(environment)
        first = self._first[number - 1]
        return Setup(
            machine=number,
            label=overview.label(first, device),
            driver=identity.driver(first),
            framework=environment.version(framework),
            variables=identity.tuning(environment),
        )


def _run_directories(directories: Iterable[Path], notes: list[str], unread: list[str]) -> Iterator[Path]:
    """The directories that have a run.json: those given, and where one of them has none, those in it. Each once."""
    seen = set()
    for given in directories:
        if os.path.lexists(given / "run.json"):
            found = [given]
        else:
            try:
                folders = sorted(path for path in given.iterdir() if path.is_dir())
            except OSError as error:
                unread.append(f"{given}: it cannot be read ({error.strerror or error}); name a run directory")
                continue
            found = [folder for folder in folders if os.path.lexists(folder / "run.json")]
            without = sorted(set(folders) - set(found))
            if not found:
                unread.append(f"{given}: it is neither a run directory of gnet bench nor a folder of them")
            elif without:
                notes.append(
                    f"Folders without a run in them are passed over: {_few([str(folder) for folder in without])}."
                )
        for directory in found:
            real = os.path.realpath(directory)
            if real not in seen:
                seen.add(real)
                yield directory


def _load(directory: Path, machines: _Machines, notes: list[str], unread: list[str]) -> _LoadedRun | None:
    """A run with a point a row; None with a note for what is no run, or has no place in time. Raises GnetError."""
    try:
        document = records.read_run_document(directory)
    except GnetError:
        plain, _digest = json_documents.read_json(directory / "run.json", directory)
        if plain.get("kind") != "profile":
            raise
        notes.append(f"{directory}: it holds a profile and no run, so it is passed over.")
        return None
    created = _created(directory, document, notes)
    if created is None:
        return None
    figures = _figures_of_table(directory, document)
    if figures is None:
        run = records.load_run(directory)
        figures = {row.case: _figures_of_row(row) for row in run.rows}
        if run.unread:
            more = f" (and {len(run.unread) - 1} more)" if len(run.unread) > 1 else ""
            unread.append(f"{run.unread[0]}{more}")
    about = RunInHistory(
        directory=directory,
        run=document.run,
        created=created,
        seconds=min(max(0.0, document.time_spent.total), MAX_RUN_SECONDS),
        machine=machines.number_of(document.environment),
        cases=frozenset(figures),
    )
    return _LoadedRun(about=about, points=list(_points(about, document, figures, machines)))


def _created(directory: Path, document: RunDocument, notes: list[str]) -> datetime.datetime | None:
    """When the run began, with a time zone; None with a note where that cannot be read."""
    try:
        created = datetime.datetime.fromisoformat(document.created)
    except ValueError:
        notes.append(f"{directory}: it began at {document.created!r:.60}, which is no time, so it is left out.")
        return None
    if created.tzinfo is None:
        notes.append(f"{directory}: the time of its start, {document.created}, has no zone; it is taken as UTC.")
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
        key = SeriesKey(case=case.case, config=config, source=case.source, setup=setup)
        yield key, Point(run=about, commit=commit, **dataclasses.asdict(figures[case.case]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Figures:
    """The part of a row that becomes a point."""

    status: str
    processes: int = 0
    images_per_second: float | None = None
    low: float | None = None
    high: float | None = None


def _figures_of_row(row: records.Row) -> _Figures:
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
        rows = [_row_of_line(line) for line in csv.DictReader(io.StringIO(text), strict=True)]
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


def _row_of_line(line: dict[str, str]) -> records.Row:
    """A line of cases.csv as far as a history needs it. Raises KeyError, TypeError or ValueError where it is none."""
    text = {name: csv_text.restored(cell) for name, cell in line.items()}
    return records.Row(
        case=text["case"],
        suite=text["suite"],
        execution=text["execution"],
        precision=text["precision"],
        batch_size=int(text["batch_size"]),
        image_size=int(text["image_size"]),
        data=text["data"],
        device=text["device"],
        status=text["status"],
        replicates=int(text["replicates"]),
        finite=_TRUTHS[text["finite"]],
        equal_work=_TRUTHS[text["equal_work"]] if text["equal_work"] else None,
        run=text["run"],
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
