"""Sessions one after the other, in processes that stand in for real ones: what becomes of each, and going on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gnet_core.plan.suites import Source
from gnet_core.time_to_accuracy import bench, document
from gnet_core.time_to_accuracy.bench import Bench, numbered
from gnet_core.time_to_accuracy.document import SessionEntry, TimeToAccuracy
from tests.conftest import WITHOUT_PLUGINS
from tests.report.test_training_report import record
from tests.report.test_training_report import stored as stored_training
from tests.time_to_accuracy.documents import EPOCHS, STEPS, WAITING, configs, stored, written

ROOT = Path(__file__).parents[2]

CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--gnet-session")
    parser.addoption("--gnet-channel", type=int)
"""

MODULE = """
import json, os, signal, time
from pathlib import Path

from gnet_core.run.protocol import Channel
from gnet_core.time_to_accuracy.task import SessionTask

HERE = Path(__file__).parent


def bench_session(benchmark, request):
    channel = Channel.inherited(request.config.option.gnet_channel)
    task = SessionTask.from_word(request.config.option.gnet_session)
    name = task.directory.name
    with (HERE / "asked.txt").open("a") as file:
        file.write(f"{name} {task.resume} {task.mllog and task.mllog.name}\\n")
    document = json.loads((HERE / "training.json").read_text())
    history, how = document["history"], json.loads((HERE / "how.json").read_text()).get(name, "finish")
    task.directory.mkdir(exist_ok=True)

    def train():
        (task.directory / "train.json").write_text("{}")
        done = 1 if how in ("kill", "hang") and not task.resume else len(history)
        document["history"] = history[:done]
        if done < 3:
            document["reached"] = None
        (task.directory / "training.json").write_text(json.dumps(document))
        for one in history[:done]:
            channel.send(event="epoch", epoch=one["epoch"], accuracy=one["test_accuracy"], seconds=0.01)
        if done == 1 and how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if done == 1 and how == "hang":
            time.sleep(600)

    if how in ("oom", "not-finite", "failed"):
        channel.send(event="failed", kind=how, message=f"it is {how}")
        raise SystemExit(1)
    if how == "vanish":
        return benchmark(lambda: None)
    if how == "exit":
        raise ValueError("a fault of its own")
    benchmark.pedantic(train, rounds=1, iterations=1)
"""


class Told:
    """Progress, as it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, number: int, session: SessionEntry) -> None:
        self.lines.append(f"{number} {session.seed}")

    def epoch(self, epoch: int, accuracy: float) -> None:
        self.lines.append(f"epoch {epoch} {accuracy}")

    def end(self, session: SessionEntry) -> None:
        self.lines.append(session.status)


class Checkout:
    """A checkout whose sessions behave as they are told, and a document of sessions that are to come."""

    def __init__(self, folder: Path, seeds: int) -> None:
        self.benchmarks, self.run = folder / "benchmarks", folder / "run"
        for path in (self.benchmarks, self.run):
            path.mkdir()
        (folder / "gnet_core").symlink_to(ROOT / "gnet_core")
        (folder / "pytest.ini").write_text(
            f"[pytest]\npython_files = bench_*.py\npython_functions = bench*\naddopts = {' '.join(WITHOUT_PLUGINS)}\n"
        )
        (self.benchmarks / "conftest.py").write_text(CONFTEST)
        (self.benchmarks / bench.MODULE).write_text(MODULE)
        training = stored_training(
            epochs=EPOCHS,
            steps_per_epoch=STEPS,
            history=[record(epoch, 0.99 if epoch > 2 else 0.5) for epoch in range(1, EPOCHS + 1)],
            reached={"epoch": 3, "step": 3 * STEPS, "seconds": 7.5, "setup_seconds": 2.0},
        )
        (self.benchmarks / "training.json").write_text(json.dumps(training))
        plain = stored({"float32": [20.0] * seeds})
        for session in plain["sessions"]:
            session.update(WAITING)
        self.source, self.document = Source(checkout=folder), written(self.run, plain)
        self.name = configs("float32")[0].name

    def behave(self, *how: str) -> None:
        """How the session of each seed behaves."""
        (self.benchmarks / "how.json").write_text(
            json.dumps({f"{self.name}-seed{seed}": one for seed, one in enumerate(how)})
        )

    def bench(self, stored: TimeToAccuracy | None = None, **options: Any) -> Bench:
        return Bench(self.run, stored or self.document, self.source, memory_bytes=1, **options)

    @property
    def asked(self) -> list[str]:
        """What each process was asked for."""
        lines = (self.benchmarks / "asked.txt").read_text().splitlines()
        return [line.replace(f"{self.name}-", "") for line in lines]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path, seeds=3)


def statuses(stored: TimeToAccuracy) -> list[tuple[str, str]]:
    return [(session.status, session.note) for session in stored.sessions]


def test_sessions_run_one_after_the_other_and_the_document_has_what_each_came_to(checkout: Checkout) -> None:
    checkout.behave("finish", "not-finite", "finish")
    told = Told()
    checkout.bench(mllog=checkout.run / "result.txt").run(told)
    stored = document.read(checkout.run)
    assert statuses(stored) == [("finished", ""), ("not-finite", "it is not-finite"), ("finished", "")]
    assert checkout.asked == ["seed0 False result_0.txt", "seed1 False result_1.txt", "seed2 False result_2.txt"]
    first = stored.sessions[0]
    assert (first.steps, first.final_accuracy, first.best_accuracy) == (EPOCHS * STEPS, 0.99, 0.99)
    assert first.reached is not None
    assert first.reached.seconds == 7.5
    assert told.lines[:6] == ["0 0", "epoch 1 0.5", "epoch 2 0.5", "epoch 3 0.99", "epoch 4 0.99", "finished"]
    assert told.lines[6:8] == ["1 1", "not-finite"]
    assert not list((checkout.run / "sessions").glob("*seed0.log"))
    assert (checkout.run / "sessions.csv").read_text().count("\n") == 4


@pytest.mark.parametrize(
    ("how", "status", "note"),
    [
        ("oom", "oom", "it is oom"),
        ("failed", "failed", "it is failed"),
        ("kill", "killed", "its process was killed (SIGKILL); the system may have run out of memory"),
        ("exit", "failed", "the worker ended with status 1, saying: ValueError: a fault of its own"),
        ("vanish", "failed", "it left no results"),
    ],
)
def test_a_session_that_breaks_off_is_counted_with_its_reason_and_the_others_go_on(
    how: str, status: str, note: str, tmp_path: Path
) -> None:
    checkout = Checkout(tmp_path, seeds=2)
    checkout.behave(how, "finish")
    checkout.bench().run(Told())
    stored = document.read(checkout.run)
    assert statuses(stored) == [(status, note), ("finished", "")]
    assert stored.complete
    checkout.bench(stored).run(Told())
    assert len(checkout.asked) == 2  # what broke off stays as it was: to try until it works would hide it


def test_a_session_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "MIN_EPOCH_LIMIT_SECONDS", 1.0)
    checkout = Checkout(tmp_path, seeds=1)
    checkout.behave("hang")
    checkout.bench().run(Told())
    assert statuses(document.read(checkout.run)) == [("timeout", "an epoch was not done after 1 s")]


def test_when_the_budget_is_spent_a_session_is_cut_off_and_goes_on_later_from_its_state(tmp_path: Path) -> None:
    class Spent(Told):
        def epoch(self, epoch: int, accuracy: float) -> None:  # noqa: ARG002
            limited._deadline = 0.0  # whatever the machine takes to come this far

    checkout = Checkout(tmp_path, seeds=2)
    checkout.behave("hang", "finish")
    limited = checkout.bench(budget_seconds=1e6)
    limited.run(Spent())
    stored = document.read(checkout.run)
    assert statuses(stored) == [("unfinished", "the budget was spent"), ("waiting", "")]
    assert stored.sessions[0].test_accuracy == [0.5]
    assert not stored.complete
    checkout.bench(stored).run(Told())
    stored = document.read(checkout.run)
    assert statuses(stored) == [("finished", ""), ("finished", "")]
    assert [session.processes for session in stored.sessions] == [2, 1]
    assert [session.was_resumed for session in stored.sessions] == [True, False]
    assert checkout.asked == ["seed0 False None", "seed0 True None", "seed1 False None"]


def test_an_interrupt_keeps_what_was_done(tmp_path: Path) -> None:
    class Interrupted(Told):
        def epoch(self, epoch: int, accuracy: float) -> None:  # noqa: ARG002
            raise KeyboardInterrupt

    checkout = Checkout(tmp_path, seeds=1)
    checkout.behave("hang")
    with pytest.raises(KeyboardInterrupt):
        checkout.bench().run(Interrupted())
    stored = document.read(checkout.run)
    assert statuses(stored) == [("unfinished", "")]
    assert len(stored.sessions[0].test_accuracy) == 1


def test_a_session_that_was_killed_before_it_saved_anything_begins_anew(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, seeds=1)
    checkout.behave("finish")
    session = checkout.document.sessions[0]
    begun = checkout.document.with_session(SessionEntry(case=session.case, seed=0, status="unfinished", processes=1))
    left = checkout.run / session.folder
    left.mkdir(parents=True)
    (left / "split.json").write_text("{")
    checkout.bench(begun).run(Told())
    assert checkout.asked == ["seed0 False None"]
    assert not (left / "split.json").exists()
    assert document.read(checkout.run).sessions[0].processes == 1


def test_logs_are_numbered_as_mlperf_does() -> None:
    assert numbered(Path("a/result.txt"), 3) == Path("a/result_3.txt")
    assert numbered(Path("log"), 0) == Path("log_0")
