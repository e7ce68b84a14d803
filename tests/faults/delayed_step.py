"""A pytest plugin for workers: sleeps after each train step, so that it is known by how much one source is slower.

`python -m tests.faults.delayed_step FOLDER SECONDS` makes an interpreter there whose workers load it, for
`gnet bench --python plain=… --python delayed=FOLDER/python`. The rows of its runs say that they were delayed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from gnet_core.frameworks import base

SECONDS_VARIABLE = "GNET_DELAY_SECONDS"


def pytest_configure() -> None:
    load = base.load
    base.load = lambda framework: types.SimpleNamespace(Case=_delayed(load(framework).Case))


@pytest.fixture(autouse=True)
def _recorded(benchmark: Any) -> None:
    benchmark.extra_info["delay_seconds"] = _seconds()


def _seconds() -> float:
    return float(os.environ[SECONDS_VARIABLE])


def _delayed(case: Any) -> Any:
    class Delayed(case):  # type: ignore[misc]
        def run(self, steps: int) -> Any:
            for _ in range(steps):
                loss = super().run(1)
                time.sleep(_seconds())
            return loss

    return Delayed


def make_interpreter(folder: Path, seconds: float) -> Path:
    """A Python like this one, whose workers sleep that long after each step."""
    site, python = folder / "site", folder / "python"
    site.mkdir(parents=True)
    shutil.copy2(__file__, site)
    variables = f"PYTHONPATH={shlex.quote(str(site))} PYTEST_PLUGINS={Path(__file__).stem} {SECONDS_VARIABLE}={seconds}"
    python.write_text(f'#!/bin/sh\n{variables} exec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return python


if __name__ == "__main__":
    print(make_interpreter(Path(sys.argv[1]).absolute(), float(sys.argv[2])))
