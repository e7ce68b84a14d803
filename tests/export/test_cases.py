"""What every format is given."""

import csv
import datetime
import io
from pathlib import Path

import pytest
from pyarrow import parquet as pyarrow_parquet

from gnet_core.config import GnetError, StepConfig
from gnet_core.export import asv, parquet
from gnet_core.export.cases import Export
from gnet_core.export.samples import processes
from gnet_core.results.records import load_run
from tests import stored
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


OTHER_WORK = StepConfig(batch_size=32, execution="xla")
NOT_FINITE = StepConfig(batch_size=32, execution="eager")


@pytest.fixture
def doubtful(directory):
    """The run with two more cases whose figures do not count."""
    directory.add(StepConfig(batch_size=32), *stored.processes(1.0))
    directory.add(OTHER_WORK, *stored.processes(0.5), losses_without_dropout=[[0, 9.0], [1, 3.0]])
    directory.add(NOT_FINITE, *stored.processes(0.5), loss_last=None)
    return directory


@pytest.mark.parametrize("name", ["bencher", "github-action-benchmark", "openmetrics"])
def test_figures_of_other_work_are_absent_and_said(gnet, doubtful, name):
    status, out, err = gnet("export", doubtful.path, "--to", name)
    assert StepConfig(batch_size=32).name in out
    assert OTHER_WORK.name not in out
    assert NOT_FINITE.name not in out
    assert status == 3  # since another case failed
    assert err.splitlines()[-1].endswith(f"so no figures of: {OTHER_WORK.name}, {NOT_FINITE.name}")


def test_figures_of_other_work_are_null_for_asv(doubtful):
    (file,) = [
        file for file in asv.results(Export.of(load_run(doubtful.path))).files if OTHER_WORK.name in file.results
    ]
    assert [file.results[config.name][0] for config in (OTHER_WORK, NOT_FINITE)] == [None, None]


def test_the_tables_keep_figures_of_other_work_and_say_what_they_are(gnet, doubtful, tmp_path):
    _, out, err = gnet("export", doubtful.path, "--to", "csv")
    assert "so no figures of" not in err
    lines = {line["case"]: line for line in csv.DictReader(io.StringIO(out))}
    of_case = {name: (line["finite"], line["equal_work"], bool(line["step_seconds"])) for name, line in lines.items()}
    assert of_case[OTHER_WORK.name] == ("True", "False", True)
    assert of_case[NOT_FINITE.name][0] == "False"
    assert of_case[UNMEASURED[0]] == ("", "", False)
    parquet.write(Export.of(load_run(doubtful.path)), tmp_path / "blocks.parquet")
    rows = pyarrow_parquet.read_table(tmp_path / "blocks.parquet").to_pylist()
    assert {row["equal_work"] for row in rows if row["case"] == OTHER_WORK.name} == {False}
    assert {row["finite"] for row in rows if row["case"] == NOT_FINITE.name} == {False}


def test_a_worker_that_was_crowded_out_is_of_the_cohort_that_measured_it(directory):
    """It stands in the one that it had to leave as well."""
    cohorts = directory.document["cohorts"]
    cohorts.append({**cohorts[0], "order": [[2, 1, 0]] * 5})
    cohorts[0] = {**cohorts[0], "order": []}
    directory.write()
    first = processes(load_run(directory.path))[GRAPH][0]
    assert first.cohort == len(cohorts)
    assert [block.order for block in first.blocks] == [3] * 5
