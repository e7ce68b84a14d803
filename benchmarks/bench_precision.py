"""What does each precision buy over float32?"""

from collections.abc import Callable

from gnet_core import StepConfig, Suite, Sweep


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(precision=sweep.preset.precisions)


SUITE = Suite(
    name="precision",
    question="What does mixed precision give against float32?",
    cases=cases,
    varies="precision",
    base="float32",
    position=3,
    presets=("smoke", "quick", "full", "check"),
)


def bench_precision(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
