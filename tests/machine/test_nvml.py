"""Which GPU a device is, according to the stand-in for NVML and pynvml's own calls."""

import msgspec
import pynvml
import pytest

from gnet_core.config import GnetError
from gnet_core.machine import devices
from gnet_core.machine import nvml as management
from gnet_core.machine.description import describe
from tests.conftest import environment_of

FIRST, SECOND = "GPU-00000000-0000-4000-8000-000000000000", "GPU-10000000-0000-4000-8000-000000000000"


def uuid_of(number):
    with management.opened() as answers:
        assert answers
        handle = management.find(number)
        return None if handle is None else pynvml.nvmlDeviceGetUUID(handle)


def test_each_gpu_is_described_by_the_driver(nvml):
    nvml.set(gpus=2, names=["NVIDIA A", "NVIDIA B"], total=[2**34, 2**35])
    gpus = describe().gpus
    assert [(gpu.name, gpu.memory_bytes, gpu.driver) for gpu in gpus] == [
        ("NVIDIA A", 2**34, "580.95.05"),
        ("NVIDIA B", 2**35, "580.95.05"),
    ]


@pytest.mark.parametrize("refused", ["nvmlInit", "nvmlDeviceGetCount_v2"])
def test_a_driver_that_does_not_answer_shows_no_gpu(nvml, refused):
    nvml.set(fail=refused)
    assert describe().gpus == []


@pytest.mark.parametrize("refused", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetName"])
def test_a_gpu_that_does_not_answer_is_there_all_the_same(nvml, environment, refused):
    nvml.set(gpus=2, fail=refused)
    environment["machine"] = msgspec.to_builtins(describe())
    assert [gpu["name"] for gpu in environment["machine"]["gpus"]] == ["a GPU that does not answer"] * 2
    environment["tensorflow"]["built_for_cuda"] = True
    with pytest.raises(GnetError, match="TensorFlow sees no GPU"):
        devices.choose_device("auto", environment_of(environment))


def test_a_driver_without_a_version_shows_its_gpus(nvml):
    nvml.set(fail="nvmlSystemGetDriverVersion")
    assert [gpu.driver for gpu in describe().gpus] == ["unknown"]


def test_a_gpu_whose_memory_is_unknown_is_described_without(nvml):
    nvml.set(fail="nvmlDeviceGetMemoryInfo")
    assert [gpu.memory_bytes for gpu in describe().gpus] == [None]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, FIRST), ("1", SECOND), ("1,0", SECOND), ("GPU-1", SECOND), (SECOND, SECOND), ("", None), ("7", None)],
)
def test_the_device_is_the_first_of_those_that_are_visible(nvml, monkeypatch, visible, expected):
    nvml.set(gpus=2)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert uuid_of(0) == expected
