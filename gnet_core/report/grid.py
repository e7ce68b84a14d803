"""Rows and comparisons as cells and tables of plain text, for whichever form a report takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Generic, NamedTuple, Protocol, TypeVar

from gnet_core.stats.verdicts import Comparison, Verdict
from gnet_core.text import number, plain

NARROW = 0.05
"""An interval that is narrower than this share of its ratio deserves a third decimal."""

Item = TypeVar("Item")


class Estimate(Protocol):
    """A ratio with its interval: a comparison, or what a look saw of one."""

    @property
    def ratio(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


class Cell(NamedTuple):
    """A table's cell, with the verdict that it shows, if it shows one, so that a page can colour it."""

    text: str
    verdict: Verdict | None = None


@dataclasses.dataclass(frozen=True)
class Column(Generic[Item]):
    """A table's column: its heading with the unit, the cell of an item, and whether the cells are words."""

    heading: str
    cell: Callable[[Item], str | Cell]
    text: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """A table in plain text: harmless in a terminal, to be escaped elsewhere."""

    caption: str
    headings: list[str]
    text: list[bool]
    """Whether each column is text, which is aligned at the left."""
    rows: list[tuple[Cell, ...]]
    shared: str = ""
    """Values that all rows have in common and that so have no column."""


def grid(columns: Sequence[Column[Item]], items: Sequence[Item], caption: str = "", shared: str = "") -> Grid:
    """A table with a row for each item; a column that no item fills is left out."""
    drawn = [(column, [_cell(column.cell(item)) for item in items]) for column in columns]
    filled = [(column, cells) for column, cells in drawn if any(cell.text for cell in cells)]
    headings, text = [plain(column.heading) for column, _ in filled], [column.text for column, _ in filled]
    rows = list(zip(*(cells for _, cells in filled), strict=True))
    return Grid(caption=plain(caption), headings=headings, text=text, rows=rows, shared=plain(shared))


def _cell(cell: str | Cell) -> Cell:
    return cell._replace(text=plain(cell.text)) if isinstance(cell, Cell) else Cell(plain(cell))


def text_table(headings: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> Grid:
    """A table whose columns are all text, each row with a value for each heading."""
    columns = [Column[Sequence[object]](name, itemgetter(place), text=True) for place, name in enumerate(headings)]
    return grid(columns, rows, caption)


def shared_columns(columns: Sequence[Column[Item]], items: Sequence[Item]) -> tuple[str, list[Column[Item]]]:
    """In words the columns that have one value in all of several rows, and the other columns."""
    shared, varied = [], []
    for column in columns:
        texts = [_cell(column.cell(item)).text for item in items]
        if len(texts) > 1 and texts[0] and len(set(texts)) == 1:
            shared.append(f"{column.heading} {texts[0]}")
        else:
            varied.append(column)
    return ", ".join(shared), varied


def part(count: int, whole: int) -> str:
    """3 of 10; empty for none."""
    return f"{count} of {whole}" if count else ""


def verdict(comparison: Comparison) -> Cell:
    """The verdict, marked where the comparison is sequential and where it was settled before its last look."""
    marks = ["sequential"] * (comparison.mode == "sequential") + ["early"] * comparison.settled_early
    return Cell(", ".join([comparison.verdict, *marks]), comparison.verdict)


def interval_words(comparisons: Iterable[Comparison]) -> str:
    """95 %, or repeated 95 % where they were looked at while they were measured."""
    repeated = any(comparison.max_looks for comparison in comparisons)
    return "repeated 95 %" if repeated else "95 %"


def ratio(estimate: Estimate) -> str:
    return number(estimate.ratio, _ratio_shape(estimate))


def ratio_interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    shape = _ratio_shape(estimate)
    return f"{shape.format(estimate.low)}–{shape.format(estimate.high)}"


def ratio_and_interval(estimate: Estimate, unit: str = "×") -> str:
    """0.67× (0.64–0.70)"""
    interval = ratio_interval(estimate)
    return f"{ratio(estimate)}{unit}{f' ({interval})' if interval else ''}"


def _ratio_shape(estimate: Estimate) -> str:
    value, low, high = estimate.ratio, estimate.low, estimate.high
    if value is None:
        return "{:.2f}"
    narrow = low is not None and high is not None and high - low < NARROW * value
    return "{:.3f}" if narrow or value < 0.1 else "{:.2f}"
