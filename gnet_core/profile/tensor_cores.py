"""Whether a GPU's kernel uses tensor cores, by its name; "unknown" where a name cannot tell.

Names are all that a trace tells of it: a counter of tensor-core instructions needs NVIDIA's Nsight Compute. xprof
keeps a list of its own, which misses cuDNN's xmma convolutions, nvjet and wgmma, and counts xmma on float32 units.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, get_args

Use = Literal["used", "not used", "unknown"]
USES: tuple[Use, ...] = get_args(Use)

_SIGNS: tuple[tuple[Use, str], ...] = (
    # CUTLASS names a kernel's class of operation: OpClassTensorOp, OpClassSimt (cutlass/arch/arch.h, library/util).
    ("used", r"tensorop"),
    ("not used", r"simt"),
    # xmma kernels of cuBLAS and cuDNN name fused multiply-add, else the tensor core's tile or its narrow operands.
    ("not used", r"_ffma_"),
    ("used", r"xmma.*_tensor\d+x\d+x\d+"),
    ("used", r"xmma.*(bf16bf16|f16f16|tf32|e4m3|e5m2|f8f8|i8i8)"),
    ("used", r"xmma.*warpgroupsize"),  # Hopper's warpgroup has one matrix instruction, wgmma
    # The PTX and SASS instructions themselves, as in xmma_cudnn::Ampere_hmma_fp32_traits and flash_fprop_wgmma_f16.
    ("used", r"(?<![a-z])([hidqu]mma|w?gmma|wmma|tcgen05)(?![a-z])"),
    # Their shapes, as in volta_fp16_s884cudnn, turing_h1688gemm, ampere_bf16_s16816gemm, wmma's s161616gemm.
    ("used", r"(?<![a-z0-9])[bcdhisz]?[bcdhisz](884|1688|8816|16816|16832|16864|161616)(?![0-9])"),
    # cuBLASLt's own generator for Hopper and later; also float32 is multiplied as TF32 there (nvjet_sss_tf32_…).
    ("used", r"(?<![a-z])nvjet_"),
    # Plain float units: classical BLAS names (ampere_sgemm_…, implicit_convolve_sgemm, volta_gcgemm), scudnn, FFT.
    ("not used", r"(?<![a-z0-9])(s|d|c|z|h|gc)gemm(?!a)"),
    ("not used", r"(?<![a-z0-9])[sd]cudnn_|wgrad_alg[01]_engine|dgrad_engine|grouped_direct_kernel<float"),
    ("not used", r"gemv|splitkreduce|reducesplitk|transpose_readwrite|fft|pointwise_mult_and_sum_complex"),
    ("not used", r"winograd::|winograd_nonfused|computeb?offsets"),
    # What multiplies no matrices: cuDNN's normalisation, pooling, layouts and element-wise operations.
    ("not used", r"(?<![a-z0-9])cudnn::(ops::|(detail::)?bn_|engines_precompiled::nch|engines_precompiled::nhwc)"),
    ("not used", r"(?<![a-z0-9])(bn_(fw|bw)_|batchnorm_(fw|bw)|pooling_(fw|bw)_|softmax_(fw|bw)_)"),
    ("not used", r"(?<![a-z0-9])(nchwtonhwc|nhwctonchw|im2col)"),
    # What cuDNN does around a convolution in float32 or 16 bits: fill up channels, turn filters round, scale, begin.
    ("not used", r"nhwcaddpadding|flip_filter|scalepackedtensor|init_device_workspace|dgrad2d_alg1_1<float"),
    # TensorFlow's own kernels contain no matrix instruction: functors, Eigen, those MLIR generates, CUB's primitives.
    ("not used", r"tensorflow::|eigen::|stream_executor::|_gpu_dt_\w+_kernel$|redzone_checker|(?<![a-z])cub::"),
    ("not used", r"^(memcpy|memset)"),
    # XLA names its fusions after their kind (transforms/rename_fusions.cc): loop and input fusions are emitted as plain
    # arithmetic. gemm_fusion_dot, fusion and the like are Triton's or cuDNN's: their names do not tell.
    ("not used", r"^(loop|input)_\w+_fusion|^wrapped_"),
)
"""Patterns of lower-case names; the first match decides. Each was seen in a trace or in the source of the library."""

_PATTERNS = [(use, re.compile(pattern)) for use, pattern in _SIGNS]


def use(kernel: str) -> Use:
    """Whether a kernel of this name uses tensor cores."""
    name = kernel.lower()
    return next((verdict for verdict, pattern in _PATTERNS if pattern.search(name)), "unknown")


def shares(kernels: Iterable[tuple[str, float]]) -> dict[str, float] | None:
    """Shares of time, 0..1, by use of tensor cores, from pairs of a use and its seconds; None where no time passed."""
    seconds_by_use: dict[str, float] = dict.fromkeys(USES, 0.0)
    for verdict, seconds in kernels:
        seconds_by_use[verdict] += seconds
    total = sum(seconds_by_use.values())
    return {verdict: seconds / total for verdict, seconds in seconds_by_use.items()} if total else None
