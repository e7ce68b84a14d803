"""In the parent: finds the cases, starts a worker for each, hands out turns, and survives whatever befalls a worker.

One worker is alive at a time. Everything finished is on disk before the next begins.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import RUN_FORMAT_VERSION, write_whole
from gnet_core.machine import precision_support, require_precision
from gnet_core.sweep import Plan, PlannedCase, Suite
from gnet_core.worker import RunSettings, Worker, WorkerLost

PROBE_LIMIT_SECONDS = 180


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundSuite:
    """A suite and the benchmark module that declares it."""

    suite: Suite
    module: Path


@dataclasses.dataclass(kw_only=True)
class CaseState:
    """What became of a case so far. `status` stays None while nothing was measured, and `note` then says why."""

    config: StepConfig
    suites: tuple[str, ...]
    module: Path
    status: str | None = None
    note: str = ""
    raw: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


Progress = Callable[[str, float], None]
"""Called with what is being done and the seconds' worth of expected work (see `expected_seconds`) just finished."""


def find_checkout(start: Path) -> Path:
    """The folder at or above `start` whose benchmarks/ a run drives. Raises GnetError outside a checkout."""
    for folder in (start, *start.parents):
        if (folder / "benchmarks" / "conftest.py").is_file() and (folder / "gnet_core").is_dir():
            return folder
    raise GnetError(
        f"checkout: {start} is not in one; gnet bench drives the files in benchmarks/, so run it in a checkout"
    )


def discover(checkout: Path) -> list[FoundSuite]:
    """The suites that benchmarks/bench_*.py declare, by their position. Raises GnetError naming a broken file."""
    found = []
    for module in sorted((checkout / "benchmarks").glob("bench_*.py")):
        try:
            spec = importlib.util.spec_from_file_location(f"gnet_benchmarks.{module.stem}", module)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
            suite = loaded.SUITE
        except Exception as error:
            raise GnetError(f"benchmarks: {module.name} declares no SUITE that can be read: {error}") from error
        found.append(FoundSuite(suite=suite, module=module))
    return sorted(found, key=lambda item: (item.suite.position, item.suite.name))


def choose_suites(found: list[FoundSuite], names: tuple[str, ...]) -> list[FoundSuite]:
    """Those named, or all when none is. Raises GnetError for a name that no module declares."""
    known = [item.suite.name for item in found]
    for name in names:
        if name not in known:
            raise GnetError(f"suite: {name!r} is unknown; use one of {', '.join(known)}")
    return [item for item in found if not names or item.suite.name in names]


def probe(python: str = sys.executable) -> dict[str, Any]:
    """The machine and TensorFlow as another process of that interpreter sees them. Raises GnetError naming it."""
    command = [python, "-m", "gnet_core", "info", "--json"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_LIMIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GnetError(f"python: {python} could not be asked about its TensorFlow ({error})") from error
    try:
        environment = json.loads(answer.stdout)
    except ValueError:
        said = (answer.stderr.strip().splitlines() or ["nothing"])[-1]
        raise GnetError(f"python: {python} could not describe its TensorFlow; it said: {said}") from None
    if not isinstance(environment, dict) or not {"machine", "tensorflow"} <= environment.keys():
        raise GnetError(f"python: {python} gave no description of its TensorFlow; does it have the same gnet?")
    return environment


def make_states(
    planned: list[PlannedCase], found: list[FoundSuite], environment: Mapping[str, Any], most_images: float = math.inf
) -> list[CaseState]:
    """A state for each case. One that cannot be run is `unsupported` from the start: a precision that its device cannot
    do, or a batch of more than `most_images`, the images that there are. Raises GnetError where nothing else is left.
    """
    modules = {item.suite.name: item.module for item in found}
    states = []
    for case in planned:
        state = CaseState(config=case.config, suites=case.suites, module=modules[case.suites[0]])
        support = precision_support(environment, case.config.device)[case.config.precision]
        if not support.supported:
            state.status, state.note = "unsupported", support.reason
        elif case.config.batch_size > most_images:
            state.status, state.note = "unsupported", f"the data has only {most_images} images to train on"
        states.append(state)
    if all(state.status == "unsupported" for state in states):
        config, note = states[0].config, states[0].note
        require_precision(config.precision, config.device, environment)
        raise GnetError(f"batch_size: {config.batch_size} is too large; {note}, so use at most {most_images}")
    return states


def expected_seconds(config: StepConfig, plan: Plan) -> float:
    """A guess at a worker's time, only to weigh cases against each other in a progress bar.

    From a 2-core CPU: seconds until the first step, and seconds an image of 224×224.
    """
    start, an_image = {"eager": (12, 0.25), "graph": (25, 0.08), "xla": (45, 0.11)}[config.execution]
    step = an_image * config.batch_size * (config.image_size / 224) ** 2 if config.device == "cpu" else 0.0
    turn = step if step > plan.block_seconds else 2 * plan.block_seconds
    return start + plan.warmup_steps * step + plan.turns * turn


def run(
    states: list[CaseState],
    settings: RunSettings,
    document: dict[str, Any],
    progress: Progress,
    profiled: StepConfig | None = None,
) -> bool:
    """Measure every case that is still open, then trace the case `profiled`; True when nothing interrupted it.

    `document` is what run.json says besides the cases; it is written anew after every case. Ctrl-C stops the worker of
    the moment, whose case stays unmeasured, and keeps the rest.
    """
    (settings.directory / "raw").mkdir(exist_ok=True)
    document["order"] = []
    complete = False
    try:
        _write_document(states, settings, document, complete=False)
        for replicate in range(1, settings.replicates + 1):
            for state in states:
                _measure_replicate(state, replicate, states, settings, document, progress)
                _write_document(states, settings, document, complete=False)
        if profiled is not None:
            progress(f"{profiled.name}: tracing where its time goes", 0.0)
            document["profile_note"] = profile_case(profiled, settings)
        complete = True
    except KeyboardInterrupt:
        for state in states:
            if state.status is None and not state.note:
                state.note = "interrupted before it was measured"
    _write_document(states, settings, document, complete=complete)
    return complete


def profile_case(config: StepConfig, settings: RunSettings) -> str:
    """Trace a few steps of a case in a process of its own, into traces/<case>; say why when that failed, else ""."""
    words = ["--execution", config.execution, "--precision", config.precision, "--batch-size", str(config.batch_size)]
    words += ["--image-size", str(config.image_size), "--device", config.device, "--seed", str(config.seed)]
    words += ["--out", str(settings.directory / "traces" / config.name), "--json"]
    command = [settings.python, "-m", "gnet_core", "profile", *words]
    limit = settings.plan.limit_seconds
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=False, cwd=settings.checkout
        )
    except subprocess.TimeoutExpired:
        return f"the profiler had not finished after {limit:g} s"
    if answer.returncode != 0:
        return (answer.stderr.strip().splitlines() or [f"it ended with status {answer.returncode}"])[-1]
    return ""


def _measure_replicate(
    state: CaseState,
    replicate: int,
    states: list[CaseState],
    settings: RunSettings,
    document: dict[str, Any],
    progress: Progress,
) -> None:
    weight = expected_seconds(state.config, settings.plan)
    too_large = _smaller_batch_out_of_memory(state, states)
    if state.status is None and too_large is not None:
        state.note = f"not run: batch size {too_large} was out of memory already"
    if state.status not in (None, "ok") or too_large is not None:
        progress(state.config.name, weight)
        return
    stem = f"{state.config.name}.r{replicate}"
    document["order"].append([state.config.name, replicate])
    start = time.monotonic()
    left = weight

    def advance(what: str, share: float) -> None:
        nonlocal left
        left -= share * weight
        progress(what, share * weight)

    try:
        Worker(state.config, state.module, stem, settings, advance).run()
        state.raw.append(f"raw/{stem}.json")
        state.status = "ok"
    except WorkerLost as lost:
        if state.raw:  # earlier replicates stand
            told = f"replicate {replicate} lost ({lost.status}): {lost.note}"
            state.note = f"{state.note}; {told}" if state.note else told
        else:
            state.status, state.note = lost.status, lost.note
    finally:
        state.seconds += time.monotonic() - start
    progress(state.config.name, left)  # a lost worker leaves its remaining turns undone


def _smaller_batch_out_of_memory(state: CaseState, states: list[CaseState]) -> int | None:
    """The batch size at which the same case ran out of memory, if a smaller one did."""
    for other in states:
        same = dataclasses.replace(other.config, batch_size=state.config.batch_size) == state.config
        if same and other.status == "oom" and other.config.batch_size < state.config.batch_size:
            return other.config.batch_size
    return None


def _write_document(
    states: list[CaseState], settings: RunSettings, document: dict[str, Any], *, complete: bool
) -> None:
    cases = []
    for state in states:
        case = {"case": state.config.name, "config": state.config.to_dict(), "suites": list(state.suites)}
        cases.append(case | {"status": state.status, "note": state.note, "raw": state.raw, "seconds": state.seconds})
    whole = {"format_version": RUN_FORMAT_VERSION, **document, "complete": complete, "cases": cases}
    write_whole(settings.directory / "run.json", json.dumps(whole, indent=1))
