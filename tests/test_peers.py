"""The peers train the same network: same size, same work, same results from the same weights.

`tox run -e peers` brings PyTorch and JAX and runs these; without them each is skipped.
"""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from gnet_core.config import StepConfig
from gnet_core.equal_work import judge_trajectory

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "jax")), reason="the extra peers is not installed"
)

CONFIG = StepConfig(image_size=96, batch_size=4, classes=5, dropout=False, learning_rate=1e-4)
EXECUTION = {"torch": "eager", "jax": "xla"}

IN_A_PROCESS = """
import json, sys
import numpy as np
from gnet_core import frameworks, synthetic
from gnet_core.config import StepConfig

config = StepConfig.from_dict(json.loads(sys.argv[1]))
case = frameworks.load(config.framework).Case(config)
found = {"flop": case.flop_per_image()}
if config.framework == "torch":
    found["trained"] = sum(each.numel() for each in case.network.parameters())
    found["moving"] = sum(each.numel() for name, each in case.network.named_buffers() if "running" in name)
else:
    found["trained"] = sum(int(np.prod(each.shape)) for each in case.network.trainable_variables)
    moving = [each for each in case.network.non_trainable_variables if "moving" in each.name]
    found["moving"] = sum(int(np.prod(each.shape)) for each in moving)
if len(sys.argv) > 2:
    stored = np.load(sys.argv[2])
    weights = {}
    for name in stored.files:
        weights.setdefault(name.split("/")[0], []).append(stored[name])
    case.take_weights(weights)
    found["logits"] = [np.asarray(each).tolist() for each in case.logits()]
    case.trace()
    found["losses"] = [float(case.run(1)) for _ in range(3)]
    found["share"] = case.low_precision_share() if config.framework == "torch" else None
print("found " + json.dumps(found))
"""


def measured(config, *arguments):
    command = [sys.executable, "-c", IN_A_PROCESS, json.dumps(config.to_dict()), *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    lines = [line for line in answer.stdout.splitlines() if line.startswith("found ")]
    assert lines, answer.stderr[-2000:]
    return json.loads(lines[0].removeprefix("found "))


def peer(framework, **changes):
    return StepConfig(**(CONFIG.to_dict() | {"framework": framework, "execution": EXECUTION[framework]} | changes))


@pytest.fixture(scope="module", params=["published", "paper"])
def ours(request, tmp_path_factory):
    """Our network with weights that no training starts from, its logits, and the losses of its first steps."""
    import tensorflow as tf

    from gnet_core.data import synthetic_batch
    from gnet_core.model import build_model
    from gnet_core.step import make_train_step

    config = StepConfig(**(CONFIG.to_dict() | {"widths": request.param}))
    network = build_model(config)
    chance = np.random.default_rng(0)
    for variable in network.weights:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(chance.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "bias", "moving_mean"):
            variable.assign(chance.normal(0, 0.1, variable.shape))
    path = tmp_path_factory.mktemp("weights") / "ours.npz"
    layers = [layer for layer in network.layers if layer.weights and "dropout" not in layer.name]
    np.savez(path, **{f"{layer.name}/{n}": each for layer in layers for n, each in enumerate(layer.get_weights())})
    images, labels = synthetic_batch(config)
    logits = [each.numpy() for each in network(images, training=False)]
    step = make_train_step(network, config)
    losses = [float(step(images, labels).loss) for _ in range(3)]
    assert tf.math.is_finite(losses[-1])
    return request.param, path, logits, losses


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_peer_has_the_networks_parameters_and_does_its_operations(framework):
    found = measured(peer(framework, image_size=224, classes=47, batch_size=2))
    assert (found["trained"], found["moving"]) == (8_140_253, 38_784)
    assert found["flop"] == 7_059_151_584


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_weights_copied_from_ours_give_our_logits_and_our_losses(framework, ours):
    widths, path, logits, losses = ours
    found = measured(peer(framework, widths=widths), path)
    for theirs, expected in zip(found["logits"], logits, strict=True):
        np.testing.assert_allclose(theirs, expected, rtol=1e-3, atol=1e-4 * np.max(np.abs(expected)))
    assert judge_trajectory(found["losses"], losses, "float32").within, (found["losses"], losses)


def test_pytorchs_autocast_multiplies_in_bfloat16(ours):
    widths, path, _, _ = ours
    assert measured(peer("torch", widths=widths), path)["share"] == 0
    assert 0.98 < measured(peer("torch", widths=widths, precision="mixed_bfloat16"), path)["share"] < 1
