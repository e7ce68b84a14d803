"""The list that a check of a GPU ends with: as JSON, and as a document that is written as Markdown and printed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from gnet_core.files.whole import GPU_CHECK, write_whole
from gnet_core.gpu_check.evidence import Claim
from gnet_core.report.document import Bullets, Document, Paragraph, section
from gnet_core.report.grid import Column, grid
from gnet_core.report.markdown import to_markdown

JSON_FILE, MARKDOWN_FILE = f"{GPU_CHECK}.json", f"{GPU_CHECK}.md"

Status = Literal["done", "cut short", "failed", "not begun", "running"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """State of one step of the check."""

    name: str
    status: Status
    seconds: float
    why: str = ""
    """Why it is not done, in a sentence; empty where it is."""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """A check of a GPU as far as it came."""

    format_version: int = 1
    kind: str = GPU_CHECK
    created: str
    device: str
    machine: str
    minutes: int
    complete: bool
    """Whether it came to its end, with whatever steps it had no time for."""
    steps: Sequence[Step]
    claims: Sequence[Claim]

    @property
    def answer(self) -> str:
        """The outcome in a sentence or two."""
        count = Counter(claim.verdict for claim in self.claims)
        # One that a worker or trace leaves open may be confirmed by the others.
        unfinished = [claim for claim in self.claims if claim.verdict == "open"]
        partly = sum(any(finding.verdict == "confirmed" for finding in claim.findings) for claim in unfinished)
        return (
            f"Of {len(self.claims)} claims {count['confirmed']} are confirmed, {count['wrong']} wrong and "
            f"{count['open']} open{f', of which {partly} are confirmed as far as was seen' if partly else ''}."
            f"{' This was a rehearsal on a CPU, which says nothing of a GPU.' if self.device == 'cpu' else ''}"
            f"{'' if self.complete else ' The check has not come to its end.'}"
        )


def to_json(report: CheckReport) -> dict[str, Any]:
    """The whole list as plain data, in which a figure that is no number is null."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(report))
    return document | {"rehearsal": report.device == "cpu"}


def document(report: CheckReport) -> Document:
    """The whole list: a section a claim with its evidence, the worst first, and the steps."""
    columns = [
        Column[Step]("step", lambda step: step.name, text=True),
        Column[Step]("status", lambda step: step.status, text=True),
        Column[Step]("seconds", lambda step: f"{step.seconds:.0f}"),
        Column[Step]("why", lambda step: step.why, text=True),
    ]
    return Document(
        heading="What is known of the GPU side",
        intro=[Paragraph(f"On {report.machine}, device {report.device}, {report.created}.")],
        summary=[Paragraph(report.answer)],
        sections=[
            *(section(claim.claim, Bullets(claim.evidence), name=claim.verdict) for claim in report.claims),
            section("The steps", grid(columns, report.steps, "Steps")),
        ],
    )


def write(report: CheckReport, directory: Path) -> None:
    """Write both files into the directory, each whole. Raises OSError."""
    write_whole(directory / JSON_FILE, json.dumps(to_json(report), indent=1, allow_nan=False))
    write_whole(directory / MARKDOWN_FILE, to_markdown(document(report)))
