"""Why TensorFlow lists no GPU, and what follows from it for the device of a run."""

import copy
import json
import re
from pathlib import Path

import msgspec
import pytest

from gnet_core.config import TITLES, GnetError, StepConfig
from gnet_core.files.json_documents import typed
from gnet_core.frameworks.tf import device
from gnet_core.machine import cuda_libraries, devices, gpu_chain, overview
from gnet_core.machine.differences import differences
from gnet_core.machine.environment import Environment
from gnet_core.plan.suites import PlannedCase, Source
from gnet_core.run import discovery
from tests.conftest import JAX_SECTION, TORCH_SECTION, environment_of

GPU = {"device": "gpu:0", "name": "A GPU", "compute_capability": [9, 0]}
CARD = {"name": "A GPU", "memory_bytes": 2**34, "driver": "580.95.05"}
LACKING = "libcusolver.so.11: cannot open shared object file: No such file or directory"
NOT_LOADED = f"libcusolver.so.11, of the package nvidia-cusolver-cu12, did not load ({LACKING})"


def places(*missing):
    """All of the libraries, found but for the missing ones."""
    libraries = []
    for library in cuda_libraries.LIBRARIES:
        name, is_missing = library.name, library.name in missing
        place = {
            "path": None if is_missing else f"/lib/{name}",
            "error": f"{name}: cannot open shared object file: No such file or directory" if is_missing else None,
        }
        libraries.append({"name": name, "package": library.package, "at_start": library.at_start, **place})
    return libraries


@pytest.fixture
def with_card(environment):
    """A machine whose driver shows a GPU, and a TensorFlow built for CUDA that has all its libraries and lists none."""
    environment["machine"]["gpus"] = [CARD]
    environment["machine"]["nvidia"] = {
        "driver": "580.95.05",
        "cuda_version": [13, 0],
        "nvml_error": None,
        "libraries": places(),
    }
    environment["tensorflow"]["built_for_cuda"] = True
    return environment


def hide(environment, visible):
    environment["machine"]["environment_variables"]["CUDA_VISIBLE_DEVICES"] = visible


def refusal_of_auto(environment):
    with pytest.raises(GnetError) as refused:
        devices.choose_device("auto", environment_of(environment))
    assert devices.choose_device("cpu", environment_of(environment)) == "cpu"
    return (
        str(refused.value)
        .removeprefix("device: TensorFlow sees no GPU: ")
        .removesuffix("; --device cpu measures the CPU")
    )


def test_auto_names_each_library_that_did_not_load(with_card):
    with_card["machine"]["nvidia"]["libraries"] = places("libcusolver.so.11")
    assert refusal_of_auto(with_card) == NOT_LOADED
    with_card["machine"]["nvidia"]["libraries"] = places("libcuda.so.1", "libcusolver.so.11")
    assert refusal_of_auto(with_card).startswith("libcuda.so.1, of NVIDIA's driver, did not load (")
    assert refusal_of_auto(with_card).endswith(f"; {NOT_LOADED}")


@pytest.mark.parametrize("device_name", ["gpu", "gpu:0", "gpu:3"])
def test_the_refusal_of_a_gpu_that_is_not_listed_names_the_library_as_well(with_card, device_name):
    with_card["machine"]["nvidia"]["libraries"] = places("libcusolver.so.11")
    with pytest.raises(GnetError) as refused:
        devices.choose_device(device_name, environment_of(with_card))
    assert str(refused.value) == f"device: {device_name!r} is not there; TensorFlow sees cpu: {NOT_LOADED}"


def test_a_library_that_only_traces_need_is_not_why_there_is_no_gpu(with_card):
    with_card["machine"]["nvidia"]["libraries"] = places("libcupti.so.12")
    assert "libcupti" not in refusal_of_auto(with_card)


def test_a_driver_from_before_cuda_12_is_the_reason(with_card):
    with_card["machine"]["nvidia"] |= {"driver": "470.256", "cuda_version": [11, 4]}
    assert refusal_of_auto(with_card) == "driver 470.256 is too old: it can do CUDA 11.4, and 12.0 is needed"


@pytest.mark.parametrize(
    ("visible", "reason"),
    [
        ("1", "CUDA_VISIBLE_DEVICES=1 begins with none of the driver's, which count from 0"),
        ("7,0", "CUDA_VISIBLE_DEVICES=7,0 begins with none of the driver's"),
        ("9" * 5000, "CUDA_VISIBLE_DEVICES=99"),
        ("GPU-1", "all of its CUDA libraries load; CUDA_VISIBLE_DEVICES=GPU-1 may name none that is there; TF_CPP"),
        ("0", "all of its CUDA libraries load; TF_CPP_MIN_LOG_LEVEL=0 gnet info shows"),
        (None, "all of its CUDA libraries load; TF_CPP_MIN_LOG_LEVEL=0 gnet info shows"),
    ],
)
def test_where_all_libraries_load_the_variable_is_named_or_what_tensorflow_logs(with_card, visible, reason):
    if visible is not None:
        hide(with_card, visible)
    assert refusal_of_auto(with_card).startswith(reason)


def test_a_gpu_that_an_older_version_recorded_is_not_left_aside_either(with_card):
    del with_card["machine"]["nvidia"]
    assert refusal_of_auto(with_card).startswith("its CUDA libraries may be missing; TF_CPP_MIN_LOG_LEVEL=0")


@pytest.mark.parametrize("visible", ["", "-1", "-1,0", " ", "NoDevFiles"])
def test_gpus_that_are_hidden_on_purpose_leave_the_cpu_with_a_note(with_card, visible):
    hide(with_card, visible)
    assert devices.choose_device("auto", environment_of(with_card)) == "cpu"
    warning = f"The driver shows 1 GPU(s) but TensorFlow sees none: CUDA_VISIBLE_DEVICES={visible} hides every GPU."
    assert warning in overview.warnings(environment_of(with_card))


def test_a_tensorflow_without_cuda_beside_a_gpu_leaves_the_cpu_with_a_note_of_the_extra(with_card):
    with_card["tensorflow"]["built_for_cuda"] = False
    assert devices.choose_device("auto", environment_of(with_card)) == "cpu"
    assert "the extra gpu in place of cpu brings one with it" in overview.warnings(environment_of(with_card))[0]


@pytest.mark.parametrize(("framework", "section"), [("torch", TORCH_SECTION), ("jax", JAX_SECTION)])
def test_without_tensorflow_auto_stops_where_a_peer_built_for_cuda_lists_none(with_card, framework, section):
    title = TITLES[framework]
    with_card |= {"tensorflow": None, framework: section | {"built_for_cuda": True, "why_no_gpus": "too old a driver"}}
    with pytest.raises(GnetError) as refused:
        devices.choose_device("auto", environment_of(with_card))
    assert str(refused.value) == f"device: {title} sees no GPU: too old a driver; --device cpu measures the CPU"
    assert devices.choose_device("cpu", environment_of(with_card)) == "cpu"
    with_card[framework]["why_no_gpus"] = ""
    with pytest.raises(GnetError, match=f"{title} sees no GPU: it does not say why; --device cpu measures the CPU"):
        devices.choose_device("auto", environment_of(with_card))
    with_card[framework]["built_for_cuda"] = False
    assert devices.choose_device("auto", environment_of(with_card)) == "cpu"
    assert gpu_chain.doubt(environment_of(with_card)).startswith(f"The driver shows 1 GPU(s) but {title} sees none: ")
    with_card[framework]["built_for_cuda"] = True
    hide(with_card, "-1")
    assert devices.choose_device("auto", environment_of(with_card)) == "cpu"


def test_of_two_interpreters_the_one_that_lists_no_gpu_has_rows_that_say_why(with_card):
    with_card["machine"]["packages"] = {"pytest-benchmark": "5.3.1"}
    seeing = copy.deepcopy(with_card)
    seeing["tensorflow"]["gpus"] = [GPU]
    with_card["machine"]["nvidia"]["libraries"] = places("libcusolver.so.11")
    both = {"new": environment_of(seeing), "old": environment_of(with_card)}
    sources = {name: Source(name=name, python=f"/{name}/python", checkout=Path("/checkout")) for name in both}
    assert devices.choose_device("auto", discovery.deciding(both)) == "gpu:0"
    cases = [PlannedCase(config=StepConfig(device="gpu:0"), suites=("throughput",), source=name) for name in both]
    probed = discovery.Probed(environments=both, effects={}, missing={})
    states = discovery.make_states(cases, sources, probed)
    assert [(state.status, state.note) for state in states] == [
        (None, ""),
        ("unsupported", f"TensorFlow in /old/python sees no gpu:0: {NOT_LOADED}"),
    ]


def test_where_tensorflow_lists_a_gpu_there_is_neither_reason_nor_doubt(with_card):
    with_card["tensorflow"]["gpus"] = [GPU]
    assert devices.choose_device("auto", environment_of(with_card)) == "gpu:0"
    assert gpu_chain.why_no_gpu(environment_of(with_card)) is None
    assert gpu_chain.doubt(environment_of(with_card)) == ""


def test_without_a_driver_one_line_has_the_reason_and_what_is_done_instead(environment):
    environment["tensorflow"]["built_for_cuda"] = True
    line = "no NVIDIA driver answers (NVML Shared Library Not Found); the CPU is measured instead"
    assert gpu_chain.as_lines(environment_of(environment)) == [("no GPU", line)]
    assert devices.choose_device("auto", environment_of(environment)) == "cpu"
    assert gpu_chain.doubt(environment_of(environment)) == ""


def test_a_driver_without_nvml_is_no_machine_without_a_driver(environment):
    environment["tensorflow"]["built_for_cuda"] = True
    environment["machine"]["nvidia"]["libraries"] = places()
    doubt = gpu_chain.doubt(environment_of(environment))
    assert doubt.startswith(
        "A library of NVIDIA's driver is there but TensorFlow sees no GPU: no NVIDIA driver answers ("
    )


def test_each_link_of_the_chain_has_a_line(with_card):
    with_card["machine"]["nvidia"]["libraries"] = places("libcusolver.so.11")
    lines = gpu_chain.as_lines(environment_of(with_card))
    assert lines[0] == ("NVIDIA driver", "580.95.05, can do CUDA 13.0")
    assert ("libcudnn.so.9", "/lib/libcudnn.so.9") in lines
    assert ("libcusolver.so.11", f"not found: {LACKING}") in lines
    assert lines[-1] == ("no GPU", f"{NOT_LOADED}; --device cpu measures the CPU")


def test_where_no_tensorflow_is_installed_the_chain_has_its_lines_all_the_same(with_card):
    with_card["tensorflow"] = None
    lines = gpu_chain.as_lines(environment_of(with_card))
    assert lines[0] == ("NVIDIA driver", "580.95.05, can do CUDA 13.0")
    assert "no GPU" not in dict(lines), "other frameworks may list it"
    hide(with_card, "-1")
    assert dict(gpu_chain.as_lines(environment_of(with_card)))["no GPU"].startswith(
        "CUDA_VISIBLE_DEVICES=-1 hides every GPU"
    )


def test_where_libraries_are_is_no_difference_between_machines(environment):
    other = {**environment, "machine": {**environment["machine"], "nvidia": {"libraries": places()}}}
    older = {**environment, "machine": {k: v for k, v in environment["machine"].items() if k != "nvidia"}}
    now, later, before = map(environment_of, (environment, other, older))
    assert differences(now, later) == differences(before, now) == []


@pytest.mark.parametrize(
    "nvidia",
    [
        "text",
        3,
        {"libraries": 3},
        {"libraries": [None]},
        {"libraries": [{}]},
        {"cuda_version": 11},
        {"cuda_version": "x"},
    ],
)
def test_a_chain_in_a_strangers_file_that_is_none_is_refused_by_its_field(with_card, nvidia):
    with_card["machine"]["nvidia"] = nvidia
    with pytest.raises(GnetError, match=r"^run\.json: field 'environment\.machine\.nvidia"):
        typed("run.json", with_card, Environment, "environment")


def test_the_driver_is_described_with_its_version_and_cudas(nvml):
    assert msgspec.to_builtins(gpu_chain.describe()) == {
        "driver": "580.95.05",
        "cuda_version": [13, 0],
        "nvml_error": None,
        "libraries": [],  # this TensorFlow is built for a CPU
    }
    nvml.set(fail="nvmlSystemGetCudaDriverVersion_v2,nvmlSystemGetDriverVersion")
    nvidia = gpu_chain.describe()
    assert (nvidia.driver, nvidia.cuda_version, nvidia.nvml_error) == (None, None, None)


def test_a_driver_that_does_not_answer_has_an_error_in_nvmls_words(nvml):
    nvml.set(fail="nvmlInit")
    assert gpu_chain.describe().nvml_error == "Driver Not Loaded"


def test_info_prints_why_there_is_no_gpu(gnet, nvml):
    nvml.set(names="NVIDIA A")
    status, out, _ = gnet("info")
    assert status == 0
    assert re.search(r"^NVIDIA driver +580\.95\.05, can do CUDA 13\.0$", out, re.MULTILINE)
    assert "this TensorFlow is built without CUDA (the extra gpu in place of cpu brings one" in out
    info = json.loads(gnet("info", "--json")[1])
    assert info["why_no_gpu"].startswith("this TensorFlow is built without CUDA")
    assert info["machine"]["nvidia"]["driver"] == "580.95.05"


@pytest.mark.parametrize("command", ["bench", "profile", "train"])
def test_every_command_stops_where_a_gpu_should_be_listed(gnet, monkeypatch, with_card, tmp_path, command):
    with_card["machine"]["nvidia"]["libraries"] = places("libcusolver.so.11")
    monkeypatch.setattr(discovery, "probe", lambda _source, **_how: environment_of(with_card))
    monkeypatch.setattr(device, "environment", lambda *_: environment_of(with_card))
    out = tmp_path / "out"
    status, printed, errors = gnet(command, "--out", out)
    assert (status, printed) == (2, "")
    assert errors == f"gnet: device: TensorFlow sees no GPU: {NOT_LOADED}; --device cpu measures the CPU\n"
    assert not out.exists()


@pytest.mark.parametrize("command", ["bench", "profile", "train"])
def test_every_command_notes_that_gpus_are_hidden(gnet, monkeypatch, with_card, tmp_path, command):
    hide(with_card, "")
    monkeypatch.setattr(discovery, "probe", lambda _source, **_how: environment_of(with_card))
    monkeypatch.setattr(device, "environment", lambda *_: environment_of(with_card))
    # A precision that no CPU has ends each of them as soon as the device is chosen.
    _, _, errors = gnet(command, "--precision", "tf32", "--out", tmp_path / "out")
    why = "The driver shows 1 GPU(s) but TensorFlow sees none: CUDA_VISIBLE_DEVICES= hides every GPU."
    assert errors.splitlines()[0] == f"gnet: note: {why} The CPU is measured instead."
    assert "precision: 'tf32' cannot be done on cpu" in errors
