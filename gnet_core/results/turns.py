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

TURNS_FILE = "turns.csv"

_TEXT = ("worker", "disturbed", "gpu_throttle_reasons")
_LIMITS = {
    "cohort": (0, 1e6),
    "steps": (0, 1e6),
    "waiting_cpu_share": (0, 1e4),
    "gpu_energy_joules": (0, 1e9),
    "gpu_samples": (0, 1e6),
    "gpu_sm_clock_hz": (1e6, 1e10),
    "gpu_sm_clock_change": (-1, 1e4),
    "gpu_power_watts": (0.1, 1e5),
    "gpu_power_limit_watts": (0.1, 1e5),
    "gpu_temperature_celsius": (-50, 200),
    "gpu_power_cap_share": (0, 1),
}
"""Least and most that a column of numbers can hold. A turn takes minutes at most, and a GPU a kilowatt."""
_REQUIRED = ("worker", "disturbed", "cohort", "steps", "waiting_cpu_share", "gpu_energy_joules")
"""Columns that the tables of every version have."""


def write_turns(directory: Path, turns: Iterable[Mapping[str, Any]]) -> None:
    """Write a run's turns, where there are any: cohort, worker, steps and the fields of conditions.Conditions."""
    table = pd.DataFrame(list(turns))
    if not table.empty:
        write_whole(directory / TURNS_FILE, csv_text.to_csv(table))


def read_turns(directory: Path, run: str) -> pd.DataFrame:
    """The turns of the run of that identity, empty where there are none; a table without identities is of version 3.

    Columns that figures rest on are numbers within their limits or missing, and the others text. Raises GnetError for a
    table that cannot be read or lacks a column.
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
        raise GnetError(f"{path}: it cannot be read: {' '.join(str(error).split()):.300}") from error
    if "run" in turns:
        turns = turns[turns["run"] == run].reset_index(drop=True)
    if missing := [column for column in _REQUIRED if column not in turns]:
        raise GnetError(f"{path}: column {missing[0]!r} is missing; gnet bench wrote none like it")
    for column in turns.columns.intersection(list(_LIMITS)):
        numbers = pd.to_numeric(turns[column], errors="coerce")
        turns[column] = numbers.where(numbers.between(*_LIMITS[column]))
    for column in turns.columns.intersection(list(_TEXT)):
        turns[column] = [csv_text.restored(cell) or None for cell in turns[column]]
    return turns


def without_turns(workers: Iterable[str], turns: pd.DataFrame) -> list[str]:
    """Those of the workers of whom a run's turns say nothing: another, or an older, table has taken its place."""
    measured = set() if turns.empty else set(turns["worker"])
    return [worker for worker in workers if worker not in measured]
