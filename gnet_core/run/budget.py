"""The wall time that a run until resolved may take: what has gone, what is kept for the end, and what still fits."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Plan
from gnet_core.results.run_document import RunDocument
from gnet_core.run.cohort import expected_seconds
from gnet_core.stats.sequential import FIRST_LOOK, MAX_LOOKS

TRACE_SECONDS = 40.0
"""Kept for a trace, which took 25 to 35 s of a graph on two cores."""
REPORT_SECONDS = 10.0
"""Kept for the report, which takes 2 to 5 s with its imports."""


PEAKS_SECONDS = 15.0
"""A guess at a measurement of the peaks in one precision. It took 10 to 15 s on two cores."""


def looks_within(seconds: float, cost: float) -> int:
    """How many looks a run has whose first processes are measured, if `seconds` are left and those took `cost`."""
    left = max(0.0, seconds)
    more = MAX_LOOKS if math.isinf(left) else int(left // max(cost, 1e-3))
    return min(MAX_LOOKS, max(FIRST_LOOK, 1 + more))


class Budget:
    """The budget of a run, whose earlier parts count. Costs are measured; a guess only weighs cases by each other."""

    def __init__(self, document: RunDocument, *, traces: bool) -> None:
        self._plan = document.plan or Plan()
        self._seconds = math.inf if document.budget_seconds is None else document.budget_seconds
        self._began = time.monotonic() - document.elapsed_seconds
        self._kept = REPORT_SECONDS + (TRACE_SECONDS if traces else 0.0)
        self._cost, self._weight = 0.0, 0.0
        """Seconds that the last processes took together, and what was expected of them."""

    @property
    def elapsed_seconds(self) -> float:
        """Wall time so far, that of earlier parts of the run included."""
        return time.monotonic() - self._began

    @property
    def left_seconds(self) -> float:
        """Wall time that is left of it, the end's share included; infinite where there is no budget."""
        return max(0.0, self._seconds - self.elapsed_seconds)

    @property
    def deadline(self) -> float:
        """The time of the monotonic clock after which no turn is begun."""
        return self._began + self._seconds - self._kept

    @contextlib.contextmanager
    def reserved_again(self) -> Iterator[None]:
        """Keep as much time for the end as this takes now."""
        began = time.monotonic()
        yield
        self._kept += time.monotonic() - began

    @contextlib.contextmanager
    def measured(self, configs: Sequence[StepConfig]) -> Iterator[None]:
        """Measure what a process of each of these cases costs."""
        began = time.monotonic()
        yield
        self._cost, self._weight = time.monotonic() - began, self._expected(configs)

    def has_room_for(self, configs: Sequence[StepConfig]) -> bool:
        """Whether a process of each of these cases probably ends before the deadline. The first may always begin."""
        if not self._weight:
            return True
        return time.monotonic() + self._cost * self._expected(configs) / self._weight <= self.deadline

    def max_looks(self) -> int:
        """How many processes of each case the budget holds, of which those that were measured are the first."""
        return looks_within(self.deadline - time.monotonic(), self._cost)

    def _expected(self, configs: Sequence[StepConfig]) -> float:
        return sum(expected_seconds(config, self._plan) for config in configs)
