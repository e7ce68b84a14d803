"""How often sequential verdicts are right under a machine's noise, by simulation from fixed seeds.

`python -m tests.looks` prints the rates as a Markdown table. The statistics are those of gnet_core.stats.verdicts,
written for arrays of trials, since thousands of tables of six cells take minutes one by one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gnet_core.run.runner import MAX_TURNS, MIN_TURNS
from gnet_core.stats.sequential import FIRST_LOOK, nominal_error, repeated_p_value
from gnet_core.stats.verdicts import DEFAULT_MARGIN, ERROR
from tests.noise import DISTURBED, TYPICAL, Noise, family_log_seconds

Array = NDArray[np.float64]
Procedure = Literal["repeated", "peeking"]
"""repeated: repeated confidence intervals; peeking: the fixed test's 5 % at every look."""

TURNS = 12

PILOT_TURNS, START_COST = 5, 10.0
"""Turns of each process up to the first look, and the time of a start ÷ that of a turn: those of the preset quick."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates over trials of a table; those of cells are means over its cells."""

    any_different: float
    """Share of the tables in which any cell came out FASTER or SLOWER."""
    faster: float
    slower: float
    same: float
    pairs: float
    """Mean pairs of processes that a cell was measured with."""
    settled_first: float
    """Share of the cells that the first look settled."""

    @property
    def different(self) -> float:
        """Share of the cells that came out FASTER or SLOWER."""
        return self.faster + self.slower


def differences(
    noise: Noise, cells: int, looks: int, trials: int, effect: float, seed: int, turns: int = TURNS
) -> Array:
    """Mean logarithms of speed(variant) ÷ speed(base), as trials × cells × looks, in a pair of processes each."""
    logs = family_log_seconds(noise, cells, looks, turns, trials, effect, seed)
    return np.asarray((logs[:, :1] - logs[:, 1:]).mean(axis=3))


def differences_with_pilot(noise: Noise, looks: int, trials: int, effect: float, seed: int) -> Array:
    """As `differences`, of one cell, whose turns after the first look are those that its pilot advises."""
    logs = family_log_seconds(noise, 1, looks, MAX_TURNS, trials, effect, seed)
    rounds = logs[:, 0] - logs[:, 1]
    pilot = rounds[:, :FIRST_LOOK, :PILOT_TURNS]
    between_blocks = pilot.var(axis=2, ddof=1).mean(axis=1)
    between_processes = pilot.mean(axis=2).var(axis=1, ddof=1) - between_blocks / PILOT_TURNS
    with np.errstate(divide="ignore", invalid="ignore"):
        optimum = np.sqrt(START_COST * between_blocks / between_processes)
    turns = np.rint(np.clip(np.where(between_processes > 0, optimum, MAX_TURNS), MIN_TURNS, MAX_TURNS))
    taken = np.where(np.arange(looks) < FIRST_LOOK, PILOT_TURNS, turns[:, None])[..., None]
    means = np.where(np.arange(MAX_TURNS) < taken, rounds, 0).sum(axis=2) / taken[..., 0]
    return np.asarray(means[:, None])


def rates(pairs: Array, *, margin: float = DEFAULT_MARGIN, procedure: Procedure = "repeated") -> Rates:
    """The verdicts of tables that are looked at after each pair from the third on."""
    looks = pairs.shape[2]
    verdicts, used = decide(pairs, margin=margin, procedure=procedure)
    return Rates(
        any_different=float((np.abs(verdicts) == 1).any(axis=1).mean()),
        faster=float((verdicts == 1).mean()),
        slower=float((verdicts == -1).mean()),
        same=float((verdicts == 2).mean()),
        pairs=float(used.mean()),
        settled_first=float((used == FIRST_LOOK).mean()) if looks > FIRST_LOOK else math.nan,
    )


def decide(pairs: Array, *, margin: float, procedure: Procedure) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """By trial and cell, the verdict (1 FASTER, -1 SLOWER, 2 SAME, 0 UNRESOLVED) and the pairs that it took."""
    trials, cells, max_looks = pairs.shape
    verdicts = np.zeros((trials, cells), int)
    used = np.full((trials, cells), max_looks)
    smallest = np.ones((trials, cells))
    limit = math.log1p(margin)
    for looks in range(FIRST_LOOK, max_looks + 1):
        seen = pairs[..., :looks]
        estimate, error = seen.mean(axis=2), seen.std(axis=2, ddof=1) / math.sqrt(looks)
        p_value = 2 * special.stdtr(looks - 1, -np.abs(estimate / error))
        if procedure == "repeated":
            nominal = nominal_error(looks, max_looks)
            p_value = repeated_p_value(p_value, looks, max_looks)
        else:
            nominal = ERROR
        still_open = verdicts == 0
        smallest = np.where(still_open, np.minimum(smallest, p_value), smallest)
        half = special.stdtrit(looks - 1, 1 - nominal / 2) * error
        beyond = (np.abs(estimate) > limit) & (np.abs(estimate) > half) & (adjusted(smallest) < ERROR)
        inside = np.abs(estimate) + half <= limit
        verdict = np.where(beyond, np.sign(estimate), np.where(inside, 2, 0)).astype(int)
        used = np.where(still_open & (verdict != 0), looks, used)
        verdicts = np.where(still_open, verdict, verdicts)
    return verdicts, used


def adjusted(p_values: Array) -> Array:
    """Benjamini & Hochberg's adjusted p-values along the last axis."""
    count = p_values.shape[-1]
    order = np.argsort(p_values, axis=-1)[..., ::-1]
    scaled = np.take_along_axis(p_values, order, -1) * count / np.arange(count, 0, -1)
    result = np.empty_like(p_values)
    np.put_along_axis(result, order, np.minimum.accumulate(np.minimum(scaled, 1), axis=-1), -1)
    return result


NOISES = {
    "typical": TYPICAL,
    **DISTURBED,
    "the machine's speed steps by 15 %": Noise(step=0.15),
}


def main() -> None:
    columns = [
        "noise",
        "cells",
        "N",
        "A/A called different",
        "by peeking",
        "5 % slower found",
        "pairs",
        "2.5× at the third pair",
        "A/A SAME at 5 %",
    ]
    print("| " + " | ".join(columns) + " |\n|---|" + "---:|" * (len(columns) - 1))
    for name, noise in NOISES.items():
        for cells in (1, 6):
            for looks in (8, 12, 20):
                null, slow, large = (
                    differences(noise, cells, looks, 4000, effect, seed=looks) for effect in (0.0, -0.05, 1.5)
                )
                found = rates(slow)
                row = [
                    f"{100 * rates(null).any_different:.1f} %",
                    f"{100 * rates(null, procedure='peeking').any_different:.1f} %",
                    f"{100 * found.slower:.1f} %",
                    f"{found.pairs:.1f}",
                    f"{100 * rates(large).settled_first:.2f} %",
                    f"{100 * rates(null, margin=0.05).same:.1f} %",
                ]
                print(f"| {name} | {cells} | {looks} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
