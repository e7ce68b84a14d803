"""The command line as a user meets it: bad input in one clear line, and each command once for real."""

import copy
import dataclasses
import datetime
import html
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from gnet_core.cli import main
from gnet_core.cli import options as command_line
from gnet_core.config import GnetError, StepConfig
from gnet_core.frameworks.tf import command_buffers
from gnet_core.machine.differences import differences
from gnet_core.plan import request
from gnet_core.plan.suites import Source
from gnet_core.run import discovery, sources
from gnet_core.system import children
from tests.conftest import environment_of
from tests.faults.checkout import make_checkout
from tests.pictures import write_folder, write_image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gnet(gnet, monkeypatch, environment):
    """Calls the command line in this process, where no TensorFlow is asked about itself."""
    monkeypatch.setattr(discovery, "probe", lambda _source, **_how: environment_of(environment))
    monkeypatch.chdir(ROOT)
    return gnet


def refused(answer, *parts):
    status, out, err = answer
    assert status == 2
    assert out == ""
    assert err.startswith("gnet: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["bench", "speed"], ["suite: 'speed'", "throughput, execution, precision, batch-size"]),
        (["bench", "--preset", "slow"], ["preset: 'slow'", "smoke, quick, full"]),
        (["bench", "--precision", "float64"], ["precision: 'float64'", "mixed_bfloat16"]),
        (["bench", "--precision", "float32,half"], ["precision: 'half'"]),
        (["bench", "--execution", "turbo"], ["execution: 'turbo'", "eager, graph, xla"]),
        (["train", "--data", "x" * 5000], ["data: 'xxx", "is unknown; use digits"]),
        (["bench", "--data", "imagenet"], ["data: 'imagenet'", "digits, fashion-mnist"]),
        (["bench", "--batch-size", "0"], ["batch_size: 0", "at least 1"]),
        (["bench", "--batch-size", "-4"], ["batch_size: -4"]),
        (["bench", "--batch-size", "8,many"], ["batch_size: 'many'"]),
        (["bench", "--batch-size", "8.5"], ["batch_size: '8.5'"]),
        (["bench", "--image-size", "66"], ["image_size: 66", "at least 67"]),
        (["bench", "--image-size", "big"], ["image_size: 'big'"]),
        (["bench", "--widths", "wide"], ["widths: 'wide' is unknown; use one of published, paper"]),
        (["bench", "--seed", "-1"], ["seed: -1"]),
        (["bench", "--replicates", "0"], ["replicates: 0"]),
        (["bench", "execution", "--preset", "smoke", "--replicates", "9" * 400], ["replicates: 999", "use at most "]),
        (["bench", "--memory", "lots"], ["memory: 'lots'"]),
        (["bench", "--worker-memory", "0"], ["worker_memory: 0"]),
        (["bench", "--device", "tpu"], ["device: 'tpu'"]),
        (["bench", "--device", "gpu"], ["device: 'gpu' is not there", "cpu"]),
        (["bench", "precision", "--precision", "tf32"], ["precision: 'tf32' cannot be done on cpu"]),
        (["bench", "--out", "README.md"], ["out: README.md is a file"]),
        (["bench", "--out", "tests"], ["out: tests has files in it"]),
        (["bench", "--out", "/proc/nothing"], ["out: /proc/nothing cannot be written"]),
        (["bench", "--turbo"], ["No such option"]),
        (["bench", "--python", "python3"], ["python: 'python3' is no NAME=INTERPRETER"]),
        (["bench", "--python", "a=/nowhere/python"], ["python: '/nowhere/python' of a is no program"]),
        (["bench", "--against", ""], ["against: '' cannot be read; git said: "]),
        (["bench", "--against", "nonsense"], ["against: 'nonsense' cannot be read; git said: "]),
        (["bench", "--resume", "tests"], ["run.json: there is no such file"]),
        (["bench", "--resume", "tests", "--out", "x"], ["out: x cannot be named beside --resume"]),
        (["report", "tests"], ["run.json: there is no such file"]),
        (["profile", "--steps", "0"], ["steps: 0"]),
        (["profile", "--steps", "11"], ["steps: 11"]),
        (["profile", "--precision", "float64"], ["precision: 'float64'"]),
        (["profile", "--part", "half"], ["part: 'half' is unknown", "train, gradients, forward"]),
        (["profile", "--part", "input"], ["part: 'input' has no step to trace; use train, gradients or forward"]),
        (["profile", "--widths", "wide"], ["widths: 'wide' is unknown"]),
        (["profile", "--layers", "torch"], ["layers: 'torch' is unknown"]),
        (["profile", "--data", "nowhere"], ["data: 'nowhere'"]),
        (["profile", "--data", "a" * 250], ["case: ", "give the data a short name"]),
        (["profile", "--classes", "1"], ["classes: 1 will not do"]),
        (["profile", "--aux-weight", "much"], ["aux_weight: 'much' will not do; use a number"]),
        (["profile", "--aux-weight", "-1"], ["aux_weight: -1 will not do; use a number of at least 0"]),
        (["profile", "--bn-momentum", "1"], ["bn_momentum: 1 will not do; use a number below 1"]),
        (["profile", "--learning-rate", "nan"], ["learning_rate: nan will not do"]),
        (["train", "--data", "nowhere"], ["data: 'nowhere'"]),
        (["train", "--data", "synthetic"], ["data: 'synthetic' has nothing to learn"]),
        (["train", "--epochs", "0"], ["epochs: 0"]),
        (["train", "--batch-size", "0"], ["batch_size: 0"]),
        (["train", "--image-size", "10"], ["image_size: 10"]),
        (["train", "--widths", "wide"], ["widths: 'wide' is unknown"]),
        (["train", "--learning-rate", "fast"], ["learning_rate: 'fast' will not do; use a number"]),
        (["train", "--schedule", "linear"], ["schedule: 'linear' is unknown; use one of cosine, constant"]),
        (["train", "--warmup", "1"], ["warmup: 1 will not do; use a fraction from 0 to below 1"]),
        (["train", "--weight-decay", "-1"], ["weight_decay: -1 will not do"]),
        (["train", "--save-every", "0"], ["save_every: 0"]),
        (["train", "--as-published", "--average"], ["average: it cannot be chosen beside --as-published"]),
        (["predict", "nowhere.keras", "x.png"], ["model: 'nowhere.keras' is missing"]),
        (["predict", "tests", "x.png"], ["best.keras' is missing"]),
        (["predict", "tests"], ["IMAGE"]),
        (["train", "--learning-rate", "-1"], ["learning_rate: -1 will not do; use a number of at least 0"]),
        (["train", "--bn-momentum", "1"], ["bn_momentum: 1 will not do; use a number below 1"]),
        (["train", "--resume", "tests"], ["train.json", "missing"]),
        (["train", "--resume", "tests", "--out", "x"], ["out: x cannot be named beside --resume"]),
        (["fly"], ["No such command 'fly'"]),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_status_2(gnet, words, parts):
    refused(gnet(*words), *parts)


def test_bad_data_is_refused_by_file_before_anything_is_measured(gnet, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(gnet("bench", "--data", empty), str(empty), "no class folders")
    folder = write_folder(tmp_path / "folder")
    (folder / "wool" / "notes.txt").write_text("no image")
    refused(gnet("train", "--data", folder, "--strict"), "notes.txt", "is not an image")
    status, _, err = gnet("bench", "--data", folder, "--device", "gpu")
    assert status == 2
    assert err.startswith("gnet: note: images left out because they are broken: 1, ")
    (tmp_path / "other" / "bare").mkdir(parents=True)
    write_image(tmp_path / "other" / "full" / "1.png")
    refused(gnet("train", "--data", tmp_path / "other"), "bare", "has 0 images")


def test_outside_a_checkout_bench_says_so(gnet, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path)
    refused(gnet("bench"), "checkout", "run it in a checkout")


def test_a_refused_run_leaves_nothing_behind(gnet, tmp_path):
    out = tmp_path / "out"
    refused(gnet("bench", "--out", out, "--device", "gpu"))
    refused(gnet("bench", "precision", "--out", out, "--precision", "tf32"))
    refused(gnet("bench", "--out", out, "--data", "digits", "--batch-size", 5000), "batch_size: 5000", "at most 1438")
    assert not out.exists()


def test_report_makes_the_files_anew_from_the_raw_ones(gnet, run_directory):
    run_directory.add(StepConfig(batch_size=8), [2.0, 2.0])
    status, out, _ = gnet("report", run_directory.path)
    assert status == 0
    assert "8.0 images/s" in out
    assert (run_directory.path / "report.md").is_file()
    _, out, _ = gnet("report", run_directory.path, "--json")
    assert json.loads(out)["rows"][0]["images_per_second"] == 8.0


def test_a_missing_tensorflow_is_one_clear_line(gnet, monkeypatch):
    def import_it(**_):
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr(main.info, "callback", import_it)
    refused(gnet("info"), "tensorflow: it is not installed here")


@pytest.fixture
def checkout(tmp_path):
    """One in which all is real but the train step, which sleeps: a run takes no TensorFlow."""
    return make_checkout(tmp_path / "checkout")


def run_gnet(*words, cwd=ROOT, **variables):
    command = [sys.executable, "-m", "gnet_core", *map(str, words)]
    environ = {**os.environ, **variables}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)


def test_bench_measures_and_reports_a_case_for_real(tmp_path):
    words = ("--preset", "smoke", "--image-size", 67, "--batch-size", 2, "--precision", "float32", "--device", "cpu")
    hostile = {"KERAS_BACKEND": "nonsense", "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"}
    answer = run_gnet("bench", "throughput", *words, "--out", tmp_path / "run", "--json", **hostile)
    assert answer.returncode == 0, answer.stderr
    assert "1 process × 3 turns a case: a first look" in answer.stderr
    (row,) = json.loads(answer.stdout)["rows"]
    assert (row["status"], row["replicates"], row["samples"]) == ("ok", 1, 3)
    assert row["images_per_second"] == pytest.approx(2 / row["step_seconds"])
    assert row["trace_seconds"] > 0
    assert row["compile_seconds"] > 0
    assert row["peak_memory_bytes"] > 100 * 2**20
    assert row["loss_first"] > 0

    (name,) = [path.name for path in (tmp_path / "run" / "raw").iterdir()]
    raw = json.loads((tmp_path / "run" / "raw" / name).read_text())
    info = raw["benchmarks"][0]["extra_info"]
    assert info["config"]["image_size"] == 67
    assert info["traces"] == 1
    assert info["voided_blocks"] == []
    assert info["low_precision_share"] == 0
    assert [applied for applied, _loss in info["losses_without_dropout"]] == [0, 1, 2]
    assert row["equal_work"] is None  # alone, it is its own reference
    assert set(info["phase_seconds"]) == {"import", "build", "trace", "first_call", "warmup"}
    assert len(info["single_step_seconds"]) in (0, 3 * info["block_steps"])
    probed = json.loads((tmp_path / "run" / "run.json").read_text())["environment"]
    assert differences(environment_of(probed), environment_of(raw["machine_info"]["gnet"])) == []
    assert hostile.items() <= probed["machine"]["settings_left_out"].items()

    table = pd.read_csv(tmp_path / "run" / "cases.csv")
    assert table["case"].tolist() == ["graph-float32-b2-i67-synthetic-cpu"]
    assert (tmp_path / "run" / "report.md").read_text().startswith("**Do not quote")


def test_the_benchmarks_run_by_hand_on_real_data(tmp_path):
    # The step is not traced in eager execution, so this is the fastest way through the whole worker.
    case = json.dumps({"execution": "eager", "batch_size": 2, "image_size": 67, "data": "digits", "classes": 10})
    words = ["benchmarks/bench_execution.py", "--benchmark-json", str(tmp_path / "raw.json"), "-p", "no:cacheprovider"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *words,
        "--gnet-case",
        case,
        "--gnet-plan",
        '{"turns": 2, "warmup_steps": 1}',
    ]
    # A worker of pytest-xdist, which these tests may run in, would tell pytest-benchmark to measure nothing.
    by_hand = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    answer = subprocess.run(command, cwd=ROOT, env=by_hand, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
    (benchmark,) = json.loads((tmp_path / "raw.json").read_text())["benchmarks"]
    assert benchmark["extra_info"]["config"]["data"] == "digits"
    assert len(benchmark["stats"]["data"]) == 2


def test_ctrl_c_ends_with_130_and_a_report_and_resume_goes_on(tmp_path, checkout):
    out = tmp_path / "a run"
    words = ["bench", "throughput", "--preset", "smoke", "--execution", "eager", "--precision", "float32"]
    words += ["--batch-size", "2", "--image-size", "67", "--widths", "paper", "--device", "cpu", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "gnet_core", *words],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever started the tests in the background made them, and so their children, deaf to SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        err = ""
        while ": import" not in err and process.poll() is None:  # until the first worker is at work
            err += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        output, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the run was interrupted" in output
    assert complaint.splitlines()[-1].endswith(f"; go on by: gnet bench --resume '{out}'")
    assert "interrupted before it was measured" in (out / "report.md").read_text()
    assert not [each for each in psutil.process_iter(["cmdline"]) if str(out) in " ".join(each.info["cmdline"] or ())]
    other = run_gnet("bench", "--resume", out, "--batch-size", 4, cwd=checkout)
    assert other.returncode == 2
    assert "batch_size: (4,) was asked, but" in other.stderr
    answer = run_gnet("bench", "--resume", out, "--json", cwd=checkout)
    assert answer.returncode == 0, answer.stderr
    (row,) = json.loads(answer.stdout)["rows"]
    assert (row["status"], row["case"]) == ("ok", "eager-float32-b2-i67-synthetic-cpu-widths=paper")
    assert " --widths paper" in row["command"]


def test_a_run_is_not_resumed_on_another_machine(gnet, run_directory, environment, tmp_path):
    run_directory.add(StepConfig(batch_size=8), [2.0, 2.0])
    source = Source(checkout=ROOT)
    run_directory.document |= {"run": "0" * 32, "data_fingerprint": "", "code": {"": sources.digests(source)}}
    options = {"suites": ["throughput"], "preset": "quick", "device": "cpu", "replicates": 1, "seed": 0}
    options["layers"] = "keras"
    options |= dict.fromkeys(("execution", "precision", "batch_size", "image_size", "memory", "against"))
    run_directory.document["options"] = options | {"data": "synthetic", "profile": False, "aa": False, "python": []}
    other = copy.deepcopy(environment)
    other["machine"]["processor"] = "Another Processor"
    run_directory.document["environments"] = {"": other}
    run_directory.write()
    refused(gnet("bench", "--resume", run_directory.path), "resume", "Another Processor", "Test Processor")
    run_directory.document["environments"] = {"old": other}
    run_directory.write()
    refused(gnet("bench", "--resume", run_directory.path), "resume", "was measured from old, not from")
    run_directory.document["code"] = {"": {**sources.digests(source), "gnet_core/step.py": "another"}}
    run_directory.write()
    refused(gnet("bench", "--resume", run_directory.path), "the code is not what", "gnet_core/step.py; put it back")
    run_directory.document["code"] = {"": sources.digests(source)}
    run_directory.document["options"]["preset"] = "turbo"
    run_directory.write()
    refused(gnet("bench", "--resume", run_directory.path), "run.json: options: preset: 'turbo' is unknown")
    del run_directory.document["options"]["preset"]  # the run's own, which stands beside the options, says it as well
    run_directory.document["environments"] = {"": copy.deepcopy(environment)}
    run_directory.write()
    refused(gnet("bench", "--resume", run_directory.path), "resume: the run has other cases than this version")
    pictures = write_folder(tmp_path / "pictures")
    run_directory.document["options"] |= {"data": str(pictures), "batch_size": [8]}
    run_directory.write()
    again = gnet("bench", "--resume", run_directory.path, "--data", os.path.relpath(pictures))
    refused(again, f"data '{pictures}' is not what")
    run_directory.document["options"] |= {"data": "synthetic", "batch_size": None}
    for name, value in {"python": ["old=/bin/false", "new=/bin/false"], "against": "main"}.items():
        run_directory.document["options"][name] = value
        run_directory.write()
        refused(gnet("bench", "--resume", run_directory.path), f"again: --{name}")
        refused(gnet("bench", "--resume", run_directory.path, f"--{name}", "other=x"), "name just that")
        run_directory.document["options"][name] = [] if name == "python" else None
    for identity in ("", "0" * 31 + "\0", "x" * 32):
        run_directory.document["run"] = identity
        run_directory.write()
        refused(gnet("bench", "--resume", run_directory.path), "has no identity")


def test_a_run_that_goes_on_is_refused_by_the_number_of_its_process(gnet, run_directory):
    from gnet_core.system.claims import claimed

    run_directory.add(StepConfig(batch_size=8), [2.0, 2.0])
    with claimed(run_directory.path):
        refused(gnet("bench", "--resume", run_directory.path), f"process {os.getpid()} on ", "is writing into it")
    (run_directory.path / ".lock").symlink_to(run_directory.path / "victim")
    refused(gnet("bench", "--resume", run_directory.path), ".lock: it cannot be opened (it is a link)")


def test_two_runs_of_one_second_have_directories_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line, "checkout_or_none", lambda: tmp_path)
    monkeypatch.setattr(datetime, "datetime", FrozenTime)
    names = []
    for _ in range(3):
        directory = command_line.default_directory("", "gpu:0")
        directory.mkdir(parents=True)
        names.append(directory.name)
    assert names == ["2026-01-02-030405-gpu0", "2026-01-02-030405-gpu0-2", "2026-01-02-030405-gpu0-3"]


class FrozenTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)


def test_two_interpreters_and_the_same_code_again_take_turns_in_one_run(tmp_path, checkout):
    words = ["throughput", "--preset", "smoke", "--execution", "eager", "--precision", "float32", "--batch-size", 2]
    words += ["--image-size", 67, "--device", "cpu", "--aa"]
    words += ["--python", f"old={sys.executable}", "--python", f"new={sys.executable}"]
    answer = run_gnet("bench", *words, "--out", tmp_path / "run", "--json", cwd=checkout)
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert [row["source"] for row in document["rows"]] == ["old", "new", "again"]
    families = {family["suite"]: family["comparisons"] for family in document["verdicts"]}
    assert families["sources"][0]["base"].endswith("@old")
    assert families["aa"][0]["variant"].endswith("@again")
    assert families["sources"][0]["mode"] == "turns"


def test_pytest_finds_every_case_of_the_benchmarks_by_itself():
    command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "--quiet", "-p", "no:cacheprovider"]
    environ = children.environment()  # the variables of the pytest around it would switch benchmarks off
    answer = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
    found = [line for line in answer.stdout.splitlines() if "::bench_" in line]
    cases = [line.partition("[")[2] for line in found if "[" in line]
    assert len(cases) == 36
    assert len(set(cases)) == 24
    assert [line.partition("::")[2] for line in found if "[" not in line] == ["bench_time_to_accuracy"]


def test_profile_traces_a_case_for_real_and_report_tells_it_again(gnet, tmp_path):
    out = tmp_path / "profile"
    pictures = write_folder(tmp_path / "my  pictures", images=5)
    config = StepConfig(
        execution="eager", part="gradients", layers="keras", batch_size=2, image_size=67, classes=5, data=str(pictures)
    )
    config = dataclasses.replace(config, aux_weight=0, dropout=False, seed=3)
    wanted = request.ProfileRequest.of(config, steps=1, out=out, as_json=True)
    answer = run_gnet("profile", *request.words(wanted))
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["config"] == config.to_dict()
    again = request.command_line(dataclasses.replace(wanted, out=None, as_json=False))
    for name in ("report.md", "report.html"):
        assert again in html.unescape((out / name).read_text())
    assert sum(row["share"] for row in document["operations"]) == pytest.approx(1)
    assert len(document["trace"]["traced_step_seconds"]) == 1
    assert list(out.glob("traces/plugins/profile/*/*.xplane.pb"))
    identities = [json.loads((out / name).read_text())["run"] for name in ("run.json", "profile.json")]
    assert identities == [document["run"]] * 2
    first = (out / "report.md").read_text()
    assert "under the profiler" in first.splitlines()[0]
    status, printed, _ = gnet("report", out)
    assert status == 0
    assert f"tensorboard --logdir {out}/traces" in printed
    assert (out / "report.md").read_text() == first


@pytest.fixture
def profile_without_trace(tmp_path):
    """A profile from a GPU whose trace was too large to keep."""
    (stored,) = (ROOT / "reports/h200-check/gpu-check/traces").glob("graph-mixed_bfloat16-b1-*")
    return Path(shutil.copytree(stored, tmp_path / "profile"))


def test_report_renders_a_profile_whose_trace_was_left_out_and_says_so(gnet, profile_without_trace):
    before = json.loads((profile_without_trace / "profile.json").read_text())
    tables = (profile_without_trace / "operations.csv").read_text()
    (profile_without_trace / "report.md").unlink()
    status, printed, err = gnet("report", profile_without_trace)
    assert (status, err) == (0, "")
    assert "Launch-bound: the GPU is at work for" in printed
    assert "Trace: vm.xplane.pb is not there, so these are the tables that profile.json has of it" in printed
    text = (profile_without_trace / "report.md").read_text()
    assert "vm.xplane.pb is not there" in text
    assert "tensorboard" not in printed + text
    assert json.loads((profile_without_trace / "profile.json").read_text()) == before
    assert (profile_without_trace / "operations.csv").read_text() == tables


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda document: document.update(operations=[3]), "profile.json: field 'operations[0]' is 3"),
        (lambda document: document.update(run="another"), "profile.json: it is of another run than run.json"),
    ],
)
def test_report_refuses_a_profile_json_that_cannot_stand_in_for_its_trace(gnet, profile_without_trace, spoil, why):
    path = profile_without_trace / "profile.json"
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))
    refused(gnet("report", profile_without_trace), why)


@pytest.mark.parametrize(("execution", "off"), [("xla", True), ("graph", False), ("eager", False)])
def test_profile_switches_command_buffers_off_for_xla_before_tensorflow_is_asked_anything(
    gnet, execution, off, tmp_path, monkeypatch
):
    monkeypatch.setenv("XLA_FLAGS", "")

    def wanted(_checkout):
        raise GnetError(f"XLA_FLAGS: {os.environ['XLA_FLAGS']!r}")

    monkeypatch.setattr("gnet_core.frameworks.tf.device.environment", wanted)
    _, _, err = gnet("profile", "--execution", execution, "--out", tmp_path / "profile")
    assert err == f"gnet: XLA_FLAGS: {command_buffers.FLAG if off else ''!r}\n"


def test_train_runs_a_session_for_real_and_resumes_it_without_its_options(tmp_path):
    folder, out = write_folder(tmp_path / "pictures", images=5), tmp_path / "session"
    plain = ("--schedule", "constant", "--warmup", 0, "--no-average")  # of any length, with --bn-momentum given
    words = ("--execution", "eager", "--batch-size", 4, "--image-size", 67, "--device", "cpu", *plain)
    how = ("--learning-rate", "0.002", "--no-dropout", "--aux-weight", 0, "--widths", "paper", "--bn-momentum", 0.5)
    answer = run_gnet("train", "--data", folder, *words, *how, "--epochs", 1, "--out", out)
    assert answer.returncode == 0, answer.stderr
    assert "Best test accuracy" in answer.stdout
    config = json.loads((out / "train.json").read_text())["config"]
    given = ("learning_rate", "dropout", "aux_weight", "widths", "bn_momentum")
    assert [config[field] for field in given] == [0.002, False, 0, "paper", 0.5]
    answer = run_gnet("train", "--resume", out, "--epochs", 2, "--learning-rate", 0.1)
    assert answer.returncode == 2
    assert "\ngnet: learning_rate: 0.1 differs from the session in" in answer.stderr
    answer = run_gnet("train", "--resume", out, "--epochs", 2, "--json")
    assert answer.returncode == 0, answer.stderr
    assert [record["epoch"] for record in json.loads(answer.stdout)["epochs"]] == [1, 2]
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 5
    answer = run_gnet("report", out, "--json")
    assert (answer.returncode, json.loads(answer.stdout)["epochs"]) == (0, 2), answer.stderr
    (tmp_path / "broken.png").write_bytes(b"no image")
    some = next((folder / "wool").iterdir())
    answer = run_gnet("predict", out, some, tmp_path / "broken.png", "--top", 2, "--json")
    assert answer.returncode == 3, answer.stderr
    document = json.loads(answer.stdout)
    assert [image["image"] for image in document["images"]] == [str(some)]
    assert len(document["images"][0]["classes"]) == 2
    assert [image["image"] for image in document["failed"]] == [str(tmp_path / "broken.png")]


def test_info_tells_the_machine_as_one_json_document(tmp_path):
    answer = run_gnet("info", "--json", cwd=tmp_path)
    document = json.loads(answer.stdout)
    assert document["precisions"]["cpu"]["float32"]["supported"] is True
    assert document["tensorflow"]["version"]


def test_a_session_without_a_finished_epoch_has_no_report_yet_and_a_finished_one_no_gates(gnet, tmp_path):
    (tmp_path / "train.json").write_text("{}")
    refused(gnet("report", tmp_path), "no epoch of its session is finished yet")
    (tmp_path / "training.json").write_text("{}")
    refused(gnet("report", tmp_path), "training.json: field 'format_version' is missing")
    refused(gnet("report", tmp_path, "--fail-on", "slower"), "fail_on: it is about runs", "a training session")
