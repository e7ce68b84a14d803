"""What the commands take: options that refuse by field and value, the request that they make, where runs go."""

from __future__ import annotations

import datetime
import functools
import itertools
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gnet_core.cli.output import complain
from gnet_core.config import AUGMENTATIONS, EXECUTIONS, PRECISIONS, GnetError, StepConfig, require_choice, require_whole
from gnet_core.plan.request import GATES, STOPPING_RULES, Request
from gnet_core.training.recipe import LEARNING_RATE, SCHEDULES, Recipe

if TYPE_CHECKING:
    from gnet_core.machine.environment import Environment

OF_GATE = ("fail_on", "rules", "junit", "github")
"""The options of `gate`, by field."""

Kind = TypeVar("Kind", bound=Request)
Option = Callable[[Callable[..., Any]], Callable[..., Any]]
"""A decorator that gives a command an option."""


def takes(kind: type[Kind]) -> Callable[[Callable[[Kind], int]], Callable[..., int]]:
    """Make a command of a function that takes a request: what click has parsed becomes one of this kind."""

    def decorate(run: Callable[[Kind], int]) -> Callable[..., int]:
        @functools.wraps(run)
        def command(**parsed: Any) -> int:
            return run(kind(**parsed))

        return command

    return decorate


def is_given(name: str) -> bool:
    """Whether the running command was given this option on its command line."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


class Parsed(click.ParamType[Any]):
    """A value that a function makes of an option's name and word, refusing by both; `many` are separated by commas."""

    def __init__(self, name: str, parse: Callable[[str, str], Any], *, many: bool = False) -> None:
        self.name = name
        self._parse = parse
        self._many = many

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        if not isinstance(value, str):  # a default
            return value
        field = str(param.name) if param else ""
        return tuple(self._parse(field, word) for word in value.split(",")) if self._many else self._parse(field, value)


def _whole(field: str, word: str, least: int = 1) -> int:
    try:
        number: int | str = int(word)
    except ValueError:
        number = word
    require_whole(field, number, least)
    return int(number)


_DURATION = re.compile(r"(?:(?P<hours>\d{1,4})h)?(?:(?P<minutes>\d{1,5})m)?(?:(?P<seconds>\d{1,8})s)?")


def _duration(field: str, word: str) -> int:
    """Seconds of a text such as 20m, 90s or 1h30m."""
    match = _DURATION.fullmatch(word)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    if not 0 < (total := 3600 * hours + 60 * minutes + seconds) < 10**8:  # which is written in as many digits
        raise GnetError(
            f"{field}: {word!r:.200} will not do; use a duration from 1s to three years, such as 20m, 90s or 1h30m"
        )
    return total


def _number(field: str, word: str) -> float:
    """A whole number stays whole, since a case's name tells 0 from 0.0."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    raise GnetError(f"{field}: {word!r:.200} will not do; use a number")


def _one_of(choices: tuple[str, ...], field: str, word: str) -> str:
    require_choice(field, word, choices)
    return word


WHOLE, WHOLES = Parsed("whole", _whole), Parsed("whole", _whole, many=True)
NUMBER = Parsed("number", _number)
DURATION = Parsed("duration", _duration)
UNTIL = Parsed("choice", partial(_one_of, STOPPING_RULES))
AUGMENT = Parsed("choice", partial(_one_of, AUGMENTATIONS))
EXECUTION_LIST = Parsed("choices", partial(_one_of, EXECUTIONS), many=True)
PRECISION_LIST = Parsed("choices", partial(_one_of, PRECISIONS), many=True)
PATH: click.Path = click.Path(path_type=Path)

_with_default = partial(click.option, show_default=True)

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
strict = click.option("--strict", is_flag=True, help="Broken images are an error; else they are left out and named.")
device = _with_default("--device", default="auto", metavar="auto|cpu|gpu[:N]", help="Where to run.")
layers = _with_default("--layers", default="fused", metavar="fused|keras", help="Our layers, or plain Keras ones.")
widths = _with_default("--widths", default="published", metavar="published|paper", help="Table of filters.")
seed = _with_default("--seed", type=Parsed("whole", partial(_whole, least=0)), default=0, help="Of weights and data.")


def number(name: str, text: str, owner: type[StepConfig | Recipe] = StepConfig) -> Option:
    """The option of a field that is a number, with its default."""
    field = name.removeprefix("--").replace("-", "_")
    return _with_default(name, type=NUMBER, default=getattr(owner, field), help=text)


def data(default: str, text: str = "What is fed to the step.") -> Option:
    return _with_default("--data", default=default, metavar="NAME_OR_PATH", help=text)


def out(default: str) -> Option:
    return click.option("--out", type=PATH, help=f"Directory to write; else reports/{default}.")


def mllog(text: str) -> Option:
    return click.option("--mllog", type=PATH, metavar="FILE", help=text)


def require_new_file(field: str, path: Path) -> None:
    """Raise GnetError where something has that name already, which would be added to."""
    if os.path.lexists(path):
        raise GnetError(f"{field}: {str(path)!r} is there already; name a file that is not")


def fail_on(text: str) -> Option:
    gates = Parsed("choices", partial(_one_of, GATES), many=True)
    return click.option("--fail-on", type=gates, metavar="GATE[,GATE]...", default=(), help=text)


def gate(text: str) -> Option:
    """What a pipeline asks of a command (see gnet_core.cli.gate): --fail-on with its help, and what goes with it."""
    options = (
        fail_on(text),
        click.option("--rules", type=PATH, metavar="FILE", help="TOML file with margins and waivers of single cases."),
        click.option("--junit", type=PATH, metavar="FILE", help="Write what became of each case as JUnit XML."),
        click.option(
            "--github", is_flag=True, help="Append to the step's summary on GitHub, and print what failed for its log."
        ),
    )
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


def step(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of gnet_core.plan.request.StepRequest."""
    options = (
        _with_default("--execution", default="graph", metavar="eager|graph|xla"),
        _with_default("--precision", default="float32", metavar="NAME"),
        layers,
        widths,
        number("--aux-weight", "Of each auxiliary classifier's loss; 0 leaves them out."),
        _with_default("--dropout/--no-dropout", default=True, help="Without it every rate is 0."),
        number("--bn-momentum", "Of batch normalisation's moving statistics."),
        click.option(
            "--as-published", is_flag=True, help="Keep the notebook's final ReLU and its loss: training collapses."
        ),
        device,
        seed,
        as_json,
    )
    for option in reversed(options):
        command = option(command)
    return command


def recipe(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of gnet_core.training.recipe.Recipe, and the learning rate that goes with it."""
    options = (
        click.option(
            "--learning-rate",
            type=NUMBER,
            help=f"Adam's at its highest; else {LEARNING_RATE}, or as published {StepConfig.learning_rate}.",
        ),
        _with_default("--schedule", default=Recipe.schedule, metavar="|".join(SCHEDULES), help="Of the learning rate."),
        number("--warmup", "Share of the run in which the learning rate rises.", Recipe),
        number("--final-learning-rate", "At the end, as a fraction of the highest.", Recipe),
        number("--weight-decay", "Decoupled; 0 leaves it out.", Recipe),
        number("--label-smoothing", "In the training loss; 0 leaves it out.", Recipe),
        _with_default(
            "--fit-bn-momentum/--no-fit-bn-momentum",
            default=Recipe.fit_bn_momentum,
            help="Fit --bn-momentum, unless it is given, to the run's length.",
        ),
        _with_default("--average/--no-average", default=Recipe.average, help="Test and keep averaged weights."),
        click.option(
            "--augment",
            type=AUGMENT,
            metavar="|".join(AUGMENTATIONS),
            help="How images of training are varied; else what suits the data.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def require_utf8(field: str, text: str) -> None:
    """Raise GnetError for text that the files of a run or a profile, which are UTF-8, cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise GnetError(f"{field}: {text!r} is not UTF-8, in which a run's files are written; rename it") from None


def require_case_name(case: str) -> None:
    """Raise GnetError where files could not be named after the case."""
    from gnet_core.files.json_documents import CASE_NAME

    if not CASE_NAME.fullmatch(case):
        raise GnetError(f"case: {case!r:.300} is no name for a file, it is too long or odd; give the data a short name")


def require_device_form(device: str) -> None:
    """Raise GnetError for what names no device; whether there is such a one, only TensorFlow knows."""
    if device not in ("auto", "gpu"):
        StepConfig(device=device)


def choose_device(wanted: str, environment: Environment) -> str:
    """See gnet_core.machine.devices.choose_device; where auto leaves a GPU aside, a note says why."""
    from gnet_core.machine import devices, gpu_chain

    device = devices.choose_device(wanted, environment)
    if wanted == "auto" and (doubt := gpu_chain.doubt(environment)):
        complain(f"note: {doubt} The CPU is measured instead.")
    return device


def default_directory(kind: str, detail: str) -> Path:
    """reports/<date-time>-<kind>-<detail> in the checkout, or here where there is none; numbered if taken."""
    stamp = datetime.datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    root = checkout_or_none() or Path.cwd()
    name = "-".join(part for part in (stamp, kind, detail.replace(":", "")) if part)
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for path in (root / "reports" / name for name in names) if not path.exists())


def checkout_or_none() -> Path | None:
    """The checkout around the working directory, if there is one."""
    from gnet_core.run import discovery

    try:
        return discovery.find_checkout(Path.cwd())
    except GnetError:
        return None


def now() -> str:
    """The present time in the form that run.json has."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
