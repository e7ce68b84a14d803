"""`gnet gpu-check` to its end and cut short at any moment, in a checkout whose step sleeps and whose GPU is NVML's
stand-in; and what becomes of a step that fails, hangs or finds no time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gnet_core.cli import gpu_check as cli_gpu_check
from gnet_core.files.whole import GPU_CHECK
from gnet_core.gpu_check import check as gpu_check
from gnet_core.gpu_check import report as gpu_check_report
from gnet_core.gpu_check.evidence import PROFILED, SAMPLED, Claim, Finding
from gnet_core.machine import gpu_conditions
from gnet_core.machine import nvml as nvml_library
from gnet_core.results import raw_files, records
from gnet_core.run import discovery
from gnet_core.run.endings import WorkerLost
from tests.conftest import environment_of
from tests.faults import checkout as house

ROOT = Path(__file__).parents[2]

TRACE = '''
"""A trace of no step."""

import dataclasses

from gnet_core.config import StepConfig


@dataclasses.dataclass
class Summary:
    xplane: object

    def to_dict(self, directory):
        fields = {"xplane": str(self.xplane.relative_to(directory)), "overhead_seconds": 0.0, "warnings": []}
        return fields | {"traced_step_seconds": [0.1] * 3, "untraced_step_seconds": [0.1] * 3}


def trace_case(config, log_dir, steps):
    xplane = log_dir / "plugins" / "profile" / "run" / "host.xplane.pb"
    xplane.parent.mkdir(parents=True)
    xplane.write_bytes(b"\\x0a\\x0b\\x12\\x09/host:CPU")  # an XSpace of one plane that is empty
    return Summary(xplane)
'''

PEAKS = """print('{"mixed_bfloat16": {"flop_per_second": 1e15}}')"""

GPU = 'gpus=[SeenGpu(device="gpu:0", name="NVIDIA H100 80GB HBM3", compute_capability=[9, 0])]'


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a GPU, in which a whole check takes half a minute: one worker is sampled, two traces are taken, and the
    run has one process a case of a single suite.
    """
    folder = house.make_checkout(tmp_path_factory.mktemp("check") / "checkout")
    (folder / "gnet_core/frameworks/tf/trace.py").write_text(TRACE)
    (folder / "gnet_core/frameworks/tf/peaks.py").write_text(PEAKS)
    for name, old, new in (
        ("frameworks/tf/device.py", "gpus=[]", GPU),
        ("plan/suites.py", "replicates=3", "replicates=1"),
        ("plan/suites.py", "plan=Plan(block_seconds=1.0)", "plan=Plan()"),
        ("gpu_check/evidence.py", 'SAMPLED: tuple[Execution, ...] = ("graph", "eager", "xla")', 'SAMPLED = ("graph",)'),
        ("gpu_check/evidence.py", 'PROFILED = (*SAMPLED, "float32", "batch 1")', 'PROFILED = (*SAMPLED, "float32")'),
        ("gpu_check/check.py", '("implementation", "execution")', '("implementation",)'),
        ("gpu_check/check.py", "BLOCK_SECONDS = 2.0", "BLOCK_SECONDS = 0.3"),
        ("gpu_check/check.py", "IDLE_SECONDS = 2.0", "IDLE_SECONDS = 0.3"),
    ):
        path = folder / "gnet_core" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    return folder


def listed(directory: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / gpu_check_report.JSON_FILE).read_text())
    return document


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {claim["claim"]: claim["verdict"] for claim in document["claims"]}


@pytest.mark.usefixtures("nvml")
def test_a_check_leaves_a_list_and_a_run_like_any_other(checkout, tmp_path):
    out = tmp_path / "check"
    status, printed, err = house.gnet(checkout, "gpu-check", "--out", str(out), "--json", limit_seconds=400)
    document = listed(out)
    assert json.loads(printed) == document
    assert document["complete"] is True
    assert status == 1, err  # an empty trace holds no kernels
    steps = {step["name"]: step["status"] for step in document["steps"]}
    assert steps.pop("frameworks") == "not begun"
    assert set(steps.values()) == {"done"}, document["steps"]
    verdict_of = verdicts(document)
    assert verdict_of["TensorFlow sees the GPUs that NVML shows, in the same order"] == "confirmed"
    assert verdict_of["Every case of the run fits, beside those that it takes turns with"] == "confirmed"
    assert verdict_of["A trace holds the GPU's kernels, in steps that xprof recognises"] == "wrong"
    # Power that does not fall when the worker idles is the stand-in's.
    assert verdict_of["Power rises with the work and falls within 0.5 s of the last step"] == "wrong"
    run = records.load_run(out)
    assert run.document.device == "gpu:0"
    assert {case.gpu_memory and case.gpu_memory.origin for case in run.document.cases} == {"told"}  # none was probed
    assert len(run.profiles) == 2
    assert "profile: Where does the time" in (out / "report.md").read_text()
    assert sorted(path.name for path in (out / GPU_CHECK / "raw").iterdir()) == [
        "graph-mixed_bfloat16-b64-i224-synthetic-gpu0.r1.json"
    ]
    sampled = json.loads((out / GPU_CHECK / "worker-graph.json").read_text())["samples"]
    assert len(sampled) > 5
    assert {sample["power_watts"] for sample in sampled} == {412.345}
    # The stand-in's energy is of 400 W, and so is that of the samples within a few per cent.
    assert verdict_of["The energy counter agrees with mean power × time within 20%"] == "confirmed"
    text = (out / gpu_check_report.MARKDOWN_FILE).read_text()
    assert "wrong: A trace holds the GPU's kernels, in steps that xprof recognises" in text
    assert not house.orphans(str(out))


def started(checkout: Path, out: Path, step: str) -> subprocess.Popen[str]:
    """A check that has come to the step of that name."""
    check = house.start(checkout, "gpu-check", "--out", str(out))
    end = time.monotonic() + 200
    while time.monotonic() < end and check.poll() is None:
        if (out / gpu_check_report.JSON_FILE).exists() and listed(out)["steps"][-1:] != []:
            last = listed(out)["steps"][-1]
            if (last["name"], last["status"]) == (step, "running"):
                return check
        time.sleep(0.05)
    check.kill()
    pytest.fail(f"it never came to {step}: {check.communicate()}")


@pytest.mark.usefixtures("nvml")
def test_killed_at_any_moment_it_leaves_what_was_finished_and_no_process(checkout, tmp_path):
    out = tmp_path / "check"
    check = started(checkout, out, "profile graph")
    check.kill()
    check.communicate()
    assert not house.orphans(str(out))
    document = listed(out)
    assert document["complete"] is False
    assert [(step["name"], step["status"]) for step in document["steps"]] == [
        ("worker graph", "done"),
        ("profile graph", "running"),
    ]
    kernels = next(claim for claim in document["claims"] if claim["claim"].startswith("A trace holds"))
    assert kernels["findings"][0]["because"] == "running: it has not ended"
    assert (out / GPU_CHECK / "worker-graph.json").exists()
    # What is there is not written over by another check.
    status, _, err = house.gnet(checkout, "gpu-check", "--out", str(out))
    assert (status, "has files in it already" in err) == (2, True)


@pytest.mark.usefixtures("nvml")
def test_interrupted_in_its_run_it_keeps_what_was_measured_and_prints_the_list(checkout, tmp_path):
    out = tmp_path / "check"
    check = started(checkout, out, "bench")
    while not list((out / "raw").glob("*.r1.json")):  # a worker of the run has ended
        assert check.poll() is None
        time.sleep(0.05)
    os.kill(check.pid, signal.SIGINT)
    printed, err = check.communicate(timeout=100)
    assert check.returncode == 130, err
    assert "are confirmed" in printed
    assert "interrupted; what was finished is in" in err
    assert "Traceback" not in err
    assert not house.orphans(str(out))
    assert records.load_run(out).document.complete is False
    bench = listed(out)["steps"][-1]
    assert (bench["name"], bench["status"], bench["why"]) == ("bench", "cut short", "interrupted")
    status, _, err = house.gnet(checkout, "bench", "--resume", str(out))
    assert status == 0, err
    assert records.load_run(out).document.complete is True


# --- in this process


@pytest.fixture
def gnet(gnet, monkeypatch, environment):
    """Calls the command line in this process, where no TensorFlow is asked about itself."""
    monkeypatch.setattr(discovery, "probe", lambda _source, **_how: environment_of(environment))
    monkeypatch.chdir(ROOT)
    return gnet


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--minutes", "0"], "minutes: 0 will not do; use a whole number of at least 1"),
        (["--minutes", "soon"], "minutes: 'soon' will not do"),
        (["--minutes", "61"], "minutes: 61 are too many; use at most 60"),
        (["--device", "tpu"], "device: 'tpu' is unknown"),
        (["--device", "gpu:3"], "device: 'gpu:3' is not there"),
        (["--python", "old=python3"], "python: 'old=python3' names no framework; use torch=INTERPRETER"),
        (["--python", "jax=/nowhere/python"], "python: '/nowhere/python' of jax is no program"),
        (["--out", "tests"], "out: tests has files in it already"),
        ([], "device: 'gpu' is not there; TensorFlow sees cpu: no NVIDIA driver answers"),
        ([], "; --device cpu rehearses the check"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_nothing(gnet, tmp_path, words, part):
    status, out, err = gnet("gpu-check", *words, *(["--out", tmp_path / "out"] if "--out" not in words else []))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert part in err
    assert not (tmp_path / "out").exists()


def test_an_interpreter_of_a_peer_is_found_from_wherever_the_check_is_started(tmp_path, monkeypatch):
    (tmp_path / "python").write_text("#!/bin/sh\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert cli_gpu_check._peers(["torch=./python"]) == [f"torch={tmp_path}/python"]


def test_an_interpreter_without_tensorflow_is_refused(gnet, environment):
    environment["tensorflow"] = None
    status, _, err = gnet("gpu-check", "--device", "cpu")
    assert (status, err.count("\n")) == (2, 1)
    assert "has no TensorFlow, which is what is checked" in err


def test_a_gpu_that_tensorflow_does_not_see_is_told_with_what_is_missing(gnet, environment):
    environment["machine"]["gpus"] = [{"name": "NVIDIA H100", "memory_bytes": None, "driver": "580"}]
    environment["tensorflow"]["built_for_cuda"] = True
    missing = {"name": "libcusolver.so.11", "path": None, "package": "nvidia-cusolver-cu12", "at_start": True}
    environment["machine"]["nvidia"]["libraries"] = [missing | {"error": "no such file"}]
    status, _, err = gnet("gpu-check")
    assert (status, err.count("\n")) == (2, 1)
    assert "libcusolver.so.11, of the package nvidia-cusolver-cu12, did not load (no such file)" in err


@pytest.fixture
def check(tmp_path, environment, monkeypatch):
    """A check on a CPU of which no step does anything unless a test says so."""

    def make(seconds: float = 600.0, **steps: Any) -> gpu_check.Check:
        for name in ("_sample_worker", "_trace", "_measure_peak", "_measure", "_measure_frameworks"):
            monkeypatch.setattr(gpu_check.Check, name, steps.get(name, lambda _self, *_: None))
        (tmp_path / GPU_CHECK).mkdir()
        return gpu_check.Check(
            checkout=ROOT,
            environment=environment_of(environment),
            device="cpu",
            directory=tmp_path,
            minutes=10,
            deadline=time.monotonic() + seconds,
            created="2026-01-02T03:04:05+00:00",
        )

    return make


def test_a_step_that_fails_is_a_line_and_the_next_begins(check, tmp_path):
    def fails(_self, execution, _limit):
        raise ZeroDivisionError(f"of {execution}")

    made = check(_sample_worker=fails)
    assert made.run() is True
    steps = {step.name: step for step in made.report().steps}
    assert (steps["worker xla"].status, steps["worker xla"].why) == ("failed", "ZeroDivisionError: of xla")
    assert steps["bench"].status == "done"
    assert "ZeroDivisionError" in (tmp_path / GPU_CHECK / "worker-xla-error.log").read_text()
    (proof,) = [claim for claim in made.report().claims if claim.claim.startswith("The proof of precision")]
    assert "xla (open): failed: ZeroDivisionError: of xla" in proof.evidence


def test_what_is_left_of_the_time_decides_what_begins(check):
    taken = []
    made = check(seconds=-1.0, _measure=lambda _self, _name, _out, _suites, limit: taken.append(limit))
    assert made.run() is True
    assert {step.status for step in made.report().steps} == {"not begun"}
    assert taken == []


@pytest.mark.parametrize(("seconds", "most"), [(600.0, 120.0), (100.0, 100.0)])
def test_a_step_is_given_its_share_and_never_more_than_is_left(check, seconds, most):
    limits = []
    made = check(
        seconds=seconds,
        _sample_worker=lambda _self, _execution, limit: limits.append(limit),
        _measure_frameworks=lambda _self, limit: limits.append(limit),
    )
    made.run()
    assert limits[0] == pytest.approx(most, abs=10)
    assert limits[-1] == pytest.approx(seconds, abs=10)


def test_an_interrupted_check_says_so_and_begins_nothing_more(check, tmp_path):
    def interrupted(_self, _name, _limit):
        raise KeyboardInterrupt

    made = check(_trace=interrupted)
    assert made.run() is False
    assert [step.name for step in made.report().steps][-1] == "profile graph"
    assert listed(tmp_path)["complete"] is False
    assert "has not come to its end" in made.report().answer


def test_the_verdicts_come_before_what_is_rare_and_xla_has_the_longest_limit(check):
    limits: dict[str, float] = {}
    made = check(_sample_worker=lambda _self, execution, limit: limits.setdefault(execution, limit))
    made.run()
    steps = [step.name for step in made.report().steps]
    assert steps[:4] == ["worker graph", "profile graph", "bench", "worker xla"]
    assert set(steps) >= {f"profile {name}" for name in PROFILED} | {f"worker {name}" for name in SAMPLED}
    assert len(steps) == len(set(steps))
    assert limits["xla"] > 200 > 130 > limits["graph"] == pytest.approx(limits["eager"], abs=1)


def test_open_claims_that_nothing_contradicts_are_told_apart():
    judged = [
        Claim(claim="a", verdict="open", findings=(Finding("confirmed"), Finding("open"))),
        Claim(claim="b", verdict="open", findings=(Finding("open"),)),
        Claim(claim="c", verdict="wrong", findings=(Finding("confirmed"), Finding("wrong"))),
    ]
    report = gpu_check_report.CheckReport(
        created="", device="gpu:0", machine="", minutes=7, complete=True, steps=(), claims=judged
    )
    assert (
        report.answer == "Of 3 claims 0 are confirmed, 1 wrong and 2 open, of which 1 are confirmed as far as was seen."
    )


class FakeWorker:
    """One that works for no time at all, during which `during` is called."""

    raw = "raw/worker.json"

    def __init__(self, during):
        self._during = during
        self.ended = ""

    def launch(self):
        """There is no process."""

    def await_ready(self, _progress):
        pass

    def take_turn(self, _number, *, after_others):
        assert not after_others
        began = time.monotonic()
        self._during()
        return {"block": [began, time.monotonic()], "work": [began, time.monotonic()]}

    def pids(self):
        return {os.getpid()}

    def finish(self):
        self.ended += "finished "

    def stop(self):
        self.ended += "stopped"


@pytest.fixture
def sampled(tmp_path, environment, monkeypatch):
    """What the check keeps of a worker on gpu:0, which calls a function during its turn; the worker too."""

    def sample(during):
        worker = FakeWorker(during)
        monkeypatch.setattr(gpu_check, "Worker", lambda *_: worker)
        monkeypatch.setattr(gpu_check, "IDLE_SECONDS", 0.1)
        monkeypatch.setattr(raw_files, "read", lambda *_: None)
        (tmp_path / GPU_CHECK).mkdir()
        check = gpu_check.Check(
            checkout=ROOT,
            environment=environment_of(environment),
            device="gpu:0",
            directory=tmp_path,
            minutes=10,
            deadline=time.monotonic() + 600,
            created="2026-01-02T03:04:05+00:00",
        )
        check._sample_worker("graph", 60.0)
        return json.loads((tmp_path / GPU_CHECK / "worker-graph.json").read_text()), worker

    return sample


def test_a_workers_memory_is_read_while_it_is_alive_and_by_its_process(sampled, nvml):
    stored, worker = sampled(lambda: nvml.set(pids=f"{os.getpid()}:{3 * 2**30}", used=4 * 2**30))
    assert stored["process_bytes"] == 3 * 2**30
    assert stored["growth_bytes"] > 0
    assert {sample["power_watts"] for sample in stored["samples"]} == {412.345}
    assert all(sample["took_seconds"] > 0 for sample in stored["samples"])
    assert worker.ended == "finished stopped"


def test_a_worker_that_is_lost_is_told_of_with_its_phase(sampled, monkeypatch):
    def lost(_worker, progress):
        progress("import")
        progress("first_call")
        raise WorkerLost("timeout", "not finished after 84 s")

    monkeypatch.setattr(FakeWorker, "await_ready", lost)
    with pytest.raises(gpu_check.StepError, match="not finished after 84 s, in the phase first_call"):
        sampled(lambda: None)


def test_a_driver_that_answers_no_more_costs_its_figures_and_not_the_worker(sampled, nvml, monkeypatch):
    answers = threading.Event()

    def hangs(_gpu):
        answers.wait()
        return gpu_conditions.Sample(at_seconds=time.monotonic())

    def during():
        nvml.set(pids=f"{os.getpid()}:{3 * 2**30}")  # which must not be asked for any more
        monkeypatch.setattr(gpu_conditions, "_read", hangs)

    monkeypatch.setattr(gpu_conditions, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(nvml_library, "_given_up", threading.Event())
    try:
        stored, worker = sampled(during)
    finally:
        answers.set()
        for thread in threading.enumerate():
            if thread.name == "GPU samples":
                thread.join()
    assert (stored["process_bytes"], stored["growth_bytes"]) == (0, 0)
    assert worker.ended == "finished stopped"


def run_child(tmp_path: Path, program: str, limit: float) -> tuple[int, bool]:
    with (tmp_path / "log").open("wb") as log:
        return gpu_check._run_child([sys.executable, "-c", program], tmp_path, log.fileno(), limit)


def test_a_child_that_ends_in_time_has_its_status(tmp_path):
    assert run_child(tmp_path, "raise SystemExit(3)", 60) == (3, True)


def test_a_child_that_takes_too_long_is_asked_to_end_and_keeps_what_it_has(tmp_path):
    program = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit('kept')); time.sleep(100)"
    assert run_child(tmp_path, program, 8)[1] is False
    assert "kept" in (tmp_path / "log").read_text()


def test_a_child_that_does_not_listen_is_killed(tmp_path):
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100)"
    assert run_child(tmp_path, program, 4) == (0, False)


@pytest.mark.parametrize("left", [f"{GPU_CHECK}/raw/x.json", gpu_check_report.JSON_FILE])
def test_what_a_check_has_left_is_not_written_over_by_another(gnet, tmp_path, left):
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / left).write_text("")
    status, _, err = gnet("gpu-check", "--device", "cpu", "--out", tmp_path)
    assert status == 2
    assert f"out: {tmp_path} has files in it already ({Path(left).parts[0]})" in err
