"""How a device is chosen and set up; a GPU is played by a stand-in for tf.config."""

import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from gnet_core.config import GnetError, StepConfig
from gnet_core.frameworks.tf import device
from gnet_core.machine import description
from gnet_core.system.cluster import Cluster


@pytest.fixture
def two_gpus(monkeypatch):
    """TensorFlow with two GPUs; returns the calls that set them up."""
    calls: list[tuple[object, ...]] = []

    def record(name):
        return lambda *arguments: calls.append((name, *arguments))

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind} A", f"{kind} B"])
    monkeypatch.setattr(tf.config, "set_visible_devices", record("visible"))
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", record("growth"))
    monkeypatch.setattr(tf.config.experimental, "reset_memory_stats", record("reset"))
    return calls


def test_a_gpu_is_the_only_one_visible_and_its_memory_grows(two_gpus):
    assert device.prepare(StepConfig(device="gpu:1")) == "/GPU:0"
    assert two_gpus == [("visible", ["GPU B"], "GPU"), ("growth", "GPU B", True), ("reset", "GPU:0")]


def of_kinds(monkeypatch, *names):
    details = dict(zip(("GPU A", "GPU B"), names, strict=True))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": details[gpu]})


def test_replicas_take_the_gpus_from_their_device_on(two_gpus, monkeypatch):
    of_kinds(monkeypatch, "H100", "H100")
    assert device.prepare(StepConfig(device="gpu:0", replicas=2)) == "/GPU:0"
    assert two_gpus == [
        ("visible", ["GPU A", "GPU B"], "GPU"),
        *[("growth", "GPU A", True), ("growth", "GPU B", True), ("reset", "GPU:0"), ("reset", "GPU:1")],
    ]


def test_workers_of_one_host_take_one_gpu_after_the_other_and_leave_tensorflow_untouched(two_gpus):
    cluster = Cluster(addresses=("127.0.0.1:1", "127.0.0.1:2"), index=1)
    device.prepare(StepConfig(device="gpu:0", workers=2), cluster)
    assert two_gpus == [("visible", ["GPU B"], "GPU"), ("growth", "GPU B", True)]


@pytest.mark.usefixtures("two_gpus")
def test_more_replicas_than_gpus_and_gpus_of_two_kinds_are_refused(monkeypatch):
    of_kinds(monkeypatch, "H100", "A100")
    with pytest.raises(GnetError, match="would take this process gpu:1 to gpu:2; TensorFlow sees 2 GPUs"):
        device.prepare(StepConfig(device="gpu:1", replicas=2))
    with pytest.raises(GnetError, match="replicas: gpu:0 is H100 and gpu:1 is A100; use GPUs of one kind"):
        device.prepare(StepConfig(device="gpu:0", replicas=2))


def test_on_a_cpu_no_gpu_is_visible(two_gpus):
    assert device.prepare(StepConfig()) == "/CPU:0"
    assert two_gpus == [("visible", [], "GPU")]


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_beyond_those_there_are_is_refused():
    with pytest.raises(GnetError, match="device: 'gpu:2' is not there; TensorFlow sees 2 GPUs"):
        device.prepare(StepConfig(device="gpu:2"))


@pytest.mark.parametrize("precision", ["float32", "tf32", "mixed_bfloat16", "mixed_float16"])
def test_tf32_is_on_for_tf32_alone(precision):
    device.set_tf32(precision)
    assert tf.config.experimental.tensor_float_32_execution_enabled() == (precision == "tf32")


def test_a_step_of_float32_switches_tf32_off_however_it_was_made():
    from gnet_core.frameworks.tf.step import make_train_step
    from tests.frameworks.test_step import CONFIG, TinyNetwork

    tf.config.experimental.enable_tensor_float_32_execution(True)
    make_train_step(TinyNetwork(CONFIG), CONFIG)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_peak_memory_on_a_cpu_is_that_of_the_process():
    peak_bytes, source = device.peak_memory(StepConfig())
    assert peak_bytes > 100 * 2**20  # TensorFlow alone takes more
    assert "process" in source


def test_the_environment_describes_machine_and_tensorflow(tmp_path):
    environment = device.environment(tmp_path)
    assert environment.version("tensorflow") == f"TensorFlow {tf.__version__}"
    assert environment.machine.memory_bytes > 0


@pytest.mark.parametrize(
    ("setting", "threads"),
    [
        ("1", 1),
        ("3", 3),
        (" +3\t", 3),
        ("003", 3),
        *(
            (setting, 2)
            for setting in ("", "0", "abc", "2x", "1.5", "0x1", "1_0", "--1", "99999999999", "-99999999999")
        ),
        ("9" * 5000, 2),
    ],
)
def test_the_threads_described_are_those_that_tensorflow_uses(monkeypatch, setting, threads):
    monkeypatch.setattr(description, "USABLE_THREADS", 2)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", setting)
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", setting)
    described = device.describe()
    assert (described.intra_op_threads, described.inter_op_threads) == (threads, threads)


def test_a_negative_number_of_threads_is_refused_where_it_would_end_tensorflow(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "-1")
    assert device.describe().inter_op_threads == description.USABLE_THREADS
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "-1")
    with pytest.raises(GnetError, match="TF_NUM_INTRAOP_THREADS: '-1' would end TensorFlow; use a number of threads"):
        device.describe()


def test_a_cpus_operations_are_put_in_order_before_tensorflow_begins_and_left_alone_afterwards(monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", asked.append)
    device.run_in_order(StepConfig(device="gpu:0"))
    assert asked == []
    device.run_in_order(StepConfig())
    assert asked == [1]

    def begun(_threads):
        raise RuntimeError("Inter op parallelism cannot be modified after initialization.")

    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", begun)
    device.run_in_order(StepConfig())


def test_in_order_a_step_has_the_same_gradients_each_time_bit_for_bit():
    """In a process of its own, since TensorFlow must not have begun. Without the order, most of 24 steps differed."""
    script = """
import numpy as np
from gnet_core import StepConfig, build_model, make_train_step
from gnet_core.frameworks.tf import device
from gnet_core.frameworks.tf.input_pipeline import synthetic_batch
config = StepConfig(image_size=72, classes=10, batch_size=64, part="gradients", dropout=False)
device.run_in_order(config)
device.prepare(config)
model, batch = build_model(config), synthetic_batch(config)
step, weights = make_train_step(model, config), [variable.numpy() for variable in model.variables]
kept = []
for _ in range(6):
    for variable, value in zip(model.variables, weights):
        variable.assign(value)
    kept.append([gradient.numpy().tobytes() for gradient in step.function(*batch).gradients])
assert all(gradients == kept[0] for gradients in kept)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
