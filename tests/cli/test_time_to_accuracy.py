"""gnet bench time-to-accuracy: what is refused, two real sessions that are killed and gone on with, and their files."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gnet_core.run import discovery
from gnet_core.time_to_accuracy import document as documents
from gnet_core.training.document import read_training
from tests.conftest import environment_of
from tests.pictures import write_folder
from tests.time_to_accuracy.documents import stored

ROOT = Path(__file__).parents[2]
COMMAND = ["bench", "time-to-accuracy"]


@pytest.fixture
def gnet(gnet: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> Any:
    """Calls the command line in this process, where no TensorFlow is asked about itself."""
    monkeypatch.setattr(discovery, "probe", lambda _source, **_how: environment_of(environment))
    monkeypatch.chdir(ROOT)
    return gnet


def refused(answer: tuple[Any, str, str], *parts: str) -> None:
    status, out, err = answer
    assert (status, out) == (2, ""), err
    lines = [line for line in err.splitlines() if not line.startswith("gnet: note: ")]
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--target", "101"], ["target: 101 will not do; use a test accuracy above 0 and of at most 100 percent"]),
        (["--target", "0"], ["target: 0 will not do"]),
        (["--target", "nan"], ["target: nan will not do"]),
        (["--seeds", "0"], ["seeds: 0 will not do; use a whole number of at least 1"]),
        (["--seeds", "2000"], ["seeds: 2000 is too many; use at most 1000"]),
        (["--seeds", "2", "--seed", str(2**32 - 1)], ["seed: 4294967296 is too large"]),
        (["--epochs", "0"], ["epochs: 0 will not do"]),
        (["--margin", "0"], ["margin: 0 will not do; use percentage points above 0 and below 100"]),
        (["--data", "nowhere", "--target", "90"], ["data: 'nowhere'"]),
        (["--data", "synthetic", "--target", "90"], ["data: 'synthetic' has nothing to learn"]),
        (["--data", "tests"], ["target: 'tests' needs one; only digits and fashion-mnist have a target"]),
        (["--as-published"], ["No such option"]),
        (["throughput"], ["unexpected extra argument (throughput)"]),
        (["--precision", "float32,float32"], ["precision: 'float32,float32' names one twice"]),
        (["--precision", "half"], ["precision: 'half' is unknown"]),
        (["--precision", "tf32"], ["precision: 'tf32' cannot be done on cpu"]),
        (["--execution", "fast"], ["execution: 'fast' is unknown"]),
        (["--batch-size", "5000"], ["batch_size: 5000 is too large; the data has only 1438 images"]),
        (["--batch-size", "1"], ["batch_size: 1 is too small"]),
        (["--image-size", "10"], ["image_size: 10"]),
        (["--learning-rate", "-1"], ["learning_rate: -1"]),
        (["--warmup", "1"], ["warmup: 1 will not do"]),
        (["--augment", "flip"], ["augment"]),
        (["--device", "gpu"], ["device: 'gpu' is not there"]),
        (["--budget", "soon"], ["budget: 'soon'"]),
        (["--out", "tests"], ["out: tests has files in it"]),
        (["--mllog", "no/such/log.txt"], ["mllog: 'no/such/log.txt' is in no folder that there is"]),
        (["--resume", "tests"], ["time_to_accuracy.json' is missing; name a directory of gnet bench time-to-accuracy"]),
        (["--resume", "tests", "--out", "x"], ["out: x cannot be named beside --resume"]),
    ],
)
def test_bad_input_is_one_line(gnet: Any, words: list[str], parts: list[str], tmp_path: Path) -> None:
    out = [] if {"--out", "--resume"} & set(words) else ["--out", tmp_path / "run"]
    refused(gnet(*COMMAND, *words, *out), *parts)
    assert not (tmp_path / "run").exists()


def test_beside_other_suites_it_is_refused_and_bench_names_it(gnet: Any) -> None:
    refused(gnet("bench", "throughput", "time-to-accuracy"), "'time-to-accuracy' has options of its own")
    refused(gnet("bench", "--seed", "1", "time-to-accuracy"), "use gnet bench time-to-accuracy, and its options behind")
    status, out, _ = gnet("bench", "--help")
    assert status == 0
    assert "gnet bench time-to-accuracy" in out
    status, out, _ = gnet(*COMMAND, "--help")
    assert status == 0
    assert "--stop-at-target" in out


def test_a_log_that_is_there_already_is_not_added_to(gnet: Any, tmp_path: Path) -> None:
    (tmp_path / "log_1.txt").write_text("mine")
    words = ["--mllog", tmp_path / "log.txt", "--out", tmp_path / "run"]
    refused(gnet(*COMMAND, *words), "log_1.txt' is there already")
    refused(gnet("train", "--mllog", tmp_path / "log_1.txt"), "log_1.txt' is there already")
    assert (tmp_path / "log_1.txt").read_text() == "mine"


def test_the_directory_of_another_run_and_other_options_are_refused(gnet: Any, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    refused(gnet(*COMMAND, "--resume", tmp_path), "time_to_accuracy.json' is missing")
    (tmp_path / "time_to_accuracy.json").write_text(json.dumps(stored({"float32": [20.0]})))
    refused(gnet(*COMMAND, "--resume", tmp_path, "--epochs", "9"), "epochs: 9 was asked, but", "with 4; leave it out")
    refused(gnet(*COMMAND, "--resume", tmp_path), "is missing, of which time_to_accuracy.json has 4 epochs")
    (tmp_path / "time_to_accuracy.json").write_text("[]")
    refused(gnet(*COMMAND, "--resume", tmp_path), "it holds no JSON object")


def test_gnet_report_makes_the_pages_again(gnet: Any, tmp_path: Path) -> None:
    (tmp_path / "time_to_accuracy.json").write_text(json.dumps(stored({"float32": [20.0, None, 21.0]})))
    status, out, err = gnet("report", tmp_path)
    assert status == 0, err
    assert "graph float32: reached by 2 of 3, median 21.0 s (20.0–∞)" in out
    assert "Time to 98.5 % test accuracy" in (tmp_path / "report.md").read_text()
    status, out, _ = gnet("report", tmp_path, "--json")
    assert status == 0
    assert json.loads(out)["results"][0]["reached"] == 2
    refused(gnet("report", tmp_path, "--fail-on", "slower"), "holds sessions of time-to-accuracy")


def run_gnet(*words: object) -> list[str]:
    return [sys.executable, "-m", "gnet_core", *COMMAND, *map(str, words)]


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in path.read_text().splitlines()]


def test_real_sessions_go_on_after_a_kill_and_leave_ledgers_logs_and_networks(tmp_path: Path, gnet: Any) -> None:
    photos, out, log = write_folder(tmp_path / "photos", images=5), tmp_path / "run", tmp_path / "log.txt"
    words = ["--data", photos, "--target", "1", "--epochs", "4", "--seeds", "2", "--execution", "eager"]
    words += ["--precision", "float32", "--batch-size", "4", "--image-size", "67", "--mllog", log, "--out", out]
    first = out / "sessions" / "eager-float32-b4-i67-photos-cpu-learning_rate=0.005-seed0"
    with (tmp_path / "said.txt").open("w") as said:
        process = subprocess.Popen(run_gnet(*words), cwd=ROOT, stdout=said, stderr=said)
        while process.poll() is None and not (first / "training.json").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, (tmp_path / "said.txt").read_text()
    (half, waiting) = documents.read(out).sessions
    assert (half.status, waiting.status) == ("unfinished", "waiting")

    words = ["--resume", out, "--mllog", log, "--json"]
    answer = subprocess.run(run_gnet(*words), cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    document = documents.read(out)
    assert document.complete
    assert [session.processes for session in document.sessions] == [2, 1]
    for session in document.sessions:
        assert len(session.test_accuracy) == 4
        assert session.reached is not None
        assert session.ledger_gap is not None
        assert session.ledger_gap < 0.01
        training = read_training(out / session.folder)
        assert training.reached == session.reached
        assert training.wall_time == session.wall_time
        assert (out / session.folder / "final.keras").exists()
    printed = json.loads(answer.stdout)
    assert [result["reached"] for result in printed["results"]] == [2]
    assert "This is a first look: 2 seeds" in (out / "report.md").read_text()
    for number in range(2):
        written = events(tmp_path / f"log_{number}.txt")
        times = [event["time_ms"] for event in written]
        assert times == sorted(times)
        assert [event["key"] for event in written].count("run_stop") == 1
    assert str(tmp_path) not in (tmp_path / "log_0.txt").read_text()

    shutil.rmtree(first)
    refused(gnet(*COMMAND, "--resume", out), "is missing, of which time_to_accuracy.json has 4 epochs; put it back")
    assert not first.exists()
