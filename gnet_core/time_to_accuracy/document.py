"""time_to_accuracy.json: what sessions came to, as types that refuse by field whatever does not fit together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pandas as pd
from msgspec import Meta

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import csv_text
from gnet_core.files.json_documents import CaseName, Count, Positive, read_json, typed
from gnet_core.files.migrations import read_config
from gnet_core.files.whole import write_whole
from gnet_core.machine.environment import Environment
from gnet_core.plan.request import TimeToAccuracyRequest
from gnet_core.time_to_accuracy.schedule import in_turns
from gnet_core.training.document import Fraction, Seconds
from gnet_core.training.ledger import WallTime
from gnet_core.training.recipe import Recipe
from gnet_core.training.session import Reached

DOCUMENT_FILE = "time_to_accuracy.json"
CSV_FILE = "sessions.csv"
SESSIONS_FOLDER = "sessions"

Status = Literal["waiting", "unfinished", "finished", "not-finite", "oom", "killed", "timeout", "failed"]
"""waiting: not begun; unfinished: under way or cut off, to be gone on with. The others are how a session ended."""
OPEN_STATUSES: tuple[Status, ...] = ("waiting", "unfinished")

_VARIED = ("execution", "precision")
_ROUNDING = 0.01  # seconds by which sums of the same figures may differ


class SessionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One session as far as it came."""

    case: CaseName
    seed: Count
    status: Status = "waiting"
    note: str = ""
    """Why it did not end well, in one line."""
    processes: Count = 0
    """Processes that trained it: more than one where it was gone on with."""
    test_accuracy: list[Fraction] = []
    """After each epoch."""
    steps: Count = 0
    """Those of the epochs that are done."""
    reached: Reached | None = None
    wall_time: WallTime | None = None
    wall_seconds: Seconds | None = None
    """Wall time by a clock of its own, to which the ledger has to sum."""
    mllog: str | None = None
    """Name of its file of MLPerf's log lines."""

    @property
    def name(self) -> str:
        return f"{self.case}-seed{self.seed}"

    @property
    def folder(self) -> str:
        """Its directory, from that of the document."""
        return f"{SESSIONS_FOLDER}/{self.name}"

    @property
    def final_accuracy(self) -> float | None:
        """Test accuracy at the end of the whole schedule; None where that was not trained to its end."""
        return self.test_accuracy[-1] if self.status == "finished" else None

    @property
    def best_accuracy(self) -> float | None:
        return max(self.test_accuracy, default=None)

    @property
    def was_resumed(self) -> bool:
        return self.processes > 1

    @property
    def ledger_gap(self) -> float | None:
        """Share of the wall time by which the ledger's sum differs from it."""
        if self.wall_time is None or not self.wall_seconds:
            return None
        return abs(self.wall_time.total - self.wall_seconds) / self.wall_seconds


class RecordedCase(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration under its name; its seed is that of no session."""

    case: CaseName
    config: dict[str, Any]

    @property
    def step(self) -> StepConfig:
        return read_config(self.config)


class DataSize(msgspec.Struct, frozen=True, kw_only=True):
    """The data set, as far as a page tells of it and a bench that goes on has to find it unchanged."""

    classes: Positive
    train_images: Positive
    test_images: Positive
    fingerprint: str


class TimeToAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """time_to_accuracy.json."""

    format_version: Literal[1]
    created: str
    options: dict[str, Any]
    """Those of the command line that decide what is measured."""
    environment: Environment
    code: str
    """Digest of the files that decide what is trained."""
    target: Annotated[float, Meta(gt=0, le=1, description="a fraction above 0 and up to 1")]
    recipe: Recipe
    data_set: DataSize
    cases: Annotated[list[RecordedCase], Meta(min_length=1, description="a list of one configuration or more")]
    sessions: list[SessionEntry]
    """In the order in which they run."""

    @property
    def request(self) -> TimeToAccuracyRequest:
        return TimeToAccuracyRequest.from_dict("options", self.options)

    @property
    def complete(self) -> bool:
        return not any(session.status in OPEN_STATUSES for session in self.sessions)

    def of_case(self, case: str) -> list[SessionEntry]:
        return [session for session in self.sessions if session.case == case]

    def with_session(self, session: SessionEntry) -> TimeToAccuracy:
        """The document with a session in the place of the one of its name."""
        sessions = [session if other.name == session.name else other for other in self.sessions]
        return msgspec.structs.replace(self, sessions=sessions)


def is_time_to_accuracy(directory: Path) -> bool:
    return (directory / DOCUMENT_FILE).exists()


def read(directory: Path) -> TimeToAccuracy:
    """The document in a directory. Raises GnetError naming the file and what is missing, wrong or does not fit."""
    path = directory / DOCUMENT_FILE
    plain, _digest = read_json(path, directory, strict=True)
    document = typed(str(path), plain, TimeToAccuracy)
    try:
        problem = next(_misfits(document), None)
    except GnetError as error:
        raise GnetError(f"{path}: {error}") from None
    if problem:
        raise GnetError(f"{path}: {problem}")
    return document


def write(directory: Path, document: TimeToAccuracy) -> None:
    """Write time_to_accuracy.json and sessions.csv. Raises OSError."""
    write_whole(directory / DOCUMENT_FILE, json.dumps(msgspec.to_builtins(document), indent=1) + "\n")
    write_whole(directory / CSV_FILE, csv_text.to_csv(_table(document)))


def _table(document: TimeToAccuracy) -> pd.DataFrame:
    """A row a session."""
    configs = {case.case: case.step for case in document.cases}
    rows = []
    for order, session in enumerate(document.sessions, start=1):
        reached, config = session.reached, configs[session.case]
        wall_time = dataclasses.asdict(session.wall_time) if session.wall_time else {}
        rows.append(
            {
                "order": order,
                "case": session.case,
                **{field: getattr(config, field) for field in _VARIED},
                "seed": session.seed,
                "status": session.status,
                "note": session.note,
                "processes": session.processes,
                "epochs": len(session.test_accuracy),
                "steps": session.steps,
                "final_accuracy": session.final_accuracy,
                "best_accuracy": session.best_accuracy,
                "reached_epoch": reached and reached.epoch,
                "reached_step": reached and reached.step,
                "reached_seconds": reached and reached.seconds,
                "reached_setup_seconds": reached and reached.setup_seconds,
                "wall_seconds": session.wall_seconds,
                **{f"{name}_seconds": wall_time.get(name) for name in dataclasses.asdict(WallTime())},
            }
        )
    return pd.DataFrame(rows).astype(object)


def _misfits(document: TimeToAccuracy) -> Iterator[str]:
    """What does not fit together, a sentence each. Raises GnetError for options and configurations that are none."""
    request, names = document.request, [case.case for case in document.cases]
    first = document.cases[0].step
    for number, case in enumerate(document.cases):
        config = case.step
        if case.case != config.name or names.count(case.case) > 1:
            yield f"field 'cases[{number}]' is not of a configuration of its own of that name"
        if config.as_published:
            yield f"field 'cases[{number}]' is as published, which cannot learn"
        if other := [name for name in config.differences(first) if name not in _VARIED]:
            yield f"field 'cases[{number}].config' differs from the first in {other[0]}; only {_either()} may"
    if not request.seeds >= 1 or not request.epochs >= 1 or not 0 < request.margin < 100:
        yield "field 'options' has a number of seeds or epochs, or a margin, that no command line could give"
    seeds = range(request.seed, request.seed + request.seeds)
    if [(session.case, session.seed) for session in document.sessions] != in_turns(names, seeds):
        yield f"field 'sessions' is not each of {len(names)} configurations with each of {len(seeds)} seeds in turns"
    for number, session in enumerate(document.sessions):
        if problem := _misfit(session, document, request):
            yield f"field 'sessions[{number}]' {problem}"


def _either() -> str:
    return " and ".join(_VARIED)


def _misfit(session: SessionEntry, document: TimeToAccuracy, request: TimeToAccuracyRequest) -> str:
    """How a session contradicts itself or the others; empty where it does not."""
    epochs, reached = len(session.test_accuracy), session.reached
    good_enough = [epoch for epoch, value in enumerate(session.test_accuracy, 1) if value >= document.target]
    if epochs > request.epochs or (epochs and session.steps % epochs) or (session.steps > 0) != (epochs > 0):
        return f"has {epochs} epochs of {request.epochs} and {session.steps} steps, which do not fit"
    if session.status == "finished":
        whole = epochs == request.epochs or (request.stop_at_target and good_enough[:1] == [epochs])
        if not whole or session.wall_time is None or session.wall_seconds is None:
            return f"is finished after {epochs} epochs of {request.epochs}, or has no wall time"
    if (session.status == "waiting") != (session.processes == 0) or (epochs and session.status == "waiting"):
        return f"is {session.status} after {session.processes} processes"
    if reached is None:
        return f"reached the target after epoch {good_enough[0]} and does not say when" if good_enough else ""
    if not epochs or reached.epoch not in good_enough[:1] or reached.step * epochs != reached.epoch * session.steps:
        return f"did not reach the target after epoch {reached.epoch}, step {reached.step}"
    if session.wall_time is None or not reached.seconds > 0 or (reached.setup_seconds or 0.0) > reached.seconds:
        return "has no wall time, or one in which its target was not reached"
    if reached.seconds > session.wall_time.total + _ROUNDING:
        return f"reached the target after {reached.seconds:.1f} s of {session.wall_time.total:.1f} s of wall time"
    return ""
