"""The device of a case, seen from TensorFlow: choose it, wait for it, ask for its memory."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import tensorflow as tf

from gnet_core.config import GnetError, Precision, StepConfig
from gnet_core.machine import description
from gnet_core.machine.environment import Environment, SeenGpu, TensorFlow


def prepare(config: StepConfig) -> str:
    """Make the case's device the only one TensorFlow uses, so number 0; return its name there, such as "/GPU:0".

    Must run before TensorFlow has touched a device. Raises GnetError where there is no such GPU.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if config.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return "/CPU:0"
    index = int(config.device.partition(":")[2])
    if index >= len(gpus):
        raise GnetError(
            f"device: {config.device!r} is not there; TensorFlow sees {len(gpus)} GPUs, so use cpu or fewer"
        )
    tf.config.set_visible_devices(gpus[index], "GPU")
    # Without growth TensorFlow takes the whole card at once, and no memory figure means anything.
    tf.config.experimental.set_memory_growth(gpus[index], True)
    tf.config.experimental.reset_memory_stats("GPU:0")
    return "/GPU:0"


def make_repeatable(config: StepConfig) -> None:
    """Let a CPU come to the same bits in every process. Must run before TensorFlow has touched a device, and does
    nothing afterwards.

    Operations run one after the other, each on all threads: side by side, the same step of 64 images gave gradients
    with other last digits each time, and enable_op_determinism left that as it was. The graph runs as it was traced:
    TensorFlow's graph optimiser rewrites it in one of several ways, of which a process takes one by chance, so that at
    a batch of 64 six processes came to three outcomes. Its absence changed no step's time by more than the noise.
    """
    if config.device == "cpu":
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_inter_op_parallelism_threads(1)
            tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def set_tf32(precision: Precision) -> None:
    """Let a GPU multiply float32 as TF32 for tf32 and for nothing else; it is TensorFlow's default from Ampere on."""
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")


def synchronise() -> None:
    """Return when every device has finished what it was given."""
    tf.test.experimental.sync_devices()


def peak_memory(config: StepConfig) -> tuple[int, str]:
    """Bytes at their highest so far in this process, and where the figure comes from."""
    if config.device == "cpu":
        return description.peak_resident_memory()  # the CPU allocator keeps no count
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]), "peak of TensorFlow's GPU allocator"


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
