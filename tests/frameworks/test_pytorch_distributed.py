"""PyTorch's workers share a batch and its gradients: two processes that meet on loopback.

`tox run -e peers` brings PyTorch and runs these; without it they are skipped.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.loopback import all_on_loopback, free_addresses

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="the extra peers is not installed")


def taken(folder, changes, workers=1):
    """What each worker measured (see tests.frameworks.torch_workers)."""
    addresses, paths, processes = free_addresses(workers), [], []
    for index in range(workers):
        paths.append(folder / f"{index}.npz")
        command = [sys.executable, "-m", "tests.frameworks.torch_workers", str(paths[-1]), json.dumps(changes)]
        if workers > 1:
            command.append(json.dumps({"addresses": addresses, "index": index}))
        processes.append(subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True))
    try:
        ends = [process.communicate(timeout=900)[1][-2000:] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * workers, "\n".join(ends)
    return [dict(np.load(path)) for path in paths]


def gradients(measured):
    return [measured[f"gradient {number}"] for number in range(sum(name.startswith("gradient ") for name in measured))]


def distance(actual, expected):
    """How far arrays are apart, as a share of the expected one's length. That of a bias before a normalisation is 0 but
    for rounding.
    """
    return float(np.linalg.norm(actual - expected)) / max(float(np.linalg.norm(expected)), 0.1)


@pytest.mark.parametrize(
    ("changes", "most"),
    # The compiler's sums have another order, of which this deep a network makes percents in its first gradients.
    [({}, 1e-3), ({"execution": "graph"}, 0.1), ({"aux_weight": 0.0}, 1e-3)],
    ids=["eager", "graph", "main"],
)
def test_two_workers_have_the_gradients_of_the_whole_batch(tmp_path, changes, most):
    (alone,) = taken(tmp_path, changes | {"execution": "eager"})
    first, second = taken(tmp_path, changes | {"workers": 2}, 2)
    assert first["losses"][0] == pytest.approx(alone["losses"][0], rel=1e-4)
    for theirs, expected in zip(gradients(first), gradients(alone), strict=True):
        assert distance(theirs, expected) < most
    np.testing.assert_array_equal(first["last"], second["last"])
    assert first["flop"] == alone["flop"]
    assert first["applied"] == second["applied"] == 3
    assert first["threads"] == max(1, alone["threads"] // 2)


def test_what_workers_exchange_is_measured(tmp_path):
    first, _ = taken(tmp_path, {"workers": 2}, 2)
    assert first["exchange gradient_bytes"] == 4 * sum(gradient.size for gradient in gradients(first))
    for name, number in (("all_reduce_seconds", 7), ("local_step_seconds", 2), ("process_peak_bytes", 2)):
        assert first[f"exchange {name}"].shape == (number,)
        assert (first[f"exchange {name}"] > 0).all()
    assert first["ears"].size
    assert all_on_loopback(first["ears"].tolist())


def test_without_an_exchange_workers_go_their_own_way(tmp_path):
    first, second = taken(tmp_path, {"workers": 2, "all_reduce": False}, 2)
    assert (first["last"] != second["last"]).any()
    assert "exchange gradient_bytes" not in first
