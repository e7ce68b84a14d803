"""What is told of a machine, and what is made of it."""

import subprocess

import pynvml
import pytest

from gnet_core import machine
from gnet_core.config import GnetError

GPU = {"device": "gpu:0", "name": "A GPU", "compute_capability": [9, 0]}


def test_the_machine_describes_itself_with_sizes_that_make_sense(tmp_path):
    said = machine.describe(tmp_path)
    assert said["processor"]
    assert 1 <= said["usable_threads"] <= said["threads"]
    assert 0 < said["available_memory_bytes"] <= said["memory_bytes"]
    assert "pytest-benchmark" in said["packages"]
    assert said["commit"] is None


def test_only_variables_that_matter_to_tensorflow_are_told(monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--x")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", "/secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    variables = machine.describe()["environment_variables"]
    assert variables["TF_XLA_FLAGS"] == "--x"
    assert variables["OMP_NUM_THREADS"] == "2"
    assert "TF_CLI_CONFIG_FILE" not in variables


def test_the_commit_says_when_files_differ_from_it(tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    clean = machine.commit(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert machine.commit(tmp_path) == f"{clean}+changes"


def test_a_cpu_does_bfloat16_well_only_with_its_instructions_and_never_tf32(environment):
    support = machine.precision_support(environment, "cpu")
    assert support["mixed_bfloat16"] == (True, True, "AVX512_BF16 or AMX")
    assert support["tf32"].supported is False
    environment["machine"]["processor_flags"] = ["avx2"]
    assert machine.precision_support(environment, "cpu")["mixed_bfloat16"].pays is False


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ([9, 0], {"float32": True, "tf32": True, "mixed_bfloat16": True, "mixed_float16": True}),
        ([7, 5], {"float32": True, "tf32": False, "mixed_bfloat16": False, "mixed_float16": True}),
        (None, {"float32": True, "tf32": False, "mixed_bfloat16": False, "mixed_float16": False}),
    ],
)
def test_what_pays_on_a_gpu_follows_from_its_compute_capability(environment, capability, expected):
    environment["tensorflow"]["gpus"] = [{**GPU, "compute_capability": capability}]
    support = machine.precision_support(environment, "gpu:0")
    assert {precision: said.pays for precision, said in support.items()} == expected


def test_auto_takes_the_gpu_where_there_is_one(environment):
    assert machine.choose_device("auto", environment) == "cpu"
    environment["tensorflow"]["gpus"] = [GPU]
    assert machine.choose_device("auto", environment) == "gpu:0"
    assert machine.choose_device("gpu", environment) == "gpu:0"
    assert machine.choose_device("cpu", environment) == "cpu"


def test_a_gpu_that_is_not_there_is_refused_with_what_is(environment):
    with pytest.raises(GnetError, match=r"device: 'gpu' is not there; TensorFlow sees cpu .*without CUDA"):
        machine.choose_device("gpu", environment)
    environment["tensorflow"]["gpus"] = [GPU]
    with pytest.raises(GnetError, match="device: 'gpu:1' is not there; TensorFlow sees cpu, gpu:0"):
        machine.choose_device("gpu:1", environment)


def test_a_precision_the_device_cannot_do_is_refused_with_the_reason(environment):
    with pytest.raises(GnetError, match="precision: 'tf32' cannot be done on cpu: TF32 is a GPU's way"):
        machine.require_precision("tf32", "cpu", environment)


def test_a_gpu_that_tensorflow_does_not_see_is_a_warning(environment):
    assert machine.warnings(environment) == []
    environment["machine"]["gpus"] = [{"name": "A GPU", "memory_bytes": 2**34, "driver": "1"}]
    assert "TensorFlow sees none: this is a build without CUDA" in machine.warnings(environment)[0]


def test_a_busy_virtual_or_restricted_machine_is_a_warning(environment):
    environment["machine"] |= {"hypervisor": True, "load_1_minute": 7.0, "usable_threads": 4}
    environment["machine"] |= {"available_memory_bytes": 2**30, "processor_flags": []}
    assert len(machine.warnings(environment)) == 5


def test_a_containers_limit_is_what_may_still_be_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CONTROL_GROUP", tmp_path)
    free = machine.available_memory_bytes()
    assert free > 0
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert machine.available_memory_bytes() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.available_memory_bytes() > 2_000_000


def test_a_gpu_that_does_not_tell_its_memory_is_told_all_the_same(monkeypatch):
    def refuse(_handle):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    for name, answer in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "1",
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda _handle: "A GPU",
        "nvmlDeviceGetMemoryInfo": refuse,
    }.items():
        monkeypatch.setattr(pynvml, name, answer)
    assert machine.describe()["gpus"] == [{"name": "A GPU", "memory_bytes": None, "driver": "1"}]


def test_the_label_names_the_gpu_only_for_a_case_on_it(environment):
    environment["tensorflow"]["gpus"] = [GPU]
    assert machine.label(environment, "gpu:0").startswith("A GPU in Test Processor")
    assert machine.label(environment, "cpu").startswith("Test Processor, 8 of 8 threads, 16 GiB")
