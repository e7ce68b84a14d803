"""What replicas exchange, read from raw files that may lie, as figures of a row."""

from __future__ import annotations

from typing import Any

import pytest

from gnet_core.config import StepConfig
from gnet_core.results import exchange, records
from gnet_core.results.records import Row
from tests.conftest import RunDirectory
from tests.stored import processes

FOUR = StepConfig(batch_size=32, workers=2, replicas=2)
MEASURED: dict[str, Any] = {
    "gradient_bytes": 24_000_000,
    "all_reduce_seconds": [0.010, 0.012, 0.030],
    "local_step_seconds": [0.9, 1.0, 1.0, 1.1],
    "process_peak_bytes": [3 * 2**30, 2 * 2**30],
}
WEAK: dict[str, Any] = {
    "name": "weak-scaling",
    "question": "?",
    "view": "devices",
    "varies": "total_replicas",
    "base": 1,
    "base_fields": {},
    "costs": "",
    "scaling": "weak",
}


def row_of(directory: RunDirectory, config: StepConfig = FOUR, **changes: Any) -> Row:
    """The row of a case whose three processes measured that exchange."""
    directory.document["suites"] = [WEAK]
    directory.add(config, *processes(1.0), suites=("weak-scaling",), exchange=MEASURED | changes)
    (row,) = records.load_run(directory.path).rows
    return row


def test_a_row_has_the_median_all_reduce_and_its_bus_bandwidth(run_directory):
    row = row_of(run_directory)
    assert (row.status, row.gradient_bytes) == ("ok", 24_000_000)
    assert row.all_reduce_seconds == pytest.approx(0.012)
    assert row.bus_bytes_per_second == pytest.approx(24e6 / 0.012 * 2 * 3 / 4)
    assert row.straggler_spread == pytest.approx(0.2)


@pytest.mark.parametrize(("replicas", "of_the_bytes"), [(2, 1.0), (4, 1.5), (8, 1.75)])
def test_the_bus_bandwidth_is_that_of_nccl_tests(replicas, of_the_bytes):
    assert exchange.bus_bandwidth(10**9, 0.5, replicas) == pytest.approx(2e9 * of_the_bytes)


@pytest.mark.parametrize(("device", "gibibytes"), [("cpu", 1.5), ("gpu:0", 3)])
def test_memory_of_a_replica_is_its_part_of_a_process_on_a_cpu_and_of_an_allocator_on_a_gpu(
    run_directory, device, gibibytes
):
    row = row_of(run_directory, StepConfig(batch_size=32, workers=2, replicas=2, device=device))
    assert row.replica_memory_bytes == gibibytes * 2**30


def test_a_row_of_one_replica_has_none_of_it(run_directory):
    run_directory.add(StepConfig(batch_size=8), *processes(1.0))
    (row,) = records.load_run(run_directory.path).rows
    assert (row.all_reduce_seconds, row.bus_bytes_per_second, row.replica_memory_bytes) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"local_step_seconds": [1.0, 1.0]}, "exchange.local_step_seconds has 2 values; this case has to have 4"),
        ({"process_peak_bytes": [1]}, "exchange.process_peak_bytes has 1 values; this case has to have 2"),
        ({"all_reduce_seconds": []}, "all_reduce_seconds"),
        ({"all_reduce_seconds": [-1.0]}, "all_reduce_seconds"),
        ({"all_reduce_seconds": [1e9]}, "all_reduce_seconds"),
        ({"gradient_bytes": 0}, "gradient_bytes"),
        ({"gradient_bytes": "many"}, "gradient_bytes"),
        ({"process_peak_bytes": [-1, 1]}, "process_peak_bytes"),
    ],
)
def test_an_exchange_that_cannot_be_fails_its_row_and_names_the_field(run_directory, changes, says):
    row = row_of(run_directory, **changes)
    assert (row.status, row.images_per_second) == ("failed", None)
    assert says in row.note


def test_mfu_of_several_gpus_is_of_their_peaks_together_and_one_gpu_s_joules_are_not_theirs(run_directory):
    run_directory.document["peaks"] = [{"float32": {"flop_per_second": 1e12, "operation": "conv"}}]
    config = StepConfig(batch_size=32, workers=2, replicas=2, device="gpu:0")
    extra = {"gpu": lambda _number: {"gpu_energy_joules": 10.0}, "exchange": MEASURED, "flop_per_image": 1e10}
    run_directory.add(config, *processes(1.0), **extra)
    (row,) = records.load_run(run_directory.path).rows
    assert row.mfu == pytest.approx(32 * 1e10 / 4e12)
    assert row.images_per_joule is None


def test_the_command_of_a_weak_case_asks_for_the_batch_of_a_replica(run_directory):
    words = row_of(run_directory).command.split()
    asked = {option: words[words.index(option) + 1] for option in ("--replicas", "--workers", "--batch-size")}
    assert asked == {"--replicas": "2", "--workers": "2", "--batch-size": "8"}
    assert words[:3] == ["gnet", "bench", "weak-scaling"]
