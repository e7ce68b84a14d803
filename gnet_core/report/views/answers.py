"""Figures with their spread in words, of which the sentences of a report are made."""

from __future__ import annotations

from gnet_core.report.document import Sentence
from gnet_core.report.grid import ratio_and_interval
from gnet_core.results.comparisons import machine_spread
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import milliseconds, percent

DIFFERENT = ("FASTER", "SLOWER")

MODES = {"turns": "in turns", "sequential": "one after the other"}


class NoAnswer(Sentence):
    """The reason why there is no answer."""

    def __new__(cls, why: str) -> NoAnswer:
        return super().__new__(cls, "No answer:", why)


def counts(row: Row) -> bool:
    """Whether its figure may stand for the speed of the requested work."""
    return row.images_per_second is not None and row.finite and row.equal_work is not False


def speed(row: Row) -> float:
    """Images/s of a row, to sort by: 0 where it has none."""
    return row.images_per_second or 0.0


def speed_interval(row: Row) -> str:
    """The 95 % interval of images/s; empty where there are too few processes for one."""
    if row.images_per_second_ci_low is None or row.images_per_second_ci_high is None:
        return ""
    return f"{row.images_per_second_ci_low:.1f}–{row.images_per_second_ci_high:.1f}"


def processes_in_words(number: int) -> str:
    """one process, 2 processes"""
    return "one process" if number == 1 else f"{number} processes"


def speed_in_words(row: Row) -> str:
    """13.4 images/s (12.1–14.7), or with the number of processes where there is no interval."""
    return f"{speed(row):.1f} images/s ({speed_interval(row) or processes_in_words(row.replicates)})"


def throughput(name: str, row: Row) -> Sentence:
    """Images/s of a row with their spread, its configuration, and its share of the device's peak."""
    peak = "" if row.mfu is None else f", {percent(row.mfu)} of the device's measured peak"
    return Sentence(speed_in_words(row), f"with {name}: {milliseconds(row.step_seconds)} ms a step{peak}.")


def ratio_in_words(comparison: Comparison, unit: str = "×") -> str:
    """0.67× (0.64–0.70), marked where it is sequential and where it was settled before its last look."""
    sequential = f", timed {MODES['sequential']}" if comparison.mode == "sequential" else ""
    early = f", settled after {comparison.pairs} of at most {comparison.max_looks} processes"
    return f"{ratio_and_interval(comparison, unit)}{sequential}{early if comparison.settled_early else ''}"


def relation(comparison: Comparison) -> str:
    """How the variant stands to its base: is FASTER than."""
    if comparison.verdict == "UNRESOLVED":
        return "is UNRESOLVED against"
    return "is the SAME as" if comparison.verdict == "SAME" else f"is {comparison.verdict} than"


def share_in_words(share: float, low: float | None, high: float | None) -> str:
    """A share of a step with its interval: 20% (18–22%)."""
    if low is None or high is None:
        return f"{share:.0%}"
    least, most = round(100 * low), round(100 * high)
    return f"{share:.0%} ({least}{'–' if least >= 0 else ' to '}{most}%)"


def spread_of_identical_code(run: Run, where: str = "here") -> str:
    """The machine's own spread in a sentence; empty where the run did not measure it."""
    spreads = " and ".join(f"{percent(spread)} {MODES[mode]}" for mode, spread in machine_spread(run).items())
    return f"Processes of identical code {where} differed by {spreads} (standard deviation)." if spreads else ""
