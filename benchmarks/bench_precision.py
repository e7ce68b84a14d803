"""What does each precision buy over float32?"""

from typing import Any

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Suite, Sweep
from gnet_core.run.timer import Timer


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(precision=sweep.preset.precisions)


SUITE = Suite(
    name="precision",
    question="What does mixed precision give against float32?",
    cases=cases,
    varies="precision",
    base="float32",
    position=3,
)


def bench_precision(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
