"""The command `gnet history`: what it prints, writes and ends with, and what it refuses."""

import datetime
import functools
import json
import shutil
from xml.etree import ElementTree

import pytest

from gnet_core.config import StepConfig
from gnet_core.stats.verdicts import DEFAULT_MARGIN
from tests.histories import FIRST_DAY, level, store_run

CONFIG = StepConfig(batch_size=8)
XLA = StepConfig(batch_size=8, execution="xla")
SLOWER_RUN = 12


@pytest.fixture
def gnet(gnet, tmp_path, monkeypatch):
    """Calls `gnet history` where its default directory is not the checkout's."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(gnet, "history")


@pytest.fixture
def runs(tmp_path, environment):
    """A folder of 20 runs, one a day, in which graph is slower from the thirteenth on."""
    seconds = [1 / speed for speed in level(1.0, SLOWER_RUN) + level(0.9, 20 - SLOWER_RUN)]
    for number, took in enumerate(seconds):
        store_run(tmp_path / "runs" / f"{number:02}", environment, number, {CONFIG: took, XLA: 2.0})
    return tmp_path / "runs"


def one_line(answer, status, *parts):
    code, out, err = answer
    assert (code, out, err.count("\n")) == (status, "", 1)
    assert err.startswith("gnet: ")
    for part in parts:
        assert part in err


def test_it_prints_what_changed_and_writes_a_page(gnet, runs, tmp_path):
    out = tmp_path / "out"
    status, printed, err = gnet(runs, "--out", out)
    assert (status, err) == (0, "")
    assert "1 of 2 current series is SLOWER now than before." in printed
    assert f"{CONFIG.name}: SLOWER since 2026-01-13 (commit 0123456789): 0.9" in printed
    assert printed.endswith(f"Report: {out / 'history.html'}\n")
    assert {"history.html", "history.md", "history.csv", "plots"} <= {path.name for path in out.iterdir()}


def test_its_directory_is_a_new_one_of_the_time(gnet, runs, tmp_path):
    for _ in range(2):
        assert gnet(runs)[0] == 0
    first, second = sorted((tmp_path / "reports").iterdir())
    assert first.name.endswith("-history")
    assert second != first


def test_json_is_one_document(gnet, runs, tmp_path):
    status, printed, err = gnet(runs, "--out", tmp_path / "out", "--json")
    document = json.loads(printed)
    assert (status, err) == (0, "")
    assert document["directory"] == str(tmp_path / "out")
    assert [series["case"] for series in document["series"]] == [CONFIG.name, XLA.name]
    assert len(document["runs"]) == 20


def test_a_slowdown_fails_the_gate_and_names_the_case(gnet, runs):
    status, printed, _ = gnet(runs, "--fail-on", "slower,missing,failed")
    assert status == 1
    assert f"Gate failed: slower: {CONFIG.name}" in printed
    assert "Gate failed: missing" not in printed


def test_a_history_without_a_slowdown_passes(gnet, runs):
    for number in range(SLOWER_RUN, 20):
        shutil.rmtree(runs / f"{number:02}")
    assert gnet(runs, "--fail-on", "slower,missing,failed")[0] == 0


def test_a_single_run_fails_every_gate_and_is_shown(gnet, runs):
    status, printed, _ = gnet(runs / "00", "--fail-on", "slower")
    assert status == 1
    assert "Gate failed: slower: nothing was compared" in printed
    assert gnet(runs / "00")[0] == 0


def test_what_cannot_be_read_is_a_line_each_and_the_rest_is_shown(gnet, runs):
    (runs / "03" / "run.json").write_text("{")
    (runs / "04" / "run.json").write_text('{"format_version": 99}')
    status, printed, err = gnet(runs, "--fail-on", "missing")
    assert status == 3
    first, second = err.splitlines()
    assert str(runs / "03" / "run.json") in first
    assert "format_version is 99" in second
    assert "SLOWER since" in printed
    assert gnet(runs, "--fail-on", "slower")[0] == 1


def test_copies_are_a_note_and_no_fault(gnet, runs):
    shutil.copytree(runs / "03", runs / "copy")
    status, _, err = gnet(runs)
    assert status == 0
    assert err == f"gnet: note: Copies of one run count once: {runs / 'copy'} of {runs / '03'}.\n"


def test_where_nothing_can_be_read_it_ends_with_2(gnet, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    one_line(gnet(empty), 2, "neither a run directory of gnet bench nor a folder of them")
    one_line(gnet(tmp_path / "nowhere"), 2, "cannot be read")
    status, out, err = gnet(empty, tmp_path / "nowhere")
    assert (status, out, err.count("\n")) == (2, "", 2)
    assert not (tmp_path / "reports").exists()


def test_bad_usage_is_one_line_and_nothing_is_written(gnet, runs, tmp_path):
    one_line(gnet(), 2, "DIR")
    one_line(gnet(runs, "--fail-on", "unresolved"), 2, "'unresolved' is no gate of a history")
    one_line(gnet(runs, "--fail-on", "slow"), 2, "'slow' is unknown")
    one_line(gnet(runs, "--out", runs), 2, "has files in it already")
    one_line(gnet(runs, "--rules", tmp_path / "nowhere.toml"), 2, "rules: ", "cannot be read")
    assert not (tmp_path / "reports").exists()


def rules(tmp_path, text):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return path


DATE = (FIRST_DAY + datetime.timedelta(days=SLOWER_RUN)).date()


def test_an_accepted_change_passes_the_gate_and_is_told(gnet, runs, tmp_path):
    path = rules(tmp_path, f'[[accepted]]\ncases = "graph-*"\ndate = {DATE}\nreason = "more accurate"\n')
    status, printed, err = gnet(runs, "--fail-on", "slower", "--rules", path)
    assert (status, err) == (0, "")
    assert "accepted: more accurate" in printed


def test_an_acceptance_that_has_expired_or_matches_nothing_is_told(gnet, runs, tmp_path):
    tables = [
        f'[[accepted]]\ncases = "graph-*"\ndate = {DATE}\nreason = "for now"\nexpires = 2026-02-01\n',
        f'[[accepted]]\ncases = "xla-*"\ndate = {DATE}\nreason = "never seen"\n',
    ]
    status, printed, err = gnet(runs, "--fail-on", "slower", "--rules", rules(tmp_path, "".join(tables)))
    assert status == 1
    assert "accepted until 2026-02-01, which is over: for now" in printed
    assert err == f"gnet: note: rules: no change in the history is the accepted one of {DATE}: never seen\n"


def test_a_case_s_own_margin_counts(gnet, runs, tmp_path):
    path = rules(tmp_path, '[[margin]]\ncases = "graph-*"\npercent = 20\n')
    assert gnet(runs, "--fail-on", "slower", "--rules", path)[0] == 0
    assert 1 / (1 + DEFAULT_MARGIN) > 0.9
    assert gnet(runs, "--fail-on", "slower")[0] == 1


def test_a_pipeline_reads_a_case_each_and_waivers_excuse_them(gnet, runs, tmp_path, monkeypatch):
    summary, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    words = ("--fail-on", "slower", "--junit", junit, "--github")
    status, printed, _ = gnet(runs, *words)
    assert status == 1
    suite = ElementTree.parse(junit).getroot()[0]  # noqa: S314 - which gnet has just written
    outcomes = {case.get("name"): [part.tag for part in case] for case in suite.iter("testcase")}
    assert outcomes == {CONFIG.name: ["failure"], XLA.name: ["system-out"]}
    assert "SLOWER now: 0.9" in "".join(suite.itertext())
    assert f"::error title=gnet history::{CONFIG.name}: slower: " in printed
    assert "SLOWER now" in summary.read_text()
    waiver = f'[[waiver]]\ncases = "graph-*"\nreason = "issue 1"\nexpires = {datetime.date.max}\n'
    status, printed, _ = gnet(runs, *words, "--rules", rules(tmp_path, waiver))
    assert status == 0
    assert f"Excused: slower, waived until {datetime.date.max}: issue 1: {CONFIG.name}" in printed


def test_below_the_runs_that_a_change_takes_the_gate_fails_and_names_what_it_did_not_look_at(gnet, runs):
    for number in range(7, 20):
        shutil.rmtree(runs / f"{number:02}")
    status, printed, err = gnet(runs, "--fail-on", "slower,missing")
    assert status == 1
    assert "Gate failed: slower: nothing was compared" in printed
    assert "Gate failed: missing" not in printed
    assert err == (
        f"gnet: note: slower: changes are not looked for below 8 runs, so not in {CONFIG.name} (7), {XLA.name} (7)\n"
    )
    assert gnet(runs, "--fail-on", "missing")[::2] == (0, "")


def test_a_newest_run_that_cannot_be_read_or_is_of_the_future_is_told_to_a_pipeline_as_well(
    gnet, runs, tmp_path, environment, monkeypatch
):
    summary, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    ahead = store_run(runs / "ahead", environment, 0, {CONFIG: 1.0}, created=tomorrow.isoformat()).path
    words = (runs, "--rules", rules(tmp_path, '[[margin]]\ncases = "*"\npercent = 20\n'))
    assert gnet(*words)[0] == 0
    assert gnet(*words, "--fail-on", "slower", "--junit", junit, "--github")[0] == 3
    for path in (summary, junit):
        assert "Runs from the future are left out" in path.read_text()
    shutil.rmtree(ahead)
    (runs / "19" / "run.json").write_text("{")
    assert gnet(*words, "--fail-on", "slower", "--junit", junit, "--github")[0] == 3
    for path in (summary, junit):
        assert "run.json" in path.read_text()


def test_a_page_that_cannot_be_written_loses_nothing_that_is_printed(gnet, runs, tmp_path):
    (tmp_path / "file").touch()
    status, printed, err = gnet(runs, "--out", tmp_path / "file" / "out", "--junit", tmp_path / "junit.xml")
    assert status == 2
    assert f"{CONFIG.name}: SLOWER since 2026-01-13" in printed
    assert "Report:" not in printed
    assert "its documents were not written" in err
    assert (tmp_path / "junit.xml").exists()
