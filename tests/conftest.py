"""What several test modules build on."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gnet_core.config import StepConfig

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

MACHINE = {
    "processor": "Test Processor",
    "processor_family": [1, 2, 3],
    "processor_flags": ["avx2", "avx512_bf16"],
    "hypervisor": False,
    "cores": 4,
    "threads": 8,
    "usable_threads": 8,
    "frequency_hz": 3e9,
    "memory_bytes": 16 * 2**30,
    "available_memory_bytes": 12 * 2**30,
    "load_1_minute": 0.1,
    "gpus": [],
    "system": "Linux",
    "python": "3.11.0",
    "packages": {"gnet": "0.1.0", "keras": "3.15.1"},
    "environment_variables": {},
    "commit": "0123456789abcdef",
}

TENSORFLOW = {
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

SUITES = [
    {"name": "throughput", "question": "How many?", "varies": None, "base": None},
    {"name": "execution", "question": "What does XLA give?", "varies": "execution", "base": "graph"},
    {"name": "batch-size", "question": "How does it scale?", "varies": "batch_size", "base": None},
]


@pytest.fixture
def environment() -> dict[str, Any]:
    """A machine and a TensorFlow as `gnet info --json` tells them, to be changed freely."""
    return copy.deepcopy({"machine": MACHINE, "tensorflow": TENSORFLOW})


def raw_document(config: StepConfig, block_seconds: list[float], **extra: Any) -> dict[str, Any]:
    """A worker's raw file: blocks of two steps, and the given extra_info over a plain one."""
    info = {
        "format_version": 1,
        "case": config.name,
        "config": config.to_dict(),
        "block_steps": 2,
        "phase_seconds": {"import": 4.0, "build": 2.0, "trace": 7.0, "first_call": 10.0, "warmup": 1.0},
        "warmup_step_seconds": [0.5, 0.5],
        "single_step_seconds": [0.5, 0.6, 0.7],
        "traces": 1,
        "retraces_while_timed": 0,
        "skipped_steps": 0,
        "steps": 20,
        "loss_first": 4.0,
        "loss_last": 1.0,
        "peak_memory_bytes": 2**30,
        "memory_source": "peak resident memory of the process",
    }
    return {"benchmarks": [{"stats": {"data": block_seconds}, "extra_info": info | extra}]}


class RunDirectory:
    """A run directory as the runner leaves it, made of stored figures instead of measurements."""

    def __init__(self, path: Path, environment: dict[str, Any]) -> None:
        self.path = path
        (path / "raw").mkdir(parents=True)
        self.document: dict[str, Any] = {
            "format_version": 1,
            "created": "2026-01-02T03:04:05+00:00",
            "preset": "quick",
            "device": "cpu",
            "seed": 0,
            "replicates": 1,
            "environment": environment,
            "suites": SUITES,
            "complete": True,
            "cases": [],
        }

    def add(
        self,
        config: StepConfig,
        *processes: list[float],
        status: str | None = "ok",
        note: str = "",
        suites: tuple[str, ...] = ("throughput",),
        **extra: Any,
    ) -> None:
        """A case with the block seconds of each of its processes."""
        raw = []
        for number, block_seconds in enumerate(processes, start=1):
            raw.append(f"raw/{config.name}.r{number}.json")
            (self.path / raw[-1]).write_text(json.dumps(raw_document(config, block_seconds, **extra)))
        case = {"case": config.name, "config": config.to_dict(), "suites": list(suites), "seconds": 1.0}
        self.document["cases"].append(case | {"status": status, "note": note, "raw": raw})
        self.write()

    def write(self) -> None:
        (self.path / "run.json").write_text(json.dumps(self.document))


@pytest.fixture
def run_directory(tmp_path: Path, environment: dict[str, Any]) -> RunDirectory:
    return RunDirectory(tmp_path / "run", environment)
