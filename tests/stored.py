"""A run of stored figures with every suite in it, a hostile one, and whole documents to compare reports with."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnet_core.config import Part, StepConfig
from gnet_core.report import run as report
from gnet_core.report.markdown import to_markdown
from gnet_core.report.summary import Summary
from gnet_core.report.terminal import to_terminal
from gnet_core.results.looks import look_at
from gnet_core.results.records import Run, load_run
from gnet_core.stats.sequential import FIRST_LOOK
from tests.conftest import RunDirectory

GOLDEN = Path(__file__).parent / "golden"

REMAKE = "GNET_GOLDEN"
"""In the environment it makes tests write their golden files anew. They fail all the same: look at what changed."""

TRACED = StepConfig(batch_size=16)


def markdown(run: Run) -> str:
    """A run's report.md without its pictures, which take most of the time."""
    return to_markdown(report.document(Summary(run), with_pictures=False))


def terminal(run: Run) -> str:
    """What is printed of a run."""
    return to_terminal(report.document(Summary(run), with_pictures=False))


def compare_with_golden(name: str, text: str) -> None:
    """Fail unless the text is that of tests/golden/`name`; in CSV, figures may differ in their last digits."""
    path = GOLDEN / name
    if os.environ.get(REMAKE):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"{path} is written anew; look at what changed, and run without {REMAKE}")
    kept = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        _compare_csv(text, kept)
    else:
        assert text == kept


def _compare_csv(text: str, kept: str) -> None:
    lines, kept_lines = (list(csv.reader(io.StringIO(each))) for each in (text, kept))
    assert [len(line) for line in lines] == [len(line) for line in kept_lines]
    for line, kept_line in zip(lines, kept_lines, strict=True):
        for heading, cell, kept_cell in zip(lines[0], line, kept_line, strict=True):
            assert _alike(cell, kept_cell), f"{line[0]}, {heading}: {cell} is not {kept_cell}"


def _alike(cell: str, kept: str) -> bool:
    try:
        return cell == kept or math.isclose(float(cell), float(kept), rel_tol=1e-9, abs_tol=1e-12)
    except ValueError:
        return False


def processes(step_seconds: float, scatter: float = 0.01, number: int = 3) -> list[list[float]]:
    """Block seconds of so many processes with five blocks of two steps each, whose mean is exactly that.

    Blocks scatter by that fraction and processes by half of it, in another order for other seconds.
    """
    turn = round(1000 * step_seconds)
    return [
        [
            2
            * step_seconds
            * (1 + scatter * ((process + turn) % number - (number - 1) / 2) / 2)
            * (1 + scatter * ((7 * process + 3 * block) % 5 - 2))
            for block in range(5)
        ]
        for process in range(number)
    ]


def store_every_suite(directory: RunDirectory) -> None:
    """A run as `gnet bench --preset full --replicates 3 --aa --profile` would leave it, of stored figures."""
    directory.document["suites"].append(
        {"name": "aa", "question": "How far is identical code from itself here?", "varies": "source", "base": ""}
    )
    directory.document["peaks"] = [{"float32": {"flop_per_second": 2e11, "operation": "conv 3×3"}}]
    directory.document |= {"preset": "full", "replicates": 3}
    directory.document["options"] |= {"preset": "full", "device": "auto", "replicates": 3, "aa": True, "seed": 0}
    usual = StepConfig(batch_size=16)
    work: dict[str, Any] = {"flop_per_image": 5e9}
    everywhere = ("throughput", "execution", "precision", "batch-size", "parts", "auxiliary")
    directory.add(usual, *processes(1.2), suites=everywhere, peak_memory_bytes=2 * 2**30, **work)
    for execution, seconds, first_call in (("xla", 1.75, 35.0), ("eager", 5.9, 9.0)):
        phases = {"import": 4.0, "build": 2.0, "trace": 8.0, "first_call": first_call, "warmup": 1.0}
        config = StepConfig(batch_size=16, execution=execution)  # type: ignore[arg-type]
        directory.add(config, *processes(seconds), suites=("execution",), phase_seconds=phases, **work)
    bfloat16 = StepConfig(batch_size=16, precision="mixed_bfloat16")
    directory.add(bfloat16, *processes(0.85), suites=("precision", "throughput"), **work)
    tf32 = StepConfig(batch_size=16, precision="tf32")
    directory.add(tf32, status="unsupported", note="there is none on a CPU", suites=("precision",))
    for batch_size, seconds, gibibytes in ((1, 0.14, 1), (4, 0.36, 1), (8, 0.62, 1), (32, 2.35, 4)):
        memory: dict[str, Any] = {"peak_memory_bytes": gibibytes * 2**30}
        directory.add(StepConfig(batch_size=batch_size), *processes(seconds), suites=("batch-size",), **memory, **work)
    directory.add(StepConfig(batch_size=64), status="oom", note="8 GiB were not enough", suites=("batch-size",))
    parts: dict[Part, tuple[float, float]] = {"gradients": (1.15, 5e9), "forward": (0.4, 1.6e9)}
    for part, (seconds, flop) in parts.items():
        config = StepConfig(batch_size=16, part=part)
        directory.add(config, *processes(seconds), suites=("parts",), flop_per_image=flop)
    directory.add(
        StepConfig(batch_size=16, aux_weight=0.0), *processes(1.18, scatter=0.03), suites=("auxiliary",), **work
    )
    directory.add(usual, *processes(1.2)[::-1], suites=("aa",), source="again", **work)


def store_profile(directory: RunDirectory, config: StepConfig = TRACED) -> None:
    """A trace of two steps, as tables."""
    operations = [("Conv2D", 6, 1.5), ("Mul", 20, 0.3), ("AddV2", 8, 0.2)]
    parts = [("stem", "forward", 0.4), ("stem", "backward", 0.9), ("optimizer", "neither", 0.7)]
    document = {
        "config": config.to_dict(),
        "created": directory.document["created"],
        "device": "cpu",
        "environment": directory.document["environment"],
        "trace": {"traced_step_seconds": [1.3, 1.4], "untraced_step_seconds": [1.2, 1.2], "warnings": []},
        "note": "Times of operations that ran at once add up.",
        "operations": [
            {"operation": name, "occurrences": count, "self_seconds": seconds, "share": seconds / 2}
            for name, count, seconds in operations
        ],
        "parts": [
            {"part": part, "direction": direction, "occurrences": 2, "self_seconds": seconds, "share": seconds / 2}
            for part, direction, seconds in parts
        ],
    }
    folder = directory.path / "traces" / config.name
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text(json.dumps(document))


HOSTILE = (
    '<script>alert(1)</script>"><img src=x onerror=alert(2)>|a|`b`\n# [x](http://evil.example)\n\n'
    "{{ 7*7 }}{% for x in y %}\x1b[2J\u202egnp.exe\u2066 javascript:alert(3) ../../x <!-- --> &lt; </title></style>"
)

ENDLESS = HOSTILE + "A" * 10_000_000


def store_hostile(directory: RunDirectory, text: str = HOSTILE) -> None:
    """A run in which every text that may be any text is this one."""
    document = directory.document
    document |= {"preset": text, "created": text, "profile_note": text}
    document["peaks"] = [{"error": text, text: {"flop_per_second": 1e12, "operation": text}}]
    machine = document["environment"]["machine"]
    machine |= {"processor": text, "system": text, "environment_variables": {text: text}, "commit": text}
    machine["packages"] = {"gnet": text, text: text}
    other: dict[str, Any] = {**document["environment"], "tensorflow": {**document["environment"]["tensorflow"]}}
    other["tensorflow"]["version"] = text
    document["environments"] = {text: document["environment"], f"../../{text}": other}
    document["options"] = {"against": text, "suites": [text], "python": [text], "data": f"../../{text}", "aa": True}
    document["suites"][0]["question"] = text
    document["suites"] += [
        {"name": name, "question": text, "varies": "source", "base": "b"} for name in (text, f"../../{text}")
    ]
    directory.add(StepConfig(data="../../" + text[:100]), *processes(1.0), source="b", run=text)
    directory.add(StepConfig(data="../../" + text[:100]), *processes(2.0), source="c", run=text, memory_source=text)
    for status in ("failed", text):
        config = StepConfig(batch_size=len(document["cases"]) + 1)
        directory.add(config, status=status, note=text, suites=("throughput", text))
    folder = directory.path / "traces" / "x"
    folder.mkdir(parents=True)
    profile = {"config": {"execution": text}, "operations": [{"operation": text}], "note": text}
    (folder / "profile.json").write_text(json.dumps(profile))


def store_endless(directory: RunDirectory) -> None:
    """A run whose names and notes do not end."""
    document = directory.document
    document["suites"][0]["question"] = ENDLESS
    document["suites"].append({"name": ENDLESS, "question": "?", "varies": None, "base": None})
    document["environment"]["machine"]["processor"] = ENDLESS
    document["environments"] = {}
    directory.add(StepConfig(batch_size=8), *processes(1.0), suites=(ENDLESS, "throughput"))
    directory.add(StepConfig(batch_size=16), status="failed", note=ENDLESS)


def store_looks(directory: RunDirectory, max_looks: int, **document: Any) -> None:
    """Make a run of one that was looked at after each cohort from the third on, and so until resolved."""
    cohorts = directory.document["cohorts"]
    directory.document |= {"until": "resolved", "max_looks": max_looks, "looks": [], **document}
    for finished in range(FIRST_LOOK, len(cohorts) + 1):
        for number, cohort in enumerate(cohorts):
            cohort["complete"] = number < finished
        directory.write()
        look = look_at(load_run(directory.path), max_looks)
        directory.document["looks"].append(msgspec.to_builtins(look))
    directory.write()
