"""Does the input pipeline keep up with the train step?"""

import dataclasses
from collections.abc import Callable

from gnet_core import StepConfig, Suite, Sweep


def cases(sweep: Sweep) -> list[StepConfig]:
    """The step alone, and for each feed the loader alone and both together. The step alone is fed no data set, which
    would have to be loaded.
    """
    found: list[StepConfig] = []
    for fed in sweep.cases(feed=("jpeg", "tfrecord", "cache")):
        alone = dataclasses.replace(fed, feed="ready", data="synthetic")
        found += [alone, dataclasses.replace(fed, part="input"), fed]
    return list(dict.fromkeys(found))


SUITE = Suite(
    name="input-pipeline",
    question="Does the input pipeline keep up with the train step?",
    cases=cases,
    view="input",
    varies="feed",
    base="ready",
    base_fields={"part": "train", "data": "synthetic"},
    position=9,
)


def bench_input_pipeline(case: StepConfig, time_train_step: Callable[[StepConfig], None]) -> None:
    time_train_step(case)
