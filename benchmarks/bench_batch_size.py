"""How does the throughput scale with the batch, and where does memory end?"""

from typing import Any

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Suite, Sweep
from gnet_core.run.timer import Timer


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(batch_size=sweep.preset.batch_sizes)


SUITE = Suite(
    name="batch-size",
    question="How does the throughput scale with the batch size?",
    cases=cases,
    view="scaling",
    varies="batch_size",
    position=4,
)


def bench_batch_size(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
