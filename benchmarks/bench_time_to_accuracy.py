"""How long does a session train until its test accuracy is good enough, and what does each precision cost or give?"""

from collections.abc import Callable

SUITE = None
"""It trains whole sessions and times no steps, so it is no suite of a preset: gnet bench time-to-accuracy runs it."""


def bench_time_to_accuracy(train_session: Callable[[], None]) -> None:
    train_session()
