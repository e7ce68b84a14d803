"""What a pipeline asks of a command: --junit and --github, of compare and report, and how they are refused."""

import json
import os
from xml.etree import ElementTree

import pytest

from gnet_core.cli.gate import SUMMARY_VARIABLE
from gnet_core.config import StepConfig
from gnet_core.report.github import MAX_SUMMARY_BYTES
from tests.conftest import RunDirectory
from tests.stored import processes

CONFIG, LARGER = StepConfig(batch_size=8), StepConfig(batch_size=16)


@pytest.fixture
def runs(run_directory, tmp_path, environment):
    """Two runs, of which the second is slower in one case and not in the other; their directories."""
    other = RunDirectory(tmp_path / "other", environment)
    for directory, seconds in ((run_directory, 1.0), (other, 1.2)):
        directory.add(CONFIG, *processes(seconds, 0.001))
        directory.add(LARGER, *processes(1.0, 0.001))
    return run_directory.path, other.path


@pytest.fixture
def sources(tmp_path, environment):
    """The directory of a run that compares the sources main and here, of which here is slower."""
    directory = RunDirectory(tmp_path / "sources", environment)
    directory.document["suites"].append({"name": "sources", "question": "?", "varies": "source", "base": "main"})
    directory.add(CONFIG, *processes(1.0, 0.001), source="main")
    directory.add(CONFIG, *processes(1.2, 0.001), source="here")
    return directory.path


@pytest.fixture
def summary(tmp_path, monkeypatch):
    """The file that a step of GitHub Actions names for its summary."""
    path = tmp_path / "step-summary"
    path.touch()
    monkeypatch.setenv(SUMMARY_VARIABLE, str(path))
    return path


def found(path):
    """By test case, what stands in the JUnit file for it."""
    whole = ElementTree.parse(path)  # noqa: S314 - which gnet has just written
    return {case.attrib["name"]: case[0].tag for case in whole.iter("testcase")}


def test_compare_and_report_write_the_outcome_of_each_case(gnet, runs, sources, tmp_path):
    junit = tmp_path / "junit.xml"
    status, _, err = gnet("compare", *runs, "--junit", junit)
    assert (status, err) == (0, "")
    assert found(junit) == {CONFIG.name: "failure", LARGER.name: "system-out"}
    assert gnet("compare", *runs, "--junit", junit, "--fail-on", "slower", "--json")[0] == 1
    assert gnet("report", sources, "--junit", junit, "--fail-on", "slower")[0] == 1
    assert found(junit) == {f"{CONFIG.name}@main": "system-out", f"{CONFIG.name}@here": "failure"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".partial")] == []


def test_a_run_whose_cases_failed_has_them_in_the_file_as_well(gnet, run_directory, tmp_path):
    run_directory.add(CONFIG, *processes(1.0))
    run_directory.add(LARGER, status="failed", note="because")
    assert gnet("report", run_directory.path, "--junit", tmp_path / "junit.xml")[0] == 3
    assert found(tmp_path / "junit.xml") == {CONFIG.name: "system-out", LARGER.name: "error"}


def test_github_gets_a_summary_and_lines_for_what_failed(gnet, runs, summary):
    status, out, err = gnet("compare", *runs, "--github", "--fail-on", "slower")
    assert (status, err) == (1, "")
    assert out.splitlines()[-1].startswith(f"::error title=gnet compare::{CONFIG.name}: slower: SLOWER, 0.833×")
    text = summary.read_text()
    assert text.startswith("# gnet compare\n")
    assert "1 failure, 0 errors, 0 skipped, 1 passed." in text


def test_a_summary_is_appended_to_what_the_step_has(gnet, runs, sources, summary):
    summary.write_text("before\n")
    gnet("report", sources, "--github")
    gnet("compare", *runs, "--github")
    text = summary.read_text()
    assert text.startswith("before\n\n# gnet bench\n")
    assert text.count("\n\n# gnet compare\n") == 1


def test_a_forced_comparison_of_two_machines_is_labelled(gnet, runs, summary, tmp_path):
    document = json.loads((runs[1] / "run.json").read_text())
    document["environment"]["machine"]["cores"] = 64
    document["environments"][""]["machine"]["cores"] = 64
    (runs[1] / "run.json").write_text(json.dumps(document))
    words = ("compare", *runs, "--junit", tmp_path / "junit.xml", "--github", "--fail-on", "slower")
    status, out, err = gnet(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--across-machines" in err
    assert not (tmp_path / "junit.xml").exists()
    assert gnet(*words, "--across-machines")[0] == 1
    assert "ACROSS MACHINES" in (tmp_path / "junit.xml").read_text()
    assert summary.read_text().startswith("**ACROSS MACHINES")


def test_a_summary_that_is_full_already_is_told_of_and_changes_nothing_else(gnet, runs, summary, tmp_path):
    summary.write_bytes(b"x" * (MAX_SUMMARY_BYTES - 10))
    status, out, err = gnet("compare", *runs, "--github", "--junit", tmp_path / "junit.xml")
    assert (status, summary.stat().st_size) == (2, MAX_SUMMARY_BYTES - 10)
    assert (
        err
        == f"gnet: {summary}: it was not written: it has 1023990 bytes already, and GitHub takes 1024000 of a step\n"
    )
    assert "::error" in out
    assert found(tmp_path / "junit.xml")


def test_a_summary_that_is_nearly_full_takes_what_fits(gnet, runs, summary):
    summary.write_bytes(b"x" * (MAX_SUMMARY_BYTES - 600))
    assert gnet("compare", *runs, "--github")[0] == 0
    assert MAX_SUMMARY_BYTES - 600 < summary.stat().st_size <= MAX_SUMMARY_BYTES
    assert "2 of 2 cases are left out" in summary.read_text()


@pytest.mark.parametrize("kind", ["folder", "nowhere", "pipe"])
def test_a_variable_that_names_no_writable_file_is_told_of_after_the_work(gnet, runs, tmp_path, monkeypatch, kind):
    path = {"folder": tmp_path, "nowhere": tmp_path / "no" / "file", "pipe": tmp_path / "pipe"}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    monkeypatch.setenv(SUMMARY_VARIABLE, str(path))
    status, out, err = gnet("compare", *runs, "--github")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"gnet: {path}: it was not written: ")
    assert "NEW is" in out
    status, _, _ = gnet("compare", *runs, "--github", "--fail-on", "slower")
    assert status == 1  # a gate that failed comes first


@pytest.mark.parametrize("command", ["bench", "report", "compare"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--github"], f"github: {SUMMARY_VARIABLE} names no file"),
        (["--github", "--json"], "github: it prints lines on stdout, where --json prints one document"),
        (
            ["--junit", "no-folder/junit.xml"],
            "junit: no-folder/junit.xml cannot be written, as there is no folder no-folder",
        ),
        (["--junit", "/"], "junit: / is no file"),
        (["--junit", "/dev/null"], "junit: /dev/null is no file"),
        (["--rules", "no-folder/rules.toml"], "rules: no-folder/rules.toml cannot be read"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_measured(gnet, runs, monkeypatch, command, words, message):
    monkeypatch.delenv(SUMMARY_VARIABLE, raising=False)
    arguments = {"bench": ["execution"], "report": runs[:1], "compare": runs}[command]
    status, out, err = gnet(command, *arguments, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"gnet: {message}")
    assert not (runs[0] / "report.html").exists()


def test_an_empty_variable_names_no_file_either(gnet, runs, monkeypatch):
    monkeypatch.setenv(SUMMARY_VARIABLE, "")
    status, _, err = gnet("compare", *runs, "--github")
    assert (status, f"{SUMMARY_VARIABLE} names no file" in err) == (2, True)


def test_what_cannot_be_written_any_more_is_told_of_after_the_work(gnet, runs, tmp_path, monkeypatch):
    def full(_path, _text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gnet_core.files.whole.write_whole", full)
    status, out, err = gnet("compare", *runs, "--junit", tmp_path / "junit.xml")
    assert (status, err) == (2, f"gnet: {tmp_path / 'junit.xml'}: it was not written: No space left on device\n")
    assert "NEW is" in out


@pytest.mark.parametrize("option", [["--junit", "x.xml"], ["--github"], ["--rules", "x.toml"]])
def test_profiles_have_no_outcomes(gnet, tmp_path, option):
    status, out, err = gnet("compare", tmp_path, tmp_path, "--profiles", *option)
    assert (status, out) == (2, "")
    assert err.startswith(f"gnet: {option[0].removeprefix('--')}: it belongs to verdicts")
    (tmp_path / "run.json").write_text('{"kind": "profile"}')
    status, out, err = gnet("report", tmp_path, *option)
    assert (status, out) == (2, "")
    assert err.startswith(f"gnet: {option[0].removeprefix('--')}: it is about runs of gnet bench")


def test_a_file_that_may_not_be_written_is_no_success(gnet, runs, tmp_path, monkeypatch):
    def forbidden(_path, _text):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gnet_core.files.whole.write_whole", forbidden)
    status, _, err = gnet("compare", *runs, "--junit", tmp_path / "junit.xml")
    assert (status, err) == (2, f"gnet: {tmp_path / 'junit.xml'}: it was not written: Permission denied\n")


def test_a_folder_that_may_not_be_written_is_refused_before_the_work(gnet, runs, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, _mode: path != tmp_path)
    status, out, err = gnet("compare", *runs, "--junit", tmp_path / "junit.xml")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"gnet: junit: {tmp_path / 'junit.xml'} cannot be written")
