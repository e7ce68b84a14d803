"""What do the forward pass, the backward pass and the optimizer take of a step?"""

from collections.abc import Callable

from gnet_core import StepConfig, Suite, Sweep


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(part=("train", "gradients", "forward"))


SUITE = Suite(
    name="parts",
    question="What do forward, backward and optimizer take of a step?",
    cases=cases,
    view="parts",
    varies="part",
    base="train",
    position=5,
    presets=("full",),
)


def bench_parts(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
