"""Text and numbers made fit for a table, a terminal and Markdown: text from a run is harmless in all of them."""

from __future__ import annotations

import re

MAX_CHARACTERS = 600
"""Longest text from a run that is shown; a longer one is no sentence."""


def plain(text: object) -> str:
    """Text from a run in one line without control characters, cut where it is endless."""
    whole = str(text)
    start = whole[: 10 * MAX_CHARACTERS]  # of megabytes the rest need not be looked at
    line = " ".join("".join(character if character.isprintable() else " " for character in start).split())
    ends = len(start) == len(whole) and len(line) <= MAX_CHARACTERS
    return line if ends else f"{line[:MAX_CHARACTERS]}…"


def inert(text: object) -> str:
    """Plain text as Markdown in which nothing is markup: no table cell ends early, no tag, link or line begins."""
    escaped = plain(text)
    for character in "\\|<>[]`*_":
        escaped = escaped.replace(character, f"\\{character}")
    # A code host makes links of addresses that nobody marked as such, and of mail addresses also behind a backslash.
    escaped = re.sub(r"(?i)(www)\.", r"\1\\.", escaped.replace("://", ":\\//"))
    return re.sub(r"@+", r"`\g<0>`", escaped)


def code(text: object) -> str:
    """Plain text as code in Markdown, also inside a table."""
    return f"`{plain(text).replace('`', '').replace('|', chr(92) + '|')}`"


def number(value: float | None, shape: str) -> str:
    """A figure in a shape of str.format; empty where it was not measured."""
    return "" if value is None else shape.format(value)


def percent(value: float | None) -> str:
    """A fraction as a percentage that can be read: 2.3%, 45%, or × for what is more than a doubling."""
    if value is None:
        return ""
    if value >= 10:
        return f"{1 + value:.3g}×"
    return f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


def duration(seconds: float) -> str:
    """Wall time as a person plans with it: 40 s, about 6 minutes."""
    return f"about {seconds:.0f} s" if seconds < 100 else f"about {seconds / 60:.0f} minutes"


def milliseconds(seconds: float | None) -> str:
    """Three significant digits, or all of whole milliseconds, and none beyond a tenth of a microsecond."""
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f}" if seconds >= 0.1 else f"{round(seconds * 1000, 4):.3g}"
