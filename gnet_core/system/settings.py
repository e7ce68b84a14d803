"""Settings of the environment that would contradict a case. They are removed before any framework is imported.

A case's execution, precision, framework and device are what its row says, so what could make them something else does
not act and is noted. What only changes how fast a case is stays in force (see gnet_core.system.variables).
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError
from gnet_core.files.whole import read_text

LEFT_OUT_VARIABLE = "GNET_LEFT_OUT"
"""Variable with what was left out, for children, which do not see it any more: a JSON object of names and values."""

ASKED_VARIABLE = "GNET_SETTINGS"
"""Variable with the settings of a worker's source, a JSON object of names and values: they stay, since the source's
name tells of them in the row. No process inherits it; who starts one says it (see gnet_core.system.children)."""

SET = {
    "KERAS_BACKEND": "tensorflow",
    # A place that can be neither read nor made, since Keras would write a file of settings where it finds none.
    "KERAS_HOME": os.path.join(os.devnull, "keras"),  # noqa: PTH118 - it is no path that leads anywhere
    # On a GPU JAX would take three quarters of the memory at once, and other workers are alive beside it.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    # And it would stop at three quarters of it, where the other frameworks go on to a larger batch.
    "XLA_CLIENT_MEM_FRACTION": "0.95",
}
"""Settings of the suite's own. A case in JAX replaces the backend."""

_KERAS_FILE = "keras.json"

DEFINED_BY_CASE = {
    "framework": (_KERAS_FILE, "KERAS_*", "TF_USE_LEGACY_KERAS"),
    # What turns a graph, or operations of eager execution, into XLA's programs, and its cache of compiled ones.
    "execution": (
        *("TF_XLA_*", "TF_FUNCTION_JIT_COMPILE_DEFAULT", "TF_JIT_COMPILE_REWRITE"),
        *("JAX_DISABLE_JIT", "JAX_COMPILATION_CACHE_*", "JAX_ENABLE_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE_*"),
        *("TORCHDYNAMO_*", "TORCH_COMPILE_*"),
    ),
    # In what precision float32 is multiplied, and in what float16 is summed.
    "precision": (
        *("TF_SET_ONEDNN_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
        *("NVIDIA_TF32_OVERRIDE", "TF_*AUTO_MIXED_PRECISION*", "TF_FP16_*", "TF_BF16_*", "TF_*TENSOR_OP_MATH*"),
        *("TF_CONV2D_USE_FP16_ACCUMULATE", "CUBLAS_EMULAT*", "TORCH_ALLOW_TF32*", "TORCHINDUCTOR_*PRECISION*"),
        *("JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DEFAULT_DTYPE_BITS", "JAX_NUMPY_*"),
    ),
    # Which device is used, and how much of a GPU's memory each process takes.
    "device": (
        *("JAX_PLATFORM*", "JAX_DEFAULT_DEVICE", "JAX_CUDA_VISIBLE_DEVICES"),
        *("TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_*", "XLA_CLIENT_MEM_FRACTION"),
    ),
}
"""By field of a case, patterns of the variables that would decide it, and Keras' file. They are left out."""

_DEFINED_BY_CASE_IN_XLA_FLAGS = {
    "precision": ("*precision*", "*math*", "*min_max*", "*bf16*", "*tf32*", "*f8*", "*fp8*"),
    "device": ("xla_force_host_platform_device_count",),
}
"""By field of a case, the flags in XLA_FLAGS that would decide it; its others tune the compiler and stay in force."""

_XLA_FLAG = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")

_KERAS_DEFAULTS = {
    "backend": "tensorflow",
    "epsilon": 1e-7,
    "floatx": "float32",
    "image_data_format": "channels_last",
    "nnx_enabled": False,
}
_started_with: dict[str, str] = {}


def hold_process() -> None:
    """Hold what cases define in this process; nothing has imported a framework yet, or only Keras on its own."""
    hold(os.environ)
    _started_with.update(os.environ)
    if "keras" in sys.modules:  # by whoever imports this package after it: keras.json has been read already
        keras: Any = sys.modules["keras"]
        for name in ("image_data_format", "floatx", "epsilon"):
            getattr(keras.config, f"set_{name}")(_KERAS_DEFAULTS[name])
        keras.config.set_dtype_policy(_KERAS_DEFAULTS["floatx"])


def hold(environ: MutableMapping[str, str]) -> None:
    """Take what would decide what a case is out of an environment, put the suite's in, and note what was there."""
    noted, asked = _noted(environ, LEFT_OUT_VARIABLE), _asked(environ)
    for name in [name for name in environ if defined_by_case(name) and name not in asked]:
        value = environ.pop(name)
        if value and value != SET.get(name):
            noted[name] = value
    if "XLA_FLAGS" not in asked:
        kept, left_out = _split_xla_flags(environ.pop("XLA_FLAGS", ""))
        if kept:
            environ["XLA_FLAGS"] = kept
        if left_out:
            noted["XLA_FLAGS"] = left_out
    environ.update(SET)
    if noted:
        environ[LEFT_OUT_VARIABLE] = json.dumps(noted)


def defined_by_case(name: str, value: str = "") -> str:
    """The field of a case that the variable would decide, XLA_FLAGS by the flags in its value; empty if none."""
    if name == "XLA_FLAGS":
        flags = (flag.lstrip("-").partition("=")[0] for flag in _XLA_FLAG.findall(value))
        decided = [field for flag in flags if (field := _field_decided_by(flag, _DEFINED_BY_CASE_IN_XLA_FLAGS))]
        return "device" if "device" in decided else next(iter(decided), "")
    return _field_decided_by(name, DEFINED_BY_CASE)


def asked() -> Mapping[str, str]:
    """The settings of the source that this process measures, which act in it."""
    return _asked(_started_with)


def started_with() -> Mapping[str, str]:
    """The environment as this package found and left it. Libraries add to theirs when they are imported."""
    return _started_with


def left_out() -> dict[str, str]:
    """Settings that were removed in this process: values by variable, and those of a keras.json under "keras.json"."""
    noted = _noted(_started_with, LEFT_OUT_VARIABLE)
    in_file = _keras_settings(_keras_file(noted.pop("KERAS_HOME", None)))
    return {name: printable(value) for name, value in noted.items()} | ({_KERAS_FILE: in_file} if in_file else {})


def printable(value: str) -> str:
    """A variable's value as text that any file can hold: bytes that are no UTF-8 are replaced."""
    return os.fsencode(value).decode(errors="replace")


def require_keras_backend(backend: str) -> None:
    """Raise GnetError where Keras has been imported on another backend, of which it has one a process."""
    loaded = sys.modules.get("keras")
    if loaded is not None and loaded.config.backend() != backend:
        raise GnetError(
            f"keras: it runs on {loaded.config.backend()!r} in this process already, and {backend} is needed; import "
            "gnet_core before Keras, and measure JAX in a process of its own"
        )


def _field_decided_by(name: str, table: Mapping[str, tuple[str, ...]]) -> str:
    for field, patterns in table.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return field
    return ""


def _noted(environ: Mapping[str, str], variable: str) -> dict[str, str]:
    """Settings that the parent process has noted in a variable, such as those that it has removed already."""
    try:
        noted = json.loads(environ.get(variable, "{}"))
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in noted.items()} if isinstance(noted, dict) else {}


def _asked(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that were asked for and are in force: the suite's own are never replaced."""
    noted = _noted(environ, ASKED_VARIABLE).items()
    return {name: value for name, value in noted if name not in SET and environ.get(name) == value}


def _split_xla_flags(text: str) -> tuple[str, str]:
    """The flags that stay and those that are left out. A file of flags is left out: its name does not show them."""
    if not text.lstrip().startswith("-"):
        return "", text
    sides: dict[bool, list[str]] = {False: [], True: []}
    for flag in _XLA_FLAG.findall(text):
        name = flag.lstrip("-").partition("=")[0]
        sides[bool(_field_decided_by(name, _DEFINED_BY_CASE_IN_XLA_FLAGS))].append(flag)
    return " ".join(sides[False]), " ".join(sides[True])


def _keras_file(home: str | None) -> Path:
    """The file in which Keras would look for its settings, as keras.src.backend.config does."""
    if home is not None:
        return Path(home).expanduser() / _KERAS_FILE
    own = os.path.expanduser("~")  # noqa: PTH111 - Path's raises where there is no home
    return Path(own if os.access(own, os.W_OK) else "/tmp") / ".keras" / _KERAS_FILE  # noqa: S108 - Keras' choice


def _keras_settings(file: Path) -> str:
    """The settings of a keras.json that are not Keras' default, as JSON; "damaged" for one that Keras cannot read."""
    try:
        settings = json.loads(read_text(file, 2**16)).items()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, RecursionError, AttributeError):  # the last for JSON that is no object
        return "damaged"
    usual = _KERAS_DEFAULTS
    unusual = {name: value for name, value in settings if name in usual and value != usual[name]}
    return json.dumps(unusual, sort_keys=True)[:200] if unusual else ""
