"""A profile, said to people and to programs: profile.json, CSV, report.md, report.html, plots and the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core.config import GnetError
from gnet_core.files import csv_text, json_documents
from gnet_core.files.whole import PROFILE_FILE
from gnet_core.machine import environment as machine
from gnet_core.profile import reading
from gnet_core.profile.document import load_profile
from gnet_core.report import documents
from gnet_core.report.document import Banner, Bullets, Command, Document, Paragraph, Sentence, section
from gnet_core.report.grid import Column, Grid, grid
from gnet_core.report.profile import ProfileView, tensorboard_line, view
from gnet_core.report.terminal import to_terminal as in_terminal

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
    told = ("run", "created", "device", "config", "environment", "trace")  # earlier versions had no identity
    document = {key: described[key] for key in told if key in described}
    xplane = directory / described["trace"]["xplane"]
    document |= reading.tables(xplane, on_gpu=described["device"].startswith("gpu"))
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
    documents.write(directory, document_of(document, told), texts)


def _tells_operations(directory: Path) -> bool:
    """Whether the profile.json that is there does."""
    try:
        document, _digest = json_documents.read_json(directory / PROFILE_FILE, directory)
    except GnetError:
        return False
    return bool(document.get("operations"))


def document_of(stored: dict[str, Any], told: ProfileView, *, with_pictures: bool = True) -> Document:
    """The whole report of a profile.json."""
    environment = stored["environment"]
    return Document(
        heading="Where the time of GoogleNet_2's train step goes",
        banners=[Banner("bad", NOT_TO_QUOTE)],
        intro=[Paragraph(f"{told.case} on {_machine(stored)}, {stored['created']}.")],
        summary=[Paragraph(Sentence(told.answer, "")), *(told.pictures if with_pictures else [])],
        sections=[
            *(section(heading, each) for heading, each in told.grids),
            section("How to read these figures", Bullets(told.notes)),
            section("What traces it again", Command(told.command)),
            section(
                "What shows the whole trace",
                Command(tensorboard_line(Path()), "In this directory, with charts that are loaded from the internet:"),
                reference=True,
            ),
            section(
                "Environment",
                _environment_grid(environment),
                Bullets(machine.warnings(environment)),
                reference=True,
            ),
        ],
    )


def to_terminal(stored: dict[str, Any], directory: Path) -> str:
    """What gnet profile prints. Raises GnetError naming the field that is missing or wrong in a profile.json."""
    told = in_terminal(document_of(stored, view(stored), with_pictures=False))
    return f"{told}\n\nReport: {directory / 'report.html'} and report.md\n\nTrace: {tensorboard_line(directory)}"


def _environment_grid(environment: dict[str, Any]) -> Grid:
    columns = [
        Column[tuple[str, str]]("what", lambda line: line[0], text=True),
        Column[tuple[str, str]]("value", lambda line: line[1], text=True),
    ]
    return grid(columns, machine.as_lines(environment)[:_MOST_LINES], "Environment")


def _machine(document: dict[str, Any]) -> str:
    environment = document["environment"]
    return f"{machine.label(environment, document['device'])}, TensorFlow {environment['tensorflow']['version']}"
