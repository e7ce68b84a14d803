"""JSON for github-action-benchmark, held to what its src/extract.ts and src/config.ts take."""

import json

import jsonschema
import pytest

from gnet_core.config import StepConfig
from gnet_core.export import github_action_benchmark
from gnet_core.export.cases import Export
from gnet_core.results.records import load_run
from tests.export.conftest import GRAPH, IMAGES_PER_SECOND, MEASURED
from tests.stored import processes

SCHEMA = {
    "type": "array",
    "minItems": 1,  # the action fails where there is no result
    "items": {
        "type": "object",
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "unit": {"type": "string", "minLength": 1},
            "value": {"type": "number", "exclusiveMinimum": 0},
            "range": {"type": "string"},
            "extra": {"type": "string"},
        },
    },
}


def entries(export):
    read = json.loads(github_action_benchmark.to_text(export))
    jsonschema.validate(read, SCHEMA)
    return {entry["name"]: entry for entry in read}


def test_each_measured_case_is_an_entry_and_no_other(export):
    read = entries(export)
    assert list(read) == list(MEASURED)
    for case, entry in read.items():
        assert entry["value"] == pytest.approx(IMAGES_PER_SECOND[case])
        assert entry["unit"] == "images/s"


def test_the_range_is_the_interval_of_the_row(export):
    row = export.run.row_of[GRAPH]
    low, high = (float(bound) for bound in entries(export)[GRAPH]["range"].split("–"))
    assert low == pytest.approx(row.images_per_second_ci_low, rel=1e-3)
    assert high == pytest.approx(row.images_per_second_ci_high, rel=1e-3)


def test_the_tooltip_tells_what_was_measured_where(export):
    lines = entries(export)[GRAPH]["extra"].splitlines()
    assert lines == [
        f"machine: {export.machine}",
        "framework: TensorFlow 2.21.0",
        "processes: 3",
        "status: ok",
    ]
    assert "Test Processor" in export.machine


def test_a_doubt_about_a_figure_stands_beside_it(run_directory):
    run_directory.add(StepConfig(), [2.0, 90.0, 4.0], voided_blocks=[1])
    (entry,) = entries(Export.of(load_run(run_directory.path))).values()
    assert "note: 1 samples voided: the step was traced anew" in entry["extra"]
    assert "range" not in entry  # one process has no interval


@pytest.mark.parametrize("speed", [0.01234, 12.34, 999.96, 12_345.6, 1_234_567.0])
def test_a_range_has_no_exponent(run_directory, speed):
    run_directory.add(StepConfig(batch_size=8), *processes(8 / speed, 0.001))
    (entry,) = entries(Export.of(load_run(run_directory.path))).values()
    assert "e" not in entry["range"]
    low, high = map(float, entry["range"].split("–"))
    assert low <= entry["value"] <= high
