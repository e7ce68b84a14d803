"""The peers train the same network: same size, same work, same results from the same weights.

`tox run -e peers` brings PyTorch and JAX and runs these; without them each is skipped.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gnet_core.config import StepConfig
from gnet_core.stats.losses import judge_trajectory
from tests.conftest import JAX_SECTION, TORCH_SECTION

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "jax")), reason="the extra peers is not installed"
)

CONFIG = StepConfig(image_size=96, batch_size=4, classes=5, dropout=False, learning_rate=1e-4)
EXECUTION = {"torch": "eager", "jax": "xla"}

IN_A_PROCESS = """
import json, os, sys
import numpy as np
from gnet_core.frameworks import base as frameworks; from gnet_core.datasets import synthetic
from gnet_core.config import StepConfig

def take_weights(case, weights):
    if config.framework == "jax":
        for name, arrays in weights.items():
            case.network.get_layer(name).set_weights(arrays)
        return case.load_state()
    import torch
    for name, module in case.network.named.items():
        statistics = [buffer for buffer_name, buffer in module.named_buffers() if "running" in buffer_name]
        for target, array in zip([*module.parameters(), *statistics], weights.get(name, []), strict=True):
            source = torch.as_tensor(array)
            source = source.permute(3, 2, 0, 1) if source.ndim == 4 else source.T if source.ndim == 2 else source
            target.data.copy_(source)

def logits(case):
    if config.framework == "jax":
        return case.network(case._batch[0], training=False)
    outputs = case.network.eval()(case.images)
    case.network.train()
    return [output.detach().numpy() for output in outputs]

config = StepConfig.from_dict(json.loads(sys.argv[1]))
case = frameworks.load(config.framework).Case(config)
results = {"flop": case.flop_per_image()}
if config.framework == "torch":
    results["trained"] = sum(parameter.numel() for parameter in case.network.parameters())
    results["moving"] = sum(buffer.numel() for name, buffer in case.network.named_buffers() if "running" in name)
else:
    results["trained"] = sum(int(np.prod(variable.shape)) for variable in case.network.trainable_variables)
    moving = [variable for variable in case.network.non_trainable_variables if "moving" in variable.name]
    results["moving"] = sum(int(np.prod(variable.shape)) for variable in moving)
if len(sys.argv) > 2:
    stored = np.load(sys.argv[2])
    weights = {}
    for name in stored.files:
        weights.setdefault(name.split("/")[0], []).append(stored[name])
    take_weights(case, weights)
    results["logits"] = [np.asarray(output).tolist() for output in logits(case)]
    case.trace()
    case.set_dropout(False)
    results["losses"] = [float(case.run(1)) for _ in range(int(sys.argv[3]))]
    traced = case.trace_count
    case.set_dropout(True)
    results["dropped"], results["traced_again"] = float(case.run(1)), case.trace_count - traced
    results["updates"] = (case.applied_steps(), case.skipped_steps())
    if config.framework == "torch":
        from torch._dynamo.utils import counters  # of a cache, each look into it, whether it held anything or not
        results["cached"] = [name for kind in counters.values() for name in kind if "cache" in name]
        results["caches"] = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    results["share"] = case.low_precision_share() if config.execution == "eager" else None
results["tensorflow"] = "tensorflow" in sys.modules
print("results " + json.dumps(results))
"""

DESCRIBED = """
import json
import msgspec
from gnet_core.frameworks import installed
print("results " + json.dumps(msgspec.to_builtins(installed.environment())))
"""

FLAGS_OF_TF32 = """
import json, warnings
warnings.simplefilter("error")
import torch
from gnet_core.frameworks import pytorch_device as torch_device
results = []
for precision in ("tf32", "float32", "mixed_bfloat16"):
    torch_device.set_tf32(precision)
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    flags = (cuda.allow_tf32, cudnn.allow_tf32, torch.get_float32_matmul_precision() == "high")
    results.append([*flags, cuda.fp32_precision == "tf32", cudnn.conv.fp32_precision == "tf32", cudnn.fp32_precision])
print("results " + json.dumps(results))
"""


ON_A_GPU = """
import json, sys, msgspec
from types import SimpleNamespace
from unittest import mock
from gnet_core.frameworks import allocator; from gnet_core.frameworks import base as frameworks
from gnet_core.config import StepConfig

def never():
    raise AssertionError("a GPU's memory is not glibc's")

framework, results = sys.argv[1], {}
config = StepConfig(framework=framework, execution="xla", device="gpu:1", precision="tf32")
with mock.patch.object(allocator, "keep_freed_memory", never):
    if framework == "torch":
        import torch
        from gnet_core.frameworks import pytorch_device as device
        torch.version.cuda = "13.0"
        torch.backends.cudnn.version = lambda: 91300
        torch.cuda.device_count = lambda: 2
        torch.cuda.get_device_properties = lambda index: SimpleNamespace(name=f"GPU {index}", major=9, minor=index)
        torch.cuda.set_device = lambda device: results.update(current=str(device))
        results["prepared"] = str(device.prepare(config))
        results["benchmark"] = torch.backends.cudnn.benchmark
    else:
        import jax
        from gnet_core.frameworks import jax_device as device
        gpus = [SimpleNamespace(device_kind=f"GPU {n}", compute_capability=f"9.{n}a", platform="gpu") for n in (0, 1)]
        jax.devices = lambda kind: gpus
        versions = SimpleNamespace(cuda_runtime_build_version=lambda: 13000, cudnn_build_version=lambda: 91300)
        device._cuda_versions = lambda: versions
        results["described_before"] = msgspec.to_builtins(device.describe())
        updates = {}
        jax.config.update = updates.__setitem__
        device.prepare(config)
        results["updates"] = {name: str(value) for name, value in updates.items() if name != "jax_default_device"}
results["described"] = msgspec.to_builtins(device.describe())
if framework == "torch":
    def too_old(index):
        raise RuntimeError("The NVIDIA driver on your system is too old\\nand more")
    torch.cuda.get_device_properties = too_old
    results["without"] = msgspec.to_builtins(device.describe())
print("results " + json.dumps(results))
"""


def measured(config, weights=None, steps=3):
    """What a peer came to in a process of its own; with weights of ours, which trains it."""
    trained = [] if weights is None else [str(weights), str(steps)]
    return results_of(IN_A_PROCESS, json.dumps(config.to_dict()), *trained)


def results_of(program, *words):
    """What a program finds in a process of its own."""
    command = [sys.executable, "-c", program, *words]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    lines = [line for line in answer.stdout.splitlines() if line.startswith("results ")]
    assert lines, answer.stderr[-2000:]
    return json.loads(lines[0].removeprefix("results "))


def peer(framework, **changes):
    """As ours but for its dropout, which is switched off."""
    own = {"framework": framework, "execution": EXECUTION[framework], "dropout": True}
    return StepConfig(**(CONFIG.to_dict() | own | changes))


@pytest.fixture(scope="module", params=["published", "paper"])
def ours(request, tmp_path_factory):
    """Our network with weights that no training starts from, its logits, and the losses of its first steps."""
    import tensorflow as tf

    from gnet_core.frameworks.tf.input_pipeline import synthetic_batch
    from gnet_core.frameworks.tf.model import build_model
    from gnet_core.frameworks.tf.step import make_train_step

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
    np.savez(path, **{f"{layer.name}/{n}": array for layer in layers for n, array in enumerate(layer.get_weights())})
    images, labels = synthetic_batch(config)
    logits = [output.numpy() for output in network(images, training=False)]
    step = make_train_step(network, config)
    losses = [float(step(images, labels).loss) for _ in range(4)]
    assert tf.math.is_finite(losses[-1])
    return request.param, path, logits, losses


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_peer_has_the_networks_parameters_and_does_its_operations(framework):
    results = measured(peer(framework, image_size=224, classes=47, batch_size=2))
    assert (results["trained"], results["moving"]) == (8_140_253, 38_784)
    assert results["flop"] == 7_059_151_584


def test_tf32_is_set_by_flags_that_all_of_pytorch_can_read():
    # Of the newer kind one cannot be read back by what still asks for the older, such as torch.compile.
    tf32, float32, mixed = results_of(FLAGS_OF_TF32)
    assert tf32 == [True, True, True, True, True, "none"]
    assert float32 == mixed == [False, False, False, False, False, "none"]


def test_pytorch_is_prepared_for_the_gpu_of_its_case_and_describes_all():
    results = results_of(ON_A_GPU, "torch")
    assert (results["prepared"], results["current"], results["benchmark"]) == ("cuda:1", "cuda:1", True)
    described = results["described"]
    assert (described["built_for_cuda"], described["cuda"], described["cudnn"]) == (True, "13.0", "9.13.0")
    assert described["gpus"] == [
        {"device": "gpu:0", "name": "GPU 0", "compute_capability": [9, 0]},
        {"device": "gpu:1", "name": "GPU 1", "compute_capability": [9, 1]},
    ]
    assert (results["without"]["gpus"], results["without"]["why_no_gpus"]) == (
        [],
        "The NVIDIA driver on your system is too old",
    )


def test_jax_keeps_to_the_gpu_of_its_case_and_describes_all_before():
    results = results_of(ON_A_GPU, "jax")
    assert results["updates"] == {"jax_cuda_visible_devices": "1", "jax_default_matmul_precision": "tensorfloat32"}
    described = results["described_before"]
    assert (described["built_for_cuda"], described["cuda"], described["cudnn"]) == (True, "13.0", "9.13")
    assert [gpu["compute_capability"] for gpu in described["gpus"]] == [[9, 0], [9, 1]]
    assert "gpus" not in results["described"]


def test_each_framework_describes_itself_beside_the_others():
    environment = results_of(DESCRIBED)
    assert environment["tensorflow"]["version"]
    assert environment["torch"].keys() == TORCH_SECTION.keys()
    assert environment["jax"].keys() == JAX_SECTION.keys()
    assert environment["torch"]["gpus"] == environment["jax"]["gpus"] == []


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_without_their_losses_the_classifiers_are_no_work(framework):
    whole, main = (measured(peer(framework, aux_weight=weight))["flop"] for weight in (0.3, 0.0))
    assert 0.9 * whole < main < whole


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_weights_copied_from_ours_give_our_logits_and_our_losses(framework, ours):
    widths, path, logits, losses = ours
    results = measured(peer(framework, widths=widths), path)
    for theirs, expected in zip(results["logits"], logits, strict=True):
        np.testing.assert_allclose(theirs, expected, rtol=1e-3, atol=1e-4 * np.max(np.abs(expected)))
    assert judge_trajectory(results["losses"], losses[:3], "float32").within, (results["losses"], losses)
    assert results["updates"] == [4, 0]
    assert not results["tensorflow"], "which is here, and another CUDA on a GPU"
    assert abs(results["dropped"] - losses[3]) > 0.01 * losses[3]
    assert results["traced_again"] == 0


@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler, c++")
def test_torch_compile_computes_the_same_and_compiles_once_from_the_start(ours):
    widths, path, _, losses = ours
    results = measured(peer("torch", widths=widths, execution="graph"), path)
    assert judge_trajectory(results["losses"], losses[:3], "float32").within, (results["losses"], losses)
    assert results["traced_again"] == 0
    assert results["cached"] == []
    assert not Path(results["caches"]).exists()


def test_steps_that_loss_scaling_leaves_out_are_counted(ours):
    widths, path, _, _ = ours
    config = peer("torch", widths=widths, precision="mixed_float16", image_size=67, batch_size=2)
    applied, skipped = measured(config, path, steps=20)["updates"]
    assert applied > 0
    assert skipped > 0
    assert applied + skipped == 21


def test_pytorchs_autocast_multiplies_in_bfloat16(ours):
    widths, path, _, _ = ours
    assert measured(peer("torch", widths=widths), path)["share"] == 0
    assert 0.98 < measured(peer("torch", widths=widths, precision="mixed_bfloat16"), path)["share"] < 1
