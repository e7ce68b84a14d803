"""Outcomes for GitHub Actions: the summary of a step, and annotations as lines of its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gnet_core.report.markdown import to_markdown
from gnet_core.report.outcomes import document, message
from gnet_core.results.outcomes import Outcomes

MAX_SUMMARY_BYTES = 1_024_000
"""Bytes of a step's summary. GitHub takes 1,024 KiB and drops the whole of a longer one."""

MAX_ANNOTATIONS = 10
"""Annotations of one kind in a step; GitHub shows no more."""


def to_summary(outcomes: Outcomes, room: int) -> str:
    """Markdown of at most `room` bytes, in which as many cases are left out as it takes; empty where nothing fits."""
    shown = len(outcomes.outcomes)
    while len((text := to_markdown(document(outcomes, shown))).encode()) > room:
        if not shown:
            return ""
        shown //= 2
    return text


def annotation_lines(outcomes: Outcomes) -> list[str]:
    """Lines that GitHub makes annotations of: an error for what failed, a warning for waivers that act or match no
    case.
    """
    failed = [f"{outcome.case}: {message(outcome)}" for outcome in outcomes.outcomes if outcome.failed]
    waived = [f"{outcome.case}: {message(outcome)}" for outcome in outcomes.outcomes if outcome.waived]
    unmatched = [f"{waiver.label} matches no case" for waiver in outcomes.gates.unmatched]
    title = f"gnet {outcomes.command}"
    return [*_lines("error", title, failed), *_lines("warning", title, [*waived, *unmatched])]


def _lines(kind: Literal["error", "warning"], title: str, texts: Sequence[str]) -> list[str]:
    """A line for each text; where they are too many, the last one tells how many are left out."""
    if len(texts) > MAX_ANNOTATIONS:
        left_out = len(texts) - MAX_ANNOTATIONS + 1
        texts = [*texts[: MAX_ANNOTATIONS - 1], f"and {left_out} more, which the summary has"]
    return [f"::{kind} title={_property(title)}::{_data(text)}" for text in texts]


def _data(text: str) -> str:
    """As GitHub's runner reads it back (actions/toolkit, core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
