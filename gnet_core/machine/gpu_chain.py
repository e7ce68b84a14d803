"""Why a framework lists a GPU here or none: the chain from NVIDIA's driver over CUDA's libraries to the devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gnet_core.config import Framework
from gnet_core.machine import capabilities, cuda_libraries, nvml

_MIN_CUDA = 12
"""The major version that TensorFlow 2.19 to 2.21 are built for. A driver for any CUDA 12 serves (NVIDIA, "CUDA
Compatibility", minor version compatibility)."""


_WITHOUT_CUDA: Mapping[Framework, str] = {
    "tensorflow": "this TensorFlow is built without CUDA (the extra gpu in place of cpu brings one with it)",
    "torch": "this PyTorch is built without CUDA",
    "jax": "JAX's plugin for CUDA is not installed",
}


class Reason(NamedTuple):
    """Why a framework lists no GPU."""

    text: str
    is_fault: bool
    """Whether there is a GPU that it should list, so that figures of the CPU are not what was meant."""


def describe() -> dict[str, Any]:
    """NVIDIA's driver and the libraries that TensorFlow opens, as plain data for JSON; without importing TensorFlow.

    Libraries are told of where TensorFlow would open them, since telling loads them: elsewhere they would count as
    memory of a case on the CPU.
    """
    driver = nvml.driver()
    opened = cuda_libraries.may_see_gpus() and (driver.error is None or cuda_libraries.has_driver())
    return {
        "driver": driver.version,
        "cuda_version": driver.cuda_version and list(driver.cuda_version),
        "nvml_error": driver.error,
        "libraries": [place._asdict() for place in cuda_libraries.find()] if opened else [],
    }


def why_no_gpu(environment: Mapping[str, Any], framework: Framework | None = None) -> Reason | None:
    """Why a framework, by default the leading one, lists no GPU; None where it lists one or is not installed.

    `environment` is as gnet_core.machine.capabilities has it, and may be of a version that did not look for libraries.
    """
    framework = framework or capabilities.leading(environment)
    if capabilities.gpus(environment, framework):
        return None
    machine, section = environment["machine"], capabilities.section(environment, framework)
    lacks_cuda = _WITHOUT_CUDA[framework] if section is not None and not section["built_for_cuda"] else ""
    chain = machine.get("nvidia") or {}
    visible = machine["environment_variables"].get(cuda_libraries.VISIBLE_VARIABLE)
    if not machine["gpus"]:
        error = chain.get("nvml_error")
        silent = f"no NVIDIA driver answers ({error})" if error else "NVIDIA's driver lists no GPU"
        return Reason(" and ".join(filter(None, [silent, lacks_cuda])), False)
    if cuda_libraries.is_every_gpu_hidden(visible):
        return Reason(f"{cuda_libraries.VISIBLE_VARIABLE}={visible} hides every GPU", False)
    if section is None:
        return None
    if lacks_cuda:
        return Reason(lacks_cuda, False)
    if framework != "tensorflow":
        return Reason(str(section.get("why_no_gpus") or "it does not say why"), True)
    return Reason(_fault(chain, visible, len(machine["gpus"])), True)


def _fault(chain: Mapping[str, Any], visible: str | None, gpus: int) -> str:
    if missing := [place for place in chain.get("libraries", ()) if place["path"] is None and place["at_start"]]:
        return "; ".join(map(_not_loaded, missing))
    cuda = chain.get("cuda_version")
    if cuda and cuda[0] < _MIN_CUDA:
        return f"driver {chain['driver']} is too old: it can do CUDA {_dotted(cuda)}, and {_MIN_CUDA}.0 is needed"
    first = "0" if visible is None else visible.partition(",")[0].strip()
    if first.isdecimal() and first not in map(str, range(gpus)):
        return f"{cuda_libraries.VISIBLE_VARIABLE}={visible} begins with none of the driver's, which count from 0"
    named = "" if first.isdecimal() else f"; {cuda_libraries.VISIBLE_VARIABLE}={visible} may name none that is there"
    loaded = "all of its CUDA libraries load" if chain.get("libraries") else "its CUDA libraries may be missing"
    return f"{loaded}{named}; TF_CPP_MIN_LOG_LEVEL=0 gnet info shows what TensorFlow itself says"


def _not_loaded(place: Mapping[str, Any]) -> str:
    source = f"the package {place['package']}" if place["package"] else "NVIDIA's driver"
    return f"{place['name']}, of {source}, did not load ({place['error']})"


def doubt(environment: Mapping[str, Any]) -> str:
    """A sentence where something of a GPU is there and the leading framework lists none; empty elsewhere."""
    machine, reason = environment["machine"], why_no_gpu(environment)
    title = capabilities.TITLES[capabilities.leading(environment)]
    if reason and machine["gpus"]:
        return f"The driver shows {len(machine['gpus'])} GPU(s) but {title} sees none: {reason.text}."
    if reason and (machine.get("nvidia") or {}).get("libraries"):
        return f"A library of NVIDIA's driver is there but {title} sees no GPU: {reason.text}."
    return ""


def as_lines(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The driver and the libraries as pairs of name and value for people, and why no GPU is listed."""
    chain = environment["machine"]["nvidia"]
    lines = []
    if chain["driver"]:
        cuda = _dotted(chain["cuda_version"]) if chain["cuda_version"] else "unknown"
        lines.append(("NVIDIA driver", f"{chain['driver']}, can do CUDA {cuda}"))
    lines += [(place["name"], place["path"] or f"not found: {place['error']}") for place in chain["libraries"]]
    if reason := why_no_gpu(environment):
        instead = "--device cpu measures the CPU" if reason.is_fault else "the CPU is measured instead"
        lines.append(("no GPU", f"{reason.text}; {instead}"))
    return lines


def _dotted(version: list[int]) -> str:
    return ".".join(map(str, version))
