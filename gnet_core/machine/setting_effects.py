"""Whether a setting of a source acts in its process: what was observed there beside what is so without it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import UNSET

from gnet_core.machine.environment import Environment
from gnet_core.system import settings

Effect = Literal["acts", "changes nothing", "unverified"]

_PRODUCTS = "float32 products"
_OBSERVATIONS = {
    "TF_ENABLE_ONEDNN_OPTS": "oneDNN",
    "TF_NUM_INTRAOP_THREADS": "intra-op and other threads",
    "TF_NUM_INTEROP_THREADS": "inter-op threads",
    "TF_XLA_FLAGS": "graphs",
    "TF_SET_ONEDNN_FPMATH_MODE": _PRODUCTS,
    "ONEDNN_DEFAULT_FPMATH_MODE": _PRODUCTS,
    "DNNL_DEFAULT_FPMATH_MODE": _PRODUCTS,
    "NVIDIA_TF32_OVERRIDE": _PRODUCTS,
}
"""By variable, how the names of the observations begin that show whether it acts."""

_WHOLLY_SHOWN = {"TF_XLA_FLAGS": re.compile(r"-{2}tf_xla_(auto_jit=-?[0-9]+|cpu_global_jit)( +|$)")}
"""By variable, of which parts a value has to consist so that what changes no observation changes nothing at all: other
flags make clusters of some graphs and not of the small one that is observed."""

_ANYTHING = re.compile(r".*", re.DOTALL)


class SettingEffect(msgspec.Struct, frozen=True, kw_only=True):
    """An environment variable of a source, and whether it acts."""

    variable: str
    value: str
    effect: Effect
    evidence: str
    """What was observed, such as "oneDNN: off, and on without it"; empty where nothing shows it."""
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
    kinds = Counter(_OBSERVATIONS[variable] for variable in variables if variable in _OBSERVATIONS)
    effects = []
    for variable, value in variables.items():
        kind = _OBSERVATIONS.get(variable, "")
        # Of two variables that show in one thing, nothing tells which of them changed it.
        names = [name for name in here.keys() & there.keys() if name.startswith(kind)] if kinds[kind] == 1 else []
        changed = sorted(name for name in names if here[name] != there[name])
        effect: Effect = "unverified"
        evidence = ""
        if changed:
            effect = "acts"
            evidence = "; ".join(f"{name}: {here[name]}, and {there[name]} without it" for name in changed)
        elif names and not _WHOLLY_SHOWN.get(variable, _ANYTHING).sub("", value.strip()):
            effect = "changes nothing"
            evidence = "; ".join(f"{name}: {here[name]}, as without it" for name in sorted(names))
        decides = settings.defined_by_case(variable, value)
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


def _observed(environment: Environment) -> Mapping[str, str]:
    tensorflow = environment.tensorflow
    return tensorflow.observed if tensorflow and tensorflow.observed is not UNSET else {}
