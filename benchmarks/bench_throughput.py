"""How many images a second does the train step process here, at a batch that fills the device?"""

from collections.abc import Callable

from gnet_core import StepConfig, Suite, Sweep


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(precision=("float32", "mixed_bfloat16"), batch_size=(sweep.preset.throughput_batch_size,))


SUITE = Suite(
    name="throughput",
    question="How many images a second does the train step process?",
    cases=cases,
    position=1,
    presets=("smoke", "quick", "full", "check"),
)


def bench_throughput(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
