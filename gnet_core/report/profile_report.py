"""A profile, said to people and to programs: profile.json, CSV, report.md, report.html, plots and the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core.config import GnetError
from gnet_core.files import csv_text, json_documents
from gnet_core.files.whole import PROFILE_FILE
from gnet_core.machine import environment as machine
from gnet_core.plan.request import quoted
from gnet_core.profile import reading
from gnet_core.profile.document import load_profile
from gnet_core.report import documents, html
from gnet_core.report.grid import Column, Grid, grid, in_style
from gnet_core.report.profile import ProfileView, view
from gnet_core.text import code, inert, plain

NOT_TO_QUOTE = "Do not quote the times below as the step's speed: they were taken under the profiler."

_MOST_LINES = 100
"""Of the environment; what is longer describes no machine."""


def write(directory: Path) -> dict[str, Any]:
    """Convert the trace that directory/run.json names, and write all that `read` and `write_documents` do."""
    document = read(directory)
    write_documents(document, directory)
    return document


def read(directory: Path) -> dict[str, Any]:
    """What profile.json holds: the trace that directory/run.json names, converted.

    Raises GnetError for a directory without a profile, and for a trace that cannot be read or tells less than the
    profile.json that is there.
    """
    described = load_profile(directory)
    document = json_documents.to_plain(described)
    xplane = directory / described.trace.xplane
    document |= reading.tables(xplane, on_gpu=described.device.startswith("gpu"))
    if not document["operations"] and _tells_operations(directory):
        raise GnetError(
            f"{xplane}: it tells no operations, which the {PROFILE_FILE} of before does; bring the whole trace back"
        )
    return document


def write_documents(document: dict[str, Any], directory: Path) -> None:
    """Write profile.json, its tables, reports and plots into the directory. Raises OSError, and GnetError for a
    document that cannot be told and for a plots/ that leads elsewhere.
    """
    told = view(document)
    texts = {PROFILE_FILE: json.dumps(document, indent=1)}
    texts |= {
        f"{name}.csv": csv_text.to_csv(pd.DataFrame(document[name]))
        for name in ("operations", "parts")
        if document[name]
    }
    texts |= {"report.md": to_markdown(document, told), "report.html": to_html(document, told)}
    documents.write(directory, texts, told.pictures)


def _tells_operations(directory: Path) -> bool:
    """Whether the profile.json that is there does."""
    try:
        document, _digest = json_documents.read_json(directory / PROFILE_FILE, directory)
    except GnetError:
        return False
    return bool(document.get("operations"))


def to_markdown(document: dict[str, Any], told: ProfileView) -> str:
    """The whole report.md of a profile."""
    environment = document["environment"]
    parts = [
        f"**{NOT_TO_QUOTE}**",
        "# Where the time of GoogleNet_2's train step goes",
        f"On {inert(_machine(document))}, {inert(document['created'])}.",
        *paragraphs(told),
        *(
            f"![{inert(picture.description)}]({documents.PLOTS}/{documents.picture_file(picture)})"
            for picture in told.pictures
        ),
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
    parts.append("\n".join(f"- {protect(note)}" for note in told.notes))
    return [*parts, f"What traces it again: {(code if in_markdown else plain)(told.command)}"]


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
    return f"tensorboard --logdir {quoted(str(directory / 'traces'))}"
