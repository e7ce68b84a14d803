"""A case: one frozen description of a train step, refused at birth when it cannot be one."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal, get_args, get_origin, get_type_hints

Execution = Literal["eager", "graph", "xla"]
Precision = Literal["float32", "tf32", "mixed_bfloat16", "mixed_float16"]
Widths = Literal["published", "paper"]
Part = Literal["train", "gradients", "forward", "input"]
Layers = Literal["keras", "fused"]
Framework = Literal["tensorflow", "torch", "jax"]
Feed = Literal["ready", "jpeg", "tfrecord", "cache"]
Augmentation = Literal["none", "flip", "crop", "crop-flip"]
BatchNorm = Literal["per_replica", "synchronised"]

EXECUTIONS: tuple[Execution, ...] = get_args(Execution)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LAYERS: tuple[Layers, ...] = get_args(Layers)
FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
PEERS: tuple[Framework, ...] = ("torch", "jax")
COMPUTE_DTYPES: Mapping[Precision, str] = {
    "float32": "float32",
    "tf32": "float32",
    "mixed_bfloat16": "bfloat16",
    "mixed_float16": "float16",
}
"""The type in which a precision multiplies matrices, by the name that all frameworks give it. Variables are float32."""
TITLES: Mapping[Framework, str] = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}

MIN_IMAGE_SIZE = 67
"""Pixels a side. From 67 the stem and the pools between stages leave a final map of 1×1, from 66 they leave none."""
MAX_IMAGE_SIZE = 2**14
MAX_BATCH_SIZE = 2**20
MAX_CLASSES = 2**16
MAX_REPLICAS = 2**10
MAX_WORKERS = 2**10
MAX_TRACED_STEPS = 10

_DEVICE = re.compile(r"cpu|gpu:[0-9]{1,4}")


class GnetError(ValueError):
    """Bad usage or bad input, said in one line that names the field, the value and what would be right.

    >>> from gnet_core import GnetError, StepConfig
    >>> try:
    ...     StepConfig(batch_size=0)
    ... except GnetError as error:
    ...     print(error)
    batch_size: 0 will not do; use a whole number of at least 1
    """


def bad_data(path: PurePath | str, what: str) -> GnetError:
    """The error that says what is wrong with a file or folder of a data set."""
    return GnetError(f"data: {str(path)!r} {what}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepConfig:
    """Everything that decides what one train step computes and how it is executed.

    Raises GnetError from its constructor, naming the field, for a value that is no choice, of the wrong type or range.

    >>> from gnet_core import StepConfig
    >>> case = StepConfig(execution="xla", precision="mixed_bfloat16", batch_size=64)
    >>> case.name
    'xla-mixed_bfloat16-b64-i224-synthetic-cpu'
    """

    execution: Execution = "graph"
    """eager: no tf.function; graph: @tf.function; xla: @tf.function(jit_compile=True)."""
    precision: Precision = "float32"
    """float32 has TF32 off; tf32 is float32 on a GPU's tensor cores; the mixed ones keep float32 weights and logits."""
    part: Part = "train"
    """forward: the outputs and their losses in training mode, which moves batch normalisation's statistics; gradients:
    forward and backward without the optimizer, for float16 with the loss scaled; train: all; input: the batches of a
    feed alone, of which no step is run. The suites parts and input-pipeline of gnet bench vary it; gnet train runs
    whole steps."""
    layers: Layers = "fused"
    """keras: Keras' own layers and optimizer, as anyone would write it; fused: ours, which compute the same from the
    same weights in fewer and faster kernels."""
    framework: Framework = "tensorflow"
    """torch: PyTorch, run eagerly, or as graph by torch.compile; jax: Keras on JAX, by jax.jit, which is xla. Both are
    peers to compare with, measured as far as gnet_core.frameworks.base says. The suite frameworks of gnet bench varies
    it; gnet profile and gnet train take TensorFlow alone."""
    batch_size: int = 32
    """Images a step, on all replicas together: each takes an equal part of them."""
    image_size: int = 224
    """Pixels a side of the square RGB image."""
    classes: int = 47
    """Labels run from 0 to classes - 1. 47 is the Describable Textures Dataset. gnet bench and gnet train take those of
    their data."""
    widths: Widths = "published"
    """Table of filter counts: that of the published notebook, or table 1 of arXiv 1409.4842."""
    aux_weight: float = 0.3
    """Weight of each auxiliary classifier's loss (arXiv 1409.4842, section 5); 0 computes the main output alone. The
    suite auxiliary of gnet bench varies it."""
    dropout: bool = True
    """False sets all rates to 0: gnet bench measures with it and compares losses without, whose masks would differ."""
    bn_momentum: float = 0.9
    """Momentum of batch normalisation's moving statistics. Keras' 0.99 lags by more steps than a short run has. It
    changes no speed, so gnet bench has no option for it."""
    learning_rate: float = 1e-3
    """Learning rate of Adam. It changes no speed, so gnet bench has no option for it."""
    as_published: bool = False
    """Keeps the notebook's final ReLU, its loss on "probabilities" and its idle classifiers: training collapses. gnet
    bench measures steps that learn."""
    data: str = "synthetic"
    """synthetic, a name of gnet_core.datasets.catalog.NAMED, or the path of a folder of images or of IDX files."""
    feed: Feed = "ready"
    """What a step is fed from. ready: a synthetic batch that is on the device, or a data set that is decoded anew in
    each epoch; jpeg: image files; tfrecord: the same packed into TFRecord files; cache: the same decoded once and kept
    in memory. For synthetic data the three have photographs that are made. The suite input-pipeline of gnet bench
    varies it; gnet profile and gnet train have none of it."""
    device: str = "cpu"
    """cpu or gpu:N. Of several replicas it is the first: gpu:0 with 4 replicas takes gpu:0 to gpu:3."""
    replicas: int = 1
    """Devices of one process that take the step together, each with a copy of the network and its part of the batch
    (tf.distribute.MirroredStrategy). A CPU is split into as many logical devices. The suite scaling of gnet bench
    varies this and the next three; gnet profile and gnet train run one replica."""
    workers: int = 1
    """Processes that take the step together, each with `replicas` devices (MultiWorkerMirroredStrategy). gnet bench
    scales over them; gnet profile and gnet train are one process."""
    batch_norm: BatchNorm = "per_replica"
    """per_replica: each replica normalises with the statistics of its own part of the batch, as is usual, so more
    replicas do other work than one; synchronised: with those of the whole batch, as one replica would. gnet bench
    compares the two; gnet profile and gnet train run one replica."""
    all_reduce: bool = True
    """False: replicas exchange no gradients and each goes its own way. It is other work, and the difference to the
    whole step is what communication costs, which gnet bench tells; gnet profile and gnet train run one replica."""
    seed: int = 0
    """Seed of the weights, the synthetic batch, shuffling and dropout."""

    def __post_init__(self) -> None:
        for field, kind in _KINDS.items():
            if get_origin(kind) is Literal:
                require_choice(field, getattr(self, field), get_args(kind))
            elif kind is bool and not isinstance(getattr(self, field), bool):
                raise GnetError(f"{field}: {getattr(self, field)!r:.200} will not do; use true or false")
        for field, (least, most, why) in _WHOLE.items():
            value = getattr(self, field)
            require_whole(field, value, least, "a smaller image leaves no final map" if field == "image_size" else "")
            if value > most:
                raise GnetError(f"{field}: {value!r:.30} is too large; use at most {most} ({why})")
        _require_number("aux_weight", self.aux_weight, 0.0, None)
        _require_number("bn_momentum", self.bn_momentum, 0.0, 1.0)
        _require_number("learning_rate", self.learning_rate, 0.0, None)
        if not isinstance(self.device, str) or not _DEVICE.fullmatch(self.device):
            raise GnetError(f"device: {self.device!r:.200} is unknown; use cpu or gpu:N")
        if not isinstance(self.data, str) or not self.data:
            raise GnetError(f"data: {self.data!r:.200} is no data set; use synthetic, a data set's name or a folder")
        self._require_whole_parts()
        if self.part == "input" and self.feed == "ready":
            raise GnetError("part: 'input' has no batch to make from feed 'ready'; use feed jpeg, tfrecord or cache")

    def _require_whole_parts(self) -> None:
        total = self.total_replicas
        if self.batch_size % total:
            fewer, more = self.batch_size // total * total, -(-self.batch_size // total) * total
            use = f"{fewer} or {more}" if fewer else str(more)
            raise GnetError(
                f"batch_size: {self.batch_size} images do not divide among {total} replicas "
                f"({self.workers} × {self.replicas}); use {use}"
            )
        if total > 1 and self.precision == "mixed_float16":
            raise GnetError(
                "precision: 'mixed_float16' is not run on several replicas, whose loss scaling Keras does not keep "
                "alike; use mixed_bfloat16"
            )

    @property
    def total_replicas(self) -> int:
        """Devices that take the step together, over all workers."""
        return self.replicas * self.workers

    @property
    def replica_batch_size(self) -> int:
        """Images a replica takes of each step."""
        return self.batch_size // self.total_replicas

    @property
    def synchronises(self) -> bool:
        """Whether batch normalisation has replicas to exchange its statistics with."""
        return self.batch_norm == "synchronised" and self.total_replicas > 1

    @property
    def trains_classifiers(self) -> bool:
        """Whether the auxiliary classifiers' losses count. The notebook trained the main output alone."""
        return self.aux_weight > 0 and not self.as_published

    @property
    def compute_dtype(self) -> str:
        """The type in which matrices are multiplied; tf32 is a GPU's way to multiply float32."""
        return COMPUTE_DTYPES[self.precision]

    @property
    def name(self) -> str:
        """The case's identifier in tables and file names: six fields, then whatever else is not the default."""
        outside = _OUTSIDE_NAME if self.data == "synthetic" else {*_OUTSIDE_NAME, "classes"}
        parts = [self.execution, self.precision, f"b{self.batch_size}", f"i{self.image_size}"]
        parts += [slug(self.data), self.device.replace(":", "")]
        parts += [f"{field}={value}" for field, value in self.overrides().items() if field not in outside]
        return "-".join(parts)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StepConfig:
        """The configuration with these values, in which a field that is left out has its default.

        Files are read by gnet_core.files.migrations, since what they leave out may mean another value. Raises GnetError
        for a field or value this version does not know.
        """
        if not isinstance(values, Mapping):
            raise GnetError(f"config: {values!r:.200} is no configuration; use an object of fields and values")
        if unknown := sorted(str(name) for name in values if name not in _KINDS):
            raise GnetError(f"config: unknown field {unknown[0]!r:.200}; known are {', '.join(sorted(_KINDS))}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def overrides(self) -> dict[str, Any]:
        """The fields that do not have their defaults, with their values: enough for `from_dict`."""
        return {field: value for field, (value, _) in self.differences(type(self)()).items()}

    def differences(self, other: StepConfig) -> dict[str, tuple[Any, Any]]:
        """The fields that differ from another configuration's, each with its value here and there."""
        here, there = self.to_dict(), other.to_dict()
        return {name: (here[name], there[name]) for name in here if here[name] != there[name]}


_KINDS = get_type_hints(StepConfig)
_WHOLE = {
    "batch_size": (1, MAX_BATCH_SIZE, "the smallest images of so many fill 56 GB"),
    "image_size": (MIN_IMAGE_SIZE, MAX_IMAGE_SIZE, "one image of that size fills 3 GB"),
    "classes": (2, MAX_CLASSES, "labels travel as uint16"),
    "replicas": (1, MAX_REPLICAS, "no machine has more devices"),
    "workers": (1, MAX_WORKERS, "a case of more processes has not been tried"),
    "seed": (0, 2**32 - 1, "the generators take no more"),
}
"""By field, its smallest and its largest whole number, and why there is none beyond."""

_OUTSIDE_NAME = {"execution", "precision", "batch_size", "image_size", "data", "device", "seed"}
"""Fields in a case's name anyway, or out of it: runs of different seeds are compared. The data decides its classes."""


def slug(data: str) -> str:
    """A data set's name, or the last part of its path, in characters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", PurePath(data).name).strip("._") or "data"


def require_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise GnetError unless the value is one of the choices."""
    if value not in choices:
        raise GnetError(f"{field}: {value!r:.200} is unknown; use one of {', '.join(choices)}")


def require_whole(field: str, value: object, least: int, why: str = "") -> None:
    """Raise GnetError unless the value is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        because = f" ({why})" if why else ""
        raise GnetError(f"{field}: {value!r:.200} will not do; use a whole number of at least {least}{because}")


def require_steps(steps: int) -> None:
    """Raise GnetError for a number of steps that a trace cannot have."""
    require_whole("steps", steps, least=1)
    if steps > MAX_TRACED_STEPS:
        raise GnetError(f"steps: {steps} is too many; xprof recognises at most {MAX_TRACED_STEPS} in a trace")


def _require_number(field: str, value: object, low: float, below: float | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= sys.float_info.max:
        raise GnetError(f"{field}: {value!r:.200} will not do; use a number of at least {low:g}")
    if below is not None and value >= below:
        raise GnetError(f"{field}: {value!r:.200} will not do; use a number below {below:g}")
