"""What would probably settle the comparisons that a run left open, from what its processes cost so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from gnet_core.results.run_document import RunDocument
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison


def pairs_to_settle(comparison: Comparison) -> int | None:
    """How many more pairs of processes would probably settle it; None for more than the looks that it has left."""
    if comparison.pairs < MIN_PROCESSES:
        return MIN_PROCESSES - comparison.pairs
    more, most = comparison.more_processes, comparison.max_looks
    return more if more is not None and most is not None and comparison.pairs + more <= most else None


def seconds_to_settle(document: RunDocument, comparisons: Iterable[Comparison]) -> float | None:
    """Wall time in which they are probably settled, those left out that no further look of the run would settle; None
    where none is left or where run.json does not tell what a process cost.
    """
    processes: dict[str, int] = defaultdict(int)  # by case: a base is started once for all its variants
    for comparison in comparisons:
        for case in (comparison.base, comparison.variant):
            processes[case] = max(processes[case], pairs_to_settle(comparison) or 0)
    return seconds_of(document, sum(processes.values()))


def seconds_of(document: RunDocument, processes: int) -> float | None:
    """Wall time of so many processes, at what those so far cost; None where that is not known, and of no processes."""
    finished = sum(len(case.raw) for case in document.cases)
    seconds = document.time_spent.measuring * processes / max(finished, 1)
    return seconds if seconds > 0 else None
