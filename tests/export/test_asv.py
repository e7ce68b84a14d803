"""A results directory for asv, which its own `publish` and `compare` read."""

import copy
import json
import math
import os
import subprocess
import sys

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.export import asv
from gnet_core.export.cases import Export
from gnet_core.results.records import load_run
from tests.conftest import RunDirectory
from tests.export.conftest import FAILED, GRAPH, MEASURED, OLD, OUT_OF_MEMORY, STEPS, UNMEASURED, UNSUPPORTED, XLA
from tests.stored import HOSTILE, processes

MACHINE = "Test_Processor_8_of_8_threads_16_GiB"
COMMIT = "a" * 40


def git(repository, *words):
    command = ["git", "-C", str(repository), "-c", "user.name=T", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with two commits."""
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch", "main")
    for message in ("first", "second"):
        git(path, "commit", "--quiet", "--allow-empty", "-m", message)
    return path


def run_asv(repository, results, *words):
    """Run asv in a folder with a configuration for that repository and those results; return what it said."""
    folder = repository.parent / "asv"
    folder.mkdir(exist_ok=True)
    configuration = {
        "version": 1,
        "project": "gnet",
        "repo": str(repository),
        "branches": ["main"],
        "results_dir": str(results),
        "html_dir": str(folder / "html"),
        "env_dir": str(folder / "env"),
        "benchmark_dir": str(folder / "benchmarks"),
    }
    (folder / "asv.conf.json").write_text(json.dumps(configuration))
    command = [sys.executable, "-m", "asv", *words]
    environment = {**os.environ, "HOME": str(folder)}
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout + answer.stderr


def published(repository, results):
    """asv's index and its graphs by benchmark, a list of the values of each graph."""
    said = run_asv(repository, results, "publish", "--no-pull")
    assert "Skipping" not in said
    assert "Couldn't find" not in said  # every commit is one of the repository's
    html = repository.parent / "asv" / "html"
    index = json.loads((html / "index.json").read_text())
    graphs = {
        name: [
            [value for _revision, value in json.loads(path.read_text())]
            for path in (html / "graphs").rglob(f"{name}.json")
            if "summary" not in path.parts  # which has the same values once more
        ]
        for name in index["benchmarks"]
    }
    return index, graphs


def of_commit(directory, commit):
    """The run with every source at a commit, as it is exported."""
    for environment in (directory.document["environment"], *directory.document["environments"].values()):
        environment["machine"]["commit"] = commit
    directory.write()
    return Export.of(load_run(directory.path))


@pytest.fixture
def committed(directory):
    return of_commit(directory, COMMIT)


def line(results, case):
    """The line of a case, by column, and the file that it is in."""
    (file,) = [file for file in results.files if case in file.results]
    return dict(zip(file.result_columns, file.results[case], strict=False)), file


def test_asv_publishes_the_seconds_a_step_of_every_measured_case(directory, repository, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    asv.add(asv.results(of_commit(directory, git(repository, "rev-parse", "HEAD"))), results)
    index, graphs = published(repository, results)
    assert set(index["benchmarks"]) == {*MEASURED, *UNMEASURED}
    assert {name: values for name, values in graphs.items() if name in MEASURED} == {
        name: [[pytest.approx(STEPS[name])]] for name in MEASURED
    }
    for name in UNMEASURED:  # asv drops what is missing at a graph's end
        assert all(values == [] for values in graphs[name])
    assert index["benchmarks"][GRAPH]["unit"] == "seconds"
    assert index["machines"][MACHINE]["cpu"] == "Test Processor"
    assert set(index["params"]["tensorflow"]) == {"2.21.0", "2.19.1"}


def test_asv_sets_two_commits_side_by_side(directory, run_directory, repository, tmp_path):
    """What was three times as fast is told so by asv's own test, of the processes as its samples."""
    results = tmp_path / "results"
    results.mkdir()
    first, second = git(repository, "rev-list", "--reverse", "HEAD").split()
    asv.add(asv.results(of_commit(directory, first)), results)
    later = RunDirectory(tmp_path / "later", copy.deepcopy(run_directory.document["environment"]))
    later.add(StepConfig(batch_size=8), *processes(STEPS[GRAPH] / 3, number=8))
    asv.add(asv.results(of_commit(later, second)), results)
    _index, graphs = published(repository, results)
    assert sorted(graphs[GRAPH]) == [[pytest.approx(1.0), pytest.approx(1 / 3)]]
    said = run_asv(repository, results, "compare", "--machine", MACHINE, first, second)
    (compared,) = [line for line in said.splitlines() if GRAPH in line and "@" not in line]
    assert "0.33" in compared
    assert compared.split("|")[1].strip() == "-"  # asv's mark for what is faster beyond doubt


def test_a_failure_is_null_and_what_the_device_cannot_do_is_nan(committed):
    results = asv.results(committed)
    assert line(results, FAILED)[0]["result"] is None
    assert line(results, OUT_OF_MEMORY)[0]["result"] is None
    (value,) = line(results, UNSUPPORTED)[0]["result"]
    assert math.isnan(value)
    assert "samples" not in line(results, FAILED)[0]


def test_the_samples_are_processes_and_the_interval_is_asvs_of_99_percent(committed):
    columns, _file = line(asv.results(committed), GRAPH)
    row = committed.run.row_of[GRAPH]
    assert columns["result"] == [row.step_seconds]
    ((low,), (high,)) = columns["stats_ci_99_a"], columns["stats_ci_99_b"]
    assert low < row.step_seconds_ci_low < row.step_seconds_ci_high < high
    (samples,) = columns["samples"]
    assert (len(samples), columns["stats_repeat"]) == (3, [3])
    assert min(samples) <= columns["stats_q_25"][0] <= columns["stats_q_75"][0] <= max(samples)


def test_one_process_has_no_interval(run_directory):
    run_directory.add(StepConfig(batch_size=8), [2.0, 2.0])
    columns, _file = line(asv.results(of_commit(run_directory, COMMIT)), GRAPH)
    assert (columns["result"], columns["stats_ci_99_a"], columns["stats_ci_99_b"]) == ([1.0], [None], [None])
    assert (columns["stats_q_25"], columns["stats_q_75"], columns["samples"]) == ([1.0], [1.0], [[1.0]])


def test_each_source_is_an_environment_with_the_commit_that_it_had(directory):
    directory.document["environment"]["machine"]["commit"] = COMMIT
    directory.write()
    results = asv.results(Export.of(load_run(directory.path)))
    assert {(file.commit_hash, file.env_name) for file in results.files} == {
        (COMMIT, "py3.11-tensorflow2.21.0"),
        ("f" * 40, "py3.11-tensorflow2.19.1-old"),
    }
    assert line(results, OLD)[1].requirements == {"tensorflow": "2.19.1"}


def test_settings_separate_graphs(directory):
    directory.document["environment"]["machine"]["environment_variables"] = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    _columns, file = line(asv.results(of_commit(directory, COMMIT)), GRAPH)
    assert file.env_vars == {"TF_ENABLE_ONEDNN_OPTS": "0"}


@pytest.mark.parametrize(
    ("commit", "named"), [(None, "unknown"), (f"{COMMIT}+changes", "+changes"), ("../../x", "../../x"), (HOSTILE, "<s")]
)
def test_a_run_of_no_commit_is_refused(directory, commit, named):
    with pytest.raises(GnetError, match="commit") as refused:
        asv.results(of_commit(directory, commit))
    assert named in str(refused.value)


def test_a_run_without_a_time_is_refused(directory):
    directory.document |= {"created": "yesterday", "run": "2026-01-02T03:04:05+00:00"}
    with pytest.raises(GnetError, match=r"run\.json: created is 'yesterday'"):
        asv.results(of_commit(directory, COMMIT))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def results_directory(committed, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    asv.add(asv.results(committed), folder)
    return folder


def test_the_files_have_the_names_that_asv_looks_for(results_directory):
    assert set(contents(results_directory)) == {
        "benchmarks.json",
        f"{MACHINE}/machine.json",
        f"{MACHINE}/{COMMIT[:8]}-py3.11-tensorflow2.21.0.json",
        f"{MACHINE}/{COMMIT[:8]}-py3.11-tensorflow2.19.1-old.json",
    }


def test_the_same_run_added_again_changes_nothing(committed, results_directory):
    before = contents(results_directory)
    asv.add(asv.results(committed), results_directory)
    assert contents(results_directory) == before


def test_another_run_of_the_commit_adds_its_cases_and_replaces_those_that_it_measured_again(
    results_directory, tmp_path, environment
):
    later = RunDirectory(tmp_path / "later", environment)
    later.add(StepConfig(batch_size=8), *processes(3.0))
    later.add(StepConfig(batch_size=16), *processes(4.0))
    asv.add(asv.results(of_commit(later, COMMIT)), results_directory)
    file = json.loads((results_directory / MACHINE / f"{COMMIT[:8]}-py3.11-tensorflow2.21.0.json").read_text())
    seconds = {name: columns[0] for name, columns in file["results"].items() if columns[0]}
    assert seconds[GRAPH] == [pytest.approx(3.0)]
    assert seconds[GRAPH.replace("b8", "b16")] == [pytest.approx(4.0)]
    assert seconds[XLA] == [pytest.approx(STEPS[XLA])]
    benchmarks = json.loads((results_directory / "benchmarks.json").read_text())
    assert set(benchmarks) == {*MEASURED, *UNMEASURED, GRAPH.replace("b8", "b16"), "version"}


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("benchmarks.json", {"version": 1}, "version is 1; gnet export adds to 2"),
        (f"{MACHINE}/{COMMIT[:8]}-py3.11-tensorflow2.21.0.json", {"version": 1}, "'version' is 1"),
        (f"{MACHINE}/{COMMIT[:8]}-py3.11-tensorflow2.21.0.json", {"commit_hash": "a" * 8}, "another commit_hash"),
        (f"{MACHINE}/{COMMIT[:8]}-py3.11-tensorflow2.21.0.json", {"result_columns": ["result"]}, "result_columns"),
    ],
)
def test_results_of_another_kind_are_left_as_they_are(committed, results_directory, name, change, why):
    path = results_directory / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    before = contents(results_directory)
    with pytest.raises(GnetError) as refused:
        asv.add(asv.results(committed), results_directory)
    assert str(path) in str(refused.value)
    assert why in str(refused.value)
    assert contents(results_directory) == before


def test_texts_from_strangers_name_no_file_outside(directory, tmp_path):
    for environment in directory.document["environments"].values():
        environment["machine"] |= {"processor": f"../../{HOSTILE}", "system": HOSTILE, "python": "../../x/../y"}
        environment["tensorflow"]["version"] = f"../../{HOSTILE}" + "x" * 10_000
    directory.document["environment"]["machine"]["processor"] = "../.."
    results = tmp_path / "deep" / "results"
    results.mkdir(parents=True)
    asv.add(asv.results(of_commit(directory, COMMIT)), results)
    assert [path.name for path in results.parent.iterdir()] == ["results"]
    folders = [path for path in results.iterdir() if path.is_dir()]
    assert [path.name for path in folders] == ["8_of_8_threads_16_GiB"]
    assert all(len(path.name.encode()) < 256 for path in folders[0].iterdir())
