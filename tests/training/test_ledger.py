"""The ledger on a clock that is told the time."""

from __future__ import annotations

import contextlib

from gnet_core.training.ledger import Stopwatch, WallTime


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_moment_belongs_to_the_innermost_entry_and_all_of_them_sum_to_the_whole() -> None:
    clock = Clock()
    watch = Stopwatch(WallTime(imports=4.0), clock)
    clock.now += 1
    with watch.of("train"):
        clock.now += 2
        with watch.of("input_wait"):
            clock.now += 3
        clock.now += 5
    clock.now += 7
    assert watch.read() == WallTime(imports=4.0, train=7.0, input_wait=3.0, other=8.0)
    assert watch.read().total == 22.0


def test_what_fails_is_counted_as_well() -> None:
    clock = Clock()
    watch = Stopwatch(WallTime(), clock)
    with contextlib.suppress(KeyError), watch.of("checkpoint"):
        clock.now += 2
        raise KeyError
    clock.now += 1
    assert watch.read() == WallTime(checkpoint=2.0, other=1.0)


def test_it_can_be_read_amid_an_entry_and_goes_on() -> None:
    clock = Clock()
    watch = Stopwatch(WallTime(), clock)
    with watch.of("test"):
        clock.now += 1
        assert watch.read() == WallTime(test=1.0)
        clock.now += 1
    watch.add(WallTime(train=3.0, test=1.0))
    assert watch.read() == WallTime(test=3.0, train=3.0)
