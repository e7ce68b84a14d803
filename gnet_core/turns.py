"""turns.csv: a line a turn, and what the machine was like during it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gnet_core.config import GnetError
from gnet_core.files import write_whole

TURNS_FILE = "turns.csv"

_TEXT = ("worker", "disturbed")
_NUMBERS = ("cohort", "steps", "waiting_cpu_share", "gpu_energy_joules")


def write_turns(directory: Path, turns: Iterable[Mapping[str, Any]]) -> None:
    """Write a run's turns, where there are any: cohort, worker, steps and what conditions.Conditions tells."""
    table = pd.DataFrame(list(turns))
    if not table.empty:
        write_whole(directory / TURNS_FILE, str(table.to_csv(index=False, lineterminator="\n")))


def read_turns(directory: Path) -> pd.DataFrame:
    """A run's turns; empty for a run that has none. Raises GnetError for a table that cannot be read or lacks a column.

    What is no finite number in a column of numbers is missing.
    """
    path = directory / TURNS_FILE
    if not path.is_file():
        return pd.DataFrame()
    try:
        turns = pd.read_csv(path)
    except pd.errors.EmptyDataError:  # every worker was lost before its first turn
        return pd.DataFrame()
    except (OSError, ValueError) as error:  # pandas' own are ValueErrors
        raise GnetError(f"{path}: it cannot be read: {error!s:.300}") from error
    if missing := [column for column in (*_TEXT, *_NUMBERS) if column not in turns]:
        raise GnetError(f"{path}: column {missing[0]!r} is missing; gnet bench wrote none like it")
    for column in _NUMBERS:
        turns[column] = pd.to_numeric(turns[column], errors="coerce").replace([np.inf, -np.inf], np.nan)
    return turns
