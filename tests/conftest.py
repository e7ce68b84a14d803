"""What several test modules build on."""

import copy
import ctypes
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pynvml
import pytest

from gnet_core.cli import main
from gnet_core.config import StepConfig
from gnet_core.files import migrations
from gnet_core.files.json_documents import typed
from gnet_core.files.whole import RAW_FORMAT_VERSION, RUN_FORMAT_VERSION
from gnet_core.machine.environment import Environment
from gnet_core.plan.suites import PlannedCase
from gnet_core.results.run_document import RunDocument
from gnet_core.results.turns import TURNS_FILE
from tests import stand_ins

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

MACHINE: dict[str, Any] = {
    "processor": "Test Processor",
    "processor_family": [1, 2, 3],
    "processor_flags": ["avx2", "avx512_bf16"],
    "hypervisor": False,
    "cores": 4,
    "threads": 8,
    "usable_threads": 8,
    "cpu_quota_cores": None,
    "frequency_hz": 3e9,
    "memory_bytes": 16 * 2**30,
    "available_memory_bytes": 12 * 2**30,
    "load_1_minute": 0.1,
    "gpus": [],
    "nvidia": {
        "driver": None,
        "cuda_version": None,
        "nvml_error": "NVML Shared Library Not Found",
        "libraries": [],
    },
    "system": "Linux",
    "python": "3.11.0",
    "packages": {"gnet": "0.1.0", "keras": "3.15.1"},
    "environment_variables": {},
    "settings_left_out": {},
    "commit": "0123456789abcdef",
}

TENSORFLOW: dict[str, Any] = {
    "version": "2.21.0",
    "keras": "3.15.1",
    "git": "v2.21.0",
    "compiler": "clang",
    "built_for_cuda": False,
    "cuda": None,
    "cudnn": None,
    "gpus": [],
    "intra_op_threads": 0,
    "inter_op_threads": 0,
}

TORCH_SECTION: dict[str, Any] = {
    "version": "2.13.0+cpu",
    "built_for_cuda": False,
    "cuda": None,
    "cudnn": None,
    "gpus": [],
    "why_no_gpus": "",
    "threads": 8,
    "triton": True,
    "c_compiler": "/usr/bin/gcc",
    "cpp_compiler": "/usr/bin/g++",
}

JAX_SECTION: dict[str, Any] = {
    "version": "0.10.2",
    "built_for_cuda": False,
    "cuda": None,
    "cudnn": None,
    "gpus": [],
    "why_no_gpus": "Unknown backend: 'gpu' requested",
}

SUITES = [
    {"name": "throughput", "question": "How many?", "varies": None, "base": None},
    {"name": "execution", "question": "What does XLA give?", "varies": "execution", "base": "graph"},
    {"name": "precision", "question": "What does bfloat16 give?", "varies": "precision", "base": "float32"},
    {"name": "batch-size", "question": "How does it scale?", "varies": "batch_size", "base": None},
    {"name": "parts", "question": "What takes how much?", "varies": "part", "base": "train"},
    {"name": "auxiliary", "question": "What do they cost?", "varies": "aux_weight", "base": 0.3},
]

Case = TypeVar("Case")

WITHOUT_PLUGINS = ("-p", "no:hypothesispytest", "-p", "no:xdist")
"""For the workers of a run in a test: to load these, which it has no use for, is half of what a worker takes."""

CREATED = "2026-01-02T03:04:05+00:00"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults", choices=("slice", "all"), default="slice", help="how much of the fault campaign to run"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "campaign: slow and run with --faults all alone; a fast one like it always runs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.faults == "all":
        return
    left_out = [item for item in items if item.get_closest_marker("campaign")]
    items[:] = [item for item in items if not item.get_closest_marker("campaign")]
    config.hook.pytest_deselected(items=left_out)


class Faults:
    """How much of the fault campaign is run, and how much of it was."""

    def __init__(self, extent: str) -> None:
        self.whole = extent == "all"
        self.injected: Counter[str] = Counter()

    def slice_of(self, cases: Sequence[Case], size: int) -> list[Case]:
        """All of them in the whole campaign, else `size` that are drawn alike each time."""
        return list(cases) if self.whole else self.sample(cases, size, size)

    def sample(self, cases: Sequence[Case], size: int, whole: int) -> list[Case]:
        """`size` of them, and `whole` in the whole campaign, drawn alike each time."""
        wanted = whole if self.whole else size
        return random.Random(wanted).sample(cases, min(wanted, len(cases)))

    def count(self, kind: str) -> None:
        self.injected[kind] += 1


@pytest.fixture(scope="session")
def faults(request: pytest.FixtureRequest) -> Iterator[Faults]:
    """Tells its figures at the end of the session."""
    counted = Faults(request.config.option.faults)
    yield counted
    if capture := request.config.pluginmanager.getplugin("capturemanager"):
        with capture.global_and_fixture_disabled():
            told = ", ".join(f"{number} {kind}" for kind, number in sorted(counted.injected.items()))
            print(f"\nfaults injected: {told}")


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for NVML, alone in its folder."""
    return stand_ins.build(stand_ins.NVML, tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> stand_ins.Nvml:
    """The stand-in for NVML in place of the driver's, for this process and for those that it starts."""
    driver = stand_ins.Nvml(nvml_library, tmp_path / "nvml.settings")
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GNET_STUB_FILE", str(driver.file))
    found_first = [str(nvml_library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join(found_first))
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(nvml_library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return driver


@pytest.fixture
def environment() -> dict[str, Any]:
    """A machine and a TensorFlow as `gnet info --json` tells them, to be changed freely."""
    return copy.deepcopy({"machine": MACHINE, "tensorflow": TENSORFLOW})


def environment_of(plain: dict[str, Any]) -> Environment:
    """An environment as it is read."""
    return typed("environment", plain, Environment)


def raw_document(config: StepConfig, block_seconds: list[float], **extra: Any) -> dict[str, Any]:
    """A worker's raw file: blocks of two steps, and the given extra_info over a plain one."""
    info = {
        "format_version": RAW_FORMAT_VERSION,
        "run": CREATED,
        "case": config.name,
        "config": config.to_dict(),
        "block_steps": 2,
        "timed_blocks": len(block_seconds),
        "voided_blocks": [],
        "resumed_step_seconds": [],
        "single_step_seconds": [0.5, 0.6, 0.7],
        "phase_seconds": {"import": 4.0, "build": 2.0, "trace": 7.0, "first_call": 10.0, "warmup": 1.0},
        "warmup_step_seconds": [0.5, 0.5],
        "traces": 1,
        "skipped_steps": 0,
        "steps": 20,
        "losses_without_dropout": [[0, 4.0], [1, 3.0], [2, 2.0]],
        "loss_first": 4.0,
        "loss_last": 1.0,
        "peak_memory_bytes": 2**30,
        "memory_source": "peak resident memory of the process",
        "flop_per_image": 10e9,
        "low_precision_share": 0.9 if config.precision.startswith("mixed_") else 0.0,
    }
    return {"benchmarks": [{"stats": {"data": block_seconds}, "extra_info": info | extra}]}


def run_document(document: dict[str, Any]) -> RunDocument:
    """A run.json as it is read."""
    return typed("run.json", migrations.current_run(document), RunDocument)


class RunDirectory:
    """A run directory as the runner leaves it, made of stored figures instead of measurements."""

    def __init__(self, path: Path, environment: dict[str, Any]) -> None:
        self.path = path
        (path / "raw").mkdir(parents=True)
        self.document: dict[str, Any] = {
            "format_version": RUN_FORMAT_VERSION,
            "created": CREATED,
            "options": {"suites": [], "layers": "fused", "python": [], "against": None, "aa": False},
            "preset": "quick",
            "device": "cpu",
            "seed": 0,
            "replicates": 1,
            "memory_bytes": 2**33,
            "environment": environment,
            "environments": {"": environment},
            "suites": copy.deepcopy(SUITES),
            "complete": True,
            "cohorts": [],
            "cases": [],
        }
        self._together: dict[int, dict[str, Any]] = {}
        """The cohort of each replicate number."""
        self._turns: list[dict[str, Any]] = []
        self._processes = 0

    def add(
        self,
        config: StepConfig,
        *processes: list[float],
        status: str | None = "ok",
        note: str = "",
        suites: tuple[str, ...] = ("throughput",),
        source: str = "",
        sequential: bool = False,
        disturbed: int = 0,
        waiting_cpu_share: float = 0.0,
        gpu: Callable[[int], dict[str, Any]] = lambda _number: {},
        **extra: Any,
    ) -> None:
        """A case with the block seconds of each of its processes, of whose turns the first few were disturbed; `gpu`
        has what each turn by number tells of one.

        Processes of one replicate number take turns in one cohort, whatever their case, unless they are sequential.
        """
        name, raw = PlannedCase(config=config, suites=(), source=source).name, []
        extra = {"run": self.document.get("run", CREATED), **extra}
        for replicate, block_seconds in enumerate(processes, start=1):
            stem = f"{name}.r{replicate}"
            raw.append(f"raw/{stem}.json")
            self._processes += 1
            document = raw_document(config, block_seconds, **extra)
            document["datetime"] = f"process {self._processes}"
            (self.path / raw[-1]).write_text(json.dumps(document))
            self._cohort(None if sequential else replicate)["workers"].append(stem)
            for number in range(len(block_seconds)):
                turn = {"cohort": 1, "round": number + 1, "position": 1, "worker": stem, "steps": 2}
                turn |= {"waiting_cpu_share": waiting_cpu_share, "gpu_energy_joules": None} | gpu(number)
                self._turns.append(turn | {"disturbed": "the hypervisor took 9%" if number < disturbed else ""})
        case = {"case": name, "config": config.to_dict(), "source": source, "suites": list(suites)}
        self.document["cases"].append(case | {"status": status, "note": note, "raw": raw})
        self.write()

    def write(self) -> None:
        (self.path / "run.json").write_text(json.dumps(self.document))
        if self._turns:
            pd.DataFrame(self._turns).to_csv(self.path / TURNS_FILE, index=False)

    def spoil(self, raw: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change what the raw file of that name holds: its one benchmark is handed to `change`."""
        document = json.loads((self.path / raw).read_text())
        change(document["benchmarks"][0])
        (self.path / raw).write_text(json.dumps(document))

    def _cohort(self, replicate: int | None) -> dict[str, Any]:
        if replicate is not None and replicate in self._together:
            return self._together[replicate]
        cohort: dict[str, Any] = {"workers": [], "order": [], "complete": True}
        self.document["cohorts"].append(cohort)
        if replicate is not None:
            self._together[replicate] = cohort
        return cohort


@pytest.fixture
def run_directory(tmp_path: Path, environment: dict[str, Any]) -> RunDirectory:
    return RunDirectory(tmp_path / "run", environment)


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps what was found of a test's images out of the user's cache. All tests of a process may share it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def gnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Calls the command line in this process: exit status, stdout, stderr."""

    def call(*words: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["gnet", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return call
