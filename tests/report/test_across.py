"""Sources beside each other: a row a case, a column a source, what differs above, and a heat map without colours."""

import copy

import pytest

from gnet_core.config import Execution, StepConfig
from gnet_core.report.summary import Summary
from gnet_core.results import records
from tests.stored import markdown, processes, terminal
from tests.svg import words

CASES: dict[Execution, float] = {"graph": 1.0, "xla": 2.0}
SLOWDOWN = {"tf219": 1.0, "tf220": 0.8, "tf221": 1.25, "tf221-onednn0": 1.0}


def source(name, **more):
    return {"name": name, "effects": [], "missing": "", **more}


@pytest.fixture
def stored(run_directory, environment):
    """A run of two cases from four sources and one that could not be installed."""
    document = run_directory.document
    document["environments"] = {}
    for name in SLOWDOWN:
        own = copy.deepcopy(environment)
        own["tensorflow"]["version"] = f"2.{name[3:5]}.0"
        document["environments"][name] = own
    effect = {"variable": "TF_ENABLE_ONEDNN_OPTS", "value": "0", "effect": "acts", "evidence": "oneDNN: off, and on"}
    variables = document["environments"]["tf221-onednn0"]["machine"]["environment_variables"]
    variables["TF_ENABLE_ONEDNN_OPTS"] = "0"
    document["sources"] = [
        *(source(name) for name in list(SLOWDOWN)[:3]),
        source("tf221-onednn0", effects=[effect | {"decides": ""}], variables={effect["variable"]: "0"}),
        source("tf222", missing="python: it could not describe its frameworks; it said: No module named 'click'"),
    ]
    question = "How fast are the same cases from the others as from tf219?"
    suite = {"name": "sources", "question": question, "view": "across", "varies": "source", "base": "tf219"}
    document["suites"] = [suite | {"base_fields": {}, "costs": ""}]
    for execution, seconds in CASES.items():
        config = StepConfig(execution=execution)
        for name, slowdown in SLOWDOWN.items():
            run_directory.add(config, *processes(seconds * slowdown, number=4), source=name)
        run_directory.add(config, source="tf222", status="unsupported", note="No module named 'click'")
    return run_directory


def section_of(directory):
    (section,) = Summary(records.load_run(directory.path)).sections
    return section


def test_the_table_has_a_row_a_case_and_a_column_a_source(stored):
    table = section_of(stored).short_table()
    assert table.headings == ["case, × tf219", *SLOWDOWN, "tf222"]
    rows = {row[0].text: dict(zip(table.headings, row, strict=True)) for row in table.rows}
    assert [name for name in rows if name in CASES] == list(CASES)
    graph = rows["graph"]
    assert graph["tf219"].text.startswith("32.0 images/s (")
    assert "1.25" in graph["tf220"].text
    assert (graph["tf220"].verdict, graph["tf221"].verdict) == ("FASTER", "SLOWER")
    assert "0.80" in graph["tf221"].text
    assert graph["tf222"].text == "unsupported"


def test_what_differs_stands_above_the_cases(stored):
    table = section_of(stored).short_table()
    names = [row[0].text for row in table.rows]
    assert names.index("TF_ENABLE_ONEDNN_OPTS") < names.index("TensorFlow") < names.index("graph")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["TensorFlow"] == ["2.19.0", "2.20.0", "2.21.0", "2.21.0", ""]
    assert rows["TF_ENABLE_ONEDNN_OPTS"] == ["not set", "not set", "not set", "0, acts", ""]
    assert "No module named 'click'" in rows["not measured"][-1]


def test_a_source_that_lacks_a_framework_is_not_given_the_versions_of_the_base(stored):
    stored.document["environments"]["tf220"]["tensorflow"] = None
    stored.write()
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in section_of(stored).short_table().rows}
    assert rows["TensorFlow"] == ["2.19.0", "–", "2.21.0", "2.21.0", ""]


def test_many_differences_are_counted_and_not_all_shown(stored):
    for number in range(30):
        stored.document["environments"]["tf220"]["machine"]["packages"][f"package{number}"] = "1"
    stored.write()
    names = [row[0].text for row in section_of(stored).short_table().rows]
    assert any("more, under Environment" in name for name in names)
    assert "TF_ENABLE_ONEDNN_OPTS" in names  # what is compared is never among those


def test_the_heat_map_says_each_verdict_by_a_mark_and_its_ratio(stored):
    section = section_of(stored)
    picture = section.picture()
    said = " ".join(words(picture))
    assert "1.250× ▲" in said
    assert "0.800× ▼" in said
    assert "▲" in said
    assert "–" in said  # of the source that could not be measured
    assert "graph, tf220: 1.250×" in picture.description


def test_it_answers_by_source_and_says_which_could_not_be_measured(stored):
    text = " ".join(" ".join(sentence) for sentence in section_of(stored).answers())
    assert "tf220" in text
    assert "tf222 could not be measured: python: it could not describe its frameworks" in text
    for written in (markdown, terminal):
        page = " ".join(written(records.load_run(stored.path)).split())
        assert "tf222 could not be measured" in page


def test_two_sources_keep_the_plot_of_intervals(run_directory, environment):
    document = run_directory.document
    document["environments"] = {"old": environment, "new": copy.deepcopy(environment)}
    suite = {"name": "sources", "question": "?", "view": "across", "varies": "source", "base": "old"}
    document["suites"] = [suite | {"base_fields": {}, "costs": ""}]
    for name, seconds in (("old", 1.0), ("new", 1.2)):
        run_directory.add(StepConfig(), *processes(seconds, number=4), source=name)
    section = section_of(run_directory)
    assert "band: ±2 %, the margin" in " ".join(words(section.picture()))
    table = section.short_table()
    assert table.headings == ["case, × old", "old", "new"]
    assert table.rows[-1][0].text == "graph"  # a single case is not called by its first source


def test_a_case_that_did_other_work_has_no_verdict_across_sources(stored):
    def diverge(benchmark):
        benchmark["extra_info"]["losses_without_dropout"] = [[0, 4.0], [1, 30.0], [2, 2.0]]

    for number in range(1, 5):
        stored.spoil(f"raw/{StepConfig().name}@tf220.r{number}.json", diverge)
    comparison = section_of(stored).comparisons[f"{StepConfig().name}@tf220"]
    assert comparison.verdict == "UNRESOLVED"
    assert "loss after 1 updates" in comparison.reason


def test_a_setting_on_the_precision_is_allowed_what_that_precision_is(stored):
    def nearly(benchmark):
        benchmark["extra_info"]["losses_without_dropout"] = [[0, 4.2], [1, 3.1], [2, 2.0]]

    name = f"{StepConfig().name}@tf221-onednn0"
    for number in range(1, 5):
        stored.spoil(f"raw/{name}.r{number}.json", nearly)
    assert section_of(stored).comparisons[name].verdict == "UNRESOLVED"
    (effect,) = stored.document["sources"][3]["effects"]
    effect.update(variable="TF_SET_ONEDNN_FPMATH_MODE", value="BF16", decides="precision")
    stored.write()
    section = section_of(stored)
    assert section.comparisons[name].verdict != "UNRESOLVED" or "loss" not in section.comparisons[name].reason
    assert "TF_SET_ONEDNN_FPMATH_MODE=BF16 of its source acts on its precision" in section.row(name).note
