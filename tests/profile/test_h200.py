"""What a real H200 left of our own step, in small: what the readers of a trace make of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gnet_core.profile import document, gpu_tables, operations, tensor_cores
from gnet_core.profile.device_time import reconciled
from gnet_core.profile.document import DeviceTime
from gnet_core.results import records
from tests.traces import kernel_stats

REPORTS = Path(__file__).parents[2] / "reports"
STORED = json.loads((Path(__file__).parent / "h200.json").read_text(encoding="utf-8"))
KERNELS: dict[str, list[tuple[str, int, float]]] = STORED["kernels"]
"""By trace the names of kernels (cut off where nothing more tells), launches and microseconds, over three steps."""


class Eager:
    """Part of an eager step's trace: the host's operations and launches, and what the device did for them."""

    def events(self) -> list[dict[str, Any]]:
        return STORED["eager_events"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("trace", "used", "most_unknown"),
    [("graph", 0.163, 0.0), ("eager", 0.123, 0.001), ("float32", 0.0, 0.011), ("batch 1", 0.238, 0.01)],
)
def test_nearly_every_kernel_of_our_step_tells_whether_it_uses_tensor_cores(trace, used, most_unknown):
    shares = tensor_cores.shares((tensor_cores.use(name), time) for name, _count, time in KERNELS[trace])
    assert shares is not None
    assert shares["used"] == pytest.approx(used, abs=1e-3)
    assert shares["unknown"] <= most_unknown


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("sm90_xmma_wgrad_indexed_implicit_gemm_bf16bf16_bf16f32_f32_n", "used"),
        ("nvjet_sm90_tst_", "used"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16", "used"),
        ("sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nchwkcrs_nch", "not used"),
        ("void cudnn::pooling_bw_max_nhwc_kernel", "not used"),
        ("void tensorflow::BiasGradNHWC_SharedAtomics", "not used"),
        ("void nhwcAddPaddingKernel", "not used"),
        ("void flip_filter", "not used"),
        ("main_kernel", "unknown"),
    ],
)
def test_kernels_that_an_h200_ran_for_us(name, use):
    seen = [kernel for kernels in KERNELS.values() for kernel, *_ in kernels if kernel.startswith(name)]
    assert seen
    assert {tensor_cores.use(kernel) for kernel in seen} == {use}


def test_the_table_of_kernels_adds_up_to_what_a_step_computes():
    rows = [(name, False, False, count, microseconds, 50.0) for name, count, microseconds in KERNELS["graph"]]
    kernels = gpu_tables.kernels(kernel_stats(*rows)).table.to_dict("records")
    assert sum(kernel["seconds"] for kernel in kernels) / 3 == pytest.approx(18.26e-3, rel=1e-3)
    conversion = next(kernel for kernel in kernels if "SwapDimension1And2InTensor3" in kernel["kernel"])
    assert conversion["share"] == pytest.approx(0.158, abs=1e-3)
    assert conversion["occurrences"] / 3 == 214


def test_an_eager_steps_kernels_find_their_operations_by_their_launches():
    trace: Any = Eager()
    times = operations.operation_times(trace, on_gpu=True)
    table = times.table
    assert dict(zip(table["operation"], table["occurrences"], strict=True)) == {
        "Conv2DBackpropFilter": 2,
        "Cast": 5,
        "Conv2DBackpropInput": 2,
        "ReluGrad": 2,
    }
    kernels = [event for event in STORED["eager_events"] if event["device"].startswith("/device:GPU")]
    assert len(kernels) == table["occurrences"].sum()
    assert table["self_seconds"].sum() == pytest.approx(sum(event["dur"] for event in kernels) / 1e6)
    assert times.launched_seconds == pytest.approx(table["self_seconds"].sum())


def test_the_times_of_an_eager_step_agree_once_its_launches_are_read():
    before = DeviceTime(
        operations_seconds=16.9e-6,
        kernels_seconds=89.2e-3,
        unnamed_kernels_seconds=89.2e-3,
        operations_cut=False,
        kernels_cut=False,
    )
    assert reconciled(before, 3, None)[0].startswith("A gap of 100%")
    after = DeviceTime(
        operations_seconds=89.8e-3,
        kernels_seconds=89.2e-3,
        unnamed_kernels_seconds=0.0,
        operations_cut=False,
        kernels_cut=False,
    )
    assert reconciled(after, 3, 29.9e-3) == [
        "The time of kernels and of operations and of device compute agrees within 3%: 29.7 ms a step."
    ]


def test_what_was_brought_home_can_be_read(gnet):
    run = records.load_run(REPORTS / "h200-precision")
    assert run.unread == []
    assert {row.status for row in run.rows} == {"ok"}
    for path in (REPORTS / "h200-check" / "gpu-check" / "traces").iterdir():
        profile = document.read(json.loads((path / "profile.json").read_text(encoding="utf-8")))
        assert profile.kernels
        assert profile.operations
    assert {row.status for row in records.load_run(REPORTS / "h100-settings").rows} == {"ok"}
    compiled = document.read(json.loads((REPORTS / "h100-xla" / "profile.json").read_text(encoding="utf-8")))
    assert compiled.config.execution == "xla"
    status, out, err = gnet("report", str(REPORTS / "h200-check"))
    assert status == 0
    assert "**wrong: Nothing converts layouts in mixed" in out
    assert "ended before its run of gnet bench" in err
    status, out, _ = gnet("report", "--json", str(REPORTS / "h200-check"))
    assert (status, len(json.loads(out)["claims"])) == (0, 43)
    status, _, err = gnet("report", "--fail-on", "slower", str(REPORTS / "h200-check"))
    assert (status, err.count("\n")) == (2, 1)


def test_no_path_of_the_machine_is_in_it():
    texts = [path.read_text(encoding="utf-8") for path in REPORTS.glob("h[12]00-*/**/*.*") if path.is_file()]
    assert len(texts) > 40
    own = re.compile("/(tmp|opt|home|root)/")
    assert not [match[0] for match in map(own.search, texts) if match]
