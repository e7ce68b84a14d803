"""Which rows are set against which, within a run and between two."""

import dataclasses
import math

import pytest

from gnet_core.config import StepConfig
from gnet_core.results import comparisons, records
from tests.conftest import RunDirectory

GRAPH, XLA = StepConfig(batch_size=8), StepConfig(batch_size=8, execution="xla")
BY_SOURCE = [
    {"name": "sources", "question": "New against old?", "varies": "source", "base": "old"},
    {"name": "aa", "question": "Identical code?", "varies": "source", "base": "old"},
]


def blocks(step_seconds, *processes):
    """Block seconds of processes that are a little apart: each has two blocks of two steps."""
    return [[2 * step_seconds * process, 2 * step_seconds * process] for process in processes or (0.999, 1.0, 1.001)]


def load(directory):
    return records.load_run(directory.path)


def verdicts_of(run):
    return {
        (family.suite, comparison.base, comparison.variant): comparison.verdict
        for family in comparisons.within(run)
        for comparison in family.comparisons.values()
    }


def test_a_suite_compares_what_differs_from_its_base_in_nothing_else(run_directory):
    run_directory.add(GRAPH, *blocks(1.0), suites=("execution", "precision", "batch-size"))
    run_directory.add(XLA, *blocks(2.0), suites=("execution",))
    run_directory.add(StepConfig(batch_size=16), *blocks(2.0), suites=("execution", "batch-size"))
    run_directory.add(StepConfig(batch_size=16, execution="xla"), *blocks(1.0), suites=("execution",))
    run_directory.add(StepConfig(batch_size=8, precision="mixed_bfloat16"), *blocks(1.0), suites=("precision",))
    assert verdicts_of(load(run_directory)) == {
        ("execution", GRAPH.name, XLA.name): "SLOWER",
        ("execution", "graph-float32-b16-i224-synthetic-cpu", "xla-float32-b16-i224-synthetic-cpu"): "FASTER",
        ("precision", GRAPH.name, "graph-mixed_bfloat16-b8-i224-synthetic-cpu"): "SAME",
    }


def test_a_case_of_another_suite_is_not_in_a_suites_table(run_directory):
    run_directory.add(GRAPH, *blocks(1.0), suites=("execution",))
    run_directory.add(XLA, *blocks(2.0), suites=("throughput",))
    assert verdicts_of(load(run_directory)) == {}


def test_sources_and_identical_code_are_compared_case_by_case(run_directory):
    run_directory.document["suites"] += BY_SOURCE
    run_directory.add(GRAPH, *blocks(1.0), suites=("execution",), source="old")
    run_directory.add(XLA, *blocks(2.0), suites=("execution",), source="old")
    run_directory.add(GRAPH, *blocks(1.1), suites=("execution",), source="new")
    run_directory.add(XLA, *blocks(1.5), suites=("execution",), source="new")
    run_directory.add(GRAPH, *blocks(1.0), suites=("aa",), source="again")
    assert verdicts_of(load(run_directory)) == {
        ("execution", f"{GRAPH.name}@old", f"{XLA.name}@old"): "SLOWER",
        ("execution", f"{GRAPH.name}@new", f"{XLA.name}@new"): "SLOWER",
        ("sources", f"{GRAPH.name}@old", f"{GRAPH.name}@new"): "SLOWER",
        ("sources", f"{XLA.name}@old", f"{XLA.name}@new"): "FASTER",
        ("aa", f"{GRAPH.name}@old", f"{GRAPH.name}@again"): "SAME",
    }


def test_the_machines_spread_is_that_of_identical_code(run_directory):
    assert comparisons.machine_spread(load_empty(run_directory)) == {}
    run_directory.document["suites"] += BY_SOURCE[1:]
    run_directory.document["suites"][-1]["base"] = ""
    run_directory.add(GRAPH, *blocks(1.0, 1.0, 1.0, 1.0), suites=("execution",))
    run_directory.add(GRAPH, *blocks(1.0, 0.99, 1.0, 1.01), suites=("aa",), source="again")
    spread = comparisons.machine_spread(load(run_directory))
    # Pairs that differ by -1, 0 and 1 %: standard deviation 1 %, of which each process has 1 ÷ √2. One after the other
    # the first case's processes are all alike and the second's differ by 1 %: half of its variance on average.
    assert spread == {
        "turns": pytest.approx(0.01 / math.sqrt(2), rel=1e-3),
        "sequential": pytest.approx(0.01 / math.sqrt(2), rel=1e-3),
    }


def load_empty(run_directory):
    run_directory.write()
    return load(run_directory)


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        ({"status": "oom", "note": "full"}, f"{XLA.name} has no figures: oom."),
        ({"loss_last": None}, f"The loss of {XLA.name} was not finite."),
        (
            {"losses_without_dropout": [[0, 4.0], [1, 9.0], [2, 20.0]]},
            f"The losses of {XLA.name} are not those of float32, so it did other work.",
        ),
    ],
)
def test_speed_counts_only_at_equal_work(run_directory, spoiled, reason):
    run_directory.add(GRAPH, *blocks(1.0), suites=("execution",))
    run_directory.add(XLA, *([] if "status" in spoiled else blocks(2.0)), suites=("execution",), **spoiled)
    (family,) = comparisons.within(load(run_directory))
    comparison = family.comparisons[XLA.name]
    assert (comparison.verdict, comparison.ratio, comparison.reason) == ("UNRESOLVED", None, reason)


def test_on_a_gpu_other_work_is_told_by_a_cpus_tolerance(run_directory):
    graph, xla = (dataclasses.replace(config, device="gpu:0") for config in (GRAPH, XLA))
    run_directory.add(graph, *blocks(1.0), suites=("execution",))
    run_directory.add(xla, *blocks(2.0), suites=("execution",), losses_without_dropout=[[0, 4.0], [1, 9.0], [2, 20.0]])
    (family,) = comparisons.within(load(run_directory))
    assert "not those of float32 by a tolerance measured on a CPU, so" in family.comparisons[xla.name].reason


def test_one_configuration_that_leads_to_other_losses_did_other_work(run_directory):
    run_directory.document["suites"] += BY_SOURCE[:1]
    run_directory.add(GRAPH, *blocks(1.0), source="old")
    run_directory.add(GRAPH, *blocks(0.5), source="new", losses_without_dropout=[[0, 4.0], [1, 3.9]])
    (family,) = comparisons.within(load(run_directory))
    (comparison,) = family.comparisons.values()
    assert (comparison.verdict, comparison.ratio) == ("UNRESOLVED", None)
    assert comparison.reason.startswith("The loss after 1 updates is 3.9 where old has 3: 30.0% off")


def test_processes_that_were_not_alive_together_are_compared_in_sequence(run_directory):
    run_directory.add(GRAPH, *blocks(1.0), suites=("execution",))
    run_directory.add(XLA, *blocks(2.0), suites=("execution",), sequential=True)
    (family,) = comparisons.within(load(run_directory))
    assert family.comparisons[XLA.name].mode == "sequential"


def test_two_runs_are_compared_case_by_case_and_in_sequence(run_directory, tmp_path, environment):
    other = RunDirectory(tmp_path / "other", environment)
    run_directory.add(GRAPH, *blocks(1.0))
    run_directory.add(XLA, *blocks(1.0))
    other.add(GRAPH, *blocks(1.2))
    other.add(StepConfig(batch_size=16), *blocks(1.0))
    other.add(XLA, status="failed", note="because")
    sides = comparisons.between(load(run_directory), load(other))
    (only,) = sides.family.comparisons.values()
    assert (only.variant, only.verdict, only.mode) == (GRAPH.name, "SLOWER", "sequential")
    assert sides.only_base == [XLA.name]
    assert sides.only_new == ["graph-float32-b16-i224-synthetic-cpu"]


def row(first_step_seconds, step_seconds):
    return records.Row(
        case="",
        suite="",
        execution="graph",
        precision="float32",
        batch_size=1,
        image_size=224,
        data="synthetic",
        device="cpu",
        status="ok",
        first_step_seconds=first_step_seconds,
        step_seconds=step_seconds,
    )


@pytest.mark.parametrize(
    ("graph", "xla", "steps"),
    [
        (row(20.0, 1.0), row(50.0, 0.75), 120.0),
        (row(20.0, 1.0), row(50.0, 1.5), math.inf),
        (row(20.0, 1.0), row(50.0, 1.0), math.inf),
        (row(20.0, 1.0), row(10.0, 1.5), 0.0),
        (row(None, 1.0), row(10.0, 1.5), None),
        (row(20.0, 1.0), row(10.0, None), None),
    ],
)
def test_xla_breaks_even_when_its_steps_have_paid_for_its_start(graph, xla, steps):
    assert comparisons.break_even_steps(graph, xla) == steps
