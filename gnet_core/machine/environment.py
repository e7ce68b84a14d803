"""An environment: a machine with its frameworks, as `gnet info --json` prints it and run.json keeps it.

Types are strict about what they know. Fields that other versions add are left out, and fields that earlier versions did
not record yet have a default: UNSET for what is then not written either.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gnet_core.config import FRAMEWORKS, TITLES, Framework
from gnet_core.files.json_documents import MAX_WHOLE, Count

UNKNOWN = "unknown"

Finite = Annotated[float, Meta(ge=0, lt=MAX_WHOLE, description="a number, 0 or more")]
Version = Annotated[list[int], Meta(min_length=1)]


def dotted(version: list[int] | None) -> str:
    """A version as NVIDIA writes it, such as 9.0 of [9, 0]."""
    return ".".join(map(str, version)) if version else UNKNOWN


class DriverGpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as NVIDIA's driver lists it."""

    name: str
    memory_bytes: Count | None
    """None for a GPU that does not answer, is partitioned, or shares the host's memory."""
    driver: str


class SeenGpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as a framework sees it."""

    device: str
    name: str
    compute_capability: Version | None = None

    def __str__(self) -> str:
        return f"{self.name}, capability {dotted(self.compute_capability)}"


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A library of CUDA that TensorFlow opens, and where it was found or why it was not."""

    name: str
    package: str
    """The wheel that has it; empty for a library of the driver."""
    at_start: bool
    path: str | None
    error: str | None


class Nvidia(msgspec.Struct, frozen=True, kw_only=True):
    """NVIDIA's driver and the libraries that TensorFlow opens."""

    driver: str | None = None
    cuda_version: Version | None = None
    """The newest CUDA that the driver supports."""
    nvml_error: str | None = None
    libraries: list[Library] = []


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and its software; sizes in bytes, clocks in Hz."""

    processor: str
    processor_family: list[int | None] | None = None
    """Family, model and stepping."""
    processor_flags: list[str]
    hypervisor: bool
    cores: Count | None
    threads: Count
    usable_threads: Count
    """Those of this process' cpuset."""
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
    environment_variables: dict[str, str]
    settings_left_out: dict[str, str] = {}
    """Variables that a case defines itself, with the value that was asked for."""
    commit: str | None = None


class TensorFlow(msgspec.Struct, frozen=True, kw_only=True):
    """TensorFlow as it is installed."""

    version: str
    keras: str
    git: str
    compiler: str | None = None
    built_for_cuda: bool
    cuda: str | None = None
    cudnn: str | None = None
    gpus: list[SeenGpu]
    intra_op_threads: int
    """0 stands for all, in files of earlier versions."""
    inter_op_threads: int
    observed: dict[str, str] | UnsetType = UNSET
    """What a few operations showed of it (see gnet_core.frameworks.tf.observed), where that was asked for."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """PyTorch or JAX as it is installed, or `error` alone where it cannot be asked."""

    error: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    built_for_cuda: bool | UnsetType = UNSET
    cuda: str | UnsetType | None = UNSET
    cudnn: str | UnsetType | None = UNSET
    gpus: list[SeenGpu] | UnsetType = UNSET
    """UNSET in a process that keeps to one device."""
    why_no_gpus: str | UnsetType = UNSET
    threads: Count | UnsetType = UNSET
    """Threads of PyTorch. JAX records neither these nor what follows."""
    triton: bool | UnsetType = UNSET
    c_compiler: str | UnsetType | None = UNSET
    cpp_compiler: str | UnsetType | None = UNSET


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A machine with its frameworks: None is one that is not installed."""

    machine: Machine
    # UNSET was not asked: a worker asks its own framework alone, and earlier versions asked TensorFlow alone.
    tensorflow: TensorFlow | UnsetType | None = UNSET
    torch: Peer | UnsetType | None = UNSET
    jax: Peer | UnsetType | None = UNSET

    def section(self, framework: Framework) -> TensorFlow | Peer | None:
        """The framework's own description; None where it is not installed, could not be loaded or was not asked."""
        section: TensorFlow | Peer | UnsetType | None = getattr(self, framework)
        return None if self.load_error(framework) else section or None

    def load_error(self, framework: Framework) -> str:
        """Why the framework, which is installed, could not be asked; empty where nothing went wrong."""
        section = getattr(self, framework)
        return (isinstance(section, Peer) and section.error) or ""

    @property
    def leading(self) -> Framework:
        """The framework whose devices are the environment's: TensorFlow where it is installed, else the first peer."""
        return next((framework for framework in FRAMEWORKS if self.section(framework)), "tensorflow")

    def gpus(self, framework: Framework | None = None) -> list[SeenGpu]:
        """The GPUs that a framework sees, by default the leading one."""
        section = self.section(framework or self.leading)
        return (section and section.gpus) or []

    def gpu(self, device: str, framework: Framework | None = None) -> SeenGpu | None:
        """The GPU that a framework calls `device`; None where it sees no such GPU."""
        return next((gpu for gpu in self.gpus(framework) if gpu.device == device), None)

    def version(self, framework: Framework) -> str:
        """The framework's name with its version, such as "JAX 0.10.2"; empty where it is not installed."""
        section = self.section(framework)
        return f"{TITLES[framework]} {section.version or UNKNOWN}" if section else ""
