"""What an environment tells of its frameworks: plain data as `gnet info --json` prints it, of this version or another.

An environment holds "machine" (see gnet_core.machine.environment.describe) and a section for each framework:
"tensorflow", "torch" and "jax" (see `describe` of gnet_core.frameworks.tf.device, gnet_core.frameworks.pytorch_device
and gnet_core.frameworks.jax_device). None stands for one that is not installed; earlier versions had no section but
TensorFlow's, and a worker tells of its own framework alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnet_core.config import FRAMEWORKS, Framework

TITLES: Mapping[Framework, str] = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}

PEERS: tuple[Framework, ...] = ("torch", "jax")


def section(environment: Mapping[str, Any], framework: Framework) -> Mapping[str, Any] | None:
    """What the framework says of itself; None where it is not installed, could not be loaded or was not asked."""
    found = environment.get(framework)
    return found if isinstance(found, Mapping) and "error" not in found else None


def why_not_loaded(environment: Mapping[str, Any], framework: Framework) -> str:
    """What went wrong where the framework is installed and could not be asked; empty where nothing did."""
    found = environment.get(framework)
    return str(found.get("error", "")) if isinstance(found, Mapping) else ""


def leading(environment: Mapping[str, Any]) -> Framework:
    """The framework whose devices are the environment's: TensorFlow where it is installed, else the first peer."""
    return next((framework for framework in FRAMEWORKS if section(environment, framework) is not None), "tensorflow")


def has_framework(environment: Mapping[str, Any]) -> bool:
    """Whether any framework can be used there."""
    return section(environment, leading(environment)) is not None


def gpus(environment: Mapping[str, Any], framework: Framework | None = None) -> list[Mapping[str, Any]]:
    """The GPUs that a framework sees, by default the leading one: "device", "name" and "compute_capability" of each."""
    found = section(environment, framework or leading(environment))
    return list(found.get("gpus") or []) if found else []


def gpu(environment: Mapping[str, Any], device: str, framework: Framework | None = None) -> Mapping[str, Any] | None:
    """What a framework sees as that device; None where it sees no such GPU."""
    return next((each for each in gpus(environment, framework) if each["device"] == device), None)


def versions(environment: Mapping[str, Any], frameworks: Iterable[Framework] = FRAMEWORKS) -> str:
    """The frameworks that are there, each with its version; empty where none is."""
    found = ((TITLES[framework], section(environment, framework)) for framework in frameworks)
    return ", ".join(f"{title} {each['version']}" for title, each in found if each is not None)


def lines_of_peers(
    environment: Mapping[str, Any], frameworks: Iterable[Framework] = PEERS, where: str = ""
) -> list[tuple[str, str]]:
    """PyTorch and JAX as pairs of name and value for people; `where` is added to the names."""
    lines = []
    for framework in frameworks:
        title = f"{TITLES[framework]}{where}"
        if why := why_not_loaded(environment, framework):
            lines.append((title, f"cannot be loaded: {why}"))
        if (found := section(environment, framework)) is not None:
            build = f"CUDA {found['cuda']}, cuDNN {found['cudnn']}" if found["built_for_cuda"] else "built without CUDA"
            lines.append((title, f"{found['version']}, {build}"))
            lines += [(f"{title} GPU", told_gpu(each)) for each in found.get("gpus") or []]
            if found["built_for_cuda"] and found.get("why_no_gpus"):
                lines.append((f"{title} GPU", f"none: {found['why_no_gpus']}"))
    return lines


def told_gpu(gpu: Mapping[str, Any]) -> str:
    """A GPU as a framework sees it, for people."""
    return f"{gpu['device']}: {gpu['name']}, capability {capability(gpu)}"


def capability(gpu: Mapping[str, Any]) -> str:
    """A GPU's compute capability, such as 9.0; a stranger's file may hold anything."""
    version = gpu.get("compute_capability")
    if version is None:
        return "unknown"
    return ".".join(map(str, version)) if isinstance(version, list) else str(version)
