"""Markdown that reports share: text made inert."""

from __future__ import annotations

import re


def escape(text: str) -> str:
    """Text from a run as inert Markdown: no table cell ends early, no tag, link, line or terminal's command begins."""
    text = "".join(character if character.isprintable() else " " for character in text)
    for character in "\\|<>[]`*_":
        text = text.replace(character, f"\\{character}")
    # A code host makes links of addresses that nobody marked as such, and of mail addresses also behind a backslash.
    text = re.sub(r"(?i)(www)\.", r"\1\\.", text.replace("://", ":\\//"))
    text = re.sub(r"@+", r"`\g<0>`", text)
    return " ".join(text.split())
