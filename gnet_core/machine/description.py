"""What an environment holds, as types: the form of `gnet info --json`, and of run.json's environments.

Whatever other versions add is left out, and what earlier versions did not record yet has a default.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gnet_core.files.json_documents import MAX_WHOLE, Count, typed

Finite = Annotated[float, Meta(ge=0, lt=MAX_WHOLE, description="a number, 0 or more")]
Version = Annotated[list[int], Meta(min_length=1)]


class DriverGpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as NVIDIA's driver lists it."""

    name: str
    memory_bytes: Count | None
    """None of a GPU that does not answer, is partitioned, or shares the host's memory."""
    driver: str


class SeenGpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as a framework sees it."""

    device: str
    name: str
    compute_capability: Version | None = None


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A library of CUDA's that TensorFlow opens, and where it was found or why it was not."""

    name: str
    package: str
    at_start: bool
    """Whether TensorFlow lists no GPU without it."""
    path: str | None
    error: str | None


class Nvidia(msgspec.Struct, frozen=True, kw_only=True):
    """NVIDIA's driver and the libraries that TensorFlow opens."""

    driver: str | None = None
    cuda_version: Version | None = None
    """The newest that the driver can do."""
    nvml_error: str | None = None
    libraries: list[Library] = []


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and its software; sizes in bytes, clocks in Hz."""

    processor: str
    processor_family: list[int | None] = []
    """Family, model and stepping."""
    processor_flags: list[str]
    hypervisor: bool
    cores: Count | None
    threads: Count
    usable_threads: Count
    cpu_quota_cores: Finite | None = None
    frequency_hz: Finite | None = None
    memory_bytes: Count
    available_memory_bytes: Count
    load_1_minute: Finite
    gpus: list[DriverGpu]
    nvidia: Nvidia | None = None
    system: str
    python: str
    packages: dict[str, str]
    """By package, its version."""
    environment_variables: dict[str, str]
    settings_left_out: dict[str, str] = {}
    """Variables that a case defines itself, with what was asked for."""
    commit: str | None = None


class TensorFlow(msgspec.Struct, frozen=True, kw_only=True):
    """TensorFlow as it is there."""

    version: str
    keras: str
    git: str
    compiler: str | None = None
    built_for_cuda: bool
    cuda: str | None = None
    cudnn: str | None = None
    gpus: list[SeenGpu]
    intra_op_threads: int
    """0 in files of earlier versions, for all."""
    inter_op_threads: int


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """PyTorch or JAX as it is there, or why it cannot be asked."""

    error: str | None = None
    version: str = ""
    built_for_cuda: bool = False
    cuda: str | None = None
    cudnn: str | None = None
    gpus: list[SeenGpu] | None = None
    """None of a process that keeps to one device."""
    why_no_gpus: str = ""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A machine with its frameworks; None stands for a framework that is not installed."""

    machine: Machine
    tensorflow: TensorFlow | None
    torch: Peer | None = None
    jax: Peer | None = None


def require_environment(where: str, field: str, environment: Any) -> None:
    """Raise GnetError beginning with `where` and naming the field for what is no environment."""
    typed(where, environment, Environment, field)


class PrecisionSupport(msgspec.Struct, frozen=True, kw_only=True):
    """What a precision does on a device (see gnet_core.machine.environment.Support)."""

    supported: bool
    pays: bool
    reason: str


class Info(Environment, frozen=True, kw_only=True):
    """What `gnet info --json` prints."""

    why_no_gpu: str
    precisions: dict[str, dict[str, PrecisionSupport]]
    """By device, then by precision."""
    warnings: list[str]
