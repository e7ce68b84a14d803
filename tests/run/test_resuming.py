"""A run that goes on: what of its earlier part stands, is open or was lost."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.request import BenchRequest
from gnet_core.plan.suites import PlannedCase
from gnet_core.results import records
from gnet_core.results.run_document import RecordedSource, source_of_peaks
from gnet_core.run import resuming
from gnet_core.run.standing import CaseState
from tests.conftest import environment_of, run_document

GRAPH, EAGER = (StepConfig(batch_size=8, execution=execution) for execution in ("graph", "eager"))

OPTIONS = {
    "suites": ["throughput"],
    "preset": "quick",
    "device": "cpu",
    "layers": "fused",
    "widths": "published",
    "replicates": 2,
    "image_size": None,
    "data": "synthetic",
    "seed": 0,
    "profile": False,
    "aa": False,
    "python": [],
    "against": None,
    "execution": ["graph", "eager"],
    "precision": None,
    "batch_size": [8],
    "worker_memory": None,
}


def states_of(*configs):
    return [CaseState(case=PlannedCase(config=config, suites=("throughput",))) for config in configs]


def standing(directory, *configs, replicates=2):
    document = run_document({**directory.document, "run": directory.document["created"]})
    return resuming.standing_of(directory.path, document, states_of(*configs), replicates)


def lost(restored):
    return [case.config.execution for case in restored.lost]


def test_what_finished_stands_and_nothing_is_lost(run_directory):
    run_directory.add(GRAPH, [1.0] * 3, [1.0] * 3)
    run_directory.add(EAGER, [2.0] * 3, [2.0] * 3, note="a note")
    restored = standing(run_directory, GRAPH, EAGER)
    assert [(state.status, len(state.raw)) for state in restored.states.values()] == [("ok", 2)] * 2
    assert [state.note for state in restored.states.values()] == ["", "a note"]
    assert (lost(restored), len(restored.turns)) == ([], 12)


@pytest.mark.parametrize("left", [0, 1, 4])
def test_a_run_whose_table_of_turns_is_an_older_one_or_gone_is_not_gone_on_with(run_directory, left):
    run_directory.add(GRAPH, [1.0] * 3, [1.0] * 3)
    path = run_directory.path / "turns.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:left]))
    with pytest.raises(GnetError, match=r"turns\.csv has no turns of graph-.*\.r[12], which was measured; put it back"):
        standing(run_directory, GRAPH)
    path.unlink()
    with pytest.raises(GnetError, match=r"turns\.csv has no turns of "):
        standing(run_directory, GRAPH)


def test_a_process_that_was_lost_is_measured_again(run_directory):
    run_directory.add(GRAPH, [1.0] * 3, [1.0] * 3)
    run_directory.add(EAGER, [2.0] * 3, [2.0] * 3, note="replicate 2 lost (failed): killed")
    del run_directory.document["cases"][1]["raw"][1]
    restored = standing(run_directory, GRAPH, EAGER)
    assert lost(restored) == ["eager"]
    assert [state.note for state in restored.states.values()] == ["", ""]


@pytest.mark.parametrize(("status", "again"), [("failed", 2), ("timeout", 2), ("oom", 0), ("unsupported", 0)])
def test_a_case_that_failed_is_tried_again_unless_it_would_come_out_the_same(run_directory, status, again):
    run_directory.add(GRAPH, [1.0] * 3, [1.0] * 3)
    run_directory.add(EAGER, status=status, note="why")
    restored = standing(run_directory, GRAPH, EAGER)
    assert lost(restored) == ["eager"] * again
    state = list(restored.states.values())[1]
    assert (state.status, state.note) == ((None, "") if again else (status, "why"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text(path.read_text()[:100]),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text(path.read_text().replace("2026-01-02", "2025-01-02")),
    ],
    ids=["gone", "cut short", "empty", "of another run"],
)
def test_a_raw_file_that_cannot_be_read_does_not_count_as_measured(run_directory, spoil):
    run_directory.add(GRAPH, [1.0] * 3, [1.0] * 3)
    spoil(run_directory.path / run_directory.document["cases"][0]["raw"][0])
    restored = standing(run_directory, GRAPH)
    assert lost(restored) == ["graph"]
    assert [len(state.raw) for state in restored.states.values()] == [1]


def test_a_cohort_that_was_not_finished_is_open_and_not_lost(run_directory):
    run_directory.add(GRAPH, [1.0] * 3, [1.0] * 3)
    run_directory.document["cohorts"][1]["complete"] = False
    restored = standing(run_directory, GRAPH)
    assert lost(restored) == []
    assert [cohort.complete for cohort in restored.cohorts] == [True, False]
    assert [len(state.raw) for state in restored.states.values()] == [1]


def test_a_run_that_had_no_plan_yet_has_lost_nothing(run_directory):
    run_directory.add(GRAPH, status=None, note="interrupted before it was measured")
    restored = standing(run_directory, GRAPH)
    assert (restored.cohorts, restored.lost) == ((), ())


def test_a_plan_that_was_cut_short_is_made_whole(run_directory):
    run_directory.add(GRAPH, [1.0] * 3, [1.0] * 3)
    run_directory.add(EAGER, status=None)
    assert lost(standing(run_directory, GRAPH, EAGER)) == ["eager", "eager"]


def test_a_batch_beyond_one_that_was_out_of_memory_stays_unmeasured(run_directory):
    larger = dataclasses.replace(GRAPH, batch_size=64)
    run_directory.add(GRAPH, status="oom", note="too large")
    run_directory.add(larger, status=None, note="not run")
    run_directory.add(EAGER, [1.0] * 3, [1.0] * 3)
    assert lost(standing(run_directory, GRAPH, larger, EAGER)) == []


def test_another_configuration_and_other_cases_are_refused(run_directory):
    run_directory.add(GRAPH, [1.0] * 3)
    with pytest.raises(GnetError, match="the run has other cases than this version would measure, such as eager"):
        standing(run_directory, GRAPH, EAGER)
    with pytest.raises(GnetError, match=r"was measured with another configuration \(seed 0 and not 1\); start anew"):
        standing(run_directory, dataclasses.replace(GRAPH, seed=1))


def test_a_worker_of_no_case_is_refused(run_directory):
    run_directory.add(GRAPH, [1.0] * 3)
    run_directory.document["cohorts"][0]["workers"].append("nothing.r1")
    with pytest.raises(GnetError, match=r"resume: worker 'nothing\.r1' belongs to no case of the run"):
        standing(run_directory, GRAPH)


@pytest.mark.parametrize("number", ["", "0", "01", "x", "³", "9" * 5000])
def test_what_is_called_as_no_worker_can_be_is_refused(run_directory, number):
    run_directory.add(GRAPH, [1.0] * 3)
    run_directory.document["cohorts"][0]["workers"].append(f"{GRAPH.name}.r{number}")
    with pytest.raises(GnetError, match=r"field 'cohorts\[0\]': worker '\S{1,300} is none; it has to be the name of a"):
        standing(run_directory, GRAPH)


def options_with(**changes):
    return {**copy.deepcopy(OPTIONS), **changes}


def test_options_are_taken_as_they_are(tmp_path):
    recorded = resuming.require_options(tmp_path / "run.json", options_with(), 2**30).to_dict()
    added: dict[str, Any] = {"memory": None, "worker_memory": None, "until": None, "budget": None, "case": []}
    added |= {"settings": [], "sources": None, "base": None, "replicas": None, "workers": None}
    assert recorded == {**OPTIONS, **added}  # which older runs were not asked for


WRONG: list[Any] = [None, True, -1, 0, 2**70, 1.5, "", "nonsense", [], [None], ["nonsense"], [[]], {}, {"a": 1}]


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_no_command_line_could_give_are_refused_by_name(tmp_path, name):
    messages = []
    for value in WRONG:
        try:
            resuming.require_options(tmp_path / "run.json", options_with(**{name: value}), 2**30)
        except GnetError as error:
            messages.append(str(error))
    assert len(messages) >= 6
    assert {text.startswith(f"{tmp_path / 'run.json'}: options: ") for text in messages} == {True}


def test_interpreters_and_revisions_come_from_the_command_line_and_never_from_a_file(tmp_path):
    nothing = BenchRequest()
    with pytest.raises(GnetError, match="name them again: --python old=/bin/sh --python new=x"):
        resuming.require_sources_named(BenchRequest(python=("old=/bin/sh", "new=x")), nothing, tmp_path)
    with pytest.raises(GnetError, match="name them again: --python 'old=x; reboot'"):
        resuming.require_sources_named(BenchRequest(python=("old=x; reboot",)), nothing, tmp_path)
    with pytest.raises(GnetError, match="name it again: --against main"):
        resuming.require_sources_named(BenchRequest(against="main"), nothing, tmp_path)
    resuming.require_sources_named(nothing, nothing, tmp_path)
    resuming.require_sources_named(BenchRequest(python=("a=b",)), BenchRequest(python=("a=b",)), tmp_path)


def test_code_that_changed_is_named_by_file_and_source(tmp_path):
    before = {"": {"gnet_core/step.py": "1", "gnet_core/model.py": "2"}}
    resuming.require_same_code(tmp_path, before, copy.deepcopy(before))
    with pytest.raises(GnetError, match=r"started with: gnet_core/step\.py; put it back"):
        resuming.require_same_code(tmp_path, before, {"": {**before[""], "gnet_core/step.py": "3"}})
    many = {"here": {f"gnet_core/{number}.py": "1" for number in range(9)}}
    with pytest.raises(GnetError, match=r"the code of here is not .*gnet_core/4\.py and 4 more"):
        resuming.require_same_code(tmp_path, {"here": {}}, many)


@pytest.mark.parametrize("before", [None, {}, {"other": {}}])
def test_a_record_of_other_code_is_refused(tmp_path, before):
    with pytest.raises(GnetError, match="resume: "):
        resuming.require_same_code(tmp_path, before, {"": {"gnet_core/step.py": "1"}})


@pytest.mark.parametrize("before", [[], "x", {"": None}, {"": ["gnet_core/step.py"]}])
def test_a_record_of_the_code_that_is_none_is_refused_where_it_is_read(run_directory, before):
    run_directory.document["code"] = before
    run_directory.write()
    with pytest.raises(GnetError, match=r"run\.json: field .code.* it has to be an object"):
        records.read_run_document(run_directory.path)


def test_a_commit_that_measures_nothing_new_does_not_forbid_going_on(tmp_path, environment):
    other = copy.deepcopy(environment)
    other["machine"]["commit"] = "another"
    resuming.require_same_environments(tmp_path, {"": environment_of(environment)}, {"": environment_of(other)})
    other["tensorflow"]["version"] = "2.19.0"
    with pytest.raises(GnetError, match=r"this is not what .* was measured with: TensorFlow: 2\.21\.0 → 2\.19\.0"):
        resuming.require_same_environments(tmp_path, {"": environment_of(environment)}, {"": environment_of(other)})


def test_a_run_goes_on_with_its_base_and_its_order_of_sources_alone():
    one, other = RecordedSource(name="one"), RecordedSource(name="other", variables={"A": "1"})
    resuming.require_same_settings(Path("run"), [one, other], [one, other])
    resuming.require_same_settings(Path("run"), [], [one, other])  # of before sources were recorded
    with pytest.raises(
        GnetError, match="run compared other with one, and not one with other; put sources and base back"
    ):
        resuming.require_same_settings(Path("run"), [one, other], [other, one])
    with pytest.raises(GnetError, match="other of run was started with other settings"):
        resuming.require_same_settings(Path("run"), [one, other], [one, RecordedSource(name="other")])


def test_peaks_are_of_the_working_tree_without_settings_where_there_is_such_a_source():
    old = RecordedSource(name="old", own_code=False)
    set_here, plain = RecordedSource(name="set", variables={"A": "1"}), RecordedSource(name="plain")
    everywhere = {"old", "set", "plain"}
    assert source_of_peaks([old, set_here, plain], everywhere) == "plain"
    assert source_of_peaks([old, set_here, plain], {"old", "set"}) == "set"
    assert source_of_peaks([old], everywhere) == "old"
    assert source_of_peaks([], {""}) == ""
