"""The JUnit file: valid by the schema that its readers have, whatever a run says, with the details where they show."""

from __future__ import annotations

import copy
import dataclasses
import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema

from gnet_core.config import StepConfig
from gnet_core.report import comparison
from gnet_core.report.junit import to_junit
from gnet_core.results import outcomes, records
from gnet_core.results.gates import GateResult
from gnet_core.results.outcomes import Outcome, Outcomes
from gnet_core.results.rules import NO_RULES, Margin, Rules, Waiver
from tests.conftest import RunDirectory
from tests.stored import HOSTILE, processes, store_every_suite, store_hostile

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit-10.xsd"))
GRAPH, XLA, EAGER = (StepConfig(batch_size=8, execution=execution) for execution in ("graph", "xla", "eager"))
TODAY = datetime.date(2026, 11, 26)


def parsed(text: str) -> ElementTree.Element:
    """The file's root, after it was found to be valid."""
    SCHEMA.validate(text)
    return ElementTree.fromstring(text)  # noqa: S314 - which gnet has just written


@pytest.fixture
def compared(tmp_path, environment):
    """Two runs with an outcome of each kind: slower, missing, UNRESOLVED, and one that passed."""
    base, new = (RunDirectory(tmp_path / name, copy.deepcopy(environment)) for name in ("base", "new"))
    new.document["environment"]["tensorflow"]["version"] = "2.19.0"
    base.add(GRAPH, *processes(1.0, 0.001))
    new.add(GRAPH, *processes(1.2, 0.001))
    base.add(XLA, *processes(1.0, 0.001))
    new.add(XLA, *processes(1.02, 0.2))
    base.add(EAGER, *processes(3.0, 0.001))
    new.add(EAGER, status="failed", note="because")
    larger = StepConfig(batch_size=16)
    base.add(larger, *processes(2.0, 0.001))
    new.add(larger, *processes(2.0, 0.001))
    runs = [records.load_run(directory.path) for directory in (base, new)]
    return comparison.compare(runs[0], runs[1], 0.02, across_machines=False)


def test_each_case_is_a_test_case_with_its_details_where_viewers_show_them(compared):
    whole = parsed(to_junit(comparison.outcomes(compared, ("slower",), NO_RULES)))
    (suite,) = whole
    counts = {"tests": "4", "failures": "1", "errors": "1"}
    assert whole.attrib == {"name": "gnet", "time": suite.attrib["time"]} | counts
    assert (
        suite.attrib
        == {
            "name": "gnet compare",
            "skipped": "1",
            "time": suite.attrib["time"],
            "timestamp": "2026-01-02T03:04:05",
        }
        | counts
    )
    cases = {case.attrib["name"]: case for case in suite.iter("testcase")}
    assert {case.attrib["classname"] for case in cases.values()} == {"gnet.compare"}
    assert float(suite.attrib["time"]) == pytest.approx(sum(float(case.attrib["time"]) for case in cases.values()))
    assert cases[EAGER.name].attrib["time"] == "0.000"
    assert float(cases[GRAPH.name].attrib["time"]) == pytest.approx(36)  # three processes, five blocks, two steps
    found = {name: [(child.tag, child.attrib.get("type")) for child in case] for name, case in cases.items()}
    assert found == {
        GRAPH.name: [("failure", "slower")],
        XLA.name: [("skipped", "unresolved")],
        EAGER.name: [("error", "missing, failed")],
        StepConfig(batch_size=16).name: [("system-out", None)],
    }
    failure = cases[GRAPH.name][0]
    assert failure.attrib["message"] == "slower: SLOWER, 0.833× (0.832–0.834), timed one after the other"
    assert failure.text is not None
    lines = failure.text.splitlines()
    assert lines[:4] == [
        "failure: slower: SLOWER, 0.833× (0.832–0.834), timed one after the other",
        "ratio to the base: 0.833× (0.832–0.834), timed one after the other",
        "verdict: SLOWER.",
        "margin: 2.0%",
    ]
    assert "processes: 3 of the base, 3 of the case" in lines
    assert "differs from the base: TensorFlow: 2.21.0 → 2.19.0 (software)" in lines
    assert lines[-1].startswith("measure it again: gnet bench throughput ")
    assert "because" in cases[EAGER.name][0].attrib["message"]
    assert "more processes a side" in str(cases[XLA.name][0].text)


def test_a_case_that_was_measured_again_has_both_verdicts(compared):
    first = compared.between.family.comparisons[GRAPH.name]
    outcome = Outcome(case=GRAPH.name, comparison=compared.between.family.comparisons[XLA.name], first=first)
    told = Outcomes(command="compare", subject="x", created="x", outcomes=[outcome], gates=GateResult())
    (skipped,) = parsed(to_junit(told)).iter("skipped")
    assert "before it was measured again: SLOWER, 0.833× (0.832–0.834), timed one after the other" in str(skipped.text)


def test_rules_are_told_where_they_acted(compared):
    waiver = Waiver(cases="graph-*-b8-*", reason="issue 123", expires=TODAY)
    own = Margin(cases="*-b16-*", percent=7, reason="noisy")
    rules = Rules(today=TODAY, waivers=(waiver,), margins=(own,))
    whole = parsed(to_junit(comparison.outcomes(compared, (), rules)))
    waived = next(child for child in whole.iter("skipped") if child.attrib["type"] == "waived")
    assert waived.attrib["message"].endswith("; slower: waived until 2026-11-26: issue 123")
    passed = next(whole.iter("system-out"))
    assert "margin: 2.0%; for the gate slower its own margin of 7 % (noisy)" in str(passed.text)


def test_a_comparison_across_machines_says_so_everywhere(compared):
    told = comparison.outcomes(compared, (), NO_RULES)
    warned = dataclasses.replace(told, warnings=["ACROSS MACHINES: the hardware differs."])
    whole = parsed(to_junit(warned))
    values = {item.attrib["name"]: item.attrib["value"] for item in whole.iter("property")}
    assert values == {"subject": told.subject, "warning": "ACROSS MACHINES: the hardware differs."}
    for case in whole.iter("testcase"):
        assert str(case[0].text).startswith("ACROSS MACHINES")


def test_the_outcomes_of_every_suite_are_valid(run_directory):
    store_every_suite(run_directory)
    run = records.load_run(run_directory.path)
    whole = parsed(to_junit(outcomes.of_run(run, (), NO_RULES)))
    assert len(list(whole.iter("testcase"))) == len(run.document.cases)
    assert {child.tag for case in whole.iter("testcase") for child in case} == {"system-out", "skipped"}


def test_whatever_a_run_says_the_file_is_valid(run_directory):
    store_hostile(run_directory)
    whole = parsed(to_junit(outcomes.of_run(records.load_run(run_directory.path), ("unresolved",), NO_RULES)))
    assert {element.tag for element in whole.iter()} <= {
        *("testsuites", "testsuite", "properties", "property", "testcase"),
        *("failure", "error", "skipped", "system-out"),
    }


@pytest.mark.parametrize(
    "text",
    [HOSTILE, "\0\x01\x0b\x1f\x7f\ud800\udfff\ufffe\uffff", "]]>&<\"'\r\n\t", "x" * 10**6],
    ids=["hostile", "forbidden", "markup", "endless"],
)
def test_no_character_spoils_the_file(text):
    outcome = Outcome(case=text, note=text, failed=["slower"])
    told = Outcomes(
        command="compare", subject=text, created=text, outcomes=[outcome], gates=GateResult(), warnings=[text]
    )
    file = to_junit(told)
    parsed(file)
    file.encode()
    assert len(file) < 20_000


@pytest.mark.parametrize(
    ("created", "timestamp"),
    [
        ("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05.678+09:00", "2026-01-01T18:04:05"),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_the_time_is_utc_or_left_out(created, timestamp):
    told = Outcomes(command="compare", subject="x", created=created, outcomes=[], gates=GateResult())
    (suite,) = parsed(to_junit(told))
    assert suite.attrib.get("timestamp") == timestamp


def test_the_schema_refuses_what_is_none():
    for text in (
        "<testsuites><testsuite/></testsuites>",
        '<testsuites><testsuite name="x" tests="one" failures="0" errors="0"/></testsuites>',
        '<testsuites time="1,5"/>',
        '<testsuites><testsuite name="x" tests="1" failures="0" errors="0"><testcase/></testsuite></testsuites>',
    ):
        assert not SCHEMA.is_valid(text)


def test_what_cannot_be_measured_is_skipped_for_having_no_figures(run_directory):
    run_directory.add(GRAPH, *processes(1.0))
    run_directory.add(StepConfig(precision="tf32"), status="unsupported", note="there is none on a CPU")
    whole = parsed(to_junit(outcomes.of_run(records.load_run(run_directory.path), (), NO_RULES)))
    assert [child.attrib["type"] for child in whole.iter("skipped")] == ["no-figures"]


def test_rows_of_the_first_measurement_say_so_beside_the_ratio_of_the_second(compared):
    first = compared.between.family.comparisons[GRAPH.name]
    again = dataclasses.replace(first, verdict="SAME", ratio=1.0, low=0.99, high=1.01)
    row, base_row = compared.new.row_of[GRAPH.name], compared.base.row_of[GRAPH.name]
    outcome = Outcome(case=GRAPH.name, comparison=again, first=first, row=row, base_row=base_row)
    whole = Outcomes(command="compare", subject="x", created="x", outcomes=[outcome], gates=GateResult())
    text = str(next(parsed(to_junit(whole)).iter("system-out")).text)
    assert "\nbase, when it was measured first: 8.0 images/s" in text
    assert "\ncase, when it was measured first: 6.7 images/s" in text
    assert "\nbase: " not in text
