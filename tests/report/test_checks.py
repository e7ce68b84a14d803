"""The report finds what is wrong with its own figures."""

import dataclasses

import pytest

from gnet_core.config import StepConfig
from gnet_core.report import checks
from gnet_core.results import records
from gnet_core.results.comparisons import within

CASE = "graph-float32-b8-i224-synthetic-cpu"


@pytest.fixture
def run(run_directory):
    run_directory.add(StepConfig(batch_size=8), [2.0, 2.2], [2.1, 2.3], [2.0, 2.1])
    return records.load_run(run_directory.path)


def failed_checks(run):
    return [*checks.failed_checks(run, within(run)), *(f"{case}: {text}" for case, text in checks.unproven_work(run))]


def with_row(run, **changed):
    (row,) = run.rows
    config = dataclasses.replace(run.configs[row.case], precision=changed.get("precision", row.precision))
    return dataclasses.replace(run, rows=[dataclasses.replace(row, **changed)], configs={row.case: config})


def test_a_run_whose_figures_agree_has_nothing_to_tell(run):
    assert failed_checks(run) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"step_seconds_p95": 0.4}, "p50 ≤ p95 ≤ p99 does not hold: 0.6, 0.4 s."),
        ({"step_seconds_p95": 0.9, "step_seconds_p99": 0.8}, "p50 ≤ p95 ≤ p99 does not hold: 0.6, 0.9, 0.8 s."),
        (
            {"step_seconds": 2.0, "step_seconds_ci_high": 3.0},
            "7.559 images/s are not batch size ÷ mean step, which is 4.",
        ),
        ({"mfu": 1.25}, "it did 1.25 times the FLOP/s of the best that was measured as the device's peak."),
        (
            {"images_per_second_ci_low": 8.0, "images_per_second_ci_high": 9.0},
            "the interval of images/s, 8–9, does not hold its estimate of 7.559.",
        ),
        ({"low_precision_share": 0.3}, "30% of its matrix work was done in a lower precision: it is float32 by name."),
        (
            {"precision": "mixed_bfloat16", "low_precision_share": 0.0, "equal_work": True},
            "only 0% of its matrix work was done in a lower precision: it is mixed_bfloat16 by name.",
        ),
        (
            {"precision": "mixed_float16", "low_precision_share": None, "equal_work": True},
            "nothing shows whether its matrix work was done in mixed_float16.",
        ),
        (
            {"waiting_cpu_share": 0.02},
            "its processes used 2.0% of a processor while they waited, which disturbed the others' turns.",
        ),
        (
            {"precision": "mixed_bfloat16", "low_precision_share": 0.9, "equal_work": None},
            "its losses were compared with no float32's; measure float32 beside it.",
        ),
        ({"images_per_second": None}, "its status is ok, but it has no figures."),
    ],
)
def test_what_does_not_hold_is_a_sentence_that_names_the_case(run, changed, sentence):
    assert failed_checks(with_row(run, **changed)) == [f"{CASE}: {sentence}"]


@pytest.mark.parametrize(
    "changed",
    [
        {"mfu": 1.0},
        {"precision": "mixed_bfloat16", "low_precision_share": 0.5, "equal_work": True},
        {"precision": "tf32", "low_precision_share": 0.0},
        {"waiting_cpu_share": 0.01},
        {"status": "failed", "images_per_second": None},
    ],
)
def test_what_is_as_it_should_be_is_not_reported(run, changed):
    assert failed_checks(with_row(run, **changed)) == []


def test_a_status_that_is_none_of_the_five_is_reported(run_directory):
    run_directory.add(StepConfig(batch_size=8), status="fine")
    assert failed_checks(records.load_run(run_directory.path)) == [
        f"{CASE}: its status is 'fine'; it has to be one of ok, oom, failed, timeout, unsupported."
    ]


def test_a_case_that_is_there_twice_is_reported(run_directory):
    run_directory.add(StepConfig(batch_size=8), status="oom", note="full")
    run_directory.document["cases"] *= 2
    run_directory.write()
    assert failed_checks(records.load_run(run_directory.path)) == [
        f"{CASE}: run.json has the case 2 times; it has to be there once."
    ]


def test_a_case_without_a_status_needs_a_reason_unless_the_run_was_interrupted(run_directory):
    run_directory.add(StepConfig(batch_size=16), status=None, note="not run: batch size 8 was out of memory already")
    assert failed_checks(records.load_run(run_directory.path)) == []
    run_directory.add(StepConfig(batch_size=8), status=None)
    assert failed_checks(records.load_run(run_directory.path)) == [
        f"{CASE}: the run is complete, but the case has neither a status nor a reason."
    ]
    run_directory.document["complete"] = False
    run_directory.write()
    assert failed_checks(records.load_run(run_directory.path)) == []


def test_a_spinning_worker_is_seen_in_the_turns_of_the_run(run_directory):
    run_directory.add(StepConfig(batch_size=8), [2.0], waiting_cpu_share=0.5)
    (sentence,) = failed_checks(records.load_run(run_directory.path))
    assert "used 50.0% of a processor while they waited" in sentence
