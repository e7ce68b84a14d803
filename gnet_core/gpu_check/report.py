"""The list that a check of a GPU ends with: as JSON, and as a document that is written as Markdown and printed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from gnet_core.files.whole import GPU_CHECK, write_whole
from gnet_core.gpu_check.evidence import VERDICTS, Claim
from gnet_core.report.document import Bullets, Document, Paragraph, section
from gnet_core.report.grid import Column, Grid, grid
from gnet_core.report.markdown import to_markdown

JSON_FILE, MARKDOWN_FILE = f"{GPU_CHECK}.json", f"{GPU_CHECK}.md"

_FORMAT_VERSION = 1


Status = Literal["done", "cut short", "failed", "not begun", "running"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What became of one step of the check."""

    name: str
    status: Status
    seconds: float
    why: str = ""
    """It is not done, in a sentence; empty where it is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckReport:
    """A check of a GPU as far as it came."""

    created: str
    device: str
    machine: str
    """One line that names it."""
    minutes: int
    """What it may take."""
    complete: bool
    """Whether it came to its end, with whatever steps it had no time for."""
    steps: Sequence[Step]
    claims: Sequence[Claim]

    @property
    def wrong(self) -> bool:
        """Whether a claim is."""
        return any(claim.verdict == "wrong" for claim in self.claims)

    @property
    def answer(self) -> str:
        """What came out, in a sentence."""
        counts = {verdict: sum(claim.verdict == verdict for claim in self.claims) for verdict in VERDICTS}
        told = f"Of {len(self.claims)} claims {counts['confirmed']} are confirmed, {counts['wrong']} wrong"
        # One that a worker or trace leaves open may be confirmed by the others.
        partly = sum(
            claim.verdict == "open" and any(finding.verdict == "confirmed" for finding in claim.findings)
            for claim in self.claims
        )
        seen = f", of which {partly} are confirmed as far as was seen" if partly else ""
        rehearsed = " This was a rehearsal on a CPU, which says nothing of a GPU." if self.device == "cpu" else ""
        ended = "" if self.complete else " The check has not come to its end."
        return f"{told} and {counts['open']} open{seen}.{rehearsed}{ended}"


def to_json(report: CheckReport) -> dict[str, Any]:
    """The whole list as plain data."""
    return {
        "format_version": _FORMAT_VERSION,
        "kind": GPU_CHECK,
        "created": report.created,
        "device": report.device,
        "rehearsal": report.device == "cpu",
        "machine": report.machine,
        "minutes": report.minutes,
        "complete": report.complete,
        "steps": [dataclasses.asdict(step) for step in report.steps],
        "claims": [claim.to_dict() for claim in _ordered(report.claims)],
    }


def document(report: CheckReport) -> Document:
    """The whole list: a section a claim with its evidence, the worst first, and what became of the steps."""
    return Document(
        heading="What is known of the GPU side",
        intro=[Paragraph(f"On {report.machine}, device {report.device}, {report.created}.")],
        summary=[Paragraph(report.answer)],
        sections=[
            *(section(claim.claim, Bullets(claim.evidence), name=claim.verdict) for claim in _ordered(report.claims)),
            section("The steps", _steps_grid(report.steps)),
        ],
    )


def write(report: CheckReport, directory: Path) -> None:
    """Write both files into the directory, each whole. Raises OSError."""
    write_whole(directory / JSON_FILE, json.dumps(to_json(report), indent=1, allow_nan=False))
    write_whole(directory / MARKDOWN_FILE, to_markdown(document(report)))


def _ordered(claims: Sequence[Claim]) -> list[Claim]:
    return sorted(claims, key=lambda claim: VERDICTS.index(claim.verdict))


def _steps_grid(steps: Sequence[Step]) -> Grid:
    columns = [
        Column[Step]("step", lambda step: step.name, text=True),
        Column[Step]("status", lambda step: step.status, text=True),
        Column[Step]("seconds", lambda step: f"{step.seconds:.0f}"),
        Column[Step]("why", lambda step: step.why, text=True),
    ]
    return grid(columns, steps, "Steps")
