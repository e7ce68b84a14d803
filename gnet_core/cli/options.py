"""What the commands share: exit statuses, options that refuse by field and value, where runs go, how JSON is said."""

from __future__ import annotations

import datetime
import functools
import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gnet_core.config import EXECUTIONS, PRECISIONS, GnetError, StepConfig, require_choice, require_whole
from gnet_core.plan.request import Request

if TYPE_CHECKING:
    from gnet_core.machine.environment import Environment
    from gnet_core.report.document import Document

FINE, GATE_FAILED, BAD_USAGE, CASES_FAILED, UNEXPECTED, INTERRUPTED = 0, 1, 2, 3, 70, 130
"""What a command ends with. 70 is what sysexits.h calls an internal software error."""

GATES = ("slower", "missing", "unresolved", "failed", "not-finite", "other-work")
"""What --fail-on takes; gnet_core.results.gates says what each of them is."""


Asked = TypeVar("Asked", bound=Request)


def takes(kind: type[Asked]) -> Callable[[Callable[[Asked], int]], Callable[..., int]]:
    """Make a command of a function that takes a request: what click has parsed becomes one of this kind."""

    def decorate(run: Callable[[Asked], int]) -> Callable[..., int]:
        @functools.wraps(run)
        def command(**parsed: Any) -> int:
            return run(kind(**parsed))

        return command

    return decorate


class Choices(click.ParamType[tuple[str, ...]]):
    """One or more values separated by commas, each one of the choices."""

    name = "choices"

    def __init__(self, field: str, choices: tuple[str, ...]) -> None:
        self._field = field
        self._choices = choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:  # noqa: ARG002
        values = value if isinstance(value, tuple) else tuple(str(value).split(","))
        for each in values:
            require_choice(self._field, each, self._choices)
        return values


class Whole(click.ParamType[Any]):
    """A whole number of at least `least`; with `many`, several separated by commas."""

    name = "whole"

    def __init__(self, field: str, least: int = 1, *, many: bool = False) -> None:
        self._field = field
        self._least = least
        self._many = many

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        if isinstance(value, int):
            return value
        return tuple(self._number(text) for text in str(value).split(",")) if self._many else self._number(value)

    def _number(self, text: str) -> int:
        try:
            number: int | str = int(text)
        except ValueError:
            number = text
        require_whole(self._field, number, self._least)
        return int(number)


class Number(click.ParamType[float]):
    """A number; a whole one stays whole, since a case's name tells 0 from 0.0."""

    name = "number"

    def __init__(self, field: str) -> None:
        self._field = field

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ARG002
        if isinstance(value, int | float):
            return value
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
        raise GnetError(f"{self._field}: {value!r:.200} will not do; use a number")


EXECUTION_LIST = Choices("execution", EXECUTIONS)
PRECISION_LIST = Choices("precision", PRECISIONS)
BATCH_SIZE_LIST = Whole("batch_size", many=True)


def as_json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(command)


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--device", default="auto", metavar="auto|cpu|gpu[:N]", show_default=True, help="Where to run."
    )(command)


def layers_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--layers", default="fused", metavar="fused|keras", show_default=True, help="Our layers, or plain Keras ones."
    )(command)


def widths_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--widths", default="published", metavar="published|paper", show_default=True, help="Table of filters."
    )(command)


def step_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of gnet_core.plan.request.StepRequest."""
    options = (
        click.option("--execution", default="graph", show_default=True, metavar="eager|graph|xla"),
        click.option("--precision", default="float32", show_default=True, metavar="NAME"),
        layers_option,
        widths_option,
        _number_option("aux_weight", "Of each auxiliary classifier's loss; 0 leaves them out."),
        click.option("--dropout/--no-dropout", default=True, show_default=True, help="Without it every rate is 0."),
        _number_option("bn_momentum", "Of batch normalisation's moving statistics."),
        _number_option("learning_rate", "Adam's."),
        click.option(
            "--as-published", is_flag=True, help="Keep the notebook's final ReLU and its loss: training collapses."
        ),
        device_option,
        seed_option,
        as_json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _number_option(field: str, told: str) -> Callable[..., Any]:
    default = getattr(StepConfig, field)
    name = f"--{field.replace('_', '-')}"
    return click.option(name, type=Number(field), default=default, show_default=True, help=told)


def seed_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--seed", type=Whole("seed", 0), default=0, show_default=True, help="Of weights and data.")(
        command
    )


def out_option(default: str) -> Callable[..., Any]:
    return click.option("--out", type=click.Path(path_type=Path), help=f"Directory to write; else reports/{default}.")


def fail_on_option(told: str) -> Callable[..., Any]:
    return click.option("--fail-on", type=Choices("fail_on", GATES), metavar="GATE[,GATE]...", default=(), help=told)


def complain(message: str) -> None:
    """Say what is wrong in one line on stderr; what a file brought in tells the terminal nothing."""
    harmless = "".join(each if each.isprintable() else " " for each in message)
    print(f"gnet: {' '.join(harmless.split())}", file=sys.stderr)


def print_document(document: Document) -> None:
    """Print a report, no wider than the terminal where stdout is one."""
    from gnet_core.report.terminal import to_terminal

    print(to_terminal(document, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(document, indent=1, allow_nan=False))


def require_utf8(field: str, value: object) -> None:
    """Raise GnetError for text that the files of a run or a profile, which are UTF-8, cannot hold."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise GnetError(
            f"{field}: {str(value)!r} is not UTF-8, in which a run's files are written; rename it"
        ) from None


def require_case_name(case: str) -> None:
    """Raise GnetError where files could not be named after the case."""
    from gnet_core.files.json_documents import CASE_NAME

    if not CASE_NAME.fullmatch(case):
        raise GnetError(f"case: {case!r:.300} is no name for a file, it is too long or odd; give the data a short name")


def require_device_form(asked: str) -> None:
    """Whether it exists is known only once TensorFlow was asked; how it is written can be told at once."""
    if asked not in ("auto", "gpu"):
        StepConfig(device=asked)


def choose_device(asked: str, environment: Environment) -> str:
    """See gnet_core.machine.devices.choose_device; where auto leaves a GPU aside, the reason is told."""
    from gnet_core.machine import devices, gpu_chain

    device = devices.choose_device(asked, environment)
    if asked == "auto" and (doubt := gpu_chain.doubt(environment)):
        complain(f"note: {doubt} The CPU is measured instead.")
    return device


def default_directory(kind: str, detail: str) -> Path:
    """reports/<date-time>-<kind>-<detail> in the checkout, or here where there is none; numbered if taken."""
    stamp = datetime.datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    root = checkout_or_none() or Path.cwd()
    name = "-".join(part for part in (stamp, kind, detail.replace(":", "")) if part)
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for path in (root / "reports" / each for each in names) if not path.exists())


def checkout_or_none() -> Path | None:
    """The checkout around the working directory, if there is one."""
    from gnet_core.run import runner

    try:
        return runner.find_checkout(Path.cwd())
    except GnetError:
        return None


def now() -> str:
    """The time as run.json tells it."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
