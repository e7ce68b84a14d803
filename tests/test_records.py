"""Raw files become rows, and what cannot be read is named."""

import json

import pytest

from gnet_core import records
from gnet_core.config import GnetError, StepConfig

CONFIG = StepConfig(batch_size=8)
RAW = f"raw/{CONFIG.name}.r1.json"


def only_row(run_directory):
    (row,) = records.load_run(run_directory.path).rows
    return row


def test_a_rows_figures_follow_from_its_blocks(run_directory):
    run_directory.add(CONFIG, [1.0, 2.0, 3.0])  # blocks of 2 steps: 0.5, 1.0 and 1.5 s a step
    row = only_row(run_directory)
    assert row.step_seconds == pytest.approx(1.0)
    assert row.images_per_second == pytest.approx(8.0)
    assert row.turn_spread == pytest.approx(0.5)
    assert (row.replicates, row.samples, row.single_steps) == (1, 3, 3)
    assert row.step_seconds_p50 == pytest.approx(0.6)
    assert row.step_seconds_p95 is None
    assert row.step_seconds_ci_low is None
    assert (row.trace_seconds, row.compile_seconds, row.first_step_seconds) == (7.0, 9.0, 19.0)
    assert (row.peak_memory_bytes, row.loss_first, row.loss_last) == (2**30, 4.0, 1.0)


def test_processes_are_averaged_not_pooled_and_give_an_interval(run_directory):
    run_directory.add(CONFIG, [2.0], [2.0, 4.0, 4.0, 4.0])  # means a step: 1.0 and 1.75, so not the pooled 1.6
    row = only_row(run_directory)
    assert row.step_seconds == pytest.approx(1.375)
    assert row.replicates == 2
    assert row.step_seconds_ci_low < 1.0
    assert row.step_seconds_ci_high > 1.75
    assert row.images_per_second_ci_low == pytest.approx(8 / row.step_seconds_ci_high)
    assert row.images_per_second_ci_low < row.images_per_second < row.images_per_second_ci_high


def test_blocks_of_one_step_are_the_steps_of_the_percentiles(run_directory):
    run_directory.add(CONFIG, [1.0, 3.0], block_steps=1, single_step_seconds=[])
    assert only_row(run_directory).step_seconds_p50 == pytest.approx(2.0)


def test_eager_neither_traces_nor_compiles(run_directory):
    run_directory.add(StepConfig(execution="eager"), [1.0])
    row = only_row(run_directory)
    assert (row.trace_seconds, row.compile_seconds) == (None, None)
    assert row.first_step_seconds == 19.0


def test_a_loss_that_is_not_finite_and_skipped_steps_stand_in_the_note(run_directory):
    run_directory.add(CONFIG, [1.0], loss_last=None, skipped_steps=3)
    assert only_row(run_directory).note == "the loss was not finite; 3 of 20 steps skipped by loss scaling"


def test_a_retrace_while_timed_voids_the_samples(run_directory):
    run_directory.add(CONFIG, [1.0], retraces_while_timed=1)
    row = only_row(run_directory)
    assert (row.status, row.step_seconds) == ("failed", None)
    assert "void" in row.note


def test_a_loss_that_is_not_finite_in_any_process_is_seen(run_directory):
    run_directory.add(CONFIG, [1.0], [1.0])
    second = run_directory.path / f"raw/{CONFIG.name}.r2.json"
    spoil(second, lambda raw: raw["extra_info"].update(loss_last=None))
    assert only_row(run_directory).finite is False


def test_real_images_inside_the_clock_are_told(run_directory):
    run_directory.add(StepConfig(data="digits"), [1.0])
    assert only_row(run_directory).note == "reading and resizing the images is inside the clock"


def test_a_case_without_a_status_is_no_row_but_is_told(run_directory):
    run_directory.add(CONFIG, status=None, note="interrupted before it was measured")
    run = records.load_run(run_directory.path)
    assert run.rows == []
    assert run.unmeasured == [(CONFIG.name, "interrupted before it was measured")]


@pytest.mark.parametrize("status", ["oom", "failed", "timeout", "unsupported"])
def test_a_case_without_figures_keeps_its_status_and_reason(run_directory, status):
    run_directory.add(CONFIG, status=status, note="because")
    row = only_row(run_directory)
    assert (row.status, row.note, row.step_seconds, row.samples) == (status, "because", None, 0)


def spoil(path, change):
    document = json.loads(path.read_text())
    change(document["benchmarks"][0])
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw["extra_info"].pop("block_steps"), "block_steps"),
        (lambda raw: raw["extra_info"].pop("phase_seconds"), "phase_seconds"),
        (lambda raw: raw["extra_info"].update(skipped_steps="many"), "field missing or wrong"),
        (lambda raw: raw["extra_info"].update(format_version=9), "format_version is 9"),
        (lambda raw: raw["extra_info"].update(case="another"), "case is 'another'"),
        (lambda raw: raw["stats"].update(data=[1.0, float("nan")]), "a sample is nan"),
        (lambda raw: raw["stats"].update(data=[-1.0]), "a sample is -1.0"),
        (lambda raw: raw["stats"].update(data=[]), "no timed block"),
    ],
)
def test_a_spoiled_raw_file_costs_its_row_the_figures_and_is_named(run_directory, change, said):
    run_directory.add(CONFIG, [1.0])
    other = StepConfig(batch_size=16)
    run_directory.add(other, [1.0])
    spoil(run_directory.path / RAW, change)
    spoiled, whole = records.load_run(run_directory.path).rows
    assert spoiled.status == "failed"
    assert RAW in spoiled.note
    assert said in spoiled.note
    assert whole.images_per_second == pytest.approx(32.0)


def test_a_raw_file_cut_short_or_missing_is_named(run_directory):
    run_directory.add(CONFIG, [1.0])
    path = run_directory.path / RAW
    path.write_text(path.read_text()[:50])
    assert "cannot be read as JSON" in only_row(run_directory).note
    path.unlink()
    assert "there is no such file" in only_row(run_directory).note


def test_a_directory_without_a_run_is_refused_by_its_file(tmp_path):
    with pytest.raises(GnetError, match=r"run\.json: there is no such file"):
        records.load_run(tmp_path)


@pytest.mark.parametrize("field", ["suites", "complete", "preset", "created", "environment", "cases"])
def test_a_run_without_a_field_is_refused_by_its_name(run_directory, field):
    run_directory.add(CONFIG, [1.0])
    del run_directory.document[field]
    run_directory.write()
    with pytest.raises(GnetError, match=rf"run\.json: field '{field}' is missing"):
        records.load_run(run_directory.path)


def test_another_format_version_is_refused(run_directory):
    run_directory.document["format_version"] = 2
    run_directory.write()
    with pytest.raises(GnetError, match="format_version is 2"):
        records.load_run(run_directory.path)


def test_the_command_measures_the_case_again(run_directory):
    run_directory.add(StepConfig(execution="xla", batch_size=4, seed=3), [1.0])
    assert only_row(run_directory).command == (
        "gnet bench throughput --preset quick --device cpu --execution xla --precision float32 --batch-size 4 "
        "--image-size 224 --data synthetic --seed 3"
    )


def test_the_command_repeats_the_processes_and_quotes_a_path(run_directory):
    run_directory.document["replicates"] = 5
    run_directory.add(StepConfig(data="/my pictures"), [1.0])
    assert "--data '/my pictures'" in only_row(run_directory).command
    assert only_row(run_directory).command.endswith("--replicates 5")
