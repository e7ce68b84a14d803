"""The runner against workers that misbehave in every way: real processes, no TensorFlow."""

import dataclasses
import json
from pathlib import Path

import psutil
import pytest

from gnet_core import records, runner
from gnet_core.config import GnetError, StepConfig
from gnet_core.sweep import Plan, PlannedCase
from gnet_core.worker import RunSettings, Worker

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
]

CONFTEST = """
import json, pytest
from gnet_core.config import StepConfig
from gnet_core.protocol import Channel
from gnet_core.timing import Turns

def pytest_addoption(parser):
    for name in ("--gnet-case", "--gnet-plan", "--gnet-channel"):
        parser.addoption(name)

@pytest.fixture
def case(request):
    return StepConfig.from_dict(json.loads(request.config.option.gnet_case))

@pytest.fixture
def turns(request):
    channel = Channel.inherited(int(request.config.option.gnet_channel))
    with channel:
        yield Turns(channel)

@pytest.fixture
def rounds(request):
    return json.loads(request.config.option.gnet_plan)["turns"]
"""

MODULE = f"""
import os, signal, sys, time
BEHAVIOURS = {BEHAVIOURS!r}

def misbehave(behaviour, turns):
    if behaviour == "raises":
        raise ValueError("one two | three")
    if behaviour == "runs out of memory":
        turns.announce("failed", kind="oom", message="ResourceExhaustedError: too large")
        raise MemoryError
    if behaviour == "fails later" and "r2.partial" in " ".join(sys.argv):
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
        eaten = bytearray(400 * 2**20)
        eaten[::4096] = b"x" * len(eaten[::4096])
        time.sleep(600)
    if behaviour == "bad_alloc":
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'")
        os.abort()
    if behaviour == "leaves":
        os._exit(0)

def bench(benchmark, case, turns, rounds):
    behaviour = BEHAVIOURS[case.batch_size - 1]
    turns.announce("phase", name="build")
    if behaviour == "is silent":
        return
    turns.announce("ready")
    taken = []
    def take_turn():
        turns.wait()
        taken.append(1)
        if len(taken) == 2:
            misbehave(behaviour, turns)
    benchmark.pedantic(
        lambda: None, setup=take_turn, teardown=lambda: turns.announce("turn_done"), rounds=rounds
    )
    benchmark.extra_info.update(
        format_version=1, case=case.name, block_steps=1, single_step_seconds=[], retraces_while_timed=0,
        phase_seconds=dict.fromkeys(("import", "build", "trace", "first_call", "warmup"), 1.0), steps=1,
        loss_first=1.0, loss_last=1.0, skipped_steps=0, peak_memory_bytes=1, memory_source="none",
    )
"""


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks" / "conftest.py").write_text(CONFTEST)
    (folder / "benchmarks" / "bench_fake.py").write_text(MODULE)
    (folder / "pytest.ini").write_text("[pytest]\npython_files = bench_*.py\npython_functions = bench*\n")
    return folder


def settings_for(checkout, **plan):
    directory = checkout / "run"
    directory.mkdir()
    return RunSettings(
        checkout=checkout,
        directory=directory,
        plan=Plan(turns=3, **{"limit_seconds": 60.0, **plan}),
        replicates=1,
        memory_bytes=300 * 2**20,
    )


def states_for(checkout, *behaviours):
    return [
        runner.CaseState(
            config=StepConfig(batch_size=BEHAVIOURS.index(behaviour) + 1, seed=number),
            suites=("fake",),
            module=checkout / "benchmarks" / "bench_fake.py",
        )
        for number, behaviour in enumerate(behaviours)
    ]


def ignore(_what: str, _seconds: float) -> None:
    pass


def run(states, settings, progress=ignore):
    document = {"created": "now", "preset": "quick", "device": "cpu", "seed": 0, "environment": {}, "suites": []}
    complete = runner.run(states, settings, document, progress)
    return complete, json.loads((settings.directory / "run.json").read_text())


def processes_of(checkout):
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(checkout) in word for word in process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize(
    ("behaviour", "status", "note"),
    [
        ("raises", "failed", "one two"),
        ("runs out of memory", "oom", "ResourceExhaustedError: too large"),
        ("dies", "failed", "SIGKILL"),
        ("is silent", "failed", "ended with status 0"),
        ("bad_alloc", "oom", "std::bad_alloc"),
        ("leaves", "failed", "ended with status 0"),
        ("eats", "oom", "more than the 0.3 GiB allowed"),
    ],
)
def test_a_worker_that_fails_is_a_row_with_its_status_and_the_others_go_on(checkout, behaviour, status, note):
    settings = settings_for(checkout)
    complete, document = run(states_for(checkout, behaviour, "fine"), settings)
    failed, fine = document["cases"]
    assert complete
    assert (failed["status"], fine["status"]) == (status, "ok")
    assert note in failed["note"]
    assert fine["raw"] == [f"raw/{fine['case']}.r1.json"]
    assert records.load_run(settings.directory).rows[1].samples == 3
    assert not processes_of(checkout)
    assert not list((settings.directory / "raw").glob("*.partial"))


@pytest.mark.parametrize("behaviour", ["hangs", "is stopped"])
def test_a_worker_that_does_not_finish_in_time_is_a_timeout_and_is_ended(checkout, behaviour):
    _, document = run(states_for(checkout, behaviour), settings_for(checkout, limit_seconds=4.0))
    assert (document["cases"][0]["status"], document["cases"][0]["note"]) == ("timeout", "not finished after 4 s")
    assert not processes_of(checkout)


def test_only_a_worker_that_failed_leaves_its_log(checkout):
    settings = settings_for(checkout)
    _, document = run(states_for(checkout, "explains", "fine"), settings)
    failed, fine = (settings.directory / "raw" / f"{case['case']}.r1.log" for case in document["cases"])
    assert document["cases"][0]["note"] == "short"
    assert "ValueError: the whole story" in failed.read_text()
    assert not fine.exists()


def test_ctrl_c_keeps_what_was_finished_and_says_what_was_not(checkout):
    def interrupt(what, _seconds):
        if "timing" in what and "b1-" not in what:
            raise KeyboardInterrupt

    settings = settings_for(checkout)
    states = states_for(checkout, "fine", "hangs", "dies")
    complete, document = run(states, settings, interrupt)
    assert not complete
    assert document["complete"] is False
    assert [case["status"] for case in document["cases"]] == ["ok", None, None]
    assert document["cases"][1]["note"] == "interrupted before it was measured"
    assert records.load_run(settings.directory).rows[0].status == "ok"
    assert not processes_of(checkout)


def test_replicates_are_processes_of_their_own(checkout):
    settings = dataclasses.replace(settings_for(checkout), replicates=2)
    _, document = run(states_for(checkout, "fine"), settings)
    assert len(document["cases"][0]["raw"]) == 2
    assert [replicate for _, replicate in document["order"]] == [1, 2]


def test_a_lost_replicate_is_told_and_the_others_stand(checkout):
    settings = dataclasses.replace(settings_for(checkout), replicates=3)
    states = states_for(checkout, "fails later")
    _, document = run(states, settings)
    (case,) = document["cases"]
    assert case["status"] == "ok"
    assert [name.rpartition(".r")[2] for name in case["raw"]] == ["1.json", "3.json"]
    assert case["note"].startswith("replicate 2 lost (failed): ")


def test_a_batch_larger_than_one_out_of_memory_is_not_tried(checkout):
    states = states_for(checkout, "runs out of memory", "eats")
    states = [dataclasses.replace(state, config=dataclasses.replace(state.config, seed=0)) for state in states]
    _, document = run(states, settings_for(checkout))
    assert [case["status"] for case in document["cases"]] == ["oom", None]
    assert document["cases"][1]["note"] == "not run: batch size 3 was out of memory already"


def test_progress_adds_up_to_the_expected_seconds_whatever_happens(checkout):
    done = []
    settings = settings_for(checkout)
    states = states_for(checkout, "fine", "raises")
    run(states, settings, lambda _what, seconds: done.append(seconds))
    assert sum(done) == pytest.approx(sum(runner.expected_seconds(state.config, settings.plan) for state in states))


def planned(**changes):
    return PlannedCase(config=StepConfig(**changes), suites=("throughput",))


def found():
    return runner.discover(Path(__file__).parents[1])


def test_an_unsupported_precision_is_a_row_in_a_sweep_and_an_error_alone(environment):
    tf32, float32 = planned(precision="tf32"), planned()
    states = runner.make_states([tf32, float32], found(), environment)
    assert [state.status for state in states] == ["unsupported", None]
    assert "TF32" in states[0].note
    with pytest.raises(GnetError, match="precision: 'tf32' cannot be done on cpu"):
        runner.make_states([tf32], found(), environment)


def test_a_batch_of_more_images_than_there_are_is_a_row_in_a_sweep_and_an_error_alone(environment):
    states = runner.make_states([planned(batch_size=8), planned(batch_size=64)], found(), environment, 50)
    assert [(state.status, state.note) for state in states] == [
        (None, ""),
        ("unsupported", "the data has only 50 images to train on"),
    ]
    with pytest.raises(GnetError, match=r"batch_size: 64 is too large; .* use at most 50"):
        runner.make_states([planned(batch_size=64)], found(), environment, 50)


def test_an_unknown_suite_is_refused_with_those_there_are():
    with pytest.raises(GnetError, match="suite: 'speed' is unknown; use one of throughput, execution"):
        runner.choose_suites(found(), ("speed",))
    assert [item.suite.name for item in runner.choose_suites(found(), ("precision",))] == ["precision"]


def test_outside_a_checkout_is_refused_in_one_line(tmp_path):
    with pytest.raises(GnetError, match="is not in one; gnet bench drives the files in benchmarks/"):
        runner.find_checkout(tmp_path)


def test_a_benchmark_that_declares_no_suite_is_named(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "bench_odd.py").write_text("SUITS = 1")
    with pytest.raises(GnetError, match=r"bench_odd\.py declares no SUITE"):
        runner.discover(tmp_path)


def test_an_interpreter_that_cannot_tell_of_itself_is_named():
    with pytest.raises(GnetError, match="python: /nowhere/python could not"):
        runner.probe("/nowhere/python")


def test_every_worker_is_started_with_its_whole_configuration(checkout):
    settings = settings_for(checkout)
    (state,) = states_for(checkout, "fine")
    worker = Worker(state.config, state.module, "stem", settings, ignore)
    (given,) = [word for word in worker.command(9) if word.startswith("--gnet-case=")]
    assert StepConfig.from_dict(json.loads(given.partition("=")[2])) == state.config
