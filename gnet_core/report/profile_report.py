"""A profile, said to people and to programs: profile.json, CSV, report.md, report.html, plots and the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core.config import GnetError
from gnet_core.files import csv_text, json_documents
from gnet_core.files.whole import PROFILE_FILE
from gnet_core.machine import overview
from gnet_core.profile import document, reading
from gnet_core.report import documents
from gnet_core.report.document import Banner, Bullets, Command, Document, Paragraph, Sentence, section
from gnet_core.report.fields import case_words
from gnet_core.report.grid import pairs
from gnet_core.report.profile import answer, command, notes, pictures, tables, tensorboard_line

NOT_TO_QUOTE = "Do not quote the times below as the step's speed: they were taken under the profiler."

_MAX_LINES = 100
"""Of the environment; what is longer describes no machine."""


def write(directory: Path) -> dict[str, Any]:
    """Convert the trace that directory/run.json names, and write all that `read` and `write_documents` do."""
    stored = read(directory)
    write_documents(stored, directory)
    return stored


def read(directory: Path) -> dict[str, Any]:
    """What profile.json holds: the trace that directory/run.json names, converted.

    Raises GnetError for a directory without a profile, and for a trace that cannot be read or tells less than the
    profile.json that is there.
    """
    described = document.load_profile(directory)
    stored = json_documents.to_plain(described)
    xplane = directory / described.trace.xplane
    stored |= reading.tables(xplane, on_gpu=described.device.startswith("gpu"))
    if not stored["operations"] and _tells_operations(directory):
        raise GnetError(
            f"{xplane}: it tells no operations, which the {PROFILE_FILE} of before does; bring the whole trace back"
        )
    return stored


def write_documents(stored: dict[str, Any], directory: Path) -> None:
    """Write profile.json, its tables, reports and plots into the directory. Raises OSError, and GnetError for a
    document that cannot be told and for a plots/ that leads elsewhere.
    """
    texts = {PROFILE_FILE: json.dumps(stored, indent=1)}
    texts |= {
        f"{name}.csv": csv_text.to_csv(pd.DataFrame(stored[name])) for name in ("operations", "parts") if stored[name]
    }
    documents.write(directory, document_of(stored), texts)


def _tells_operations(directory: Path) -> bool:
    """Whether the profile.json that is there does."""
    try:
        before, _digest = json_documents.read_json(directory / PROFILE_FILE, directory)
    except GnetError:
        return False
    return bool(before.get("operations"))


def document_of(stored: dict[str, Any], *, with_pictures: bool = True) -> Document:
    """The whole report. Raises GnetError naming the field that is missing or wrong in a profile.json."""
    profile = document.read(stored)
    environment = profile.environment
    if environment is None:
        raise GnetError(f"{PROFILE_FILE}: field 'environment' is missing")
    lines = overview.as_lines(environment)[:_MAX_LINES]
    version = environment.version("tensorflow")
    machine = ", ".join(filter(None, [overview.label(environment, stored["device"]), version]))
    return Document(
        heading="Where the time of GoogleNet_2's train step goes",
        banners=[Banner("bad", NOT_TO_QUOTE)],
        intro=[Paragraph(Sentence(f"{', '.join(case_words(profile.config))}:", f"{machine}, {stored['created']}."))],
        summary=[Paragraph(answer(profile)), *(pictures(profile) if with_pictures else [])],
        sections=[
            *tables(profile),
            section("How to read these figures", Bullets(notes(profile))),
            section("What traces it again", Command(command(profile))),
            section(
                "What shows the whole trace",
                Command(tensorboard_line(Path()), "In this directory, with charts that are loaded from the internet:"),
                reference=True,
            ),
            section(
                "Environment",
                pairs(lines, ("what", "value"), "Environment"),
                Bullets(overview.warnings(environment)),
                reference=True,
            ),
        ],
    )
