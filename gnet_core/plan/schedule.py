"""Which workers are alive together, and in which order they take their turns. Plain arithmetic, nothing is started."""

from __future__ import annotations

import dataclasses
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.suites import PlannedCase

_WORKER = re.compile(r"(?P<case>.+)\.r(?P<replicate>[1-9][0-9]{0,4})", re.DOTALL)


class WorkerName(NamedTuple):
    """A process that measures a case, by the case's name and its number among that case's processes."""

    case: str
    replicate: int
    """From 1 on; 0 is a probe of the memory that the case takes."""

    def __str__(self) -> str:
        """As run.json, turns.csv and the names of files have it."""
        return f"{self.case}.r{self.replicate}"

    @property
    def raw_file(self) -> str:
        return f"raw/{self}.json"

    @classmethod
    def parse(cls, text: str) -> WorkerName:
        """The worker of that text. Raises GnetError for what no run calls a worker."""
        if (match := _WORKER.fullmatch(text)) is None:
            raise GnetError(f"worker {text!r:.300} is none; it has to be the name of a case, .r and a number from 1 on")
        return cls(match["case"], int(match["replicate"]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One process to be: a case, measured by a process of its own."""

    case: PlannedCase
    replicate: int

    @property
    def worker(self) -> WorkerName:
        return WorkerName(self.case.name, self.replicate)


def estimated_bytes(config: StepConfig) -> int:
    """About the memory a worker takes at its highest on a CPU, with all its processes. What it really takes is watched.

    From resident memory at 224×224: TensorFlow 2.21's graph float32 1.1 GiB at batch 1 and 3.7 at 64, XLA 3.1 and eager
    2.1 at 16, bfloat16 2.1 at 32; JAX 0.10 5.1 at 16 in both precisions; PyTorch less than TensorFlow.
    """
    start, an_image = {"eager": (1.1, 0.065), "graph": (1.1, 0.042), "xla": (1.6, 0.095)}[config.execution]
    if config.framework == "jax":
        an_image = 0.22
    elif config.compute_dtype != "float32":
        an_image *= 0.8
    if config.part == "forward":  # which keeps nothing for gradients
        an_image *= 0.5
    elif config.part == "input":  # which has no step
        an_image = 0.0
    if config.feed != "ready":  # batches that are made ahead, and images that are kept
        start, an_image = start + (0.5 if config.feed == "cache" else 0.1), an_image + 0.008
    images = config.batch_size * (config.image_size / 224) ** 2
    return int((start * config.workers + an_image * images) * 2**30)


def groups(cases: Sequence[PlannedCase], pairs: Sequence[tuple[PlannedCase, PlannedCase]]) -> list[list[PlannedCase]]:
    """The cases in parts: those that are compared with each other, also by way of others, are in one."""
    group_of = {case: [case] for case in cases}
    for base, variant in pairs:
        if group_of[base] is group_of[variant]:
            continue
        joined = group_of[base] + group_of[variant]
        group_of.update(dict.fromkeys(joined, joined))
    return list({id(group): group for group in group_of.values()}.values())


def cohorts(
    parts: Sequence[Sequence[PlannedCase]],
    replicates: int,
    memory_bytes: int,
    sizes: Mapping[PlannedCase, int],
    bases: Mapping[PlannedCase, PlannedCase],
    started: Mapping[PlannedCase, int] | None = None,
) -> list[list[Job]]:
    """Workers that are alive together, as few such cohorts as simple packing finds; `sizes` are bytes.

    A part stays whole wherever it fits. Where it does not, its first case, the base, stays with as many others as fit;
    the rest follow beside another process of their base, as `bases` has it, or run alone where not even that fits, and
    are compared sequentially. No two processes of a case are alive together: replicates spread over the run see all of
    the machine's drift, without which a figure's interval would be too narrow, and a later run could not be compared
    with this one. `started` is how many processes a case has had already; its further ones are numbered on.
    """
    packed: list[tuple[list[Job], int]] = []
    processes: Counter[PlannedCase] = Counter(started)
    # Large parts first: the small ones then fill what they leave.
    ordered = sorted(parts, key=lambda part: -sum(sizes[case] for case in part))
    bundles = [bundle for part in ordered for bundle in _bundles(part, memory_bytes, sizes, bases)]
    for bundle in bundles * replicates:
        processes.update(bundle)
        jobs = [Job(case=case, replicate=processes[case]) for case in bundle]
        needed = sum(sizes[case] for case in bundle)
        for index, (together, used) in enumerate(packed):
            if used + needed <= memory_bytes and not {job.case for job in together} & set(bundle):
                packed[index] = (together + jobs, used + needed)
                break
        else:
            packed.append((jobs, needed))
    return [jobs for jobs, _ in packed]


def _bundles(
    part: Sequence[PlannedCase],
    memory_bytes: int,
    sizes: Mapping[PlannedCase, int],
    bases: Mapping[PlannedCase, PlannedCase],
) -> Iterator[list[PlannedCase]]:
    """The part in pieces that fit, each led by a base; what does not fit beside its base is a piece of its own."""
    left = list(part)
    leader, followers = left[0], left[1:]
    while True:
        piece, used = [leader], sizes[leader]
        for case in followers:
            if used + sizes[case] <= memory_bytes:
                piece.append(case)
                used += sizes[case]
        yield piece
        left = [case for case in left if case not in piece]
        if not left:
            return
        leader, followers = left[0], []
        base = bases.get(leader)
        if base is not None and base in sizes and sizes[base] + sizes[leader] <= memory_bytes:
            leader, followers = base, [case for case in left if bases.get(case) == base]


def orders(workers: int, rounds: int, seed: str) -> list[list[int]]:
    """For each round the order in which the workers, by number, take their turns; drawn anew each round."""
    chance = random.Random(seed)
    return [chance.sample(range(workers), workers) for _ in range(rounds)]
