"""The GPU while it worked, in a report: clocks, power, throttling, and who had room in its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from gnet_core.report.grid import Column, Grid, grid, part
from gnet_core.results.gpu_summary import SETTLED, GpuSummary, Spread
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import number


def lines(run: Run, sequential: Sequence[Comparison]) -> list[str]:
    """The GPU's conditions and which comparisons they made `sequential`, a sentence each; empty on a CPU."""
    if run.document.device == "cpu" or not run.processes:
        return []
    return [*_conditions(run.gpu), *_memory(run, sequential)]


def by_case(run: Run) -> Grid:
    """The GPU's conditions case by case."""

    def of_gpu(cell: Callable[[GpuSummary], str]) -> Callable[[Row], str]:
        return lambda row: cell(run.gpu_by_case[row.case])

    def lowered(gpu: GpuSummary) -> str:
        return ", ".join(f"{reason} {part(times, gpu.turns)}" for reason, times in gpu.lowered_turns.items())

    columns = [
        Column[Row]("case", lambda row: row.case, text=True),
        Column[Row]("W", of_gpu(lambda gpu: _spread(gpu.power_watts, 1, "{:.0f}"))),
        Column[Row]("GHz", of_gpu(lambda gpu: _spread(gpu.sm_clock_hz, 1e9, "{:.2f}"))),
        Column[Row]("°C", of_gpu(lambda gpu: _spread(gpu.temperature_celsius, 1, "{:.0f}"))),
        Column[Row]("at its limit", of_gpu(lambda gpu: number(gpu.power_cap_share, "{:.0%}"))),
        Column[Row]("images/J", lambda row: number(row.images_per_joule, "{:.2f}")),
        Column[Row]("not settled", of_gpu(lambda gpu: part(gpu.unsettled_turns, gpu.settling_turns))),
        Column[Row]("also slowed by", of_gpu(lowered), text=True),
    ]
    return grid(columns, [row for row in run.rows if row.case in run.gpu_by_case], "the GPU while it worked")


def _conditions(gpu: GpuSummary | None) -> list[str]:
    if gpu is None:
        return ["NVML told nothing of the GPU while it worked, so its clock, power and throttling are not known."]
    figures = {
        "drew": _spread(gpu.power_watts, 1, "{:.0f}", "W"),
        "ran at": _spread(gpu.sm_clock_hz, 1e9, "{:.2f}", "GHz"),
        "was at": _spread(gpu.temperature_celsius, 1, "{:.0f}", "°C"),
    }
    sentences = []
    if known := ", ".join(f"{verb} {figure}" for verb, figure in figures.items() if figure):
        sentences.append(
            f"While a block was timed the GPU {known}: the median of {gpu.turns} turns, and in parentheses the lowest "
            "and the highest."
        )
    if gpu.power_cap_share is not None:
        limit = _spread(gpu.power_limit_watts, 1, "{:.0f}", "W")
        of_limit = limit and f" of {limit}"
        sentences.append(f"It ran at its power limit{of_limit} for {gpu.power_cap_share:.0%} of that time.")
    if gpu.lowered_turns:
        reasons = ", ".join(f"{reason} in {turns}" for reason, turns in gpu.lowered_turns.items())
        sentences.append(f"What else lowered its clock, of {gpu.turns} turns: {reasons}.")
    if gpu.unsettled_turns:
        sentences.append(
            f"In {gpu.unsettled_turns} of {gpu.settling_turns} turns its clock had not settled: in the block's first "
            f"quarter it was more than {SETTLED:.0%} off the rest's."
        )
    return sentences


def _memory(run: Run, sequential: Sequence[Comparison]) -> list[str]:
    """How its memory decided which workers were alive together, where any that are compared were not."""
    memory = run.document.gpu_memory
    if memory is None or not sequential:
        return []
    sentences = []
    if memory.budget_bytes and memory.free_bytes:
        sentences.append(
            f"Of the {memory.free_bytes / 2**30:.1f} GiB that were free of its memory "
            f"{memory.budget_bytes / 2**30:.1f} GiB were planned for workers that are alive together."
        )
    if memory.note:
        sentences.append(f"{memory.note}.")
    started = Counter(worker for cohort in run.document.cohorts for worker in cohort.names)
    # A worker that was crowded out stands in two cohorts.
    crowded = dict.fromkeys(worker.case for worker, times in started.items() if times > 1)
    also = f"; crowded out by others and measured again alone: {', '.join(crowded)}" if crowded else ""
    names = ", ".join(dict.fromkeys(comparison.variant for comparison in sequential))
    return [*sentences, f"Comparisons are sequential where workers did not fit together: those of {names}{also}."]


def _spread(figure: Spread | None, unit: float, shape: str, name: str = "") -> str:
    """The median, and the lowest and highest where they look different."""
    if figure is None:
        return ""
    median, low, high = (shape.format(value / unit) for value in (figure.median, figure.low, figure.high))
    return f"{median} {name}".rstrip() + (f" ({low}–{high})" if low != high else "")
