"""The frameworks in which a case can be measured, and the interface that a timer uses."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from typing import Any, Protocol

from msgspec import UNSET

from gnet_core.config import TITLES, Framework, StepConfig
from gnet_core.machine import gpu_chain
from gnet_core.machine.environment import Environment, Peer, dotted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """The images that a case is fed from, before they are decoded."""

    images: int
    pixels: int
    """Of all of them together, as encoded_bytes are."""
    encoded_bytes: int
    made: bool
    """Whether they were made for the case, and are no data set's."""


@dataclasses.dataclass(kw_only=True)
class Feed:
    """What a timer has to know of the source of a case's batches; the defaults are those of a batch that is ready."""

    made_ahead: int = 0
    """Batches that may be made while nobody takes any, at most. They would make a loader look faster than it is."""
    waited_seconds: float = 0.0
    """Time for which steps waited for their batches so far."""
    pictures: Pictures | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exchange:
    """What the replicas of a case exchange in a step, and what each of them takes without it, measured by themselves
    after the timed blocks.
    """

    gradient_bytes: int
    """Bytes of the gradients that each replica brings into the all-reduce of a step."""
    all_reduce_seconds: list[float]
    """Time of one all-reduce of so many bytes, measured several times in a row."""
    local_step_seconds: list[float]
    """Of each replica, the first worker's first, the median time of its forward and backward pass, all replicas being
    at it: how far they are apart is what the faster ones wait for the slowest. Synchronised batch normalisation makes
    them wait within it."""
    process_peak_bytes: list[int]
    """The peak memory of each worker, as `peak_memory` has it."""


class Case(Protocol):
    """A case's train step, made by its framework's module as Case(config) and ready to be traced.

    The module's InputCase(config), where it has one, is the case whose part is its input alone.

    A case of several workers is made as Case(config, cluster) in each of their processes. The first, which reports, is
    driven by a timer as any other. The others call `follow` for each turn, in which they do what the first does.
    """

    @property
    def feed(self) -> Feed:
        """Where its batches come from."""

    @property
    def steps(self) -> int:
        """Number of steps that were run."""

    @property
    def trace_count(self) -> int:
        """Number of times that the step was traced; 0 where nothing is traced."""

    def trace(self) -> None:
        """Trace the step without running it, where the framework can tell the two apart."""

    def expect(self, steps: int, runs: int = 1) -> None:
        """Tell the other workers that so many runs of so many steps each come next, so that a clock need not see them
        being told.
        """

    def run(self, steps: int) -> Any:
        """Train; return the last loss, a scalar, when the device has finished; None of its input alone. Raises
        ValueError for another number of steps than is expected.
        """

    def set_dropout(self, active: bool) -> None:
        """Switch dropout on, as it is at first, or off, without another trace."""

    def applied_steps(self) -> int:
        """Updates of the weights."""

    def skipped_steps(self) -> int:
        """Steps that loss scaling left out."""

    def peak_memory(self) -> tuple[int, str]:
        """Bytes at their highest so far in this process, and where the figure comes from."""

    def flop_per_image(self) -> int:
        """See gnet_core.frameworks.flops.train_step_flop_per_image; 0 of its input alone."""

    def low_precision_share(self) -> float | None:
        """See gnet_core.frameworks.tf.precision_proof; None of its input alone. Raises GnetError where nothing shows
        it.
        """

    def exchange(self) -> Exchange | None:
        """Measure what the replicas exchange; None where they exchange nothing."""

    def rest(self) -> None:
        """Let the other workers return from `follow` until the next turn. Nothing where there is one worker."""

    def finish(self) -> None:
        """Let the other workers return from `follow` for good. Nothing where there is one worker."""

    def follow(self) -> bool:
        """In a worker that does not report: do what the first worker does until it rests, and return True, or until
        it has finished, and return False.
        """


_MODULES: dict[Framework, tuple[str, str]] = {
    "tensorflow": ("gnet_core.frameworks.tf.case", "gnet_core.frameworks.tf.device"),
    "torch": ("gnet_core.frameworks.pytorch", "gnet_core.frameworks.pytorch_device"),
    "jax": ("gnet_core.frameworks.keras_jax", "gnet_core.frameworks.jax_device"),
}
"""Modules of each framework: its cases and its devices."""

_NEEDED_PACKAGES: dict[Framework, tuple[str, ...]] = {
    "tensorflow": ("pytest-benchmark",),
    "torch": ("pytest-benchmark",),
    "jax": ("pytest-benchmark", "keras"),
}
"""Packages that a worker needs and `gnet info` does not, so that an interpreter may answer and still lack them."""

_TORCH_MIN_SIDE = 147  # pixels from which on the auxiliary classifiers' pools leave more than one position


_UNUSED = ("matplotlib", "sklearn")
"""What Keras imports where it is installed, for pictures and wrappers that no train step needs: a third of the time
that its import takes.
"""


def load(framework: Framework) -> Any:
    """The framework's module, whose Case makes a Case (above) of a StepConfig."""
    hidden = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None stands for what cannot be imported
    try:
        return importlib.import_module(_MODULES[framework][0])
    finally:
        for name in hidden:
            del sys.modules[name]


def describe(framework: Framework) -> Any:
    """The framework's section of an Environment. Raises ImportError where the framework cannot be loaded."""
    return importlib.import_module(_MODULES[framework][1]).describe()


def why_unsupported(config: StepConfig, environment: Environment, interpreter: str = "") -> str:
    """Why a case cannot be measured in its framework, in a sentence; empty where it can. Imports no framework.

    `environment` is that of the interpreter which would run it, and `interpreter` its path where it is not gnet's own.
    """
    if why := _why_not_there(config, environment, interpreter):
        return why
    reasons = [] if config.framework == "tensorflow" else _limits_of_peers(config, environment)
    if config.total_replicas > 1:
        reasons += _limits_of_replicas(config, environment)
    return next((reason for applies, reason in reasons if applies), "")


def why_another_gpu(config: StepConfig, environment: Environment, own: Environment) -> str:
    """Why a device is another one than in gnet's `own` environment, in a sentence; empty where it may be the same.

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
    # A revision from before PyTorch and JAX had sections lists them among its packages alone.
    if getattr(environment, framework) is UNSET and framework in packages:
        return ""
    if environment.section(framework) is None:
        if interpreter:
            return f"{title} is not installed{where}"
        brings = f"--python {framework}=INTERPRETER names one that has it"
        if framework == "tensorflow":
            return f"{title} is not installed here; the extra cpu or gpu brings it, or {brings}"
        if config.device == "cpu":
            return f"{title} is not installed here; the extra peers brings it, or {brings}"
        return f"{title} is not installed here; {brings} (tox environment {framework}-gpu)"
    for package in _NEEDED_PACKAGES[framework] if interpreter else ():  # gnet's own has what gnet depends on
        if package not in packages:
            return f"{package} is not installed{where}, which {title} is measured with"
    if config.device != "cpu" and environment.gpu(config.device, framework) is None:
        reason = gpu_chain.why_no_gpu(environment, framework)
        seen = ", ".join(["cpu", *(gpu.device for gpu in environment.gpus(framework))])
        return f"{title}{where} sees no {config.device}{f': {reason.text}' if reason else f'; it sees {seen}'}"
    return ""


def _limits_of_replicas(config: StepConfig, environment: Environment) -> list[tuple[bool, str]]:
    """What several replicas cannot run, or are not measured in, likewise."""
    on_cpu, synchronised = config.device == "cpu", config.batch_norm == "synchronised"
    shared = [
        (config.data != "synthetic", "several replicas are measured on synthetic data alone"),
        (config.feed != "ready", "several replicas are measured on batches that are ready"),
    ]
    if config.framework == "jax":
        return [(True, "JAX is measured on one device"), *shared]
    if config.framework == "torch":
        return [
            *shared,
            (config.replicas > 1, "PyTorch's DistributedDataParallel takes one device a process; use workers"),
            (synchronised and on_cpu, "PyTorch synchronises batch normalisation on GPUs alone"),
        ]
    why_no_gpus = "" if on_cpu else _why_not_their_gpus(config, environment)
    return [
        *shared,
        (
            on_cpu and config.replicas > 1 and config.workers > 1,
            "MultiWorkerMirroredStrategy takes one CPU device a process",
        ),
        (
            synchronised and config.execution == "xla",
            "XLA compiles what a replica does between exchanges, and synchronised batch normalisation exchanges within",
        ),
        (bool(why_no_gpus), why_no_gpus),
    ]


def _why_not_their_gpus(config: StepConfig, environment: Environment) -> str:
    """Why the GPUs of a process cannot take a step together, in a sentence; empty where they can."""
    first = int(config.device.partition(":")[2])
    names = [f"gpu:{number}" for number in range(first, first + config.replicas)]
    gpus = [environment.gpu(name, config.framework) for name in names]
    for name, gpu in zip(names, gpus, strict=True):
        if gpu is None:
            return f"{config.replicas} replicas from {config.device} on take {names[-1]}; there is no {name}"
        if gpus[0] and gpu.name != gpus[0].name:
            return f"{names[0]} is {gpus[0].name} and {name} is {gpu.name}; replicas are measured on GPUs of one kind"
    return ""


def _limits_of_peers(config: StepConfig, environment: Environment) -> list[tuple[bool, str]]:
    """What PyTorch and JAX cannot run, or are not measured in: whether it applies to the case, and the sentence."""
    name = config.framework
    of_both = [
        (config.data != "synthetic", f"{name} is measured on synthetic data alone"),
        (config.part != "train", f"of {name} whole steps are measured"),
        (config.feed != "ready", f"{name} is measured on batches that are ready"),
        (config.as_published, f"{name} is measured with the losses that train, not as_published"),
    ]
    if name == "jax":
        return [
            *of_both,
            (config.precision == "mixed_float16", "JAX is measured without loss scaling, which float16 needs"),
            (config.execution != "xla", "JAX compiles with XLA"),
        ]
    alone = config.batch_size == 1 and config.image_size < _TORCH_MIN_SIDE
    torch = environment.torch or Peer()
    compiles = config.execution == "graph"
    on_cpu, on_gpu = (compiles and (config.device == "cpu") == cpu for cpu in (True, False))
    return [
        *of_both,
        (config.execution == "xla", "PyTorch runs eagerly or by torch.compile, which is called graph here"),
        (alone, f"PyTorch normalises no single value a channel, all that an image under {_TORCH_MIN_SIDE} pixels has"),
        (on_cpu and not torch.cpp_compiler, "torch.compile needs a C++ compiler, and g++ is not on the PATH"),
        (on_gpu and not torch.triton, "torch.compile needs Triton on a GPU, which is not installed"),
        (on_gpu and not torch.c_compiler, "torch.compile needs a C compiler on a GPU; there is neither gcc nor clang"),
    ]
