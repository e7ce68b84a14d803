"""The first minutes on a GPU: each step a child process with its share of the time, its results on disk when it ends.

The directory of a check is that of its run of gnet bench, with the list of claims beside it and whatever else the
steps leave in its folder gpu-check/.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from gnet_core.config import Execution, Precision, StepConfig
from gnet_core.files.json_documents import to_plain
from gnet_core.files.whole import GPU_CHECK, PROFILE_FILE, make_own_folder, read_text, write_whole
from gnet_core.gpu_check import claims
from gnet_core.gpu_check.evidence import PROFILED, SAMPLED, Seen, TakenMemory, WorkerReading
from gnet_core.gpu_check.report import CheckReport, Status, Step, write
from gnet_core.machine import gpu_conditions, nvml, overview
from gnet_core.machine.description import available_memory_bytes
from gnet_core.machine.environment import Environment
from gnet_core.plan.request import BenchRequest, PeaksRequest, ProfileRequest, ReportRequest, Request, program_words
from gnet_core.plan.schedule import Job
from gnet_core.plan.suites import Plan, PlannedCase, Source, preset_for
from gnet_core.profile import document
from gnet_core.results import raw_files, records, turns
from gnet_core.results.run_document import Peaks, best_peaks
from gnet_core.run import gpu_memory
from gnet_core.run.worker import RunSettings, Worker, WorkerLost
from gnet_core.system import children

IDLE_SECONDS = 2.0
"""For which a worker is sampled after its turn: by then power that NVML averages over a second has fallen."""

BLOCK_SECONDS = 2.0
"""Of the block through which a worker is sampled: long enough for a clock to settle, and for a power that NVML averages
over a second.
"""

TRACED_STEPS = 3
"""Few enough for a trace of some megabytes."""

_PRESET = "check"
_MAX_SHARE = 0.2
"""Of the whole time, what one worker or one trace may take, since what hangs must end. A graph's worker took 46 s on an
H200, its trace 32 s."""

_XLA_SHARE = 0.35
"""The same of XLA, which had not compiled the step there after 84 s."""

_MIN_SECONDS = 20.0
"""With less than this left nothing is begun: a process with TensorFlow has hardly started by then."""

_ENDING_SHARE, _MAX_ENDING_SECONDS = 0.2, 60.0
"""Of the time of a step that is cut short, what it is given to write down what it has."""

_REPORT_SHARE = 0.05
"""Of the time of a run, what is kept for the report that is written anew with the traces when all is done."""


class StepError(Exception):
    """A step that left nothing, or not all: what its status is then, and why."""

    def __init__(self, status: Status, why: str) -> None:
        super().__init__(why)
        self.status = status


class Check:
    """Takes the steps one after the other until the time is over, and knows what they have left."""

    def __init__(
        self,
        *,
        checkout: Path,
        environment: Environment,
        device: str,
        directory: Path,
        minutes: int,
        deadline: float,
        created: str,
        peers: Sequence[str] = (),
        progress: Callable[[str], None] = lambda _told: None,
    ) -> None:
        """`environment` is what `gnet info --json` tells, `deadline` a time of the monotonic clock, and `peers` are the
        interpreters of PyTorch and JAX, as --python takes them.
        """
        preset = preset_for(_PRESET, device)
        self._config = StepConfig(
            precision="mixed_bfloat16", batch_size=preset.batch_size, image_size=preset.image_size, device=device
        )
        self._source = Source(checkout=checkout)
        self._environment = environment
        self._directory = directory.resolve()
        self._own = self._directory / GPU_CHECK
        self._minutes = minutes
        self._deadline = deadline
        self._created = created
        self._peers = peers
        self._progress = progress
        self._run = uuid.uuid4().hex
        self._steps: list[Step] = []
        self._workers: dict[Execution, WorkerReading] = {}
        self._traces: dict[str, document.Profile] = {}
        self._peak: float | None = None
        self._runs: dict[str, records.Run] = {}
        self._complete = False

    def run(self) -> bool:
        """Take all steps that there is time for; True when nothing interrupted it.

        The list of claims is written anew before and after each. Raises OSError where it cannot be.
        """
        whole = 60.0 * self._minutes
        write_whole(self._own / "info.json", json.dumps(to_plain(overview.info(self._environment)), indent=1))
        try:
            for name, most_share, step in self._planned():
                self._take(name, most_share * whole, step)
            self._complete = True
        except KeyboardInterrupt:
            pass
        if "bench" in self._runs:
            self._join_traces()
        self._write()
        return self._complete

    def _planned(self) -> Iterator[tuple[str, float, Callable[[float], None]]]:
        """What is done, with the most of the whole time that it may take, and the rarest last.

        Of ten minutes the three precisions take six, of three processes each that are ready after 36 s on an H200. XLA
        then has what is left.
        """
        workers = [(f"worker {each}", _share_of(each), partial(self._sample_worker, each)) for each in SAMPLED]
        traces = [(f"profile {each}", _share_of(each), partial(self._trace, each)) for each in PROFILED]
        yield workers[0]
        yield traces[0]
        yield "bench", 1.0, self._bench
        yield from reversed(workers[1:])  # XLA before eager execution
        yield "peak", _MAX_SHARE, self._measure_peak
        yield from traces[1:]
        yield "bench execution", 1.0, self._measure_executions
        yield "frameworks", 1.0, self._measure_frameworks

    def report(self) -> CheckReport:
        """The list as it stands."""
        run = self._runs.get("bench")
        why_not = {step.name: f"{step.status}: {step.why}" for step in self._steps if step.why}
        seen = Seen(
            device=self._config.device,
            environment=self._environment,
            workers=self._workers,
            traces=self._traces,
            peak_flop_per_second=self._peak,
            run=run,
            executions=self._runs.get("bench execution"),
            turns=turns.read_turns(run.directory, run.identity) if run else pd.DataFrame(),
            frameworks=self._runs.get("frameworks"),
            why_not=why_not,
        )
        return CheckReport(
            created=self._created,
            device=self._config.device,
            machine=overview.label(self._environment, self._config.device),
            minutes=self._minutes,
            complete=self._complete,
            steps=tuple(self._steps),
            claims=claims.judge(seen),
        )

    def _write(self) -> None:
        write(self.report(), self._directory)

    def _take(self, name: str, most_seconds: float, step: Callable[[float], None]) -> None:
        """Give a step its seconds, and note what became of it. What goes wrong in it is a line, and the next begins."""
        start = time.monotonic()
        left = self._deadline - start
        self._progress(f"{name}: {max(left, 0.0):.0f} s are left")
        self._steps.append(Step(name=name, status="running", seconds=0.0, why="it has not ended"))
        self._write()
        status: Status = "done"
        why = ""
        try:
            if left < _MIN_SECONDS:
                raise StepError("not begun", f"{max(left, 0.0):.0f} s were left")
            step(min(most_seconds, left))
        except KeyboardInterrupt:
            status, why = "cut short", "interrupted"
            raise
        except (StepError, WorkerLost) as error:
            status, why = error.status if isinstance(error, StepError) else "failed", str(error)
        except Exception as error:  # whatever it is: the machine is lent for minutes, and the next step may tell more
            status, why = "failed", f"{type(error).__name__}: {error!s:.300}"
            self._log(f"{name} error").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        finally:
            self._steps[-1] = Step(name=name, status=status, seconds=time.monotonic() - start, why=why)
            self._progress(f"{name}: {status}" + (f", {why}" if why else ""))
            self._write()

    def _sample_worker(self, execution: Execution, limit: float) -> None:
        """One worker alone: what it takes of the GPU's memory, and samples through a turn and idle seconds after it."""
        config = dataclasses.replace(self._config, execution=execution)
        job = Job(case=PlannedCase(config=config, suites=("execution",)), replicate=1)
        make_own_folder(self._own / "raw")
        on_gpu = config.device != "cpu"
        with contextlib.ExitStack() as nvidia:
            meter = nvidia.enter_context(gpu_memory.metered(config.device)) if on_gpu else None
            worker = Worker(job, self._settings(limit), "bench_execution.py", lambda _worker: None)
            try:
                self._start(worker)
                gpu = nvml.find(int(config.device.partition(":")[2])) if on_gpu else None
                sampler = None if gpu is None else gpu_conditions.Sampler(gpu)
                try:
                    said = worker.take_turn(0, after_others=False)
                    time.sleep(IDLE_SECONDS)
                finally:
                    samples = sampler.stop() if sampler else []
                    hangs = sampler is not None and sampler.hangs
                    if hangs:
                        nvidia.pop_all()  # to close it, or to ask it again, would hang the check
                if meter and not hangs:
                    meter.look(worker.pids())
                block, work = gpu_conditions.span(said.get("block")), gpu_conditions.span(said.get("work"))
                taken = None
                if meter:
                    taken = TakenMemory(process_bytes=meter.process_bytes, growth_bytes=meter.growth_bytes)
                told: dict[str, Any] = {"raw": worker.raw, "block": block, "work": work}
                told |= {"taken_memory": taken and dataclasses.asdict(taken)}
                told |= {"samples": [dataclasses.asdict(sample) for sample in samples]}
                write_whole(self._own / f"worker-{execution}.json", json.dumps(told, indent=1))
                worker.finish()
            finally:
                worker.stop()
        process = raw_files.read(self._own / worker.raw, self._own, config.name, config, self._run)
        self._workers[execution] = WorkerReading(process=process, samples=samples, block=block, work=work, taken=taken)

    def _start(self, worker: Worker) -> None:
        """Raises StepError that tells in which phase the worker was lost."""
        phases = ["start"]
        try:
            worker.start(phases.append)
        except WorkerLost as error:
            raise StepError("failed", f"{error}, in the phase {phases[-1]}") from error

    def _settings(self, limit: float) -> RunSettings:
        return RunSettings(
            directory=self._own,
            plan=Plan(turns=1, block_seconds=BLOCK_SECONDS, limit_seconds=limit),
            replicates=1,
            memory_bytes=available_memory_bytes(),
            seed=self._config.seed,
            run=self._run,
            with_peaks=False,
            sources={"": self._source},
            own_source=self._source,
            environments={"": self._environment},
        )

    def _trace(self, name: str, limit: float) -> None:
        """A profile in a directory of its own, which later joins the traces of the run."""
        changes: dict[str, Any] = {"float32": {"precision": "float32"}, "batch 1": {"batch_size": 1}}
        config = dataclasses.replace(self._config, **changes.get(name, {"execution": name}))
        out = self._own / "traces" / config.name
        self._python(f"profile {name}", ProfileRequest.of(config, steps=TRACED_STEPS, out=out), limit)
        self._traces[name] = document.read(json.loads(read_text(out / PROFILE_FILE)))

    def _bench(self, limit: float) -> None:
        self._measure("bench", self._directory, limit, suites=("precision",), worker_memory=self._worker_memory())

    def _measure_executions(self, limit: float) -> None:
        suites = ("implementation", "execution")
        out = self._own / "execution"
        self._measure("bench execution", out, limit, suites=suites, worker_memory=self._worker_memory())

    def _worker_memory(self) -> int | None:
        """What each worker of a run takes of a GPU at most, in bytes, so that none has to be probed; None on a CPU.

        It is what is reserved for twice the peak of one in half the precision, which is about that of float32.
        """
        peaks = [worker.process.info.peak_memory_bytes for worker in self._workers.values() if worker.taken]
        return gpu_memory.reserve(2 * max(peaks)) if peaks else None

    def _join_traces(self) -> None:
        """Make the profiles part of the run, as gnet bench --profile leaves one, and its report tell of them."""
        make_own_folder(self._directory / "traces")
        for profile in sorted((self._own / "traces").glob(f"*/{PROFILE_FILE}")):
            profile.parent.replace(self._directory / "traces" / profile.parent.name)
        with contextlib.suppress(OSError):  # it holds what is left of a trace that failed, or is not there
            (self._own / "traces").rmdir()
        with contextlib.suppress(StepError):  # the run is whole without, and gnet report can be called at any time
            left = max(_MIN_SECONDS, self._deadline - time.monotonic())
            self._python("report", ReportRequest(run_dir=self._directory), left, kept=(0, 3))

    def _measure_frameworks(self, limit: float) -> None:
        packages = self._environment.machine.packages
        if not self._peers and not {"torch", "jax"} & set(packages):
            raise StepError("not begun", "neither PyTorch nor JAX is installed, and --python named none")
        # float32 as well, without whose losses no other precision's may be quoted.
        precisions: tuple[Precision, ...] = ("float32", self._config.precision)
        asked: dict[str, Any] = {"suites": ("frameworks",), "precision": precisions, "python": tuple(self._peers)}
        self._measure("frameworks", self._own / "frameworks", limit, replicates=1, **asked)

    def _measure_peak(self, limit: float) -> None:
        """What the device does at best in the precision of the workers."""
        precision = self._config.precision
        self._python("peak", PeaksRequest(device=self._config.device, precision=(precision,)), limit)
        peaks = msgspec.convert(children.document(read_text(self._log("peak"))), Peaks)
        best = best_peaks([peaks]).get(precision)
        self._peak = None if best is None else best.flop_per_second

    def _measure(self, name: str, out: Path, limit: float, **asked: Any) -> None:
        """A run of gnet bench, which is read however it ended."""
        request = BenchRequest(preset=_PRESET, device=self._config.device, out=out, **asked)
        try:
            self._python(name, request, limit * (1 - _REPORT_SHARE), kept=(0, 3))
        finally:
            if (out / "run.json").exists():
                self._runs[name] = records.load_run(out)

    def _python(self, name: str, request: Request, limit: float, kept: Sequence[int] = (0,)) -> None:
        """Run a command as a child, asked to end when little of its time is left. What it prints goes into
        gpu-check/. Raises StepError with its last words for a status that is not `kept`.
        """
        with self._log(name).open("wb") as log:
            command = [self._source.python, "-m", *program_words(request)]
            status, in_time = _run_child(command, self._source.checkout, log.fileno(), limit)
        if not in_time:
            raise StepError("cut short", f"it had not ended when {limit:.0f} s were nearly over")
        if status not in kept:
            said = children.last_words(read_text(self._log(name)))
            raise StepError("failed", f"{' '.join(request.program)} ended with status {status}, saying: {said:.300}")

    def _log(self, name: str) -> Path:
        return self._own / f"{name.replace(' ', '-')}.log"


def _share_of(name: str) -> float:
    return _XLA_SHARE if name == "xla" else _MAX_SHARE


def _run_child(command: Sequence[str], cwd: Path, log: int, limit: float) -> tuple[int, bool]:
    """Run a program until it ends or is made to: its status, and whether it ended by itself.

    Before its time is over it is asked to end by SIGTERM, upon which gnet keeps what it has; a while later it is
    killed. So it is when this process is interrupted.
    """
    ending = min(_ENDING_SHARE * limit, _MAX_ENDING_SECONDS)
    with children.start(command, cwd=cwd, stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            try:
                return process.wait(limit - ending), True
            except (subprocess.TimeoutExpired, KeyboardInterrupt) as why:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(ending)
                if isinstance(why, KeyboardInterrupt):
                    raise
                return process.poll() or 0, False
        finally:
            children.kill(process)
