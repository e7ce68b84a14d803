"""What do fused layers buy against plain Keras ones?"""

import dataclasses
from typing import Any

from gnet_core.config import LAYERS, StepConfig
from gnet_core.plan.suites import Suite, Sweep
from gnet_core.run.timer import Timer


def cases(sweep: Sweep) -> list[StepConfig]:
    cases = sweep.cases(precision=("float32", "mixed_bfloat16"))
    return [dataclasses.replace(case, layers=layers) for case in cases for layers in LAYERS]


SUITE = Suite(
    name="implementation",
    question="What do fused layers give against plain Keras ones?",
    cases=cases,
    varies="layers",
    base="keras",
    position=7,
    presets=("full",),
)


def bench_implementation(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
