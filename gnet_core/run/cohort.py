"""A cohort: workers alive together that take turns, so that the machine's drift is common to all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gnet_core.config import StepConfig
from gnet_core.machine import description
from gnet_core.machine.conditions import Conditions, Watch, disturbance, processor_seconds
from gnet_core.machine.gpu_conditions import GpuConditions, span, usual
from gnet_core.plan.schedule import Job, orders
from gnet_core.plan.suites import Plan, PlannedCase
from gnet_core.run.account import Account
from gnet_core.run.endings import WorkerCrowded, WorkerLost
from gnet_core.run.worker import RunSettings, Worker

LAST_CHANCE_SECONDS = 60.0
"""Time in which a worker may write its samples down when the run is interrupted."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the seconds' worth of expected work (see `expected_seconds`) just finished."""
Look = Callable[[Worker], None]
"""Called with who holds the baton again and again while it works, and as its turn ends."""

MIN_WAIT_SECONDS = 0.5
"""Shorter waits cannot resolve a CPU share: processor time is counted in ticks of 10 ms."""


def start_seconds(config: StepConfig, plan: Plan) -> float:
    """A guess at a worker's time until it is ready, only to weigh workers in a progress bar. From a 2-core CPU."""
    first = 40.0 if config.framework == "jax" else {"eager": 5.0, "graph": 7.0, "xla": 19.0}[config.execution]
    return first + (plan.warmup_steps + 1) * _step_seconds(config)


def turn_seconds(config: StepConfig, plan: Plan) -> float:
    """A guess at a turn; a short step is also discarded before its block and timed by itself after it."""
    step = _step_seconds(config)
    return step if step > plan.block_seconds else plan.block_seconds + plan.single_seconds + step


def expected_seconds(config: StepConfig, plan: Plan) -> float:
    """A guess at a worker from its start to its end."""
    return start_seconds(config, plan) + plan.turns * turn_seconds(config, plan)


def _step_seconds(config: StepConfig) -> float:
    if config.device != "cpu":
        return 0.0
    by_execution = {"eager": 0.06, "graph": 0.025, "xla": 0.06}
    an_image = {"torch": 0.026, "jax": 0.09}.get(config.framework, by_execution[config.execution])
    if config.part == "input":
        an_image = 0.003
    return an_image * config.batch_size * (config.image_size / 224) ** 2


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """The ends of a cohort's workers, and the turns that they had."""

    finished: set[Job] = dataclasses.field(default_factory=set)
    lost: dict[Job, WorkerLost] = dataclasses.field(default_factory=dict)
    crowded: list[Job] = dataclasses.field(default_factory=list)
    """Those for which there was no memory beside the others."""
    order: list[list[int]] = dataclasses.field(default_factory=list)
    turns: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Rows of turns.csv: how the machine was during each turn."""
    interrupted: bool = False


class Cohort:
    """Runs its jobs: starts their workers one at a time, hands the baton round, ends them one at a time."""

    def __init__(
        self,
        jobs: list[Job],
        number: int,
        settings: RunSettings,
        progress: Progress,
        look: Look = lambda _: None,
        *,
        account: Account | None = None,
        deadline: float = math.inf,
        step_seconds: Mapping[PlannedCase, float] = MappingProxyType({}),
    ) -> None:
        """No worker is started and no turn begun after `deadline`, a time of the monotonic clock; the turns before it
        count. `step_seconds` are of cases of which an earlier process has measured how long they take to start: where
        all are, they start beside each other, as nothing is timed meanwhile.
        """
        self._number = number
        self._settings = settings
        self._progress = progress
        self._look = look
        self._account = account or Account()
        self._deadline = deadline
        together = all(job.case in step_seconds for job in jobs)
        self._starts_at_once = description.USABLE_THREADS if together else 1
        self._workers = [
            Worker(job, settings, self._watch, step_seconds[job.case] if together else None) for job in jobs
        ]
        self._alive: list[Worker] = []
        self._starting: list[Worker] = []
        """Those that are launched and not ready, in that order."""
        self._beside_others: set[Worker] = set()
        """Those that were ever alive together with another: what there was for them then may bind them for good."""
        self._resident_bytes: dict[Worker, int] = {}
        self._waiting_since: dict[Worker, tuple[float, float]] = {}
        self._turns_left = dict.fromkeys(jobs, settings.plan.turns)
        self._last: Worker | None = None
        self._taken: list[tuple[dict[str, Any], Conditions]] = []
        """Each turn with the machine's conditions during it."""
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """No process is left behind. Interrupted, it keeps what the workers have timed so far and says so."""
        device = self._workers[0].job.case.config.device
        try:
            with Watch(device) as watch:
                try:
                    self._start()
                    self._hand_out_turns(watch)
                    self._finish()
                except KeyboardInterrupt:
                    self.outcome.interrupted = True
                    with contextlib.suppress(KeyboardInterrupt):  # once more: what has ended by then is kept
                        self._finish()
        finally:
            self._stop_all()
        self._account.begin("waiting")
        self.outcome.turns = self._flagged_turns()
        return self.outcome

    def _stop_all(self) -> None:
        try:
            for worker in self._workers:
                worker.stop()
        except KeyboardInterrupt:  # none may be left running, so the rest comes first
            for worker in self._workers:
                worker.stop()
            raise

    def _start(self) -> None:
        """One at a time, unless earlier processes have measured how long the cases take to trace and to compile."""
        planned = deque(self._workers)
        if self._starts_at_once > 1:  # the longest first, or it would start alone at the end
            plan = self._settings.plan
            planned = deque(sorted(planned, key=lambda worker: -start_seconds(worker.job.case.config, plan)))
        while planned or self._starting:
            while planned and len(self._starting) < self._starts_at_once:
                worker = planned.popleft()
                if time.monotonic() < self._deadline:
                    self._launch(worker)
            if self._starting:
                self._await_ready(self._starting[0])
                self._starting.pop(0)

    def _launch(self, worker: Worker) -> None:
        self._account.begin("starting")
        self._alive.append(worker)
        if len(self._alive) > 1:
            self._beside_others.update(self._alive)
        self._starting.append(worker)
        try:
            worker.launch()
        except WorkerLost as lost:
            self._starting.remove(worker)
            self._lose(worker, lost, start_seconds(worker.job.case.config, self._settings.plan))

    def _await_ready(self, worker: Worker) -> None:
        config, name = worker.job.case.config, worker.job.case.name
        weight = start_seconds(config, self._settings.plan)

        def begin(phase: str) -> None:
            self._account.begin("warming_up" if phase == "warmup" else "starting")
            self._progress(f"{name}: {phase}", 0.0)

        try:
            worker.await_ready(begin)
        except (WorkerLost, WorkerCrowded) as lost:
            self._lose(worker, lost, weight)
        else:
            self._begin_waiting(worker)
            self._progress(f"{name}: ready", weight)
        self._account.begin("waiting")

    def _hand_out_turns(self, watch: Watch) -> None:
        rounds = orders(len(self._workers), self._settings.plan.turns, f"{self._settings.seed}/{self._number}")
        for number, order in enumerate(rounds):
            taken: list[int] = []
            self.outcome.order.append(taken)
            for index in order:
                if time.monotonic() >= self._deadline:
                    return
                if self._workers[index] in self._alive:
                    taken.append(index)
                    self._hand_over(self._workers[index], number, len(taken), watch)

    def _hand_over(self, worker: Worker, number: int, position: int, watch: Watch) -> None:
        job, plan = worker.job, self._settings.plan
        waiting_share = self._waiting_share(worker)
        begun = watch.begin(*worker.main_pids)
        self._account.begin("timing")
        try:
            with watch.sampling():
                message = worker.take_turn(number, after_others=self._last is not worker)
        except (WorkerLost, WorkerCrowded) as lost:
            self._lose(worker, lost, 0.0)
            return
        finally:
            self._account.begin("waiting")
        ours = [pid for other in self._alive for pid in other.main_pids]
        conditions = watch.end(begun, ours, block=span(message.get("block")), work=span(message.get("work")))
        self._turns_left[job] -= 1
        turn = {"run": self._settings.run, "cohort": self._number, "round": number + 1, "position": position}
        turn |= {"worker": str(job.worker), "steps": message.get("steps"), "waiting_cpu_share": waiting_share}
        self._taken.append((turn, conditions))
        self._begin_waiting(worker)
        self._progress(f"{job.case.name}: turn {number + 1} of {plan.turns}", turn_seconds(job.case.config, plan))

    def _flagged_turns(self) -> list[dict[str, Any]]:
        """The turns, judged beside each other; without those of a worker that was crowded out and starts again."""
        frequencies = [seen.frequency_hz for _, seen in self._taken if seen.frequency_hz is not None]
        usual_hz = statistics.median(frequencies) if frequencies else None
        by_worker: dict[str, list[GpuConditions]] = {}
        for turn, seen in self._taken:
            by_worker.setdefault(turn["worker"], []).append(seen.gpu)
        usual_gpu = {worker: usual(turns) for worker, turns in by_worker.items()}
        started_again = {str(job.worker) for job in self.outcome.crowded}
        return [
            {**turn, **seen.to_dict(), "disturbed": disturbance(seen, usual_hz, usual_gpu[turn["worker"]])}
            for turn, seen in self._taken
            if turn["worker"] not in started_again
        ]

    def _finish(self) -> None:
        """Let those that have timed anything look up what else their rows need, and end. Nothing is timed any more, so
        on a CPU they do so together; what one takes of a GPU's memory another might lack.
        """
        self._account.begin("ending")
        given_up = {*self.outcome.lost, *self.outcome.crowded}  # if it was interrupted there
        ending = [
            worker
            for worker in self._alive
            if worker.job not in given_up and self._turns_left[worker.job] < self._settings.plan.turns
        ]
        if all(worker.job.case.config.device == "cpu" for worker in ending):
            for worker in ending:
                worker.end_turns()
        for worker in ending:
            try:
                worker.finish(LAST_CHANCE_SECONDS if self.outcome.interrupted else math.inf)
            except (WorkerLost, WorkerCrowded) as lost:
                self._lose(worker, lost, 0.0)
            else:
                self.outcome.finished.add(worker.job)  # again, if it was interrupted here
                self._alive.remove(worker)

    def _lose(self, worker: Worker, why: WorkerLost | WorkerCrowded, more_seconds: float) -> None:
        crowded = isinstance(why, WorkerCrowded) or (why.short_of_memory and worker in self._beside_others)
        if isinstance(why, WorkerLost) and not crowded:
            self.outcome.lost[worker.job] = why
            worker.stop()
        else:
            self.outcome.crowded.append(worker.job)
            worker.discard()
        self._alive.remove(worker)
        self._resident_bytes.pop(worker, None)
        if not crowded:  # one that is crowded out has all of it before it
            undone = self._turns_left[worker.job] * turn_seconds(worker.job.case.config, self._settings.plan)
            self._progress(worker.job.case.name, more_seconds + undone)

    def _watch(self, worker: Worker) -> None:
        """Raise WorkerLost or WorkerCrowded where this worker has grown beyond what there is for it."""
        self._look(worker)
        # Only who starts or holds the baton grows; reading all of them would take longer with every worker.
        self._resident_bytes |= {starting: starting.resident_bytes() for starting in self._starting}
        self._resident_bytes[worker] = used = worker.resident_bytes()
        allowed = self._settings.memory_bytes
        if used > allowed:
            why = f"took {used / 2**30:.1f} GiB of memory, more than the {allowed / 2**30:.1f} GiB allowed"
            raise WorkerLost("oom", why)
        if sum(self._resident_bytes.values()) > allowed:
            raise WorkerCrowded

    def _begin_waiting(self, worker: Worker) -> None:
        self._last = worker
        if (burned := processor_seconds(*worker.main_pids)) is not None:
            self._waiting_since[worker] = (time.monotonic(), burned)

    def _waiting_share(self, worker: Worker) -> float | None:
        """Share of a processor that it took while it waited (a pool that spins takes much); None if that was short."""
        since = self._waiting_since.get(worker)
        burned = processor_seconds(*worker.main_pids)
        if since is None or burned is None or (waited := time.monotonic() - since[0]) < MIN_WAIT_SECONDS:
            return None
        return (burned - since[1]) / waited
