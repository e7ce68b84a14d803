"""Environment variables that can change what a step computes or how fast: recorded with a run, passed to workers."""

from __future__ import annotations

import os

TENSORFLOW_PREFIXES = tuple(
    f"TF_{subject}"  # TF_ alone is also another tool's
    for subject in (
        "AUTO",
        "CPP",
        "CUD",
        "DETERMINISTIC",
        "DISABLE",
        "ENABLE",
        "FORCE",
        "GPU",
        "NUM",
        "ONEDNN",
        "SET",
        "USE",
        "XLA",
    )
)
PREFIXES = (
    *TENSORFLOW_PREFIXES,
    "XLA_",
    "CUDA_",
    "NVIDIA_",
    "KERAS_",
    "ONEDNN_",
    "DNNL_",
    "MKL_",
    "OMP_",
    "MALLOC_",
    "GNET_",
)
NAMES = ("LD_PRELOAD", "PYTHONHASHSEED", "PYTHONOPTIMIZE")


def recorded() -> dict[str, str]:
    """Those of them that this process has, by name."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(PREFIXES) or name in NAMES}
