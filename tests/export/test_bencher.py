"""Bencher Metric Format, held to the schema of https://bencher.dev/docs/reference/bencher-metric-format."""

import json

import jsonschema
import pytest

from gnet_core.config import StepConfig
from gnet_core.export import bencher
from gnet_core.export.cases import Export
from gnet_core.results.records import load_run
from tests.export.conftest import GRAPH, IMAGES_PER_SECOND, MEASURED, STEPS

METRIC = {
    "type": "object",
    "required": ["value"],
    "additionalProperties": False,
    "properties": {name: {"type": "number"} for name in ("value", "lower_value", "upper_value")},
}
SCHEMA = {
    "type": "object",
    "propertyNames": {"minLength": 1, "maxLength": 1024},
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"minLength": 1, "maxLength": 64},
        "additionalProperties": METRIC,
    },
}


def benchmarks(export):
    read = json.loads(bencher.to_text(export))
    jsonschema.validate(read, SCHEMA)
    return read


def test_each_measured_case_is_a_benchmark_and_no_other(export):
    read = benchmarks(export)
    assert list(read) == list(MEASURED)
    for case, measures in read.items():
        assert measures["throughput"]["value"] == pytest.approx(IMAGES_PER_SECOND[case])
        assert measures["latency"]["value"] == pytest.approx(1e9 * STEPS[case])  # Bencher's latency is in ns


def test_a_value_lies_in_its_interval_which_is_that_of_the_row(export):
    row, measures = export.run.row_of[GRAPH], benchmarks(export)[GRAPH]
    assert measures["throughput"]["lower_value"] == row.images_per_second_ci_low
    assert measures["throughput"]["upper_value"] == row.images_per_second_ci_high
    assert measures["latency"]["lower_value"] == pytest.approx(1e9 * row.step_seconds_ci_low)
    assert measures["latency"]["lower_value"] < measures["latency"]["value"] < measures["latency"]["upper_value"]


def test_what_has_no_measure_of_bencher_s_has_its_unit_in_its_name(export):
    measures = benchmarks(export)[GRAPH]
    assert measures["first-step-seconds"] == {"value": 19.0}  # built in 2 s, traced in 7, called first in 10
    assert measures["peak-memory-bytes"] == {"value": 2**30}


def test_one_process_has_no_interval(run_directory):
    run_directory.add(StepConfig(), [1.0])
    (measures,) = benchmarks(Export.of(load_run(run_directory.path))).values()
    assert list(measures["throughput"]) == ["value"]
