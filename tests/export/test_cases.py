"""What every format is given."""

import csv
import datetime
from pathlib import Path

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.export.cases import Export
from gnet_core.export.samples import processes
from gnet_core.results.records import load_run
from tests.conftest import JAX_SECTION
from tests.export.conftest import GRAPH, MEASURED, OLD, UNMEASURED

EXAMPLE = Path(__file__).parents[2] / "reports" / "example"


def test_every_case_with_a_row_is_exported_and_those_with_figures_are_told_apart(export):
    assert [case.row.case for case in export.cases] == [*MEASURED, *UNMEASURED]
    assert [case.row.case for case in export.measured] == list(MEASURED)
    assert export.created == datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def test_a_case_has_the_environment_of_its_source(export):
    frameworks = {case.row.case: case.framework for case in export.cases}
    assert (frameworks[GRAPH], frameworks[OLD]) == ("TensorFlow 2.21.0", "TensorFlow 2.19.1")


def test_a_peers_case_has_the_environment_of_its_own_interpreter(run_directory, environment):
    run_directory.document["environments"]["jax"] = {"machine": environment["machine"], "jax": JAX_SECTION}
    run_directory.add(StepConfig(framework="jax", execution="xla"), [1.0])
    (case,) = Export.of(load_run(run_directory.path)).cases
    assert case.framework == "JAX 0.10.2"


@pytest.mark.parametrize("created", ["yesterday", "2026-01-02T03:04:05", "0001-01-01T00:00:00+14:00", ""])
def test_a_time_that_is_none_is_unknown(directory, created):
    directory.document["created"] = created
    directory.document["run"] = "2026-01-02T03:04:05+00:00"
    directory.write()
    assert Export.of(load_run(directory.path)).created is None


def test_a_run_without_any_figure_is_refused_with_the_reason(run_directory):
    run_directory.add(StepConfig(batch_size=8), status="failed", note="it crashed")
    with pytest.raises(GnetError, match=r"none of its cases has figures.*it crashed"):
        Export.of(load_run(run_directory.path))


def test_processes_add_up_to_the_figures_of_the_rows():
    run = load_run(EXAMPLE)
    of_case = processes(run)
    assert list(of_case) == [row.case for row in run.rows if row.status == "ok"]
    for row in run.rows:
        measured = of_case.get(row.case, [])
        assert len(measured) == row.replicates
        assert sum(len(process.blocks) - process.voided_blocks for process in measured) == row.samples
        if row.step_seconds is not None:
            mean = sum(process.step_seconds for process in measured) / len(measured)
            assert mean == pytest.approx(row.step_seconds, rel=1e-12)


def test_blocks_have_the_place_of_their_turn_in_each_round():
    """Every turn of the example stands in turns.csv as well."""
    run = load_run(EXAMPLE)
    with (EXAMPLE / "turns.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    turns = {(line["worker"], int(line["round"])): (int(line["cohort"]), int(line["position"])) for line in lines}
    places = {
        (f"{case}.r{process.number}", block.round): (process.cohort, block.order)
        for case, measured in processes(run).items()
        for process in measured
        for block in process.blocks
    }
    assert places == turns


def test_a_place_that_run_json_does_not_tell_is_unknown(directory):
    directory.document["cohorts"][0]["order"] = [[1, 0, 2], [7]]
    directory.write()
    first = processes(load_run(directory.path))[GRAPH][0]
    assert [block.order for block in first.blocks] == [2, None, None, None, None]
