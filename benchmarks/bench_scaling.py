"""What do the second device, the eighth and the second host bring?"""

import dataclasses
from collections.abc import Callable

from gnet_core import StepConfig, Suite, Sweep


def weak(sweep: Sweep) -> list[StepConfig]:
    return sweep.scaled("weak")


def strong(sweep: Sweep) -> list[StepConfig]:
    return sweep.scaled("strong")


def with_and_without_exchange(sweep: Sweep) -> list[StepConfig]:
    several = [case for case in weak(sweep) if case.total_replicas > 1]
    return [dataclasses.replace(case, all_reduce=exchanges) for case in several for exchanges in (True, False)]


def with_both_norms(sweep: Sweep) -> list[StepConfig]:
    """At the most replicas, where synchronising costs the most."""
    cases = weak(sweep)
    most = max(case.total_replicas for case in cases)
    largest = [case for case in cases if case.total_replicas == most > 1]
    return [dataclasses.replace(case, batch_norm=norm) for case in largest for norm in ("per_replica", "synchronised")]


def beside_torch(sweep: Sweep) -> list[StepConfig]:
    """PyTorch's DistributedDataParallel has a process a device."""
    cases = [case for case in weak(sweep) if case.workers > 1 == case.replicas]
    ours = [dataclasses.replace(case, execution="graph") for case in cases]
    return list(
        dict.fromkeys(
            case for own in ours for case in (own, dataclasses.replace(own, framework="torch", execution="eager"))
        )
    )


SUITES = (
    Suite(
        name="weak-scaling",
        question="What do more devices bring, each with as much to do as one alone?",
        cases=weak,
        view="devices",
        varies="total_replicas",
        base=1,
        scaling="weak",
        position=20,
    ),
    Suite(
        name="strong-scaling",
        question="What do more devices bring, with as much to do together as one alone?",
        cases=strong,
        view="devices",
        varies="total_replicas",
        base=1,
        scaling="strong",
        position=21,
    ),
    Suite(
        name="communication",
        question="What does exchanging the gradients cost a step?",
        cases=with_and_without_exchange,
        varies="all_reduce",
        base=True,
        costs="exchanging gradients",
        scaling="weak",
        position=22,
    ),
    Suite(
        name="batch-norm",
        question="What does batch normalisation over all replicas cost against each replica's own?",
        cases=with_both_norms,
        varies="batch_norm",
        base="per_replica",
        scaling="weak",
        position=23,
    ),
    Suite(
        name="distributed-frameworks",
        question="Would PyTorch's DistributedDataParallel be faster on as many devices?",
        cases=beside_torch,
        varies="framework",
        base="tensorflow",
        base_fields={"execution": "graph"},
        scaling="weak",
        position=24,
    ),
)


def bench_scaling(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
