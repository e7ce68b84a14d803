"""What do a graph and XLA's compilation buy over running the step eagerly?"""

from collections.abc import Callable

from gnet_core import StepConfig, Suite, Sweep


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(execution=sweep.preset.executions)


SUITE = Suite(
    name="execution",
    question="What does XLA give against graph and eager execution?",
    cases=cases,
    varies="execution",
    base="graph",
    position=2,
    presets=("smoke", "quick", "full", "check"),
)


def bench_execution(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
