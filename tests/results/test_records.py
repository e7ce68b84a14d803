"""Raw files become rows, and what cannot be read is named."""

import copy
import dataclasses

import pandas as pd
import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.request import command_line
from gnet_core.results import records

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


def test_why_no_share_of_low_precision_could_be_had_stands_in_the_note_once(run_directory):
    run_directory.add(CONFIG, [1.0], [1.1], low_precision_share=None, low_precision_note="profiler: did not start")
    assert only_row(run_directory).note == "profiler: did not start"


def test_eager_neither_traces_nor_compiles(run_directory):
    run_directory.add(StepConfig(execution="eager"), [1.0])
    row = only_row(run_directory)
    assert (row.trace_seconds, row.compile_seconds) == (None, None)
    assert row.first_step_seconds == 19.0


def test_a_loss_that_is_not_finite_and_skipped_steps_stand_in_the_note(run_directory):
    run_directory.add(CONFIG, [1.0], loss_last=None, skipped_steps=3)
    assert only_row(run_directory).note == "the loss was not finite; 3 of 20 steps skipped by loss scaling"


def test_a_block_in_which_the_step_was_traced_anew_counts_for_nothing(run_directory):
    run_directory.add(CONFIG, [1.0, 9.0, 1.0], voided_blocks=[1])
    row = only_row(run_directory)
    assert (row.samples, row.voided_samples, row.step_seconds) == (2, 1, 0.5)
    assert row.note == "1 samples voided: the step was traced anew"


def test_without_any_block_left_the_row_has_no_figures(run_directory):
    run_directory.add(CONFIG, [1.0], voided_blocks=[0])
    row = only_row(run_directory)
    assert (row.status, row.step_seconds) == ("failed", None)
    assert "void" in row.note


def test_blocks_after_an_interruption_are_none(run_directory):
    run_directory.add(CONFIG, [1.0, 3.0, 0.001], timed_blocks=2)
    assert only_row(run_directory).step_seconds == pytest.approx(1.0)


def test_figures_that_rest_on_the_turns_come_from_their_table(run_directory):
    run_directory.add(CONFIG, [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], disturbed=1, waiting_cpu_share=0.25)
    row = only_row(run_directory)
    assert (row.disturbed_turns, row.waiting_cpu_share, row.images_per_joule) == (2, 0.25, None)


def test_a_table_without_a_turn_says_nothing(run_directory):
    run_directory.add(CONFIG, status="failed", note="every worker was lost")
    (run_directory.path / "turns.csv").write_text("\n")
    assert only_row(run_directory).note == "every worker was lost"


def test_utilisation_is_a_share_of_the_best_measured_peak(run_directory):
    run_directory.document["peaks"] = [
        {"float32": {"flop_per_second": 1e11, "operation": "product"}},
        {"float32": {"flop_per_second": 2e11, "operation": "convolution"}, "error": "x"},
        {"error": "it did not finish"},
    ]
    run_directory.add(CONFIG, [2.0])
    row = only_row(run_directory)
    assert (row.gflop_per_image, row.gflop_per_second, row.mfu) == (10.0, 80.0, pytest.approx(0.4))


def test_without_a_measured_peak_there_is_no_utilisation(run_directory):
    run_directory.add(CONFIG, [2.0])
    assert (only_row(run_directory).gflop_per_second, only_row(run_directory).mfu) == (80.0, None)
    run_directory.document["peaks"] = [{"float32": {"flop_per_second": 5e-324, "operation": "product"}}]
    run_directory.write()
    assert only_row(run_directory).mfu is None  # a share of next to nothing would have no end


@pytest.mark.parametrize(
    ("extra", "row"),
    [
        ({"delay_seconds": 0.02}, (0.02, "every step was delayed by 0.02 s to test the suite")),
        ({"delay_seconds": 0.0}, (None, "")),  # as earlier versions wrote it
        ({}, (None, "")),
    ],
)
def test_a_delay_that_tests_the_suite_is_told(run_directory, extra, row):
    run_directory.add(CONFIG, [1.0], **extra)
    read = only_row(run_directory)
    assert (read.delay_seconds, read.note) == row


def test_the_step_after_a_wait_is_told_apart_from_the_timed_ones(run_directory):
    run_directory.add(CONFIG, [1.0, 1.0], resumed_step_seconds=[0.75, 0.75])
    assert only_row(run_directory).resumed_step_ratio == pytest.approx(1.5)


def test_losses_of_the_same_step_in_float32_tell_equal_work(run_directory):
    run_directory.add(CONFIG, [1.0])
    run_directory.add(StepConfig(batch_size=8, execution="xla"), [1.0], losses_without_dropout=[[0, 4.0], [1, 9.0]])
    run_directory.add(StepConfig(batch_size=16), [1.0])
    run_directory.add(StepConfig(batch_size=4, precision="mixed_bfloat16"), [1.0])
    rows = records.load_run(run_directory.path).rows
    assert [row.equal_work for row in rows] == [None, False, None, None]


def test_a_gpus_row_outside_of_tolerance_notes_that_the_tolerance_is_a_cpus(run_directory):
    on_gpu = StepConfig(batch_size=8, device="gpu:0")
    run_directory.add(on_gpu, [1.0])
    other = dataclasses.replace(on_gpu, precision="tf32")
    run_directory.add(other, [1.0], losses_without_dropout=[[0, 4.0], [1, 9.0]])
    row = records.load_run(run_directory.path).rows[1]
    assert row.equal_work is False
    assert "on a CPU; on a GPU that tolerance has not been measured" in row.note


def test_without_graph_execution_another_float32_is_what_losses_are_judged_by(run_directory):
    run_directory.add(StepConfig(batch_size=8, execution="eager"), [1.0])
    run_directory.add(StepConfig(batch_size=8, execution="xla"), [1.0])
    assert [row.equal_work for row in records.load_run(run_directory.path).rows] == [None, True]


def test_fused_layers_are_judged_by_plain_ones_where_those_were_measured(run_directory):
    fused, off = StepConfig(batch_size=8, layers="fused"), [[0, 4.0], [1, 3.9]]
    run_directory.add(fused, [1.0], losses_without_dropout=off)
    run_directory.add(dataclasses.replace(fused, execution="xla"), [1.0], losses_without_dropout=off)
    assert [row.equal_work for row in records.load_run(run_directory.path).rows] == [None, True]
    run_directory.add(dataclasses.replace(fused, layers="keras"), [1.0])
    assert [row.equal_work for row in records.load_run(run_directory.path).rows] == [False, False, None]


def test_the_losses_of_every_process_are_judged(run_directory):
    run_directory.add(CONFIG, [1.0], [1.0])
    run_directory.add(StepConfig(batch_size=8, execution="xla"), [1.0], [1.0])
    run_directory.spoil(
        "raw/xla-float32-b8-i224-synthetic-cpu.r2.json",
        lambda raw: raw["extra_info"].update(losses_without_dropout=[[0, 4.0], [1, 9.0]]),
    )
    assert [row.equal_work for row in records.load_run(run_directory.path).rows] == [None, False]


def test_a_peak_is_of_the_tensorflow_that_it_was_measured_with(run_directory, environment):
    run_directory.document["environments"]["old"] = older = copy.deepcopy(environment)
    older["tensorflow"]["version"] = "2.19.1"
    run_directory.document["peaks"] = [{"float32": {"flop_per_second": 200e9}}]
    run_directory.add(CONFIG, [2.0])
    run_directory.add(CONFIG, [2.0], source="old")
    assert [row.mfu for row in records.load_run(run_directory.path).rows] == [pytest.approx(0.4), None]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", None), ("worker\nx\n", "column 'disturbed' is missing"), ('worker,"', "cannot be read"), ("\0", "missing")],
)
def test_a_table_of_turns_that_is_none_is_named(run_directory, text, message):
    run_directory.add(CONFIG, [1.0])
    (run_directory.path / "turns.csv").write_text(text)
    if message is None:
        assert records.load_run(run_directory.path).rows[0].disturbed_turns == 0
        return
    with pytest.raises(GnetError, match=message) as refused:
        records.load_run(run_directory.path)
    assert "turns.csv: " in str(refused.value)


def test_what_is_no_number_in_the_table_of_turns_is_missing(run_directory):
    run_directory.add(CONFIG, [1.0, 1.0], waiting_cpu_share=0.25)
    table = run_directory.path / "turns.csv"
    table.write_text(table.read_text().replace("0.25", "inf", 1))
    assert only_row(run_directory).waiting_cpu_share == 0.25
    table.write_text(table.read_text().replace("0.25", "<b>"))
    assert only_row(run_directory).waiting_cpu_share is None


def test_a_loss_that_is_not_finite_in_any_process_is_seen(run_directory):
    run_directory.add(CONFIG, [1.0], [1.0])
    run_directory.spoil(f"raw/{CONFIG.name}.r2.json", lambda raw: raw["extra_info"].update(loss_last=None))
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


def info(**changed):
    return lambda raw: raw["extra_info"].update(changed)


def data(*blocks):
    return lambda raw: (raw["stats"].update(data=list(blocks)), raw["extra_info"].update(timed_blocks=len(blocks)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["extra_info"].pop("block_steps"), "field 'benchmarks[0].extra_info.block_steps' is missing"),
        (
            lambda raw: raw["extra_info"].pop("phase_seconds"),
            "field 'benchmarks[0].extra_info.phase_seconds' is missing",
        ),
        (lambda raw: raw.pop("stats"), "field 'benchmarks[0].stats' is missing"),
        (info(phase_seconds=[]), "phase_seconds' is []; it has to be an object"),
        (info(phase_seconds={"import": -1.0}), "phase_seconds.import' is -1.0; it has to be a number, 0 or more"),
        (info(skipped_steps="many"), "skipped_steps' is 'many'; it has to be a whole number"),
        (info(steps=10**400), "steps' is 1000"),
        (info(peak_memory_bytes=None), "peak_memory_bytes' is None"),
        (info(memory_source=["a"]), "memory_source' is ['a']; it has to be text"),
        (info(flop_per_image=float("inf")), "flop_per_image' is inf"),
        (info(delay_seconds=float("nan")), "delay_seconds' is nan"),
        (info(loss_last="low"), "loss_last' is 'low'; it has to be a number"),
        (info(low_precision_note=["profiler"]), "low_precision_note' is ['profiler']; it has to be text"),
        (info(low_precision_share=1.5), "low_precision_share' is 1.5; it has to be a number from 0 to 1"),
        (info(losses_without_dropout=[]), "losses_without_dropout' is []"),
        (
            info(losses_without_dropout=[[10**9, 1.0]]),
            "losses_without_dropout has more updates of the weights than steps",
        ),
        (info(losses_without_dropout=[1.0]), "losses_without_dropout[0]' is 1.0; it has to be a list"),
        (info(voided_blocks=[7]), "voided_blocks is (7,); there are 1 blocks"),
        (info(voided_blocks=None), "voided_blocks' is None; it has to be a list"),
        (
            info(single_step_seconds=[0.1, -0.1]),
            "single_step_seconds[1]' is -0.1; it has to be seconds between 1e-06 and 1e+06",
        ),
        (info(resumed_step_seconds="none"), "resumed_step_seconds' is 'none'; it has to be a list"),
        (info(block_steps=0), "block_steps' is 0; it has to be a whole number from 1 to 1000000"),
        (info(timed_blocks=0), "timed_blocks' is 0; it has to be a whole number, 1 or more"),
        (info(format_version=9), "format_version is 9; this version of gnet reads 3 and 4"),
        (info(config={"execution": "graph"}), f"config is not that of {CONFIG.name}"),
        (info(run="2025-01-01T00:00:00+00:00"), "run is '2025-01-01T00:00:00+00:00', but this one is 2026-"),
        (data(1.0, float("nan")), "stats.data has nan; blocks are seconds between 1e-06 and 1e+06"),
        (data(-1.0), "stats.data has -1.0"),
        (data(1e300), "stats.data has 1e+300"),
        (data("fast"), "stats.data[0]' is 'fast'; it has to be a number"),
        (data(), "timed_blocks' is 0; it has to be a whole number, 1 or more"),
        (lambda raw: raw["stats"].update(data=None), "stats.data' is None; it has to be a list"),
    ],
)
def test_a_spoiled_raw_file_costs_its_row_the_figures_and_is_named(run_directory, change, message):
    run_directory.add(CONFIG, [1.0])
    run_directory.add(StepConfig(batch_size=16), [1.0])
    run_directory.spoil(RAW, change)
    spoiled, whole = records.load_run(run_directory.path).rows
    assert spoiled.status == "failed"
    assert spoiled.note.startswith(f"{run_directory.path / RAW}: ")
    assert message in spoiled.note
    assert spoiled.step_seconds is None
    assert whole.images_per_second == pytest.approx(32.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("not JSON", "cannot be read as JSON"),
        ("[]", "holds no JSON object"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("{}", "field 'benchmarks' is missing"),
        ('{"benchmarks": []}', "field 'benchmarks' is []; it has to be a list of length >= 1"),
        ('{"benchmarks": [1]}', "field 'benchmarks[0]' is 1; it has to be an object"),
        ('{"benchmarks": [], "name": "\\ud800"}', "cannot be read as JSON"),
    ],
)
def test_a_raw_file_that_is_none_is_named_and_the_rest_is_read(run_directory, text, message):
    run_directory.add(CONFIG, [1.0])
    run_directory.add(StepConfig(batch_size=16), [1.0])
    (run_directory.path / RAW).write_text(text)
    spoiled, whole = records.load_run(run_directory.path).rows
    assert (spoiled.status, whole.status) == ("failed", "ok")
    assert RAW in spoiled.note
    assert message in spoiled.note


def test_a_raw_file_stands_for_one_process_only(run_directory):
    run_directory.add(CONFIG, [1.0], [1.1])
    run_directory.document["cases"][0]["raw"] = [RAW, RAW]
    run_directory.write()
    assert (
        only_row(run_directory).note
        == f"{run_directory.path / 'run.json'}: {RAW} is named twice; each process has its own"
    )
    second = f"raw/{CONFIG.name}.r2.json"
    run_directory.document["cases"][0]["raw"] = [RAW, second]
    run_directory.write()
    (run_directory.path / second).write_text((run_directory.path / RAW).read_text())
    assert (
        only_row(run_directory).note
        == f"{run_directory.path / second}: it is a copy of {RAW}; each process has its own"
    )


def test_a_raw_file_lies_in_its_own_run_and_in_a_cohort(run_directory):
    run_directory.add(CONFIG, [1.0])
    run_directory.document["cohorts"] = []
    run_directory.write()
    assert f"worker {CONFIG.name}.r1 is in none of the cohorts" in only_row(run_directory).note
    run_directory.document["cases"][0]["raw"] = ["../../etc/passwd"]
    run_directory.write()
    assert "raw is '../../etc/passwd'; it lies in raw/" in only_row(run_directory).note


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


RUN_FIELDS = (
    *("created", "options", "preset", "device", "seed", "replicates", "memory_bytes", "environment", "environments"),
    *("suites", "complete", "cohorts", "cases"),
)


@pytest.mark.parametrize("field", RUN_FIELDS)
def test_a_run_without_a_field_is_refused_by_its_name(run_directory, field):
    run_directory.add(CONFIG, [1.0])
    del run_directory.document[field]
    run_directory.write()
    with pytest.raises(GnetError, match=rf"run\.json: field '{field}' is missing"):
        records.load_run(run_directory.path)


VIEW = {"view": "comparison", "base_fields": {}, "costs": ""}
"""Fields of a suite in run.json since suites declare a view."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.update(format_version=1), "format_version is 1; this version of gnet reads 3"),
        (lambda run: run.update(format_version="2"), "format_version is '2'"),
        (lambda run: run.update(created=5), "field 'created' is 5; it has to be text"),
        (lambda run: run.update(cases={}), "field 'cases' is {}; it has to be a list"),
        (lambda run: run.update(peaks=3), "field 'peaks' is 3; it has to be a list"),
        (lambda run: run.update(seed=float("nan")), "NaN is no number of JSON"),
        (lambda run: run.update(peaks=[{"float32": {"flop_per_second": 10**400}}]), "is no number of JSON"),
        (lambda run: run["environment"]["machine"].update(memory_bytes=10**400), "is no number of JSON"),
        (lambda run: run["suites"][1].update(varies="source", base=[1]), "base is [1]; it has to be the name"),
        (lambda run: run["environment"].pop("machine"), "field 'environment.machine' is missing"),
        (lambda run: run.update(environments={"": 4}), "environments['']\" is 4; it has to be an object"),
        (lambda run: run.update(suites=[{"name": "x"}]), "field 'suites[0].question' is missing"),
        (lambda run: run["suites"][1].update(varies="speed"), "'execution' varies 'speed'; it has to be source or"),
        (
            lambda run: run["suites"][1].update(varies="nonsense", base=None),
            "varies 'nonsense'; it has to be source or",
        ),
        (lambda run: run["suites"][1].update(varies="to_dict", base=None), "varies 'to_dict'"),
        (lambda run: run["suites"][1].update(base="turbo"), "execution: 'turbo' is unknown"),
        (
            lambda run: run["suites"][1].update(VIEW, view="table"),
            "field 'suites[1].view' is 'table'; it has to be one of comp",
        ),
        (lambda run: run["suites"][1].update(VIEW, view=["scaling"]), "suites[1].view' is ['scaling']; it has to be"),
        (lambda run: run["suites"][1].update(VIEW, base_fields={"turbo": 1}), "varies or compares what cannot be: "),
        (lambda run: run["suites"][1].update(VIEW, base_fields={"batch_size": 0}), "batch_size: 0 will not do"),
        (
            lambda run: run["suites"][0].update(VIEW, view="scaling"),
            "'throughput' varies no field, which view 'scaling'",
        ),
        (lambda run: run["suites"][0].update(VIEW, base=3), "base is 3; it has to be the name of a source"),
        (lambda run: run["suites"][0].update(view="speed"), "field 'suites[0].base_fields' is missing"),
        (
            lambda run: run.update(cohorts=[{"workers": [1], "order": [], "complete": True}]),
            "field 'cohorts[0].workers[0]' is 1; it has to be text",
        ),
        (lambda run: run.update(cases=["x"]), "field 'cases[0]' is 'x'; it has to be an object"),
        (lambda run: run["cases"][0].pop("note"), "field 'cases[0].note' is missing"),
        (lambda run: run["cases"][0].update(status=3), "field 'cases[0].status' is 3; it has to be text or null"),
        (
            lambda run: run["cases"][0].update(suites=[]),
            "field 'cases[0].suites' is []; it has to be a list of the suites that share the case",
        ),
        (lambda run: run["cases"][0].update(raw=[7]), "field 'cases[0].raw[0]' is 7; it has to be text"),
        (
            lambda run: run["cases"][0].update(case="<script>|"),
            "field 'cases[0].case' is '<script>|'; it has to be the name of a case, which has at most 250",
        ),
        (lambda run: run["cases"][0].update(case="x" * 10**6), "which has at most 250"),
        (lambda run: run["cases"][0].update(config={"turbo": 1}), "unknown field 'turbo'"),
        (lambda run: run["cases"][0].update(config={"batch_size": -1}), "batch_size: -1 will not do"),
    ],
)
def test_a_run_that_is_none_is_refused_in_one_line_by_file_and_field(run_directory, change, message):
    run_directory.add(CONFIG, [1.0])
    change(run_directory.document)
    run_directory.write()
    with pytest.raises(GnetError) as refused:
        records.load_run(run_directory.path)
    assert str(refused.value).startswith(f"{run_directory.path / 'run.json'}: ")
    assert message in str(refused.value)
    assert len(str(refused.value)) < 500


def test_a_profile_that_cannot_be_read_costs_the_run_nothing_else(run_directory):
    run_directory.add(CONFIG, [1.0])
    folder = run_directory.path / "traces" / CONFIG.name
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text("{")
    run = records.load_run(run_directory.path)
    ((case, reason),) = run.unmeasured
    assert (case, run.rows[0].status) == (CONFIG.name, "ok")
    assert "profile.json: it cannot be read as JSON" in reason


def test_the_command_measures_the_case_again(run_directory):
    run_directory.add(StepConfig(execution="xla", batch_size=4, seed=3), [1.0])
    assert only_row(run_directory).command == (
        "gnet bench throughput --device cpu --replicates 1 --execution xla --precision float32 --batch-size 4 "
        "--image-size 224 --seed 3"
    )


def test_the_command_repeats_the_processes_and_quotes_a_path(run_directory):
    run_directory.document["replicates"] = 5
    run_directory.add(StepConfig(data="/my pictures"), [1.0])
    assert "--data '/my pictures'" in only_row(run_directory).command
    assert " --replicates 5 " in only_row(run_directory).command


def test_the_command_measures_the_layers_that_were_measured(run_directory):
    run_directory.document["options"] |= {"layers": "keras"}
    run_directory.add(StepConfig(layers="keras"), [1.0])
    run = records.load_run(run_directory.path)
    assert " --layers keras" in run.rows[0].command
    assert command_line(run.document.request) == "gnet bench --device cpu --until fixed --layers keras"


def test_the_command_keeps_to_the_memory_and_to_the_single_process_that_were_asked_for(run_directory):
    run_directory.document |= {"preset": "full"}
    run_directory.document["options"] |= {"preset": "full", "memory": 2**33, "worker_memory": 2**32}
    run_directory.add(StepConfig(), [1.0])
    command = only_row(run_directory).command
    assert f" --memory {2**33} --worker-memory {2**32}" in command
    assert " --preset full " in command
    assert " --replicates 1 " in command


def test_the_command_of_identical_code_names_a_suite_that_has_the_case(run_directory):
    forward = StepConfig(part="forward")
    run_directory.add(forward, [1.0], suites=("parts",))
    run_directory.add(forward, [1.0], suites=("aa",), source="again")
    commands = [row.command for row in records.load_run(run_directory.path).rows]
    assert [command.split()[2] for command in commands] == ["parts", "parts"]
    assert [command.endswith(" --aa") for command in commands] == [False, True]


def test_the_command_names_what_was_compared(run_directory):
    run_directory.document["options"] |= {"python": ["old=/opt/old", "new=/opt/new"], "aa": True}
    run_directory.add(StepConfig(), [1.0], suites=("aa",), source="again")
    command = only_row(run_directory).command
    assert command.startswith("gnet bench throughput --device cpu")
    assert command.endswith(" --aa --python old=/opt/old --python new=/opt/new")


def test_turns_of_another_run_are_not_of_this_one(run_directory):
    run_directory.add(CONFIG, [1.0, 1.0], disturbed=1)
    turns = pd.read_csv(run_directory.path / "turns.csv")
    for run, disturbed in ((run_directory.document["created"], 1), ("another", 0)):
        turns.assign(run=run).to_csv(run_directory.path / "turns.csv", index=False)
        (row,) = records.load_run(run_directory.path).rows
        assert row.disturbed_turns == disturbed


def test_a_row_says_where_normalisations_of_single_values_learn_nothing(run_directory):
    for size in (96, 120, 224):
        run_directory.add(StepConfig(batch_size=1, image_size=size), [1.0])
    run_directory.add(StepConfig(batch_size=2, image_size=96), [1.0])
    notes = [row.note for row in records.load_run(run_directory.path).rows]
    assert notes[0].startswith("13 batch normalisations see a single value a channel and so learn nothing")
    assert notes[1].startswith("2 batch normalisations see")
    assert notes[2:] == ["", ""]
