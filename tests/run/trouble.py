"""A checkout whose step only sleeps, in which something can be made to happen to one of a case's processes; and runs of
cases with several of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil

from gnet_core.config import StepConfig
from gnet_core.machine.environment import Environment
from gnet_core.plan.suites import Plan, PlannedCase, Source
from gnet_core.run import runner
from gnet_core.run.members import Task
from gnet_core.run.standing import CaseState
from gnet_core.run.worker import RunSettings
from tests.conftest import run_document
from tests.faults import checkout as house

MODULE = '''
"""Something happens to one of the workers: a file has its number, what it is, and whether in its turns."""

import json, os, signal, sys, tempfile, time, types
from pathlib import Path

from gnet_core.frameworks.tf.case import Case

SUITE = None
FILE = Path("trouble.json")
TROUBLE = json.loads(FILE.read_text()) if FILE.exists() else {"worker": 0, "kind": ""}
INDEX = [json.loads(word.partition("=")[2])["index"] for word in sys.argv if word.startswith("--gnet-cluster=")]
KIND = TROUBLE["kind"] if INDEX == [TROUBLE["worker"] - 1] else ""

tempfile.mkdtemp()
if KIND == "never arrives":
    time.sleep(600)
if KIND == "has another version":
    sys.modules["tensorflow"] = types.SimpleNamespace(__version__="1.0")


class Troubled(Case):
    rested = False

    def follow(self):
        wanted = super().follow()
        self.rested = True
        return wanted

    def rest(self):
        super().rest()
        self.rested = True

    def _run(self, steps):
        if self.rested or not TROUBLE["in_turns"]:
            match KIND:
                case "dies":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "is stopped":
                    os.kill(os.getpid(), signal.SIGSTOP)
                case "sleeps":
                    time.sleep(600)
                case "raises":
                    raise ValueError("one of two")
                case "has no memory":
                    raise MemoryError("no more")
                case "leaves":
                    os._exit(0)
        return super()._run(steps)


if KIND:
    sys.modules[Case.__module__].Case = Troubled


def bench_trouble(case, time_train_step):
    time_train_step(case)
'''


def make_checkout(folder: Path) -> Path:
    """See above."""
    house.make_checkout(folder)
    (folder / "benchmarks" / "bench_trouble.py").write_text(MODULE)
    return folder


def cause(checkout: Path, worker: int = 0, kind: str = "", *, in_turns: bool = True) -> None:
    """Let that happen to the worker of that number, in its turns or as it warms up; 0 to none."""
    (checkout / "trouble.json").write_text(json.dumps({"worker": worker, "kind": kind, "in_turns": in_turns}))


def settings_of(checkout: Path, directory: Path, environment: Environment, **changes: Any) -> RunSettings:
    """Of a run whose blocks are short."""
    here = Source(checkout=checkout)
    fields: dict[str, Any] = {
        "directory": directory,
        "plan": Plan(turns=3, block_seconds=0.02, limit_seconds=60.0),
        "replicates": 1,
        "memory_bytes": 2**33,
        "seed": 0,
        "run": "now",
        "with_peaks": False,
        "sources": {"": here},
        "own_source": here,
        "environments": {"": environment},
    }
    return RunSettings(**fields | changes)


def task_of(settings: RunSettings, *, workers: int) -> Task:
    """What a process of a case of so many workers is started to do."""
    config = StepConfig(workers=workers, batch_size=12, image_size=96)
    return Task(module="bench_trouble.py", config=config, plan=settings.plan, run=settings.run)


def measured(settings: RunSettings, workers: Sequence[int]) -> list[dict[str, Any]]:
    """The cases of run.json after a run of cases with so many workers."""
    return measured_configs(settings, [task_of(settings, workers=number).config for number in workers])


def measured_configs(
    settings: RunSettings, configs: Sequence[StepConfig], module: str = "bench_trouble.py"
) -> list[dict[str, Any]]:
    """The cases of run.json after a run of these."""
    planned = [PlannedCase(config=config, suites=("fake",), module=module) for config in configs]
    document = {"run": "now", "created": "now", "preset": "quick", "device": "cpu", "seed": 0, "replicates": 1}
    document |= {"memory_bytes": 1, "suites": [], "options": {}, "complete": False, "cohorts": [], "cases": []}
    environment = msgspec.to_builtins(settings.environments[""])
    document |= {"environment": environment, "environments": {"": environment}}
    runs = runner.Runner([CaseState(case=case) for case in planned], (), settings, run_document(document))
    assert runs.run(lambda *_: None)
    cases: list[dict[str, Any]] = json.loads((settings.directory / "run.json").read_text())["cases"]
    return cases


def left_behind(checkout: Path) -> list[psutil.Process]:
    """Processes that still run code of the checkout."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(checkout) in word for word in process.info["cmdline"] or ())
    ]
