"""Which frameworks a case can be measured in, and what a timer asks of each."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

from gnet_core.config import Framework, StepConfig


class Case(Protocol):
    """A case's train step, made by its framework's module as Case(config) and ready to be traced."""

    @property
    def steps(self) -> int:
        """How often the step was run."""

    @property
    def trace_count(self) -> int:
        """How often the step was traced; 0 where nothing is."""

    def trace(self) -> None:
        """Trace the step without running it, where the framework can tell the two apart."""

    def run(self, steps: int) -> Any:
        """Train; return the last loss, a scalar, when the device has finished."""

    def set_dropout(self, active: bool) -> None:
        """Switch dropout on, as it is at first, or off, without another trace."""

    def applied_steps(self) -> int:
        """Updates of the weights."""

    def skipped_steps(self) -> int:
        """Steps that loss scaling left out."""

    def peak_memory(self) -> tuple[int, str]:
        """Bytes at their highest so far in this process, and where the figure comes from."""

    def flop_per_image(self) -> int:
        """See gnet_core.flops.train_step_flop_per_image."""

    def low_precision_share(self) -> float:
        """See gnet_core.precision_proof. Raises GnetError where nothing tells."""


_TORCH_LEAST_ALONE = 147
"""Pixels a side from which on the auxiliary classifiers' pools leave more than one position of a single image."""

_MODULES: dict[Framework, str] = {
    "tensorflow": "gnet_core.tensorflow_case",
    "torch": "gnet_core.torch_case",
    "jax": "gnet_core.jax_case",
}


def load(framework: Framework) -> Any:
    """The framework's module, whose Case makes a Case (above) of a StepConfig."""
    return importlib.import_module(_MODULES[framework])


def why_unsupported(config: StepConfig, environment: Mapping[str, Any]) -> str:
    """Why a case cannot be measured in its framework here, in a sentence; empty where it can. Imports no framework."""
    packages = environment["machine"]["packages"]
    if config.framework == "tensorflow":
        return ""
    if config.framework not in packages:
        extra = "peers" if config.device == "cpu" else "peers-gpu"
        return f"{config.framework} is not installed; the extra {extra} brings it"
    if config.data != "synthetic":
        return f"{config.framework} is measured on synthetic data alone"
    if config.part != "train":
        return f"of {config.framework} whole steps are measured"
    if config.as_published:
        return f"{config.framework} is measured with the losses that train, not as_published"
    return _why_not_torch(config, packages) if config.framework == "torch" else _why_not_jax(config, packages)


def _why_not_torch(config: StepConfig, packages: Mapping[str, str]) -> str:
    if config.device != "cpu" and packages["torch"].endswith("+cpu"):
        return f"torch {packages['torch']} is built for a CPU alone; the extra peers-gpu brings another"
    if config.execution == "xla":
        return "PyTorch runs eagerly or by torch.compile, which is called graph here"
    if config.batch_size == 1 and config.image_size < _TORCH_LEAST_ALONE:
        return f"PyTorch normalises no single value a channel, all that an image under {_TORCH_LEAST_ALONE} pixels has"
    return ""


def _why_not_jax(config: StepConfig, packages: Mapping[str, str]) -> str:
    if config.device != "cpu" and not any(name.startswith("jax-cuda") for name in packages):
        return "jax is installed without its plugin for CUDA; the extra peers-gpu brings it"
    if config.precision == "mixed_float16":
        return "JAX is measured without loss scaling, which float16 needs"
    return "" if config.execution == "xla" else "JAX compiles with XLA"
