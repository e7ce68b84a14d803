"""Rows and comparisons as cells and tables of plain text, for whichever form a report takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from gnet_core.report.views.section import Section
from gnet_core.results.records import Row
from gnet_core.stats.verdicts import Comparison, Verdict
from gnet_core.text import milliseconds, number, percent, plain

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


_TURNS = Column[Row]("± turns", lambda row: number(row.turn_spread, "{:.1%}"))
_MEMORY = Column[Row]("peak GiB", lambda row: number(row.peak_memory_bytes and row.peak_memory_bytes / 2**30, "{:.2f}"))


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


def pairs(lines: Sequence[tuple[str, object]], headings: tuple[str, str], caption: str) -> Grid:
    """A table of two columns of text."""
    first, second = headings
    columns = [
        Column[tuple[str, object]](first, lambda line: line[0], text=True),
        Column[tuple[str, object]](second, lambda line: str(line[1]), text=True),
    ]
    return grid(columns, lines, caption)


def suite_grid(section: Section) -> Grid:
    """All that is known of the suite's rows, with what they are compared to."""
    return grid(_columns(section), section.rows, f"{section.name}, all columns")


def short_grid(section: Section) -> Grid:
    """The handful of columns that answer the suite's question; what all rows share is told once."""
    shared, varied = shared_columns(_axes(section), section.rows)
    columns = [
        *varied,
        *_speed_columns(),
        *([] if any(map(speed_interval, section.rows)) else [_TURNS]),
        *_comparison_columns(section)[:3],
        *([] if section.comparisons and section.varies != "part" else _cost_columns()),
        Column("status", lambda row: row.status if row.status != "ok" else "", text=True),
    ]
    return dataclasses.replace(grid(columns, section.rows, section.name), shared=plain(shared))


def _columns(section: Section) -> list[Column[Row]]:
    return [
        *_axes(section),
        *_speed_columns(),
        _TURNS,
        Column("ms a step", lambda row: milliseconds(row.step_seconds)),
        Column("p50 ms", lambda row: milliseconds(row.step_seconds_p50)),
        Column("p95 ms", lambda row: milliseconds(row.step_seconds_p95)),
        Column("of steps", lambda row: str(row.single_steps or "")),
        *_comparison_columns(section),
        *_work_columns(section.rows),
        Column("trace s", lambda row: number(row.trace_seconds, "{:.1f}")),
        Column("compile s", lambda row: number(row.compile_seconds, "{:.1f}")),
        Column("first step s", lambda row: number(row.first_step_seconds, "{:.1f}")),
        _MEMORY,
        Column("blocks", lambda row: f"{row.replicates}×{row.samples // row.replicates}" if row.samples else ""),
        Column("disturbed", _disturbed, text=True),
        Column("status", lambda row: row.status, text=True),
        Column("note", lambda row: row.note, text=True),
    ]


def _axes(section: Section) -> list[Column[Row]]:
    varied = {name: name for name in ("part", "layers", "framework")} | {"aux_weight": "auxiliary weight"}
    heading = varied.get(section.varies or "")
    return [
        Column("execution", lambda row: row.execution, text=True),
        Column("precision", lambda row: row.precision, text=True),
        Column("batch", lambda row: str(row.batch_size)),
        *([Column[Row](heading, section.value, text=True)] if heading else []),
        Column("data", lambda row: row.data if row.data != "synthetic" else "", text=True),
        Column("source", lambda row: row.source, text=True),
    ]


def _speed_columns() -> list[Column[Row]]:
    return [
        Column("images/s", lambda row: number(row.images_per_second, "{:.1f}")),
        Column("95 % interval", speed_interval),
    ]


def _cost_columns() -> list[Column[Row]]:
    """What a step takes, where no ratio says it."""
    return [
        Column("ms a step", lambda row: milliseconds(row.step_seconds)),
        Column("MFU", lambda row: number(row.mfu, "{:.1%}")),
        _MEMORY,
    ]


def _comparison_columns(section: Section) -> list[Column[Row]]:
    if not section.comparisons:
        return []
    bases = {each.base for each in section.comparisons.values()}

    def of(cell: Callable[[Comparison], str | Cell], base: str = "") -> Callable[[Row], str | Cell]:
        def told(row: Row) -> str | Cell:
            if row.status != "ok":
                return ""
            found = section.comparisons.get(row.case)
            return cell(found) if found else base if row.case in bases else ""

        return told

    return [
        Column(f"× {section.base}", of(ratio, base="1")),
        Column("95 % of ×", of(ratio_interval)),
        Column("verdict", of(verdict), text=True),
        Column("smallest effect", of(lambda each: percent(each.smallest_effect))),
    ]


def _work_columns(rows: Sequence[Row]) -> list[Column[Row]]:
    most = max((row.gflop_per_second or 0.0 for row in rows), default=0.0)
    unit, gflop = ("TFLOP/s", 1000.0) if most >= 1000 else ("GFLOP/s", 1.0)
    return [
        Column(unit, lambda row: number(row.gflop_per_second and row.gflop_per_second / gflop, "{:.1f}")),
        Column("MFU", lambda row: number(row.mfu, "{:.1%}")),
        Column("images/J", lambda row: number(row.images_per_joule, "{:.2f}")),
    ]


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


def _disturbed(row: Row) -> str:
    """Of how many turns, where there were any."""
    return f"{row.disturbed_turns} of {row.samples + row.voided_samples}" if row.disturbed_turns else ""


def speed_interval(row: Row) -> str:
    """Of images/s, at 95 %; empty where there are too few processes for one."""
    if row.images_per_second_ci_low is None or row.images_per_second_ci_high is None:
        return ""
    return f"{row.images_per_second_ci_low:.1f}–{row.images_per_second_ci_high:.1f}"
