"""Runs that go on until their questions are settled: whole runs of the command, whose processes are stand-ins."""

import itertools
import json
import math
import random
import shutil
from pathlib import Path

import pytest

from gnet_core.cli import bench, progress
from gnet_core.files import whole
from gnet_core.run import account, budget, discovery, runner
from gnet_core.run.cohort import Outcome
from gnet_core.run.endings import WorkerLost
from tests.conftest import environment_of, raw_document

ROOT = Path(__file__).parents[2]
WORDS = ("bench", "execution", "--preset", "smoke", "--until", "resolved", "--device", "cpu")
SLOWDOWN = {"graph": 1.0, "eager": 2.5, "xla": 1.012}
"""Of the time of a step: one is seen at the first look, one takes many."""


class Clock:
    """Stands for the module time: only the stand-ins for processes take any."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


class Laboratory:
    """What the stand-ins measure and what it costs, and what they were asked for."""

    def __init__(self, clock):
        self.clock = clock
        self.slowdown = dict(SLOWDOWN)
        self.start_seconds, self.turn_seconds = 10.0, 1.0
        self.noise = 0.01
        self.lost: set[str] = set()
        self.cohorts: list[list[str]] = []
        self.turns: list[int] = []
        self.together: list[bool] = []

    def seconds(self, job, turn):
        """The same for the same process, whenever it is measured."""
        chance = random.Random(f"{job.worker}/{turn}")
        return 0.02 * self.slowdown[job.case.config.execution] * math.exp(chance.gauss(0, self.noise))


@pytest.fixture
def laboratory(monkeypatch, environment):
    made = Laboratory(Clock())

    class StandIn:
        def __init__(self, jobs, number, settings, _progress, *, account, deadline, step_seconds):
            self.jobs, self.number, self.settings = jobs, number, settings
            self.account, self.deadline = account, deadline
            made.together.append(all(job.case in step_seconds for job in jobs))

        def run(self):
            outcome, turns, taken = Outcome(), self.settings.plan.turns, dict.fromkeys(self.jobs, 0)
            self.account.begin("starting")
            made.clock.now += made.start_seconds * len(self.jobs)
            self.account.begin("timing")
            for number in range(turns):
                outcome.order.append(list(range(len(self.jobs))))
                for job in self.jobs:
                    if made.clock.now >= self.deadline:
                        break
                    made.clock.now += made.turn_seconds
                    taken[job] += 1
                    row = {"run": self.settings.run, "cohort": self.number, "round": number + 1, "position": 1}
                    row |= {"worker": str(job.worker), "steps": 10, "waiting_cpu_share": 0.0, "disturbed": ""}
                    row |= {"gpu_energy_joules": None}
                    outcome.turns.append(row)
            self.account.begin("waiting")
            for job, count in taken.items():
                if str(job.worker) in made.lost:
                    outcome.lost[job] = WorkerLost("failed", "it died")
                elif count:
                    blocks = [made.seconds(job, turn) for turn in range(count)]
                    document = raw_document(job.case.config, blocks, run=self.settings.run)
                    document["datetime"] = str(job.worker)
                    (self.settings.directory / job.worker.raw_file).write_text(json.dumps(document))
                    outcome.finished.add(job)
            made.cohorts.append(sorted(str(job.worker) for job in self.jobs))
            made.turns.append(turns)
            return outcome

    monkeypatch.setattr(runner, "Cohort", StandIn)
    monkeypatch.setattr(runner, "peaks", lambda *_: {})
    monkeypatch.setattr(discovery, "probe", lambda _source, **_how: environment_of(environment))
    for module in (account, budget, bench, progress):
        monkeypatch.setattr(module, "time", made.clock)
    monkeypatch.chdir(ROOT)
    return made


def document_of(directory):
    return json.loads((directory / "run.json").read_text())


def executions(workers):
    return sorted({worker.partition("-")[0] for worker in workers})


def verdicts(document):
    return {cell["variant"].partition("-")[0]: cell["verdict"] for cell in document["looks"][-1]["comparisons"]}


def test_a_case_that_is_settled_is_started_no_more_and_its_base_is_while_any_is_open(gnet, laboratory, tmp_path):
    status, out, _err = gnet(*WORDS, "--out", tmp_path / "run")
    assert status == 0, out
    document = document_of(tmp_path / "run")
    assert verdicts(document) == {"eager": "SLOWER", "xla": "SAME"}
    by_cohort = list(map(executions, laboratory.cohorts))
    assert by_cohort[:3] == [["eager", "graph", "xla"]] * 3
    assert len(by_cohort) > 3
    assert by_cohort[3:] == [["graph", "xla"]] * (len(by_cohort) - 3)


def test_every_look_is_in_the_file_with_what_was_known_before_it(gnet, laboratory, tmp_path):
    gnet(*WORDS, "--out", tmp_path / "run")
    document = document_of(tmp_path / "run")
    assert document["max_looks"] == 20  # no budget was given
    looks = document["looks"]
    assert [look["cohorts"] for look in looks] == list(range(3, len(laboratory.cohorts) + 1))
    spent = [look["spent_error"] for look in looks]
    assert spent == sorted(spent)
    assert spent[0] == pytest.approx((3 / 20) ** 1.5)
    eager, xla = looks[0]["comparisons"]
    assert (eager["verdict"], eager["pairs"]) == ("SLOWER", 3)
    assert eager["low"] < eager["ratio"] < eager["high"]
    assert eager["ratio"] == pytest.approx(1 / 2.5, rel=0.03)
    assert xla["verdict"] == "UNRESOLVED"
    assert looks[-1]["comparisons"][0] == eager  # what is settled keeps the pairs that settled it


def test_a_case_that_is_compared_with_none_gets_processes_for_an_interval_and_after_the_questions(
    gnet, laboratory, tmp_path
):
    gnet(*WORDS[:2], "batch-size", *WORDS[2:], "--execution", "graph,eager", "--out", tmp_path / "run")
    document = document_of(tmp_path / "run")
    assert {len(case["raw"]) for case in document["cases"]} == {3}
    small = [[worker for worker in workers if "-b4-" in worker] for workers in laboratory.cohorts]
    assert [len(workers) for workers in small] == [2, 0, 0, 2, 2]


def test_a_base_that_is_in_several_cohorts_stays_until_its_last_variant_has_all_its_looks(gnet, laboratory, tmp_path):
    laboratory.slowdown |= {"eager": 1.0, "xla": 1.0}
    laboratory.noise = 0.3  # too much of it for anything to be settled
    status, out, _err = gnet(*WORDS, "--memory", str(3 * 2**30), "--out", tmp_path / "run")
    assert status == 0, out
    look = document_of(tmp_path / "run")["looks"][-1]
    assert [cell["pairs"] for cell in look["comparisons"]] == [20, 20]
    assert set(map(len, laboratory.cohorts)) == {2}  # the base beside either


def test_a_case_that_cannot_be_measured_keeps_no_other_from_its_interval(gnet, laboratory, tmp_path):
    words = ("batch-size", *WORDS[2:], "--execution", "graph,eager", "--precision", "float32,tf32")
    status, out, _err = gnet(*WORDS[:2], *words, "--out", tmp_path / "run")
    assert status == 0, out
    cases = document_of(tmp_path / "run")["cases"]
    assert {(case["status"], len(case["raw"])) for case in cases} == {("ok", 3), ("unsupported", 0)}
    assert laboratory.cohorts


def test_what_is_compared_with_none_takes_few_turns(gnet, laboratory, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "LONE_TURNS", 2)
    gnet(*WORDS[:2], "batch-size", *WORDS[2:], "--execution", "graph,eager", "--out", tmp_path / "run")
    alone = [all("-b4-" in worker for worker in workers) for workers in laboratory.cohorts]
    assert [turns == 2 for turns in laboratory.turns] == alone
    assert any(alone)


def test_later_processes_start_together_and_take_the_turns_that_the_pilot_advises(gnet, laboratory, tmp_path):
    laboratory.start_seconds = 100.0
    gnet(*WORDS, "--out", tmp_path / "run")
    document = document_of(tmp_path / "run")
    assert laboratory.together == [False, *[True] * (len(laboratory.cohorts) - 1)]
    assert laboratory.turns[:3] == [3, 3, 3]  # as the preset says
    assert set(laboratory.turns[3:]) == {document["turns"]}
    assert document["turns"] > 3  # since a start costs as much as a hundred turns


def test_the_last_look_follows_from_the_cost_and_not_from_what_was_seen(gnet, laboratory, tmp_path):
    # 3 cases, of which a process takes 13 s.
    for seconds, last in ((60, None), (200, 6), (500, 12), (5000, 20)):
        for number, slowdown in enumerate(({"eager": 2.5}, {"eager": 1.0}, {"eager": 0.2})):
            laboratory.slowdown = SLOWDOWN | slowdown
            out = tmp_path / f"{seconds}-{number}"
            gnet(*WORDS, "--budget", f"{seconds}s", "--out", out)
            assert document_of(out).get("max_looks") in ((last,) if last else (6,)), (seconds, slowdown)


def test_a_budget_is_kept_to_a_turn_and_what_is_kept_for_the_report(gnet, laboratory, tmp_path):
    laboratory.slowdown["xla"], laboratory.noise = 1.018, 0.04  # too near the margin to be settled
    for seconds in range(80, 400, 45):
        laboratory.clock.now, began = 1000.0, 1000.0
        status, _out, _err = gnet(*WORDS, "--budget", f"{seconds}s", "--out", tmp_path / str(seconds))
        spent = laboratory.clock.now - began
        assert spent <= seconds - budget.REPORT_SECONDS + laboratory.turn_seconds
        assert status == 0
        assert document_of(tmp_path / str(seconds))["complete"]
        assert spent > seconds - budget.REPORT_SECONDS - 40 or len(laboratory.cohorts) >= 20


def test_a_run_whose_budget_ended_goes_on_with_more_and_with_the_error_it_had_left(gnet, laboratory, tmp_path):
    laboratory.slowdown["xla"], laboratory.noise = 1.018, 0.04
    gnet(*WORDS, "--budget", "170s", "--out", tmp_path / "run")
    before = document_of(tmp_path / "run")
    assert verdicts(before)["xla"] == "UNRESOLVED"
    status, _out, err = gnet("bench", "--resume", tmp_path / "run", "--budget", "2m")
    assert status == 0, err
    after = document_of(tmp_path / "run")
    assert len(after["looks"]) > len(before["looks"])
    assert after["looks"][: len(before["looks"])] == before["looks"]
    assert after["max_looks"] == before["max_looks"]
    assert after["budget_seconds"] == pytest.approx(sum(before["time_spent"].values()) + 120, abs=1)
    assert len(set(map(tuple, laboratory.cohorts))) == len(laboratory.cohorts)  # no process was measured twice


def test_a_budget_that_ends_before_each_case_has_a_process_says_what_more_it_takes(gnet, laboratory, tmp_path):
    laboratory.start_seconds = 60.0
    status, _out, err = gnet(*WORDS, "--budget", "70s", "--out", tmp_path / "run")
    assert status == 2
    assert "gnet: budget: it ended before a first process of 3 of 3 cases, which take about" in err
    assert not document_of(tmp_path / "run")["complete"]
    status, _out, err = gnet("bench", "--resume", tmp_path / "run", "--budget", "20m")
    assert status == 0, err
    assert verdicts(document_of(tmp_path / "run"))["eager"] == "SLOWER"


def test_a_budget_that_no_machine_could_keep_is_refused_before_anything_starts(gnet, laboratory, tmp_path):
    status, out, err = gnet(*WORDS, "--budget", "5s", "--out", tmp_path / "run")
    assert (status, laboratory.cohorts) == (2, [])
    assert "gnet: budget: 5 s is shorter than a first process of each of the 3 cases, which takes " in err
    assert "Traceback" not in out + err


def test_a_process_that_is_lost_costs_a_pair_and_no_verdict(gnet, laboratory, tmp_path):
    laboratory.lost = {"eager-float32-b8-i96-synthetic-cpu.r2"}
    status, out, _err = gnet(*WORDS, "--out", tmp_path / "run")
    assert status == 0, out
    document = document_of(tmp_path / "run")
    assert verdicts(document)["eager"] == "SLOWER"
    (eager,) = (case for case in document["cases"] if case["case"].startswith("eager"))
    assert len(eager["raw"]) == 3
    assert "replicate 2 lost" in eager["note"]


def test_a_case_whose_later_processes_are_all_lost_does_not_go_on_for_ever(gnet, laboratory, tmp_path):
    laboratory.lost = {f"eager-float32-b8-i96-synthetic-cpu.r{number}" for number in range(2, 100)}
    status, out, _err = gnet(*WORDS, "--out", tmp_path / "run")
    assert status == 0, out
    document = document_of(tmp_path / "run")
    assert verdicts(document) == {"eager": "UNRESOLVED", "xla": "SAME"}
    assert sum("eager" in executions(workers) for workers in laboratory.cohorts) == 22


class KilledError(BaseException):
    """Ends the command as SIGKILL would: nothing more is written."""


def kill_at_write(monkeypatch, number, *, written):
    """Let the write of that number, counted from 0, be the last that is done or the first that is not."""
    real, count = whole.write_whole, itertools.count()

    def write(path, text):
        this = next(count)
        if this < number or (this == number and written):
            real(path, text)
        if this >= number:
            raise KilledError

    monkeypatch.setattr(whole, "write_whole", write)


@pytest.mark.usefixtures("laboratory")
def test_whenever_it_is_killed_it_comes_to_the_same_looks(gnet, tmp_path, monkeypatch, faults):
    # Of write_documents nothing is wanted here.
    monkeypatch.setattr(bench, "write_documents", lambda _write: None)
    real, count = whole.write_whole, itertools.count()

    def counted(path, text):
        next(count)
        real(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(whole, "write_whole", counted)
        gnet(*WORDS, "--out", tmp_path / "whole")
    wanted = document_of(tmp_path / "whole")
    moments = [(number, written) for number in range(next(count) - 1) for written in (False, True)]
    for number, written in faults.slice_of(moments, 8):
        out = tmp_path / f"{number}-{written}"
        with monkeypatch.context() as patch:
            kill_at_write(patch, number, written=written)
            status, _out, err = gnet(*WORDS, "--out", out)
            assert status != 0
            assert "KilledError" in err
        if not (out / "run.json").exists():
            continue
        status, _out, err = gnet("bench", "--resume", out)
        assert status == 0, err
        again = document_of(out)
        assert again["looks"] == wanted["looks"], (number, written)
        assert (again["max_looks"], again["turns"]) == (wanted["max_looks"], wanted["turns"])


SPOILT = {
    "a look is missing": lambda looks: looks.pop(1),
    "the first look is missing": lambda looks: looks.pop(0),
    "the last look is missing": lambda looks: looks.pop(),
    "all looks are missing": lambda looks: looks.clear(),
    "looks are out of order": lambda looks: looks.reverse(),
    "a look is there twice": lambda looks: looks.append(looks[-1]),
    "a look is from the future": lambda looks: looks[-1].update(cohorts=10**6),
    "a ratio is another": lambda looks: looks[0]["comparisons"][0].update(ratio=0.5),
    "a verdict is another": lambda looks: looks[0]["comparisons"][1].update(verdict="SLOWER"),
    "error was saved": lambda looks: looks[-1].update(spent_error=0.001),
    "a comparison is missing": lambda looks: looks[0]["comparisons"].pop(),
    "a comparison is another": lambda looks: looks[0]["comparisons"][0].update(variant="nothing"),
}


@pytest.mark.usefixtures("laboratory")
@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_looks_that_are_not_what_the_raw_files_give_are_refused_and_nothing_is_lost(gnet, tmp_path, spoil):
    run = tmp_path / "run"
    gnet(*WORDS, "--out", run)
    document = document_of(run)
    spoil(document["looks"])
    (run / "run.json").write_text(json.dumps(document))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for words in (("bench", "--resume", run), ("report", run)):
        status, out, err = gnet(*words)
        assert (status, out) == (2, "")
        assert err.startswith("gnet: ")
        assert err.count("\n") == 1
        assert "run.json: field 'looks" in err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("laboratory")
def test_another_last_look_is_not_believed(gnet, tmp_path):
    run = tmp_path / "run"
    gnet(*WORDS, "--out", run)
    document = document_of(run)
    for wrong in (8, None):
        (run / "run.json").write_text(json.dumps(document | {"max_looks": wrong}))
        status, _out, err = gnet("bench", "--resume", run)
        assert status == 2
        assert "run.json: field '" in err


@pytest.mark.usefixtures("laboratory")
def test_a_raw_file_that_is_gone_costs_its_row_as_ever(gnet, tmp_path):
    run = tmp_path / "run"
    gnet(*WORDS, "--out", run)
    next((run / "raw").glob("eager*.json")).unlink()
    status, out, _err = gnet("report", run)
    assert status != 2
    assert "eager" in out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--budget", "0"), ["budget: '0'", "20m"]),
        (("--budget", "0s"), ["budget: '0s'"]),
        (("--budget", "-5m"), ["budget: '-5m'"]),
        (("--budget", "soon"), ["budget: 'soon'", "1h30m"]),
        (("--budget", "5"), ["budget: '5'"]),
        (("--budget", "1m1h"), ["budget: '1m1h'"]),
        (("--budget", "9999h99999m99999999s"), ["budget: '9999h"]),
        (("--budget", "9" * 50 + "h"), ["budget: '999"]),
        (("--until", "bored"), ["until: 'bored'", "resolved, fixed"]),
        (("--until", "resolved", "--replicates", "3"), ["replicates: 3", "--until resolved"]),
        (("--until", "fixed", "--budget", "5m"), ["budget: 300 s", "--until resolved"]),
        (("--replicates", "3", "--budget", "5m"), ["budget: 300 s"]),
    ],
)
def test_what_does_not_go_together_is_refused(gnet, laboratory, tmp_path, words, parts):
    status, out, err = gnet("bench", "execution", "--device", "cpu", *words, "--out", tmp_path / "run")
    assert (status, out, laboratory.cohorts) == (2, "", [])
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


def test_there_is_nothing_to_resolve_where_nothing_is_compared(gnet, laboratory, tmp_path):
    words = ("bench", "throughput", "--device", "cpu", "--out", tmp_path / "run")
    status, _out, err = gnet(*words, "--until", "resolved")
    assert (status, laboratory.cohorts) == (2, [])
    assert "gnet: until: 'resolved' has no question to settle" in err
    status, _out, err = gnet(*words)  # whose preset goes on until all is resolved
    assert status == 0, err
    assert {len(case["raw"]) for case in document_of(tmp_path / "run")["cases"]} == {3}


@pytest.mark.usefixtures("laboratory")
@pytest.mark.parametrize("words", [("--until", "fixed"), ("--replicates", "4")])
def test_a_run_goes_on_by_the_rule_it_began_with(gnet, tmp_path, words):
    run = tmp_path / "run"
    gnet(*WORDS, "--out", run)
    before = (run / "run.json").read_text()
    status, out, err = gnet("bench", "--resume", run, *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"gnet: {words[0].removeprefix('--')}: ")
    assert (run / "run.json").read_text() == before


def test_a_run_that_is_settled_has_nothing_to_go_on_with(gnet, laboratory, tmp_path):
    gnet(*WORDS, "--out", tmp_path / "run")
    measured = len(laboratory.cohorts)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "run", copy)
    status, _out, err = gnet("bench", "--resume", tmp_path / "run", "--budget", "10m")
    assert status == 0, err
    assert len(laboratory.cohorts) == measured
    assert document_of(tmp_path / "run")["looks"] == document_of(copy)["looks"]
