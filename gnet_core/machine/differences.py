"""What differs between two environments: hardware makes them two machines, software does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from msgspec import UNSET

from gnet_core.config import FRAMEWORKS, TITLES, Framework
from gnet_core.machine.environment import UNKNOWN, Environment, Peer, TensorFlow
from gnet_core.system import variables

Kind = Literal["hardware", "software"]
MEMORY_TOLERANCE = 0.02
"""Kernels and firmware keep different amounts of the same memory to themselves; other modules differ by far more."""

_HARDWARE = {
    "processor": "processor",
    "processor_family": "processor family, model, stepping",
    "processor_flags": "processor flags",
    "hypervisor": "virtual machine",
    "cores": "cores",
    "threads": "threads",
    "usable_threads": "usable threads",
}
_SOFTWARE = {"system": "system", "python": "Python", "commit": "commit"}
_TENSORFLOW = {
    "version": "TensorFlow",
    "git": "TensorFlow's commit",
    "compiler": "TensorFlow's compiler",
    "built_for_cuda": "TensorFlow built for CUDA",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "keras": "Keras",
}
_THREAD_POOLS = {"intra_op_threads": "intra-op threads", "inter_op_threads": "inter-op threads"}
_TENSORFLOW_PACKAGES = ("tensorflow", "tensorflow-cpu", "keras")
_NOT_COMPARED_OF_PEERS = ("error", "version", "gpus", "why_no_gpus")  # a peer's version is its package's
_NOT_SEEN = "not seen"


class Difference(NamedTuple):
    """One thing in which two environments differ, its values as text."""

    name: str
    base: str
    new: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.name}: {self.base} → {self.new}"


class _Group(NamedTuple):
    """Texts that are compared name by name; None where an environment does not record them."""

    kind: Kind
    absent: str | None
    """Text for a name that one side lacks. With None such names are left out: another version may not record them."""
    texts: dict[str, str] | None


def differences(base: Environment | None, new: Environment | None, alone: Framework | None = None) -> list[Difference]:
    """The differences between two environments, hardware first; None is an environment that was not recorded.

    A framework `alone` leaves out all but its section and its packages. Never compared are clocks, load and free
    memory, which are of the moment; settings that did not act; and where NVIDIA's libraries are.
    """
    if base is None or new is None:
        sides = ["recorded" if side else UNKNOWN for side in (base, new)]
        return [] if base is new else [Difference("environment", sides[0], sides[1], "hardware")]
    memories = base.machine.memory_bytes, new.machine.memory_bytes
    same_memory = max(memories) - min(memories) <= MEMORY_TOLERANCE * max(memories)
    # A framework that one side lacks differs by its package.
    shared = [framework for framework in FRAMEWORKS if base.section(framework) and new.section(framework)]
    frameworks = [framework for framework in shared if alone in (None, framework)]
    differing = []
    for group, other in zip(_groups(base, frameworks, alone), _groups(new, frameworks, alone), strict=True):
        if group.texts is None or other.texts is None:
            continue
        for name in {**group.texts, **other.texts}:
            first, second = group.texts.get(name, group.absent), other.texts.get(name, group.absent)
            if first is None or second is None or first == second or (name == "memory" and same_memory):
                continue
            # One name for two different GPUs is hardware. A GPU that one side alone sees is software: the framework's
            # build and variables decide that.
            kind: Kind = "software" if _NOT_SEEN in (first, second) else group.kind
            differing.append(Difference(name, first, second, kind))
    return sorted(differing, key=lambda difference: difference.kind != "hardware")


def compared_names(environment: Environment) -> set[str]:
    """The names of all that is compared of an environment; what it lacks, such as a framework's version, has none."""
    frameworks = [framework for framework in FRAMEWORKS if environment.section(framework)]
    return {name for group in _groups(environment, frameworks, None) for name in group.texts or {}}


def _groups(environment: Environment, frameworks: list[Framework], alone: Framework | None) -> Iterator[_Group]:
    """All that is compared, in the order in which differences are listed; of `frameworks` both sides have a section."""
    machine = environment.machine
    if alone is None:
        quota = "none" if machine.cpu_quota_cores is None else f"{machine.cpu_quota_cores} processors"
        others = {"CPU quota": quota, "memory": f"{machine.memory_bytes / 2**30:.2f} GiB"}
        yield _Group("hardware", None, _fields(machine, _HARDWARE) | others)
        gpus = {}
        for number, gpu in enumerate(machine.gpus):
            size = UNKNOWN if gpu.memory_bytes is None else f"{gpu.memory_bytes / 2**30:.0f} GiB"
            gpus[f"GPU {number}"] = f"{gpu.name}, {size} of memory, driver {gpu.driver}"
        yield _Group("hardware", "none", gpus)
    for framework in frameworks:
        section = environment.section(framework)
        seen = {gpu.device: str(gpu) for gpu in environment.gpus(framework)}
        yield _Group("hardware", _NOT_SEEN, None if section is None or section.gpus is UNSET else seen)
        yield _Group("software", None, _section(environment, framework))
    if alone is None:
        yield _Group("software", None, _fields(machine, _SOFTWARE))
    # TensorFlow's section holds the versions of its packages.
    left_out = _TENSORFLOW_PACKAGES if "tensorflow" in frameworks else ()
    packages = {n: v for n, v in machine.packages.items() if n not in left_out and n.startswith(alone or "")}
    yield _Group("software", "not installed", packages)
    if alone is None:  # earlier versions recorded variables that make no difference
        acting = {n: v for n, v in machine.environment_variables.items() if n not in variables.MEANINGLESS}
        yield _Group("software", "not set", acting)


def _section(environment: Environment, framework: Framework) -> dict[str, str]:
    section = environment.section(framework)
    if not isinstance(section, TensorFlow):
        fields = [field for field in Peer.__struct_fields__ if field not in _NOT_COMPARED_OF_PEERS]
        recorded = [field for field in fields if getattr(section, field) is not UNSET]
        return _fields(section, {field: f"{TITLES[framework]}'s {field.replace('_', ' ')}" for field in recorded})
    texts = _fields(section, _TENSORFLOW)
    for field, name in _THREAD_POOLS.items():
        # How many "all" are is the machine's; earlier versions recorded them as 0.
        threads = getattr(section, field)
        texts[name] = "all" if threads in (0, environment.machine.usable_threads) else str(threads)
    return texts


def _fields(record: Any, names: dict[str, str]) -> dict[str, str]:
    """Texts of the record's fields, by the names that they have for readers."""
    return {name: _text(getattr(record, field)) for field, name in names.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return UNKNOWN if value is None else str(value)
