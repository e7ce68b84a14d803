"""Ctrl-C at every line that a run executes: whatever it hits, the directory stays true and the run can be gone on with.

The workers are made of nothing but the files that they leave, so that a run takes a moment and every line can be hit.
"""

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from gnet_core.config import StepConfig
from gnet_core.files import whole
from gnet_core.files.whole import write_whole
from gnet_core.plan import schedule
from gnet_core.plan.suites import Plan, PlannedCase, Source, Suite
from gnet_core.results import records, turns
from gnet_core.run import cohort, resuming, runner
from gnet_core.run.endings import WorkerCrowded, WorkerLost
from gnet_core.run.standing import CaseState
from gnet_core.run.worker import RunSettings
from gnet_core.system import claims, interrupts
from tests.conftest import MACHINE, TENSORFLOW, environment_of, raw_document, run_document

INTERRUPTED = {module.__file__ for module in (claims, cohort, whole, runner, schedule, turns)}
ENVIRONMENT = {"machine": MACHINE, "tensorflow": TENSORFLOW}
TURNS, REPLICATES = 3, 2

COVERAGE = sys.gettrace()
"""What traces lines besides, to be put back; None where nothing does."""

CONFIGS = [StepConfig(batch_size=size, execution=execution) for size in (4, 8) for execution in ("graph", "eager")]
SUITE = Suite(name="execution", question="?", cases=lambda _sweep: CONFIGS, varies="execution", base="graph")
LOST = {(4, "eager", 1): WorkerLost("failed", "it died")}
CROWDED = {(8, "eager", 1): 0, (8, "graph", 2): 2}
"""With the turns that each has taken by then."""


class PaperWorker:
    """What the runner sees of a worker, without a process."""

    alive: ClassVar[Counter[str]] = Counter()

    def __init__(self, job: schedule.Job, settings: RunSettings, _watch: Any, _step_seconds: float | None) -> None:
        self.job = job
        self._settings = settings
        self._taken = 0
        self._given_up = False

    @property
    def main_pids(self) -> list[int]:
        return [2**22 + 1]  # no process has it

    def launch(self) -> None:
        PaperWorker.alive[str(self.job.worker)] += 1

    def await_ready(self, progress: Any) -> None:
        progress("build")
        self._may_be_crowded()
        if self._key in LOST:
            raise LOST[self._key]

    def take_turn(self, _number: int, *, after_others: bool) -> dict[str, Any]:  # noqa: ARG002
        self._may_be_crowded()
        self._taken += 1
        return {"event": "turn_done", "steps": 2}

    @property
    def _key(self) -> tuple[int, str, int]:
        config = self.job.case.config
        return config.batch_size, config.execution, self.job.replicate

    def _may_be_crowded(self) -> None:
        seen = self._settings.directory / f"crowded-{self.job.worker}"
        if CROWDED.get(self._key) == self._taken and not seen.exists():
            seen.touch()
            raise WorkerCrowded

    def end_turns(self) -> None:
        assert not self._given_up, "there is nobody to speak to"

    def finish(self, _limit_seconds: float | None = None) -> None:
        assert not self._given_up, "there is nobody to speak to"
        document = raw_document(self.job.case.config, [0.5 + 0.001 * self.job.replicate] * self._taken)
        document["benchmarks"][0]["extra_info"]["run"] = self._settings.run
        document["process"] = f"{self.job.worker} {self._taken}"
        write_whole(self._settings.directory / self.job.worker.raw_file, json.dumps(document))
        self.stop()

    def stop(self) -> None:
        PaperWorker.alive.pop(str(self.job.worker), None)

    def discard(self) -> None:
        self._given_up = True
        self.stop()


@pytest.fixture(autouse=True)
def paper_workers(monkeypatch):
    monkeypatch.setattr(cohort, "Worker", PaperWorker)
    monkeypatch.setattr(runner, "peaks", lambda *_: {"float32": {"flop_per_second": 1.0}})
    monkeypatch.setattr(runner, "profile_case", traced)
    monkeypatch.setattr(interrupts, "_handler", interrupts._Handler())
    PaperWorker.alive.clear()
    before = signal.signal(signal.SIGINT, interrupts._handler)
    yield
    sys.settrace(COVERAGE)
    signal.signal(signal.SIGINT, before)


def traced(config: StepConfig, settings: RunSettings) -> str:
    folder = settings.directory / "traces" / config.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / whole.PROFILE_FILE).write_text("{}")
    return ""


def settings_for(directory: Path) -> RunSettings:
    source = Source(checkout=directory)
    return RunSettings(
        directory=directory,
        plan=Plan(turns=TURNS),
        replicates=REPLICATES,
        memory_bytes=2**33,
        seed=0,
        run="now",
        with_peaks=True,
        sources={"": source},
        own_source=source,
        environments={"": environment_of(ENVIRONMENT)},
    )


def run_once(directory: Path, *, resumed: bool, require_unchanged: Callable[[], None] = lambda: None) -> bool:
    """A run from its claim to its end; True when it says that it is complete."""
    states = [CaseState(case=PlannedCase(config=config, suites=("execution",))) for config in CONFIGS]
    settings = settings_for(directory)
    with claims.claimed(directory):
        standing = None
        document: dict[str, Any] = {"run": "now", "created": "now", "options": {}, "preset": "quick", "device": "cpu"}
        document |= {
            "seed": 0,
            "replicates": REPLICATES,
            "memory_bytes": 2**33,
            "suites": [msgspec.to_builtins(SUITE.describe())],
        }
        document |= {"environment": ENVIRONMENT, "environments": {"": ENVIRONMENT}}
        if resumed:
            previous = records.read_run_document(directory)
            standing = resuming.standing_of(directory, previous, states, REPLICATES)
            document |= {"peaks": msgspec.to_builtins(previous.peaks), "profile_note": previous.profile_note}
        document |= {"complete": False, "cohorts": [], "cases": []}
        return runner.Runner(states, (SUITE,), settings, run_document(document), standing, require_unchanged).run(
            lambda _what, _seconds: None, CONFIGS[0]
        )


def executed_lines(directory: Path) -> list[tuple[str, int, int]]:
    """Each line of the interrupted modules that a whole run executes, with how often."""
    seen: Counter[tuple[str, int]] = Counter()

    def trace(frame, event, _argument):
        if frame.f_code.co_filename not in INTERRUPTED:
            return None
        if event == "line":
            seen[frame.f_code.co_filename, frame.f_lineno] += 1
        return trace

    sys.settrace(trace)
    run_once(directory, resumed=False)
    sys.settrace(COVERAGE)
    return [(file, line, times) for (file, line), times in sorted(seen.items())]


def interrupt_at(file: str, line: int, time: int, *, by_signal: bool) -> None:
    """Make the `time`-th execution of a line an interrupt: a signal, or the exception that a signal would raise."""
    left = time

    def trace(frame, event, _argument):
        nonlocal left
        if frame.f_code.co_filename not in INTERRUPTED:
            return None
        if event == "line" and frame.f_code.co_filename == file and frame.f_lineno == line:
            left -= 1
            if left == 0:
                sys.settrace(COVERAGE)
                if by_signal:
                    signal.raise_signal(signal.SIGINT)
                else:
                    raise KeyboardInterrupt
        return trace

    sys.settrace(trace)


def finished_files(directory: Path) -> dict[str, bytes]:
    """The raw files of the cohorts that run.json calls finished."""
    document = json.loads((directory / "run.json").read_text())
    # A worker that was crowded out stands in two cohorts, of which the last measures it.
    cohort_of = {stem: cohort for cohort in document["cohorts"] for stem in cohort["workers"]}
    names = [raw for case in document["cases"] for raw in case["raw"] if cohort_of[Path(raw).stem]["complete"]]
    return {name: (directory / name).read_bytes() for name in names}


def require_whole(directory: Path) -> None:
    """What a complete run has: every case measured by its processes, and a turn for each of their blocks."""
    run = records.load_run(directory)
    assert run.document.complete
    assert [row.status for row in run.rows] == ["ok"] * len(CONFIGS)
    assert {row.replicates for row in run.rows} <= {REPLICATES, REPLICATES + 1}  # one more beside what was lost
    assert [row.samples for row in run.rows] == [row.replicates * TURNS for row in run.rows]
    stems = {Path(raw).stem for case in run.document.cases for raw in case.raw}
    counted = Counter(turns.read_turns(directory, "now")["worker"])
    assert {stem: counted[stem] for stem in stems} == dict.fromkeys(stems, TURNS)
    assert [path.name for path in (directory / "traces").iterdir()] == [CONFIGS[0].name]


def interrupted_run(directory: Path, file: str, line: int, time: int, *, by_signal: bool) -> None:
    interrupt_at(file, line, time, by_signal=by_signal)
    try:
        run_once(directory, resumed=False)
    except KeyboardInterrupt:
        pass  # where it came before or after the run itself
    finally:
        sys.settrace(COVERAGE)
    assert not PaperWorker.alive
    assert not list(directory.glob(".lock")) or not by_signal
    if not (directory / "run.json").exists():
        return  # nothing was planned yet, so there is nothing to go on with
    records.load_run(directory)
    kept = finished_files(directory)
    assert run_once(directory, resumed=True)
    after = {name: (directory / name).read_bytes() for name in kept}
    assert after == kept
    if not run_is_short(directory):
        require_whole(directory)
        return
    assert run_once(directory, resumed=True)
    require_whole(directory)


def run_is_short(directory: Path) -> bool:
    """Whether the worker that always dies has died in this part of the run, which the next part measures again."""
    return any("lost" in case["note"] for case in json.loads((directory / "run.json").read_text())["cases"])


# An exception between opening a file and keeping it leaves the file to the collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("by_signal", [False, True], ids=["exception", "signal"])
def test_a_run_that_is_interrupted_at_any_line_is_true_and_can_be_gone_on_with(tmp_path, faults, by_signal):
    lines = executed_lines(tmp_path)
    places = [(file, line, time) for file, line, times in lines for time in sorted({1, times})]
    assert len(lines) > 150
    for number, (file, line, time) in enumerate(faults.slice_of(places, 12)):
        directory = tmp_path / f"{number}"
        directory.mkdir()
        try:
            interrupted_run(directory, file, line, time, by_signal=by_signal)
        except BaseException as error:
            error.add_note(f"interrupted at {Path(file).name}:{line}, execution {time}")
            raise
        faults.count("interrupts")


def test_an_interrupt_while_the_data_is_looked_at_loses_nothing_of_the_cohort(tmp_path):
    assert not run_once(tmp_path, resumed=False, require_unchanged=lambda: signal.raise_signal(signal.SIGINT))
    first, *others = json.loads((tmp_path / "run.json").read_text())["cohorts"]
    assert first["complete"]
    assert not any(cohort["complete"] for cohort in others)
    assert finished_files(tmp_path)
