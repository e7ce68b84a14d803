"""Requests of commands: frozen options, their words on a command line, and the plain data that run.json keeps.

No other place puts a command line together; the way back is click and `gnet_core.cli.options.takes`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

from gnet_core.config import Augmentation, Execution, GnetError, Layers, Part, Precision, StepConfig, Widths
from gnet_core.training.recipe import Recipe, Schedule

Until = Literal["resolved", "fixed"]
"""resolved: a run goes on until its comparisons are settled; fixed: each case has a number of processes."""
STOPPING_RULES: tuple[Until, ...] = get_args(Until)

Gate = Literal["slower", "missing", "unresolved", "failed", "not-finite", "other-work"]
"""What --fail-on takes; gnet_core.results.gates says what each of them is."""
GATES: tuple[Gate, ...] = get_args(Gate)

_ARGUMENT = {"written": "argument"}
"""Marks a field whose value is written without the name of an option."""
_REPEATED = {"written": "repeated"}
"""Marks a field whose option is written once for each of its values; those of other fields are joined by commas."""
_AS_JSON = {"option": "--json"}

_CHANGED_IN_TEXT = re.compile(r"\s\s|`")
"""White space becomes one blank in a line, and Markdown's code ends at a backtick."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The options of one command. A field and its default are those of the click option of that name."""

    program: ClassVar[tuple[str, ...]]
    """Words after `python -m`: a module, then the command, where the module has several."""


def words(request: Request) -> list[str]:
    """The arguments that the command's click options parse back to this request; what is at its default is left out."""
    arguments: list[str] = []
    options: list[str] = []
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        if value == field.default:
            continue
        values = list(map(str, value if isinstance(value, tuple) else (value,)))
        written, name = field.metadata.get("written"), field.name.replace("_", "-")
        option = field.metadata.get("option", f"--{name}")
        if written == "argument":
            arguments += values
        elif isinstance(value, bool):
            options.append(option if value else f"--no-{name}")
        elif written == "repeated":
            options += [word for text in values for word in (option, text)]
        else:
            options += [option, ",".join(values) + field.metadata.get("unit", "")]
    if any(argument.startswith("-") for argument in arguments):
        return [*options, "--", *arguments]
    return [*arguments, *options]


def program_words(request: Request) -> list[str]:
    """The words after `python -m` that run the command as a child."""
    return [*request.program, *words(request)]


def command_line(request: Request) -> str:
    """The line that a person pastes into a shell; what makes text harmless for a page or a terminal leaves it whole."""
    return " ".join(map(quoted, ["gnet", *request.program[1:], *words(request)]))


def quoted(word: str) -> str:
    """A word of a command as a shell reads it, in the shell's `$'…'` where a line of text would not leave it whole."""
    if word.isprintable() and not _CHANGED_IN_TEXT.search(word):
        return shlex.quote(word)
    characters = (
        character
        if character.isprintable() and character not in " `'\\"
        else "".join(f"\\{byte:03o}" for byte in os.fsencode(character))
        for character in word
    )
    return f"$'{''.join(characters)}'"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordedRequest(Request):
    """The options of a command whose run keeps them and can be gone on with."""

    not_recorded: ClassVar[tuple[str, ...]]
    """Where a run goes and how it is reported, which decides nothing that is measured."""

    def to_dict(self) -> dict[str, Any]:
        """As the run's document has it under `options`."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in self.not_recorded]
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, where: str, options: Mapping[str, Any]) -> Self:
        """Read `options` back; one that an older file lacks is at its default. Raises GnetError beginning with
        `where` for a value of another type or choice, but not for a preset, device or data set that does not exist.
        """
        from gnet_core.files.json_documents import typed  # too much to import for `gnet --help`

        recorded = {name: value for name, value in options.items() if name not in cls.not_recorded}
        return typed(where, recorded, cls)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchRequest(RecordedRequest):
    """Options of `gnet bench`, whose --help says what each does."""

    program: ClassVar = ("gnet_core", "bench")
    not_recorded: ClassVar = ("out", "resume", "dry_run", "fail_on", "rules", "junit", "github", "as_json")
    named_again: ClassVar = ("python", "against", "settings", "sources")
    """What processes are started with. It is never taken from a file, so who goes on with a run names it again."""

    suites: tuple[str, ...] = dataclasses.field(default=(), metadata=_ARGUMENT)
    preset: str = "quick"
    device: str = "auto"
    replicates: int | None = None
    until: Until | None = None
    budget: int | None = dataclasses.field(default=None, metadata={"unit": "s"})
    """Seconds."""
    execution: tuple[Execution, ...] | None = None
    precision: tuple[Precision, ...] | None = None
    batch_size: tuple[int, ...] | None = None
    case: tuple[str, ...] = dataclasses.field(default=(), metadata=_REPEATED)
    replicas: tuple[int, ...] | None = None
    workers: tuple[int, ...] | None = None
    layers: Layers = "fused"
    widths: Widths = "published"
    image_size: int | None = None
    data: str = "synthetic"
    seed: int = 0
    memory: int | None = None
    worker_memory: int | None = None
    profile: bool = False
    aa: bool = False
    python: tuple[str, ...] = dataclasses.field(default=(), metadata=_REPEATED)
    against: str | None = None
    settings: tuple[str, ...] = dataclasses.field(default=(), metadata=_REPEATED | {"option": "--set"})
    sources: str | None = None
    base: str | None = None
    out: Path | None = None
    resume: Path | None = None
    dry_run: bool = False
    fail_on: tuple[str, ...] = ()
    rules: Path | None = None
    junit: Path | None = None
    github: bool = False
    as_json: bool = dataclasses.field(default=False, metadata=_AS_JSON)

    def to_resume(self, directory: Path, **changes: Any) -> BenchRequest:
        """A request that goes on with the run of this one in `directory`."""
        again = {name: getattr(self, name) for name in self.named_again}
        return BenchRequest(resume=directory, **again, **changes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepRequest(Request):
    """Options of a command that takes one step of TensorFlow, to trace it or to train with it."""

    execution: Execution = StepConfig.execution
    precision: Precision = StepConfig.precision
    layers: Layers = StepConfig.layers
    widths: Widths = StepConfig.widths
    aux_weight: float = StepConfig.aux_weight
    dropout: bool = StepConfig.dropout
    bn_momentum: float = StepConfig.bn_momentum
    as_published: bool = StepConfig.as_published
    device: str = "auto"
    seed: int = 0
    out: Path | None = None
    as_json: bool = dataclasses.field(default=False, metadata=_AS_JSON)

    def asked(self) -> dict[str, Any]:
        """The fields of StepConfig that were not left open."""
        fields = {field.name for field in dataclasses.fields(StepConfig)}
        return {name: value for name, value in vars(self).items() if name in fields and value is not None}

    def config(self, *, device: str, data: str, **left_open: Any) -> StepConfig:
        """The case on the device that was chosen, with the data by its absolute path; `left_open` are the data's own
        values. Raises GnetError naming the field of a value that cannot be.
        """
        return StepConfig(**(left_open | self.asked() | {"device": device, "data": data}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileRequest(StepRequest):
    """Options of `gnet profile`: every field that a TensorFlow step can differ in, and how it is traced."""

    program: ClassVar = ("gnet_core", "profile")

    learning_rate: float = StepConfig.learning_rate
    part: Part = StepConfig.part
    batch_size: int = 8
    image_size: int = 224
    classes: int | None = None
    """None: as many as the data has."""
    data: str = "synthetic"
    steps: int = 5

    def config(self, *, device: str, data: str, **left_open: Any) -> StepConfig:
        if self.part == "input":
            raise GnetError("part: 'input' has no step to trace; use train, gradients or forward")
        return super().config(device=device, data=data, **left_open)

    @classmethod
    def of(cls, config: StepConfig, **how: Any) -> ProfileRequest:
        """The request that traces a case; `how` has the other fields. Raises GnetError for another framework's step."""
        if config.framework != "tensorflow":
            raise GnetError(f"framework: {config.framework!r} cannot be traced; gnet profile takes steps of tensorflow")
        if config.feed != "ready":
            raise GnetError(
                f"feed: {config.feed!r} cannot be traced; gnet profile takes steps on a batch that is ready"
            )
        if config.total_replicas > 1:
            raise GnetError(
                f"replicas: {config.total_replicas} cannot be traced together; gnet profile takes steps of one"
            )
        traced = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in config.to_dict().items() if name in traced}
        if config.data == "synthetic" and config.classes == StepConfig.classes:
            values["classes"] = None
        return cls(**values, **how)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRequest(StepRequest):
    """Options of `gnet train`."""

    program: ClassVar = ("gnet_core", "train")

    data: str = "digits"
    epochs: int = 10
    batch_size: int = 32
    image_size: int | None = None
    """None: what suits the data."""
    memory: int | None = None
    """Bytes for images that are decoded once and kept; None: 1 GiB, or as the session had it."""
    strict: bool = False
    learning_rate: float | None = None
    """None: what suits the recipe."""
    schedule: Schedule = Recipe.schedule
    warmup: float = Recipe.warmup
    final_learning_rate: float = Recipe.final_learning_rate
    weight_decay: float = Recipe.weight_decay
    label_smoothing: float = Recipe.label_smoothing
    fit_bn_momentum: bool = Recipe.fit_bn_momentum
    average: bool = Recipe.average
    augment: Augmentation | None = None
    """None: what suits the data."""
    target: float | None = None
    """A test accuracy in percent."""
    save_every: int | None = None
    """Steps."""
    saved_model: bool = False
    mllog: Path | None = None
    resume: Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimeToAccuracyRequest(RecordedRequest):
    """Options of `gnet bench time-to-accuracy`."""

    program: ClassVar = ("gnet_core", "bench", "time-to-accuracy")
    not_recorded: ClassVar = ("budget", "mllog", "out", "resume", "as_json")

    data: str = "digits"
    target: float | None = None
    """A test accuracy in percent; None: what suits the data."""
    epochs: int = 10
    seeds: int = 3
    seed: int = 0
    """The first of them."""
    execution: tuple[Execution, ...] = ("graph",)
    precision: tuple[Precision, ...] = ("float32", "mixed_bfloat16")
    batch_size: int = 32
    image_size: int | None = None
    """None: what suits the data."""
    learning_rate: float | None = None
    """None: what suits the recipe."""
    schedule: Schedule = Recipe.schedule
    warmup: float = Recipe.warmup
    final_learning_rate: float = Recipe.final_learning_rate
    weight_decay: float = Recipe.weight_decay
    label_smoothing: float = Recipe.label_smoothing
    fit_bn_momentum: bool = Recipe.fit_bn_momentum
    average: bool = Recipe.average
    augment: Augmentation | None = None
    """None: what suits the data."""
    device: str = "auto"
    memory: int | None = None
    """Bytes for images that are decoded once and kept; None: 1 GiB."""
    stop_at_target: bool = False
    margin: float = 0.5
    """Percentage points of test accuracy by which a precision may be worse and count as good."""
    budget: int | None = dataclasses.field(default=None, metadata={"unit": "s"})
    """Seconds."""
    mllog: Path | None = None
    out: Path | None = None
    resume: Path | None = None
    as_json: bool = dataclasses.field(default=False, metadata=_AS_JSON)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictRequest(Request):
    """Options of `gnet predict`."""

    program: ClassVar = ("gnet_core", "predict")

    model: Path = dataclasses.field(metadata=_ARGUMENT)
    images: tuple[str, ...] = dataclasses.field(metadata=_ARGUMENT)
    top: int = 3
    as_json: bool = dataclasses.field(default=False, metadata=_AS_JSON)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportRequest(Request):
    """Options of `gnet report`."""

    program: ClassVar = ("gnet_core", "report")

    run_dir: Path = dataclasses.field(metadata=_ARGUMENT)
    fail_on: tuple[str, ...] = ()
    rules: Path | None = None
    junit: Path | None = None
    github: bool = False
    as_json: bool = dataclasses.field(default=False, metadata=_AS_JSON)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InfoRequest(Request):
    """Options of `gnet info`."""

    program: ClassVar = ("gnet_core", "info")

    observe: bool = False
    as_json: bool = dataclasses.field(default=False, metadata=_AS_JSON)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeaksRequest(Request):
    """Options of gnet_core.frameworks.tf.peaks, which a run starts as a child."""

    program: ClassVar = ("gnet_core.frameworks.tf.peaks",)

    device: str = "cpu"
    precision: tuple[str, ...] = ("float32",)
    seconds: float = 6.0
