"""A profile, said to people and to programs: profile.json, CSV, report.md, report.html, plots and the terminal."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core import html, machine, profile
from gnet_core.config import GnetError
from gnet_core.drawing import Picture
from gnet_core.files import write_whole
from gnet_core.profile_view import ProfileView, view
from gnet_core.records import PROFILE_FILE, load_profile
from gnet_core.tables import Column, Grid, code, grid, in_style, inert, plain

NOT_TO_QUOTE = "Do not quote the times below as the step's speed: they were taken under the profiler."

_MOST_LINES = 100
"""Of the environment; what is longer describes no machine."""

_MOST_NAME_CHARACTERS = 120
"""Of a picture's file."""


def write(directory: Path) -> dict[str, Any]:
    """Convert the trace that directory/run.json names; write profile.json, its tables, reports and plots beside it.

    Returns what profile.json holds. Raises GnetError for a directory without a profile or a trace that cannot be read.
    """
    plots = directory / "plots"
    if plots.is_symlink():
        raise GnetError(f"{plots}: it is a link to elsewhere; pictures are written into a folder of the profile itself")
    described = load_profile(directory)
    document = {key: described[key] for key in ("created", "device", "config", "environment", "trace")}
    document |= profile.tables(directory / described["trace"]["xplane"], on_gpu=described["device"].startswith("gpu"))
    told = view(document)
    write_whole(directory / PROFILE_FILE, json.dumps(document, indent=1))
    for name in ("operations", "parts"):
        if document[name]:
            table = pd.DataFrame(document[name])
            write_whole(directory / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    write_whole(directory / "report.md", to_markdown(document, told))
    write_whole(directory / "report.html", to_html(document, told))
    _write_pictures(plots, told.pictures)
    return document


def _write_pictures(directory: Path, pictures: Sequence[Picture]) -> None:
    """The pictures as SVG, in place of those of an earlier report."""
    directory.mkdir(exist_ok=True)
    files = {_picture_file(picture): picture.svg for picture in pictures}
    for name, svg in files.items():
        write_whole(directory / name, svg)
    for path in directory.glob("*.svg"):
        if path.name not in files:
            path.unlink()


def _picture_file(picture: Picture) -> str:
    return f"{picture.name[:_MOST_NAME_CHARACTERS]}.svg"


def to_markdown(document: dict[str, Any], told: ProfileView) -> str:
    """The whole report.md of a profile."""
    environment = document["environment"]
    parts = [
        f"**{NOT_TO_QUOTE}**",
        "# Where the time of GoogleNet_2's train step goes",
        f"On {inert(_machine(document))}, {inert(document['created'])}.",
        *paragraphs(told),
        *(f"![{inert(picture.description)}](plots/{_picture_file(picture)})" for picture in told.pictures),
        f"TensorBoard's Profile page opens the trace, from this directory: `{tensorboard_line(Path())}`.",
        "## Environment",
        in_style(_environment_grid(environment), "pipe"),
        *(f"- {inert(doubt)}" for doubt in machine.warnings(environment)),
    ]
    return "\n\n".join(parts) + "\n"


def to_html(document: dict[str, Any], told: ProfileView) -> str:
    """The whole report.html of a profile: one file that needs no other."""
    return html.render(
        "profile.html.jinja",
        told=told,
        warning=NOT_TO_QUOTE,
        machine=_machine(document),
        created=document["created"],
        tensorboard=tensorboard_line(Path()),
        environment=_environment_grid(document["environment"]),
        doubts=machine.warnings(document["environment"]),
    )


def to_terminal(document: dict[str, Any], directory: Path) -> str:
    parts = section(document, "simple")
    parts += [f"Report: {directory / 'report.html'} and report.md", f"Trace: {tensorboard_line(directory)}"]
    return "\n\n".join(parts)


def section(document: dict[str, Any], style: str = "pipe") -> list[str]:
    """The answer, the tables and the notes as paragraphs: of Markdown, or in another of tabulate's styles plain text.

    Raises GnetError naming the field that is missing or wrong in a profile.json.
    """
    return paragraphs(view(document), style)


def paragraphs(told: ProfileView, style: str = "pipe") -> list[str]:
    """The same of what was viewed already."""
    in_markdown = style == "pipe"
    protect: Callable[[object], str] = inert if in_markdown else plain
    parts = [f"{code(told.case)}: **{protect(told.answer)}**" if in_markdown else f"{told.case}: {plain(told.answer)}"]
    for heading, each in told.grids:
        parts += [f"**{protect(heading)}**" if in_markdown else f"{heading}:", in_style(each, style)]
    return [*parts, "\n".join(f"- {protect(note)}" for note in told.notes)]


def _environment_grid(environment: dict[str, Any]) -> Grid:
    columns = [
        Column[tuple[str, str]]("what", lambda line: line[0], text=True),
        Column[tuple[str, str]]("value", lambda line: line[1], text=True),
    ]
    return grid(columns, machine.as_lines(environment)[:_MOST_LINES], "Environment")


def _machine(document: dict[str, Any]) -> str:
    environment = document["environment"]
    return f"{machine.label(environment, document['device'])}, TensorFlow {environment['tensorflow']['version']}"


def tensorboard_line(directory: Path) -> str:
    """The command that shows the trace."""
    return f"tensorboard --logdir {shlex.quote(str(directory / 'traces'))}"
