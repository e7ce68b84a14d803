"""The runner against workers that misbehave in every way: real processes, no TensorFlow."""

import copy
import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.files.whole import RAW_FORMAT_VERSION
from gnet_core.machine import conditions
from gnet_core.plan.request import PeaksRequest, ProfileRequest
from gnet_core.plan.suites import Plan, PlannedCase, Source
from gnet_core.results import records
from gnet_core.run import apart, cohort, discovery, resuming, runner
from gnet_core.run.cohort import expected_seconds
from gnet_core.run.members import Task
from gnet_core.run.protocol import Channel
from gnet_core.run.standing import MAX_LOST, CaseState
from gnet_core.run.worker import RunSettings
from gnet_core.system import children
from tests.conftest import MACHINE, TENSORFLOW, WITHOUT_PLUGINS, environment_of, run_document

HERE = {"": Source(checkout=Path(__file__).parents[2])}

SUITES = discovery.discover(Path(__file__).parents[2])

BEHAVIOURS = [
    "fine",
    "raises",
    "runs out of memory",
    "dies",
    "hangs",
    "is stopped",
    "eats",
    "is silent",
    "bad_alloc",
    "leaves",
    "explains",
    "fails later",
    "fails at first",
    "is large",
    "does not fit",
    "would not fit either",
    "starts alone only",
    "takes turns alone only",
    "finds no device beside others",
    "measures otherwise",
    "measures what nobody knows",
]

ENVIRONMENT = {"machine": MACHINE, "tensorflow": TENSORFLOW}

CONFTEST = (
    f"""
import json, pytest
ENVIRONMENT = {ENVIRONMENT!r}
"""
    + """
from gnet_core.config import StepConfig
from gnet_core.run.protocol import Channel
from gnet_core.run.timer import Turns

def pytest_addoption(parser):
    for name in ("--gnet-case", "--gnet-plan", "--gnet-channel", "--gnet-run"):
        parser.addoption(name)

@pytest.fixture
def case(request):
    return StepConfig.from_dict(json.loads(request.config.option.gnet_case))

@pytest.fixture
def run(request):
    return request.config.option.gnet_run

@pytest.fixture
def turns(request):
    channel = Channel.inherited(int(request.config.option.gnet_channel))
    with channel:
        yield Turns(channel)

@pytest.fixture
def rounds(request):
    return json.loads(request.config.option.gnet_plan)["turns"]

def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["gnet"] = ENVIRONMENT
"""
)

MODULE = f"""
import os, psutil, signal, sys, time
BEHAVIOURS = {BEHAVIOURS!r}

def eat(mebibytes):
    eaten = bytearray(mebibytes * 2**20)
    eaten[::4096] = b"x" * len(eaten[::4096])
    return eaten

def is_beside_others():
    others = set(psutil.pids()) - {{os.getpid(), os.getppid()}}
    return any(is_worker(psutil.Process(pid)) for pid in others if psutil.pid_exists(pid))

def is_worker(process):
    try:
        return process.ppid() == os.getppid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

def misbehave(behaviour, turns):
    if behaviour == "takes turns alone only" and is_beside_others():
        turns.announce("failed", kind="oom", message="OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB")
        raise RuntimeError
    if behaviour == "raises":
        raise ValueError("one two | three")
    if behaviour == "runs out of memory":
        turns.announce("failed", kind="oom", message="ResourceExhaustedError: too large")
        raise MemoryError
    if behaviour == "fails at first" and ".r1.json" in " ".join(sys.argv):
        raise ValueError
    if behaviour == "fails later" and ".r2.json" in " ".join(sys.argv):
        raise ValueError
    if behaviour == "explains":
        turns.announce("failed", kind="failed", message="short")
        raise ValueError("the whole story")
    if behaviour == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "hangs":
        time.sleep(600)
    if behaviour == "is stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if behaviour == "eats":
        eaten = eat(400)
        time.sleep(600)
    if behaviour == "bad_alloc":
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'")
        os.abort()
    if behaviour == "leaves":
        os._exit(0)

def bench(benchmark, case, turns, rounds, run):
    behaviour = dict(enumerate(BEHAVIOURS, start=1)).get(case.batch_size, "fine")
    turns.announce("phase", name="build")
    if behaviour == "is silent":
        return
    if behaviour in ("does not fit", "would not fit either"):
        turns.announce("failed", kind="oom", message="ResourceExhaustedError: does not fit")
        raise MemoryError
    if behaviour == "starts alone only" and is_beside_others():
        turns.announce("failed", kind="oom", message="InternalError: cublas error: CUBLAS_STATUS_ALLOC_FAILED")
        raise RuntimeError
    if behaviour == "finds no device beside others" and is_beside_others():
        os.write(2, b"E0000 00:00:1.2 3 cuda_executor.cc:1] failed call to cuDevicePrimaryCtxRetain: "
                    b"CUDA_ERROR_OUT_OF_MEMORY: out of memory\\n")
        turns.announce("failed", kind="failed", message="RuntimeError: no supported devices found for platform CUDA")
        raise RuntimeError
    if folder := os.environ.get("GNET_FOLDER_OF_PROCESSES"):
        with open(os.path.join(folder, str(os.getpid())), "w") as file:
            file.write(str(int(os.environ["GNET_BYTES_AN_IMAGE"]) * case.batch_size))
    kept = eat(600) if behaviour == "is large" else None
    turns.announce("ready")
    taken = []
    over = []
    def take_turn():
        if over:
            return
        if turns.wait() == "over":
            over.append(len(taken))
            return
        taken.append(1)
        if len(taken) == 2:
            misbehave(behaviour, turns)
    def hand_back():
        if not over:
            turns.announce("turn_done", steps=1)
    benchmark.pedantic(lambda: sum(range(10000)), setup=take_turn, teardown=hand_back, rounds=rounds)
    if not over:
        turns.wait()
    other = {{"measures otherwise": {{"dropout": False}}, "measures what nobody knows": {{"zeta": 1}}}}
    benchmark.extra_info.update(
        format_version={RAW_FORMAT_VERSION}, run=run, case=case.name, block_steps=1,
        config=case.to_dict() | other.get(behaviour, {{}}),
        single_step_seconds=[],
        phase_seconds=dict.fromkeys(("import", "build", "trace", "first_call", "warmup"), 1.0), steps=1,
        timed_blocks=len(taken), voided_blocks=[], resumed_step_seconds=[], losses_without_dropout=[[0, 1.0]],
        flop_per_image=1, low_precision_share=0.0,
        loss_first=1.0, loss_last=1.0, skipped_steps=0, peak_memory_bytes=200 * 2**20, memory_source="none",
    )
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "peaks", lambda *_: {"float32": {"flop_per_second": 1.0}})
    monkeypatch.setattr(runner, "estimated_bytes", lambda _config: 60 * 2**20)
    folder = tmp_path / "checkout"
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks" / "conftest.py").write_text(CONFTEST)
    (folder / "benchmarks" / "bench_fake.py").write_text(MODULE)
    (folder / "pytest.ini").write_text(
        f"[pytest]\npython_files = bench_*.py\npython_functions = bench*\naddopts = {' '.join(WITHOUT_PLUGINS)}\n"
    )
    return folder


def settings_for(checkout, *, alive=1, replicates=1, **plan):
    """With memory for as many workers of the estimated size together."""
    directory = checkout / "run"
    directory.mkdir(exist_ok=True)
    return RunSettings(
        directory=directory,
        plan=Plan(**{"turns": 3, "limit_seconds": 60.0, **plan}),
        replicates=replicates,
        memory_bytes=max(300, 60 * alive + 30) * 2**20 if alive > 1 else 110 * 2**20,
        seed=0,
        run="now",
        with_peaks=True,
        sources={"": Source(checkout=checkout)},
        own_source=Source(checkout=checkout),
        environments=dict.fromkeys(("", "old", "new"), environment_of(ENVIRONMENT)),
    )


def states_for(*behaviours):
    return [
        CaseState(
            case=PlannedCase(
                config=StepConfig(batch_size=BEHAVIOURS.index(behaviour) + 1, image_size=96 + number),
                suites=("fake",),
                module="bench_fake.py",
            )
        )
        for number, behaviour in enumerate(behaviours)
    ]


def with_case(state, **changes):
    return dataclasses.replace(state, case=dataclasses.replace(state.case, **changes))


def ignore(_what: str, _seconds: float) -> None:
    pass


def new_document():
    document = {
        "run": "now",
        "created": "now",
        "preset": "quick",
        "device": "cpu",
        "seed": 0,
        "replicates": 1,
        "memory_bytes": 1,
    }
    environment = copy.deepcopy(ENVIRONMENT)
    document |= {
        "suites": [],
        "options": {},
        "environment": environment,
        "environments": {"": environment_of(environment)},
    }
    return run_document(document | {"complete": False, "cohorts": [], "cases": []})


def run(states, settings, progress=ignore, suites=(), previous=None, profiled=None):
    document, standing = new_document(), None
    if previous:
        document = run_document(previous)
        standing = resuming.standing_of(settings.directory, document, states, settings.replicates)
    runs = runner.Runner(states, suites, settings, document, standing)
    complete = runs.run(progress, profiled)
    return complete, json.loads((settings.directory / "run.json").read_text())


def processes_of(checkout):
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(checkout) in word for word in process.info["cmdline"] or ())
    ]


LOSSES = [
    ("measures otherwise", "unsupported", "void: dropout False was measured, where True was asked"),
    ("measures what nobody knows", "unsupported", "void: config: unknown field 'zeta'"),
    ("raises", "failed", "one two"),
    ("runs out of memory", "oom", "ResourceExhaustedError: too large"),
    ("dies", "failed", "SIGKILL"),
    ("is silent", "failed", "ended with status 0"),
    ("bad_alloc", "oom", "std::bad_alloc"),
    ("leaves", "failed", "ended with status 0"),
]


@pytest.mark.parametrize("alive", [1, len(LOSSES) + 2], ids=["alone", "in turns"])
@pytest.mark.parametrize("losses", [LOSSES, [("eats", "oom", "GiB allowed")]], ids=["told", "eats"])
def test_workers_that_fail_are_rows_with_their_status_and_the_others_go_on(checkout, losses, alive):
    settings = settings_for(checkout, alive=alive if len(losses) > 1 else min(alive, 3))
    behaviours, statuses, notes = zip(*losses, strict=True)
    complete, document = run(states_for("fine", *behaviours, "fine"), settings)
    _fine, *failed, last = document["cases"]
    assert complete
    assert [case["status"] for case in document["cases"]] == ["ok", *statuses, "ok"]
    assert [case["note"] for case, note in zip(failed, notes, strict=True) if note not in case["note"]] == []
    assert last["raw"] == [f"raw/{last['case']}.r1.json"]
    # What had no memory beside the others is tried again alone; what eats may grow beyond all that there is at once.
    again = statuses.count("oom")
    expected = {len(document["cases"])} if alive == 1 else {1 + again, 1} if "eats" in behaviours else {1 + again}
    assert len(document["cohorts"]) in expected
    samples = [row.samples for row in records.load_run(settings.directory).rows]
    assert samples == [3, *[0] * len(losses), 3]
    assert not processes_of(checkout)
    assert not list((settings.directory / "raw").glob(".partial*"))


@pytest.mark.parametrize("alive", [1, 2], ids=["alone", "in turns"])
@pytest.mark.parametrize("behaviour", ["hangs", "is stopped"])
def test_a_worker_that_does_not_finish_in_time_is_a_timeout_and_is_ended(checkout, behaviour, alive):
    settings = settings_for(checkout, alive=alive, limit_seconds=6.0)
    _, document = run(states_for(behaviour, "fine"), settings)
    assert (document["cases"][0]["status"], document["cases"][0]["note"]) == ("timeout", "not finished after 6 s")
    assert document["cases"][1]["status"] == "ok"
    assert not processes_of(checkout)


def test_only_a_worker_that_failed_leaves_its_log(checkout):
    settings = settings_for(checkout)
    _, document = run(states_for("explains", "fine"), settings)
    failed, fine = (settings.directory / "raw" / f"{case['case']}.r1.log" for case in document["cases"])
    assert document["cases"][0]["note"] == "short"
    assert "ValueError: the whole story" in failed.read_text()
    assert not fine.exists()


def test_workers_of_a_cohort_take_turns_in_an_order_drawn_anew_each_round(checkout):
    settings = settings_for(checkout, alive=3)
    settings = dataclasses.replace(settings, plan=dataclasses.replace(settings.plan, turns=8))
    _, document = run(states_for("fine", "fine", "fine"), settings)
    (cohort,) = document["cohorts"]
    assert len(cohort["workers"]) == 3
    assert [sorted(order) for order in cohort["order"]] == [[0, 1, 2]] * 8
    assert len({tuple(order) for order in cohort["order"]}) > 2
    turns = pd.read_csv(settings.directory / "turns.csv")
    assert len(turns) == 24
    taken = [cohort["workers"][index] for order in cohort["order"] for index in order]
    assert list(turns["worker"]) == taken
    assert set(turns["round"]) == set(range(1, 9))


def test_the_order_of_turns_follows_from_the_seed(checkout):
    orders = []
    for seed in (1, 1, 2):
        settings = dataclasses.replace(settings_for(checkout, alive=2, turns=12), seed=seed)
        _, document = run(states_for("fine", "fine"), settings)
        orders.append(document["cohorts"][0]["order"])
    assert orders[0] == orders[1] != orders[2]


def test_a_worker_for_which_there_is_no_memory_beside_the_others_runs_alone_afterwards(checkout):
    settings = settings_for(checkout, alive=2)
    settings = dataclasses.replace(settings, memory_bytes=690 * 2**20)  # it takes 645 of them, each other 45
    _, document = run(states_for("fine", "fine", "is large"), settings)
    assert [case["status"] for case in document["cases"]] == ["ok", "ok", "ok"]
    large = document["cases"][2]["case"]
    assert [cohort["workers"] for cohort in document["cohorts"]][-1] == [f"{large}.r1"]
    assert len(document["cohorts"]) == 2


def test_out_of_memory_beside_others_is_tried_again_alone_and_the_others_go_on(checkout):
    behaviours = ["starts alone only", "takes turns alone only", "finds no device beside others"]
    settings = settings_for(checkout, alive=5, replicates=2)
    complete, document = run(states_for("fine", *behaviours, "fine"), settings)
    assert complete
    assert [(case["status"], case["note"]) for case in document["cases"]] == [("ok", "")] * 5
    together, alone = document["cohorts"][:2], document["cohorts"][2:]
    assert [len(cohort["workers"]) for cohort in together] == [5, 5]
    again = [f"{case['case']}.r{replicate}" for case in document["cases"][1:-1] for replicate in (1, 2)]
    assert sorted(cohort["workers"] for cohort in alone) == sorted([worker] for worker in again)
    turns = pd.read_csv(settings.directory / "turns.csv")
    assert set(turns[turns["worker"].isin(again)]["cohort"]) == set(range(3, 9))
    assert [row.samples for row in records.load_run(settings.directory).rows] == [6] * 5


def test_out_of_memory_alone_is_no_matter_of_others_and_not_tried_again(checkout):
    settings = settings_for(checkout, alive=2)
    settings = dataclasses.replace(settings, memory_bytes=65 * 2**20)
    _, document = run(states_for("does not fit"), settings)
    assert [case["status"] for case in document["cases"]] == ["oom"]
    assert len(document["cohorts"]) == 1


def test_who_is_out_of_memory_before_others_are_alive_is_so_at_once(checkout):
    _, document = run(states_for("does not fit", "fine", "fine"), settings_for(checkout, alive=3))
    assert [case["status"] for case in document["cases"]] == ["oom", "ok", "ok"]
    assert len(document["cohorts"]) == 1


def test_ctrl_c_keeps_what_was_timed_and_says_what_was_not(checkout):
    def interrupt(what, _seconds):
        if "turn 2 of 3" in what and "b1-" in what:
            raise KeyboardInterrupt

    settings = settings_for(checkout)
    complete, document = run(states_for("fine", "hangs", "dies"), settings, interrupt)
    assert not complete
    assert document["complete"] is False
    assert [case["status"] for case in document["cases"]] == ["ok", None, None]
    assert document["cases"][1]["note"] == "interrupted before it was measured"
    (row,) = records.load_run(settings.directory).rows
    assert (row.status, row.samples) == ("ok", 2)
    assert not processes_of(checkout)


def test_ctrl_c_keeps_the_turns_of_every_worker_of_the_cohort(checkout):
    def interrupt(what, _seconds):
        if "turn 3 of 3" in what:
            raise KeyboardInterrupt

    settings = settings_for(checkout, alive=2)
    complete, document = run(states_for("fine", "fine"), settings, interrupt)
    assert not complete
    assert sorted(row.samples for row in records.load_run(settings.directory).rows) == [2, 3]
    assert document["cohorts"][0]["complete"] is False
    assert not processes_of(checkout)


def test_a_run_that_was_interrupted_goes_on_with_what_is_open(checkout):
    turns = iter(range(1, 100))

    def interrupt(what, _seconds):
        if "turn" in what and next(turns) == 5:
            raise KeyboardInterrupt

    settings = settings_for(checkout, replicates=3)
    complete, before = run(states_for("fine"), settings, interrupt)
    assert not complete
    assert [cohort["complete"] for cohort in before["cohorts"]] == [True, False, False]
    first = settings.directory / before["cases"][0]["raw"][0]
    written = first.stat().st_mtime_ns
    complete, after = run(states_for("fine"), settings, previous=before)
    assert complete
    assert [cohort["complete"] for cohort in after["cohorts"]] == [True, True, True]
    assert first.stat().st_mtime_ns == written
    (row,) = records.load_run(settings.directory).rows
    assert (row.replicates, row.samples) == (3, 9)
    assert len(pd.read_csv(settings.directory / "turns.csv")) == 9


def test_what_was_lost_is_measured_again_beside_its_base_when_the_run_is_gone_on_with(checkout):
    (suite,) = [suite for suite in SUITES if suite.name == "execution"]
    behaviour = BEHAVIOURS.index("fails at first") + 1
    states = [
        CaseState(case=PlannedCase(config=config, suites=("execution",), module="bench_fake.py"))
        for config in (StepConfig(batch_size=behaviour), StepConfig(batch_size=behaviour, execution="eager"))
    ]
    settings = settings_for(checkout, alive=2, replicates=2)
    complete, before = run(copy.deepcopy(states), settings, suites=(suite,))
    assert complete
    assert [case["raw"] for case in before["cases"]] == [[f"raw/{case['case']}.r2.json"] for case in before["cases"]]
    complete, after = run(copy.deepcopy(states), settings, suites=(suite,), previous=before)
    assert complete
    graph, eager = (case["case"] for case in after["cases"])
    assert [sorted(cohort["workers"]) for cohort in after["cohorts"]] == [
        sorted(f"{case}.r{replicate}" for case in (graph, eager)) for replicate in (1, 2, 3)
    ]
    assert [(case["note"], len(case["raw"])) for case in after["cases"]] == [("", 2), ("", 2)]
    again, last = run(copy.deepcopy(states), settings, suites=(suite,), previous=after)
    assert again
    assert last["cohorts"] == after["cohorts"]


def test_what_is_measured_with_something_that_changed_since_the_run_began_is_void(checkout):
    settings = settings_for(checkout, alive=2)
    conftest = checkout / "benchmarks" / "conftest.py"
    packages = {**MACHINE["packages"], "numpy": "3.0.0"}
    upgraded = {**ENVIRONMENT, "machine": {**MACHINE, "packages": packages}}
    conftest.write_text(conftest.read_text().replace(repr(ENVIRONMENT), repr(upgraded)))
    _, document = run(states_for("fine"), settings)
    (case,) = document["cases"]
    assert (case["status"], case["raw"]) == ("failed", [])
    assert "what it was measured with changed since the run began (numpy: not installed → 3.0.0)" in case["note"]


def test_a_cohort_during_which_the_data_changed_does_not_count_and_what_was_finished_stands(checkout):
    settings = settings_for(checkout, replicates=3)
    changes = iter([False, True])

    def require_unchanged():
        if next(changes):
            raise GnetError("data: 'x' changed")

    runs = runner.Runner(states_for("fine"), (), settings, new_document(), None, require_unchanged)
    with pytest.raises(GnetError, match="data: 'x' changed"):
        runs.run(ignore)
    document = json.loads((settings.directory / "run.json").read_text())
    assert document["complete"] is False
    assert [cohort["complete"] for cohort in document["cohorts"]] == [True, False, False]
    (row,) = records.load_run(settings.directory).rows
    assert (row.replicates, row.samples) == (1, 3)
    complete, document = run(states_for("fine"), settings, previous=document)
    assert complete
    assert len(document["cases"][0]["raw"]) == 3


def test_a_link_that_lies_in_wait_is_not_written_through(checkout, tmp_path):
    settings = settings_for(checkout)
    (state,) = states_for("raises")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (settings.directory / "raw").mkdir()
    for name in ("raw/{}.r1.log", "raw/{}.r1.partial", "raw/{}.r1.json", ".run.json.partial", "turns.csv"):
        (settings.directory / name.format(state.case.name)).symlink_to(victim)
    run([state], settings)
    assert victim.read_text() == "mine"
    assert "one two" in (settings.directory / "raw" / f"{state.case.name}.r1.log").read_text()


def test_a_folder_of_raw_files_that_is_a_link_is_refused(checkout, tmp_path):
    settings = settings_for(checkout)
    (settings.directory / "raw").symlink_to(tmp_path)
    with pytest.raises(GnetError, match="raw: it is a link"):
        run(states_for("fine"), settings)


def test_a_trace_that_was_cut_short_is_taken_again_and_one_that_is_whole_is_not(checkout, monkeypatch):
    settings = settings_for(checkout)
    config = StepConfig()
    taken = []

    def profile(request, _settings):
        out = request.out
        out.mkdir()
        (out / "profile.json").write_text("{}")
        taken.append(out)
        if len(taken) == 1:
            raise KeyboardInterrupt
        if len(taken) == 2:
            raise GnetError("the profiler did not start")
        return "{}"

    monkeypatch.setattr(apart, "_ask", profile)
    traces = settings.directory / "traces"
    previous, notes = None, []
    for whole in (False, False, True, True):
        states = states_for("fine")
        standing = resuming.standing_of(settings.directory, previous, states, 1) if previous else None
        runs = runner.Runner(states, (), settings, previous or new_document(), standing)
        runs.run(ignore, config)
        assert [path.name for path in traces.iterdir()] == ([config.name] if whole else [])
        assert not list(settings.directory.glob(".partial*"))
        previous = run_document(json.loads((settings.directory / "run.json").read_text()))
        notes.append(previous.profile_note)
    assert notes == [None, "the profiler did not start", "", ""]
    assert len(taken) == 3

    assert previous is not None
    (traces / config.name / "profile.json").rename(traces / config.name / "report.md")
    states = states_for("fine")
    standing = resuming.standing_of(settings.directory, previous, states, 1)
    assert runner.Runner(states, (), settings, previous, standing).run(ignore, config)
    assert [path.name for path in (traces / config.name).iterdir()] == ["profile.json"]


def test_the_case_that_is_traced_is_the_whole_case(checkout, monkeypatch):
    requests = []

    def ask(request, _settings):
        requests.append(request)
        raise GnetError("no")

    monkeypatch.setattr(apart, "_ask", ask)
    config = StepConfig(data="digits", classes=10, layers="keras", seed=7, aux_weight=0, widths="paper", part="forward")
    assert apart.profile_case(config, settings_for(checkout)) == "no"
    (request,) = requests
    assert request == ProfileRequest.of(config, out=request.out, as_json=True)
    assert request.config(device=request.device, data=request.data, classes=47) == config
    assert "framework: 'torch' cannot be traced" in apart.profile_case(
        StepConfig(framework="torch"), settings_for(checkout)
    )


def test_a_helper_that_cannot_be_started_costs_its_own_answer_alone(checkout, monkeypatch):
    def no_more_processes(*_: object, **__: object):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(children, "ask", no_more_processes)
    settings = settings_for(checkout)
    with pytest.raises(GnetError, match=r"^gnet_core\.frameworks\.tf\.peaks could not be started"):
        apart._ask(PeaksRequest(), settings)
    assert "could not be started" in apart.profile_case(StepConfig(), settings)


def test_a_run_of_other_cases_is_not_gone_on_with(checkout):
    settings = settings_for(checkout)
    _, before = run(states_for("fine"), settings)
    with pytest.raises(GnetError, match="resume: the run has other cases than this version would measure"):
        run(states_for("dies"), settings, previous=before)


@pytest.mark.parametrize(("least_wait_seconds", "known"), [(0.0, True), (3600.0, False)])
def test_of_a_wait_too_short_to_tell_no_share_is_given(checkout, monkeypatch, least_wait_seconds, known):
    monkeypatch.setattr(cohort, "MIN_WAIT_SECONDS", least_wait_seconds)
    settings = settings_for(checkout)
    run(states_for("fine"), settings)
    assert pd.read_csv(settings.directory / "turns.csv")["waiting_cpu_share"].notna().tolist() == [known] * 3


def test_a_waiting_worker_burns_no_processor_time():
    ours, theirs = Channel.pair()
    program = (
        "from gnet_core.run.protocol import Channel\nfrom gnet_core.run.timer import Turns\n"
        f"turns = Turns(Channel.inherited({theirs.fileno()}))\nturns.announce('ready')\nturns.wait()"
    )
    with ours, theirs:
        waiting = subprocess.Popen([sys.executable, "-c", program], pass_fds=(theirs.fileno(),))
        assert ours.receive(60) == {"event": "ready"}
        before = conditions.processor_seconds(waiting.pid)
        time.sleep(1.0)  # a span to wait for, not a time that is judged
        after = conditions.processor_seconds(waiting.pid)
        ours.send(finish=True)
        assert waiting.wait(60) == 0
    assert before is not None
    assert after is not None
    assert after - before < 0.02


def test_each_source_measures_with_its_own_interpreter_and_checkout(checkout, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(checkout, other)
    conftest = other / "benchmarks" / "conftest.py"
    conftest.write_text(conftest.read_text().replace("return request.config.option.gnet_run", 'return "now" + "!"'))
    sources = {"old": Source(name="old", checkout=checkout), "new": Source(name="new", checkout=other)}
    settings = dataclasses.replace(settings_for(checkout, alive=2), sources=sources)
    states = [with_case(state, source=source) for source in sources for state in states_for("fine")]
    _, document = run(states, settings)
    assert [sorted(cohort["workers"]) for cohort in document["cohorts"]] == [
        [f"{states[0].case.config.name}@{source}.r1" for source in ("new", "old")]
    ]
    old, new = records.load_run(settings.directory).rows
    assert (old.source, old.status, new.source) == ("old", "ok", "new")
    assert "run is 'now!'" in new.note  # the other checkout's own conftest wrote it


def test_replicates_are_processes_of_their_own(checkout):
    _, document = run(states_for("fine"), settings_for(checkout, replicates=2))
    assert len(document["cases"][0]["raw"]) == 2
    assert [cohort["workers"][0].rpartition(".r")[2] for cohort in document["cohorts"]] == ["1", "2"]


def test_a_lost_replicate_is_told_and_the_others_stand(checkout):
    _, document = run(states_for("fails later"), settings_for(checkout, replicates=3))
    (case,) = document["cases"]
    assert case["status"] == "ok"
    assert [name.rpartition(".r")[2] for name in case["raw"]] == ["1.json", "3.json"]
    assert case["note"].startswith("replicate 2 lost (failed): ")


def test_a_worker_that_cannot_be_started_costs_the_others_nothing(checkout, monkeypatch):
    start, tried = children.start, []

    def sometimes(*words, **options):
        tried.append(words)
        if len(tried) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(*words, **options)

    monkeypatch.setattr(children, "start", sometimes)
    complete, document = run(states_for("fine", "fine"), settings_for(checkout, alive=2, replicates=2))
    assert complete
    assert sorted(len(case["raw"]) for case in document["cases"]) == [1, 2]
    notes = [case["note"] for case in document["cases"] if case["note"]]
    assert notes == ["replicate 1 lost (failed): the worker could not be started (Resource temporarily unavailable)"]
    assert not processes_of(checkout)


def test_a_case_whose_first_process_was_lost_is_tried_again_and_not_for_ever(checkout):
    _, document = run(states_for("fails at first", "raises"), settings_for(checkout, replicates=4))
    at_first, always = document["cases"]
    assert (at_first["status"], len(at_first["raw"])) == ("ok", 3)
    assert at_first["note"].startswith("replicate 1 lost (failed): ")
    assert (always["status"], always["raw"]) == ("failed", [])
    assert sum(len(cohort["workers"]) for cohort in document["cohorts"]) == 4 + MAX_LOST


def test_memory_that_one_source_lacks_the_other_may_have(checkout):
    sources = {"old": Source(name="old", checkout=checkout), "new": Source(name="new", checkout=checkout)}
    settings = dataclasses.replace(settings_for(checkout), sources=sources)
    states = [
        with_case(state, config=dataclasses.replace(state.case.config, image_size=96), source=source)
        for state, source in zip(states_for("runs out of memory", "fails later"), sources, strict=True)
    ]
    assert states[0].case.config.batch_size < states[1].case.config.batch_size
    _, document = run(states, settings)
    assert [case["status"] for case in document["cases"]] == ["oom", "ok"]


def test_a_batch_larger_than_one_out_of_memory_is_not_tried(checkout):
    states = [
        with_case(state, config=dataclasses.replace(state.case.config, image_size=96))
        for state in states_for("runs out of memory", "eats")
    ]
    _, document = run(states, settings_for(checkout))
    assert [case["status"] for case in document["cases"]] == ["oom", None]
    assert document["cases"][1]["note"] == "not run: batch size 3 was out of memory already"


def gpu_states(*cases):
    """States of cases on a GPU, given by execution and batch size."""
    return [
        CaseState(
            case=PlannedCase(
                config=StepConfig(execution=execution, batch_size=batch_size, device="gpu:0"),
                suites=("execution",),
                module="bench_fake.py",
            )
        )
        for execution, batch_size in cases
    ]


def execution_suite():
    (suite,) = [suite for suite in SUITES if suite.name == "execution"]
    return (suite,)


@pytest.fixture
def gpu(nvml, tmp_path, monkeypatch):
    """The stand-in's GPU, of 100 GB, 10 of them taken by others; each worker takes `bytes_an_image`."""
    nvml.set(total=100 * 10**9, used=10 * 10**9)

    def use(bytes_an_image):
        folder = tmp_path / "processes"
        folder.mkdir()
        nvml.set(processes=folder)
        monkeypatch.setenv("GNET_FOLDER_OF_PROCESSES", str(folder))
        monkeypatch.setenv("GNET_BYTES_AN_IMAGE", str(bytes_an_image))
        return nvml

    return use


def run_on_gpu(checkout, states, previous=None, interrupt_at=None, replicates=1, worker_bytes=None):
    """The probed cases by execution and batch size, and run.json."""
    probed = []

    def progress(what, _seconds):
        case, asks, _ = what.partition(": what memory does it take?")
        if asks:
            execution, _, batch_size, *_ = case.split("-")
            probed.append((execution, int(batch_size.removeprefix("b"))))
            if len(probed) == interrupt_at:
                raise KeyboardInterrupt

    settings = settings_for(checkout, alive=9, replicates=replicates)
    settings = dataclasses.replace(settings, worker_bytes=worker_bytes)
    _, document = run(states, settings, progress, execution_suite(), previous)
    assert not list((settings.directory / "raw").glob("*.r0.json"))
    return probed, document


def sizes_of(document):
    known = [case.get("gpu_memory") for case in document["cases"]]
    return [size and (size["bytes"] / 10**9, size["origin"]) for size in known]


FOUR = [("graph", 32), ("eager", 32), ("graph", 64), ("eager", 64)]


def test_on_a_gpu_the_smallest_batch_is_probed_and_bounds_what_a_larger_one_takes(checkout, gpu):
    gpu(10**9 // 8)
    probed, document = run_on_gpu(checkout, gpu_states(*FOUR))
    assert probed == [("graph", 32), ("eager", 32)]
    assert sizes_of(document) == [(4.0, "process"), (4.0, "process"), (8.0, "bound"), (8.0, "bound")]
    assert document["gpu_memory"] == {"free_bytes": 90 * 10**9, "budget_bytes": int(0.7 * 90 * 10**9), "note": ""}
    assert [len(cohort["workers"]) for cohort in document["cohorts"]] == [4]
    assert [case["status"] for case in document["cases"]] == ["ok"] * 4


def test_on_a_gpu_a_size_that_is_told_is_not_probed(checkout, gpu):
    gpu(10**9 // 8)
    probed, document = run_on_gpu(checkout, gpu_states(*FOUR), worker_bytes=30 * 10**9)
    assert probed == []
    assert sizes_of(document) == [(30.0, "told")] * 4
    assert [len(cohort["workers"]) for cohort in document["cohorts"]] == [2, 2]


def test_on_a_gpu_a_larger_batch_is_probed_where_its_bound_does_not_fit_beside_what_it_is_compared_with(checkout, gpu):
    gpu(10**9 // 2)  # 16 GB at 32, so 32 GB and no more at 64
    probed, document = run_on_gpu(checkout, gpu_states(("graph", 32), ("eager", 32), ("graph", 60), ("eager", 60)))
    assert probed == [("graph", 32), ("eager", 32), ("graph", 60)]
    assert sizes_of(document)[2:] == [(30.0, "process"), (32.0, "bound")]
    assert [len(cohort["workers"]) for cohort in document["cohorts"]] == [2, 2]


@pytest.mark.parametrize(
    "cases",
    [
        [("graph", 32)],  # there is none beside it
        [("graph", 32), ("graph", 4096)],  # nothing is compared with the larger
        [("graph", 32), ("eager", 32), ("graph", 1024), ("eager", 1024)],  # each takes more than half of all
    ],
)
def test_on_a_gpu_what_will_be_alone_anyway_is_not_probed(checkout, gpu, cases):
    gpu(10**9)
    probed, document = run_on_gpu(checkout, gpu_states(*cases))
    assert probed == ([case for case in cases if case[1] == 32] if len(cases) > 1 else [])
    larger = [cohort["workers"] for cohort in document["cohorts"] if "-b32-" not in cohort["workers"][0]]
    assert all(len(workers) == 1 for workers in larger)


def test_on_a_gpu_batches_beyond_one_that_is_out_of_memory_are_not_tried(checkout, gpu):
    gpu(20 * 10**9)
    fits_not = [BEHAVIOURS.index(behaviour) + 1 for behaviour in ("does not fit", "would not fit either")]
    cases = [("graph", 1), *(("graph", batch_size) for batch_size in fits_not)]
    probed, document = run_on_gpu(checkout, gpu_states(*cases), replicates=2)
    assert probed == [("graph", 1)]
    assert [case["status"] for case in document["cases"]] == ["ok", "oom", None]
    assert "was out of memory already" in document["cases"][2]["note"]
    tried = {worker for cohort in document["cohorts"] for worker in cohort["workers"]}
    assert len([worker for worker in tried if f"-b{fits_not[0]}-" in worker]) == 1


def test_on_a_gpu_a_probe_that_is_out_of_memory_is_a_row_and_larger_batches_are_not_tried(checkout, gpu):
    gpu(10**9)
    batch_size = BEHAVIOURS.index("does not fit") + 1
    probed, document = run_on_gpu(checkout, gpu_states(("graph", batch_size), ("graph", 32), ("eager", 32)))
    assert probed == [("graph", batch_size)]  # after which the other is left alone
    assert [case["status"] for case in document["cases"]] == ["oom", None, "ok"]


def test_a_run_that_is_gone_on_with_does_not_probe_again(checkout, gpu):
    gpu(10**9 // 8)
    probed, before = run_on_gpu(checkout, gpu_states(*FOUR), interrupt_at=2)
    assert probed == [("graph", 32), ("eager", 32)]
    assert not before["complete"]
    assert sizes_of(before) == [(4.0, "process"), None, None, None]
    probed, after = run_on_gpu(checkout, gpu_states(*FOUR), before)
    assert probed == [("eager", 32)]
    assert after["complete"]
    assert [case["status"] for case in after["cases"]] == ["ok"] * 4
    lost = copy.deepcopy(after)
    (checkout / "run" / lost["cases"][2]["raw"][0]).unlink()
    probed, again = run_on_gpu(checkout, gpu_states(*FOUR), lost)
    assert probed == []
    assert sizes_of(again) == sizes_of(after)


@pytest.mark.parametrize("record", [None, 3, {}, {"bytes": 0, "origin": "process"}, {"bytes": 1, "origin": "rumour"}])
def test_a_size_that_no_run_has_written_is_refused(checkout, gpu, record):
    gpu(10**9)
    _, before = run_on_gpu(checkout, gpu_states(("graph", 32)))
    before["cases"][0]["gpu_memory"] = record
    with pytest.raises(GnetError, match=r"run\.json: field 'cases\[0\]\.gpu_memory"):
        run_on_gpu(checkout, gpu_states(("graph", 32)), before)


def test_on_a_gpu_of_which_nothing_is_told_each_worker_runs_alone_and_the_run_says_so(checkout, gpu):
    gpu(10**9).set(fail="nvmlDeviceGetMemoryInfo")
    probed, document = run_on_gpu(checkout, gpu_states(*FOUR))
    assert probed == []
    assert [len(cohort["workers"]) for cohort in document["cohorts"]] == [1] * 4
    assert document["gpu_memory"]["free_bytes"] is None
    assert "each worker runs alone" in document["gpu_memory"]["note"]


def test_on_a_gpu_that_does_not_count_by_process_the_growth_of_its_memory_counts(checkout, gpu):
    gpu(10**9 // 8).set(fail="nvmlDeviceGetComputeRunningProcesses")
    _, document = run_on_gpu(checkout, gpu_states(*FOUR[:2]))
    assert sizes_of(document) == [(4.0, "growth")] * 2


def test_what_nvml_does_not_tell_of_a_worker_its_framework_counts_and_the_run_says_so(checkout, gpu):
    gpu(0)  # less than the framework says that it took
    _, document = run_on_gpu(checkout, gpu_states(*FOUR[:2]))
    counted = 2 * 256 * 2**20 + 2**30  # twice the power of two that holds 200 MiB, and what CUDA takes
    assert sizes_of(document) == [(counted / 10**9, "allocator")] * 2
    assert document["gpu_memory"]["note"].startswith("NVML does not tell what 2 probed workers took")


def test_progress_adds_up_to_the_expected_seconds_whatever_happens(checkout):
    done = []
    settings = settings_for(checkout, alive=2)
    states = states_for("fine", "raises")
    run(states, settings, lambda _what, seconds: done.append(seconds))
    assert sum(done) == pytest.approx(sum(expected_seconds(state.case.config, settings.plan) for state in states))


def planned(**changes):
    return PlannedCase(config=StepConfig(**changes), suites=("throughput",))


def probed_here(environment):
    return discovery.Probed(environments={"": environment_of(environment)}, effects={}, missing={})


def test_an_unsupported_precision_is_a_row_in_a_sweep_and_an_error_alone(environment):
    tf32, float32 = planned(precision="tf32"), planned()
    states = discovery.make_states([tf32, float32], HERE, probed_here(environment))
    assert [state.status for state in states] == ["unsupported", None]
    assert "TF32" in states[0].note
    with pytest.raises(GnetError, match="precision: 'tf32' cannot be done on cpu"):
        discovery.make_states([tf32], HERE, probed_here(environment))


def test_a_batch_of_more_images_than_there_are_is_a_row_in_a_sweep_and_an_error_alone(environment):
    states = discovery.make_states([planned(batch_size=8), planned(batch_size=64)], HERE, probed_here(environment), 50)
    assert [(state.status, state.note) for state in states] == [
        (None, ""),
        ("unsupported", "the data has only 50 images to train on"),
    ]
    with pytest.raises(GnetError, match=r"batch_size: 64 is too large; .* use at most 50"):
        discovery.make_states([planned(batch_size=64)], HERE, probed_here(environment), 50)


def test_without_tensorflow_there_are_neither_peaks_nor_a_trace_and_the_run_says_why(checkout):
    settings = settings_for(checkout)
    environments = {**settings.environments, "": environment_of({**ENVIRONMENT, "tensorflow": None})}
    _, document = run(
        states_for("fine"), dataclasses.replace(settings, environments=environments), profiled=StepConfig()
    )
    why = f"TensorFlow is not installed in {sys.executable}"
    assert document["peaks"] == [{"error": f"{why}, which measures them, so there is no MFU"}]
    assert document["profile_note"] == f"{why}, and steps of no other framework are traced"
    assert not (settings.directory / "traces").exists()


def test_an_unknown_suite_is_refused_with_those_there_are():
    with pytest.raises(GnetError, match="suite: 'speed' is unknown; use one of throughput, execution"):
        discovery.choose_suites(SUITES, ("speed",), "full")
    assert [suite.name for suite in discovery.choose_suites(SUITES, ("precision",), "quick")] == ["precision"]


def test_the_longer_suites_are_left_out_of_a_short_preset_unless_they_are_named():
    names = [suite.name for suite in discovery.choose_suites(SUITES, (), "quick")]
    assert names == ["throughput", "execution", "precision", "batch-size"]
    longer = ["parts", "auxiliary", "implementation"]
    assert [suite.name for suite in discovery.choose_suites(SUITES, (), "full")] == [*names, *longer]
    assert [suite.name for suite in discovery.choose_suites(SUITES, ("parts",), "smoke")] == ["parts"]
    assert [suite.name for suite in discovery.choose_suites(SUITES, ("frameworks",), "full")] == ["frameworks"]


def test_outside_a_checkout_is_refused_in_one_line(tmp_path):
    with pytest.raises(GnetError, match="is not in one; gnet bench drives the files in benchmarks/"):
        discovery.find_checkout(tmp_path)


@pytest.mark.parametrize(
    "text", ["SUITS = 1", "SUITE = 3", "raise SystemExit", "import pytest; pytest.importorskip('no_such_module')", "\0"]
)
def test_a_benchmark_that_declares_no_suite_is_named(tmp_path, text):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "bench_odd.py").write_text(text)
    with pytest.raises(GnetError, match=r"bench_odd\.py declares no SUITE"):
        discovery.discover(tmp_path)


def test_a_benchmark_that_times_no_steps_is_no_suite(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "bench_odd.py").write_text("SUITE = None")
    assert discovery.discover(tmp_path) == []


def test_an_interpreter_that_cannot_tell_of_itself_is_named(tmp_path):
    with pytest.raises(GnetError, match="python: /nowhere/python could not"):
        discovery.probe(Source(python="/nowhere/python", checkout=tmp_path))


def test_an_interpreter_without_the_package_is_named_with_what_it_lacks(tmp_path):
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\necho Traceback >&2\necho \"ModuleNotFoundError: No module named 'click'\" >&2\nexit 1\n"
    )
    python.chmod(0o755)
    with pytest.raises(GnetError, match=f"python: {python} could not describe .* No module named 'click'"):
        discovery.probe(Source(python=str(python), checkout=tmp_path))


def test_every_worker_is_told_what_is_not_the_default(checkout):
    settings = settings_for(checkout)
    (state,) = states_for("fine")
    task = Task(module="bench_fake.py", config=state.case.config, plan=settings.plan, run="now")
    (given,) = [word for word in task.words(settings.own_source, 9) if word.startswith("--gnet-case=")]
    fields = json.loads(given.partition("=")[2])
    assert fields == {"batch_size": 1, "image_size": 96}
    assert StepConfig.from_dict(fields) == state.case.config
