"""Gates of --fail-on: each by its own name, with the cases, in bench, report and compare alike."""

import dataclasses
import datetime
import json
import shutil

import pytest

from gnet_core.cli.bench import bench
from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.request import GATES
from gnet_core.results import comparisons, gates, records
from gnet_core.results.rules import load_rules
from gnet_core.stats import verdicts
from tests.conftest import RunDirectory
from tests.stored import processes

CONFIG = StepConfig(batch_size=8)
LARGER = StepConfig(batch_size=16)
NO_SOURCES = ("missing", "failed", "not-finite", "other-work")


@pytest.fixture
def sources(run_directory):
    """A run that compares the sources main and here."""
    run_directory.document["suites"].append({"name": "sources", "question": "?", "varies": "source", "base": "main"})
    run_directory.add(CONFIG, *processes(1.0), source="main")
    return run_directory


def failed(directory: RunDirectory, *names: str) -> dict[str, list[str]]:
    return gates.check_run(records.load_run(directory.path), names or GATES).failed


HERE = f"{CONFIG.name}@here"


@pytest.mark.parametrize(
    ("seconds", "scatter", "expected"),
    [
        (1.2, 0.001, {"slower": [HERE]}),
        (1.0, 0.001, {}),
        (0.8, 0.001, {}),
        (1.02, 0.2, {"unresolved": [HERE]}),
    ],
)
def test_verdicts_between_sources_have_gates(sources, seconds, scatter, expected):
    sources.add(CONFIG, *processes(seconds, scatter), source="here")
    assert failed(sources) == expected


def test_a_verdict_of_another_suite_is_no_matter_of_the_gates_on_sources(sources):
    xla = StepConfig(batch_size=8, execution="xla")
    sources.add(CONFIG, *processes(1.0, 0.001), source="here")
    for source in ("main", "here"):
        sources.add(xla, *processes(3.0, 0.001), source=source, suites=("execution",))
    assert failed(sources) == {}


def test_other_losses_than_the_references_have_a_gate_of_their_own(sources):
    sources.add(CONFIG, *processes(1.0), source="here", losses_without_dropout=[[0, 9.0], [1, 3.0]])
    for source in ("main", "here"):
        sources.add(LARGER, *processes(1.0), source=source)
    assert failed(sources, "other-work") == {"other-work": [HERE]}
    assert failed(sources, "not-finite", "failed", "missing", "slower") == {}


def test_other_losses_than_float32s_are_other_work(run_directory):
    bfloat16 = StepConfig(batch_size=8, precision="mixed_bfloat16")
    run_directory.add(CONFIG, *processes(1.0))
    run_directory.add(bfloat16, *processes(1.0), losses_without_dropout=[[0, 9.0], [1, 3.0]])
    assert failed(run_directory, *NO_SOURCES) == {"other-work": [bfloat16.name]}


@pytest.mark.parametrize("extra", [{"loss_last": None}, {"losses_without_dropout": [[0, 4.0], [1, None]]}])
def test_a_loss_that_is_not_finite_has_a_gate(run_directory, extra):
    run_directory.add(CONFIG, *processes(1.0), **extra)
    assert failed(run_directory, *NO_SOURCES) == {"not-finite": [CONFIG.name]}


@pytest.mark.parametrize("status", ["failed", "timeout", "oom"])
def test_a_case_that_should_have_had_figures_fails(run_directory, status):
    run_directory.add(CONFIG, status=status, note="x")
    assert failed(run_directory, *NO_SOURCES) == {"failed": [CONFIG.name]}


def test_a_batch_beyond_memory_and_what_is_unsupported_here_fail_nothing(run_directory):
    run_directory.add(CONFIG, *processes(1.0))
    run_directory.add(LARGER, status="oom", note="x")
    run_directory.add(StepConfig(precision="tf32"), status="unsupported", note="x")
    assert failed(run_directory, *NO_SOURCES) == {}


def test_a_case_without_a_row_or_without_its_base_is_missing(sources):
    sources.add(CONFIG, *processes(1.0), source="here")
    sources.add(LARGER, status=None, source="main")
    sources.add(LARGER, *processes(2.0), source="here")
    assert failed(sources, "missing") == {"missing": [f"{LARGER.name}@main", f"{LARGER.name}@here"]}


def test_a_case_that_the_other_source_does_not_support_is_missing(sources):
    sources.add(CONFIG, *processes(1.0), source="here")
    sources.add(LARGER, status="unsupported", note="this revision has no zeta", source="main")
    sources.add(LARGER, *processes(2.0), source="here")
    assert failed(sources, "missing", "failed") == {"missing": [f"{LARGER.name}@here"]}


def test_sources_without_any_comparison_fail_every_gate(run_directory):
    run_directory.document["suites"].append({"name": "sources", "question": "?", "varies": "source", "base": "main"})
    run_directory.write()
    assert failed(run_directory) == {gate: [gates.NOTHING] for gate in GATES}
    assert failed(run_directory, "slower") == {"slower": [gates.NOTHING]}


def test_a_pair_of_which_one_has_no_figures_is_no_comparison(sources):
    sources.add(CONFIG, status="failed", note="x", source="here")
    assert failed(sources, "slower", "failed") == {"slower": [gates.NOTHING], "failed": [HERE]}


def test_a_gate_that_cannot_fail_is_refused_before_anything_starts(gnet, run_directory):
    run_directory.add(CONFIG, *processes(1.0))
    for words in (["report", run_directory.path], ["bench"], ["bench", "--aa"], ["bench", "--python", "a=python3"]):
        for gate in ("slower", "unresolved", "failed,slower"):
            status, out, err = gnet(*words, "--fail-on", gate)
            assert (status, out, err.count("\n")) == (2, "", 1)
            assert "this run compares none" in err
    with pytest.raises(GnetError, match="compares none"):
        gates.require_sources(["unresolved"], compared=False)


@pytest.mark.parametrize("words", [["bench"], ["report", "x"], ["compare", "x", "y"]])
def test_an_unknown_gate_is_refused_by_what_there_are(gnet, words):
    status, _, err = gnet(*words, "--fail-on", "failed,slow")
    assert (status, err) == (2, f"gnet: fail_on: 'slow' is unknown; use one of {', '.join(GATES)}\n")


def test_report_names_the_gates_that_fail_and_a_gate_comes_before_failed_cases(gnet, sources):
    sources.add(CONFIG, *processes(1.2, 0.001), source="here")
    sources.add(LARGER, status="failed", note="x", source="main")
    assert gnet("report", sources.path)[0] == 3
    assert gnet("report", sources.path, "--fail-on", "not-finite")[0] == 3
    status, out, _ = gnet("report", sources.path, "--fail-on", "slower,failed")
    assert status == 1
    assert f"Gate failed: slower: {HERE}\n" in out
    assert f"Gate failed: failed: {LARGER.name}@main\n" in out
    status, out, _ = gnet("report", sources.path, "--fail-on", "slower", "--json")
    assert (status, json.loads(out)["failed_gates"]) == (1, {"slower": [HERE]})
    assert (sources.path / "report.html").is_file()


def test_a_profile_has_no_gates(gnet, tmp_path):
    (tmp_path / "run.json").write_text('{"kind": "profile"}')
    status, _, err = gnet("report", tmp_path, "--fail-on", "failed")
    assert (status, "holds a profile" in err) == (2, True)


def test_bench_offers_every_gate():
    (option,) = [option for option in bench.params if option.name == "fail_on"]
    assert option.type.convert(",".join(GATES), None, None) == GATES


@pytest.fixture
def other(tmp_path, environment):
    directory = RunDirectory(tmp_path / "other", environment)
    directory.document["run"] = "another run"
    return directory


def test_compare_has_the_same_gates(gnet, run_directory, other):
    run_directory.add(CONFIG, *processes(1.0))
    run_directory.add(LARGER, status="failed", note="x")
    other.add(CONFIG, *processes(1.0), losses_without_dropout=[[0, 9.0], [1, 3.0]], loss_last=None)
    other.add(LARGER, *processes(1.0))
    other.add(StepConfig(batch_size=32), status="failed", note="x")
    status, out, _ = gnet("compare", run_directory.path, other.path, "--fail-on", ",".join(NO_SOURCES), "--json")
    assert status == 1
    assert json.loads(out)["failed_gates"] == {
        "missing": [LARGER.name],
        "failed": [StepConfig(batch_size=32).name],
        "not-finite": [CONFIG.name],
        "other-work": [CONFIG.name],
    }


def test_a_run_compared_with_itself_or_a_copy_has_compared_nothing(gnet, run_directory, other, tmp_path):
    run_directory.add(CONFIG, *processes(1.0, 0.001))
    other.add(CONFIG, *processes(1.0, 0.001))
    for directory in (run_directory, other):  # identified by its time, as format version 3 does, and by its own name
        copy_of_it = shutil.copytree(directory.path, tmp_path / f"copy of {directory.path.name}")
        for new in (directory.path, copy_of_it):
            status, out, _ = gnet("compare", directory.path, new, "--fail-on", "slower")
            assert status == 1
            assert f"Gate failed: slower: {gates.NOTHING}\n" in out
    assert gnet("compare", run_directory.path, other.path, "--fail-on", "slower")[0] == 0


def test_runs_that_began_in_one_second_are_compared_where_their_samples_differ(
    gnet, run_directory, tmp_path, environment
):
    namesake = RunDirectory(tmp_path / "namesake", environment)
    run_directory.add(CONFIG, *processes(1.0, 0.001))
    namesake.add(CONFIG, *processes(1.0, 0.0011))
    assert gnet("compare", run_directory.path, namesake.path, "--fail-on", "slower")[0] == 0


def test_no_comparison_at_all_fails_every_gate(gnet, run_directory, other, tmp_path):
    run_directory.add(CONFIG, *processes(1.0))
    other.add(LARGER, *processes(1.0))
    assert gnet("compare", run_directory.path, other.path)[0] == 2
    words = ("--fail-on", "missing,slower", "--out", tmp_path / "out")
    status, out, _ = gnet("compare", run_directory.path, other.path, *words)
    assert status == 1
    assert f"Gate failed: missing: {CONFIG.name}\n" in out
    assert f"Gate failed: slower: {gates.NOTHING}\n" in out
    for gate in GATES:
        assert gnet("compare", run_directory.path, other.path, "--fail-on", gate)[0] == 1
    assert "No case has a ratio" in (tmp_path / "out" / "compare.md").read_text()


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("SLOWER", {"slower": [CONFIG.name]}), ("UNRESOLVED", {"unresolved": [CONFIG.name]}), ("SAME", {})],
)
def test_a_second_measurement_decides_in_place_of_the_first(run_directory, other, verdict, expected):
    run_directory.add(CONFIG, *processes(1.0, 0.001))
    other.add(CONFIG, *processes(1.2, 0.001))
    base, new = records.load_run(run_directory.path), records.load_run(other.path)
    between = comparisons.between(base, new)
    (first,) = between.family.comparisons.values()
    again = {CONFIG.name: dataclasses.replace(first, variant=f"{CONFIG.name}@here", verdict=verdict)}
    both = ("slower", "unresolved")
    assert gates.check_between(base, new, between, both).failed == {"slower": [CONFIG.name]}
    assert gates.check_between(base, new, between, both, again=again).failed == expected
    assert gates.check_between(base, new, between, both, again={}).failed == {"slower": [CONFIG.name]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--confirm"], "confirm: it measures again what would fail the gate slower; add --fail-on slower"),
        (["--confirm", "--fail-on", "missing"], "add --fail-on slower"),
        (["--budget", "5m"], "budget: it is about measuring again, which was not asked for; add --confirm"),
        (["--base-python", "python3"], "base_python: it is about measuring again"),
        (["--confirm", "--fail-on", "slower", "--budget", "0s"], "budget: '0s' will not do"),
        (
            ["--confirm", "--fail-on", "slower", "--base-python", "/no/python"],
            "base_python: '/no/python' is no program",
        ),
        (["--confirm", "--profiles"], "to_confirm: it belongs to verdicts"),
    ],
)
def test_options_of_confirm_that_cannot_be_are_one_line(gnet, run_directory, other, words, message):
    for directory in (run_directory, other):
        directory.add(CONFIG, *processes(1.0))
    status, out, err = gnet("compare", run_directory.path, other.path, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_where_nothing_looked_slower_nothing_is_measured_again(gnet, run_directory, other):
    for directory in (run_directory, other):
        directory.add(CONFIG, *processes(1.0, 0.001))
    words = ("compare", run_directory.path, other.path, "--fail-on", "slower", "--confirm")
    status, out, err = gnet(*words)
    assert (status, err) == (0, "")
    assert out.endswith("\nNothing looked SLOWER, so nothing is measured again.\n")
    assert json.loads(gnet(*words, "--json")[1])["confirmation"] is None


def test_a_run_of_another_version_is_told_of_and_cannot_be_measured_again(gnet, run_directory, other):
    run_directory.add(CONFIG, *processes(1.0, 0.001))
    other.add(CONFIG, *processes(1.2, 0.001))
    words = ("compare", run_directory.path, other.path, "--fail-on", "slower,missing", "--confirm")
    status, out, err = gnet(*words)
    assert (status, err) == (2, f"gnet: {other.path} does not record its code, as older versions did not\n")
    assert "NEW against BASE is SLOWER" in out


def test_comparing_backwards_in_time_is_told_everywhere(gnet, run_directory, other, tmp_path):
    run_directory.document["created"] = "2026-01-02T09:00:00+09:00"  # four hours before the other
    run_directory.add(CONFIG, *processes(1.0), run="2026-01-02T09:00:00+09:00")
    other.add(CONFIG, *processes(1.1))
    _, out, _ = gnet("compare", run_directory.path, other.path)
    assert "BACKWARDS" not in out
    _, out, _ = gnet("compare", other.path, run_directory.path, "--out", tmp_path / "out")
    assert "BACKWARDS IN TIME: NEW was started 2026-01-02T09:00:00+09:00, before BASE, 2026-01-02T03:04" in out
    for name in ("compare.html", "compare.md"):
        assert "BACKWARDS IN TIME" in (tmp_path / "out" / name).read_text()
    _, out, _ = gnet("compare", other.path, run_directory.path, "--json")
    assert json.loads(out)["backwards"] is True


@pytest.mark.parametrize("created", ["yesterday", "2020-01-01T00:00:00"])
def test_a_time_that_is_none_is_not_called_backwards(gnet, run_directory, other, created):
    run_directory.document["created"] = created
    run_directory.add(CONFIG, *processes(1.0), run=created)
    other.add(CONFIG, *processes(1.0))
    _, out, _ = gnet("compare", other.path, run_directory.path, "--json")
    assert json.loads(out)["backwards"] is False


@pytest.mark.parametrize(("margin", "noted"), [("0.02", True), ("0.1", True), ("0.5", False), ("2", False)])
def test_a_margin_that_was_meant_as_a_fraction_is_questioned(gnet, run_directory, other, margin, noted):
    for directory in (run_directory, other):
        directory.add(CONFIG, *processes(1.0))
    status, _, err = gnet("compare", run_directory.path, other.path, "--margin", margin)
    assert status == 0
    assert (f"gnet: margin: {margin} is taken as {margin} %" in err) is noted
    assert err.count("\n") == noted
    assert verdicts.require_margin(margin) == pytest.approx(float(margin) / 100)


# Rules: margins of single cases and waivers

NEXT_YEAR = datetime.date.today() + datetime.timedelta(days=365)
YESTERDAY = datetime.date.today() - datetime.timedelta(days=1)


def waiver(cases: str = "*", gates: str = "", expires: datetime.date = NEXT_YEAR) -> str:
    asked = f"gates = {gates.split()!r}\n" if gates else ""
    return f'[[waiver]]\ncases = "{cases}"\n{asked}reason = "issue 123"\nexpires = {expires}\n'


def margin(percent: float, cases: str = "*") -> str:
    return f'[[margin]]\ncases = "{cases}"\npercent = {percent}\n'


@pytest.fixture
def rules(tmp_path):
    """Writes a file of rules."""

    def write(*tables: str):
        path = tmp_path / "rules.toml"
        path.write_text("".join(tables))
        return path

    return write


@pytest.fixture
def slower(run_directory, other):
    """Two runs, of which the second is 1.2 times as slow in a case."""
    run_directory.add(CONFIG, *processes(1.0, 0.001))
    other.add(CONFIG, *processes(1.2, 0.001))
    return run_directory.path, other.path


def test_where_nothing_can_be_measured_again_a_pipeline_reads_the_first_verdicts(gnet, slower, tmp_path, monkeypatch):
    summary, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    summary.touch()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    words = ("compare", *slower, "--fail-on", "slower", "--confirm", "--junit", junit, "--github")
    assert gnet(*words)[0] == 2  # no run of these tests records its code
    assert "slower: SLOWER, 0.833×" in junit.read_text()
    assert "1 failure" in summary.read_text()


@pytest.mark.parametrize(("percent", "status"), [(1, 1), (10, 1), (19, 1), (21, 0), (50, 0)])
def test_a_slower_case_fails_beyond_its_own_margin_alone(gnet, slower, rules, percent, status):
    words = ("compare", *slower, "--fail-on", "slower", "--rules", rules(margin(percent)))
    ended, out, _ = gnet(*words)
    assert ended == status
    assert "NEW against BASE is SLOWER" in out  # the verdict is not the rules'
    excused = f"Excused: slower, not for certain beyond its own margin of {percent} %: {CONFIG.name}" in out
    assert excused == (status == 0)


def test_a_margin_that_the_interval_reaches_into_is_not_exceeded(gnet, run_directory, other, rules):
    run_directory.add(CONFIG, *processes(1.0, 0.02))
    other.add(CONFIG, *processes(1.2, 0.02))
    words = ("compare", run_directory.path, other.path, "--fail-on", "slower", "--json")
    (comparison,) = json.loads(gnet(*words)[1])["comparisons"]
    assert comparison["verdict"] == "SLOWER"
    between = 100 * (1 / (comparison["ratio"] * comparison["high"]) ** 0.5 - 1)  # margins to each side of the ratio
    assert comparison["ratio"] < 1 / (1 + between / 100) < comparison["high"]
    status, out, _ = gnet(*words, "--rules", rules(margin(between)))
    assert (status, json.loads(out)["failed_gates"]) == (0, {})
    (excused,) = json.loads(out)["excused"]
    assert (excused["gate"], excused["case"]) == ("slower", CONFIG.name)
    beyond = 100 * (1 / comparison["high"] - 1) - 0.01
    assert gnet(*words, "--rules", rules(margin(beyond)))[0] == 1


def test_the_margin_of_a_case_is_no_other_cases_and_of_slower_alone(gnet, slower, rules):
    words = ("compare", *slower, "--fail-on", "slower", "--rules")
    assert gnet(*words, rules(margin(50, "xla-*")))[0] == 1
    assert gnet(*words, rules(margin(50), margin(2, "graph-*")))[0] == 1
    assert gnet(*words, rules(margin(2, "graph-*"), margin(50)))[0] == 0


def test_margins_hold_back_the_gate_of_sources_within_a_run_and_leave_its_documents(gnet, sources, rules):
    sources.add(CONFIG, *processes(1.2, 0.001), source="here")
    words = ("report", sources.path, "--fail-on", "slower", "--json")
    without = json.loads(gnet(*words)[1])
    status, out, _ = gnet(*words, "--rules", rules(margin(30, "*@here")))
    document = json.loads(out)
    assert (status, document["failed_gates"]) == (0, {})
    assert [(item["gate"], item["case"]) for item in document["excused"]] == [("slower", HERE)]
    assert document["verdicts"] == without["verdicts"]
    assert gnet(*words, "--rules", rules(margin(30, "*@main")))[0] == 1


def test_a_waiver_keeps_its_gates_from_failing_and_is_shown(gnet, slower, rules, tmp_path):
    words = ("compare", *slower, "--fail-on", "slower,unresolved", "--rules")
    for number, gates_of_it in enumerate(("", "slower", "slower unresolved")):
        out_directory = tmp_path / f"out{number}"
        status, out, err = gnet(*words, rules(waiver("graph-*", gates_of_it)), "--out", out_directory)
        assert (status, err) == (0, "")
        text = f"waived until {NEXT_YEAR}: issue 123"
        assert f"Excused: slower, {text}: {CONFIG.name}" in out
        assert text in (out_directory / "compare.md").read_text()
        assert text in (out_directory / "compare.html").read_text()
    assert gnet(*words, rules(waiver("graph-*", "missing unresolved")))[0] == 1
    assert gnet(*words, rules(waiver("xla-*")))[0] == 1


def test_a_waiver_excuses_what_is_missing_and_failed(gnet, run_directory, other, rules):
    run_directory.add(CONFIG, *processes(1.0))
    run_directory.add(LARGER, *processes(1.0))
    other.add(CONFIG, *processes(1.0))
    other.add(LARGER, status="failed", note="x")
    words = ("compare", run_directory.path, other.path, "--fail-on", "missing,failed", "--json")
    assert json.loads(gnet(*words)[1])["failed_gates"] == {"missing": [LARGER.name], "failed": [LARGER.name]}
    _, out, _ = gnet(*words, "--rules", rules(waiver("*-b16-*", "missing")))
    assert json.loads(out)["failed_gates"] == {"failed": [LARGER.name]}
    assert gnet(*words, "--rules", rules(waiver("*-b16-*")))[0] == 0


def test_a_waiver_that_matches_no_case_is_noted_and_listed(gnet, slower, rules, tmp_path):
    words = ("compare", *slower, "--rules", rules(waiver("xla-*")))
    label = f"xla-* (waived until {NEXT_YEAR}: issue 123)"
    status, out, err = gnet(*words, "--out", tmp_path / "out")
    assert (status, err) == (0, f"gnet: note: rules: {label} matches no case\n")
    assert "## Waivers that match no case\n\nxla-" in (tmp_path / "out" / "compare.md").read_text()
    status, out, err = gnet(*words, "--json")
    assert (status, json.loads(out)["unmatched_waivers"], err.count("\n")) == (0, [label], 1)


@pytest.mark.parametrize("asked", ["slower", "missing", "other-work"])
def test_a_waiver_that_has_expired_fails_even_where_nothing_else_does(gnet, run_directory, other, rules, asked):
    for directory in (run_directory, other):
        directory.add(CONFIG, *processes(1.0, 0.001))
    expired = rules(waiver("graph-*", expires=YESTERDAY))
    words = ("compare", run_directory.path, other.path)
    status, out, err = gnet(*words, "--fail-on", asked, "--rules", expired)
    assert (status, err) == (1, "")
    assert f"Gate failed: expired-waiver: graph-* (waived until {YESTERDAY}: issue 123)\n" in out
    assert gnet(*words, "--rules", expired)[0] == 0  # nothing was asked
    assert gnet(*words, "--fail-on", asked, "--rules", rules(waiver(expires=datetime.date.today())))[0] == 0


def test_a_waiver_that_has_expired_does_not_act_in_a_run_either(gnet, sources, rules):
    sources.add(CONFIG, *processes(1.2, 0.001), source="here")
    words = ("report", sources.path, "--fail-on", "slower", "--json", "--rules")
    status, out, _ = gnet(*words, rules(waiver(expires=YESTERDAY)))
    assert status == 1
    assert list(json.loads(out)["failed_gates"]) == ["slower", "expired-waiver"]


def test_no_rule_excuses_that_nothing_was_compared(gnet, run_directory, other, rules):
    run_directory.add(CONFIG, *processes(1.0))
    other.add(LARGER, *processes(1.0))
    words = ("compare", run_directory.path, other.path, "--rules", rules(waiver(), margin(50)), "--json", "--fail-on")
    for gate in GATES:
        status, out, _ = gnet(*words, gate)
        assert (status, json.loads(out)["failed_gates"]) == (1, {gate: [gates.NOTHING]})


def test_what_rules_excuse_is_not_measured_again(gnet, slower, rules):
    words = ("compare", *slower, "--fail-on", "slower", "--confirm", "--rules")
    for excusing in (waiver(), margin(50)):
        status, out, err = gnet(*words, rules(excusing))
        assert (status, err) == (0, "")
        assert "\nNothing looked SLOWER by more than the rules allow, so nothing is measured again.\n" in out


def test_a_second_measurement_is_judged_by_the_margin_of_the_case(run_directory, other, rules):
    run_directory.add(CONFIG, *processes(1.0, 0.001))
    other.add(CONFIG, *processes(1.2, 0.001))
    base, new = records.load_run(run_directory.path), records.load_run(other.path)
    between = comparisons.between(base, new)
    (first,) = between.family.comparisons.values()
    again = {CONFIG.name: dataclasses.replace(first, ratio=0.95, low=0.94, high=0.96)}
    own = load_rules(rules(margin(10)))
    assert gates.check_between(base, new, between, ["slower"], own).failed == {"slower": [CONFIG.name]}
    assert gates.check_between(base, new, between, ["slower"], own, again).failed == {}


@pytest.mark.parametrize("command", ["bench", "report", "compare"])
def test_bad_rules_are_refused_before_anything_else(gnet, slower, rules, command):
    directories = {"bench": [], "report": slower[:1], "compare": slower}[command]
    status, out, err = gnet(command, *directories, "--rules", rules("[[margin]]\n"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "[[margin]] 1: field 'cases' is missing" in err
