"""What do the auxiliary classifiers and their losses cost?"""

import dataclasses
from typing import Any

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Suite, Sweep
from gnet_core.run.timer import Timer


def cases(sweep: Sweep) -> list[StepConfig]:
    return [dataclasses.replace(case, aux_weight=aux_weight) for case in sweep.cases() for aux_weight in (0.3, 0)]


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


def bench_auxiliary(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
