"""Rows and comparisons as cells and tables of plain text, for whichever form a report takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from gnet_core.stats.verdicts import Comparison, Verdict
from gnet_core.text import number, plain

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


def pairs(lines: Sequence[tuple[str, object]], headings: tuple[str, str], caption: str) -> Grid:
    """A table of two columns of text."""
    first, second = headings
    columns = [
        Column[tuple[str, object]](first, lambda line: line[0], text=True),
        Column[tuple[str, object]](second, lambda line: str(line[1]), text=True),
    ]
    return grid(columns, lines, caption)


def shared_columns(columns: Sequence[Column[Item]], items: Sequence[Item]) -> tuple[str, list[Column[Item]]]:
    """In words the columns that have one value in all rows, and the others; of a single row each is a column."""
    shared, varied = [], []
    for column in columns:
        (first, *others) = [_cell(column.cell(item)).text for item in items] or [""]
        if others and first and set(others) == {first}:
            shared.append(f"{column.heading} {first}")
        else:
            varied.append(column)
    return ", ".join(shared), varied


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
