"""Comparisons and what may be said of them: FASTER, SLOWER, SAME or UNRESOLVED."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy import special

from gnet_core.config import GnetError
from gnet_core.stats import ratio as stats
from gnet_core.stats.sequential import RepeatedLogRatio, repeated_log_ratio

Verdict = Literal["FASTER", "SLOWER", "SAME", "UNRESOLVED"]
Mode = Literal["turns", "sequential"]

DEFAULT_MARGIN = 0.02
"""Speeds that differ by less than this fraction count as the same."""

MIN_PROCESSES = 3
"""Processes a side that a verdict takes. Two give an interval, but its width is mostly luck."""

MAX_ADVISED_PROCESSES = 100
"""Larger numbers of further processes a side are not worth advising."""

ERROR = 1 - stats.CONFIDENCE
"""Error of a single comparison, and the false discovery rate of a table's FASTER and SLOWER."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """Two measured cases to be compared."""

    base: str
    variant: str
    """Names of the cases."""

    base_processes: tuple[stats.Process, ...]
    variant_processes: tuple[stats.Process, ...]

    scale: float = 1.0
    """Images of a variant step ÷ images of a base step; those of a replica where its efficiency is judged."""

    invalid: str = ""
    """Why this pair may not be judged, as a sentence; empty where it may."""

    by_run: bool = False
    """Whether each cohort is a whole run and counts once: several of the base, whose spread is that between runs, and
    one of the variant.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """One cell of a table. Ratios are of images a second, variant ÷ base, or an efficiency (see Pair.scale); None where
    the samples give none.
    """

    base: str
    variant: str
    verdict: Verdict
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    """The 95 % t interval on the logarithm; the repeated one where there is `max_looks`."""

    margin: float
    """SAME is an interval inside 1 ÷ (1 + margin) … 1 + margin; FASTER and SLOWER are estimates outside."""

    p_value: float | None = None
    adjusted_p_value: float | None = None
    """The p-value by Benjamini & Hochberg over the cells of the table that could be judged; None for the others."""

    minimum_detectable_effect: float | None = None
    """Minimum detectable effect: the smallest true one, as a fraction, that would have been called FASTER or SLOWER
    with the probability stats.POWER, had it been the table's only comparison."""

    spread: float | None = None
    """Standard deviation between processes, as a fraction; of two identical cases it is the machine's own."""

    mode: Mode | Literal[""] = ""
    """turns: base and variant were alive together; sequential: timed one after the other; empty: not compared."""

    base_processes: int = 0
    variant_processes: int = 0
    """Processes that the ratio rests on."""

    max_looks: int | None = None
    """Pairs of processes at the last look, of a comparison that was looked at while it was measured; else None."""

    doubt: str = ""
    """Why the verdict is UNRESOLVED, which other comparisons may share; a sentence where there is no advice."""

    advice: str = ""
    """Action that would probably resolve it."""

    more_processes: int | None = None
    """How many more a side that would be; None where it would be more than MAX_ADVISED_PROCESSES, or something else."""

    @property
    def pairs(self) -> int:
        """Pairs of processes that the ratio rests on."""
        return min(self.base_processes, self.variant_processes)

    @property
    def settled_early(self) -> bool:
        """Whether a look before the last gave the verdict, so that the ratio leans the way of the verdict."""
        return self.verdict != "UNRESOLVED" and self.max_looks is not None and self.pairs < self.max_looks

    @property
    def reason(self) -> str:
        """Why the verdict is UNRESOLVED, as a sentence, with what would probably resolve it."""
        return f"{self.doubt}; {self.advice}." if self.advice else self.doubt

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON and CSV, with the reason whole."""
        values = dataclasses.asdict(self) | {"reason": self.reason}
        return {name: value for name, value in values.items() if name not in ("doubt", "advice")}


def reason_of_all(comparisons: Sequence[Comparison]) -> str:
    """The reason of comparisons that share a doubt, as one sentence."""
    if len({comparison.reason for comparison in comparisons}) == 1:
        return comparisons[0].reason
    interleaved = all(comparison.mode == "turns" for comparison in comparisons)
    wanted = [comparison.more_processes for comparison in comparisons]
    return f"{comparisons[0].doubt}; {_more(wanted, interleaved=interleaved)}."


def judge(
    pairs: Iterable[Pair], margin: float = DEFAULT_MARGIN, spread: Mapping[Mode, float] | None = None
) -> list[Comparison]:
    """Judge the cells of one table, in their order.

    `margin` is a fraction. `spread` is the machine's own, measured between identical cases, by mode: it sets the
    minimum detectable effect, never the verdict.

    The table is one family: FASTER and SLOWER stand at a false discovery rate of 5 % over its cells (Benjamini &
    Hochberg 1995). Cells with too few processes do not belong to it, whatever their samples say.
    """
    pairs = list(pairs)
    effects = [
        None if pair.invalid else stats.log_ratio(pair.base_processes, pair.variant_processes, pair.scale)
        for pair in pairs
    ]
    p_values = [
        effect.p_value if effect and _has_enough_processes(pair, effect) else None
        for pair, effect in zip(pairs, effects, strict=True)
    ]
    return _table(pairs, effects, p_values, margin, spread or {})


def judge_repeatedly(
    pairs: Sequence[Pair],
    looks: Iterable[Collection[str]],
    max_looks: int,
    margin: float = DEFAULT_MARGIN,
    spread: Mapping[Mode, float] | None = None,
) -> list[Comparison]:
    """Judge the cells of one table that was looked at while it was measured, by repeated confidence intervals.

    `looks` are, for each look, the cohorts that were finished by then; `max_looks` is how many pairs of processes a
    cell may have, fixed before the first look. A cell keeps the verdict of the first look that gave it one, whatever
    was measured later: FASTER or SLOWER where the interval leaves out 1, the estimate is beyond the margin and the
    smallest repeated p-value so far passes Benjamini & Hochberg's procedure over the table; SAME where the interval
    lies within the margin. All cells belong to the family from the first look on, so that none can lose its verdict to
    another's.
    """
    effects: list[RepeatedLogRatio | None] = [None] * len(pairs)
    settled: set[int] = set()

    def table() -> list[Comparison]:
        p_values = [
            None if pair.invalid else effect.p_value if effect else 1.0
            for pair, effect in zip(pairs, effects, strict=True)
        ]
        return _table(pairs, effects, p_values, margin, spread or {})

    for cohorts in looks:
        for number, pair in enumerate(pairs):
            if number in settled or pair.invalid:
                continue
            earlier = effects[number]
            effect = repeated_log_ratio(
                [process for process in pair.base_processes if process.cohort in cohorts],
                [process for process in pair.variant_processes if process.cohort in cohorts],
                pair.scale,
                max_looks,
                earlier.p_value if earlier else 1.0,
            )
            if effect is None or effect.looks <= max_looks:  # beyond the last look there is no error left to spend
                effects[number] = effect
        settled |= {number for number, cell in enumerate(table()) if cell.verdict != "UNRESOLVED"}
    return table()


def _table(
    pairs: Sequence[Pair],
    effects: Sequence[stats.LogRatio | None],
    p_values: Sequence[float | None],
    margin: float,
    spread: Mapping[Mode, float],
) -> list[Comparison]:
    """The cells of one family. Those whose p-value is None do not belong to it."""
    adjusted = iter(stats.benjamini_hochberg([value for value in p_values if value is not None]))
    table = []
    for pair, effect, p_value in zip(pairs, effects, p_values, strict=True):
        adjusted_p_value = None if p_value is None else next(adjusted)
        if effect is None:
            doubt = pair.invalid or "No sample of the one can be set against the other."
            table.append(
                Comparison(base=pair.base, variant=pair.variant, verdict="UNRESOLVED", margin=margin, doubt=doubt)
            )
        else:
            enough = _has_enough_processes(pair, effect)
            table.append(_compare(pair, effect, adjusted_p_value if enough else None, margin, spread))
    return table


def require_margin(value: object, field: str = "margin") -> float:
    """Read a margin given in percent, as a number or as text, and return it as a fraction.

    Raises GnetError unless it is a number above 0 and below 100.
    """
    try:
        percent = float(str(value))
    except ValueError:
        percent = math.nan
    if isinstance(value, bool) or not 0 < percent < 100:
        raise GnetError(f"{field}: {value!r} will not do; use a number of percent above 0 and below 100, such as 2")
    return percent / 100


def _has_enough_processes(pair: Pair, effect: stats.LogRatio) -> bool:
    return (effect.units[0] if pair.by_run else min(effect.units)) >= MIN_PROCESSES


def _compare(
    pair: Pair, effect: stats.LogRatio, adjusted_p_value: float | None, margin: float, machine: Mapping[Mode, float]
) -> Comparison:
    mode: Mode = "turns" if effect.interleaved else "sequential"
    verdict = _verdict(effect, adjusted_p_value, math.log1p(margin))
    doubt, advice, more = _reason(pair, effect, adjusted_p_value, margin) if verdict == "UNRESOLVED" else ("", "", None)
    return Comparison(
        base=pair.base,
        variant=pair.variant,
        verdict=verdict,
        ratio=math.exp(effect.estimate),
        low=math.exp(effect.interval[0]) if effect.interval else None,
        high=math.exp(effect.interval[1]) if effect.interval else None,
        margin=margin,
        p_value=effect.p_value,
        adjusted_p_value=adjusted_p_value,
        minimum_detectable_effect=effect.minimum_detectable_effect(machine.get(mode), margin),
        spread=effect.spread,
        mode=mode,
        base_processes=effect.processes[0],
        variant_processes=effect.processes[1],
        max_looks=effect.max_looks if isinstance(effect, RepeatedLogRatio) else None,
        doubt=doubt,
        advice=advice,
        more_processes=more,
    )


def _verdict(effect: stats.LogRatio, adjusted_p_value: float | None, margin: float) -> Verdict:
    """The verdict for a margin that is a logarithm, like the effect. Without an adjusted p-value there is none."""
    if adjusted_p_value is None:
        return "UNRESOLVED"
    assert effect.interval
    low, high = effect.interval
    if adjusted_p_value < ERROR and abs(effect.estimate) > margin and not low <= 0 <= high:
        return "FASTER" if effect.estimate > 0 else "SLOWER"
    return "SAME" if -margin <= low and high <= margin else "UNRESOLVED"


def _reason(
    pair: Pair, effect: stats.LogRatio, adjusted_p_value: float | None, margin: float
) -> tuple[str, str, int | None]:
    """The doubt, what would resolve it, and how many more processes a side that is."""
    if adjusted_p_value is None:
        return _too_few(pair, effect), "", None
    assert effect.p_value is not None
    beyond = abs(effect.estimate) > math.log1p(margin)
    if beyond and effect.p_value < ERROR:
        doubt = "The interval leaves out 1, but among as many comparisons as this table has that may be chance"
    elif beyond:
        doubt = "The interval holds 1"
    elif effect.p_value < ERROR:
        doubt = f"The speeds differ, but whether by more than the margin of {100 * margin:.3g} % is open"
    else:
        doubt = f"The interval holds 1 and reaches beyond the margin of {100 * margin:.3g} %"
    if pair.by_run:
        return doubt, "more runs of base, or turns (gnet bench --against), would tell more", None
    more = _processes_wanted(effect, adjusted_p_value, math.log1p(margin))
    return doubt, _more([more], interleaved=effect.interleaved), more


def _too_few(pair: Pair, effect: stats.LogRatio) -> str:
    if pair.by_run:
        return f"{effect.units[0]} runs of base; how far separate runs differ takes at least {MIN_PROCESSES}."
    what = "processes took turns" if effect.interleaved else "cohorts were timed one after the other"
    return (
        f"{effect.units[0]} of base and {effect.units[1]} of variant {what}; "
        f"a verdict needs at least {MIN_PROCESSES} a side."
    )


def _more(wanted: Sequence[int | None], *, interleaved: bool) -> str:
    """How many more processes a side would probably tell, for one comparison or several."""
    known = sorted(number for number in wanted if number is not None)
    would_tell = f"a side{'' if interleaved else ', each in a cohort of its own,'} would probably tell"
    if not known:
        return f"not even {MAX_ADVISED_PROCESSES} more processes {would_tell}"
    number = str(known[0]) if known[0] == known[-1] else f"{known[0]}–{known[-1]}"
    beyond = f", and in {len(wanted) - len(known)} of them not even {MAX_ADVISED_PROCESSES}"
    return (
        f"about {number} more process{'es' if known[-1] > 1 else ''} {would_tell}"
        f"{beyond if len(known) < len(wanted) else ''}"
    )


def _processes_wanted(effect: stats.LogRatio, adjusted_p_value: float, margin: float) -> int | None:
    """How many more processes a side would tell with the probability stats.POWER; None beyond MAX_ADVISED_PROCESSES.

    It holds if estimate and spread are the true ones and the layout is repeated: with an estimate outside the margin
    the interval has to leave out 1, with one inside it has to fit between estimate and margin.
    """
    assert effect.standard_error is not None
    assert effect.p_value is not None
    size = abs(effect.estimate)
    beyond = size > margin
    # Among the table's cells a single test has less than 5 % to spend.
    error = effect.error * effect.p_value / adjusted_p_value if beyond and adjusted_p_value else effect.error
    growth = 1 + np.arange(1, MAX_ADVISED_PROCESSES + 1) / min(effect.units)
    degrees = effect.degrees_of_freedom * growth
    reach = special.stdtrit(degrees, 1 - error / 2) + special.stdtrit(degrees, stats.POWER)
    errors = effect.standard_error / np.sqrt(growth)
    enough = reach * errors <= (size if beyond else margin - size)
    if beyond:  # and the next estimate has to be beyond the margin as well
        enough &= special.stdtrit(degrees, stats.POWER) * errors <= size - margin
    return int(np.argmax(enough)) + 1 if enough.any() else None
