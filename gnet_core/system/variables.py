"""Environment variables that can change how fast a step is: recorded with a run, passed to workers, told to readers."""

from __future__ import annotations

from collections.abc import Mapping

from gnet_core.system import settings

_TENSORFLOW_PREFIXES = tuple(
    f"TF_{subject}"  # TF_ alone is also Terraform's, whose TF_VAR_* and TF_TOKEN_* may hold secrets
    for subject in (
        *("AUTO", "BF16", "BFC", "CONV2D", "COST", "CPP", "CPU", "CUBLAS", "CUD", "DATA_EXPERIMENT", "DEBUG"),
        *("DETERMINISTIC", "DISABLE", "DUMP", "EAGER", "ENABLE", "FLAG", "FORCE", "FP16", "FUNCTION", "GPU", "GRAPH"),
        *("INTER", "INTRA", "JIT", "LAYOUT", "LOG_XLA", "MATMUL", "MKL", "MLIR", "NODE", "NUM", "ONEDNN", "OPTIONALS"),
        *("OVERRIDE", "PER_DEVICE", "PFLR", "PROFILER", "RUN_HANDLER", "SET", "SYNC", "TABLE", "TRT", "USE", "XLA"),
    )
)
"""The subjects of the variables that TensorFlow's libraries name (2.19 to 2.21) and a train step may meet."""

PREFIXES = (
    *_TENSORFLOW_PREFIXES,
    *("XLA_", "JAX_", "JAXLIB_", "PJRT_", "KERAS_", "TORCH", "PYTORCH_", "ATEN_", "TRITON_"),
    *("CUDA_", "CUBLAS", "CUDNN_", "NVIDIA_", "NCCL_"),
    *("ONEDNN_", "DNNL_", "ZENDNN_", "MKL_", "OPENBLAS_", "BLIS_", "OMP_", "GOMP_", "KMP_"),
    *("MALLOC_", "MIMALLOC_", "TCMALLOC_", "JEMALLOC_", "GLIBC_TUNABLES"),
    "GNET_",
)
_WHERE_CODE_IS_FOUND = ("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONUSERBASE", "PYTHONNOUSERSITE")
NAMES = (*_WHERE_CODE_IS_FOUND, "LD_PRELOAD", "NPROC", "PYTHONOPTIMIZE", "PYTHONMALLOC")

MEANINGLESS = (
    *("TF_CPP_MIN_LOG_LEVEL", "TORCH_CPP_LOG_LEVEL", "JAX_LOGGING_LEVEL", "NCCL_DEBUG"),  # what is printed
    *("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"),  # scikit-learn sets them, where a data set is its
    *("NVIDIA_REQUIRE_CUDA", "NVIDIA_PRODUCT_NAME", "TORCH_CUDA_ARCH_LIST"),  # what images and extensions are made for
    "PYTHONHASHSEED",  # the same in every worker
)
"""Variables that make no difference between runs, of which earlier versions recorded some."""

_DESCRIBING = ("CUDA_VERSION", "CUDA_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NCCL_VERSION")
_DESCRIBING_PREFIXES = ("GNET_", "NVIDIA_", "CUDNN_VERSION", "OPENBLAS_")  # NumPy's library, outside every clock


def recorded(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Values by name of those variables that this process was started with and that act: no case defines them, or the
    source was asked to have them.
    """
    environ, asked = settings.started_with() if environ is None else environ, settings.asked()
    return {
        name: settings.printable(value)
        for name, value in sorted(environ.items())
        if name in asked or _is_recorded(name)
    }


def _is_recorded(name: str) -> bool:
    acts = name.startswith(PREFIXES) or name in NAMES
    own = name in MEANINGLESS or name in (settings.LEFT_OUT_VARIABLE, settings.ASKED_VARIABLE)
    return acts and not own and not settings.defined_by_case(name)


def tuning(recorded_variables: Mapping[str, str]) -> dict[str, str]:
    """The recorded variables that change how something computes, and not only where code or devices are."""
    plain = (*_WHERE_CODE_IS_FOUND, *_DESCRIBING, *MEANINGLESS)
    return {
        name: value
        for name, value in recorded_variables.items()
        if name not in plain and not name.startswith(_DESCRIBING_PREFIXES)
    }
