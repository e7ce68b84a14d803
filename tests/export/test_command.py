"""The command `gnet export` as a user meets it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gnet_core.cli.export import FORMATS
from gnet_core.config import StepConfig
from gnet_core.export import github_action_benchmark
from gnet_core.export.cases import Export
from gnet_core.results.records import load_run
from tests.export.conftest import FAILED, GRAPH, XLA
from tests.stored import processes

EXAMPLE = Path(__file__).parents[2] / "reports" / "example"
H200 = EXAMPLE.parent / "h200-precision"
PROFILE = EXAMPLE / "traces" / "graph-float32-b16-i224-synthetic-cpu"
TEXTS = ("github-action-benchmark", "bencher", "openmetrics", "csv")


def refused(answer, *parts):
    status, out, err = answer
    assert (status, out) == (2, "")
    assert err.startswith("gnet: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


@pytest.mark.parametrize("run", [EXAMPLE, H200], ids=lambda path: path.name)
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_goes_to_stdout_or_into_a_new_file(gnet, tmp_path, run, name):
    status, printed, err = gnet("export", run, "--to", name)
    assert (status, err) == (0, "")
    assert load_run(run).rows[0].case in printed
    assert gnet("export", run, "--to", name, "--out", tmp_path / "out") == (0, "", "")
    assert (tmp_path / "out").read_text() == printed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["asv", "parquet"])
def test_the_others_are_written_to_what_out_names(gnet, tmp_path, name):
    assert gnet("export", EXAMPLE, "--to", name, "--out", tmp_path / "out") == (0, "", "")
    assert (tmp_path / "out").is_dir() == (name == "asv")
    refused(gnet("export", EXAMPLE, "--to", name), f"out: {name}")


def test_asv_is_added_to_as_often_as_wanted_and_to_no_other_folder(gnet, tmp_path):
    for _ in range(2):
        assert gnet("export", EXAMPLE, "--to", "asv", "--out", tmp_path / "results") == (0, "", "")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    refused(gnet("export", EXAMPLE, "--to", "asv", "--out", tmp_path / "other"), "out: ", "has files in it already")
    refused(gnet("export", EXAMPLE, "--to", "asv", "--out", tmp_path / "other" / "mine"), "out: ", "is a file")


@pytest.mark.parametrize("name", [*TEXTS, "parquet"])
def test_what_is_there_is_not_replaced(gnet, tmp_path, name):
    out = tmp_path / "out"
    out.write_text("mine")
    refused(gnet("export", EXAMPLE, "--to", name, "--out", out), f"out: {out} is there already")
    assert out.read_text() == "mine"


@pytest.mark.parametrize("name", ["csv", "parquet", "asv"])
def test_an_out_that_cannot_be_written_is_one_line(gnet, name):
    refused(gnet("export", EXAMPLE, "--to", name, "--out", "/proc/nothing/out"), "out: /proc/nothing/out cannot be")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([EXAMPLE, "--to", "json"], ["to: 'json' is unknown", *FORMATS]),
        ([EXAMPLE], ["--to"]),
        (["/nowhere", "--to", "csv"], ["/nowhere/run.json: there is no such file"]),
        ([PROFILE, "--to", "csv"], ["it holds a profile; name a directory of gnet bench"]),
        ([EXAMPLE / "run.json", "--to", "csv"], ["run.json"]),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(gnet, words, parts):
    refused(gnet("export", *words), *parts)


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_without_figures_leaves_nothing(gnet, run_directory, tmp_path, name):
    run_directory.add(StepConfig(batch_size=8), status="failed", note="it crashed")
    out = tmp_path / "out"
    refused(gnet("export", run_directory.path, "--to", name, "--out", out), "none of its cases has figures", "crashed")
    assert not out.exists()


def test_asv_is_refused_where_the_commit_is_not_known_and_leaves_nothing(gnet, directory, tmp_path):
    directory.document["environment"]["machine"]["commit"] = None
    directory.write()
    answer = gnet("export", directory.path, "--to", "asv", "--out", tmp_path / "results")
    refused(answer, "run.json: the commit is unknown")
    assert not (tmp_path / "results").exists()


def test_a_run_of_changed_files_is_no_commits(gnet, tmp_path):
    answer = gnet("export", H200, "--to", "asv", "--out", tmp_path / "results")
    refused(answer, "run.json: the commit is ", "+changes")
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_format_and_the_tool_that_reads_it(gnet):
    _status, printed, _err = gnet("export", "--help")
    assert "customBiggerIsBetter" in printed
    for name in FORMATS:
        assert f"\n  {name} " in printed


def test_parquet_without_pyarrow_tells_what_installs_it(tmp_path):
    program = "import sys; sys.modules['pyarrow'] = None; from gnet_core.cli.main import main; main()"
    command = [sys.executable, "-c", program, "export", str(EXAMPLE), "--to", "parquet", "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    refused((ended.returncode, ended.stdout, ended.stderr), "parquet needs pyarrow", "pip install 'gnet[parquet]'")
    assert list(tmp_path.iterdir()) == []


def test_a_case_that_failed_is_named_and_the_others_are_exported(gnet, directory):
    status, printed, err = gnet("export", directory.path, "--to", "bencher")
    assert status == 3
    assert f"1 of its cases failed and have no figures: {FAILED}" in err
    assert {GRAPH, XLA} <= set(json.loads(printed))


@pytest.mark.parametrize("name", TEXTS)
def test_raw_files_that_cannot_be_read_cost_their_case_alone(gnet, run_directory, name):
    run_directory.add(StepConfig(batch_size=8), *processes(1.0))
    run_directory.add(StepConfig(batch_size=8, execution="xla"), *processes(0.5))
    (run_directory.path / "raw" / f"{XLA}.r2.json").write_text("{")
    status, printed, err = gnet("export", run_directory.path, "--to", name)
    assert status == 3
    assert f"{XLA}.r2.json: it cannot be read as JSON" in err
    assert GRAPH in printed
    assert name == "csv" or XLA not in printed


def test_what_is_written_is_whole_or_absent(gnet, monkeypatch, tmp_path):
    def fail(_self, _text, **_how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    refused(gnet("export", EXAMPLE, "--to", "csv", "--out", tmp_path / "out"), "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_a_run_exports_the_same(gnet, tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "copy", ignore=shutil.ignore_patterns("plots", "*.html"))
    _status, printed, _err = gnet("export", tmp_path / "copy", "--to", "github-action-benchmark")
    assert printed == github_action_benchmark.to_text(Export.of(load_run(EXAMPLE)))


def test_pytest_benchmark_compares_the_raw_files_of_a_run(tmp_path):
    files = sorted((EXAMPLE / "raw").glob("*.json"))
    command = [sys.executable, "-m", "pytest_benchmark", "compare", *map(str, files)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "Failed to load" not in answer.stdout + answer.stderr
    assert sum(map(int, re.findall(r"(\d+) tests", answer.stdout))) == len(files)
