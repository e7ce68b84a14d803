"""What do the forward pass, the backward pass and the optimizer take of a step?"""

import dataclasses
from typing import Any

from gnet_core.config import PARTS, StepConfig
from gnet_core.plan.suites import Suite, Sweep
from gnet_core.run.timer import Timer


def cases(sweep: Sweep) -> list[StepConfig]:
    return [dataclasses.replace(case, part=part) for case in sweep.cases() for part in PARTS]


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


def bench_parts(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
