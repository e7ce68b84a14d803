"""The frameworks in which a case can be measured, and the interface that a timer uses."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from msgspec import UNSET

from gnet_core.config import TITLES, Framework, StepConfig
from gnet_core.machine import gpu_chain
from gnet_core.machine.environment import Environment, dotted


class Case(Protocol):
    """A case's train step, made by its framework's module as Case(config) and ready to be traced."""

    @property
    def steps(self) -> int:
        """Number of steps that were run."""

    @property
    def trace_count(self) -> int:
        """Number of times that the step was traced; 0 where nothing is traced."""

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
        """See gnet_core.frameworks.flops.train_step_flop_per_image."""

    def low_precision_share(self) -> float:
        """See gnet_core.frameworks.tf.precision_proof. Raises GnetError where nothing tells."""


_TORCH_LEAST_ALONE = 147
"""Pixels a side from which on the auxiliary classifiers' pools leave more than one position of a single image."""

_MODULES: dict[Framework, str] = {
    "tensorflow": "gnet_core.frameworks.tf.case",
    "torch": "gnet_core.frameworks.pytorch",
    "jax": "gnet_core.frameworks.keras_jax",
}


_DEVICE_MODULES: dict[Framework, str] = {
    "tensorflow": "gnet_core.frameworks.tf.device",
    "torch": "gnet_core.frameworks.pytorch_device",
    "jax": "gnet_core.frameworks.jax_device",
}

_NEEDED_PACKAGES: dict[Framework, tuple[str, ...]] = {
    "tensorflow": ("pytest-benchmark",),
    "torch": ("pytest-benchmark",),
    "jax": ("pytest-benchmark", "keras"),
}
"""Packages that a worker needs and `gnet info` does not, so that an interpreter may answer and still lack them."""


def load(framework: Framework) -> Any:
    """The framework's module, whose Case makes a Case (above) of a StepConfig."""
    return importlib.import_module(_MODULES[framework])


def describe(framework: Framework) -> Any:
    """The framework's section of an Environment. Imports the framework; raises ImportError where it cannot be."""
    return importlib.import_module(_DEVICE_MODULES[framework]).describe()


def why_unsupported(config: StepConfig, environment: Environment, interpreter: str = "") -> str:
    """Why a case cannot be measured in its framework, in a sentence; empty where it can. Imports no framework.

    `environment` is that of the interpreter which would run it, and `interpreter` its path where it is not gnet's own.
    """
    return _why_not_there(config, environment, interpreter) or _why_not_in_framework(config, environment)


def why_another_gpu(config: StepConfig, environment: Environment, own: Environment) -> str:
    """Why a device is not what gnet's `own` environment calls so, in a sentence; empty where it may be the same.

    Frameworks count the GPUs by themselves, and figures of two GPUs are no comparison of frameworks.
    """
    theirs, ours = environment.gpu(config.device, config.framework), own.gpu(config.device)
    if theirs is None or ours is None:
        return ""
    capabilities = theirs.compute_capability, ours.compute_capability
    # A capability that one of them does not report is no difference.
    if theirs.name == ours.name and (None in capabilities or capabilities[0] == capabilities[1]):
        return ""
    models = [f"{gpu.name} (capability {dotted(gpu.compute_capability)})" for gpu in (theirs, ours)]
    seen = f"{models[0]} to {TITLES[config.framework]} and {models[1]} to {TITLES[own.leading]}"
    return f"{config.device} is {seen}; CUDA_VISIBLE_DEVICES with one GPU, or CUDA_DEVICE_ORDER=PCI_BUS_ID, settles it"


def _why_not_there(config: StepConfig, environment: Environment, interpreter: str) -> str:
    """Why the interpreter cannot run the framework on the case's device."""
    framework, title, packages = config.framework, TITLES[config.framework], environment.machine.packages
    where = f" in {interpreter}" if interpreter else ""
    if why := environment.load_error(framework):
        return f"{title} cannot be loaded{where}: {why}"
    # A revision from before PyTorch and JAX had sections tells of them by their packages alone.
    if getattr(environment, framework) is UNSET and framework in packages:
        return ""
    if environment.section(framework) is None:
        bring = "" if interpreter else f"; {_brought_by(config)}"
        return f"{title} is not installed{where or ' here'}{bring}"
    for package in _NEEDED_PACKAGES[framework] if interpreter else ():  # gnet's own has what gnet depends on
        if package not in packages:
            return f"{package} is not installed{where}, which {title} is measured with"
    if config.device != "cpu" and environment.gpu(config.device, framework) is None:
        seen = [gpu.device for gpu in environment.gpus(framework)]
        reason = gpu_chain.why_no_gpu(environment, framework)
        told = f": {reason.text}" if reason else f"; it sees {', '.join(['cpu', *seen])}"
        return f"{title}{where} sees no {config.device}{told}"
    return ""


def _brought_by(config: StepConfig) -> str:
    """The command or extra that installs a missing framework."""
    if config.framework == "tensorflow":
        return "the extra cpu or gpu brings it, or --python tensorflow=INTERPRETER names one that has it"
    if config.device == "cpu":
        return f"the extra peers brings it, or --python {config.framework}=INTERPRETER names one that has it"
    return f"--python {config.framework}=INTERPRETER names one that has it (tox environment {config.framework}-gpu)"


def _why_not_in_framework(config: StepConfig, environment: Environment) -> str:
    """Why the framework cannot run a configuration, or is not measured in it; empty where it is."""
    if config.framework == "tensorflow":
        return ""
    if config.data != "synthetic":
        return f"{config.framework} is measured on synthetic data alone"
    if config.part != "train":
        return f"of {config.framework} whole steps are measured"
    if config.as_published:
        return f"{config.framework} is measured with the losses that train, not as_published"
    return _why_not_torch(config, environment) if config.framework == "torch" else _why_not_jax(config)


def _why_not_torch(config: StepConfig, environment: Environment) -> str:
    if config.execution == "xla":
        return "PyTorch runs eagerly or by torch.compile, which is called graph here"
    if config.batch_size == 1 and config.image_size < _TORCH_LEAST_ALONE:
        return f"PyTorch normalises no single value a channel, all that an image under {_TORCH_LEAST_ALONE} pixels has"
    if config.execution != "graph" or not (torch := environment.torch):
        return ""
    if config.device == "cpu":
        return "" if torch.cpp_compiler else "torch.compile needs a C++ compiler, and g++ is not on the PATH"
    if not torch.triton:
        return "torch.compile needs Triton on a GPU, which is not installed"
    return "" if torch.c_compiler else "torch.compile needs a C compiler on a GPU; there is neither gcc nor clang"


def _why_not_jax(config: StepConfig) -> str:
    if config.precision == "mixed_float16":
        return "JAX is measured without loss scaling, which float16 needs"
    return "" if config.execution == "xla" else "JAX compiles with XLA"
