"""An environment in words: a label, pairs of name and value, and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from gnet_core.config import PEERS, TITLES, Framework, Precision
from gnet_core.machine import gpu_chain
from gnet_core.machine.devices import Support, precision_support
from gnet_core.machine.environment import UNKNOWN, Environment, Machine, Peer, TensorFlow
from gnet_core.system import settings, variables

_THREAD_POOLS = {
    "TF_NUM_INTRAOP_THREADS": ("intra_op_threads", "an operation of TensorFlow is spread over"),
    "TF_NUM_INTEROP_THREADS": ("inter_op_threads", "operations of TensorFlow run side by side on"),
}
"""By variable, the field of TensorFlow's section that it sets, and what the number does."""
_MAX_SHOWN = 120  # characters of a variable's value


class Info(Environment, frozen=True, kw_only=True):
    """The output of `gnet info --json`, for which every framework is asked."""

    tensorflow: TensorFlow | None
    torch: Peer | None
    jax: Peer | None
    why_no_gpu: str
    precisions: Mapping[str, Mapping[Precision, Support]]
    """By device, then by precision."""
    warnings: list[str]


def info(environment: Environment) -> Info:
    """An environment with what follows from it."""
    reason = gpu_chain.why_no_gpu(environment)
    devices = ["cpu", *(gpu.device for gpu in environment.gpus())]
    return Info(
        **msgspec.structs.asdict(environment),
        why_no_gpu=reason.text if reason else "",
        precisions={device: precision_support(environment, device) for device in devices},
        warnings=warnings(environment),
    )


def label(environment: Environment, device: str) -> str:
    """One line that names the machine beside a figure."""
    machine = environment.machine
    quota = f", {_quota(machine)} by quota" if machine.cpu_quota_cores else ""
    threads = f"{machine.usable_threads} of {machine.threads} threads"
    host = f"{machine.processor}, {threads}{quota}, {machine.memory_bytes / 2**30:.0f} GiB"
    gpu = environment.gpu(device)
    return f"{gpu.name} in {host}" if gpu else host


def warnings(environment: Environment) -> list[str]:
    """What would make a careful reader doubt this machine's figures, one sentence each."""
    machine = environment.machine
    sentences = []
    if doubt := gpu_chain.doubt(environment):
        sentences.append(doubt)
    if machine.hypervisor:
        sentences.append("This is a virtual machine: other guests may take processor time that nothing here can see.")
    if machine.load_1_minute > 0.5 * machine.usable_threads:
        sentences.append(f"The machine is busy: load {machine.load_1_minute:.1f} on {machine.usable_threads} threads.")
    if machine.usable_threads < machine.threads:
        sentences.append(f"Only {machine.usable_threads} of {machine.threads} threads may be used by this process.")
    if machine.cpu_quota_cores:
        sentences.append(
            f"A CPU quota allows {_quota(machine)}: the system stops this process for part of each period."
        )
    if machine.available_memory_bytes < 4 * 2**30:
        sentences.append(f"Only {machine.available_memory_bytes / 2**30:.1f} GiB of memory are free.")
    sentences += _warnings_of_settings(machine, environment.tensorflow or None)
    if not environment.gpus() and not precision_support(environment, "cpu")["mixed_bfloat16"].pays:
        sentences.append("This processor has no bfloat16 instructions: mixed precision will not pay.")
    return sentences


def _warnings_of_settings(machine: Machine, tensorflow: TensorFlow | None) -> list[str]:
    """Variables that do not act, since a case defines what they set, and those that are in every figure."""
    sentences = []
    if machine.settings_left_out:
        left_out = []
        for name, value in machine.settings_left_out.items():
            field = settings.defined_by_case(name)
            left_out.append(f"{_setting(name, value)} ({field})" if field else _setting(name, value))
        sentences.append(f"A case defines these itself, so what was asked for is left out: {', '.join(left_out)}.")
    tuning = variables.tuning(machine.environment_variables)
    for variable, (field, effect) in _THREAD_POOLS.items():
        threads, usable = getattr(tensorflow, field, 0), machine.usable_threads
        if variable in tuning and threads and threads != usable:
            sentences.append(f"{_setting(variable, tuning.pop(variable))}: {effect} {threads} of {usable} threads.")
    if tuning:
        acting = ", ".join(_setting(name, value) for name, value in tuning.items())
        sentences.append(f"These are set from outside and act on the figures: {acting}.")
    return sentences


def _setting(name: str, value: str) -> str:
    joined = " ".join(value.split())
    shown = joined if len(joined) <= _MAX_SHOWN else f"{joined[:_MAX_SHOWN]}…"
    return f"{name}={shown}" if name.isupper() else f"{name} {shown}"


def _quota(machine: Machine) -> str:
    return f"{machine.cpu_quota_cores:g} of {machine.usable_threads} processors"


def as_lines(environment: Environment) -> list[tuple[str, str]]:
    """The environment as pairs of name and value."""
    machine, tensorflow = environment.machine, environment.tensorflow
    lines = [
        ("processor", f"{machine.processor} ({', '.join(machine.processor_flags) or 'no vector flags'})"),
        ("cores", f"{machine.cores} cores, {machine.usable_threads} of {machine.threads} threads usable"),
        *([("CPU quota", _quota(machine))] if machine.cpu_quota_cores else []),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("system", machine.system),
        ("Python", machine.python),
    ]
    if tensorflow:
        build = f"CUDA {tensorflow.cuda}, cuDNN {tensorflow.cudnn}" if tensorflow.built_for_cuda else "no"
        intra, inter = tensorflow.intra_op_threads, tensorflow.inter_op_threads
        meaning = "" if intra and inter else " (0: all)"  # as earlier versions recorded it
        lines += [
            ("TensorFlow", f"{tensorflow.version} ({tensorflow.git}), Keras {tensorflow.keras}"),
            ("CUDA build", build),
            ("threads", f"intra-op {intra}, inter-op {inter}{meaning}"),
            *((f"TensorFlow's {name}", value) for name, value in (tensorflow.observed or {}).items()),
        ]
    else:
        lines.append(("TensorFlow", "not installed"))
    lines += [
        ("GPU", f"{gpu.name}, {(gpu.memory_bytes or 0) / 2**30:.0f} GiB, driver {gpu.driver}") for gpu in machine.gpus
    ]
    if tensorflow:
        lines += [("TensorFlow GPU", f"{gpu.device}: {gpu}") for gpu in tensorflow.gpus]
    lines += [*lines_of_peers(environment), *machine.packages.items(), *machine.environment_variables.items()]
    return [*lines, ("commit", machine.commit)] if machine.commit else lines


def lines_of_peers(
    environment: Environment, frameworks: Iterable[Framework] = PEERS, where: str = ""
) -> list[tuple[str, str]]:
    """PyTorch and JAX as pairs of name and value; `where` is added to the names."""
    lines = []
    for framework in frameworks:
        title = f"{TITLES[framework]}{where}"
        if error := environment.load_error(framework):
            lines.append((title, f"cannot be loaded: {error}"))
        if peer := environment.section(framework):
            build = f"CUDA {peer.cuda}, cuDNN {peer.cudnn}" if peer.built_for_cuda else "built without CUDA"
            lines.append((title, f"{peer.version or UNKNOWN}, {build}"))
            lines += [(f"{title} GPU", f"{gpu.device}: {gpu}") for gpu in peer.gpus or []]
            if peer.built_for_cuda and (reason := getattr(peer, "why_no_gpus", "")):
                lines.append((f"{title} GPU", f"none: {reason}"))
    return lines
