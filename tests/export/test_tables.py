"""CSV with a line a process, and Parquet with a row a block, read back by PyArrow."""

import csv
import hashlib
import importlib.metadata
import io
import json

import pyarrow as pa
import pytest
from pyarrow import parquet as pyarrow_parquet

from gnet_core.config import StepConfig
from gnet_core.export import parquet, process_table
from gnet_core.export.cases import Export
from gnet_core.results.records import load_run
from tests.conftest import CREATED
from tests.export.conftest import GRAPH, IMAGES_PER_SECOND, MEASURED, OLD, UNMEASURED, XLA
from tests.stored import HOSTILE, processes

FIGURES = ("process", "cohort", "images_per_second", "step_seconds", "blocks", "voided_blocks")


def lines(export):
    return list(csv.DictReader(io.StringIO(process_table.to_text(export))))


@pytest.fixture
def table(export, tmp_path):
    """The Parquet file of the run, read."""
    return written(export, tmp_path)


def written(export, folder):
    parquet.write(export, folder / "blocks.parquet")
    return pyarrow_parquet.read_table(folder / "blocks.parquet")


def test_the_csv_has_a_line_a_process_whose_mean_is_the_row(export):
    read = lines(export)
    assert [line["case"] for line in read] == [*(case for case in MEASURED for _ in range(3)), *UNMEASURED]
    for case in MEASURED:
        seconds = [float(line["step_seconds"]) for line in read if line["case"] == case]
        assert sum(seconds) / 3 == pytest.approx(8 / IMAGES_PER_SECOND[case])
    first = read[0]
    assert (first["process"], first["cohort"], first["blocks"], first["voided_blocks"]) == ("1", "1", "5", "0")
    assert float(first["images_per_second"]) == pytest.approx(8 / float(first["step_seconds"]))


def test_the_csv_has_the_machine_and_every_field_of_the_configuration(export):
    first = lines(export)[0]
    of_machine = (first["threads"], first["python"], first["processor"])
    assert of_machine == ("8", "3.11.0", "Test Processor")
    assert (first["execution"], first["batch_size"], first["source"], first["status"]) == ("graph", "8", "", "ok")
    assert set(StepConfig().to_dict()) <= set(first)
    assert (first["created"], first["framework_version"]) == (CREATED, "2.21.0")


@pytest.mark.parametrize("case", UNMEASURED)
def test_a_case_without_figures_has_one_line_that_says_so_with_empty_cells(export, case):
    (line,) = [line for line in lines(export) if line["case"] == case]
    assert [line[name] for name in FIGURES] == [""] * len(FIGURES)
    assert line["status"] in ("failed", "unsupported", "oom")


def test_a_void_block_is_counted_and_no_part_of_a_mean(run_directory):
    run_directory.add(StepConfig(), [2.0, 90.0, 4.0], voided_blocks=[1])
    (line,) = lines(Export.of(load_run(run_directory.path)))
    assert (line["step_seconds"], line["blocks"], line["voided_blocks"]) == ("1.5", "3", "1")


def test_no_text_from_strangers_is_a_formula_of_the_csv(directory):
    directory.document["environment"]["machine"] |= {"processor": "=1+1", "commit": "@SUM(A1)"}
    directory.write()
    for line in lines(Export.of(load_run(directory.path))):
        assert not [cell for cell in line.values() if cell.startswith(("=", "@", "+"))]


def test_the_parquet_file_has_a_row_a_block_of_every_measured_case(table, export):
    rows = table.to_pylist()
    assert len(rows) == 3 * 3 * 5
    assert list(dict.fromkeys(row["case"] for row in rows)) == list(MEASURED)
    expected = [block for process in processes(1.0) for block in process]
    assert [row["seconds"] for row in rows if row["case"] == GRAPH] == expected
    assert [(row["process"], row["round"]) for row in rows[:6]] == [*((1, number) for number in range(1, 6)), (2, 1)]
    assert {row["steps"] for row in rows} == {2}
    assert {row["framework_version"] for row in rows if row["case"] == OLD} == {"2.19.1"}
    assert {row["created"] for row in rows} == {export.created}


def test_columns_have_types_that_hold_their_figures(table):
    types = {field.name: field.type for field in table.schema}
    for name in ("process", "cohort", "round", "order", "steps", "batch_size", "memory_bytes", "threads"):
        assert types[name] == pa.int64()
    for name in ("seconds", "aux_weight", "learning_rate"):
        assert types[name] == pa.float64()
    for name in ("run", "case", "source", "execution", "framework_version", "machine"):
        assert types[name] == pa.string()
    assert (types["voided"], types["dropout"]) == (pa.bool_(), pa.bool_())
    assert types["created"] == pa.timestamp("us", tz="UTC")
    assert set(StepConfig().to_dict()) <= set(types)


def test_the_metadata_tells_of_which_run_json_it_is_and_who_wrote_it(directory, tmp_path):
    export = Export.of(load_run(directory.path))
    metadata = {name.decode(): text.decode() for name, text in written(export, tmp_path).schema.metadata.items()}
    data = (directory.path / "run.json").read_bytes()
    assert metadata == {
        "gnet.run": CREATED,
        "gnet.run_json_sha256": hashlib.sha256(data).hexdigest(),
        "gnet.format_version": str(json.loads(data)["format_version"]),
        "gnet.version": importlib.metadata.version("gnet"),
        "gnet.measured": "0.1.0",
    }


def test_what_is_unknown_is_null_and_never_zero(run_directory, tmp_path):
    run_directory.document["created"] = "yesterday"
    run_directory.document["environment"]["machine"]["commit"] = None
    run_directory.add(StepConfig(aux_weight=0), [2.0, 90.0, 4.0], voided_blocks=[1], run="yesterday")
    rows = written(Export.of(load_run(run_directory.path)), tmp_path).to_pylist()
    assert [(row["seconds"], row["voided"]) for row in rows] == [(2.0, False), (None, True), (4.0, False)]
    assert {(row["order"], row["created"], row["commit"]) for row in rows} == {(None, None, None)}
    assert {row["aux_weight"] for row in rows} == {0.0}


def test_texts_from_strangers_are_values_of_the_parquet_file(directory, tmp_path):
    directory.document["environment"]["machine"] |= {"processor": HOSTILE, "system": HOSTILE}
    directory.write()
    rows = written(Export.of(load_run(directory.path)), tmp_path).to_pylist()
    assert {row["case"] for row in rows} == {GRAPH, XLA, OLD}
    assert all(row["processor"].startswith("<script>alert(1)</script>") for row in rows)
