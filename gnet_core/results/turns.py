"""turns.csv: a line a turn, and what the machine was like during it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core.config import GnetError
from gnet_core.files import bounded, csv_text
from gnet_core.files.whole import write_whole
from gnet_core.plan.schedule import WorkerName

TURNS_FILE = "turns.csv"

_TEXT = ("worker", "disturbed")
_LARGEST = {"cohort": 1e6, "steps": 1e6, "waiting_cpu_share": 1e4, "gpu_energy_joules": 1e9}
"""What a column of numbers can hold. A turn takes minutes at most, and a GPU a kilowatt."""

_LATER_TEXT = ("gpu_throttle_reasons",)
_LATER_NUMBERS = {
    "gpu_samples": (0, 1e6),
    "gpu_sm_clock_hz": (1e6, 1e10),
    "gpu_sm_clock_change": (-1, 1e4),
    "gpu_power_watts": (0.1, 1e5),
    "gpu_power_limit_watts": (0.1, 1e5),
    "gpu_temperature_celsius": (-50, 200),
    "gpu_power_cap_share": (0, 1),
}
"""Likewise, from the least to the most, of columns that a table may lack, as those of an older gnet do."""


def write_turns(directory: Path, turns: Iterable[Mapping[str, Any]]) -> None:
    """Write a run's turns, where there are any: cohort, worker, steps and what conditions.Conditions tells."""
    table = pd.DataFrame(list(turns))
    if not table.empty:
        write_whole(directory / TURNS_FILE, csv_text.to_csv(table))


def read_turns(directory: Path, run: str) -> pd.DataFrame:
    """The turns of the run of that identity; empty where there are none. Raises GnetError for a table that cannot be
    read or lacks a column.

    A table without identities, as format version 3 has it, is the run's. What is no number, or none that can have been
    measured, is missing in the columns that figures rest on; the others are text.
    """
    path = directory / TURNS_FILE
    if not path.exists() and not path.is_symlink():
        return pd.DataFrame()
    data = bounded.read_bytes(path, directory)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pandas warns of lines that are longer than the first
            turns = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, index_col=False)
    except pd.errors.EmptyDataError:  # every worker was lost before its first turn
        return pd.DataFrame()
    except (ValueError, OverflowError, Warning) as error:  # pandas' own are ValueErrors
        told = " ".join(str(error).split())
        raise GnetError(f"{path}: it cannot be read: {told:.300}") from error
    if "run" in turns:
        turns = turns[turns["run"] == run].reset_index(drop=True)
    if missing := [column for column in (*_TEXT, *_LARGEST) if column not in turns]:
        raise GnetError(f"{path}: column {missing[0]!r} is missing; gnet bench wrote none like it")
    limits = {column: (0.0, largest) for column, largest in _LARGEST.items()} | _LATER_NUMBERS
    for column in turns.columns.intersection(list(limits)):
        numbers = pd.to_numeric(turns[column], errors="coerce")
        turns[column] = numbers.where(numbers.between(*limits[column]))
    for column in turns.columns.intersection([*_TEXT, *_LATER_TEXT]):
        turns[column] = [csv_text.restored(cell) or None for cell in turns[column]]
    return turns


def without_turns(workers: Iterable[WorkerName], turns: pd.DataFrame) -> list[WorkerName]:
    """Those of the workers of whom a run's turns tell nothing: another, or an older, table has taken its place."""
    told = set() if turns.empty else set(turns["worker"])
    return [worker for worker in workers if str(worker) not in told]
