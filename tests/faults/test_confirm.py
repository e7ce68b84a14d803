"""Real runs: what looked slower between two of them is measured again before a gate fails on it."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.faults import checkout as house

BENCH = ["bench", "throughput", "--preset", "smoke", "--execution", "graph", "--precision", "float32"]
BENCH += ["--batch-size", "2", "--device", "cpu", "--memory", str(2**32), "--replicates", "3"]
CASE = "graph-float32-b2-i96-synthetic-cpu"
MARGIN = "80"
"""In percent. Code that is ten times as slow is beyond it, and equal code on a busy machine is not."""
CONFIRM = ["--margin", MARGIN, "--fail-on", "slower", "--confirm"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A checkout whose uncommitted code is ten times as slow, and the folder with a run of each code in it."""
    folder = tmp_path_factory.mktemp("confirm")
    checkout = house.make_checkout(folder / "checkout")
    measure(checkout, folder / "base")
    step = checkout / "gnet_core" / "frameworks" / "tf" / "case.py"
    step.write_text(step.read_text().replace("sleep(0.002)", "sleep(0.02)"))
    measure(checkout, folder / "new")
    return checkout, folder


def measure(checkout, directory):
    status, _, err = house.gnet(checkout, *BENCH, "--out", str(directory))
    assert status == 0, err


@pytest.fixture
def chance(runs, tmp_path):
    """A checkout with the code of BASE, BASE, and a run of the same code that a slow quarter of an hour befell."""
    checkout = shutil.copytree(runs[0], tmp_path / "checkout")
    subprocess.run(["git", "-C", str(checkout), "checkout", "--quiet", "."], check=True)
    directory = shutil.copytree(runs[1] / "base", tmp_path / "new")
    run = json.loads((directory / "run.json").read_text()) | {"run": "another run"}
    (directory / "run.json").write_text(json.dumps(run))
    for path in (directory / "raw").glob("*.json"):
        document = json.loads(path.read_text())
        for benchmark in document["benchmarks"]:
            benchmark["stats"]["data"] = [10 * seconds for seconds in benchmark["stats"]["data"]]
            benchmark["extra_info"]["run"] = "another run"
        path.write_text(json.dumps(document))
    return checkout, runs[1] / "base", directory


def test_a_true_slowdown_is_confirmed_in_turns_with_the_revision_that_base_measured(runs, tmp_path):
    checkout, folder = runs
    words = ["compare", str(folder / "base"), str(folder / "new"), *CONFIRM, "--budget", "60s", "--json"]
    status, out, err = house.gnet(checkout, *words, "--out", str(tmp_path / "out"))
    assert status == 1, err
    document = json.loads(out)
    assert document["failed_gates"] == {"slower": [CASE]}
    (first,), (again,) = document["comparisons"], document["confirmation"]["comparisons"]
    assert (first["verdict"], first["mode"]) == ("SLOWER", "sequential")
    assert (again["case"], again["verdict"], again["mode"]) == (CASE, "SLOWER", "turns")
    assert document["confirmation"]["directory"] == str(tmp_path / "out" / "confirm")
    assert (document["confirmation"]["complete"], document["confirmation"]["why_sequential"]) == (True, "")
    run = house.read(tmp_path / "out" / "confirm")
    assert (run["until"], run["budget_seconds"], run["options"]["case"]) == ("resolved", 60, [CASE])
    assert [case["source"] for case in run["cases"]] == [run["options"]["against"], "here"]
    assert (tmp_path / "out" / "confirm" / "report.html").is_file()
    assert "Measured again in fresh processes" in (tmp_path / "out" / "compare.md").read_text()


def test_a_first_verdict_that_was_chance_fails_no_gate(chance, tmp_path):
    checkout, base, new = chance
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    words = ["compare", str(base), str(new), *CONFIRM, "--budget", "30s", "--base-python", str(python)]
    status, out, err = house.gnet(checkout, *words)
    assert status == 0, err
    assert "NEW against BASE is SLOWER" in out
    assert "Both were measured anew, in turns" in out
    assert "Gate failed" not in out
    (directory,) = (checkout / "reports").glob("*-confirm")
    assert f"The second measurement is in {directory}." in out
    assert house.read(directory)["options"]["python"] == [f"base={python}", f"new={sys.executable}"]


def test_without_base_at_hand_new_is_measured_alone_and_the_output_says_why(chance, tmp_path):
    checkout, base, new = chance
    python = house.make_interpreter(tmp_path / "other")
    words = ["compare", str(base), str(new), *CONFIRM, "--base-python", str(python), "--out", str(tmp_path / "out")]
    status, out, err = house.gnet(checkout, *words)
    assert status == 0, err
    assert "Only NEW was measured anew, so the two were timed one after the other" in out
    assert f"{base} was measured with another environment: " in out
    (case,) = house.read(tmp_path / "out" / "confirm")["cases"]
    assert (case["case"], len(case["raw"])) == (CASE, 3)
    assert "measured again in fresh processes: 1 SLOWER" not in out


def test_with_neither_at_hand_what_was_found_is_printed_and_nothing_is_started(chance, tmp_path):
    checkout, base, new = chance
    with (checkout / "gnet_core" / "text.py").open("a") as file:
        file.write("# changed\n")
    words = ["compare", str(base), str(new), *CONFIRM, "--out", str(tmp_path / "out")]
    status, out, err = house.gnet(checkout, *words)
    assert (status, err) == (
        2,
        f"gnet: {new} was measured with other code than this checkout has: gnet_core/text.py\n",
    )
    assert "NEW against BASE is SLOWER" in out
    assert "Gate failed" not in out
    assert (tmp_path / "out" / "compare.html").is_file()
    assert not (tmp_path / "out" / "confirm").exists()
    status, out, err = house.gnet(checkout, *words[:-1], str(tmp_path / "again"), "--json")
    assert (status, err.count("\n")) == (2, 1)
    assert (json.loads(out)["confirmation"], json.loads(out)["failed_gates"]) == (None, {})


def test_a_second_measurement_that_is_interrupted_is_gone_on_with_and_is_then_the_gate(runs, tmp_path):
    checkout, folder = runs
    words = ["compare", str(folder / "base"), str(folder / "new"), *CONFIRM, "--out", str(tmp_path / "out")]
    words += ["--junit", str(tmp_path / "junit.xml")]
    with house.start(checkout, *words) as run:
        try:
            end = time.monotonic() + 60
            while not list((tmp_path / "out" / "confirm").glob("raw/*.json")) and time.monotonic() < end:
                time.sleep(0.02)
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 130, err
    assert "it decides nothing yet" in out
    assert "slower: SLOWER, " in (tmp_path / "junit.xml").read_text()  # the first verdict
    assert "Gate failed" not in out
    kept = house.finished_files(tmp_path / "out" / "confirm")
    _, _, command = err.strip().splitlines()[-1].partition("go on by: gnet ")
    status, out, err = house.gnet(checkout, *shlex.split(command), "--budget", "60s")
    assert status == 1, err
    assert f"Gate failed: slower: {CASE}@here" in out
    assert kept.items() <= house.finished_files(tmp_path / "out" / "confirm").items()


def test_a_budget_that_holds_no_process_is_refused_and_opens_no_gate(runs, tmp_path):
    checkout, folder = runs
    words = ["compare", str(folder / "base"), str(folder / "new"), *CONFIRM, "--budget", "1s"]
    status, out, err = house.gnet(checkout, *words, "--out", str(tmp_path / "out"))
    assert status == 2
    assert "SLOWER" in out  # what was found stays printed
    assert "gnet: budget: 1 s is shorter than a first process of each of the 2 cases" in err
