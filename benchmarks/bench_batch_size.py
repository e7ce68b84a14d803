"""How does the throughput scale with the batch, and where does memory end?"""

from collections.abc import Callable

from gnet_core import StepConfig, Suite, Sweep


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(batch_size=sweep.preset.batch_sizes)


SUITE = Suite(
    name="batch-size",
    question="How does the throughput scale with the batch size?",
    cases=cases,
    view="scaling",
    varies="batch_size",
    position=4,
    presets=("smoke", "quick", "full", "check"),
)


def bench_batch_size(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
