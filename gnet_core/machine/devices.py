"""The device of a run, and what each precision can be expected to do on it."""

from __future__ import annotations

import msgspec

from gnet_core.config import TITLES, Framework, GnetError, Precision
from gnet_core.machine import gpu_chain
from gnet_core.machine.environment import UNKNOWN, Environment, SeenGpu, dotted


class Support(msgspec.Struct, frozen=True):
    """Whether a precision runs on a device, whether it can be expected to pay there, and why."""

    supported: bool
    pays: bool
    reason: str


def precision_support(
    environment: Environment, device: str, framework: Framework | None = None
) -> dict[Precision, Support]:
    """Support of each precision on a device, from its processor flags or compute capability.

    The device is as `framework` sees it, by default the environment's leading one. Sources: NVIDIA's CUDA C++
    Programming Guide (TF32 and bfloat16 from compute capability 8.0, float16 tensor cores from 7.0) and oneDNN's data
    types (bfloat16 natively with AVX512_BF16 or AMX, float16 with AVX512_FP16).
    """
    reference = Support(True, True, "the reference")
    if device == "cpu":
        flags = set(environment.machine.processor_flags)
        has_bf16, has_fp16 = bool(flags & {"avx512_bf16", "amx_bf16"}), "avx512_fp16" in flags
        bf16 = "AVX512_BF16 or AMX" if has_bf16 else "neither AVX512_BF16 nor AMX: emulated"
        return {
            "float32": reference,
            "tf32": Support(False, False, "TF32 is a GPU's way to multiply float32; there is none on a CPU"),
            "mixed_bfloat16": Support(True, has_bf16, bf16),
            "mixed_float16": Support(True, has_fp16, "AVX512_FP16" if has_fp16 else "no AVX512_FP16: emulated"),
        }
    gpu = environment.gpu(device, framework)
    capability = (gpu and gpu.compute_capability) or [0, 0]
    ampere, volta = capability >= [8, 0], capability >= [7, 0]
    shown = f"compute capability {dotted(gpu.compute_capability) if gpu else UNKNOWN}"
    return {
        "float32": reference,
        "tf32": Support(ampere, ampere, f"{shown}, TF32 needs 8.0"),
        "mixed_bfloat16": Support(ampere, ampere, f"{shown}, bfloat16 needs 8.0"),
        "mixed_float16": Support(True, volta, f"{shown}, float16 tensor cores need 7.0"),
    }


def require_precision(precision: Precision, device: str, environment: Environment) -> None:
    """Raise GnetError for a precision that the device does not support."""
    support = precision_support(environment, device)[precision]
    if not support.supported:
        raise GnetError(f"precision: {precision!r} cannot be done on {device}: {support.reason}; use another")


def choose_device(wanted: str, environment: Environment) -> str:
    """cpu or gpu:N for auto, cpu, gpu or gpu:N.

    Raises GnetError for a GPU that the leading framework does not see, and for auto where it should see one.
    """
    title = TITLES[environment.leading]
    gpus = [gpu.device for gpu in environment.gpus()]
    reason = gpu_chain.why_no_gpu(environment)
    if wanted == "auto":
        if reason and reason.is_fault:
            raise GnetError(f"device: {title} sees no GPU: {reason.text}; --device cpu measures the CPU")
        return gpus[0] if gpus else "cpu"
    device = "gpu:0" if wanted == "gpu" else wanted
    if device not in ("cpu", *gpus):
        why = f": {reason.text}" if reason else ""
        raise GnetError(f"device: {wanted!r} is not there; {title} sees {', '.join(['cpu', *gpus])}{why}")
    return device


def gpus_from(device: str, environment: Environment) -> list[SeenGpu]:
    """The GPUs that a case of several replicas may take, from its device gpu:N on; none of a CPU."""
    gpus = environment.gpus()
    first = next((number for number, gpu in enumerate(gpus) if gpu.device == device), len(gpus))
    return gpus[first:]


REPLICAS_PER_THREAD = 4
"""Logical devices that a CPU is split into at most, for each of its threads: more only wait for one another."""


def require_parts_of_cpu(replicas: int, threads: int) -> None:
    """Raise GnetError where a CPU of so many threads is not split into so many logical devices."""
    if replicas > (most := REPLICAS_PER_THREAD * threads):
        raise GnetError(
            f"replicas: {replicas} is too many: a CPU of {threads} threads is split into at most {most} logical "
            "devices; use fewer"
        )


def require_gpus(replicas: int, workers: int, device: str, there: int) -> None:
    """Raise GnetError where so many workers of a host with so many replicas each lack a GPU of their own."""
    if replicas * workers > there:
        field, value = ("replicas", replicas) if replicas > there else ("workers", workers)
        kinds = f"{workers} × {replicas} replicas take {workers * replicas} GPUs"
        raise GnetError(f"{field}: {value} is too many: {kinds}, and from {device} on there are {there}; use fewer")
