"""Markdown that reports share: text made inert, and the table of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from gnet_core import machine


def escape(text: str) -> str:
    """Text from a run as inert Markdown: no table cell ends early, no tag, link, line or terminal's command begins."""
    text = "".join(character if character.isprintable() else " " for character in text)
    for character in "\\|<>[]`*_":
        text = text.replace(character, f"\\{character}")
    # A code host makes links of addresses that nobody marked as such.
    text = text.replace("://", ":\\//").replace("www.", "www\\.")
    return " ".join(text.split())


def environment_table(environment: Mapping[str, Any]) -> str:
    """The machine and its software, and what about them would make a careful reader doubt figures."""
    rows = [(escape(name), escape(str(value))) for name, value in machine.as_lines(environment)]
    table = tabulate(rows, headers=("what", "value"), tablefmt="pipe", disable_numparse=True)
    return "\n\n".join([table, *(f"- {escape(warning)}" for warning in machine.warnings(environment))])
