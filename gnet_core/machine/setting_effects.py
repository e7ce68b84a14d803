"""Whether a setting of a source acts in its process: what was observed there beside what is so without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import UNSET

from gnet_core.machine.environment import Environment
from gnet_core.system import settings

Effect = Literal["acts", "changes nothing", "unverified"]

_OBSERVATIONS = {
    "TF_ENABLE_ONEDNN_OPTS": "oneDNN",
    "TF_NUM_INTRAOP_THREADS": "intra-op threads",
    "TF_NUM_INTEROP_THREADS": "inter-op threads",
    "OMP_NUM_THREADS": "PyTorch's threads",
    "TF_XLA_FLAGS": "graphs",
    **dict.fromkeys(
        (
            "TF_SET_ONEDNN_FPMATH_MODE",
            "ONEDNN_DEFAULT_FPMATH_MODE",
            "DNNL_DEFAULT_FPMATH_MODE",
            "NVIDIA_TF32_OVERRIDE",
        ),
        "float32 products",
    ),
}
"""By variable, what shows whether it acts."""

_ONLY_WITH = {"TF_XLA_FLAGS": "tf_xla_auto_jit"}
"""By variable, what its value has to name; its other values show in nothing that is observed."""


class SettingEffect(msgspec.Struct, frozen=True, kw_only=True):
    """An environment variable of a source, and whether it acts."""

    variable: str
    value: str
    effect: Effect
    evidence: str
    """What was observed, such as "oneDNN: off, where it is on without"; empty where nothing shows it."""
    decides: str = ""
    """The field of a case that the variable decides in place of the case's own value."""

    def __str__(self) -> str:
        evidence = f" ({self.evidence})" if self.evidence else ""
        return f"{self.variable}={self.value} {self.effect}{evidence}"


def setting_effects(
    variables: Mapping[str, str], environment: Environment, without: Environment | None
) -> tuple[SettingEffect, ...]:
    """Of each variable whether it acts in an `environment` that was started with it; `without` is that of the same
    interpreter without any of them, None where that is not known.
    """
    here, there = _observed(environment), _observed(without) if without else {}
    effects = []
    for variable, value in variables.items():
        name = _OBSERVATIONS.get(variable, "")
        shows = _ONLY_WITH.get(variable, "") in value and name in here and name in there
        effect: Effect = "unverified"
        evidence = ""
        if shows and here[name] == there[name]:
            effect, evidence = "changes nothing", f"{name}: {here[name]}, as without it"
        elif shows:
            effect, evidence = "acts", f"{name}: {here[name]}, and {there[name]} without it"
        decides = settings.defined_by_case(variable)
        effects.append(SettingEffect(variable=variable, value=value, effect=effect, evidence=evidence, decides=decides))
    return tuple(effects)


def why_left_out(variables: Mapping[str, str], environment: Environment) -> str:
    """Why an environment is not that of a process with these variables, as code from before there were settings of a
    source takes some out; empty where all of them are in force.
    """
    in_force = environment.machine.environment_variables
    lacking = [variable for variable, value in variables.items() if in_force.get(variable) != value]
    if not lacking:
        return ""
    return f"its code does not leave {', '.join(lacking)} in force, so its rows would not be what they are called"


def _observed(environment: Environment) -> dict[str, str]:
    observed: dict[str, str] = {}
    if tensorflow := environment.tensorflow:
        observed["intra-op threads"] = str(tensorflow.intra_op_threads)
        observed["inter-op threads"] = str(tensorflow.inter_op_threads)
        if tensorflow.observed is not UNSET:
            observed |= tensorflow.observed
    if (torch := environment.torch) and torch.threads is not UNSET:
        observed["PyTorch's threads"] = str(torch.threads)
    return observed
