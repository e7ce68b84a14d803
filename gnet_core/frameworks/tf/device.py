"""The device of a case, seen from TensorFlow: choose it, wait for it, ask for its memory."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from gnet_core.config import GnetError, Precision, StepConfig
from gnet_core.machine import description
from gnet_core.machine.environment import Environment, SeenGpu, TensorFlow
from gnet_core.system.cluster import Cluster


def prepare(config: StepConfig, cluster: Cluster | None = None) -> str:
    """Make the case's devices the only ones TensorFlow uses; return the name there of the first, such as "/GPU:0".

    Several replicas on a CPU have a logical device each. Of several workers on one host each has the next `replicas`
    GPUs. Must run before TensorFlow has touched a device. Raises GnetError where there are no such GPUs, and where
    those of the replicas are of unlike kinds.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if config.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        if config.replicas > 1:
            parts = [tf.config.LogicalDeviceConfiguration()] * config.replicas
            tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
        return "/CPU:0"
    first = int(config.device.partition(":")[2]) + config.replicas * (cluster.place_on_host if cluster else 0)
    chosen = gpus[first : first + config.replicas]
    if len(chosen) < config.replicas:
        raise GnetError(_why_too_few(config, first, len(gpus)))
    _require_one_kind(chosen, first)
    tf.config.set_visible_devices(chosen, "GPU")
    for gpu in chosen:
        # Without growth TensorFlow takes the whole card at once, and no memory figure means anything.
        tf.config.experimental.set_memory_growth(gpu, True)
    if config.workers == 1:  # else TensorFlow would begin before it knows the other workers
        for index in range(config.replicas):
            tf.config.experimental.reset_memory_stats(f"GPU:{index}")
    return "/GPU:0"


def _why_too_few(config: StepConfig, first: int, seen: int) -> str:
    if config.total_replicas == 1:
        return f"device: {config.device!r} is not there; TensorFlow sees {seen} GPUs, so use cpu or fewer"
    last = first + config.replicas - 1
    return (
        f"replicas: {config.replicas} from {config.device!r} on would take this process gpu:{first} to gpu:{last}; "
        f"TensorFlow sees {seen} GPUs, so use fewer"
    )


def _require_one_kind(gpus: Sequence[Any], first: int) -> None:
    """Raise GnetError where the slowest of unlike GPUs would decide what all of them are measured to do."""
    kinds = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus] if len(gpus) > 1 else []
    for index, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise GnetError(
                f"replicas: gpu:{first} is {kinds[0]} and gpu:{first + index} is {kind}; use GPUs of one kind, "
                "which CUDA_VISIBLE_DEVICES chooses"
            )


def run_in_order(config: StepConfig) -> None:
    """Let a CPU's operations run one after the other, each on all threads. Must run before TensorFlow has touched a
    device, and does nothing afterwards.

    Side by side, the same step of 64 images gave gradients with other last digits each time, and enable_op_determinism
    left that as it was. In order, a process repeats itself. Two processes may still differ: at a batch of 64 they do,
    unless TensorFlow's graph optimiser is off, and at 32 they do not.
    """
    if config.device == "cpu":
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_inter_op_parallelism_threads(1)


def set_tf32(precision: Precision) -> None:
    """Let a GPU multiply float32 as TF32 for tf32 and for nothing else; it is TensorFlow's default from Ampere on."""
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")


def synchronise() -> None:
    """Return when every device has finished what it was given."""
    tf.test.experimental.sync_devices()


def peak_memory(config: StepConfig) -> tuple[int, str]:
    """Bytes at their highest so far in this process, on all its devices, and where the figure comes from."""
    if config.device == "cpu":
        return description.peak_resident_memory()  # the CPU allocator keeps no count
    peaks = (tf.config.experimental.get_memory_info(f"GPU:{index}")["peak"] for index in range(config.replicas))
    return int(sum(peaks)), "peak of TensorFlow's GPU allocator"


def environment(checkout: Path | None = None) -> Environment:
    """The machine and the TensorFlow on it; `checkout` adds its commit."""
    return Environment(machine=description.describe(checkout), tensorflow=describe())


def describe() -> TensorFlow:
    """TensorFlow as it is here. Raises GnetError for a variable that would end it."""
    import keras

    build = tf.sysconfig.get_build_info()
    intra = tf.config.threading.get_intra_op_parallelism_threads()
    inter = tf.config.threading.get_inter_op_parallelism_threads()
    gpus = []
    for index, gpu in enumerate(tf.config.list_physical_devices("GPU")):
        details = tf.config.experimental.get_device_details(gpu)
        name, capability = details.get("device_name", "unknown GPU"), list(details.get("compute_capability") or ())
        gpus.append(SeenGpu(device=f"gpu:{index}", name=name, compute_capability=capability or None))
    return TensorFlow(
        version=tf.__version__,
        keras=keras.__version__,
        git=tf.version.GIT_VERSION,
        compiler=tf.version.COMPILER_VERSION,
        built_for_cuda=bool(build.get("is_cuda_build", False)),
        cuda=build.get("cuda_version"),
        cudnn=build.get("cudnn_version"),
        gpus=gpus,
        intra_op_threads=_threads_in_force(intra, "TF_NUM_INTRAOP_THREADS"),
        inter_op_threads=_threads_in_force(inter, "TF_NUM_INTEROP_THREADS"),
    )


def _threads_in_force(configured: int, variable: str) -> int:
    """The threads of a pool of TensorFlow's: as configured, else as the variable says, else as many as may be used.

    TensorFlow 2.21 was seen to read decimal digits with a sign and spaces around them; what is no such number of 32
    bits counts as 0, which is "all". A negative number is "all" as well for inter-op threads; for intra-op ones it ends
    the process.
    """
    text = os.environ.get(variable, "")
    number = int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,99}\s*", text, re.ASCII) else 0
    if not -(2**31) <= number < 2**31:
        number = 0
    if number < 0 and variable == "TF_NUM_INTRAOP_THREADS":
        raise GnetError(f"{variable}: {text!r} would end TensorFlow; use a number of threads, or leave it unset")
    return configured or max(number, 0) or description.USABLE_THREADS
