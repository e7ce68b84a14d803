"""The first minutes on a GPU: each step a child process with its share of the time, its results on disk when it ends.

The directory is that of the run of gnet bench, with the list of claims and the folder gpu-check/ of all other results.
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
from gnet_core.files.whole import GPU_CHECK, PROFILE_FILE, make_own_folder, read_text, write_whole
from gnet_core.gpu_check import claims
from gnet_core.gpu_check.evidence import PROFILED, SAMPLED, Result, Seen, WorkerReading
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
from gnet_core.run.endings import WorkerLost
from gnet_core.run.worker import RunSettings, Worker
from gnet_core.system import children

IDLE_SECONDS = 2.0
"""Time for which a worker is sampled after its turn: by then power that NVML averages over a second has fallen."""

BLOCK_SECONDS = 2.0
"""Length of the sampled block: enough for a clock to settle, and for power that NVML averages over a second."""

TRACED_STEPS = 3  # few enough for a trace of some megabytes
_PRESET = "check"
_SHARES = {"worker xla": 0.35, "profile xla": 0.35, "bench": 1.0, "bench execution": 1.0, "frameworks": 1.0}
_SHARE = 0.2
"""Share of the whole time that a step may take, since what hangs must end; a run may take all that is left. On an H200
a graph's worker took 46 s and its trace 32 s, and XLA had not compiled the step after 84 s."""

_MIN_SECONDS = 20.0
"""With less than this left nothing is begun: a process with TensorFlow has hardly started by then."""

_ENDING_SHARE, _MAX_ENDING_SECONDS = 0.2, 60.0
"""Share of a step's time, and most seconds, in which a step that is cut short writes down what it has."""

_REPORT_SHARE = 0.05
"""Share of a run's time that is kept for the report, which is written anew with the traces when all is done."""


class StepError(Exception):
    """A step that left nothing, or not all: its status and why."""

    def __init__(self, status: Status, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclasses.dataclass(kw_only=True)
class Check:
    """Takes the steps one after the other until the time is over, and keeps what they leave.

    The directory's path is absolute, the deadline of the monotonic clock, and peers are interpreters as for --python.
    """

    checkout: Path
    environment: Environment
    device: str
    directory: Path
    minutes: int
    deadline: float
    created: str
    peers: Sequence[str] = ()
    progress: Callable[[str], None] = lambda _line: None

    def __post_init__(self) -> None:
        preset = preset_for(_PRESET, self.device)
        self._config = StepConfig(
            precision="mixed_bfloat16", batch_size=preset.batch_size, image_size=preset.image_size, device=self.device
        )
        self._source = Source(checkout=self.checkout)
        self._own = self.directory / GPU_CHECK
        self._run = uuid.uuid4().hex
        self._steps: list[Step] = []
        self._results: dict[str, Result] = {}
        self._complete = False

    def run(self) -> bool:
        """Take all steps that there is time for; True when nothing interrupted it. Raises OSError where the list of
        claims cannot be written, as it is before and after each.
        """
        write_whole(self._own / "info.json", json.dumps(msgspec.to_builtins(overview.info(self.environment)), indent=1))
        try:
            for name, step in self._planned():
                self._take(name, step)
            self._complete = True
        except KeyboardInterrupt:
            pass
        if "bench" in self._results:
            self._join_traces()
        write(self.report(), self.directory)
        return self._complete

    def _planned(self) -> Iterator[tuple[str, Callable[[float], Result | None]]]:
        """The steps, the least important last; each takes the seconds that it has. Of ten minutes the three precisions
        take six, of three processes each that are ready after 36 s on an H200. XLA then has what is left.
        """
        graph, *workers = [(f"worker {name}", partial(self._sample_worker, name)) for name in SAMPLED]
        graph_trace, *traces = [(f"profile {name}", partial(self._trace, name)) for name in PROFILED]
        yield graph
        yield graph_trace
        yield "bench", partial(self._measure, "bench", self.directory, ("precision",))
        yield from reversed(workers)  # XLA before eager execution
        yield "peak", self._measure_peak
        yield from traces
        suites = ("implementation", "execution")
        yield "bench execution", partial(self._measure, "bench execution", self._own / "execution", suites)
        yield "frameworks", self._measure_frameworks

    def report(self) -> CheckReport:
        """The list as it stands."""
        run = self._results.get("bench")
        seen = Seen(
            device=self.device,
            environment=self.environment,
            results=self._results,
            turns=turns.read_turns(run.directory, run.document.run) if isinstance(run, records.Run) else pd.DataFrame(),
            why_not={step.name: f"{step.status}: {step.why}" for step in self._steps if step.why},
        )
        return CheckReport(
            created=self.created,
            device=self.device,
            machine=overview.label(self.environment, self.device),
            minutes=self.minutes,
            complete=self._complete,
            steps=tuple(self._steps),
            claims=claims.judge(seen),
        )

    def _take(self, name: str, step: Callable[[float], Result | None]) -> None:
        """Give a step its seconds, and note what became of it. What goes wrong in it is a line, and the next begins."""
        start = time.monotonic()
        left = max(self.deadline - start, 0.0)
        status: Status = "running"
        why = "it has not ended"
        self.progress(f"{name}: {left:.0f} s are left")
        self._steps.append(Step(name=name, status=status, seconds=0.0, why=why))
        write(self.report(), self.directory)
        try:
            if left < _MIN_SECONDS:
                raise StepError("not begun", f"{left:.0f} s were left")
            result = step(min(60.0 * self.minutes * _SHARES.get(name, _SHARE), left))
            if result is not None:
                self._results[name] = result
            status, why = "done", ""
        except KeyboardInterrupt:
            status, why = "cut short", "interrupted"
            raise
        except (StepError, WorkerLost) as error:
            status, why = error.status if isinstance(error, StepError) else "failed", str(error)
        except Exception as error:  # whatever it is: the machine is lent for minutes, and the next step may work
            status, why = "failed", f"{type(error).__name__}: {error!s:.300}"
            self._log(f"{name} error").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        finally:
            self._steps[-1] = Step(name=name, status=status, seconds=time.monotonic() - start, why=why)
            self.progress(f"{name}: {status}" + (f", {why}" if why else ""))
            write(self.report(), self.directory)

    def _sample_worker(self, execution: Execution, limit: float) -> WorkerReading:
        """One worker alone: the GPU memory that it takes, and samples through a turn and idle seconds after it."""
        config = dataclasses.replace(self._config, execution=execution)
        case = PlannedCase(config=config, suites=("execution",), module="bench_execution.py")
        job = Job(case=case, replicate=1)
        settings = RunSettings(
            directory=self._own,
            plan=Plan(turns=1, block_seconds=BLOCK_SECONDS, limit_seconds=limit),
            replicates=1,
            memory_bytes=available_memory_bytes(),
            seed=config.seed,
            run=self._run,
            with_peaks=False,
            sources={"": self._source},
            own_source=self._source,
            environments={"": self.environment},
        )
        make_own_folder(self._own / "raw")
        on_gpu = config.device != "cpu"
        with gpu_memory.metered(config.device) if on_gpu else contextlib.nullcontext() as meter:
            worker = Worker(job, settings, lambda _worker: None)
            phases = ["start"]
            try:
                worker.launch()
                worker.await_ready(phases.append)
                gpu = nvml.find(int(config.device.partition(":")[2])) if on_gpu else None
                sampler = gpu_conditions.Sampler(gpu) if gpu else None
                try:
                    times = worker.take_turn(0, after_others=False)
                    time.sleep(IDLE_SECONDS)
                finally:
                    samples = sampler.stop() if sampler else []
                    if sampler and sampler.hangs:  # to ask NVML again, or to close it, would hang the check
                        nvml.give_up()
                if meter:
                    meter.look(worker.pids())
                sampled: dict[str, Any] = {
                    "block": gpu_conditions.span(times.get("block")),
                    "work": gpu_conditions.span(times.get("work")),
                    "process_bytes": meter and meter.process_bytes,
                    "growth_bytes": meter and meter.growth_bytes,
                    "samples": samples,
                }
                text = json.dumps({"raw": job.worker.raw_file, **sampled}, indent=1, default=dataclasses.asdict)
                write_whole(self._own / f"worker-{execution}.json", text)
                worker.finish()
            except WorkerLost as error:
                raise StepError("failed", f"{error}, in the phase {phases[-1]}") from error
            finally:
                worker.stop()
        process = raw_files.read(self._own / job.worker.raw_file, self._own, config.name, config, self._run)
        return WorkerReading(process=process, **sampled)

    def _trace(self, name: str, limit: float) -> document.Profile:
        """A profile in a directory of its own, which later joins the traces of the run."""
        changes: dict[str, Any] = {"float32": {"precision": "float32"}, "batch 1": {"batch_size": 1}}
        config = dataclasses.replace(self._config, **changes.get(name, {"execution": name}))
        out = self._own / "traces" / config.name
        self._python(f"profile {name}", ProfileRequest.of(config, steps=TRACED_STEPS, out=out), limit)
        return document.read(json.loads(read_text(out / PROFILE_FILE)))

    def _join_traces(self) -> None:
        """Make the profiles part of the run, as gnet bench --profile leaves one, and its report show them."""
        make_own_folder(self.directory / "traces")
        for profile in sorted((self._own / "traces").glob(f"*/{PROFILE_FILE}")):
            profile.parent.replace(self.directory / "traces" / profile.parent.name)
        with contextlib.suppress(OSError):  # it holds what is left of a trace that failed, or is not there
            (self._own / "traces").rmdir()
        with contextlib.suppress(StepError):  # the run is whole without, and gnet report can be called at any time
            left = max(_MIN_SECONDS, self.deadline - time.monotonic())
            self._python("report", ReportRequest(run_dir=self.directory), left, kept=(0, 3))

    def _measure_peak(self, limit: float) -> float | None:
        """The device's highest FLOP/s in the precision of the workers."""
        precision = self._config.precision
        self._python("peak", PeaksRequest(device=self.device, precision=(precision,)), limit)
        peaks = msgspec.convert(children.document(read_text(self._log("peak"))), Peaks)
        best = best_peaks([peaks]).get(precision)
        return None if best is None else float(best.flop_per_second)

    def _measure_frameworks(self, limit: float) -> None:
        packages = self.environment.machine.packages
        if not self.peers and not {"torch", "jax"} & set(packages):
            raise StepError("not begun", "neither PyTorch nor JAX is installed, and --python named none")
        # float32 as well, without whose losses no other precision's may be quoted.
        precisions: tuple[Precision, ...] = ("float32", self._config.precision)
        how: dict[str, Any] = {"precision": precisions, "python": tuple(self.peers), "replicates": 1}
        # PyTorch's and JAX's allocators take other sizes than TensorFlow's, so theirs are measured.
        self._measure("frameworks", self._own / "frameworks", ("frameworks",), limit, worker_memory=None, **how)

    def _measure(self, name: str, out: Path, suites: tuple[str, ...], limit: float, **how: Any) -> None:
        """A run of gnet bench, which is kept however it ended. On a GPU each worker takes what is reserved for twice
        the peak of one in half the precision, which is about that of float32, so that none has to be probed.
        """
        workers = [result for result in self._results.values() if isinstance(result, WorkerReading)]
        peaks = [worker.process.info.peak_memory_bytes for worker in workers]
        memory = gpu_memory.reserve(2 * max(peaks)) if peaks and self.device != "cpu" else None
        how = {"worker_memory": memory, **how}
        request = BenchRequest(preset=_PRESET, device=self.device, suites=suites, out=out, **how)
        try:
            self._python(name, request, limit * (1 - _REPORT_SHARE), kept=(0, 3))
        finally:
            if (out / "run.json").exists():
                self._results[name] = records.load_run(out)

    def _python(self, name: str, request: Request, limit: float, kept: Sequence[int] = (0,)) -> None:
        """Run a command as a child, asked to end when little of its time is left. What it prints goes into
        gpu-check/. Raises StepError with its last words for a status that is not `kept`.
        """
        with self._log(name).open("wb") as log:
            command = [self._source.python, "-m", *program_words(request)]
            status, in_time = _run_child(command, self.checkout, log.fileno(), limit)
        if not in_time:
            raise StepError("cut short", f"it had not ended when {limit:.0f} s were nearly over")
        if status not in kept:
            words = children.last_words(read_text(self._log(name)))
            raise StepError("failed", f"{' '.join(request.program)} ended with status {status}, saying: {words:.300}")

    def _log(self, name: str) -> Path:
        return self._own / f"{name.replace(' ', '-')}.log"


def _run_child(command: Sequence[str], cwd: Path, log: int, limit: float) -> tuple[int, bool]:
    """Run a program until it ends or is made to: its status, and whether it ended by itself. Before its time is over,
    or when this process is interrupted, SIGTERM makes gnet keep what it has; a while later the program is killed.
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
