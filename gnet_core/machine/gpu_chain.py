"""Why a framework lists a GPU here or none: the chain from NVIDIA's driver over CUDA's libraries to the devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from gnet_core.config import TITLES, Framework
from gnet_core.machine import cuda_libraries, nvml
from gnet_core.machine.environment import Environment, Library, Nvidia, dotted

_MIN_CUDA = 12
"""TensorFlow 2.19 to 2.21 are built for CUDA 12, and a driver for any 12.x serves (NVIDIA, "CUDA Compatibility")."""

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


def describe() -> Nvidia:
    """NVIDIA's driver and the libraries that TensorFlow opens, without importing TensorFlow."""
    driver = nvml.driver()
    # Looking for the libraries loads them: where TensorFlow does not, they would count as memory of a case on the CPU.
    if not cuda_libraries.may_see_gpus() or (driver.nvml_error is not None and not cuda_libraries.has_driver()):
        return driver
    libraries = [
        Library(name=place.name, package=place.package, at_start=place.at_start, path=place.path, error=place.error)
        for place in cuda_libraries.find()
    ]
    return msgspec.structs.replace(driver, libraries=libraries)


def why_no_gpu(environment: Environment, framework: Framework | None = None) -> Reason | None:
    """Why a framework, by default the leading one, lists no GPU; None where it lists one or is not installed."""
    framework = framework or environment.leading
    if environment.gpus(framework):
        return None
    machine, section = environment.machine, environment.section(framework)
    lacks_cuda = _WITHOUT_CUDA[framework] if section and not section.built_for_cuda else ""
    chain = machine.nvidia or Nvidia()
    visible = machine.environment_variables.get(cuda_libraries.VISIBLE_VARIABLE)
    if not machine.gpus:
        error = chain.nvml_error
        silent = f"no NVIDIA driver answers ({error})" if error else "NVIDIA's driver lists no GPU"
        return Reason(" and ".join(filter(None, [silent, lacks_cuda])), False)
    if cuda_libraries.is_every_gpu_hidden(visible):
        return Reason(f"{cuda_libraries.VISIBLE_VARIABLE}={visible} hides every GPU", False)
    if section is None:
        return None
    if lacks_cuda:
        return Reason(lacks_cuda, False)
    if framework != "tensorflow":
        return Reason(getattr(section, "why_no_gpus", "") or "it does not say why", True)
    return Reason(_fault(chain, visible, len(machine.gpus)), True)


def _fault(chain: Nvidia, visible: str | None, gpus: int) -> str:
    if missing := [library for library in chain.libraries if library.path is None and library.at_start]:
        return "; ".join(map(_not_loaded, missing))
    if chain.cuda_version and chain.cuda_version[0] < _MIN_CUDA:
        cuda = dotted(chain.cuda_version)
        return f"driver {chain.driver} is too old: it can do CUDA {cuda}, and {_MIN_CUDA}.0 is needed"
    first = "0" if visible is None else visible.partition(",")[0].strip()
    if first.isdecimal() and first not in map(str, range(gpus)):
        return f"{cuda_libraries.VISIBLE_VARIABLE}={visible} begins with none of the driver's, which count from 0"
    named = "" if first.isdecimal() else f"; {cuda_libraries.VISIBLE_VARIABLE}={visible} may name none that is there"
    loaded = "all of its CUDA libraries load" if chain.libraries else "its CUDA libraries may be missing"
    return f"{loaded}{named}; TF_CPP_MIN_LOG_LEVEL=0 gnet info shows what TensorFlow itself says"


def _not_loaded(library: Library) -> str:
    source = f"the package {library.package}" if library.package else "NVIDIA's driver"
    return f"{library.name}, of {source}, did not load ({library.error})"


def doubt(environment: Environment) -> str:
    """A sentence where the leading framework lists no GPU although something of one is there; empty elsewhere."""
    machine, reason = environment.machine, why_no_gpu(environment)
    title = TITLES[environment.leading]
    if reason and machine.gpus:
        return f"The driver shows {len(machine.gpus)} GPU(s) but {title} sees none: {reason.text}."
    if reason and machine.nvidia and machine.nvidia.libraries:
        return f"A library of NVIDIA's driver is there but {title} sees no GPU: {reason.text}."
    return ""


def as_lines(environment: Environment) -> list[tuple[str, str]]:
    """The driver and the libraries as pairs of name and value, and why no GPU is listed."""
    chain = environment.machine.nvidia or Nvidia()
    lines = []
    if chain.driver:
        lines.append(("NVIDIA driver", f"{chain.driver}, can do CUDA {dotted(chain.cuda_version)}"))
    lines += [(library.name, library.path or f"not found: {library.error}") for library in chain.libraries]
    if reason := why_no_gpu(environment):
        instead = "--device cpu measures the CPU" if reason.is_fault else "the CPU is measured instead"
        lines.append(("no GPU", f"{reason.text}; {instead}"))
    return lines
