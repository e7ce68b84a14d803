"""What do fused layers buy against plain Keras ones?"""

from collections.abc import Callable

from gnet_core import StepConfig, Suite, Sweep


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(precision=("float32", "mixed_bfloat16"), layers=("keras", "fused"))


SUITE = Suite(
    name="implementation",
    question="What do fused layers give against plain Keras ones?",
    cases=cases,
    varies="layers",
    base="keras",
    position=7,
    presets=("full",),
)


def bench_implementation(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
