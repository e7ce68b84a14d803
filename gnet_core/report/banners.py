"""What of a run may be quoted, in the banners of its report, and what would settle the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import msgspec

from gnet_core.plan.request import command_line
from gnet_core.report.document import Banner, Command
from gnet_core.report.summary import Judged, Summary
from gnet_core.results.remaining import pairs_to_settle, seconds_of, seconds_to_settle
from gnet_core.results.run_document import RunDocument
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison
from gnet_core.text import duration

MAX_NAMED = 8
"""Comparisons that a banner names; more of them are counted, and stand in the tables."""

_END_SECONDS = 60
"""A run keeps about so much of its budget for a trace and its report."""

_WITH = "each with its machine, its configuration and its interval"


class NamedComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison that may be quoted."""

    suite: str
    base: str
    variant: str


class OpenComparison(NamedComparison, frozen=True, kw_only=True):
    """A comparison that a run until resolved left open, and what would probably settle it."""

    more_pairs: int | None
    """Pairs of processes; None for more than the looks that the run has left."""
    seconds: float | None
    """Their wall time; None where run.json does not tell what a process cost."""


def banners(summary: Summary) -> list[Banner]:
    """What has to be read before any figure: what devices were, and whether figures may be quoted, and if not, which of
    them and why.
    """
    return [*_devices(summary), *_quoting(summary)]


def _devices(summary: Summary) -> Iterator[Banner]:
    """What no efficiency may be read without: replicas that shared one CPU, and hosts that are not alike."""
    hosts = summary.run.document.hosts
    configs = [summary.run.configs[row.case] for row in summary.run.rows if row.status == "ok"]
    on_cpu = [config for config in configs if config.device == "cpu" and config.total_replicas > 1]
    split = "A CPU was split into logical devices" if any(config.replicas > 1 for config in on_cpu) else ""
    shared = "several processes shared a CPU" if any(config.workers > max(1, len(hosts)) for config in on_cpu) else ""
    if what := " and ".join(filter(None, [split, shared])):
        yield Banner("bad", f"{what[0].upper()}{what[1:]}: this shows that it works, not how GPUs scale.")
    if unlike := [f"{host.name}: {'; '.join(host.differences)}" for host in hosts if host.differences]:
        yield Banner("bad", f"Hosts are not as {hosts[0].name}, and a step waits for the slowest:", unlike)


def _quoting(summary: Summary) -> list[Banner]:
    doubtful = {case for doubt in summary.doubts for case in doubt.cases}
    if summary.faults or all(row.case in doubtful for row in summary.run.rows if row.status == "ok"):
        return [Banner("bad", "Do not quote these figures:", summary.reservations)]
    against = [*_named(summary.open, _open_in_words(summary.run.document)), *map(str, summary.doubts)]
    if not against and summary.run.document.until == "fixed":
        return [Banner("good", "These figures may be quoted,", [_WITH, *_remarks(summary)])]
    speeds = f"images/s of every {'other ' if doubtful else ''}case"
    settled = [*_named(summary.quotable, _settled_in_words), speeds, *_remarks(summary)]
    may = Banner("good", f"These may be quoted, {_WITH}:", settled)
    return [may, Banner("bad", "Do not quote these:", against)] if against else [may]


def next_step(summary: Summary) -> Command | None:
    """The command that would probably settle what a run until resolved left open; None where there is none."""
    document = summary.run.document
    seconds = seconds_to_settle(document, [item.comparison for item in summary.open])
    if seconds is None:
        return None
    request = document.request.to_resume(summary.run.directory, budget=60 * math.ceil((seconds + _END_SECONDS) / 60))
    return Command(command_line(request), f"What is open would probably be settled in {duration(seconds)} more, by:")


def quotable_comparisons(summary: Summary) -> list[NamedComparison]:
    """The comparisons that may be quoted, for programs."""
    return [NamedComparison(**_names(item)) for item in summary.quotable]


def open_comparisons(summary: Summary) -> list[OpenComparison]:
    """The comparisons that are open, for programs."""
    return [
        OpenComparison(
            **_names(item),
            more_pairs=pairs_to_settle(item.comparison),
            seconds=seconds_to_settle(summary.run.document, [item.comparison]),
        )
        for item in summary.open
    ]


def _names(judged: Judged) -> dict[str, str]:
    comparison = judged.comparison
    return {"suite": judged.section.suite.name, "base": comparison.base, "variant": comparison.variant}


def _remarks(summary: Summary) -> Iterator[str]:
    """What belongs beside the ratios that may be quoted."""
    if number := len(summary.sequential):
        comparisons = "comparison is" if number == 1 else "comparisons are"
        yield f"{number} {comparisons} sequential: say so beside the ratio"
    if any(item.comparison.settled_early for item in summary.quotable):
        yield "what was settled early leans outward: quote the interval with it, or measure it with --until fixed"


def _named(judged: Sequence[Judged], words: Callable[[Judged], str]) -> list[str]:
    named = [f"{item.section.suite.name}: {words(item)}" for item in judged[:MAX_NAMED]]
    more = len(judged) - MAX_NAMED
    return [*named, f"{more} more, which the tables name"] if more > 0 else named


def _settled_in_words(judged: Judged) -> str:
    return judged.section.judged(judged.comparison)


def _open_in_words(document: RunDocument) -> Callable[[Judged], str]:
    def words(judged: Judged) -> str:
        return f"{judged.section.judged(judged.comparison)}; {_what_settles(judged.comparison, document)}"

    return words


def _what_settles(comparison: Comparison, document: RunDocument) -> str:
    """What would probably settle a comparison, with its time where that is known."""
    if comparison.ratio is None:
        return comparison.reason.rstrip(".")
    pairs, seconds = pairs_to_settle(comparison), seconds_to_settle(document, [comparison])
    if pairs is not None:
        more = f"{pairs} more process{'es' if pairs > 1 else ''} a side{f', {duration(seconds)},' if seconds else ''}"
        if comparison.pairs < MIN_PROCESSES:
            return f"a verdict takes {more} at least"
        return f"about {more} would probably tell"
    if comparison.more_processes is None:
        return comparison.advice
    wanted = comparison.pairs + comparison.more_processes
    anew = seconds_of(document, 2 * wanted)
    return (
        f"it would take about {wanted} processes a side, and this run's last look is at {comparison.max_looks}; "
        f"measure it anew{f', {duration(anew)},' if anew else ''} with --until fixed --replicates {wanted}"
    )
