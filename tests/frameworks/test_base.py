"""Which frameworks a case can be measured in, told without importing any."""

import copy
from typing import Any

import pytest

from gnet_core.config import StepConfig
from gnet_core.frameworks.base import why_another_gpu, why_unsupported
from tests.conftest import JAX_SECTION, MACHINE, TENSORFLOW, TORCH_SECTION, environment_of

PACKAGES = {"torch": "2.13.0", "jax": "0.10.2", "keras": "3.15.1", "pytest-benchmark": "5.3.1"}
MACHINE_WITH_GPU = MACHINE | {"packages": PACKAGES, "gpus": [{"name": "A GPU", "memory_bytes": 2**34, "driver": "580"}]}
HERE: dict[str, Any] = {
    "machine": MACHINE_WITH_GPU,
    "tensorflow": TENSORFLOW,
    "torch": TORCH_SECTION,
    "jax": JAX_SECTION,
}
GPU = {"device": "gpu:0", "name": "A GPU", "compute_capability": [9, 0]}
TORCH: dict[str, Any] = {"framework": "torch", "execution": "eager"}
JAX: dict[str, Any] = {"framework": "jax", "execution": "xla"}


def here(**sections):
    """HERE with other fields in its sections, or with None in place of one."""
    environment = copy.deepcopy(HERE)
    for name, fields in sections.items():
        replaced = fields is None or "error" in fields
        environment[name] = fields if replaced else {**environment[name], **fields}
    return environment_of(environment)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        (TORCH, ""),
        (TORCH | {"execution": "graph"}, ""),
        (TORCH | {"execution": "xla"}, "torch.compile"),
        (TORCH | {"data": "digits"}, "synthetic"),
        (TORCH | {"part": "forward"}, "whole steps"),
        (TORCH | {"part": "input", "feed": "jpeg"}, "whole steps"),
        (TORCH | {"feed": "tfrecord"}, "batches that are ready"),
        (JAX | {"feed": "cache"}, "batches that are ready"),
        (TORCH | {"as_published": True}, "as_published"),
        (TORCH | {"batch_size": 1}, ""),
        (TORCH | {"batch_size": 1, "image_size": 146}, "147 pixels"),
        (JAX, ""),
        (JAX | {"execution": "graph"}, "XLA"),
        (JAX | {"precision": "mixed_float16"}, "loss scaling"),
        ({"replicas": 4}, ""),
        ({"workers": 4, "batch_norm": "synchronised", "execution": "eager"}, ""),
        ({"replicas": 2, "execution": "xla"}, ""),
        ({"replicas": 2, "execution": "xla", "batch_norm": "synchronised"}, "exchanges within"),
        ({"execution": "xla", "batch_norm": "synchronised"}, ""),
        ({"replicas": 2, "workers": 2}, "one CPU device a process"),
        ({"workers": 2, "data": "digits"}, "synthetic data alone"),
        ({"replicas": 2, "feed": "jpeg"}, "batches that are ready"),
        (TORCH | {"workers": 2}, ""),
        (TORCH | {"workers": 2, "batch_norm": "synchronised"}, "synchronises batch normalisation on GPUs alone"),
        (TORCH | {"workers": 2, "data": "digits"}, "synthetic data alone"),
        (TORCH | {"replicas": 2}, "one device a process; use workers"),
        (JAX | {"workers": 2}, "one device"),
    ],
)
def test_what_a_framework_cannot_do_is_refused_with_its_reason(changes, expected):
    reason = why_unsupported(StepConfig(**changes), here())
    assert (expected in reason) if expected else not reason


@pytest.mark.parametrize(
    ("case", "sections", "expected"),
    [
        ({}, {"tensorflow": {"gpus": [GPU]}}, ""),
        ({}, {}, "TensorFlow sees no gpu:0: this TensorFlow is built without CUDA"),
        (TORCH, {"torch": {"built_for_cuda": True, "gpus": [GPU]}}, ""),
        (TORCH, {"torch": {"built_for_cuda": True}}, "PyTorch sees no gpu:0: it does not say why"),
        (
            TORCH,
            {"torch": {"built_for_cuda": True, "why_no_gpus": "the driver is too old"}},
            "gpu:0: the driver is too old",
        ),
        (TORCH, {}, "PyTorch sees no gpu:0: this PyTorch is built without CUDA"),
        (TORCH, {"torch": {"gpus": [GPU | {"device": "gpu:1"}]}}, "PyTorch sees no gpu:0; it sees cpu, gpu:1"),
        (TORCH, {"torch": None}, "--python torch=INTERPRETER names one that has it (tox environment torch-gpu)"),
        (JAX, {"jax": {"built_for_cuda": True, "gpus": [GPU]}}, ""),
        (JAX, {}, "JAX sees no gpu:0: JAX's plugin for CUDA is not installed"),
        ({"replicas": 2}, {"tensorflow": {"gpus": [GPU, GPU | {"device": "gpu:1"}]}}, ""),
        ({"replicas": 2}, {"tensorflow": {"gpus": [GPU]}}, "2 replicas from gpu:0 on take gpu:1; there is no gpu:1"),
        (
            {"replicas": 2},
            {"tensorflow": {"gpus": [GPU, GPU | {"device": "gpu:1", "name": "Another"}]}},
            "gpu:0 is A GPU and gpu:1 is Another; replicas are measured on GPUs of one kind",
        ),
        # Whatever TensorFlow sees: a device is a row's own framework's.
        (JAX, {"tensorflow": {"gpus": [GPU]}}, "JAX sees no gpu:0"),
    ],
)
def test_a_gpu_has_to_be_seen_by_the_framework_of_the_row(case, sections, expected):
    reason = why_unsupported(StepConfig(**case, device="gpu:0"), here(**sections))
    assert (expected in reason) if expected else not reason


@pytest.mark.parametrize("device", ["cpu", "gpu:0"])
@pytest.mark.parametrize(
    ("lacks", "on_cpu", "on_gpu"),
    [
        ({}, "", ""),
        ({"cpp_compiler": None}, "needs a C++ compiler", ""),
        ({"c_compiler": None}, "", "needs a C compiler on a GPU"),
        ({"triton": False}, "", "needs Triton on a GPU"),
    ],
)
def test_torch_compile_needs_compilers_and_eager_execution_none(device, lacks, on_cpu, on_gpu):
    environment = here(torch={"gpus": [GPU], **lacks})
    expected = on_cpu if device == "cpu" else on_gpu
    reason = why_unsupported(StepConfig(framework="torch", execution="graph", device=device), environment)
    assert (expected in reason) if expected else not reason
    assert not why_unsupported(StepConfig(framework="torch", execution="eager", device=device), environment)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({}, "TensorFlow is not installed here; the extra cpu or gpu brings it, or --python tensorflow=INTERPRETER"),
        (TORCH, "PyTorch is not installed here; the extra peers brings it, or --python torch=INTERPRETER names one"),
        (JAX, "JAX is not installed here; the extra peers brings it, or --python jax=INTERPRETER names one"),
    ],
)
def test_a_framework_that_is_not_installed_is_named_with_what_brings_it(case, message):
    nothing = here(tensorflow=None, torch=None, jax=None)
    assert why_unsupported(StepConfig(**case), nothing).startswith(message)


def test_an_interpreter_of_a_framework_is_named_with_what_it_lacks():
    def why(case, environment):
        return why_unsupported(StepConfig(**case), environment, "/x/python")

    assert why(TORCH, here(torch=None)) == "PyTorch is not installed in /x/python"
    broken = here(torch={"error": "ImportError: libcudart.so.13: cannot open shared object file"})
    assert why(TORCH, broken).startswith("PyTorch cannot be loaded in /x/python: ImportError: libcudart.so.13")
    for case, package in ((TORCH, "pytest-benchmark"), (JAX, "pytest-benchmark"), (JAX, "keras")):
        environment = here(machine={"packages": {name: PACKAGES[name] for name in PACKAGES if name != package}})
        assert why(case, environment).startswith(f"{package} is not installed in /x/python")


def test_a_revision_from_before_peers_had_sections_is_judged_by_its_packages_alone():
    before = environment_of({"machine": MACHINE_WITH_GPU, "tensorflow": TENSORFLOW})
    assert not why_unsupported(StepConfig(**TORCH), before)
    assert not why_unsupported(StepConfig(**JAX), before)


def test_one_name_for_two_gpus_is_no_comparison_of_frameworks():
    ours = here(tensorflow={"gpus": [GPU]})
    case = StepConfig(**TORCH, device="gpu:0")
    assert not why_another_gpu(case, here(torch={"gpus": [GPU]}), ours)
    reason = why_another_gpu(case, here(torch={"gpus": [GPU | {"name": "Another"}]}), ours)
    assert reason.startswith("gpu:0 is Another (capability 9.0) to PyTorch and A GPU (capability 9.0) to TensorFlow")
    assert not why_another_gpu(case, here(torch={"gpus": [GPU | {"compute_capability": None}]}), ours)
    assert not why_another_gpu(StepConfig(**TORCH), here(torch={"gpus": []}), ours)
