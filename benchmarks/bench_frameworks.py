"""Would PyTorch or JAX train the same network faster?"""

import dataclasses
from typing import Any

from gnet_core.config import Execution, Framework, StepConfig
from gnet_core.sweep import Suite, Sweep
from gnet_core.timing import Timer

PEERS: tuple[tuple[Framework, Execution], ...] = (("torch", "eager"), ("torch", "graph"), ("jax", "xla"))


def cases(sweep: Sweep) -> list[StepConfig]:
    """Ours in its best execution on a CPU, in each on a GPU; the peers as their own communities would run them.

    On a CPU torch.compile takes minutes and came out no faster, so there it is measured where --execution asks for it.
    """
    on_cpu = sweep.template.device == "cpu"
    precisions = ("float32", "mixed_bfloat16") if on_cpu else sweep.preset.precisions
    ours = sweep.cases(precision=precisions, execution=("graph",) if on_cpu else sweep.preset.executions)
    asked = sweep.chosen.get("execution") or (("eager", "xla") if on_cpu else sweep.preset.executions)
    peers = [
        dataclasses.replace(case, framework=framework, execution=execution)
        for case in ours
        for framework, execution in PEERS
        if execution in asked
    ]
    return list(dict.fromkeys(ours + peers))


SUITE = Suite(
    name="frameworks",
    question="Would PyTorch or JAX train the same network faster?",
    cases=cases,
    varies="framework",
    base="tensorflow",
    position=8,
    presets=(),
)


def bench_frameworks(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
