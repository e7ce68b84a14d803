"""What more devices bring, as efficiencies with verdicts, in words, as a table and as a curve."""

from __future__ import annotations

from typing import Any

import pytest

from gnet_core.config import StepConfig
from gnet_core.report.summary import Summary
from gnet_core.results import records
from tests.conftest import RunDirectory
from tests.stored import markdown, processes, terminal
from tests.svg import words

WEAK: dict[str, Any] = {
    "name": "weak-scaling",
    "question": "What do more devices bring?",
    "view": "devices",
    "varies": "total_replicas",
    "base": 1,
    "base_fields": {},
    "costs": "",
    "scaling": "weak",
}
STRONG = WEAK | {"name": "strong-scaling", "scaling": "strong"}
COMMUNICATION = WEAK | {
    "name": "communication",
    "view": "comparison",
    "varies": "all_reduce",
    "base": True,
    "costs": "exchanging gradients",
}


def exchange(config: StepConfig) -> dict[str, Any]:
    return {
        "gradient_bytes": 24_000_000,
        "all_reduce_seconds": [0.011, 0.012, 0.013],
        "local_step_seconds": [0.98, *[1.02] * (config.total_replicas - 1)],
        "process_peak_bytes": [2**31] * config.workers,
    }


def add(directory: RunDirectory, seconds: float, *suites: str, **fields: Any) -> StepConfig:
    config = StepConfig(**fields)
    told = {"exchange": exchange(config)} if config.total_replicas > 1 and config.all_reduce else {}
    directory.add(config, *processes(seconds), suites=suites, **told)
    return config


@pytest.fixture
def stored(run_directory: RunDirectory) -> RunDirectory:
    """One device takes a step of 8 images in a second; two share it badly, and lose a tenth of it to communication."""
    run_directory.document["suites"] = [WEAK, STRONG, COMMUNICATION]
    add(run_directory, 1.0, "weak-scaling", "strong-scaling", batch_size=8)
    add(run_directory, 1.0, "weak-scaling", "communication", batch_size=16, replicas=2)
    add(run_directory, 0.9, "communication", batch_size=16, replicas=2, all_reduce=False)
    add(run_directory, 1.25, "weak-scaling", batch_size=32, replicas=2, workers=2)
    add(run_directory, 0.625, "strong-scaling", batch_size=8, workers=2)
    return run_directory


def test_x(stored):
    run = records.load_run(stored.path)
    print(terminal(run))
    s = Summary(run).sections
    from pathlib import Path
    for x in s:
        Path(f"/tmp/view/{x.suite.name}.svg").write_text(x.picture().svg)
    print(markdown(run)[:3000])
    assert 0
