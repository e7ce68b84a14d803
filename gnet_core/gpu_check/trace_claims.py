"""What the traces of a check show of the promises of the GPU side."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable

from gnet_core.frameworks.tf import command_buffers
from gnet_core.gpu_check.evidence import SAMPLED, Claims, Figure, Finding, OpenError, Seen, WorkerReading, judged
from gnet_core.profile import device_time, tensor_cores
from gnet_core.profile.document import Kernel, Profile
from gnet_core.profile.parts import OTHER
from gnet_core.profile.step_breakdown import launch_bound

CLAIMS = Claims()

_NO_KERNELS = "there are no kernels"

KERNEL_TIME_TOLERANCE = 0.10
"""Relative difference of the operations' and the kernels' time, two readings of the same trace."""

MAX_UNKNOWN_KERNEL_SHARE = 0.05
"""Share of the kernels' time in kernels whose names do not tell whether they use tensor cores."""

MAX_NAMED_KERNELS = 20  # the longest; profile.json has all

MAX_UNPLACED_KERNEL_SHARE = 0.05
"""Share of the kernels' time in kernels that belong to no operation, as those within a CUDA graph do."""

MAX_UNPLACED_OPERATION_SHARE = 0.10
"""Share of the operations' time in operations that belong to no part of the network."""

_CONVERSION = re.compile(
    r"nchwtonhwc|nhwctonchw"  # cuDNN's
    r"|swapdimension1and2intensor3|shuffleintensor3simple"  # TensorFlow's, also within its FusedBatchNorm
    r"|(transpose|transpose_fusion)(_\d+)?$",  # XLA's
    re.IGNORECASE,
)
"""Names of kernels that change a layout. TensorFlow's batch normalisation computes channels first in training,
and converts by itself what comes channels last, unless TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT is set
(fused_batch_norm_op.cc, fast_nhwc_batch_norm); its graph shows nothing of that."""


@CLAIMS.of_traces("A trace holds the GPU's kernels, in steps that xprof recognises")
def _steps_recognised(profile: Profile) -> Finding:
    shares = {kind.kind: kind.share for kind in profile.breakdown}
    return judged(
        bool(profile.kernels and shares.get("device compute")),
        Figure("kernels", len(profile.kernels)),
        *(Figure(kind, share) for kind, share in shares.items() if share >= 0.005),
        because="; ".join(profile.trace.warnings) if shares else "xprof recognised no step",
    )


@CLAIMS.of_traces(
    f"Kernels' names tell whether they use tensor cores, but for at most {MAX_UNKNOWN_KERNEL_SHARE:.0%} of their time"
)
def _names_judged(profile: Profile) -> Finding:
    shares = _tensor_core_shares(profile)
    unknown = [kernel for kernel in profile.kernels if kernel.tensor_cores == "unknown"]
    figures = [*(Figure(use, share) for use, share in shares.items()), Figure("unknown names", len(unknown))]
    return judged(shares["unknown"] <= MAX_UNKNOWN_KERNEL_SHARE, *figures, because=_named(unknown))


@CLAIMS.of_traces("mixed_bfloat16 runs on tensor cores", SAMPLED)
def _uses_tensor_cores(profile: Profile) -> Finding:
    share = _tensor_core_shares(profile)["used"]
    return judged(share > 0, Figure("of the kernels' time", share))


@CLAIMS.of_traces("float32 runs on no tensor cores", ["float32"])
def _uses_no_tensor_cores(profile: Profile) -> Finding:
    figure = Figure("of the kernels' time", _tensor_core_shares(profile)["used"])
    using = [kernel for kernel in profile.kernels if kernel.tensor_cores == "used"]
    return judged(not using, figure, because=_named(using))


def _tensor_core_shares(profile: Profile) -> dict[str, float]:
    shares = tensor_cores.shares((kernel.tensor_cores, kernel.seconds) for kernel in profile.kernels)
    if not shares:
        raise OpenError(_NO_KERNELS)
    return shares


def _named(kernels: Iterable[Kernel]) -> str:
    return ", ".join(f"{kernel.kernel[:80]} {kernel.share:.1%}" for kernel in list(kernels)[:MAX_NAMED_KERNELS])


@CLAIMS.of_traces("Nothing converts layouts in mixed_bfloat16, within an operation neither", SAMPLED)
def _converts_no_layouts(profile: Profile) -> Finding:
    if not profile.kernels:
        raise OpenError(_NO_KERNELS)
    converting = [kernel for kernel in profile.kernels if _CONVERSION.search(kernel.kernel)]
    spared = "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT=1 spares those of batch normalisation in 16 bits"
    return judged(
        not converting,
        Figure("of the kernels' time", sum(kernel.share for kernel in converting)),
        Figure("launches a step", sum(kernel.occurrences for kernel in converting) / profile.steps),
        because=f"{_named(converting)}; {spared}" if converting else "",
    )


@CLAIMS.of_traces(f"The times of operations and of kernels agree within {KERNEL_TIME_TOLERANCE:.0%}")
def _times_agree(profile: Profile) -> Finding:
    time = profile.device_time
    if time is None or not time.operations_seconds or not time.kernels_seconds:
        raise OpenError("operations or kernels are missing")
    figures = [
        Figure(f"{name} in a step", seconds / profile.steps * 1e3, "ms")
        for name, seconds in (
            ("operations", time.operations_seconds),
            ("kernels", time.kernels_seconds),
            ("kernels without an operation", time.unnamed_kernels_seconds),
        )
    ]
    more = time.operations_seconds / time.kernels_seconds - 1
    gaps = " ".join(device_time.reconciled(time, profile.steps, None))
    agree = abs(more) <= KERNEL_TIME_TOLERANCE
    if not agree and (time.kernels_cut if more > 0 else time.operations_cut):
        raise OpenError(gaps, *figures)
    return judged(agree, *figures, because=gaps)


@CLAIMS.of_all("A step of a single image is launch-bound")
def _single_image_is_launch_bound(seen: Seen) -> Finding:
    """Shows the figures of every trace, since the line between idling and being at work was drawn without a GPU."""
    figures = [
        Figure(f"{name}: at work", profile.device_seconds / profile.untraced_seconds, "of a step")
        for name, profile in seen.results_of(Profile).items()
        if profile.device_seconds
    ]
    single: Profile = seen.result("profile batch 1", *figures)
    if not single.device_seconds:
        raise OpenError("xprof tells nothing of the device in its steps", *figures)
    bound = launch_bound(single.device_seconds, single.untraced_seconds)
    return judged(bool(bound), *figures, because=bound)


@CLAIMS.of_all("XLA's command buffers are off in a traced step")
def _command_buffers_off(seen: Seen) -> Finding:
    """Shows the traced step as a multiple of the timed one, which has command buffers: what they buy."""
    profile: Profile = seen.result("profile xla")
    figures = [Figure("kernels a step", sum(kernel.occurrences for kernel in profile.kernels) / profile.steps)]
    if timed := seen.results_of(WorkerReading).get("xla"):
        ratio = profile.untraced_seconds / statistics.fmean(timed.process.step_seconds)
        figures.append(Figure("a step without them ÷ with them", ratio))
    if command_buffers.NOTE not in profile.trace.warnings:
        return judged(False, *figures, because="they were not switched off")
    time = profile.device_time
    if time is None or not time.kernels_seconds:
        raise OpenError(_NO_KERNELS, *figures)
    unplaced = time.unnamed_kernels_seconds / time.kernels_seconds
    return judged(unplaced <= MAX_UNPLACED_KERNEL_SHARE, *figures, Figure("kernels' time in no operation", unplaced))


@CLAIMS.of_traces("A graph and XLA tell the time of each part of the network", ["graph", "xla", "float32"])
def _parts_timed(profile: Profile) -> Finding:
    if not profile.parts:
        reasons = [missing.why for missing in profile.not_available if "part of the network" in missing.what]
        return judged(False, because="; ".join(reasons))
    other = sum(part.share for part in profile.parts if part.part == OTHER)
    return judged(other <= MAX_UNPLACED_OPERATION_SHARE, Figure("in no part of the network", other))
