"""What do the auxiliary classifiers and their losses cost?"""

from collections.abc import Callable

from gnet_core import StepConfig, Suite, Sweep


def cases(sweep: Sweep) -> list[StepConfig]:
    return sweep.cases(aux_weight=(0.3, 0))


SUITE = Suite(
    name="auxiliary",
    question="What do the auxiliary losses cost?",
    cases=cases,
    varies="aux_weight",
    base=0.3,
    costs="the auxiliary losses",
    position=6,
    presets=("full",),
)


def bench_auxiliary(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
