"""How the workers of a case stay together: the first says what to do next, and the others do the same."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import Any

from gnet_core.config import GnetError
from gnet_core.frameworks.base import Exchange
from gnet_core.system.cluster import Cluster

EXCHANGE_ROUNDS = 7
"""Times that an exchange is measured, after one more that traces it or warms up."""

COLLECTIVE_TIMEOUT_SECONDS = 600
"""After which a collective fails whose other workers do not come. It outlasts any compilation, and a runner's limit of
a case comes before it."""


class Command(enum.IntEnum):
    """What the first worker tells the others, each with two whole numbers."""

    RUN = 1
    DROPOUT = 2
    EXCHANGE = 3
    REST = 4
    FINISH = 5


class Lockstep(ABC):
    """What is alike in the cases of every framework (gnet_core.frameworks.base.Case), of one worker or of several.

    A command travels as a sum over all workers, to which those that follow add nothing: by the framework's own
    collectives, which work between hosts as between processes, and in their order, so that no step can overtake it.
    """

    def __init__(self, cluster: Cluster | None = None, workers: int = 1) -> None:
        """Raises GnetError where the case has another number of workers than the cluster."""
        present = len(cluster.addresses) if cluster else 1
        if present != workers:
            raise GnetError(
                f"workers: {workers} take this step together and {present} came; gnet bench starts them all"
            )
        self._leads = cluster is not None and cluster.reports
        self._rests = False
        self._expected_steps = self._expected_runs = 0

    def expect(self, steps: int, runs: int = 1) -> None:
        self._tell(Command.RUN, steps, runs)
        self._expected_steps, self._expected_runs = steps, runs

    def run(self, steps: int) -> Any:
        if not self._expected_runs:
            self.expect(steps)
        if steps != self._expected_steps:
            raise ValueError(f"steps: {steps} will not do; the other workers expect a run of {self._expected_steps}")
        self._expected_runs -= 1
        return self._run(steps)

    def set_dropout(self, active: bool) -> None:
        self._tell(Command.DROPOUT, int(active))
        self._set_dropout(active)

    def exchange(self) -> Exchange | None:
        self._tell(Command.EXCHANGE)
        return self._exchange()

    def rest(self) -> None:
        if not self._rests:  # else the others wait for their turn already and would not hear it
            self._tell(Command.REST)
        self._rests = True

    def finish(self) -> None:
        self._tell(Command.FINISH)

    def follow(self) -> bool:
        while True:
            command, number, runs = self._summed([0, 0, 0])
            match Command(command):
                case Command.RUN:
                    for _ in range(runs):  # each ends with collectives of its own
                        self._run(number)
                case Command.DROPOUT:
                    self._set_dropout(bool(number))
                case Command.EXCHANGE:
                    self._exchange()
                case Command.REST:
                    return True
                case Command.FINISH:
                    return False

    def _tell(self, command: Command, number: int = 0, runs: int = 0) -> None:
        if self._leads:
            self._summed([command, number, runs])
        self._rests = False

    @abstractmethod
    def _run(self, steps: int) -> Any:
        """See Case.run."""

    @abstractmethod
    def _set_dropout(self, active: bool) -> None:
        """See Case.set_dropout."""

    def _exchange(self) -> Exchange | None:
        """See Case.exchange."""
        return None

    def _summed(self, numbers: list[int]) -> list[int]:
        """The numbers summed over all workers, each of which calls this."""
        raise NotImplementedError
