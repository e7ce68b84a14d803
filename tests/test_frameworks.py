"""Which frameworks a case can be measured in, told without importing any."""

import pytest

from gnet_core.config import StepConfig
from gnet_core.frameworks import why_unsupported

HERE = {"machine": {"packages": {"torch": "2.13.0", "jax": "0.10.2"}}}
TORCH = {"framework": "torch", "execution": "eager"}
JAX = {"framework": "jax", "execution": "xla"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        (TORCH, ""),
        (TORCH | {"execution": "graph"}, ""),
        (TORCH | {"execution": "xla"}, "torch.compile"),
        (TORCH | {"data": "digits"}, "synthetic"),
        (TORCH | {"part": "forward"}, "whole steps"),
        (TORCH | {"as_published": True}, "as_published"),
        (TORCH | {"batch_size": 1}, ""),
        (TORCH | {"batch_size": 1, "image_size": 146}, "147 pixels"),
        (JAX, ""),
        (JAX | {"execution": "graph"}, "XLA"),
        (JAX | {"precision": "mixed_float16"}, "loss scaling"),
    ],
)
def test_what_a_framework_cannot_do_is_said(changes, said):
    found = why_unsupported(StepConfig(**changes), HERE)
    assert (said in found) if said else not found


@pytest.mark.parametrize(
    ("peer", "packages", "said"),
    [
        (TORCH, {"torch": "2.13.0"}, ""),
        (TORCH, {"torch": "2.13.0+cpu"}, "built for a CPU"),
        (JAX, {"jax": "0.10.2"}, "plugin for CUDA"),
        (JAX, {"jax": "0.10.2", "jax-cuda12-plugin": "0.10.2"}, ""),
        (JAX, {}, "peers-gpu"),
    ],
)
def test_on_a_gpu_a_framework_is_measured_by_a_build_for_one(peer, packages, said):
    found = why_unsupported(StepConfig(**peer, device="gpu:0"), {"machine": {"packages": packages}})
    assert (said in found) if said else not found


@pytest.mark.parametrize("peer", [TORCH, JAX])
def test_a_framework_that_is_not_installed_is_named_with_what_brings_it(peer):
    found = why_unsupported(StepConfig(**peer), {"machine": {"packages": {}}})
    assert found == f"{peer['framework']} is not installed; the extra peers brings it"
