"""What do a graph and XLA's compilation buy over running the step eagerly?"""

from typing import Any

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Suite, Sweep
from gnet_core.run.timer import Timer


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(execution=sweep.preset.executions)


SUITE = Suite(
    name="execution",
    question="What does XLA give against graph and eager execution?",
    cases=cases,
    varies="execution",
    base="graph",
    position=2,
)


def bench_execution(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
