"""What the sentences of a report are made of: figures with their spread, in words."""

from __future__ import annotations

from gnet_core.report.document import Sentence
from gnet_core.report.grid import ratio, ratio_interval
from gnet_core.results.comparisons import machine_spread
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import milliseconds, percent

DIFFERENT = ("FASTER", "SLOWER")


class NoAnswer(Sentence):
    """Why there is no answer."""

    def __new__(cls, why: str) -> NoAnswer:
        return super().__new__(cls, "No answer:", why)


def counts(row: Row) -> bool:
    """Whether its figure may stand for the speed of the work that was asked for."""
    return row.images_per_second is not None and row.finite and row.equal_work is not False


def speed(row: Row) -> float:
    """Images/s of a row, for an order: 0 where it has none."""
    return row.images_per_second or 0.0


def speed_interval(row: Row) -> str:
    """Of images/s, at 95 %; empty where there are too few processes for one."""
    if row.images_per_second_ci_low is None or row.images_per_second_ci_high is None:
        return ""
    return f"{row.images_per_second_ci_low:.1f}–{row.images_per_second_ci_high:.1f}"


def speed_in_words(row: Row) -> str:
    """13.4 images/s (12.1–14.7), or how few processes it is of."""
    spread = speed_interval(row) or ("one process" if row.replicates == 1 else f"{row.replicates} processes")
    return f"{speed(row):.1f} images/s ({spread})"


def speed_beside(row: Row) -> str:
    """13.4 (12.1–14.7), beside another figure of images/s."""
    interval = speed_interval(row)
    return f"{speed(row):.1f} ({interval})" if interval else f"{speed(row):.1f}"


def throughput(named: str, row: Row) -> Sentence:
    """What a row reached: images/s with their spread, its configuration, and how much of the device that is."""
    told = f"with {named}: {milliseconds(row.step_seconds)} ms a step"
    if row.mfu is not None:
        told += f", {percent(row.mfu)} of the device's measured peak"
    return Sentence(speed_in_words(row), f"{told}.")


def ratio_in_words(found: Comparison) -> str:
    """0.67× (0.64–0.70), and whether it is sequential."""
    interval = ratio_interval(found)
    sequential = ", timed one after the other" if found.mode == "sequential" else ""
    return f"{ratio(found)}×{f' ({interval})' if interval else ''}{sequential}"


def share_in_words(share: float, low: float | None, high: float | None) -> str:
    """A share of a step with its interval: 20% (18–22%)."""
    if low is None or high is None:
        return f"{share:.0%}"
    least, most = round(100 * low), round(100 * high)
    return f"{share:.0%} ({least}{'–' if least >= 0 else ' to '}{most}%)"


def spread_of_identical_code(run: Run, what: str = "here") -> str:
    """The machine's own spread in a sentence; empty where the run did not measure it."""
    told = {"turns": "in turns", "sequential": "one after the other"}
    spreads = [f"{percent(spread)} {told[mode]}" for mode, spread in machine_spread(run).items()]
    differed = " and ".join(spreads)
    return f"Processes of identical code {what} differed by {differed} (standard deviation)." if spreads else ""
