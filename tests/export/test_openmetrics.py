"""OpenMetrics text, read back by prometheus_client."""

import datetime

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gnet_core.config import StepConfig
from gnet_core.export import openmetrics
from gnet_core.export.cases import Export
from gnet_core.results.records import load_run
from tests.conftest import CREATED, JAX_SECTION
from tests.export.conftest import GRAPH, IMAGES_PER_SECOND, MEASURED, OLD, STEPS
from tests.stored import HOSTILE

UNITS = {
    "gnet_images_per_second": "images_per_second",
    "gnet_ci_low_images_per_second": "images_per_second",
    "gnet_ci_high_images_per_second": "images_per_second",
    "gnet_step_seconds": "seconds",
    "gnet_ci_low_step_seconds": "seconds",
    "gnet_ci_high_step_seconds": "seconds",
    "gnet_first_step_seconds": "seconds",
    "gnet_peak_memory_bytes": "bytes",
}


def families(export):
    return {family.name: family for family in text_string_to_metric_families(openmetrics.to_text(export))}


def values(family):
    return {sample.labels["case"]: sample.value for sample in family.samples}


def test_every_family_is_a_gauge_with_its_unit_and_a_sample_for_each_measured_case(export):
    read = families(export)
    assert {name: family.unit for name, family in read.items()} == UNITS
    for family in read.values():
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        assert list(values(family)) == list(MEASURED)


def test_samples_are_the_figures_of_the_rows_to_the_last_digit(export):
    read = families(export)
    assert values(read["gnet_images_per_second"]) == pytest.approx(IMAGES_PER_SECOND)
    assert values(read["gnet_step_seconds"]) == pytest.approx(STEPS)
    row = export.run.row_of[GRAPH]
    assert values(read["gnet_ci_low_images_per_second"])[GRAPH] == row.images_per_second_ci_low
    assert values(read["gnet_ci_high_step_seconds"])[GRAPH] == row.step_seconds_ci_high
    assert values(read["gnet_peak_memory_bytes"])[GRAPH] == 2**30


def test_labels_tell_the_case_and_the_time_is_when_the_run_began(export):
    (sample,) = [one for one in families(export)["gnet_images_per_second"].samples if one.labels["case"] == OLD]
    assert sample.labels == {
        "case": OLD,
        "source": "old",
        "framework": "TensorFlow 2.19.1",
        "execution": "graph",
        "precision": "float32",
        "batch_size": "8",
        "machine": export.machine,
        "tensorflow": "2.19.1",
    }
    assert float(sample.timestamp) == datetime.datetime.fromisoformat(CREATED).timestamp()


def test_another_frameworks_case_has_the_same_labels_and_no_version_of_tensorflow(run_directory, environment):
    run_directory.document["environments"]["jax"] = {"machine": environment["machine"], "jax": JAX_SECTION}
    run_directory.add(StepConfig(framework="jax", execution="xla"), [1.0])
    (sample,) = families(Export.of(load_run(run_directory.path)))["gnet_step_seconds"].samples
    assert (sample.labels["framework"], sample.labels["tensorflow"]) == ("JAX 0.10.2", "")


def test_what_was_not_measured_has_no_sample_and_a_family_without_any_is_left_out(run_directory):
    run_directory.document["created"] = "yesterday"
    run_directory.add(StepConfig(), [1.0], run="yesterday")
    read = families(Export.of(load_run(run_directory.path)))
    assert set(UNITS) - set(read) == {name for name in UNITS if "_ci_" in name}  # of one process there are none
    assert read["gnet_step_seconds"].samples[0].timestamp is None


@pytest.mark.parametrize("text", ['a "quoted" \\ one', "ends in \\", 'x="1",y="} 2 # {', "two\nlines", HOSTILE])
def test_texts_from_strangers_are_labels_and_nothing_else(directory, text):
    directory.document["environment"]["machine"]["processor"] = text
    directory.document["cases"][0]["source"] = text
    directory.write()
    export = Export.of(load_run(directory.path))
    read = families(export)
    assert {name: family.unit for name, family in read.items()} == UNITS
    sample = read["gnet_images_per_second"].samples[0]
    assert sample.labels["machine"] == export.machine
    assert sample.labels["source"] == " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert export.machine.startswith(sample.labels["source"][:10])
