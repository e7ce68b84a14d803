"""The noise of a machine as it was measured, made from seeds, and how often judge and drift are right under it.

`python -m tests.noise` prints the rates as Markdown tables. Measured with the full network on a shared server processor
(224×224 images, batch 8): the machine's speed wandered by 7 to 20 % from turn to turn, a block scattered by 6 to 8 %
about that, and live processes of identical code differed by 1 to 2 % once turns had taken the wandering out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from gnet_core.stats import ratio
from gnet_core.stats.verdicts import DEFAULT_MARGIN, Comparison, Pair, judge

Layout = Literal["cohort", "pairs", "sequential", "runs"]
"""cohort: all processes take turns; pairs: one cohort after the other, each of one process a case; sequential: each
process runs alone, base and variant by turns; runs: each process runs alone, all of base before all of variant."""

Array = NDArray[np.float64]

ANY_DIFFERENCE = 1e-9
"""A margin that leaves the verdict to the interval alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise:
    """Standard deviations in logarithms, so about fractions."""

    common_mode: float = 0.10
    """Common-mode drift: the machine's speed from turn to turn, the same for all who take the turn."""

    memory: float = 0.9
    """Correlation of common-mode drift from one turn to the next: AR(1)."""

    rest: float = 0.07
    """Scatter of blocks."""

    process: float = 0.015
    """Scatter of processes, each for as long as it lives."""

    tail: Literal["normal", "student", "mixture"] = "normal"
    """Distribution of the rest. student: 3 degrees of freedom; mixture: one block in ten scatters four times as much.
    Both are scaled to the same standard deviation."""

    decay: float = 0.0
    """Share by which one process a trial, of either case, is slower at first; it is gone after a third of the turns."""

    stall: float = 1.0
    """Factor by which one block a trial takes longer."""

    step: float = 0.0
    """What the machine is slower by from one turn on to the end of the trial, for all who take it."""


TYPICAL = Noise()
WORST = Noise(rest=0.08, process=0.02)
DISTURBED = {
    "one process decays by 20 %": Noise(decay=0.2),
    "rest is Student's t, 3 degrees": Noise(tail="student"),
    "one block in ten scatters ×4": Noise(tail="mixture"),
    "one block takes ×5": Noise(stall=5),
}


def one_after_the_other(spread: float) -> Noise:
    """Separate runs whose processes differ by `spread` in all, common-mode drift included."""
    return Noise(common_mode=0, rest=0, process=spread)


SETTINGS: list[tuple[str, Noise, Layout, int, int]] = [
    *[("typical", TYPICAL, "pairs", replicates, turns) for replicates, turns in ((6, 24), (8, 12), (10, 8), (12, 6))],
    ("typical", TYPICAL, "cohort", 8, 12),
    ("worst", WORST, "pairs", 8, 12),
    ("worst", WORST, "pairs", 10, 13),
    *[(name, noise, "pairs", 8, 12) for name, noise in DISTURBED.items()],
    *[(name, noise, "cohort", 8, 12) for name, noise in DISTURBED.items()],
    *[
        (f"rest 8 %, process {process:.0%}", Noise(rest=0.08, process=process), layout, replicates, turns)
        for process, replicates, turns in (
            (0.01, 3, 27),
            (0.01, 4, 27),
            (0.01, 10, 7),
            (0.01, 10, 8),
            (0.02, 5, 38),
            (0.02, 6, 31),
            (0.02, 10, 9),
            (0.02, 10, 11),
        )
        for layout in ("cohort", "pairs")
    ],
    *[
        (f"apart, spread {spread:.0%}", one_after_the_other(spread), "sequential", replicates, 2)
        for spread, replicates in ((0.03, 8), (0.03, 9), (0.05, 22))
    ],
    ("typical, with common-mode drift", TYPICAL, "sequential", 8, 20),
    ("typical, with common-mode drift", TYPICAL, "sequential", 22, 20),
    ("typical, with common-mode drift", TYPICAL, "runs", 8, 12),
]


def log_seconds(
    noise: Noise, layout: Layout, replicates: int, turns: int, trials: int, effect: float, seed: int
) -> Array:
    """Logs of seconds, as trials × (base, variant) × replicates × turns; the variant is faster by the effect."""
    rng = np.random.default_rng(seed)
    shape = (trials, 2, replicates, turns)
    logs = _common_mode(noise, layout, shape, rng) + noise.rest * _scatter(noise, shape, rng)
    logs += noise.process * rng.standard_normal((*shape[:3], 1))
    logs[:, 1] -= np.log1p(effect)
    everyone = logs.reshape(trials, 2 * replicates, turns)
    which = np.arange(trials), rng.integers(2 * replicates, size=trials)
    everyone[which] += decaying(noise.decay, turns)
    everyone[(*which, rng.integers(turns, size=trials))] += np.log(noise.stall)
    return logs


def family_log_seconds(
    noise: Noise, variants: int, cohorts: int, turns: int, trials: int, effect: float, seed: int
) -> Array:
    """Logs of seconds of cohorts that hold a process of the base and one of each variant, as trials × cases × cohorts ×
    turns. The base comes first; every variant is faster by the effect.
    """
    rng = np.random.default_rng(seed)
    shape = (trials, 1 + variants, cohorts, turns)
    weather = _autoregression(noise, (trials, 1, cohorts * turns), rng)
    begins = rng.integers(cohorts * turns, size=(trials, 1, 1))
    weather += np.log1p(noise.step) * (np.arange(cohorts * turns) >= begins)
    logs = weather.reshape(trials, 1, cohorts, turns) + noise.rest * _scatter(noise, shape, rng)
    logs += noise.process * rng.standard_normal((*shape[:3], 1))
    logs[:, 1:] -= np.log1p(effect)
    everyone = logs.reshape(trials, -1, turns)
    which = np.arange(trials), rng.integers(everyone.shape[1], size=trials)
    everyone[which] += decaying(noise.decay, turns)
    everyone[(*which, rng.integers(turns, size=trials))] += np.log(noise.stall)
    return logs


def decaying(decay: float, turns: int) -> Array:
    """By turn, the logarithm of the time of a process that is slower by `decay` at first, no more after a third."""
    return np.log1p(decay * np.clip(1 - 3 * np.arange(turns) / turns, 0, None))


def pairs(logs: Array, layout: Layout) -> Iterator[Pair]:
    """One pair a trial."""
    for trial in logs.tolist():
        base, variant = (
            tuple(ratio.Process(_cohort(layout, case, i), tuple(turns)) for i, turns in enumerate(side))
            for case, side in enumerate(trial)
        )
        yield Pair(base="base", variant="variant", base_processes=base, variant_processes=variant)


def comparisons(
    noise: Noise,
    layout: Layout,
    replicates: int,
    turns: int,
    *,
    effect: float = 0.0,
    margin: float = DEFAULT_MARGIN,
    trials: int = 1000,
    seed: int = 0,
) -> list[Comparison]:
    """Each trial judged as a table of its own."""
    logs = log_seconds(noise, layout, replicates, turns, trials, effect, seed)
    return [judge([pair], margin)[0] for pair in pairs(logs, layout)]


def rates(found: list[Comparison]) -> dict[str, float]:
    """The share of every verdict; `different` is FASTER or SLOWER."""
    counts = Counter[str](comparison.verdict for comparison in found)
    shares = {verdict: counts[verdict] / len(found) for verdict in ("FASTER", "SLOWER", "SAME", "UNRESOLVED")}
    return shares | {"different": shares["FASTER"] + shares["SLOWER"]}


def _cohort(layout: Layout, case: int, replicate: int) -> str:
    if layout == "cohort":
        return "all"
    return f"pair {replicate}" if layout == "pairs" else f"{case} {replicate}"


def _common_mode(noise: Noise, layout: Layout, shape: tuple[int, int, int, int], rng: np.random.Generator) -> Array:
    trials, cases, replicates, turns = shape
    if layout == "cohort":
        return _autoregression(noise, (trials, 1, 1, turns), rng)
    if layout == "pairs":
        return _autoregression(noise, (trials, 1, replicates * turns), rng).reshape(trials, 1, replicates, turns)
    if layout == "runs":
        return _autoregression(noise, (trials, cases * replicates * turns), rng).reshape(shape)
    by_time = _autoregression(noise, (trials, replicates * cases * turns), rng)
    return by_time.reshape(trials, replicates, cases, turns).swapaxes(1, 2)


def _autoregression(noise: Noise, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    shocks = noise.common_mode * rng.standard_normal(shape)
    shocks[..., 1:] *= np.sqrt(1 - noise.memory**2)
    return np.asarray(signal.lfilter([1], [1, -noise.memory], shocks, axis=-1))


def _scatter(noise: Noise, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Of standard deviation 1."""
    if noise.tail == "student":
        return np.asarray(rng.standard_t(3, shape) / np.sqrt(3))
    normal: Array = rng.standard_normal(shape)
    if noise.tail == "mixture":
        return np.asarray(normal * np.where(rng.random(shape) < 0.1, 4, 1) / np.sqrt(0.9 + 0.1 * 16))
    return normal


def _row(noise: Noise, layout: Layout, replicates: int, turns: int) -> list[str]:
    def rate(verdict: str, effect: float, margin: float) -> str:
        found = comparisons(noise, layout, replicates, turns, effect=effect, margin=margin, trials=2000)
        return f"{100 * rates(found)[verdict]:.1f}"

    return [
        rate("different", 0, ANY_DIFFERENCE),
        rate("different", 0, DEFAULT_MARGIN),
        rate("SAME", 0, DEFAULT_MARGIN),
        rate("SAME", 0, 0.05),
        rate("SLOWER", -0.05, DEFAULT_MARGIN),
        rate("SAME", -0.05, DEFAULT_MARGIN),
        rate("SAME", -0.05, 0.05),
    ]


def main() -> None:
    columns = [
        "setting",
        "layout",
        "R×T",
        "A/A told apart by the interval",
        "A/A told apart at 2 %",
        "A/A SAME at 2 %",
        "A/A SAME at 5 %",
        "5 % slowdown found",
        "5 % slowdown SAME at 2 %",
        "5 % slowdown SAME at 5 %",
    ]
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * 3 + "---:|" * (len(columns) - 3))
    for name, noise, layout, replicates, turns in SETTINGS:
        row = _row(noise, layout, replicates, turns)
        print("| " + " | ".join([name, layout, f"{replicates}×{turns}", *row]) + " |", flush=True)


if __name__ == "__main__":
    main()
