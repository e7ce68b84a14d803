"""What do fused layers buy against plain Keras ones?"""

import dataclasses
from typing import Any

from gnet_core.config import LAYERS, StepConfig
from gnet_core.sweep import Suite, Sweep
from gnet_core.timing import Timer


def cases(sweep: Sweep) -> list[StepConfig]:
    precisions = [precision for precision in sweep.preset.precisions if precision != "tf32"]
    return [dataclasses.replace(case, layers=layers) for case in sweep.cases(precision=precisions) for layers in LAYERS]


SUITE = Suite(
    name="implementation",
    question="What do fused layers give against plain Keras ones?",
    cases=cases,
    varies="layers",
    base="keras",
    position=7,
    only_full=True,
)


def bench_implementation(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
