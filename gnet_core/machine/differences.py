"""What differs between two environments: hardware makes them two machines, software does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from msgspec import UNSET

from gnet_core.config import FRAMEWORKS, Framework
from gnet_core.machine.environment import TITLES, UNKNOWN, Environment, Machine, Peer, TensorFlow
from gnet_core.system import variables

Side = TypeVar("Side", Machine, Environment)

Kind = Literal["hardware", "software"]
MEMORY_TOLERANCE = 0.02
"""Kernels and firmware keep different amounts of the same memory to themselves; other modules differ by far more."""

_MACHINE_HARDWARE = {
    "processor": "processor",
    "processor_family": "processor family, model, stepping",
    "processor_flags": "processor flags",
    "hypervisor": "virtual machine",
    "cores": "cores",
    "threads": "threads",
    "usable_threads": "usable threads",
}
_MACHINE_SOFTWARE = {"system": "system", "python": "Python", "commit": "commit"}
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
_IN_TENSORFLOW_SECTION = ("tensorflow", "tensorflow-cpu", "keras")
_LEFT_OUT_OF_PEERS = ("error", "version", "gpus", "why_no_gpus")
"""Fields of no difference of their own: a peer's version is its package's."""


class Difference(NamedTuple):
    """One thing in which two environments differ, its values as text."""

    name: str
    base: str
    new: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.name}: {self.base} → {self.new}"


def differences(base: Environment | None, new: Environment | None) -> list[Difference]:
    """The differences between two environments, hardware first; None is an environment that was not recorded.

    Not compared are clocks, load and free memory, which are of the moment; settings that did not act; and where
    NVIDIA's libraries are.
    """
    if base is None or new is None:
        sides = ["recorded" if side else UNKNOWN for side in (base, new)]
        return [] if base is new else [Difference("environment", sides[0], sides[1], "hardware")]
    # The sections of TensorFlow hold the versions of its packages.
    left_out = _IN_TENSORFLOW_SECTION if base.tensorflow and new.tensorflow else ()

    def packages(machine: Machine) -> dict[str, str]:
        return {name: version for name, version in machine.packages.items() if name not in left_out}

    machines = base.machine, new.machine
    found = [
        *_differing(_hardware, machines, "hardware"),
        *_memory_difference(*machines),
        *_differing(_driver_gpus, machines, "hardware", absent="none"),
        *(difference for framework in FRAMEWORKS for difference in _section_differences(base, new, framework)),
        *_differing(_software, machines, "software"),
        *_differing(packages, machines, "software", absent="not installed"),
        *_differing(_variables, machines, "software", absent="not set"),
    ]
    return _hardware_first(found)


def framework_differences(base: Environment, new: Environment, framework: Framework) -> list[Difference]:
    """The differences between two environments in one framework alone: its section and its packages."""

    def packages(machine: Machine) -> dict[str, str]:
        return {name: version for name, version in machine.packages.items() if name.startswith(framework)}

    differing = _differing(packages, (base.machine, new.machine), "software", absent="not installed")
    return _hardware_first(_section_differences(base, new, framework) + differing)


def _hardware_first(differences: list[Difference]) -> list[Difference]:
    return sorted(differences, key=lambda difference: difference.kind != "hardware")


def _differing(
    texts: Callable[[Side], dict[str, str]], sides: tuple[Side, Side], kind: Kind, absent: str = ""
) -> list[Difference]:
    """The differences between the texts of two sides, by their names.

    `absent` stands for a name that one side lacks. Without it such names are left out: another version may not have
    recorded them.
    """
    base, new = map(texts, sides)
    names = {**base, **new} if absent else [name for name in base if name in new]
    pairs = ((name, base.get(name, absent), new.get(name, absent)) for name in names)
    return [Difference(name, first, second, kind) for name, first, second in pairs if first != second]


def _hardware(machine: Machine) -> dict[str, str]:
    quota = "none" if machine.cpu_quota_cores is None else f"{machine.cpu_quota_cores} processors"
    return _texts(machine, _MACHINE_HARDWARE) | {"CPU quota": quota}


def _software(machine: Machine) -> dict[str, str]:
    return _texts(machine, _MACHINE_SOFTWARE)


def _memory_difference(base: Machine, new: Machine) -> list[Difference]:
    first, second = base.memory_bytes, new.memory_bytes
    if abs(first - second) <= MEMORY_TOLERANCE * max(first, second):
        return []
    return [Difference("memory", f"{first / 2**30:.2f} GiB", f"{second / 2**30:.2f} GiB", "hardware")]


def _driver_gpus(machine: Machine) -> dict[str, str]:
    texts = {}
    for number, gpu in enumerate(machine.gpus):
        size = UNKNOWN if gpu.memory_bytes is None else f"{gpu.memory_bytes / 2**30:.0f} GiB"
        texts[f"GPU {number}"] = f"{gpu.name}, {size} of memory, driver {gpu.driver}"
    return texts


def _section_differences(base: Environment, new: Environment, framework: Framework) -> list[Difference]:
    """The differences between two sections of a framework; none where one of the environments lacks it, since then its
    package differs.

    One name for two different GPUs is hardware. A GPU that one side alone sees is software: the framework's build and
    variables decide that.
    """
    first, second = base.section(framework), new.section(framework)
    if first is None or second is None:
        return []
    found = []
    if UNSET not in (first.gpus, second.gpus):
        for difference in _differing(partial(_seen_gpus, framework=framework), (base, new), "hardware", "not seen"):
            one_sided = "not seen" in (difference.base, difference.new)
            found.append(difference._replace(kind="software") if one_sided else difference)
    return found + _differing(partial(_section_texts, framework=framework), (base, new), "software")


def _seen_gpus(environment: Environment, framework: Framework) -> dict[str, str]:
    return {gpu.device: str(gpu) for gpu in environment.gpus(framework)}


def _section_texts(environment: Environment, framework: Framework) -> dict[str, str]:
    section = environment.section(framework)
    if not isinstance(section, TensorFlow):
        fields = [field for field in Peer.__struct_fields__ if field not in _LEFT_OUT_OF_PEERS]
        known = [field for field in fields if getattr(section, field) is not UNSET]
        return _texts(section, {field: f"{TITLES[framework]}'s {field.replace('_', ' ')}" for field in known})
    texts = _texts(section, _TENSORFLOW)
    for field, name in _THREAD_POOLS.items():
        # How many "all" are is the machine's; earlier versions recorded them as 0.
        threads = getattr(section, field)
        texts[name] = "all" if threads in (0, environment.machine.usable_threads) else str(threads)
    return texts


def _variables(machine: Machine) -> dict[str, str]:
    """The variables that can make a difference; earlier versions recorded others as well."""
    recorded = machine.environment_variables
    return {name: value for name, value in recorded.items() if name not in variables.MEANINGLESS}


def _texts(record: Machine | TensorFlow | Peer | None, names: Mapping[str, str]) -> dict[str, str]:
    """Texts of the record's fields, by the names that they have for readers."""
    return {name: _text(getattr(record, field)) for field, name in names.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return UNKNOWN if value is None else str(value)
