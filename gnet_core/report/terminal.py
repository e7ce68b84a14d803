"""A document for a terminal: its texts and short tables, and last what it comes to, which is what stays in view."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from gnet_core.report.document import Banner, Block, Bullets, Command, Document, Paragraph, Section, Text
from gnet_core.report.grid import Grid
from gnet_core.text import plain

_HEADING = 8  # characters in a row of a heading, where the table is too wide


def to_terminal(document: Document, width: int | None = None) -> str:
    """The document without pictures, folds and reference, in lines of `width` characters where that can be done.

    Assurances come first and warnings last, so that they stay in view.
    """
    good = [banner for banner in document.banners if banner.tone == "good"]
    bad = [banner for banner in document.banners if banner.tone == "bad"]
    last = Section("What it comes to", document.summary)
    return "\n\n".join(_parts([*document.intro, *good, *document.sections, last, *bad], width))


def _parts(blocks: Iterable[Block], width: int | None) -> list[str]:
    return list(filter(None, (_part(block, width) for block in blocks)))


def _part(block: Block, width: int | None) -> str:
    match block:
        case Banner():
            return _banner(block, width)
        case Paragraph(text=text) | Bullets(lines=[text]):
            return _filled(text, width)
        case Bullets(lines=lines):
            return "\n".join(_filled(line, width, "- ") for line in lines)
        case Command(command=command, does=does):
            return f"{plain(does)} {plain(command)}".lstrip()
        case Grid():
            above = [_filled(f"All with {block.shared}:", width)] if block.shared else []
            return "\n\n".join([*above, _table(block, width)])
        case Section(reference=False, folded=False, blocks=blocks) if parts := _parts(blocks, width):
            colon = "" if block.label.endswith("?") else ":"
            return f"{plain(block.label)}{colon}\n" + "\n\n".join(parts)
    return ""


def _banner(banner: Banner, width: int | None) -> str:
    """Its clauses are a list, of which a single one stands beside the point."""
    if len(banner.clauses) > 1:
        return "\n".join([_filled(banner.point, width), *(_filled(clause, width, "- ") for clause in banner.clauses)])
    return _filled(" ".join([banner.point, *(f"{clause}." for clause in banner.clauses)]), width)


def _filled(text: Text, width: int | None, bullet: str = "") -> str:
    line = plain(bullet + (text if isinstance(text, str) else " ".join(text)))
    if width is None:
        return line
    indent = " " * len(bullet)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _table(grid: Grid, width: int | None) -> str:
    """The table. Where it is too wide its headings take several rows, and then each row of figures stands below the
    words that name it; a table of text alone has its last column in several rows, or each of its rows as a list.
    """
    rows = [[cell.text for cell in row] for row in grid.rows]
    narrow = [_rows_of(heading, _HEADING) for heading in grid.headings]
    table = _drawn(grid.headings, rows, grid.text)
    if width is None or _widest(table) <= width:
        return table
    if _widest(table := _drawn(narrow, rows, grid.text)) <= width:
        return table
    if all(grid.text):
        room = width - _widest(_drawn(narrow[:-1], [row[:-1] for row in rows], grid.text[:-1])) - 2
        if room >= _HEADING or len(narrow) <= 2:
            return _drawn(narrow, [[*row[:-1], _rows_of(row[-1], max(_HEADING, room))] for row in rows], grid.text)
        return "\n".join(line for row in rows for line in _listed(grid.headings, row, width))
    names = grid.text.index(False)
    figures = _drawn(narrow[names:], [row[names:] for row in rows], grid.text[names:]).splitlines()
    head = len(figures) - len(rows)
    below = zip(rows, figures[head:], strict=True)
    named = (line for row, figure in below for line in (", ".join(filter(None, row[:names])), figure))
    return "\n".join([*figures[:head], *named])


def _listed(headings: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """A row of text as its first cell, and below it each other one with its heading."""
    cells = zip(headings[1:], row[1:], strict=True)
    return [_filled(row[0], width), *(_filled(f"{heading}: {cell}", width, "  ") for heading, cell in cells if cell)]


def _drawn(headings: Sequence[str], rows: Sequence[Sequence[str]], text: Sequence[bool]) -> str:
    columns = zip(headings, *rows, strict=True)
    rule = ["-" * max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    align = ["left" if column_is_text else "right" for column_is_text in text]
    # Headings as rows like any other: tabulate would make each column wider than its heading.
    table = tabulate([headings, rule, *rows], tablefmt="plain", disable_numparse=True, colalign=align)
    return "\n".join(line.rstrip() for line in table.splitlines())


def _rows_of(text: str, width: int) -> str:
    """Text in rows that break at spaces alone."""
    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


def _widest(table: str) -> int:
    return max(map(len, table.splitlines()))
