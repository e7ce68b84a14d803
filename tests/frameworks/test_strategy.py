"""Several replicas do the work of one: on logical devices of one process, and in processes that meet on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.loopback import all_on_loopback, free_addresses

ROOT = Path(__file__).parents[2]

Changes = dict[str, Any]
TRAIN: Changes = {"execution": "graph"}
GRADIENTS = TRAIN | {"part": "gradients"}
FUSED: Changes = {"image_size": 72, "classes": 10, "part": "gradients", "layers": "fused"}
ON_ONE = {
    "train": TRAIN,
    "gradients": GRADIENTS,
    "forward": {"part": "forward"},
    "fused": FUSED,
    "keras": FUSED | {"layers": "keras"},
}
ON_TWO = {name: case | {"replicas": 2} for name, case in ON_ONE.items()} | {
    "eager": TRAIN | {"replicas": 2, "execution": "eager"},
    "per replica": GRADIENTS | {"replicas": 2, "batch_norm": "per_replica"},
    "xla": GRADIENTS | {"replicas": 2, "batch_norm": "per_replica", "execution": "xla"},
    "xla train": TRAIN | {"replicas": 2, "batch_norm": "per_replica", "execution": "xla"},
    "bfloat16": TRAIN | {"replicas": 2, "precision": "mixed_bfloat16"},
    "apart": TRAIN | {"replicas": 2, "all_reduce": False},
}
"""Cases by name, all of one batch. Those of 10 classes have the whole network (see tests.frameworks.replicated)."""


class Outcome:
    """What cases came to (see tests.frameworks.replicated)."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        self.cases = {name.partition("/")[0] for name in self.arrays if "/" in name}

    def of(self, case, kind):
        names = [name for name in self.arrays if name.startswith(f"{case}/{kind}/")]
        assert names, (case, kind)
        return [self.arrays[f"{case}/{kind}/{place}"] for place in range(len(names))]


def taken(folder, cases, workers=1):
    """The outcome of the cases in one process, or in as many that meet."""
    path = folder / f"{workers}.npz"
    command = [sys.executable, "-m", "tests.frameworks.replicated", str(path), json.dumps(cases)]
    addresses = free_addresses(workers)
    clusters = [json.dumps({"addresses": addresses, "index": index}) for index in range(workers)]
    commands = [[*command, cluster] for cluster in clusters] if workers > 1 else [command]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    processes = [
        subprocess.Popen(each, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for each in commands
    ]
    try:
        ends = [process.communicate(timeout=600)[1][-2000:] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(ends)
    return Outcome(path)


def equal(left, right, tolerance=1e-3):
    """Whether arrays are equal but for rounding, of which there is nothing else in some: the gradient of a bias that
    normalisation takes away again is 0.
    """
    noise = 1e-5 * max(np.abs(array).max() for array in right)
    return all(
        np.allclose(one, other, rtol=tolerance, atol=tolerance and max(noise, tolerance * np.abs(other).max()))
        for one, other in zip(left, right, strict=True)
    )


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Of one replica and of two in a process."""
    cases = {f"one {name}": case for name, case in ON_ONE.items()} | ON_TWO
    return taken(tmp_path_factory.mktemp("two"), cases)


@pytest.fixture(scope="module", params=["4 replicas", "2 workers", "4 workers"])
def larger(request, tmp_path_factory):
    """Of more replicas, or in several processes."""
    number, _, field = request.param.partition(" ")
    names = ("train", "gradients") if request.param == "4 workers" else ("train", "gradients", "fused")
    cases = {name: ON_ONE[name] | {field: int(number)} for name in names}
    return taken(tmp_path_factory.mktemp("larger"), cases, int(number) if field == "workers" else 1)


@pytest.mark.parametrize("case", ["gradients", "fused", "keras"])
def test_two_replicas_have_the_loss_the_gradients_and_the_statistics_of_one(outcome, case):
    for kind in ("results", "gradients", "moved"):
        assert equal(outcome.of(case, kind), outcome.of(f"one {case}", kind)), kind


@pytest.mark.parametrize("case", ["train", "eager"])
def test_two_replicas_train_as_one_does_and_stay_alike(outcome, case):
    assert equal(outcome.of(case, "results"), outcome.of("one train", "results"))
    assert equal(outcome.of(case, "first"), outcome.of("one train", "first"))
    assert equal(outcome.of(case, "last"), outcome.of(case, "first"), 0)


def test_more_replicas_and_workers_do_the_work_of_one(outcome, larger):
    kinds = {"train": ("results", "first", "last"), "gradients": ("results", "gradients", "moved")}
    kinds["fused"] = kinds["gradients"]
    for case in larger.cases:
        for kind in kinds[case]:
            assert equal(larger.of(case, kind), outcome.of(f"one {case}", kind)), (case, kind)


def test_workers_on_loopback_listen_there_alone(larger):
    assert all_on_loopback(larger.arrays["ears"].tolist())


def test_the_forward_pass_has_the_result_of_the_whole_batch(outcome):
    assert equal(outcome.of("forward", "results"), outcome.of("one forward", "results"))


def test_bfloat16_trains_on_replicas_as_well(outcome):
    assert equal(outcome.of("bfloat16", "results"), outcome.of("one train", "results"), 0.05)


def test_replicas_that_normalise_for_themselves_do_other_work(outcome):
    assert not equal(outcome.of("per replica", "gradients"), outcome.of("one gradients", "gradients"), 0.01)


def test_xla_compiles_what_a_replica_does_by_itself_and_computes_the_same(outcome):
    for kind in ("results", "gradients", "moved"):
        assert equal(outcome.of("xla", kind), outcome.of("per replica", kind)), kind
    assert equal(outcome.of("xla train", "last"), outcome.of("xla train", "first"), 0)


def test_gradients_are_summed_once_a_step_and_not_where_that_is_switched_off(outcome):
    (apart,), (synchronised,), (once,) = (outcome.of(case, "sums") for case in ("apart", "train", "xla train"))
    assert once == 2  # one a replica
    assert synchronised == apart + 2  # beside those of batch normalisation
    assert not equal(outcome.of("apart", "last"), outcome.of("apart", "first"), 1e-4)


def test_each_replica_drops_others_and_as_many(outcome):
    first, second = outcome.arrays["masks"]
    assert (first != second).any()
    assert 16 < np.count_nonzero(first) < 48
