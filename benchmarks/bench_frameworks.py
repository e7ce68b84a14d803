"""Would PyTorch or JAX train the same network faster?"""

import dataclasses
from collections.abc import Callable
from typing import Any

from gnet_core import StepConfig, Suite, Sweep

PEERS: tuple[dict[str, Any], ...] = (
    {"framework": "torch", "execution": "eager"},
    {"framework": "torch", "execution": "graph"},
    {"framework": "jax", "execution": "xla"},
)


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
    peers = [dataclasses.replace(case, **peer) for case in graphs for peer in PEERS if peer["execution"] in executions]
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


def bench_frameworks(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
