"""tox environments for a release of TensorFlow, a device and configurations, made of factors (tf221-cpu-xla-bf16).

The environments without a configuration, such as tf221-cpu, are in tox.ini: they hold the installation, which all
configurations of a release share. `tox list` has a line for each, and `tox run -e` takes any combination of factors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tox.config.loader.memory import MemoryLoader
from tox.config.sets import ConfigSet
from tox.config.types import Command
from tox.plugin import impl
from tox.report import HandledError
from tox.session.state import State

RELEASES = {
    "tf219": "TensorFlow 2.19",
    "tf220": "TensorFlow 2.20",
    "tf221": "TensorFlow 2.21",
    "tf222": "TensorFlow 2.22 (pre-release)",
}
"""By factor; their sections in tox.ini say what they install."""

DEVICES = ("cpu", "gpu")
DEFAULT_WORDS = ("throughput", "--preset", "quick")


class Configuration(NamedTuple):
    """A factor: an option of gnet bench with its value, or environment variables to compare with none of them."""

    explained: str
    option: str = ""
    value: str = ""
    variables: Mapping[str, str] = {}
    on: tuple[str, ...] = ("cpu", "gpu")
    """The devices on which it can make a difference."""


_CPU = ("cpu",)
CONFIGURATIONS = {
    "eager": Configuration("operation by operation, without tf.function", "--execution", "eager"),
    "graph": Configuration("tf.function, as a graph", "--execution", "graph"),
    "xla": Configuration("tf.function compiled by XLA", "--execution", "xla"),
    "autocluster": Configuration(
        "XLA's autoclustering beside none",
        variables={"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"},
    ),
    "fp32": Configuration("float32 throughout", "--precision", "float32"),
    "tf32": Configuration("float32 multiplied as TF32", "--precision", "tf32", on=("gpu",)),
    "bf16": Configuration("mixed precision with bfloat16", "--precision", "mixed_bfloat16"),
    "fp16": Configuration("mixed precision with float16", "--precision", "mixed_float16"),
    "onednn0": Configuration("without oneDNN beside with it", variables={"TF_ENABLE_ONEDNN_OPTS": "0"}, on=_CPU),
    "threads1": Configuration(
        "one thread beside all", variables={"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}, on=_CPU
    ),
    "fpmathbf16": Configuration(
        "float32 multiplied as bfloat16 by oneDNN beside float32",
        variables={"TF_SET_ONEDNN_FPMATH_MODE": "BF16"},
        on=_CPU,
    ),
}


@impl
def tox_extend_envs() -> Iterable[str]:
    """Each configuration of each release and device; tox then takes their factors in any combination as well."""
    return tuple(_names())


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """Give each of these environments, and the combinations that are asked for, its description and commands."""
    for name in dict.fromkeys([*_names(), *(getattr(state.conf.options, "env", None) or ())]):
        release, device, factors = _factors(name)
        if factors:
            words = state.conf.pos_args(None)
            words = DEFAULT_WORDS if words is None else words
            state.conf.memory_seed_loaders[name].append(_loader(release, device, factors, core_conf["work_dir"], words))


def _factors(name: str) -> tuple[str, str, list[str]]:
    """Release, device and configurations of an environment; empty of one that has nothing of these. Raises HandledError
    for what names no installation, in which tox would run the tests.
    """
    release, device, *factors = [*name.split("-"), ""]
    factors = factors[:-1]
    if not {*RELEASES, *CONFIGURATIONS} & {release, device, *factors}:
        return "", "", []
    unknown = [factor for factor in factors if factor not in CONFIGURATIONS or device not in CONFIGURATIONS[factor].on]
    if release not in RELEASES or device not in DEVICES or unknown:
        raise HandledError(
            f"{name}: there is no such environment; name a release, a device and configurations of that device, in "
            "this order, such as tf221-cpu-xla-bf16 (tox list has them all)"
        )
    return release, device, factors


def _names() -> Iterator[str]:
    for release in RELEASES:
        for device in DEVICES:
            for name, configuration in CONFIGURATIONS.items():
                if device in configuration.on:
                    yield f"{release}-{device}-{name}"


def _loader(release: str, device: str, factors: list[str], work_dir: Path, words: Iterable[str]) -> MemoryLoader:
    """The settings of an environment whose command runs in the release's installation, made first if there is none."""
    installation = f"{release}-{device}"
    gnet = work_dir / installation / "bin" / "gnet"
    provide = [sys.executable, "-m", "tox", "run", "--workdir", str(work_dir), "--notest", "-e", installation]
    explained = "; ".join(CONFIGURATIONS[factor].explained for factor in factors)
    return MemoryLoader(
        base=[],  # nothing of the tests' environment
        description=f"gnet bench with {RELEASES[release]} on a {device.upper()}: {explained}",
        skip_install=True,
        allowlist_externals=[sys.executable, str(gnet)],
        pass_env=["*"],
        commands_pre=[] if gnet.exists() else [Command(provide)],
        commands=[Command([str(gnet), "bench", *_options(device, factors), *words])],
    )


def _options(device: str, factors: Iterable[str]) -> list[str]:
    """The options of gnet bench for the factors: values of one option are compared, variables are set together."""
    chosen = {factor: CONFIGURATIONS[factor] for factor in factors}
    values: dict[str, list[str]] = {}
    for configuration in chosen.values():
        if configuration.option:
            values.setdefault(configuration.option, []).append(configuration.value)
    # A release for the CPU knows no other device, and a GPU that is missing is not to be replaced by the CPU.
    options = ["--device=gpu"] if device == "gpu" else []
    options += [f"{option}={','.join(of_option)}" for option, of_option in values.items()]
    setting = {name: value for one in chosen.values() for name, value in one.variables.items()}
    if setting:
        name = "-".join(factor for factor, one in chosen.items() if one.variables)
        assigned = ",".join(f"{variable}={value}" for variable, value in setting.items())
        options.append(f"--set={name}={assigned}")
    return options
