"""A stored time_to_accuracy.json, made of figures instead of sessions."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

from gnet_core.config import StepConfig
from gnet_core.plan.request import TimeToAccuracyRequest
from gnet_core.time_to_accuracy.document import TimeToAccuracy, read
from gnet_core.time_to_accuracy.schedule import in_turns
from gnet_core.training.ledger import WallTime
from gnet_core.training.recipe import RECIPE
from tests.conftest import MACHINE, TENSORFLOW

EPOCHS, STEPS = 4, 10


def accuracies(reached: int | None, end: float = 0.99) -> list[float]:
    """Of each epoch, of which the first good enough is as named; the last has the accuracy named."""
    if reached is None:
        return [0.5, 0.6, 0.7, 0.8]
    return [0.5 if epoch < reached else end for epoch in range(1, EPOCHS + 1)]


def session(case: str, seed: int, seconds: float | None, reached: int | None = 3, **changes: Any) -> dict[str, Any]:
    """A finished session that reached its target after so many seconds and epochs, or not at all."""
    there = None
    if seconds is not None and reached is not None:
        there = {"epoch": reached, "step": reached * STEPS, "seconds": seconds, "setup_seconds": 5.0}
    whole = (seconds or 20.0) * 1.5
    return {
        "case": case,
        "seed": seed,
        "status": "finished",
        "note": "",
        "processes": 1,
        "test_accuracy": accuracies(reached if there else None),
        "steps": EPOCHS * STEPS,
        "reached": there,
        "wall_time": dataclasses.asdict(WallTime(imports=3.0, compile=2.0, train=whole - 5.0)),
        "wall_seconds": whole,
        "mllog": None,
    } | changes


WAITING: dict[str, Any] = {
    "status": "waiting",
    "processes": 0,
    "test_accuracy": [],
    "steps": 0,
    "reached": None,
    "wall_time": None,
    "wall_seconds": None,
}
LOST: dict[str, Any] = WAITING | {"status": "oom", "processes": 1, "note": "it ran out of memory"}


def configs(*precisions: str) -> list[StepConfig]:
    return [
        StepConfig(data="digits", classes=10, image_size=72, precision=precision)  # type: ignore[arg-type]
        for precision in precisions
    ]


def stored(seconds: dict[str, list[float | None]], **changes: Any) -> dict[str, Any]:
    """A document with a session for each time to the target, by precision."""
    cases = configs(*seconds)
    seeds = len(next(iter(seconds.values())))
    times = {config.name: values for config, values in zip(cases, seconds.values(), strict=True)}
    request = TimeToAccuracyRequest(epochs=EPOCHS, seeds=seeds, precision=tuple(seconds))  # type: ignore[arg-type]
    turns = in_turns([config.name for config in cases], range(seeds))
    return {
        "format_version": 1,
        "created": "2026-11-26T12:00:00+00:00",
        "options": request.to_dict(),
        "environment": copy.deepcopy({"machine": MACHINE, "tensorflow": TENSORFLOW}),
        "code": "0123",
        "target": 0.985,
        "recipe": dataclasses.asdict(RECIPE),
        "data_set": {"classes": 10, "train_images": 320, "test_images": 1000, "fingerprint": "abc"},
        "cases": [{"case": config.name, "config": config.to_dict()} for config in cases],
        "sessions": [session(case, seed, times[case][seed]) for case, seed in turns],
    } | changes


def written(directory: Path, plain: dict[str, Any]) -> TimeToAccuracy:
    """The document as it is read from a directory."""
    (directory / "time_to_accuracy.json").write_text(json.dumps(plain))
    return read(directory)
