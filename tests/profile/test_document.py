"""profile.json as records: old ones are read, and whatever does not fit is refused by its field."""

from __future__ import annotations

import math
import re

import pytest

from gnet_core.config import GnetError
from gnet_core.profile import document as profile_document
from tests.traces import document


def test_a_whole_document_is_read(environment):
    profile = profile_document.read(
        document(environment, peak_memory={"allocator": "GPU_0_bfc", "peak_bytes": 5, "capacity_bytes": None})
    )
    assert profile.config.name == "graph-float32-b8-i224-synthetic-cpu"
    assert profile.steps == 2
    assert [each.operation for each in profile.operations] == ["_MklNativeFusedConv2D", "Mul"]
    assert profile.overhead == pytest.approx(0.2)
    assert profile.peak_memory is not None
    assert profile.peak_memory.peak_bytes == 5


def test_a_document_of_an_earlier_version_lacks_what_was_added(environment):
    old = document(environment)
    for field in ("parts", "breakdown", "kernels", "peak_memory", "not_available", "created", "environment", "device"):
        del old[field]
    profile = profile_document.read(old)
    assert (profile.parts, profile.breakdown, profile.kernels, profile.not_available) == ([], [], [], [])
    assert profile.peak_memory is None
    assert profile.device_time is None


def test_an_earlier_versions_kernels_are_judged_by_their_names(environment):
    row = {"occurrences": 1, "seconds": 1.0, "occupancy": 0.5, "share": 0.5, "tensor_core_eligible": True}
    old = [
        row | {"kernel": "nvjet_tst_64x8", "uses_tensor_cores": False},
        row | {"kernel": "sgemm_32x32", "uses_tensor_cores": False},
        row | {"kernel": "gemm_fusion_dot", "uses_tensor_cores": True},
    ]
    kernels = profile_document.read(document(environment, kernels=old)).kernels
    assert [kernel.tensor_cores for kernel in kernels] == ["used", "not used", "unknown"]


def test_what_is_stored_of_a_kernel_is_not_judged_anew(environment):
    row = {"occurrences": 1, "seconds": 1.0, "occupancy": 0.5, "share": 0.5, "kernel": "x", "tensor_cores": "used"}
    assert profile_document.read(document(environment, kernels=[row])).kernels[0].tensor_cores == "used"
    with pytest.raises(
        GnetError, match=r"kernels\[0\]\.tensor_cores' is 'maybe'; it has to be one of used, not used, unknown"
    ):
        profile_document.read(document(environment, kernels=[row | {"tensor_cores": "maybe"}]))


def test_a_field_of_a_later_version_is_left_out(environment):
    stored = document(environment, surprise=1)
    stored["operations"][0]["surprise"] = 1
    assert len(profile_document.read(stored).operations) == 2


ROW = {"operation": "Mul", "occurrences": 1, "self_seconds": 1.0, "share": 1.0}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"operations": None}, "'operations'"),
        ({"operations": ["Mul"]}, "'operations[0]' is 'Mul'; it has to be an object"),
        ({"operations": [{"operation": "Mul"}]}, "'operations[0].occurrences' is missing"),
        ({"operations": [ROW | {"share": math.nan}]}, "operations[0].share"),
        ({"operations": [ROW | {"share": -1.0}]}, "operations[0].share"),
        ({"operations": [ROW | {"share": "1"}]}, "operations[0].share"),
        ({"operations": [ROW | {"occurrences": True}]}, "operations[0].occurrences"),
        ({"operations": [ROW | {"occurrences": 10**30}]}, "operations[0].occurrences"),
        ({"operations": [ROW | {"operation": ["Mul"]}]}, "operations[0].operation"),
        ({"operations": [ROW] * (profile_document.MAX_ROWS + 1)}, "it has to be a list of length <= 100000"),
        ({"breakdown": [{"kind": "input", "seconds": 1.0, "share": 0.0}] * 51}, "'breakdown' is"),
        ({"not_available": [{"what": "", "why": ""}] * 51}, "'not_available' is"),
        (
            {"trace": {"traced_step_seconds": [1.0], "untraced_step_seconds": [1.0], "warnings": [""] * 51}},
            "'trace.warnings' is",
        ),
        ({"parts": {}}, "'parts'"),
        (
            {"parts": [{"part": "tail", "direction": "forward", "occurrences": 1, "self_seconds": 1.0, "share": 1.0}]},
            "'parts[0]': part is 'tail'; it has to be one of stem, ",
        ),
        ({"kernels": [{}]}, "'kernels[0].kernel' is missing"),
        ({"kernels": [3]}, "'kernels[0]' is 3"),
        ({"device_time": 3}, "'device_time'"),
        ({"device_time": {}}, "'device_time.operations_seconds' is missing"),
        ({"breakdown": 3}, "'breakdown'"),
        ({"peak_memory": 3}, "'peak_memory'"),
        ({"not_available": [{"what": 1, "why": ""}]}, "not_available[0].what"),
        ({"config": {}}, ""),
        ({"config": {"sweep": 1}}, "config"),
        ({"config": {"batch_size": []}}, "batch_size"),
        ({"config": {"data": "<script>"}}, ""),
        ({"trace": {}}, "traced_step_seconds"),
        ({"trace": {"traced_step_seconds": [], "untraced_step_seconds": [1.0], "warnings": []}}, "traced_step_seconds"),
        (
            {"trace": {"traced_step_seconds": [0.0], "untraced_step_seconds": [1.0], "warnings": []}},
            "traced_step_seconds",
        ),
        (
            {"trace": {"traced_step_seconds": [1.0], "untraced_step_seconds": ["1"], "warnings": []}},
            "untraced_step_seconds",
        ),
        ({"trace": {"traced_step_seconds": [1.0], "untraced_step_seconds": [1.0], "warnings": 1}}, "warnings"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(environment, changes, field):
    whole = document(environment)
    if not field:  # these are fine: a default case, and a name that slug makes harmless
        assert profile_document.read(whole | changes).config.name
        return
    with pytest.raises(GnetError, match=re.escape(field)):
        profile_document.read(whole | changes)


@pytest.mark.parametrize("field", ["config", "operations", "trace"])
def test_a_field_that_is_missing_is_named(environment, field):
    stored = document(environment)
    del stored[field]
    with pytest.raises(GnetError, match=rf"^profile\.json: field '{field}' is missing"):
        profile_document.read(stored)


@pytest.mark.parametrize("stored", [None, [], "text", 3])
def test_what_is_no_object_is_refused(stored):
    with pytest.raises(GnetError, match="is no object"):
        profile_document.read(stored)


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        ("_MklNativeFusedConv2D", "Conv2D"),
        ("_FusedConv2D", "Conv2D"),
        ("_MklNativeConv2DBackpropFilterWithBias", "Conv2DBackpropFilter"),
        ("FusedBatchNormV3", "FusedBatchNormV3"),
        ("Mul", "Mul"),
        ("_Arg", "Arg"),
        ("__inference_train_12", "__inference_train_12"),
    ],
)
def test_a_library_s_wrapping_is_no_part_of_a_type(kind, plain):
    each = profile_document.OperationType(operation=kind, occurrences=1, self_seconds=1.0, share=1.0)
    assert each.plain == plain
