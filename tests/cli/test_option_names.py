"""Messages name only options that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gnet_core.cli.main import commands

PACKAGE = Path(__file__).parents[2] / "gnet_core"
SOURCES = sorted(PACKAGE.rglob("*.py"))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
OTHER_PROGRAMS = {"--logdir", "--unshallow", "--distribution"}
"""Options of tensorboard and git, which messages tell to run."""


def options_of(command: click.Command) -> set[str]:
    names = {name for parameter in command.params for name in parameter.opts}
    if isinstance(command, click.Group):
        names |= {name for nested in command.commands.values() for name in options_of(nested)}
    return names


def sentences(file: Path) -> Iterator[str]:
    """The texts in a module's code that have several words; a lone option is passed to another program."""
    tree = ast.parse(file.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str) and " " in node.value.strip():
            yield node.value


def options_named(file: Path) -> set[str]:
    return {name for text in sentences(file) for name in OPTION.findall(text)}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_every_option_that_a_text_names_is_one_of_some_command(file: Path) -> None:
    assert options_named(file) <= options_of(commands) | OTHER_PROGRAMS | {"--help", "--version"}


@pytest.mark.parametrize(
    "name",
    [
        "training/training",
        "training/session",
        "networks/map_sizes",
        "datasets/catalog",
        "datasets/data_set",
        "datasets/recorded_split",
        "datasets/image_files",
        "datasets/idx_files",
        "frameworks/tf/input_pipeline",
    ],
)
def test_what_training_says_names_options_of_the_train_command(name: str) -> None:
    assert options_named(PACKAGE / f"{name}.py") <= options_of(commands.commands["train"])


def test_an_option_in_a_sentence_is_found_and_a_lone_one_is_left_to_whom_it_is_passed(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""Of --docstring."""\nraise ValueError(f"{1} is wrong; use --bogus")\nrun("git", "--force")\n')
    assert options_named(file) == {"--bogus"}
