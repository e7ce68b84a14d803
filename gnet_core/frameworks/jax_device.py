"""The device of a case, seen from JAX: choose it, ask for its memory, and describe what there is."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import jax
from msgspec import UNSET

from gnet_core.config import StepConfig
from gnet_core.frameworks import allocator
from gnet_core.machine import description
from gnet_core.machine.environment import Peer, SeenGpu

_prepared: list[StepConfig] = []  # the case that this process keeps to, once there is one


def prepare(config: StepConfig) -> Any:
    """Make the case's device the only one JAX uses, and multiply float32 as the case's precision says.

    Must run before JAX has touched a device. XLA multiplies float32 as TF32 on a GPU unless "float32" is asked for; for
    what a mixed precision leaves in float32, the small last layers, it is not.
    """
    kind, _, number = config.device.partition(":")
    if kind == "cpu":
        allocator.keep_freed_memory()
        jax.config.update("jax_platforms", "cpu")  # a GPU that is not measured stays free
    else:
        jax.config.update("jax_cuda_visible_devices", number)  # likewise the others
    _prepared.append(config)
    device = jax.devices(kind)[0]
    jax.config.update("jax_default_device", device)
    matmul = "tensorfloat32" if config.precision == "tf32" else "float32"
    jax.config.update("jax_default_matmul_precision", matmul if config.compute_dtype == "float32" else None)
    return device


def peak_memory(device: Any) -> tuple[int, str]:
    """Bytes at their highest so far in this process, and where the figure comes from."""
    if device.platform == "cpu":
        return description.peak_resident_memory()
    return int(device.memory_stats()["peak_bytes_in_use"]), "peak of JAX's GPU allocator"


def describe() -> Peer:
    """JAX as it is here: version, build, and each GPU that it sees; none of a process that keeps to a case's device."""
    cuda = _cuda_versions()
    gpus, why_none = (UNSET, UNSET) if _prepared else _gpus()
    return Peer(
        version=jax.__version__,
        built_for_cuda=cuda is not None,
        cuda=_dotted(cuda.cuda_runtime_build_version(), 1000, 10) if cuda else None,
        cudnn=_dotted(cuda.cudnn_build_version(), 10_000, 100) if cuda else None,
        gpus=gpus,
        why_no_gpus=why_none,
    )


def _gpus() -> tuple[list[SeenGpu], str]:
    """Those that JAX can use, and why there are none: no plugin, or one that finds no GPU or no driver."""
    try:
        devices = jax.devices("gpu")
    except RuntimeError as error:
        return [], str(error).partition("\n")[0][:300]
    gpus = []
    for index, device in enumerate(devices):
        # Such as 9.0, or 9.0a where XLA names an architecture's own features with it.
        match = re.match(r"(\d+)\.(\d+)", str(getattr(device, "compute_capability", "")))
        capability = [int(match[1]), int(match[2])] if match else None
        gpus.append(SeenGpu(device=f"gpu:{index}", name=device.device_kind, compute_capability=capability))
    return gpus, ""


def _cuda_versions() -> Any:
    """The module of JAX's plugin for CUDA with the versions it was built with; None where no plugin is installed."""
    with contextlib.suppress(ImportError):
        from jax._src.lib import cuda_versions

        return cuda_versions
    return None


def _dotted(number: int, major: int, minor: int) -> str:
    """13.0 for 13000, or 9.8 for 90800, as cuda.h and cudnn.h put them together."""
    return f"{number // major}.{number % major // minor}"
