"""Processes of a case of two that are killed at random moments: each is a row that names it, and the run goes on."""

import contextlib
import dataclasses
import random
import threading
import time

import psutil
import pytest

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Plan, Source
from gnet_core.run import discovery
from gnet_core.run.worker import Worker
from tests.faults import checkout as house
from tests.run import trouble

SPARE = 3
"""Cases beyond those that are to be killed: a moment may come when its case has just ended."""


@dataclasses.dataclass
class Kills:
    """Kills one process of each case of two but the first, which shows how long they take undisturbed."""

    chance: random.Random
    killed: list[int | None] = dataclasses.field(default_factory=list)
    """Which process of each case after the first; None where the case had ended by the moment that was drawn."""
    seconds: float = 0.0
    began: float = 0.0
    timer: threading.Timer | None = None

    def after_launch(self, worker):
        if self.seconds:
            index = self.chance.randrange(2)
            process = psutil.Process(worker.main_pids[index])
            self.killed.append(None)
            self.timer = threading.Timer(self.chance.uniform(0, self.seconds), self.kill, (process, index))
            self.timer.start()
        self.began = time.monotonic()

    def kill(self, process, index):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                self.killed[-1] = index + 1

    def after_finish(self):
        if self.timer:
            self.timer.cancel()
            self.timer.join()
        if not any(self.killed[-1:]):
            self.seconds = 0.9 * (time.monotonic() - self.began)


def require_rows_of_the_killed(settings, kills, number, monkeypatch):
    launch, finish = Worker.launch, Worker.finish

    def launched(worker):
        launch(worker)
        kills.after_launch(worker)

    def finished(worker, *limit):
        try:
            finish(worker, *limit)
        finally:
            kills.after_finish()

    monkeypatch.setattr(Worker, "launch", launched)
    monkeypatch.setattr(Worker, "finish", finished)
    monkeypatch.setattr("gnet_core.run.runner.estimated_bytes", lambda _config: settings.memory_bytes)  # one at a time
    # They differ in what takes no time.
    classes = range(10, 10 + 1 + number + SPARE)
    configs = [StepConfig(workers=2, batch_size=2, image_size=67, classes=count) for count in classes]
    whole, *rows = trouble.measured_configs(settings, configs, "bench_scaling.py")
    assert whole["status"] == "ok", whole["note"]
    ends = [(row["status"], row["note"].partition(" (SIGKILL)")[0]) for row in rows]
    right = [("failed", f"worker {index} of 2 was killed") if index else ("ok", "") for index in kills.killed]
    assert ends == right
    assert sum(map(bool, kills.killed)) >= number


def test_each_process_that_is_killed_is_a_row_that_names_it(tmp_path, monkeypatch, faults):
    checkout = house.make_checkout(tmp_path / "checkout")
    settings = trouble.settings_of(checkout, tmp_path / "run", discovery.probe(Source(checkout=checkout)))
    settings.directory.mkdir()
    require_rows_of_the_killed(settings, Kills(random.Random(19)), 3, monkeypatch)
    assert not trouble.left_behind(checkout)
    faults.count("killed members")


@pytest.mark.campaign
def test_each_process_of_a_real_step_that_is_killed_is_a_row_that_names_it(tmp_path, monkeypatch, faults):
    checkout = tmp_path / "checkout"
    house.copy_code(checkout)
    environment = discovery.probe(Source(checkout=checkout))
    patient = Plan(turns=3, block_seconds=0.02, limit_seconds=600.0)  # on a busy machine a start takes over a minute
    settings = trouble.settings_of(checkout, tmp_path / "run", environment, plan=patient)
    settings.directory.mkdir()
    require_rows_of_the_killed(settings, Kills(random.Random(20)), 20, monkeypatch)
    assert not trouble.left_behind(checkout)
    faults.count("killed members of a real step")
