"""A run with a case of every kind: measured, from another source, failed, unsupported, out of memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gnet_core.config import StepConfig
from gnet_core.export.cases import Export
from gnet_core.results.records import load_run
from tests.conftest import RunDirectory
from tests.stored import processes

GRAPH = "graph-float32-b8-i224-synthetic-cpu"
XLA = "xla-float32-b8-i224-synthetic-cpu"
OLD = f"{GRAPH}@old"
MEASURED = (GRAPH, XLA, OLD)
FAILED = "eager-float32-b8-i224-synthetic-cpu"
UNSUPPORTED = "graph-tf32-b8-i224-synthetic-cpu"
OUT_OF_MEMORY = "graph-float32-b64-i224-synthetic-cpu"
UNMEASURED = (FAILED, UNSUPPORTED, OUT_OF_MEMORY)

STEPS, IMAGES_PER_SECOND = {GRAPH: 1.0, XLA: 0.5, OLD: 2.0}, {GRAPH: 8.0, XLA: 16.0, OLD: 4.0}


@pytest.fixture
def directory(run_directory: RunDirectory) -> RunDirectory:
    old: dict[str, Any] = copy.deepcopy(run_directory.document["environment"])
    old["tensorflow"]["version"] = "2.19.1"
    old["machine"]["commit"] = "f" * 40
    run_directory.document["environments"]["old"] = old
    run_directory.add(StepConfig(batch_size=8), *processes(STEPS[GRAPH]), peak_memory_bytes=2**30)
    run_directory.add(StepConfig(batch_size=8, execution="xla"), *processes(STEPS[XLA]))
    run_directory.add(StepConfig(batch_size=8), *processes(STEPS[OLD]), source="old")
    run_directory.add(StepConfig(batch_size=8, execution="eager"), status="failed", note="it crashed")
    run_directory.add(StepConfig(batch_size=8, precision="tf32"), status="unsupported", note="there is none")
    run_directory.add(StepConfig(batch_size=64), status="oom", note="8 GiB were not enough")
    return run_directory


@pytest.fixture
def export(directory: RunDirectory) -> Export:
    return Export.of(load_run(directory.path))
