"""`gnet bench --dry-run`: what it prints, that it refuses what the run would refuse, and that it leaves nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gnet_core.run import discovery
from gnet_core.run.forecast import Forecast
from gnet_core.system import children
from tests.conftest import environment_of
from tests.faults import checkout as house

ROOT = Path(__file__).parents[2]
MEMORY = 4 * 2**30
WORDS = ("bench", "execution", "--preset", "smoke", "--execution", "graph,eager", "--device", "cpu", "--memory", MEMORY)


@pytest.fixture
def gnet(gnet, monkeypatch, environment):
    """Calls the command line in this process, which can start nothing."""

    def start(*words, **_options):
        raise AssertionError(f"{words} was started")

    monkeypatch.setattr(discovery, "probe", lambda _source, **_how: environment_of(environment))
    monkeypatch.setattr(children, "start", start)
    monkeypatch.chdir(ROOT)
    return gnet


def test_it_prints_cases_cohorts_time_memory_and_effect(gnet, tmp_path):
    out = tmp_path / "a" / "b"
    status, printed, err = gnet(*WORDS, "--until", "resolved", "--budget", "2m", "--dry-run", "--out", out)
    assert (status, err) == (0, "")
    assert (
        printed
        == """\
    case                                  processes    to come at most    s each    GiB each
--  ----------------------------------  -----------  -----------------  --------  ----------
 1  graph-float32-b8-i96-synthetic-cpu            0                  5        10         1.2
 2  eager-float32-b8-i96-synthetic-cpu            0                  5         9         1.2

cohort of cases      to come at most    s each    GiB each
-----------------  -----------------  --------  ----------
1, 2                               5        19         2.4

End: every comparison is settled within 2%, or every case has 5 processes, or 2 min are spent.
Time: about 66 s to 104 s with peaks, trace and report, a guess from a CPU of two cores.
Memory: about 2.4 GiB of the 4.0 GiB for all workers.
Effect: 5 processes a case find 16% 9 times in 10, a guess from a shared CPU of two cores.
"""
    )
    assert list(tmp_path.iterdir()) == []


def test_of_a_fixed_run_it_tells_what_cannot_be_measured(gnet):
    before = sorted((ROOT / "reports").iterdir())
    status, printed, _ = gnet(
        "bench", "precision", "--preset", "full", "--until", "fixed", "--device", "cpu", "--dry-run"
    )
    assert status == 0
    assert "graph-tf32-b16-i224-synthetic-cpu: TF32 is a GPU's way" in printed
    assert "End: every case has 8 processes." in printed
    assert sorted((ROOT / "reports").iterdir()) == before


def test_one_process_can_tell_nothing_from_chance(gnet):
    _, printed, _ = gnet(*WORDS, "--dry-run")
    assert "Effect: 1 process a case can tell none from chance; a verdict takes 3." in printed
    _, printed, _ = gnet(*WORDS, "--until", "resolved", "--budget", "30s", "--dry-run")
    assert "Effect: 1 process a case can tell none from chance; a verdict takes 3, about 66 s." in printed
    _, printed, _ = gnet("bench", "throughput", *WORDS[2:], "--dry-run")
    assert "Effect: nothing is compared." in printed


def test_of_a_gpu_it_says_that_memory_is_measured_later(gnet, nvml, environment, monkeypatch):
    gpu = {"device": "gpu:0", "name": "NVIDIA H100 80GB HBM3", "compute_capability": [9, 0]}
    environment["tensorflow"] |= {"built_for_cuda": True, "gpus": [gpu]}
    monkeypatch.setattr(discovery, "probe", lambda _source, **_how: environment_of(environment))
    nvml.set(total=100 * 2**30, used=0)
    words = ("bench", "execution", "--preset", "smoke", "--execution", "graph,eager", "--device", "gpu:0", "--dry-run")
    _, printed, _ = gnet(*words)
    assert "Memory: measured as the run begins of the 70.0 GiB for all workers." in printed
    _, printed, _ = gnet(*words, "--worker-memory", 2**30)
    assert "Memory: about 2.0 GiB of the 70.0 GiB for all workers." in printed


def test_as_json_it_is_data(gnet):
    status, printed, err = gnet(*WORDS, "--dry-run", "--json")
    assert (status, err) == (0, "")
    found = msgspec.json.decode(printed, type=Forecast)
    assert [case.case.partition("-")[0] for case in found.cases] == ["graph", "eager"]
    assert (found.until, found.device, found.comparisons, found.memory_bytes) == ("fixed", "cpu", 1, MEMORY)
    assert list(json.loads(printed)) == [field.name for field in msgspec.structs.fields(Forecast)]


@pytest.mark.parametrize(
    "words",
    [
        ["--budget", "0s", "--until", "resolved"],
        ["--budget", "5m", "--until", "fixed"],
        ["--device", "gpu:0"],
        ["--out", "tests"],
        ["--out", "/proc/nothing"],
        ["--replicates", "9" * 400],
        ["--resume", "tests"],
        ["--fail-on", "slower"],
    ],
)
def test_it_refuses_what_the_run_would_refuse(gnet, words):
    real = gnet("bench", "execution", "--preset", "smoke", *words)
    assert real[0] == 2
    assert gnet("bench", "execution", "--preset", "smoke", *words, "--dry-run") == real


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return house.make_checkout(tmp_path_factory.mktemp("dry") / "checkout")


def contents(directory):
    return {path: path.is_file() and path.read_bytes() for path in sorted(directory.rglob("*"))}


def test_of_a_run_that_is_gone_on_with_it_tells_what_is_open_and_changes_nothing(checkout, tmp_path):
    out = tmp_path / "run"
    words = [*map(str, WORDS), "--until", "resolved", "--budget", "10m", "--out", str(out)]
    with house.start(checkout, *words) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "settled after 1 process of" in line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    before, run = contents(out), house.read(out)
    status, printed, err = house.gnet(checkout, "bench", "--resume", str(out), "--budget", "10m", "--dry-run", "--json")
    assert (status, err) == (0, "")
    assert contents(out) == before
    found = msgspec.json.decode(printed, type=Forecast)
    assert [case.processes for case in found.cases] == [len(case["raw"]) for case in run["cases"]]
    assert all(0 < case.more_processes <= run["max_looks"] - case.processes for case in found.cases)
    assert found.times_measured
    assert found.left_seconds == 600


def test_it_starts_no_worker_in_a_checkout_and_asks_what_is_installed_alone(checkout, tmp_path):
    probe = tmp_path / "python"
    probe.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/started\nexec {sys.executable} "$@"\n')
    probe.chmod(0o755)
    status, _, err = house.gnet(checkout, *map(str, WORDS), "--python", f"own={probe}", "--dry-run")
    assert (status, err) == (0, "")
    assert (tmp_path / "started").read_text().splitlines() == ["-m gnet_core info --json"]
    left = subprocess.run(
        ["git", "-C", str(checkout), "status", "--short", "--ignored"], capture_output=True, check=True
    )
    assert not [line for line in left.stdout.decode().splitlines() if "__pycache__" not in line]
    assert not os.path.lexists(checkout / "reports")


SCALING = ("bench", "weak-scaling", "--preset", "smoke", "--memory", MEMORY, "--dry-run")


def test_a_suite_that_scales_takes_the_numbers_of_replicas_and_workers(gnet):
    status, printed, err = gnet(*SCALING, "--device", "cpu", "--replicas", "2,4", "--workers", "2")
    assert (status, err) == (0, "")
    plain = "graph-float32-b{}-i96-synthetic-cpu{}"
    for batch, team in ((8, ""), (16, "-replicas=2"), (32, "-replicas=4"), (16, "-workers=2")):
        assert plain.format(batch, team) in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["bench", "execution", "--replicas", "2"], "replicas: no suite that is named takes several; add scaling"),
        (["bench", "--workers", "2"], "workers: no suite that is named takes several"),
        (["bench", "strong-scaling", "--preset", "smoke", "--replicas", "3"], "do not divide among 3 replicas"),
        (
            ["bench", "scaling", "--device", "gpu:1", "--replicas", "2"],
            "replicas: 2 is too many: 1 × 2 replicas take 2 GPUs",
        ),
        (
            ["bench", "scaling", "--device", "gpu", "--workers", "4"],
            "workers: 4 is too many: 4 × 1 replicas take 4 GPUs",
        ),
        (["bench", "scaling", "--replicas", "0"], "replicas: 0 will not do"),
        (["bench", "weak-scaling", "--replicas", "64"], "replicas: 64 is too many: a CPU of 8 threads is split into"),
    ],
)
def test_teams_that_cannot_be_are_refused_in_one_line(gnet, environment, words, says):
    environment["tensorflow"]["gpus"] = [
        {"device": f"gpu:{number}", "name": "H100", "compute_capability": [9, 0]} for number in range(2)
    ]
    device = [] if "--device" in words else ["--device", "cpu"]
    status, printed, err = gnet(*words, *device, "--dry-run")
    assert (status, printed) == (2, "")
    assert says in err
    assert err.count("\n") == 1
