"""The description of a machine, and what follows from it."""

import copy
import json
import subprocess
from pathlib import Path
from types import NoneType
from typing import Any

import pytest

from gnet_core.config import GnetError
from gnet_core.machine import description, devices, overview
from gnet_core.machine import differences as comparison
from gnet_core.machine.devices import Support
from gnet_core.machine.environment import Machine, TensorFlow
from gnet_core.system.git import commit
from tests.conftest import JAX_SECTION, TORCH_SECTION, environment_of

GPU = {"device": "gpu:0", "name": "A GPU", "compute_capability": [9, 0]}


def differences(base, new):
    return comparison.differences(environment_of(base), environment_of(new))


def test_the_machine_describes_itself_with_sizes_that_make_sense(tmp_path):
    machine = description.describe(tmp_path)
    assert machine.processor
    assert 1 <= machine.usable_threads <= machine.threads
    assert 0 < machine.available_memory_bytes <= machine.memory_bytes
    assert "pytest-benchmark" in machine.packages
    assert machine.commit is None


def test_the_commit_is_marked_where_files_differ_from_it(tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    clean = commit(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert commit(tmp_path) == f"{clean}+changes"
    git("checkout", "file")
    git("config", "status.showUntrackedFiles", "no")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("3")
    assert commit(tmp_path) == f"{clean}+changes"
    assert commit(tmp_path / "other") is None  # the repository around it knows nothing of it


def test_a_cpu_does_bfloat16_well_only_with_its_instructions_and_never_tf32(environment):
    support = devices.precision_support(environment_of(environment), "cpu")
    assert support["mixed_bfloat16"] == Support(True, True, "AVX512_BF16 or AMX")
    assert support["tf32"].supported is False
    environment["machine"]["processor_flags"] = ["avx2"]
    assert devices.precision_support(environment_of(environment), "cpu")["mixed_bfloat16"].pays is False


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
    support = devices.precision_support(environment_of(environment), "gpu:0")
    assert {precision: expectation.pays for precision, expectation in support.items()} == expected


def test_auto_takes_the_gpu_where_there_is_one(environment):
    assert devices.choose_device("auto", environment_of(environment)) == "cpu"
    environment["tensorflow"]["gpus"] = [GPU]
    assert devices.choose_device("auto", environment_of(environment)) == "gpu:0"
    assert devices.choose_device("gpu", environment_of(environment)) == "gpu:0"
    assert devices.choose_device("cpu", environment_of(environment)) == "cpu"


def test_a_gpu_that_is_not_there_is_refused_with_what_is(environment):
    with pytest.raises(GnetError, match=r"device: 'gpu' is not there; TensorFlow sees cpu: .*without CUDA"):
        devices.choose_device("gpu", environment_of(environment))
    environment["tensorflow"]["gpus"] = [GPU]
    with pytest.raises(GnetError, match="device: 'gpu:1' is not there; TensorFlow sees cpu, gpu:0"):
        devices.choose_device("gpu:1", environment_of(environment))


def test_a_precision_the_device_cannot_do_is_refused_with_the_reason(environment):
    with pytest.raises(GnetError, match="precision: 'tf32' cannot be done on cpu: TF32 is a GPU's way"):
        devices.require_precision("tf32", "cpu", environment_of(environment))


def test_a_gpu_that_tensorflow_does_not_see_is_a_warning(environment):
    assert overview.warnings(environment_of(environment)) == []
    environment["machine"]["gpus"] = [{"name": "A GPU", "memory_bytes": 2**34, "driver": "1"}]
    assert (
        "TensorFlow sees none: this TensorFlow is built without CUDA"
        in overview.warnings(environment_of(environment))[0]
    )


def test_a_busy_virtual_or_restricted_machine_is_a_warning(environment):
    environment["machine"] |= {"hypervisor": True, "load_1_minute": 7.0, "usable_threads": 4}
    environment["machine"] |= {"available_memory_bytes": 2**30, "processor_flags": []}
    assert len(overview.warnings(environment_of(environment))) == 5


class Contained:
    """The control groups of a container."""

    def memory_limit_bytes(self):
        return 3_000_000

    def memory_left_bytes(self):
        return 2_000_000

    def cpu_quota_cores(self):
        return 0.5


def test_what_a_container_may_take_is_its_machine(monkeypatch):
    monkeypatch.setattr(description, "ControlGroups", Contained)
    machine = description.describe()
    assert machine.memory_bytes == 3_000_000
    assert machine.available_memory_bytes == description.available_memory_bytes() == 2_000_000
    assert machine.cpu_quota_cores == 0.5


def test_a_limit_above_what_there_is_limits_nothing(monkeypatch):
    monkeypatch.setattr(Contained, "memory_limit_bytes", lambda _: 2**60)
    monkeypatch.setattr(Contained, "memory_left_bytes", lambda _: None)
    monkeypatch.setattr(description, "ControlGroups", Contained)
    assert 2**20 < description.describe().memory_bytes < 2**60
    assert description.available_memory_bytes() > 2_000_000


def test_a_cpu_quota_stands_in_the_label_the_lines_and_the_warnings(environment):
    environment["machine"]["cpu_quota_cores"] = 0.5
    assert (
        overview.label(environment_of(environment), "cpu")
        == "Test Processor, 8 of 8 threads, 0.5 of 8 processors by quota, 16 GiB"
    )
    assert ("CPU quota", "0.5 of 8 processors") in overview.as_lines(environment_of(environment))
    assert overview.warnings(environment_of(environment)) == [
        "A CPU quota allows 0.5 of 8 processors: the system stops this process for part of each period."
    ]


@pytest.mark.parametrize("quota", ["half", [0.5]])
def test_a_strangers_quota_that_is_no_number_is_refused_by_its_field(environment, quota):
    environment["machine"]["cpu_quota_cores"] = quota
    with pytest.raises(GnetError, match=r"field 'machine\.cpu_quota_cores' is "):
        overview.label(environment_of(environment), "cpu")


def test_a_gpu_of_tensorflow_has_its_capability_as_nvidia_writes_it(environment):
    environment["tensorflow"]["gpus"] = [GPU, GPU | {"device": "gpu:1", "compute_capability": None}]
    lines = overview.as_lines(environment_of(environment))
    assert ("TensorFlow GPU", "gpu:0: A GPU, capability 9.0") in lines
    assert ("TensorFlow GPU", "gpu:1: A GPU, capability unknown") in lines


def test_the_label_names_the_gpu_only_for_a_case_on_it(environment):
    environment["tensorflow"]["gpus"] = [GPU]
    assert overview.label(environment_of(environment), "gpu:0").startswith("A GPU in Test Processor")
    assert overview.label(environment_of(environment), "cpu").startswith("Test Processor, 8 of 8 threads, 16 GiB")


def texts_and_kinds(base, new):
    return [(str(difference), difference.kind) for difference in differences(base, new)]


def hardware_between(base, new):
    return [text for text, kind in texts_and_kinds(base, new) if kind == "hardware"]


def test_an_environment_does_not_differ_from_itself_at_another_moment(environment):
    later = copy.deepcopy(environment)
    later["machine"] |= {"frequency_hz": 1e9, "available_memory_bytes": 1, "load_1_minute": 9.0}
    later["machine"]["memory_bytes"] = int(0.985 * later["machine"]["memory_bytes"])
    assert differences(environment, later) == []


def test_all_that_is_described_of_the_machine_is_compared_or_volatile(environment):
    volatile = {"frequency_hz", "available_memory_bytes", "load_1_minute", "settings_left_out", "nvidia"}
    changes: dict[str, Any] = {
        "memory_bytes": 1,
        "environment_variables": {"OMP_NUM_THREADS": "2"},
        "packages": {**environment["machine"]["packages"], "torch": "2.13.0"},
        "gpus": [{"name": "A GPU", "memory_bytes": None, "driver": "580"}],
        "processor_flags": ["avx2"],
    }
    of_kind: dict[type, Any] = {str: "another", int: 1, list: [7], bool: True, NoneType: 1}
    for field in set(Machine.__struct_fields__) - volatile:
        value = changes.get(field) or of_kind[type(environment["machine"][field])]
        other = {**environment, "machine": {**environment["machine"], field: value}}
        assert len(differences(environment, other)) == 1, field


def test_all_that_is_described_of_tensorflow_is_compared(environment):
    of_kind: dict[type, Any] = {str: "another", int: 1, list: [GPU], bool: True, NoneType: "9"}
    for field in environment["tensorflow"].keys() & TensorFlow.__struct_fields__:  # not what was observed on request
        value = of_kind[type(environment["tensorflow"][field])]
        other = {**environment, "tensorflow": {**environment["tensorflow"], field: value}}
        assert len(differences(environment, other)) == 1, field


def test_hardware_comes_first_and_is_what_makes_another_machine(environment):
    new = copy.deepcopy(environment)
    new["machine"] |= {"processor": "Other Processor", "processor_flags": [], "usable_threads": 4, "hypervisor": True}
    new["machine"] |= {"memory_bytes": 32 * 2**30, "python": "3.12.0", "commit": None}
    new["machine"]["packages"] = {"gnet": "0.1.0", "keras": "3.15.1", "numpy": "2.0"}
    new["machine"]["environment_variables"] = {"TF_XLA_FLAGS": "--x"}
    new["tensorflow"] |= {"version": "2.22.0", "built_for_cuda": True}
    assert texts_and_kinds(environment, new) == [
        ("processor: Test Processor → Other Processor", "hardware"),
        ("processor flags: avx2, avx512_bf16 → none", "hardware"),
        ("virtual machine: no → yes", "hardware"),
        ("usable threads: 8 → 4", "hardware"),
        ("memory: 16.00 GiB → 32.00 GiB", "hardware"),
        ("TensorFlow: 2.21.0 → 2.22.0", "software"),
        ("TensorFlow built for CUDA: no → yes", "software"),
        ("Python: 3.11.0 → 3.12.0", "software"),
        ("commit: 0123456789abcdef → unknown", "software"),
        ("numpy: not installed → 2.0", "software"),
        ("TF_XLA_FLAGS: not set → --x", "software"),
    ]
    assert hardware_between(environment, new) == [text for text, kind in texts_and_kinds(environment, new)[:5]]


def test_another_cpu_quota_is_another_machine(environment):
    new = copy.deepcopy(environment)
    new["machine"]["cpu_quota_cores"] = 0.5
    assert texts_and_kinds(environment, new) == [("CPU quota: none → 0.5 processors", "hardware")]


def test_a_run_of_before_quotas_were_looked_for_is_like_one_without(environment):
    new = copy.deepcopy(environment)
    new["machine"] |= {"cpu_quota_cores": None, "settings_left_out": {}}
    del environment["machine"]["cpu_quota_cores"]
    del environment["machine"]["settings_left_out"]
    assert differences(environment, new) == []
    assert overview.label(environment_of(environment), "cpu") == overview.label(environment_of(new), "cpu")
    assert overview.warnings(environment_of(environment)) == []


def test_all_threads_are_alike_however_they_were_recorded(environment):
    new = copy.deepcopy(environment)
    new["tensorflow"] |= {"intra_op_threads": 8, "inter_op_threads": 8}
    assert differences(environment, new) == []
    assert ("threads", "intra-op 8, inter-op 8") in overview.as_lines(environment_of(new))
    new["tensorflow"]["intra_op_threads"] = 1
    assert texts_and_kinds(environment, new) == [("intra-op threads: all → 1", "software")]


def test_a_variable_that_only_decides_how_much_is_printed_is_no_difference(environment):
    environment["machine"]["environment_variables"] = {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONHASHSEED": "17"}
    new = copy.deepcopy(environment)
    new["machine"]["environment_variables"] = {"PYTHONHASHSEED": "4"}
    assert differences(environment, new) == []


def test_a_setting_that_is_left_out_is_a_warning_and_no_difference(environment):
    new = copy.deepcopy(environment)
    new["machine"]["settings_left_out"] = {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2", "keras.json": '{"floatx": "float64"}'}
    assert differences(environment, new) == []
    assert overview.warnings(environment_of(new)) == [
        "A case defines these itself, so what was asked for is left out: "
        'TF_XLA_FLAGS=--tf_xla_auto_jit=2 (execution), keras.json {"floatx": "float64"} (framework).'
    ]


def test_a_setting_from_outside_that_acts_on_the_figures_is_a_warning(environment):
    environment["machine"]["environment_variables"] = {
        "CUDA_VISIBLE_DEVICES": "0",
        "LD_LIBRARY_PATH": "/opt/lib",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "XLA_FLAGS": "--xla_a=" + 200 * "b",
    }
    shown = "--xla_a=" + 112 * "b" + "…"
    assert overview.warnings(environment_of(environment)) == [
        f"These are set from outside and act on the figures: TF_ENABLE_ONEDNN_OPTS=0, XLA_FLAGS={shown}."
    ]


@pytest.mark.parametrize(
    ("variable", "field", "effect"),
    [
        ("TF_NUM_INTRAOP_THREADS", "intra_op_threads", "an operation of TensorFlow is spread over 1 of 8 threads."),
        ("TF_NUM_INTEROP_THREADS", "inter_op_threads", "operations of TensorFlow run side by side on 1 of 8 threads."),
    ],
)
def test_fewer_threads_of_tensorflow_than_there_are_is_a_warning(environment, variable, field, effect):
    environment["machine"]["environment_variables"] = {variable: "1"}
    environment["tensorflow"][field] = 1
    assert overview.warnings(environment_of(environment))[0] == f"{variable}=1: {effect}"


def test_another_gpu_driver_or_number_of_gpus_is_another_machine(environment):
    card = {"name": "A GPU", "memory_bytes": 80 * 2**30, "driver": "550"}
    environment["machine"]["gpus"] = [card, card]
    new = copy.deepcopy(environment)
    new["machine"]["gpus"] = [card | {"driver": "560"}]
    assert hardware_between(environment, new) == [
        "GPU 0: A GPU, 80 GiB of memory, driver 550 → A GPU, 80 GiB of memory, driver 560",
        "GPU 1: A GPU, 80 GiB of memory, driver 550 → none",
    ]


def test_a_gpu_that_only_one_tensorflow_sees_is_software_and_another_of_its_name_hardware(environment):
    new = copy.deepcopy(environment)
    new["tensorflow"]["gpus"] = [GPU]
    assert texts_and_kinds(environment, new) == [("gpu:0: not seen → A GPU, capability 9.0", "software")]
    environment["tensorflow"]["gpus"] = [GPU | {"name": "Another"}]
    assert texts_and_kinds(environment, new)[0][1] == "hardware"


def with_peers(environment, **sections):
    """Without TensorFlow, in an interpreter of other packages."""
    own = copy.deepcopy(environment)
    own["machine"]["packages"] = {"gnet": "0.1.0", "keras": "3.15.1", "torch": "2.13.0"}
    return {**own, "tensorflow": None, "torch": TORCH_SECTION, "jax": None, **sections}


def test_another_interpreters_packages_are_no_other_machine(environment):
    environment["machine"]["packages"] |= {"tensorflow": "2.21.0"}
    differing = texts_and_kinds(environment, with_peers(environment))
    assert differing == [
        ("tensorflow: 2.21.0 → not installed", "software"),
        ("torch: not installed → 2.13.0", "software"),
    ]
    assert texts_and_kinds(with_peers(environment), with_peers(environment)) == []


def test_fields_of_peers_are_compared_where_both_sides_have_them(environment):
    base = with_peers(environment)
    for field in TORCH_SECTION.keys() - {"version", "why_no_gpus"}:  # its package and its GPUs tell of these
        value = {"gpus": [GPU], "built_for_cuda": True, "threads": 1, "triton": False}.get(field, "another")
        other = with_peers(environment, torch=TORCH_SECTION | {field: value})
        assert len(differences(base, other)) == 1, field
    on_a_cpu = {field: value for field, value in TORCH_SECTION.items() if field != "gpus"}
    assert (
        differences(with_peers(environment, torch=TORCH_SECTION | {"gpus": [GPU]}), {**base, "torch": on_a_cpu}) == []
    )
    assert differences(base, with_peers(environment, torch={"error": "broken"})) == []


def test_without_tensorflow_devices_are_those_of_the_first_peer(environment):
    peers = with_peers(environment, torch=TORCH_SECTION | {"built_for_cuda": True, "cuda": "13.0", "gpus": [GPU]})
    assert devices.choose_device("auto", environment_of(peers)) == "gpu:0"
    assert overview.label(environment_of(peers), "gpu:0").startswith("A GPU in ")
    assert devices.precision_support(environment_of(peers), "gpu:0")["tf32"].supported
    with pytest.raises(GnetError, match=r"device: 'gpu:1' is not there; PyTorch sees cpu, gpu:0$"):
        devices.choose_device("gpu:1", environment_of(peers))
    lines = dict(overview.as_lines(environment_of(peers)))
    assert lines["TensorFlow"] == "not installed"
    assert lines["PyTorch"] == "2.13.0+cpu, CUDA 13.0, cuDNN None"
    assert lines["PyTorch GPU"] == "gpu:0: A GPU, capability 9.0"
    peers["machine"]["gpus"] = [{"name": "A GPU", "memory_bytes": None, "driver": "1"}]
    too_old = TORCH_SECTION | {"built_for_cuda": True, "why_no_gpus": "the driver is too old"}
    peers["torch"] = too_old
    assert "The driver shows 1 GPU(s) but PyTorch sees none: the driver is too old." in overview.warnings(
        environment_of(peers)
    )
    assert dict(overview.as_lines(environment_of(peers)))["PyTorch GPU"] == "none: the driver is too old"
    peers["torch"] = TORCH_SECTION
    assert "The driver shows 1 GPU(s) but PyTorch sees none: this PyTorch is built without CUDA." in overview.warnings(
        environment_of(peers)
    )


def test_precisions_are_those_of_the_gpu_that_the_rows_framework_sees(environment):
    environment["tensorflow"]["gpus"] = [GPU]
    environment["torch"] = TORCH_SECTION | {"gpus": [GPU | {"compute_capability": [7, 0]}]}
    assert devices.precision_support(environment_of(environment), "gpu:0")["tf32"].supported
    assert not devices.precision_support(environment_of(environment), "gpu:0", "torch")["tf32"].supported


def test_a_framework_that_cannot_be_loaded_has_a_line_with_the_reason(environment):
    environment |= {"torch": {"error": "ImportError: libcudart.so.13"}, "jax": JAX_SECTION}
    lines = dict(overview.as_lines(environment_of(environment)))
    assert lines["PyTorch"] == "cannot be loaded: ImportError: libcudart.so.13"
    assert lines["JAX"] == "0.10.2, built without CUDA"


def test_an_environment_that_was_not_recorded_is_another_machine(environment):
    assert comparison.differences(None, None) == []
    (difference,) = comparison.differences(None, environment_of(environment))
    assert (str(difference), difference.kind) == ("environment: unknown → recorded", "hardware")


def test_what_an_earlier_version_did_not_record_is_unknown(environment):
    new = copy.deepcopy(environment)
    for field in ("processor_family", "commit"):
        del new["machine"][field]
    assert texts_and_kinds(environment, new) == [
        ("processor family, model, stepping: 1, 2, 3 → unknown", "hardware"),
        ("commit: 0123456789abcdef → unknown", "software"),
    ]


def test_one_frameworks_differences_leave_the_rest_of_two_interpreters_out(environment):
    base, new = environment_of(environment), environment_of(with_peers(environment))
    assert comparison.differences(base, new, "torch") == [
        ("torch", "not installed", "2.13.0", "software"),
    ]
    assert comparison.differences(base, new, "jax") == []


REPORTS = Path(__file__).parents[2] / "reports"


def test_environments_that_earlier_versions_wrote_on_a_cpu_and_a_gpu_are_some():
    environments = [
        *(
            json.loads((REPORTS / name / "run.json").read_text())["environment"]
            for name in ("example", "h200-precision")
        ),
        json.loads((REPORTS / "h200-check" / "gpu-check" / "info.json").read_text()),
    ]
    for environment in environments:
        environment_of(environment)
    assert environments[-1]["tensorflow"]["gpus"]


def test_what_another_version_adds_to_an_environment_is_left_alone_and_what_is_no_figure_is_refused(environment):
    environment["machine"]["surprise"] = environment["oneflow"] = {"version": 3}
    environment_of(environment)
    environment["machine"]["threads"] = -1
    with pytest.raises(GnetError, match=r"^environment: field 'machine\.threads' is -1; it has to be a whole number"):
        environment_of(environment)
