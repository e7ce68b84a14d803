"""Histories made from seeds: series of runs with their noise, how often change points are right in them, and stored
runs.

`python -m tests.histories` prints the rates as a Markdown table.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gnet_core.config import StepConfig
from gnet_core.report import run as report
from gnet_core.results import records
from gnet_core.results.history import History, Point, RunInHistory, Series, SeriesKey, Setup
from gnet_core.stats.changepoints import ChangePoint, segmented
from gnet_core.stats.ratio import Array
from tests.conftest import RunDirectory
from tests.stored import processes

FIRST_DAY = datetime.datetime(2026, 1, 1, 6, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunNoise:
    """Standard deviations in logarithms, so about fractions."""

    between: float = 0.01
    """Scatter of runs of one code."""
    tail: Literal["normal", "student", "mixture"] = "normal"
    """Its distribution. student: 3 degrees of freedom; mixture: one run in ten scatters four times as much. Both are
    scaled to the same standard deviation."""
    outlier: float = 1.0
    """Factor by which one run of the series is slower."""
    memory: float = 0.0
    """Correlation of one run with the next: AR(1)."""
    within: float = 0.005
    """Scatter of the processes of a run, of which its interval tells."""
    processes: int = 5


USUAL = RunNoise()
DISTURBED = {
    "Student's t, 3 degrees": RunNoise(tail="student"),
    "one run in ten scatters ×4": RunNoise(tail="mixture"),
    "one run is 5 times as slow": RunNoise(outlier=5),
    "wide intervals of few processes": RunNoise(between=0.005, within=0.02, processes=3),
    "one process a run": RunNoise(processes=1),
}


def log_speeds(
    noise: RunNoise, runs: int, rng: np.random.Generator, step: float = 0.0, place: int = 0
) -> tuple[list[float], list[float | None]]:
    """The speeds of a series, faster by the fraction `step` from run number `place` on, and their standard errors."""
    logs = noise.between * _scatter(noise, runs, rng)
    for run in range(1, runs):
        logs[run] = noise.memory * logs[run - 1] + np.sqrt(1 - noise.memory**2) * logs[run]
    within = noise.within * rng.standard_normal((runs, noise.processes))
    logs += within.mean(axis=1)
    logs[place:] += np.log1p(step)
    logs[rng.integers(runs)] -= np.log(noise.outlier)
    if noise.processes == 1:
        return np.exp(logs).tolist(), [None] * runs
    return np.exp(logs).tolist(), (within.std(axis=1, ddof=1) / np.sqrt(noise.processes)).tolist()


def changes(noise: RunNoise, runs: int, series: int, seed: int) -> Iterator[tuple[ChangePoint, ...]]:
    """What is found in so many unchanged series."""
    rng = np.random.default_rng(seed)
    for _ in range(series):
        yield segmented(*log_speeds(noise, runs, rng)).changes


def false_changes(noise: RunNoise, runs: int, series: int, seed: int = 0) -> int:
    return sum(map(len, changes(noise, runs, series, seed)))


def found(noise: RunNoise, runs: int, step: float, series: int, seed: int = 0, beside: int = 10) -> float:
    """The share of series in which a change of that direction is found within one run of its place, which has at least
    `beside` runs at each side.
    """
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(series):
        place = int(rng.integers(beside, runs - beside + 1))
        these = segmented(*log_speeds(noise, runs, rng, step, place)).changes
        hits += any(abs(one.index - place) <= 1 and (one.ratio > 1) == (step > 0) for one in these)
    return hits / series


def _scatter(noise: RunNoise, runs: int, rng: np.random.Generator) -> Array:
    """Of standard deviation 1."""
    if noise.tail == "student":
        return np.asarray(rng.standard_t(3, runs) / np.sqrt(3))
    normal = rng.standard_normal(runs)
    if noise.tail == "mixture":
        return np.asarray(normal * np.where(rng.random(runs) < 0.1, 4, 1) / np.sqrt(0.9 + 0.1 * 16))
    return normal


def level(speed: float, runs: int, scatter: float = 0.005) -> list[float]:
    """Speeds of runs of one level, whose noise is alike each time."""
    noise = np.random.default_rng(runs).standard_normal(runs)
    return list(map(float, speed * np.exp(scatter * (noise - noise.mean()))))


def history_of(
    speeds: Mapping[str, Sequence[float | None]],
    *,
    runs: int = 0,
    days_apart: float = 1,
    gap: str = "failed",
    skip_gaps: bool = False,
    framework: str = "TensorFlow 2.21.0",
    machine: int = 1,
    hours_later: float = 0,
    request: str = "nightly",
) -> History:
    """A history of one machine without files, by case the speed in each run; None is a row of the status `gap`, or no
    row where gaps are skipped.
    """
    number = runs or max(map(len, speeds.values()))
    rows = [
        frozenset(case for case, of_case in speeds.items() if not (skip_gaps and of_case[run] is None))
        for run in range(number)
    ]
    about = [
        RunInHistory(
            directory=Path(f"runs/{run}"),
            run=f"run {run}",
            created=FIRST_DAY + datetime.timedelta(days=run * days_apart, hours=hours_later),
            seconds=60,
            machine=machine,
            request=request,
            software=framework,
            cases=rows[run],
        )
        for run in range(number)
    ]
    label = "a machine" if machine == 1 else f"machine {machine}"
    setup = Setup(machine=machine, label=label, driver="", framework=framework, variables=())
    series = []
    for case, of_case in speeds.items():
        key = SeriesKey(case=case, config=StepConfig(), source="", setup=setup, data_fingerprint="")
        points = [
            Point(
                run=run,
                commit=f"{place:02}abcdef0123456789",
                status=gap if speed is None else "ok",
                processes=0 if speed is None else 3,
                images_per_second=speed,
                low=None if speed is None else 0.99 * speed,
                high=None if speed is None else 1.01 * speed,
            )
            for place, (run, speed) in enumerate(zip(about, of_case, strict=True))
            if case in run.cases
        ]
        series.append(Series(key=key, points=points))
    return History(runs=about, series=series, notes=[], unread=[])


def together(*histories: History) -> History:
    """Several histories as one, their runs in the order of time."""
    runs = [run for history in histories for run in history.runs]
    return History(
        runs=sorted(runs, key=lambda run: run.created),
        series=[series for history in histories for series in history.series],
        notes=[note for history in histories for note in history.notes],
        unread=[line for history in histories for line in history.unread],
    )


def store_run(
    path: Path, environment: dict[str, Any], day: float, seconds: Mapping[StepConfig, float], **document: Any
) -> RunDirectory:
    """A run that began that many days after FIRST_DAY, with its table of cases, whose steps take so many seconds."""
    directory = RunDirectory(path, copy.deepcopy(environment))
    created = FIRST_DAY + datetime.timedelta(days=day)
    directory.document |= {"created": created.isoformat(), "run": f"run of {path.name}"} | document
    directory.write()
    for config, took in seconds.items():
        directory.add(config, *processes(took), run=directory.document["run"])
    store_table(directory)
    return directory


def store_table(directory: RunDirectory) -> None:
    """Write cases.csv as a report would."""
    (directory.path / "cases.csv").write_text(report.to_csv(records.load_run(directory.path)), encoding="utf-8")


def main() -> None:
    print(
        "| what is simulated | runs | false changes in 1,000 runs | −3 % found | −3 % found, ≥ 3 runs beside | −10 % |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for name, noise in {"usual": USUAL, **DISTURBED, "AR(1), 0.5": RunNoise(memory=0.5)}.items():
        for runs in (12, 20, 30, 60, 100, 300, 1000):
            series = max(20, 60_000 // runs)
            rate = 1000 * false_changes(noise, runs, series) / runs / series
            trials = min(1000, series)
            beside = min(10, runs // 2)
            shares = [
                found(noise, runs, -0.03, trials, beside=beside),
                found(noise, runs, -0.03, trials, beside=3),
                found(noise, runs, -0.10, trials, beside=3),
            ]
            cells = [name, str(runs), f"{rate:.2f}", *(f"{share:.1%}" for share in shares)]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
