"""A document for a terminal: its texts and short tables, and last what it comes to, which is what stays in view."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from gnet_core.report.document import Banner, Block, Bullets, Command, Document, Paragraph, Section, Text
from gnet_core.report.grid import Grid
from gnet_core.text import plain

_HEADING = 8
"""Characters that a row of a heading may have in a table that is too wide."""

_MIN_TEXT = 12
"""Characters that are left of its widest column of text."""


def to_terminal(document: Document, width: int | None = None) -> str:
    """The document without its pictures, its folds and the sections that are for reference.

    Lines are at most `width` characters long where that can be done; whole where it is None.
    """
    last = Section("What it comes to", document.summary)
    return "\n\n".join(_parts([*document.intro, *document.sections, last, *document.banners], width))


def _parts(blocks: Iterable[Block], width: int | None) -> list[str]:
    return [part for block in blocks if (part := _part(block, width))]


def _part(block: Block, width: int | None) -> str:
    match block:
        case Banner(point=point, clauses=clauses):
            return _filled(f"{point} {'; '.join(clauses)}." if clauses else point, width)
        case Paragraph(text=text) | Bullets(lines=[text]):
            return _filled(_joined(text), width)
        case Bullets(lines=lines):
            return "\n".join(_filled(f"- {_joined(line)}", width) for line in lines)
        case Command(command=command, does=does):
            return f"{plain(does)} {plain(command)}".lstrip()
        case Grid():
            above = [_filled(f"All with {block.shared}:", width)] if block.shared else []
            return "\n\n".join([*above, _table(block, width)])
        case Section(reference=False, blocks=blocks):
            return _section(block, _parts(blocks, width))
    return ""


def _section(section: Section, parts: list[str]) -> str:
    heading = f"{section.name}: {section.heading}" if section.name else section.heading
    colon = "" if heading.endswith("?") else ":"
    return "\n".join([f"{plain(heading)}{colon}", "\n\n".join(parts)]) if parts else ""


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else " ".join(text)


def _filled(text: str, width: int | None) -> str:
    line = plain(text)
    if width is None:
        return line
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _table(grid: Grid, width: int | None) -> str:
    """The table; where it is too wide its headings take several rows, and then its widest column of text as well."""
    table = _drawn(grid, grid.headings)
    if width is None or _widest(table) <= width:
        return table
    headings = ["\n".join(textwrap.wrap(heading, _HEADING, break_long_words=False)) for heading in grid.headings]
    excess = _widest(_drawn(grid, headings)) - width
    lengths = [max(len(row[column].text) for row in grid.rows) if text else 0 for column, text in enumerate(grid.text)]
    longest = lengths.index(max(lengths))
    limits = [max(_MIN_TEXT, length - excess) if at == longest else None for at, length in enumerate(lengths)]
    return _drawn(grid, headings, limits if excess > 0 else None)


def _drawn(grid: Grid, headings: Sequence[str], limits: Sequence[int | None] | None = None) -> str:
    return tabulate(
        [[cell.text for cell in row] for row in grid.rows],
        headers=headings,
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left" if text else "right" for text in grid.text],
        maxcolwidths=limits,
    )


def _widest(table: str) -> int:
    return max(map(len, table.splitlines()))
