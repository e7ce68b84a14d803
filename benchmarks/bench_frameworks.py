"""Would PyTorch or JAX train the same network faster?"""

import dataclasses
from typing import Any

from gnet_core.config import Execution, Framework, StepConfig
from gnet_core.plan.suites import Suite, Sweep
from gnet_core.run.timer import Timer

PEERS: tuple[tuple[Framework, Execution], ...] = (("torch", "eager"), ("torch", "graph"), ("jax", "xla"))


def cases(sweep: Sweep) -> list[StepConfig]:
    """Ours in its best execution on a CPU, in each on a GPU; the peers as their own communities would run them.

    On a CPU torch.compile takes minutes and came out no faster, so there it is measured where --execution asks for it.
    """
    on_cpu = sweep.template.device == "cpu"
    precisions = ("float32", "mixed_bfloat16") if on_cpu else sweep.preset.precisions
    executions = sweep.chosen.get("execution") or (("eager", "xla") if on_cpu else sweep.preset.executions)
    # Whatever is asked for, a graph of ours is what all are compared with.
    graphs = [dataclasses.replace(case, execution="graph") for case in sweep.cases(precision=precisions)]
    ours = [
        dataclasses.replace(case, execution=execution)
        for case in graphs
        for execution in ("graph", *(() if on_cpu else executions))
    ]
    peers = [
        dataclasses.replace(case, framework=framework, execution=execution)
        for case in graphs
        for framework, execution in PEERS
        if execution in executions
    ]
    return list(dict.fromkeys(ours + peers))


SUITE = Suite(
    name="frameworks",
    question="Would PyTorch or JAX train the same network faster?",
    cases=cases,
    varies="framework",
    base="tensorflow",
    base_fields={"execution": "graph"},
    position=8,
    presets=(),
)


def bench_frameworks(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    timer.time_train_step(benchmark, case)
