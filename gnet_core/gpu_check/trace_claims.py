"""What the traces of a check say of the promises of the GPU side."""

from __future__ import annotations

import re
import statistics

from gnet_core.frameworks.tf import command_buffers
from gnet_core.gpu_check.evidence import SAMPLED, Claims, Figure, Finding, Seen, of_traces
from gnet_core.profile import device_time, tensor_cores
from gnet_core.profile.document import Profile
from gnet_core.profile.step_breakdown import AT_WORK, launch_bound

KERNEL_TIME_TOLERANCE = 0.10
"""Between the time of operations and that of kernels, which are two readings of the same trace."""

MAX_UNKNOWN_KERNEL_SHARE = 0.05
"""Of the time of all kernels, in kernels whose names do not tell whether they use tensor cores."""

MAX_NAMED_UNKNOWN = 20
"""Kernels that evidence names, the longest; profile.json has all."""

MAX_UNPLACED_KERNEL_SHARE = 0.05
"""Of the time of all kernels, in kernels that belong to no operation, as those within a CUDA graph do."""

_CONVERSION = re.compile(
    r"nchwtonhwc|nhwctonchw"  # cuDNN's
    r"|swapdimension1and2intensor3|shuffleintensor3simple"  # TensorFlow's, also within its FusedBatchNorm
    r"|(transpose|transpose_fusion)(_\d+)?$",  # XLA's
    re.IGNORECASE,
)
"""In the name of a kernel that changes a layout. TensorFlow's batch normalisation computes channels first in training,
and converts what comes channels last by itself, unless TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT is set
(fused_batch_norm_op.cc, fast_nhwc_batch_norm); its graph shows nothing of that."""


def _steps_recognised(profile: Profile) -> Finding:
    shares = {each.kind: each.share for each in profile.breakdown}
    figures = (
        Figure("kernels", len(profile.kernels), ""),
        *(Figure(kind, share, "") for kind, share in shares.items() if share >= 0.005),
    )
    because = "; ".join(profile.trace.warnings) if shares else "xprof recognised no step"
    return Finding("confirmed" if profile.kernels and shares.get("device compute") else "wrong", figures, because)


def _names_judged(profile: Profile) -> Finding:
    if not (shares := _tensor_core_shares(profile)):
        return Finding("open", because=_NO_KERNELS)
    unknown = [each for each in profile.kernels if each.tensor_cores == "unknown"]
    named = ", ".join(f"{each.kernel[:80]} {each.share:.1%}" for each in unknown[:MAX_NAMED_UNKNOWN])
    figures = (*(Figure(use, share, "") for use, share in shares.items()), Figure("unknown names", len(unknown), ""))
    return Finding("confirmed" if shares["unknown"] <= MAX_UNKNOWN_KERNEL_SHARE else "wrong", figures, named)


def _uses_tensor_cores(profile: Profile) -> Finding:
    if not (shares := _tensor_core_shares(profile)):
        return Finding("open", because=_NO_KERNELS)
    return Finding("confirmed" if shares["used"] else "wrong", (Figure("of the kernels' time", shares["used"], ""),))


def _uses_no_tensor_cores(profile: Profile) -> Finding:
    if not (shares := _tensor_core_shares(profile)):
        return Finding("open", because=_NO_KERNELS)
    using = [each.kernel[:80] for each in profile.kernels if each.tensor_cores == "used"]
    figures = (Figure("of the kernels' time", shares["used"], ""),)
    return Finding("wrong" if using else "confirmed", figures, ", ".join(using[:MAX_NAMED_UNKNOWN]))


_NO_KERNELS = "there are no kernels"


def _tensor_core_shares(profile: Profile) -> dict[str, float]:
    """Of the kernels' time by what their names tell; empty where there are no kernels."""
    return tensor_cores.shares((each.tensor_cores, each.seconds) for each in profile.kernels) or {}


def _converts_no_layouts(profile: Profile) -> Finding:
    kernels = profile.kernels
    if not kernels:
        return Finding("open", because=_NO_KERNELS)
    converting = [each for each in kernels if _CONVERSION.search(each.kernel)]
    figures = (
        Figure("of the kernels' time", sum(each.share for each in converting), ""),
        Figure("launches a step", sum(each.occurrences for each in converting) / profile.steps, ""),
    )
    if not converting:
        return Finding("confirmed", figures)
    named = ", ".join(f"{each.kernel[:80]} {each.share:.1%}" for each in converting[:MAX_NAMED_UNKNOWN])
    told = "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT=1 spares those of batch normalisation in 16 bits"
    return Finding("wrong", figures, f"{named}; {told}")


def _times_agree(profile: Profile) -> Finding:
    told = profile.device_time
    if told is None or not told.operations_seconds or not told.kernels_seconds:
        return Finding("open", because="operations or kernels are missing")
    figures = tuple(
        Figure(f"{name} in a step", seconds / profile.steps * 1e3, "ms")
        for name, seconds in (
            ("operations", told.operations_seconds),
            ("kernels", told.kernels_seconds),
            ("kernels without an operation", told.unnamed_kernels_seconds),
        )
    )
    more = told.operations_seconds / told.kernels_seconds - 1
    gaps = " ".join(device_time.reconciled(told, profile.steps, None))
    if abs(more) <= KERNEL_TIME_TOLERANCE:
        return Finding("confirmed", figures, gaps)
    is_cut = told.kernels_cut if more > 0 else told.operations_cut
    return Finding("open" if is_cut else "wrong", figures, gaps)


def _single_image_is_launch_bound(seen: Seen) -> Finding:
    """The figures are of every trace, since the line between idling and being at work was drawn without a GPU."""
    at_work = {
        name: sum(each.seconds for each in profile.breakdown if each.kind in AT_WORK)
        for name, profile in seen.traces.items()
    }
    figures = tuple(
        Figure(f"{name}: at work", seconds / seen.traces[name].untraced_seconds, "of a step")
        for name, seconds in at_work.items()
        if seconds
    )
    if "batch 1" not in at_work:
        return seen.missing("profile batch 1")._replace(figures=figures)
    if not at_work["batch 1"]:
        return Finding("open", figures, "xprof tells nothing of the device in its steps")
    single = seen.traces["batch 1"]
    bound = launch_bound(at_work["batch 1"], single.untraced_seconds)
    return Finding("confirmed" if bound else "wrong", figures, bound)


def _command_buffers_off(seen: Seen) -> Finding:
    """With the step that was traced as a share of the one that was timed, which has them: what they buy."""
    if "xla" not in seen.traces:
        return seen.missing("profile xla")
    profile = seen.traces["xla"]
    figures = [Figure("kernels a step", sum(each.occurrences for each in profile.kernels) / profile.steps, "")]
    if timed := seen.workers.get("xla"):
        ratio = profile.untraced_seconds / statistics.fmean(timed.process.step_seconds)
        figures.append(Figure("a step without them ÷ with them", ratio, ""))
    if command_buffers.NOTE not in profile.trace.warnings:
        return Finding("wrong", tuple(figures), "they were not switched off")
    time = profile.device_time
    if time is None or not time.kernels_seconds:
        return Finding("open", tuple(figures), _NO_KERNELS)
    figures.append(Figure("kernels' time in no operation", time.unnamed_kernels_seconds / time.kernels_seconds, ""))
    return Finding("confirmed" if figures[-1].value <= MAX_UNPLACED_KERNEL_SHARE else "wrong", tuple(figures))


def _parts_told(profile: Profile) -> Finding:
    other = sum(each.share for each in profile.parts if each.part == "other")
    if not profile.parts:
        lacking = [each.why for each in profile.not_available if "part of the network" in each.what]
        return Finding("wrong", because="; ".join(lacking))
    return Finding("confirmed" if other <= 0.10 else "wrong", (Figure("in no part of the network", other, ""),))


CLAIMS: Claims = (
    ("A trace holds the GPU's kernels, in steps that xprof recognises", of_traces(_steps_recognised)),
    ("A step of a single image is launch-bound", _single_image_is_launch_bound),
    ("XLA's command buffers are off in a traced step", _command_buffers_off),
    (
        "Kernels' names tell whether they use tensor cores, but for at most "
        f"{MAX_UNKNOWN_KERNEL_SHARE:.0%} of their time",
        of_traces(_names_judged),
    ),
    ("mixed_bfloat16 runs on tensor cores", of_traces(_uses_tensor_cores, SAMPLED)),
    ("float32 runs on no tensor cores", of_traces(_uses_no_tensor_cores, ("float32",))),
    (
        f"The times of operations and of kernels agree within {KERNEL_TIME_TOLERANCE:.0%}",
        of_traces(_times_agree),
    ),
    ("A graph and XLA tell the time of each part of the network", of_traces(_parts_told, ("graph", "xla", "float32"))),
    (
        "Nothing converts layouts in mixed_bfloat16, within an operation neither",
        of_traces(_converts_no_layouts, SAMPLED),
    ),
)
