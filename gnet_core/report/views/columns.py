"""The columns that the tables of all suites have in common: measurements of a row, and its comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gnet_core.report.grid import Cell, Column, interval_words, part, ratio, ratio_interval, verdict
from gnet_core.report.views.answers import speed_interval
from gnet_core.results.records import Row
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import milliseconds, number, percent

TURNS = Column[Row]("± turns", lambda row: number(row.turn_spread, "{:.1%}"))
_STEP = Column[Row]("ms a step", lambda row: milliseconds(row.step_seconds))
_MFU = Column[Row]("MFU", lambda row: number(row.mfu, "{:.1%}"))
_MEMORY = Column[Row]("peak GiB", lambda row: number(row.peak_memory_bytes and row.peak_memory_bytes / 2**30, "{:.2f}"))

SPEED = (
    Column[Row]("images/s", lambda row: number(row.images_per_second, "{:.1f}")),
    Column[Row]("95 % interval", speed_interval),
)
COST = (_STEP, _MFU, _MEMORY)
STEPS = (
    TURNS,
    _STEP,
    Column[Row]("p50 ms", lambda row: milliseconds(row.step_seconds_p50)),
    Column[Row]("p95 ms", lambda row: milliseconds(row.step_seconds_p95)),
    Column[Row]("of steps", lambda row: str(row.single_steps or "")),
)
START = (
    Column[Row]("trace s", lambda row: number(row.trace_seconds, "{:.1f}")),
    Column[Row]("compile s", lambda row: number(row.compile_seconds, "{:.1f}")),
    Column[Row]("first step s", lambda row: number(row.first_step_seconds, "{:.1f}")),
    _MEMORY,
)
OUTCOME = (
    Column[Row]("blocks", lambda row: f"{row.replicates}×{row.samples // row.replicates}" if row.samples else ""),
    Column[Row]("disturbed", lambda row: part(row.disturbed_turns, row.samples + row.voided_samples), text=True),
    Column[Row]("status", lambda row: row.status, text=True),
    Column[Row]("note", lambda row: row.note, text=True),
)
EXCHANGE = (
    Column[Row]("gradients MB", lambda row: number(row.gradient_bytes and row.gradient_bytes / 1e6, "{:.1f}")),
    Column[Row]("all-reduce ms", lambda row: milliseconds(row.all_reduce_seconds)),
    Column[Row]("bus GB/s", lambda row: number(row.bus_bytes_per_second and row.bus_bytes_per_second / 1e9, "{:.3g}")),
    Column[Row]("stragglers", lambda row: number(row.straggler_spread, "{:.1%}")),
)
FAILED = Column[Row]("status", lambda row: row.status if row.status != "ok" else "", text=True)


def comparison_columns(comparisons: Mapping[str, Comparison], base: str, quantity: str = "×") -> list[Column[Row]]:
    """The ratio, its interval, the verdict and the minimum detectable effect; none where nothing is compared."""
    if not comparisons:
        return []
    bases = {comparison.base for comparison in comparisons.values()}

    def shown(cell: Callable[[Comparison], str | Cell], of_base: str = "") -> Callable[[Row], str | Cell]:
        def cell_of_row(row: Row) -> str | Cell:
            if row.status == "ok" and row.case in comparisons:
                return cell(comparisons[row.case])
            return of_base if row.status == "ok" and row.case in bases else ""

        return cell_of_row

    return [
        Column(f"{quantity} {base}".rstrip(), shown(ratio, of_base="1")),
        Column(f"{interval_words(comparisons.values())} of {quantity}", shown(ratio_interval)),
        Column("verdict", shown(verdict), text=True),
        Column("detectable effect", shown(lambda comparison: percent(comparison.minimum_detectable_effect))),
    ]


def work_columns(rows: Sequence[Row]) -> list[Column[Row]]:
    """The arithmetic and the energy that the rows' images took, in the unit that suits the fastest."""
    most = max((row.gflop_per_second or 0.0 for row in rows), default=0.0)
    unit, gflop = ("TFLOP/s", 1000.0) if most >= 1000 else ("GFLOP/s", 1.0)
    return [
        Column(unit, lambda row: number(row.gflop_per_second and row.gflop_per_second / gflop, "{:.1f}")),
        _MFU,
        Column("images/J", lambda row: number(row.images_per_joule, "{:.2f}")),
    ]
