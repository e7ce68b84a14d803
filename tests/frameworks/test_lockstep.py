"""Workers in one process's threads that add up their commands through queues, as collectives do between processes."""

import queue
import threading

import pytest

from gnet_core.config import GnetError
from gnet_core.frameworks.lockstep import Lockstep
from gnet_core.system.cluster import Cluster


class Worker(Lockstep):
    """Says what it does, and hears from a queue what the first worker says; a first worker has the others' queues."""

    def __init__(self, index, others=()):
        super().__init__(Cluster(addresses=("a:1", "b:1"), index=index), workers=2)
        self.done, self.told, self.others = [], [], others
        self.heard: queue.Queue[list[int]] = queue.Queue()

    def _run(self, steps):
        self.done.append(f"run {steps}")

    def _set_dropout(self, active):
        self.done.append(f"dropout {active}")

    def _exchange(self):
        self.done.append("exchange")

    def _summed(self, numbers):
        for other in self.others:
            other.heard.put(numbers)
        if self.others:
            return numbers
        self.told.append(self.heard.get(timeout=10))
        return self.told[-1]


@pytest.fixture
def pair():
    follower = Worker(1)
    return Worker(0, [follower]), follower


def test_a_worker_that_follows_does_what_the_first_does_until_it_rests_and_then_until_it_has_finished(pair):
    first, follower = pair
    turns = []

    def follow():
        while True:
            turns.append(follower.follow())
            if not turns[-1]:
                return

    thread = threading.Thread(target=follow)
    thread.start()
    first.run(3)
    first.set_dropout(False)
    first.rest()
    first.rest()  # again, while the others wait for a turn
    first.run(2)
    first.exchange()
    first.finish()
    thread.join(timeout=10)
    assert turns == [True, False]
    assert first.done == follower.done == ["run 3", "dropout False", "run 2", "exchange"]


def test_runs_that_were_expected_are_not_told_again(pair):
    first, follower = pair
    first.expect(1, runs=3)
    for _ in range(4):
        first.run(1)
    first.expect(2)
    first.run(2)
    first.rest()
    assert follower.follow()
    assert first.done == follower.done == [*["run 1"] * 4, "run 2"]
    assert len(follower.told) == 4


def test_another_run_than_the_one_that_others_expect_is_refused(pair):
    first, _ = pair
    first.expect(2)
    with pytest.raises(ValueError, match="steps: 1 will not do; the other workers expect a run of 2"):
        first.run(1)
    first.run(2)
    first.run(1)
    assert first.done == ["run 2", "run 1"]


def test_a_case_of_one_worker_tells_nobody():
    class Alone(Worker):
        def __init__(self):
            Lockstep.__init__(self)
            self.done = []  # and no queue to tell anything by

    alone = Alone()
    alone.run(2)
    alone.rest()
    alone.finish()
    assert alone.done == ["run 2"]


def test_as_many_workers_come_as_the_case_has():
    with pytest.raises(GnetError, match="workers: 3 take this step together and 2 came; gnet bench starts them all"):
        Lockstep.__init__(Worker(1), Cluster(addresses=("a:1", "b:1")), workers=3)
