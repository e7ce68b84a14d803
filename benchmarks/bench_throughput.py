"""How many images a second does the train step process here, at a batch that fills the device?"""

from typing import Any

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Suite, Sweep
from gnet_core.run.timer import Timer


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(precision=("float32", "mixed_bfloat16"), batch_size=(sweep.preset.throughput_batch_size,))


SUITE = Suite(
    name="throughput",
    question="How many images a second does the train step process?",
    cases=cases,
    position=1,
)


def bench_throughput(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
