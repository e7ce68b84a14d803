"""What readers and programs are told of stored rows."""

import csv
import io
import json

import pytest

from gnet_core import records, report
from gnet_core.config import StepConfig

CONTRACT = [
    *("case", "suite", "execution", "precision", "batch_size", "image_size", "data", "device", "status", "replicates"),
    *("samples", "trace_seconds", "compile_seconds", "first_step_seconds", "step_seconds", "step_seconds_ci_low"),
    *("step_seconds_ci_high", "step_seconds_p50", "step_seconds_p95", "step_seconds_p99", "images_per_second"),
    *("images_per_second_ci_low", "images_per_second_ci_high", "peak_memory_bytes", "memory_source"),
    *("gflop_per_image", "gflop_per_second", "mfu", "loss_first", "loss_last", "note"),
]


@pytest.fixture
def stored(run_directory):
    run_directory.add(StepConfig(batch_size=8), [2.0, 2.0], suites=("throughput", "execution", "batch-size"))
    run_directory.add(StepConfig(batch_size=8, execution="xla"), [4.0, 4.0], suites=("execution",))
    run_directory.add(
        StepConfig(batch_size=8, execution="eager"), status="timeout", note="not finished", suites=("execution",)
    )
    run_directory.add(StepConfig(batch_size=16), [4.1, 4.1], suites=("batch-size",))
    return run_directory


def load(directory):
    return records.load_run(directory.path)


def test_the_csv_begins_with_the_contracts_columns_and_has_a_line_a_case(stored):
    lines = list(csv.reader(io.StringIO(report.to_csv(load(stored)))))
    assert lines[0][: len(CONTRACT)] == CONTRACT
    assert len(lines) == 5
    first = dict(zip(lines[0], lines[1], strict=True))
    assert first["suite"] == "throughput+execution+batch-size"
    assert (first["step_seconds"], first["images_per_second"], first["step_seconds_p95"]) == ("1.0", "8.0", "")
    assert first["samples"] == "2"


def test_a_figure_that_was_not_measured_is_empty(stored):
    timeout = list(csv.DictReader(io.StringIO(report.to_csv(load(stored)))))[2]
    assert timeout["status"] == "timeout"
    assert timeout["images_per_second"] == timeout["peak_memory_bytes"] == timeout["mfu"] == ""


def test_the_first_line_says_why_one_process_a_case_may_not_be_quoted(stored):
    first = report.to_markdown(load(stored)).splitlines()[0]
    assert first.startswith("**Do not quote")
    assert "one process a case" in first


def test_three_processes_a_case_may_be_quoted_and_smoke_never(run_directory):
    run_directory.add(StepConfig(), [1.0], [1.1], [1.2])
    assert report.quotable_line(load(run_directory)).startswith("**These figures may be quoted**")
    run_directory.document["preset"] = "smoke"
    run_directory.write()
    assert "smoke" in report.quotable_line(load(run_directory))


def test_a_loss_that_is_not_finite_may_not_be_quoted(run_directory):
    run_directory.add(StepConfig(), [1.0], [1.1], [1.2], loss_last=None)
    assert "a loss was not finite" in report.quotable_line(load(run_directory))


def test_a_trace_of_the_run_is_told_in_its_report(run_directory):
    run_directory.add(StepConfig(), [1.0])
    folder = run_directory.path / "traces" / StepConfig().name
    folder.mkdir(parents=True)
    rows = [
        {"operation": "Conv2D", "occurrences": 6, "self_seconds": 0.75, "share": 0.75},
        {"operation": "Mul", "occurrences": 2, "self_seconds": 0.25, "share": 0.25},
    ]
    trace = {"untraced_step_seconds": [0.5], "traced_step_seconds": [0.6], "overhead_seconds": 0.1, "warnings": []}
    document = {"config": StepConfig().to_dict(), "operations": rows, "note": "Wall time.", "trace": trace}
    (folder / "profile.json").write_text(json.dumps(document))
    text = report.to_markdown(load(run_directory))
    assert "goes to Conv2D 75%, Mul 25%." in text
    assert "| Conv2D      |       6 |           750.00 |   75.0% |" in text
    assert "500 ms without the profiler and +20% under it" in text


def test_an_interrupted_run_may_not_be_quoted(run_directory):
    run_directory.add(StepConfig(), [1.0], [1.1], [1.2])
    run_directory.document["complete"] = False
    run_directory.write()
    assert "interrupted" in report.quotable_line(load(run_directory))


def test_each_suites_sentence_answers_its_question_from_the_rows(stored):
    text = report.to_markdown(load(stored))
    assert "**8.0 images/s** with graph, float32, batch 8: 1000 ms a step." in text
    assert "xla does **0.50×** the images/s of graph (float32, batch 8)." in text
    assert "**8.0 images/s** with graph, float32, batch 8, the smallest batch, is the most." in text


def test_swapping_two_rows_changes_the_sentence(run_directory):
    run_directory.add(StepConfig(batch_size=8), [4.0], suites=("execution",))
    run_directory.add(StepConfig(batch_size=8, execution="xla"), [2.0], suites=("execution",))
    assert "xla does **2.00×** the images/s of graph" in report.to_markdown(load(run_directory))


def test_a_smaller_batch_that_is_nearly_as_good_is_told(run_directory):
    for batch, seconds in ((8, 2.0), (16, 2.4), (32, 4.7)):
        run_directory.add(StepConfig(batch_size=batch), [seconds], suites=("batch-size",))
    assert "batch 16 already gives 98% of that" in report.to_markdown(load(run_directory))


def test_a_suite_whose_base_failed_says_so(run_directory):
    run_directory.add(StepConfig(), status="oom", note="too large", suites=("execution",))
    run_directory.add(StepConfig(execution="xla"), [1.0], suites=("execution",))
    assert "No answer:** graph" in report.to_markdown(load(run_directory))


def test_what_was_not_measured_is_listed_with_its_reason(stored):
    text = report.to_markdown(load(stored))
    assert "- `eager-float32-b8-i224-synthetic-cpu`: timeout, not finished" in text


def test_hostile_text_is_inert_in_markdown(run_directory):
    run_directory.add(StepConfig(), status="failed", note="<script>|a|b|\n# [x](http://y)")
    text = report.to_markdown(load(run_directory))
    assert "<script>" not in text
    assert "\n# [x]" not in text
    assert r"\[x\](http" in text


def test_the_files_are_written_and_made_again_the_same(stored):
    report.write(load(stored))
    first = {name: (stored.path / name).read_text() for name in ("cases.csv", "report.md")}
    report.write(load(stored))
    assert first == {name: (stored.path / name).read_text() for name in first}
    assert not list(stored.path.glob(".*"))


def test_the_json_is_plain_and_holds_the_same_rows(stored):
    run = load(stored)
    document = json.loads(json.dumps(report.to_json(run), allow_nan=False))
    assert [row["case"] for row in document["rows"]] == [row.case for row in run.rows]
    assert document["quotable"] is False


def test_a_batch_beyond_memory_is_no_failure_where_a_smaller_one_fitted(run_directory):
    run_directory.add(StepConfig(batch_size=8), [1.0])
    run_directory.add(StepConfig(batch_size=16), status="oom", note="full")
    assert report.failures(load(run_directory)) == []
    run_directory.add(StepConfig(execution="xla", batch_size=16), status="oom", note="full")
    assert [row.execution for row in report.failures(load(run_directory))] == ["xla"]
