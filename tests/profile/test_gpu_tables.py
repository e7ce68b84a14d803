"""What a GPU's trace tells, on documents in xprof's own shape."""

from __future__ import annotations

import pytest

from gnet_core.profile import gpu_tables
from gnet_core.profile.xprof import NoAnswerError
from tests.traces import KERNEL_COLUMNS, kernel_stats

KERNELS = kernel_stats(
    ("sm80_xmma_fprop_tf32f32(int)", True, False, 10, 500.0, 25.0),
    ("implicit_convolve_sgemm", True, False, 10, 300.0, 50.0),
    ("relu_kernel", False, False, 20, 150.0, 100.0),
    ("relu_kernel", False, False, 20, 50.0, 60.0),
)


def listed(stats):
    return gpu_tables.kernels(stats).table.to_dict("records")


def test_a_kernel_that_ran_for_several_operations_is_one_row_longest_first():
    kernels = listed(KERNELS)
    assert [kernel["kernel"] for kernel in kernels] == [
        "sm80_xmma_fprop_tf32f32(int)",
        "implicit_convolve_sgemm",
        "relu_kernel",
    ]
    relu = kernels[2]
    assert relu["occurrences"] == 40
    assert relu["seconds"] == pytest.approx(200e-6)
    assert relu["occupancy"] == pytest.approx(0.9)  # weighted by time
    assert sum(kernel["share"] for kernel in kernels) == pytest.approx(1)


def test_tensor_cores_are_told_by_the_kernels_names_and_not_by_xprof():
    answer = {kernel["kernel"]: kernel["tensor_cores"] for kernel in listed(KERNELS)}
    assert answer == {
        "sm80_xmma_fprop_tf32f32(int)": "used",  # of which xprof says that it does not
        "implicit_convolve_sgemm": "not used",
        "relu_kernel": "unknown",
    }


def test_kernels_of_no_operation_are_added_up():
    assert gpu_tables.kernels(KERNELS).unnamed_seconds == 0
    nameless = kernel_stats(("a", False, False, 1, 500.0, 25.0), ("b", False, False, 1, 300.0, 25.0))
    for row in nameless["rows"]:
        row["c"][KERNEL_COLUMNS.index("op_name")]["v"] = ""
    assert gpu_tables.kernels(nameless).unnamed_seconds == pytest.approx(800e-6)


def test_a_table_as_long_as_xprof_makes_it_is_cut():
    row = ("a", False, False, 1, 1.0, 25.0)
    assert not gpu_tables.kernels(kernel_stats(*[row] * (gpu_tables.MAX_KERNELS - 1))).cut
    assert gpu_tables.kernels(kernel_stats(*[row] * gpu_tables.MAX_KERNELS)).cut


def test_a_trace_without_kernels_tells_nothing_of_tensor_cores():
    for stats in (kernel_stats(), {}):
        with pytest.raises(NoAnswerError, match="nothing of the GPU"):
            gpu_tables.kernels(stats)


def allocator(peak, capacity):
    return {"profileSummary": {"peakStats": {"peakBytesInUse": str(peak)}, "memoryCapacity": str(capacity)}}


def test_the_peak_is_of_the_allocator_that_had_the_most():
    answer = {"memoryProfilePerAllocator": {"gpu_host_bfc": allocator(10, 0), "GPU_0_bfc": allocator(2**33, 2**36)}}
    assert gpu_tables.peak_memory(answer, on_gpu=True) == {
        "allocator": "GPU_0_bfc",
        "peak_bytes": 2**33,
        "capacity_bytes": 2**36,
    }


def test_a_gpus_peak_is_never_that_of_the_hosts_memory():
    host = {"gpu_host_bfc": allocator(2**33, 2**36), "mklcpu": allocator(2**34, 2**36)}
    with pytest.raises(NoAnswerError, match="no allocation"):
        gpu_tables.peak_memory({"memoryProfilePerAllocator": host}, on_gpu=True)
    whole = {"memoryProfilePerAllocator": host | {"GPU_0_bfc": allocator(5, 0)}}
    assert gpu_tables.peak_memory(whole, on_gpu=True) == {
        "allocator": "GPU_0_bfc",
        "peak_bytes": 5,
        "capacity_bytes": None,
    }
    assert gpu_tables.peak_memory(whole, on_gpu=False)["allocator"] == "mklcpu"


@pytest.mark.parametrize("on_gpu", [True, False])
@pytest.mark.parametrize("answer", [{}, {"memoryProfilePerAllocator": {}}, {"memoryProfilePerAllocator": {"cpu": {}}}])
def test_no_allocation_seen_is_no_peak_of_zero(answer, on_gpu):
    with pytest.raises(NoAnswerError, match="no allocation"):
        gpu_tables.peak_memory(answer, on_gpu=on_gpu)
