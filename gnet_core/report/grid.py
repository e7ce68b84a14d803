"""Rows and comparisons as cells and tables, for Markdown and a terminal; text from a run is harmless in both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from tabulate import tabulate

from gnet_core.stats.verdicts import Comparison, Verdict
from gnet_core.text import inert, number, plain

NARROW = 0.05
"""An interval of a ratio that is narrower than this share of it deserves a third digit."""

Item = TypeVar("Item")


class Cell(NamedTuple):
    """A table's cell, and the verdict that it is about where it is about one, so that a page can colour it."""

    text: str
    verdict: Verdict | None = None


@dataclasses.dataclass(frozen=True)
class Column(Generic[Item]):
    """A table's column: its heading with the unit, an item's cell, and whether the cell is text."""

    heading: str
    cell: Callable[[Item], str | Cell]
    text: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """A table in plain text: harmless in a terminal, to be escaped elsewhere."""

    caption: str
    headings: list[str]
    text: list[bool]
    """Of each column, whether it is text and so begins at the left."""
    rows: list[tuple[Cell, ...]]
    shared: str = ""
    """What is the same in all rows and so has no column."""


def grid(columns: Sequence[Column[Item]], items: Sequence[Item], caption: str = "") -> Grid:
    """A line an item; a column that no item fills is left out."""
    drawn = [(column, [_cell(column.cell(item)) for item in items]) for column in columns]
    filled = [(column, cells) for column, cells in drawn if any(cell.text for cell in cells)]
    return Grid(
        caption=plain(caption),
        headings=[plain(column.heading) for column, _ in filled],
        text=[column.text for column, _ in filled],
        rows=list(zip(*(cells for _, cells in filled), strict=True)),
    )


def _cell(cell: str | Cell) -> Cell:
    return cell._replace(text=plain(cell.text)) if isinstance(cell, Cell) else Cell(plain(cell))


def table(columns: Sequence[Column[Item]], items: Sequence[Item], style: str) -> str:
    """The grid of these in tabulate's `style`."""
    return in_style(grid(columns, items), style)


def in_style(told: Grid, style: str) -> str:
    """A grid in tabulate's `style`, of which "pipe" is Markdown, where nothing in it is markup."""
    protect = inert if style == "pipe" else plain
    return tabulate(
        [[protect(cell.text) for cell in row] for row in told.rows],
        headers=[protect(heading) for heading in told.headings],
        tablefmt=style,
        disable_numparse=True,
        colalign=["left" if text else "right" for text in told.text],
    )


def verdict(found: Comparison) -> Cell:
    """The verdict, and that it is of a sequential comparison where it is."""
    return Cell(f"{found.verdict}, sequential" if found.mode == "sequential" else found.verdict, found.verdict)


def ratio(found: Comparison) -> str:
    return number(found.ratio, _ratio_shape(found))


def ratio_interval(found: Comparison) -> str:
    if found.low is None or found.high is None:
        return ""
    shape = _ratio_shape(found)
    return f"{shape.format(found.low)}–{shape.format(found.high)}"


def _ratio_shape(found: Comparison) -> str:
    if found.ratio is not None and found.ratio < 0.1:
        return "{:.3f}"
    known = found.ratio is not None and found.low is not None and found.high is not None
    narrow = known and found.high - found.low < NARROW * found.ratio  # type: ignore[operator]
    return "{:.3f}" if narrow else "{:.2f}"


def pairs_table(lines: Sequence[tuple[str, ...]], headings: tuple[str, ...]) -> str:
    """A Markdown table of cells that are Markdown already."""
    return tabulate(lines, headers=headings, tablefmt="pipe", disable_numparse=True)
