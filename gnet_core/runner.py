"""In the parent: finds the cases, starts a worker for each, hands out turns, and survives whatever befalls a worker.

One worker is alive at a time. Everything finished is on disk before the next begins.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import write_whole
from gnet_core.machine import precision_support
from gnet_core.protocol import Channel, ChannelClosed
from gnet_core.sweep import Plan, PlannedCase, Suite

FORMAT_VERSION = 1
"""Of run.json."""

POLL_SECONDS = 0.5
PROBE_LIMIT_SECONDS = 180


class WorkerLost(Exception):  # noqa: N818 - it is what happened to a worker, not an error of ours
    """A worker that did not finish its case: the status its row gets, and why."""

    def __init__(self, status: str, note: str) -> None:
        super().__init__(note)
        self.status = status
        self.note = note


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How to run: everything that a run needs besides its cases."""

    checkout: Path
    directory: Path
    plan: Plan
    replicates: int
    memory_bytes: int
    python: str = sys.executable


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
        environment = json.loads(answer.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise GnetError(
            f"python: {python} could not describe its TensorFlow ({error}); is it installed there?"
        ) from error
    if not isinstance(environment, dict) or not {"machine", "tensorflow"} <= environment.keys():
        raise GnetError(f"python: {python} gave no description of its TensorFlow; does it have the same gnet?")
    return environment


def make_states(
    planned: list[PlannedCase], found: list[FoundSuite], environment: Mapping[str, Any], *, axis_alone: bool
) -> list[CaseState]:
    """A state for each case; a precision that its device cannot do is `unsupported` from the start.

    `axis_alone`: the user asked for these precisions and no others. Where that leaves nothing to measure, it is a
    GnetError instead of rows.
    """
    modules = {item.suite.name: item.module for item in found}
    states = []
    for case in planned:
        state = CaseState(config=case.config, suites=case.suites, module=modules[case.suites[0]])
        support = precision_support(environment, case.config.device)[case.config.precision]
        if not support.supported:
            state.status, state.note = "unsupported", support.reason
        states.append(state)
    if axis_alone and all(state.status == "unsupported" for state in states):
        config, note = states[0].config, states[0].note
        raise GnetError(f"precision: {config.precision!r} cannot be done on {config.device}: {note}; use another")
    return states


def expected_seconds(config: StepConfig, plan: Plan) -> float:
    """A guess at a worker's time, only to weigh cases against each other in a progress bar.

    From a 2-core CPU: seconds until the first step, and seconds an image of 224×224.
    """
    start, an_image = {"eager": (12, 0.25), "graph": (25, 0.08), "xla": (45, 0.11)}[config.execution]
    step = an_image * config.batch_size * (config.image_size / 224) ** 2 if config.device == "cpu" else 0.0
    turn = step if step > plan.block_seconds else 2 * plan.block_seconds
    return start + plan.warmup_steps * step + plan.turns * turn


def run(states: list[CaseState], settings: RunSettings, document: dict[str, Any], progress: Progress) -> bool:
    """Measure every case that is still open; True when nothing interrupted it.

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
        complete = True
    except KeyboardInterrupt:
        for state in states:
            if state.status is None and not state.note:
                state.note = "interrupted before it was measured"
    _write_document(states, settings, document, complete=complete)
    return complete


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
    try:
        Worker(state, stem, settings, lambda what, share: progress(what, share * weight)).run()
        state.raw.append(f"raw/{stem}.json")
        state.status = "ok"
    except WorkerLost as lost:
        if state.raw:  # earlier replicates stand
            state.note = f"replicate {replicate} lost ({lost.status}): {lost.note}"
        else:
            state.status, state.note = lost.status, lost.note
    finally:
        state.seconds += time.monotonic() - start


def _smaller_batch_out_of_memory(state: CaseState, states: list[CaseState]) -> int | None:
    """The batch size at which the same case ran out of memory, if a smaller one did."""
    for other in states:
        same = dataclasses.replace(other.config, batch_size=state.config.batch_size) == state.config
        if same and other.status == "oom" and other.config.batch_size < state.config.batch_size:
            return other.config.batch_size
    return None


class Worker:
    """A pytest process that measures one case, from its start to its raw file."""

    def __init__(self, state: CaseState, stem: str, settings: RunSettings, progress: Progress) -> None:
        self._state = state
        self._settings = settings
        self._progress = progress
        self._final = settings.directory / "raw" / f"{stem}.json"
        self._partial = self._final.with_suffix(".partial")
        self._log = self._final.with_suffix(".log")
        self._deadline = time.monotonic() + settings.plan.limit_seconds

    def run(self) -> None:
        """Raises WorkerLost, its log then kept beside the raw files; leaves no process behind in any case."""
        ours, theirs = Channel.pair()
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                self.command(theirs.fileno()),
                cwd=self._settings.checkout,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is the runner's to handle
            )
        theirs.close()
        try:
            self._converse(process, ours)
            self._collect()
            self._log.unlink()
        finally:
            _kill(process)
            ours.close()
            self._partial.unlink(missing_ok=True)

    def command(self, descriptor: int) -> list[str]:
        """How this worker is started."""
        return [
            self._settings.python,
            *("-m", "pytest", str(self._state.module), "--quiet", "-p", "no:cacheprovider"),
            *("--rootdir", str(self._settings.checkout), "--benchmark-only", f"--benchmark-json={self._partial}"),
            f"--gnet-case={json.dumps(self._state.config.to_dict())}",
            f"--gnet-plan={json.dumps(dataclasses.asdict(self._settings.plan))}",
            f"--gnet-channel={descriptor}",
        ]

    def _converse(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        """Wait until it is ready, hand it its turns one after the other, and wait for its end."""
        name = self._state.config.name
        starting = 0.5  # of the case's expected time; the rest belongs to its turns
        while (message := self._next(process, channel))["event"] != "ready":
            self._progress(f"{name}: {message.get('name', message['event'])}", 0.0)
        self._progress(f"{name}: timing", starting)
        for turn in range(self._settings.plan.turns):
            try:
                channel.send(turn=turn)
            except ChannelClosed:
                raise self._death(process) from None
            while self._next(process, channel)["event"] != "turn_done":
                pass
            self._progress(f"{name}: timing", (1 - starting) / self._settings.plan.turns)
        self._await_end(process, channel)

    def _next(self, process: subprocess.Popen[bytes], channel: Channel) -> dict[str, Any]:
        """The worker's next message. Raises WorkerLost when it died, failed, took too long or too much memory."""
        while True:
            try:
                message = channel.receive(POLL_SECONDS)
            except ChannelClosed:
                raise self._death(process) from None
            if message is not None:
                if message.get("event") == "failed":
                    raise WorkerLost(message.get("kind", "failed"), message.get("message", "it did not say why"))
                return message
            self._watch(process)

    def _await_end(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        while process.poll() is None:
            try:
                message = channel.receive(POLL_SECONDS)
            except ChannelClosed:
                time.sleep(POLL_SECONDS / 10)
            else:
                if message and message.get("event") == "failed":
                    raise WorkerLost(message.get("kind", "failed"), message.get("message", "it did not say why"))
            self._watch(process)
        if process.returncode != 0:
            raise self._death(process)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        limit = self._settings.plan.limit_seconds
        if time.monotonic() > self._deadline:
            raise WorkerLost("timeout", f"not finished after {limit:g} s")
        used = _resident_bytes(process.pid)
        if used > self._settings.memory_bytes:
            allowed = self._settings.memory_bytes / 2**30
            raise WorkerLost("oom", f"took {used / 2**30:.1f} GiB of memory, more than the {allowed:.1f} GiB allowed")

    def _death(self, process: subprocess.Popen[bytes]) -> WorkerLost:
        """What the exit status and the log say of a worker that ended without having finished."""
        try:
            code = process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return WorkerLost("failed", "the worker closed its channel but went on")
        log = self._log.read_text(errors="replace")
        if "std::bad_alloc" in log:
            return WorkerLost("oom", "the worker ran out of memory (std::bad_alloc)")
        if code == -signal.SIGKILL:
            return WorkerLost("failed", "the worker was killed (SIGKILL); the system may have run out of memory")
        if code < 0:
            return WorkerLost("failed", f"the worker died of {signal.Signals(-code).name}")
        lines = [line for line in log.splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if line.startswith("E ")), lines[-1] if lines else "nothing")
        return WorkerLost("failed", f"the worker ended with status {code}, saying: {said[:300]}")

    def _collect(self) -> None:
        """Give the raw file its name once it is whole."""
        try:
            benchmarks = json.loads(self._partial.read_text())["benchmarks"]
        except (OSError, ValueError, KeyError) as error:
            raise WorkerLost("failed", f"the worker left no raw file that can be read ({error})") from None
        if len(benchmarks) != 1:
            raise WorkerLost("failed", f"the worker left {len(benchmarks)} benchmarks in its raw file instead of one")
        self._partial.rename(self._final)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker and whatever it started, also when it is stopped."""
    with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _resident_bytes(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0  # it ended between two looks


def _write_document(
    states: list[CaseState], settings: RunSettings, document: dict[str, Any], *, complete: bool
) -> None:
    cases = []
    for state in states:
        case = {"case": state.config.name, "config": state.config.to_dict(), "suites": list(state.suites)}
        cases.append(case | {"status": state.status, "note": state.note, "raw": state.raw, "seconds": state.seconds})
    whole = {"format_version": FORMAT_VERSION, **document, "complete": complete, "cases": cases}
    write_whole(settings.directory / "run.json", json.dumps(whole, indent=1))
