"""A session in MLPerf's log format, written line by line while it goes on. It is no submission, and its values say so.

The form and the keys are those of MLCommons' mlperf_logging (mllog/constants.py). MLPerf's result is the time from
run_start to run_stop, which stands where the target was reached; run_start comes once the network is built, and its
rules let what is compiled without training data go before it. Here run_start follows the building, so that tracing and
compiling lie within the run. The ledger in training.json shows them apart and begins with the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from gnet_core.config import GnetError, StepConfig
from gnet_core.training.recipe import Recipe

Event = Literal["POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END"]

PREFIX = b":::MLLOG "
BENCHMARK = "gnet_googlenet_2"
NO_SUBMISSION = "none"
"""What is said of division, organisation and status, which only a submission has."""

_TAIL_BYTES = 2**16
"""Length of the end of a log that is read. A line has a few hundred bytes."""


class EventLog:
    """Appends events to a file; without a file they go nowhere. Times never fall, also where the clock is set back."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        """Raises GnetError for what is no regular file or cannot be read."""
        self._path, self._clock = path, clock
        self._last_ms, self._cut, self.begun = 0, False, False
        if path is not None and os.path.lexists(path):
            self._go_on(path)

    def point(self, key: str, value: object = None, namespace: str = "", **metadata: object) -> None:
        self._write("POINT_IN_TIME", key, value, namespace, metadata)

    def begin(self, key: str, **metadata: object) -> None:
        self._write("INTERVAL_START", key, None, "", metadata)

    def end(self, key: str, **metadata: object) -> None:
        self._write("INTERVAL_END", key, None, "", metadata)

    def close(self) -> None:
        """Write nothing from now on."""
        self._path = None

    def _go_on(self, path: Path) -> None:
        """Find where a log ended that an earlier process wrote; its last line may have been cut off."""
        try:
            if not path.is_file():
                raise GnetError(f"mllog: {str(path)!r} is no regular file; name another")
            with path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read().split(b"\n")
        except OSError as error:
            raise GnetError(f"mllog: {str(path)!r} cannot be read ({error.strerror}); name another") from error
        self._cut = bool(lines[-1])
        self.begun = any(line.startswith(PREFIX) for line in lines)
        for line in lines:
            try:
                self._last_ms = max(self._last_ms, msgspec.json.decode(line.removeprefix(PREFIX), type=_Time).time_ms)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # other programs may print between the lines of a log

    def _write(self, event: Event, key: str, value: object, namespace: str, metadata: dict[str, object]) -> None:
        if self._path is None:
            return
        self._last_ms = max(self._last_ms, round(1000 * self._clock()))
        caller = sys._getframe(2)
        where = {"file": Path(caller.f_code.co_filename).name, "lineno": caller.f_lineno}
        line: dict[str, Any] = {"namespace": namespace, "time_ms": self._last_ms, "event_type": event, "key": key}
        text = json.dumps({**line, "value": value, "metadata": {**where, **metadata}})
        try:
            with self._path.open("ab") as file:
                file.write(b"\n" * self._cut + PREFIX + text.encode() + b"\n")
        except OSError as error:
            raise GnetError(f"mllog: {str(self._path)!r} cannot be written ({error.strerror})") from error
        self._cut = False


class _Time(msgspec.Struct):
    """A line of a log as far as it is read back."""

    time_ms: int


def write_heading(log: EventLog, config: StepConfig) -> None:
    """What it is a log of, and that it is no submission."""
    log.point("submission_benchmark", BENCHMARK)
    for key in ("submission_division", "submission_org", "submission_status"):
        log.point(key, NO_SUBMISSION)
    log.point("submission_platform", config.device)


def write_hyperparameters(
    log: EventLog, config: StepConfig, recipe: Recipe, epochs: int, images: tuple[int, int]
) -> None:
    """How it is trained; `images` are those of training in an epoch and those of testing."""
    log.point("seed", config.seed)
    log.point("global_batch_size", config.batch_size)
    log.point("gradient_accumulation_steps", 1)
    log.point("train_samples", images[0])
    log.point("eval_samples", images[1])
    log.point("opt_name", "adamw" if recipe.weight_decay else "adam")
    log.point("opt_base_learning_rate", config.learning_rate)
    log.point("opt_learning_rate_warmup_epochs", recipe.warmup * epochs)
    log.point("opt_weight_decay", recipe.weight_decay)
