"""The wall time that a run until resolved may take: what has gone, what is kept for the end, and what still fits."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Sequence

from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.suites import Plan
from gnet_core.results.run_document import RunDocument
from gnet_core.run.account import Account
from gnet_core.run.cohort import expected_seconds
from gnet_core.stats.sequential import MAX_LOOKS

TRACE_SECONDS = 40.0
"""Kept for a trace, which took 25 to 35 s of a graph on two cores."""

REPORT_SECONDS = 10.0
"""Kept for the report, which takes 2 to 5 s with its imports."""

MIN_LAST_LOOK = 6
"""The last look of a run whose budget holds fewer processes of every case: those that are settled leave their time to
the others."""

MACHINES_DIFFER = 10.0
"""How many times faster than the guess, which is from two cores, a machine may be before any of it was measured."""

PEAKS_SECONDS = 15.0
"""A guess at a measurement of the peaks in one precision. It took 10 to 15 s on two cores."""


def looks_within(seconds: float, cost: float) -> int:
    """How many looks a run has whose first processes are measured, if `seconds` are left and as many of the cases that
    are compared cost so many.
    """
    more = seconds // cost if cost and seconds < math.inf else MAX_LOOKS
    return int(min(MAX_LOOKS, max(MIN_LAST_LOOK, 1 + more)))


class Budget:
    """The budget of a run, whose earlier parts count. What a process costs is measured; a guess only weighs cases by
    each other, and stands in until there is a measurement.
    """

    def __init__(self, document: RunDocument, account: Account, *, traces: bool) -> None:
        self._plan = document.plan or Plan()
        self._seconds = math.inf if document.budget_seconds is None else document.budget_seconds
        self._asked_seconds = self._seconds - document.time_spent.total
        """What was given to this part of the run."""
        self._account = account
        self._kept = REPORT_SECONDS + (TRACE_SECONDS if traces else 0.0)
        self._measured: list[tuple[StepConfig, int]] = []
        """Each process so far, with its turns."""

    @property
    def left_seconds(self) -> float:
        """Wall time that is left of it, the end's share included; infinite where there is no budget."""
        return max(0.0, self._seconds - self._account.spent.total)

    @property
    def deadline(self) -> float:
        """The time of the monotonic clock after which no turn is begun."""
        spent = self._account.spent
        left = self._seconds - spent.total - self._kept - spent.peaks  # which may have to be measured again
        return time.monotonic() + left

    def note_measured(self, processes: Iterable[tuple[StepConfig, int]]) -> None:
        """Tell it all processes that have ended so far, with their turns."""
        self._measured = list(processes)

    def require_room_for(self, configs: Sequence[StepConfig]) -> None:
        """Raise GnetError where the budget would not do for a process of each, were the machine MACHINES_DIFFER times
        faster than the guess.
        """
        needed = sum(expected_seconds(config, self._plan) for config in configs) / MACHINES_DIFFER + self._kept
        if configs and self.left_seconds < needed:
            raise GnetError(
                f"budget: {self._asked_seconds:.0f} s is shorter than a first process of each of the {len(configs)} "
                f"cases, which takes {needed:.0f} s at the least with what follows it; three of each take a verdict"
            )

    def predicted_seconds(self, configs: Sequence[StepConfig], turns: int | None = None) -> float:
        """The time that a process of each of these cases probably takes."""
        so_far = sum(self._expected(config, turns) for config, turns in self._measured)
        rate = self._account.spent.measuring / so_far if so_far else 1.0
        return rate * sum(self._expected(config, turns or self._plan.turns) for config in configs)

    def has_room_for(self, configs: Sequence[StepConfig], turns: int | None = None) -> bool:
        """Whether a process of each of these cases probably ends before the deadline. The first may always begin."""
        fits = time.monotonic() + self.predicted_seconds(configs, turns) <= self.deadline
        return not self._measured or fits

    def last_look(self, compared: Sequence[StepConfig]) -> int:
        """How many processes of each compared case the budget holds, of which those that were measured are the first,
        if none is settled before.
        """
        return looks_within(self.deadline - time.monotonic(), self.predicted_seconds(compared))

    def _expected(self, config: StepConfig, turns: int) -> float:
        return expected_seconds(config, dataclasses.replace(self._plan, turns=turns))
