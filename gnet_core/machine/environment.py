"""What machine and software this is, and what it can be expected to do; without importing TensorFlow."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cpuinfo
import psutil
import pynvml

from gnet_core.config import Framework, GnetError, Precision
from gnet_core.machine import capabilities, gpu_chain, nvml
from gnet_core.machine.capabilities import TITLES
from gnet_core.system import git, settings, variables
from gnet_core.system.cgroups import ControlGroups

PACKAGES = (
    *("gnet", "tensorflow", "tensorflow-cpu", "keras", "numpy", "pytest-benchmark", "xprof", "protobuf"),
    *("torch", "jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin"),
)
PROCESSOR_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")

Kind = Literal["hardware", "software"]
UNKNOWN = "unknown"
MEMORY_TOLERANCE = 0.02
"""Kernels and firmware keep different amounts of the same memory to themselves; other modules differ by far more."""

VOLATILE = ("frequency_hz", "available_memory_bytes", "load_1_minute", "settings_left_out", "nvidia")
"""What `describe` tells of the moment, of what did not act, or of where files are and what is told elsewhere too;
machines are the same whatever it is."""

_MACHINE_HARDWARE = {
    "processor": "processor",
    "processor_family": "processor family, model, stepping",
    "processor_flags": "processor flags",
    "hypervisor": "virtual machine",
    "cores": "cores",
    "threads": "threads",
    "usable_threads": "usable threads",
}
_IN_TENSORFLOW_SECTION = ("tensorflow", "tensorflow-cpu", "keras")
_MACHINE_SOFTWARE = {"system": "system", "python": "Python", "commit": "commit"}
_TENSORFLOW_SOFTWARE = {
    "version": "TensorFlow",
    "git": "TensorFlow's commit",
    "compiler": "TensorFlow's compiler",
    "built_for_cuda": "TensorFlow built for CUDA",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "keras": "Keras",
}
_THREAD_VARIABLES = {"intra_op_threads": "TF_NUM_INTRAOP_THREADS", "inter_op_threads": "TF_NUM_INTEROP_THREADS"}
_THREADS_DO = {
    "intra_op_threads": "an operation of TensorFlow is spread over",
    "inter_op_threads": "operations of TensorFlow run side by side on",
}
_MAX_SHOWN = 120
"""Characters of a variable's value in a sentence."""
_THREADS = {"intra_op_threads": "intra-op threads", "inter_op_threads": "inter-op threads"}


class Support(NamedTuple):
    """Whether a precision runs on a device, whether it can be expected to pay there, and why."""

    supported: bool
    pays: bool
    reason: str


class Difference(NamedTuple):
    """Something in which two environments differ, its values as text; hardware makes them two machines."""

    name: str
    base: str
    new: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.name}: {self.base} → {self.new}"


def describe(checkout: Path | None = None) -> dict[str, Any]:
    """The machine and its software as plain data for JSON; sizes in bytes, clocks in Hz. `checkout` adds its commit.

    What a container is limited to is its machine: memory and a CPU quota, which is None where there is none.
    """
    groups = ControlGroups()
    processor = cpuinfo.get_cpu_info()
    flags = set(processor.get("flags", ()))
    return {
        "processor": processor.get("brand_raw", platform.processor() or "unknown"),
        "processor_family": [processor.get("family"), processor.get("model"), processor.get("stepping")],
        "processor_flags": [flag for flag in PROCESSOR_FLAGS if flag in flags],
        "hypervisor": "hypervisor" in flags,
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "usable_threads": usable_threads(),
        "cpu_quota_cores": groups.cpu_quota_cores(),
        "frequency_hz": _frequency_hz(),
        "memory_bytes": _least(psutil.virtual_memory().total, groups.memory_limit_bytes()),
        "available_memory_bytes": _least(psutil.virtual_memory().available, groups.memory_left_bytes()),
        "load_1_minute": psutil.getloadavg()[0],
        "gpus": _nvidia_gpus(),
        "nvidia": gpu_chain.describe(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": _package_versions(),
        "environment_variables": variables.recorded(),
        "settings_left_out": settings.left_out(),
        "commit": git.commit(checkout) if checkout else None,
    }


_USABLE_THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1


def usable_threads() -> int:
    """The processors of this process' cpuset, as it was started: a framework's OpenMP may bind it to one later."""
    return _USABLE_THREADS


def available_memory_bytes() -> int:
    """What this process may still take: what is free, or what its control groups have left, as in a container."""
    return _least(psutil.virtual_memory().available, ControlGroups().memory_left_bytes())


def _least(amount: int, limit: int | None) -> int:
    return amount if limit is None else min(amount, limit)


def peak_resident_memory() -> tuple[int, str]:
    """Bytes that this process held at its highest, interpreter and libraries included, and where the figure is from."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "peak resident memory of the process"


def label(environment: Mapping[str, Any], device: str) -> str:
    """One line that names the machine beside a figure."""
    machine = environment["machine"]
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB"
    quota = f", {_quota(machine)} by quota" if machine.get("cpu_quota_cores") else ""
    host = f"{machine['processor']}, {machine['usable_threads']} of {machine['threads']} threads{quota}, {memory}"
    seen = capabilities.gpu(environment, device)
    return f"{seen['name']} in {host}" if seen else host


def precision_support(
    environment: Mapping[str, Any], device: str, framework: Framework | None = None
) -> dict[Precision, Support]:
    """What each precision can be expected to do on a device, from its processor flags or compute capability.

    The device is as `framework` sees it, by default the environment's leading one (see gnet_core.machine.capabilities).
    Sources: NVIDIA's CUDA C++ Programming Guide (TF32 and bfloat16 from compute capability 8.0, float16 tensor cores
    from 7.0) and oneDNN's data types (bfloat16 natively with AVX512_BF16 or AMX, float16 with AVX512_FP16).
    """
    support: dict[Precision, Support] = {"float32": Support(True, True, "the reference")}
    if device == "cpu":
        flags = set(environment["machine"]["processor_flags"])
        has_bf16, has_fp16 = bool(flags & {"avx512_bf16", "amx_bf16"}), "avx512_fp16" in flags
        support["tf32"] = Support(False, False, "TF32 is a GPU's way to multiply float32; there is none on a CPU")
        support["mixed_bfloat16"] = Support(
            True, has_bf16, "AVX512_BF16 or AMX" if has_bf16 else "neither AVX512_BF16 nor AMX: emulated"
        )
        support["mixed_float16"] = Support(True, has_fp16, "AVX512_FP16" if has_fp16 else "no AVX512_FP16: emulated")
        return support
    gpu = capabilities.gpu(environment, device, framework)
    capability = tuple((gpu or {}).get("compute_capability") or (0, 0))
    shown = capabilities.capability(gpu or {})
    ampere, volta = capability >= (8, 0), capability >= (7, 0)
    support["tf32"] = Support(ampere, ampere, f"compute capability {shown}, TF32 needs 8.0")
    support["mixed_bfloat16"] = Support(ampere, ampere, f"compute capability {shown}, bfloat16 needs 8.0")
    support["mixed_float16"] = Support(True, volta, f"compute capability {shown}, float16 tensor cores need 7.0")
    return support


def choose_device(asked: str, environment: Mapping[str, Any]) -> str:
    """cpu or gpu:N of auto, cpu, gpu or gpu:N.

    Raises GnetError for a GPU that the leading framework does not see, and for auto where it should see one and figures
    of the CPU are not what was meant.
    """
    title = TITLES[capabilities.leading(environment)]
    gpus = [str(gpu["device"]) for gpu in capabilities.gpus(environment)]
    reason = gpu_chain.why_no_gpu(environment)
    if asked == "auto":
        if reason and reason.is_fault:
            raise GnetError(f"device: {title} sees no GPU: {reason.text}; --device cpu measures the CPU")
        return gpus[0] if gpus else "cpu"
    wanted = "gpu:0" if asked == "gpu" else asked
    if wanted != "cpu" and wanted not in gpus:
        why = f": {reason.text}" if reason else ""
        raise GnetError(f"device: {asked!r} is not there; {title} sees {', '.join(['cpu', *gpus])}{why}")
    return wanted


def require_precision(precision: Precision, device: str, environment: Mapping[str, Any]) -> None:
    """Raise GnetError for a precision that the device cannot do."""
    support = precision_support(environment, device)[precision]
    if not support.supported:
        raise GnetError(f"precision: {precision!r} cannot be done on {device}: {support.reason}; use another")


def warnings(environment: Mapping[str, Any]) -> list[str]:
    """What about this machine would make a careful reader doubt its figures, one sentence each."""
    machine, tensorflow = environment["machine"], environment["tensorflow"]
    found = []
    if doubt := gpu_chain.doubt(environment):
        found.append(doubt)
    if machine["hypervisor"]:
        found.append("This is a virtual machine: other guests may take processor time that nothing here can see.")
    if machine["load_1_minute"] > 0.5 * machine["usable_threads"]:
        found.append(
            f"The machine is busy: load {machine['load_1_minute']:.1f} on {machine['usable_threads']} threads."
        )
    if machine["usable_threads"] < machine["threads"]:
        found.append(f"Only {machine['usable_threads']} of {machine['threads']} threads may be used by this process.")
    if machine.get("cpu_quota_cores"):
        found.append(f"A CPU quota allows {_quota(machine)}: the system stops this process for part of each period.")
    if machine["available_memory_bytes"] < 4 * 2**30:
        found.append(f"Only {machine['available_memory_bytes'] / 2**30:.1f} GiB of memory are free.")
    found += _warnings_of_settings(machine, tensorflow)
    pays = precision_support(environment, "cpu")
    if not capabilities.gpus(environment) and not pays["mixed_bfloat16"].pays:
        found.append("This processor has no bfloat16 instructions: mixed precision will not pay.")
    return found


def _warnings_of_settings(machine: Mapping[str, Any], tensorflow: Mapping[str, Any] | None) -> list[str]:
    """What the environment asked for: what does not act, since a case defines it, and what is in every figure."""
    found = []
    if left_out := machine.get("settings_left_out"):
        told = ", ".join(_left_out(name, value) for name, value in left_out.items())
        found.append(f"A case defines these itself, so what was asked for is left out: {told}.")
    tuning = variables.tuning(machine["environment_variables"])
    for field, variable in _THREAD_VARIABLES.items():
        used, usable = (tensorflow or {}).get(field), machine["usable_threads"]
        if variable in tuning and used and used != usable:
            found.append(
                f"{_setting(variable, tuning.pop(variable))}: {_THREADS_DO[field]} {used} of {usable} threads."
            )
    if tuning:
        acting = ", ".join(_setting(name, value) for name, value in tuning.items())
        found.append(f"These are set from outside and act on the figures: {acting}.")
    return found


def _left_out(name: str, value: str) -> str:
    what = settings.defined_by_case(name)
    return f"{_setting(name, value)} ({what})" if what else _setting(name, value)


def _setting(name: str, value: str) -> str:
    joined = " ".join(value.split())
    shown = joined if len(joined) <= _MAX_SHOWN else f"{joined[:_MAX_SHOWN]}…"
    return f"{name}={shown}" if name.isupper() else f"{name} {shown}"


def _quota(machine: Mapping[str, Any]) -> str:
    return f"{machine['cpu_quota_cores']:g} of {machine['usable_threads']} processors"


def as_lines(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The environment as pairs of name and value for people."""
    machine, tensorflow = environment["machine"], environment["tensorflow"]
    lines = [
        ("processor", f"{machine['processor']} ({', '.join(machine['processor_flags']) or 'no vector flags'})"),
        ("cores", f"{machine['cores']} cores, {machine['usable_threads']} of {machine['threads']} threads usable"),
        ("memory", f"{machine['memory_bytes'] / 2**30:.1f} GiB"),
        ("system", machine["system"]),
        ("Python", machine["python"]),
        *(_tensorflow_lines(tensorflow) if tensorflow is not None else [("TensorFlow", "not installed")]),
    ]
    if machine.get("cpu_quota_cores"):
        lines.insert(2, ("CPU quota", _quota(machine)))
    lines += [
        ("GPU", f"{gpu['name']}, {(gpu['memory_bytes'] or 0) / 2**30:.0f} GiB, driver {gpu['driver']}")
        for gpu in machine["gpus"]
    ]
    if tensorflow is not None:
        lines += [("TensorFlow GPU", capabilities.told_gpu(gpu)) for gpu in tensorflow["gpus"]]
    lines += capabilities.lines_of_peers(environment)
    lines += [*machine["packages"].items(), *machine["environment_variables"].items()]
    if machine.get("commit"):
        lines.append(("commit", machine["commit"]))
    return lines


def _tensorflow_lines(tensorflow: Mapping[str, Any]) -> list[tuple[str, str]]:
    build = f"CUDA {tensorflow['cuda']}, cuDNN {tensorflow['cudnn']}" if tensorflow["built_for_cuda"] else "no"
    return [
        ("TensorFlow", f"{tensorflow['version']} ({tensorflow['git']}), Keras {tensorflow['keras']}"),
        ("CUDA build", build),
        ("threads", _threads_line(tensorflow)),
    ]


def _threads_line(tensorflow: Mapping[str, Any]) -> str:
    numbers = [tensorflow[field] for field in _THREADS]
    meaning = "" if all(numbers) else " (0: all)"  # as earlier versions recorded it
    return f"intra-op {numbers[0]}, inter-op {numbers[1]}{meaning}"


def differences(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """What differs between two environments, hardware first; what is of the moment (`VOLATILE`) is not looked at.

    An environment is as gnet_core.machine.capabilities has it, and may be from a stranger's file: what is missing or
    None there is "unknown", which differs from all but itself. Of a framework that one of the two has not, its package
    tells.
    """
    machines = _mapping(base.get("machine")), _mapping(new.get("machine"))
    without = any(each.get("tensorflow", {}) is None for each in (base, new))
    tensorflows = _mapping(base.get("tensorflow")), _mapping(new.get("tensorflow"))
    cards, variables = ((tell(machines[0]), tell(machines[1])) for tell in (_driver_gpus, _variables_told))
    packages = (_packages_told(machines[0], whole=without), _packages_told(machines[1], whole=without))
    found = [
        *_fields_that_differ(_MACHINE_HARDWARE, machines, "hardware"),
        *_values_that_differ("CPU quota", _quota_told(machines[0]), _quota_told(machines[1]), "hardware"),
        *_memory_difference(*machines),
        *_parts_that_differ("GPUs", cards, "none", "hardware"),
        *([] if without else _tensorflow_differences(machines, tensorflows)),
        *_peer_differences(base, new),
        *_fields_that_differ(_MACHINE_SOFTWARE, machines, "software"),
        *_parts_that_differ("packages", packages, "not installed", "software"),
        *_parts_that_differ("environment variables", variables, "not set", "software"),
    ]
    return sorted(found, key=lambda difference: difference.kind != "hardware")


def _tensorflow_differences(
    machines: tuple[Mapping[str, Any], Mapping[str, Any]], tensorflows: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> list[Difference]:
    return [
        *_seen_gpus_that_differ("TensorFlow", *tensorflows),
        *_fields_that_differ(_TENSORFLOW_SOFTWARE, tensorflows, "software"),
        *_threads_that_differ(machines, tensorflows),
    ]


def _peer_differences(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """What the sections of PyTorch and JAX both tell; their versions are those of their packages."""
    found = []
    for framework in capabilities.PEERS:
        first, second = capabilities.section(base, framework), capabilities.section(new, framework)
        if first is None or second is None:
            continue
        shared = [field for field in first if field in second and field not in ("gpus", "why_no_gpus", "version")]
        names = {field: f"{TITLES[framework]}'s {field.replace('_', ' ')}" for field in shared}
        found += _fields_that_differ(names, (first, second), "software")
        if "gpus" in first and "gpus" in second:  # a process of JAX's that keeps to one device tells of none
            found += _seen_gpus_that_differ(TITLES[framework], first, second)
    return found


def _fields_that_differ(
    names: Mapping[str, str], pair: tuple[Mapping[str, Any], Mapping[str, Any]], kind: Kind
) -> list[Difference]:
    base, new = pair
    found = [Difference(name, _text(base.get(field)), _text(new.get(field)), kind) for field, name in names.items()]
    return [difference for difference in found if difference.base != difference.new]


def _values_that_differ(name: str, base: str, new: str, kind: Kind) -> list[Difference]:
    return [] if base == new else [Difference(name, base, new, kind)]


def _quota_told(machine: Mapping[str, Any]) -> str:
    """Earlier versions did not look for a quota, so a machine of which none is told has none."""
    quota = machine.get("cpu_quota_cores")
    return "none" if quota is None else f"{_text(quota)} processors"


def _threads_that_differ(
    machines: tuple[Mapping[str, Any], Mapping[str, Any]], tensorflows: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> list[Difference]:
    """All of a machine's threads are "all": how many those are is the machine's, and earlier versions recorded 0."""
    found = []
    for field, name in _THREADS.items():
        told = []
        for machine, tensorflow in zip(machines, tensorflows, strict=True):
            number = tensorflow.get(field)
            usual = number is not None and number in (0, machine.get("usable_threads"))
            told.append("all" if usual else _text(number))
        found += _values_that_differ(name, told[0], told[1], "software")
    return found


def _parts_that_differ(
    whole: str, pair: tuple[dict[str, str] | None, dict[str, str] | None], absent: str, kind: Kind
) -> list[Difference]:
    """Part by part; `absent` is a part's value where it is missing. A whole that is None on one side is unknown."""
    base, new = pair
    if base is None or new is None:
        sides = _whole(base), _whole(new)
        return [] if sides[0] == sides[1] else [Difference(whole, *sides, kind)]
    found = [Difference(part, base.get(part, absent), new.get(part, absent), kind) for part in {**base, **new}]
    return [difference for difference in found if difference.base != difference.new]


def _whole(parts: Mapping[str, str] | None) -> str:
    return UNKNOWN if parts is None else ", ".join(f"{part} {value}" for part, value in parts.items()) or "none"


def _memory_difference(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    first, second = _number(base.get("memory_bytes")), _number(new.get("memory_bytes"))
    if first is None or second is None:
        same = first is second
    else:
        same = abs(first - second) <= MEMORY_TOLERANCE * max(first, second)
    return [] if same else [Difference("memory", _gibibytes(first, 2), _gibibytes(second, 2), "hardware")]


def _seen_gpus_that_differ(title: str, base: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """One name for two different GPUs is hardware. A GPU that one side alone sees is software: its framework's build
    and variables decide that.
    """
    seen = _seen_gpus(base), _seen_gpus(new)
    found = _parts_that_differ(f"{title}'s GPUs", seen, "not seen", "hardware")
    one_sided = {"not seen", UNKNOWN}
    return [
        difference._replace(kind="software") if {difference.base, difference.new} & one_sided else difference
        for difference in found
    ]


def _driver_gpus(machine: Mapping[str, Any]) -> dict[str, str] | None:
    gpus = machine.get("gpus")
    if not isinstance(gpus, list):
        return None
    told = {}
    for number, gpu in enumerate(map(_mapping, gpus)):
        size = f"{_gibibytes(_number(gpu.get('memory_bytes')), 0)} of memory"
        told[f"GPU {number}"] = f"{_text(gpu.get('name'))}, {size}, driver {_text(gpu.get('driver'))}"
    return told


def _seen_gpus(section: Mapping[str, Any]) -> dict[str, str] | None:
    gpus = section.get("gpus")
    if not isinstance(gpus, list):
        return None
    told = {}
    for gpu in map(_mapping, gpus):
        told[_text(gpu.get("device"))] = f"{_text(gpu.get('name'))}, capability {capabilities.capability(gpu)}"
    return told


def _packages_told(machine: Mapping[str, Any], *, whole: bool) -> dict[str, str] | None:
    """Unless they are wanted whole, less those whose versions the TensorFlow section has: nothing is told twice."""
    packages = _texts(machine.get("packages"))
    left_out = () if whole else _IN_TENSORFLOW_SECTION
    return packages and {name: version for name, version in packages.items() if name not in left_out}


def _variables_told(machine: Mapping[str, Any]) -> dict[str, str] | None:
    """Those that can make a difference; earlier versions recorded others as well."""
    told = _texts(machine.get("environment_variables"))
    return told and {name: value for name, value in told.items() if name not in variables.MEANINGLESS}


def _texts(parts: Any) -> dict[str, str] | None:
    return {str(part): _text(value) for part, value in parts.items()} if isinstance(parts, Mapping) else None


def _gibibytes(memory_bytes: float | None, digits: int) -> str:
    return UNKNOWN if memory_bytes is None else f"{memory_bytes / 2**30:.{digits}f} GiB"


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return str(value)


def _frequency_hz() -> float | None:
    frequency = psutil.cpu_freq()
    return frequency.current * 1e6 if frequency else None


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _nvidia_gpus() -> list[dict[str, Any]]:
    with nvml.opened() as answers:
        count = (nvml.ask(pynvml.nvmlDeviceGetCount) or 0) if answers else 0
        driver = nvml.ask(pynvml.nvmlSystemGetDriverVersion) or UNKNOWN
        return [_describe_gpu(index, driver) for index in range(count)]


def _describe_gpu(index: int, driver: str) -> dict[str, Any]:
    """One that does not answer, since it fell off the bus, is told of as well: it may be why a framework sees none.

    A partitioned GPU, or one that shares the host's memory, need not tell its memory.
    """
    handle = nvml.ask(lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
    name = handle and nvml.ask(lambda: pynvml.nvmlDeviceGetName(handle))
    memory = handle and nvml.ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    return {
        "name": name or "a GPU that does not answer",
        "memory_bytes": int(memory.total) if memory else None,
        "driver": driver,
    }


def require_environment(path: Path, environment: Any, device: str) -> None:
    """Raise GnetError unless all that is told of an environment can be told of this one."""
    try:
        label(environment, device)
        as_lines(environment)
        warnings(environment)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GnetError(
            f"{path}: field 'environment' misses or mistakes {error}; gnet info --json tells a whole one"
        ) from error
