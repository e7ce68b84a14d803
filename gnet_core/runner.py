"""In the parent: finds the cases, runs them cohort by cohort, and keeps run.json true to what is finished."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnet_core.cohort import Cohort, Outcome, Progress
from gnet_core.config import GnetError, StepConfig
from gnet_core.files import RUN_FORMAT_VERSION, write_whole
from gnet_core.frameworks import why_unsupported
from gnet_core.git import commit
from gnet_core.machine import precision_support, require_precision
from gnet_core.schedule import Job, cohorts, estimated_bytes, groups
from gnet_core.sweep import PlannedCase, Source, Suite, comparisons
from gnet_core.turns import read_turns, write_turns
from gnet_core.worker import RunSettings

PROBE_LIMIT_SECONDS = 180
GPU_CONTEXT_BYTES = 2**30
"""What CUDA takes of a GPU for each process, which TensorFlow's own count does not see."""
GPU_MEMORY_SHARE = 0.7
MOST_LOST = 2
"""Processes of a case that may fail or hang before no more of them are started: once may have been an accident."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundSuite:
    """A suite and the benchmark module that declares it."""

    suite: Suite
    module: Path


@dataclasses.dataclass(kw_only=True)
class CaseState:
    """What became of a case so far. `status` stays None while nothing was measured, and `note` then says why."""

    case: PlannedCase
    module: str
    """The file in benchmarks/ that measures it."""
    status: str | None = None
    note: str = ""
    raw: list[str] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)
    """What became of each process that did not finish."""


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


def choose_suites(found: list[FoundSuite], names: tuple[str, ...], preset: str) -> list[FoundSuite]:
    """Those named; when none is, all that the preset has. Raises GnetError for a name that no module declares."""
    known = [item.suite.name for item in found]
    for name in names:
        if name not in known:
            raise GnetError(f"suite: {name!r} is unknown; use one of {', '.join(known)}")
    if names:
        return [item for item in found if item.suite.name in names]
    return [item for item in found if preset in item.suite.presets]


def probe(source: Source) -> dict[str, Any]:
    """The machine and TensorFlow as a process of that source sees them, with its commit. Raises GnetError naming it."""
    python = source.python
    command = [python, "-m", "gnet_core", "info", "--json"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_LIMIT_SECONDS, check=False, cwd=source.checkout
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GnetError(f"python: {python} could not be asked about its TensorFlow ({error})") from error
    try:
        environment = json.loads(answer.stdout)
    except ValueError:
        said = (answer.stderr.strip().splitlines() or ["nothing"])[-1]
        raise GnetError(f"python: {python} could not describe its TensorFlow; it said: {said}") from None
    if not isinstance(environment, dict) or not {"machine", "tensorflow"} <= environment.keys():
        raise GnetError(f"python: {python} gave no description of its TensorFlow; does it have the same gnet?")
    environment["machine"]["commit"] = commit(source.checkout)
    return environment


def make_states(
    planned: Sequence[PlannedCase],
    found: Sequence[FoundSuite],
    environments: Mapping[str, Mapping[str, Any]],
    most_images: float = math.inf,
) -> list[CaseState]:
    """A state for each case. One that cannot be run is `unsupported` from the start: a precision that its device cannot
    do, or a batch of more than `most_images`, the images that there are. `environments` has one for each source. Raises
    GnetError where nothing else is left.
    """
    modules = {item.suite.name: item.module.name for item in found}
    states = []
    for case in planned:
        config = case.config
        # Every module times any case; a case that no suite asked for, as of an A/A comparison, takes the first.
        state = CaseState(case=case, module=modules.get(case.suites[0], found[0].module.name))
        support = precision_support(environments[case.source], config.device)[config.precision]
        if reason := why_unsupported(config, environments[case.source]):
            state.status, state.note = "unsupported", reason
        elif not support.supported:
            state.status, state.note = "unsupported", support.reason
        elif config.batch_size > most_images:
            state.status, state.note = "unsupported", f"the data has only {most_images} images to train on"
        states.append(state)
    if all(state.status == "unsupported" for state in states):
        case, note = states[0].case, states[0].note
        require_precision(case.config.precision, case.config.device, environments[case.source])
        raise GnetError(f"batch_size: {case.config.batch_size} is too large; {note}, so use at most {most_images}")
    return states


class Runner:
    """Measures the cases that are still open. `document` is what run.json says besides cases and cohorts."""

    def __init__(
        self, states: list[CaseState], suites: Sequence[Suite], settings: RunSettings, document: dict[str, Any]
    ) -> None:
        self._states = {state.case: state for state in states}
        self._compared = comparisons([state.case for state in states], suites)
        self._settings = settings
        self._document = document
        self._cohorts: list[dict[str, Any]] = []
        """As run.json has them: the workers' stems, the order of their turns, and whether they are finished."""
        self._turns: list[dict[str, Any]] = []

    def run(self, progress: Progress, profiled: StepConfig | None = None) -> bool:
        """Measure what is open, then trace the case `profiled`; True when nothing interrupted it.

        run.json and turns.csv are written anew after each cohort, so that whatever was finished is on disk.
        """
        (self._settings.directory / "raw").mkdir(exist_ok=True)
        self._document["complete"] = False
        try:
            with self._unless_interrupted():
                if not self._cohorts:
                    self._plan_cohorts(progress)
                self._run_cohorts(progress)
                if profiled is not None and not (self._settings.directory / "traces" / profiled.name).exists():
                    progress(f"{profiled.name}: tracing where its time goes", 0.0)
                    self._document["profile_note"] = profile_case(profiled, self._settings)
                self._document["complete"] = True
        finally:
            self.write()
        return bool(self._document["complete"])

    def resume(self, previous: Mapping[str, Any]) -> None:
        """Take over what a run that was interrupted has finished, as its run.json tells. Raises GnetError."""
        cases = {state.case.name: state for state in self._states.values()}
        recorded = {case["case"]: case for case in previous["cases"]}
        if cases.keys() != recorded.keys():
            other = sorted(cases.keys() ^ recorded.keys())
            raise GnetError(f"resume: the run has other cases than this version would measure, such as {other[0]}")
        for state in cases.values():
            before = recorded[state.case.name]
            if before["config"] != state.case.config.to_dict():
                raise GnetError(f"resume: case {state.case.name} was measured with another configuration; start anew")
        self._cohorts = [dict(cohort) for cohort in previous["cohorts"]]
        # A worker that was crowded out stands in two cohorts, of which the last measures it.
        cohort_of = {stem: cohort for cohort in self._cohorts for stem in cohort["workers"]}
        finished = {f"raw/{stem}.json" for stem, cohort in cohort_of.items() if cohort["complete"]}
        for state in cases.values():
            before = recorded[state.case.name]
            state.raw = [raw for raw in before["raw"] if raw in finished]
            if (before["status"] == "ok" and state.raw) or before["status"] not in ("ok", None):
                state.status, state.note = before["status"], before["note"]
        turns = read_turns(self._settings.directory)
        if not turns.empty:
            complete = {number for number, cohort in enumerate(self._cohorts, start=1) if cohort["complete"]}
            self._turns = turns[turns["cohort"].isin(complete)].to_dict("records")  # type: ignore[assignment]

    def open_jobs(self) -> list[Job]:
        """What there is to measure."""
        if self._cohorts:
            stems = [stem for cohort in self._cohorts if not cohort["complete"] for stem in cohort["workers"]]
            return [self._job_of(stem) for stem in stems]
        replicates = range(1, self._settings.replicates + 1)
        open_cases = [state.case for state in self._states.values() if state.status is None]
        return [Job(case=case, replicate=replicate) for replicate in replicates for case in open_cases]

    def write(self) -> None:
        """run.json, whole."""
        cases = []
        for state in self._states.values():
            case = state.case
            told: dict[str, Any] = {"case": case.name, "config": case.config.to_dict(), "source": case.source}
            told |= {"suites": list(case.suites), "status": state.status, "note": state.note, "raw": state.raw}
            cases.append(told)
        whole = {"format_version": RUN_FORMAT_VERSION, **self._document, "cohorts": self._cohorts, "cases": cases}
        write_whole(self._settings.directory / "run.json", json.dumps(whole, indent=1))

    @contextlib.contextmanager
    def _unless_interrupted(self) -> Iterator[None]:
        """Ctrl-C ends what is going on, and is told of every case that it left unmeasured."""
        try:
            yield
        except KeyboardInterrupt:
            for state in self._states.values():
                if state.status is None and not state.note:
                    state.note = "interrupted before it was measured"

    def _plan_cohorts(self, progress: Progress) -> None:
        self.write()
        open_cases = [state.case for state in self._states.values() if state.status is None]
        on_gpu = any(case.config.device != "cpu" for case in open_cases)
        sizes, memory = self._probed_sizes(open_cases, progress) if on_gpu else self._estimated_sizes(open_cases)
        open_cases = [case for case in open_cases if case in sizes]
        compared = [pair for pair in self._compared if set(pair) <= set(open_cases)]
        parts = groups(open_cases, compared)
        bases = {variant: base for base, variant in reversed(compared)}
        for jobs in cohorts(parts, self._settings.replicates, memory, sizes, bases):
            self._cohorts.append({"workers": [job.stem for job in jobs], "order": [], "complete": False})
        self.write()

    def _estimated_sizes(self, cases: list[PlannedCase]) -> tuple[dict[PlannedCase, int], int]:
        return {case: estimated_bytes(case.config) for case in cases}, self._settings.memory_bytes

    def _probed_sizes(self, cases: list[PlannedCase], progress: Progress) -> tuple[dict[PlannedCase, int], int]:
        """What each case takes of a GPU, which no formula knows: each runs alone for a turn, in ascending batches.

        One that is out of memory is a row from then on, and larger batches of the same are not tried.
        """
        (device,) = {case.config.device for case in cases}
        plan = dataclasses.replace(self._settings.plan, turns=1)
        settings = dataclasses.replace(self._settings, plan=plan)
        sizes = {}
        for case in sorted(cases, key=lambda case: case.config.batch_size):
            job = Job(case=case, replicate=0)
            if not self._still_wanted(job):
                continue
            progress(f"{case.name}: what memory does it take?", 0.0)
            outcome = Cohort([job], 0, settings, self._module_of, lambda _what, _seconds: None).run()
            if outcome.interrupted:
                raise KeyboardInterrupt
            if job in outcome.lost:
                self._states[case].status, self._states[case].note = outcome.lost[job].status, outcome.lost[job].note
                continue
            raw = self._settings.directory / outcome.finished[job]
            (measured,) = json.loads(raw.read_text())["benchmarks"]
            sizes[case] = measured["extra_info"]["peak_memory_bytes"] + GPU_CONTEXT_BYTES
            raw.unlink()
        return sizes, _gpu_memory_bytes(self._document["environment"], device)

    def _run_cohorts(self, progress: Progress) -> None:
        """Those that are open, with the device's peaks before and after them."""
        if all(cohort["complete"] for cohort in self._cohorts):
            return
        self._measure_peaks(progress)
        for number, cohort in enumerate(self._cohorts, start=1):  # grows while it is gone through
            if not cohort["complete"]:
                self._run_cohort(number, cohort, progress)
        if len(self._cohorts) > 1:
            self._measure_peaks(progress)

    def _run_cohort(self, number: int, cohort: dict[str, Any], progress: Progress) -> None:
        jobs = [job for stem in cohort["workers"] if self._still_wanted(job := self._job_of(stem))]
        cohort["workers"] = [job.stem for job in jobs]
        if jobs:
            outcome = Cohort(jobs, number, self._settings, self._module_of, progress).run()
            self._take_over(outcome)
            cohort["order"] = outcome.order
            for job in outcome.crowded:
                self._cohorts.append({"workers": [job.stem], "order": [], "complete": False})
            if outcome.interrupted:
                write_turns(self._settings.directory, self._turns)
                raise KeyboardInterrupt
        cohort["complete"] = True
        write_turns(self._settings.directory, self._turns)
        self.write()

    def _take_over(self, outcome: Outcome) -> None:
        for job, raw in outcome.finished.items():
            state = self._states[job.case]
            state.raw.append(raw)
            state.status = "ok"
        for job, lost in outcome.lost.items():
            state = self._states[job.case]
            state.lost.append(f"replicate {job.replicate} lost ({lost.status}): {lost.note}")
            if not state.raw:
                state.status, state.note = lost.status, lost.note
        for state in self._states.values():
            if state.raw and state.lost:  # other replicates stand
                state.note = "; ".join(state.lost)
        self._turns += outcome.turns

    def _job_of(self, stem: str) -> Job:
        name, _, replicate = stem.rpartition(".r")
        case = next((case for case in self._states if case.name == name), None)
        if case is None or not replicate.isdecimal():
            raise GnetError(f"resume: worker {stem!r} belongs to no case of the run")
        return Job(case=case, replicate=int(replicate))

    def _module_of(self, job: Job) -> str:
        return self._states[job.case].module

    def _still_wanted(self, job: Job) -> bool:
        """Not when the case was lost MOST_LOST times, nor when it or a smaller batch of it was out of memory."""
        state = self._states[job.case]
        too_large = self._smaller_batch_out_of_memory(job.case)
        if state.status is None and too_large is not None:
            state.note = f"not run: batch size {too_large} was out of memory already"
        tried_enough = state.status == "oom" or len(state.lost) >= MOST_LOST
        return too_large is None and (state.status in (None, "ok") or not tried_enough)

    def _smaller_batch_out_of_memory(self, case: PlannedCase) -> int | None:
        """The batch size at which the same case ran out of memory, if a smaller one did."""
        for other in self._states.values():
            smaller = other.case.config.batch_size
            same = dataclasses.replace(other.case.config, batch_size=case.config.batch_size) == case.config
            same = same and other.case.source == case.source
            if same and other.status == "oom" and smaller < case.config.batch_size:
                return smaller
        return None

    def _measure_peaks(self, progress: Progress) -> None:
        """Before the cases and after: the best of both is the peak, since the machine may have had a slow minute."""
        configs = [case.config for case, state in self._states.items() if state.status in (None, "ok")]
        precisions = sorted({config.precision for config in configs})
        if not precisions or not self._settings.with_peaks:
            return
        progress("the device's peaks", 0.0)
        passes = self._document.setdefault("peaks", [])
        passes.append(peaks(configs[0].device, precisions, self._settings))


def profile_case(config: StepConfig, settings: RunSettings) -> str:
    """Trace a few steps of a case in a process of its own, into traces/<case>; say why when that failed, else ""."""
    words = ["--execution", config.execution, "--precision", config.precision, "--batch-size", str(config.batch_size)]
    words += ["--image-size", str(config.image_size), "--device", config.device, "--seed", str(config.seed)]
    words += ["--layers", config.layers]
    words += ["--out", str(settings.directory / "traces" / config.name), "--json"]
    _said, why_not = _ask(["gnet_core", "profile", *words], settings)
    return why_not


def peaks(device: str, precisions: Sequence[str], settings: RunSettings) -> dict[str, Any]:
    """By precision, what the device does at best (see gnet_core.peaks), or {"error": why that is not known}."""
    said, why_not = _ask(["gnet_core.peaks", "--device", device, "--precision", ",".join(precisions)], settings)
    if why_not:
        return {"error": why_not}
    try:
        found = json.loads(said)
    except ValueError:
        return {"error": f"it said {said[:80]!r}"}
    return found if isinstance(found, dict) else {"error": f"it said {said[:80]!r}"}


def _ask(words: list[str], settings: RunSettings) -> tuple[str, str]:
    """What `python -m words` prints, and why it failed, else ""."""
    source, limit = settings.own_source, settings.plan.limit_seconds
    command = [source.python, "-m", *words]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=False, cwd=source.checkout
        )
    except subprocess.TimeoutExpired:
        return "", f"{words[0]} had not finished after {limit:g} s"
    if answer.returncode != 0:
        return "", (answer.stderr.strip().splitlines() or [f"it ended with status {answer.returncode}"])[-1]
    return answer.stdout, ""


def _gpu_memory_bytes(environment: Mapping[str, Any], device: str) -> int:
    """What workers may take of a GPU together: most of it, since what TensorFlow asks for can be in pieces."""
    gpus = environment["machine"]["gpus"]
    index = int(device.partition(":")[2])
    known = gpus[index]["memory_bytes"] if index < len(gpus) else None
    return int(GPU_MEMORY_SHARE * known) if known else 0
