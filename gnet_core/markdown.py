"""Markdown that reports share: text made inert."""

from __future__ import annotations


def escape(text: str) -> str:
    """Text from a run as inert Markdown: no table cell ends early, no tag, link, line or terminal's command begins."""
    text = "".join(character if character.isprintable() else " " for character in text)
    for character in "\\|<>[]`*_":
        text = text.replace(character, f"\\{character}")
    # A code host makes links of addresses that nobody marked as such.
    text = text.replace("://", ":\\//").replace("www.", "www\\.")
    return " ".join(text.split())
