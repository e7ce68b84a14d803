"""The options that commands share: their types, which refuse by field and value, and their help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gnet_core.config import EXECUTIONS, PRECISIONS, require_choice, require_whole


class Choices(click.ParamType[tuple[str, ...]]):
    """One or more values separated by commas, each one of the choices."""

    name = "choices"

    def __init__(self, field: str, choices: tuple[str, ...]) -> None:
        self._field = field
        self._choices = choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:  # noqa: ARG002
        values = tuple(str(value).split(","))
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


EXECUTION_LIST = Choices("execution", EXECUTIONS)
PRECISION_LIST = Choices("precision", PRECISIONS)
BATCH_SIZE_LIST = Whole("batch_size", many=True)


def as_json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(command)


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--device", default="auto", metavar="auto|cpu|gpu[:N]", show_default=True, help="Where to run."
    )(command)


def seed_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--seed", type=Whole("seed", 0), default=0, show_default=True, help="Of weights and data.")(
        command
    )


def out_option(default: str) -> Callable[..., Any]:
    return click.option("--out", type=click.Path(path_type=Path), help=f"Directory to write; else reports/{default}.")
