"""What a report says of the GPU while it worked: clocks, power, throttling, and who had room in its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from gnet_core.report.grid import Column, Grid, grid
from gnet_core.results.gpu_summary import SETTLED, GpuSummary, Spread
from gnet_core.results.records import Row, Run
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import number


def lines(run: Run, sequential: Sequence[Comparison]) -> list[str]:
    """What the GPU was like while it worked, a sentence each; empty where nothing ran on one.

    `sequential` are the comparisons of processes that were not alive together.
    """
    if run.document.device == "cpu" or not run.processes:
        return []
    return [*_conditions_lines(run.gpu), *_memory_lines(run, sequential)]


def by_case(run: Run) -> Grid:
    """The same case by case."""

    def of(cell: Callable[[GpuSummary], str]) -> Callable[[Row], str]:
        return lambda row: cell(run.gpu_by_case[row.case])

    columns = [
        Column[Row]("case", lambda row: row.case, text=True),
        Column[Row]("W", of(lambda gpu: _spread(gpu.power_watts, 1, "{:.0f}"))),
        Column[Row]("GHz", of(lambda gpu: _spread(gpu.sm_clock_hz, 1e9, "{:.2f}"))),
        Column[Row]("°C", of(lambda gpu: _spread(gpu.temperature_celsius, 1, "{:.0f}"))),
        Column[Row]("at its limit", of(lambda gpu: number(gpu.power_cap_share, "{:.0%}"))),
        Column[Row]("images/J", lambda row: number(row.images_per_joule, "{:.2f}")),
        Column[Row]("not settled", of(lambda gpu: _of(gpu.unsettled_turns, gpu.settling_turns))),
        Column[Row]("also slowed by", of(lambda gpu: _in_turns(gpu.lowered_turns, gpu.turns)), text=True),
    ]
    return grid(columns, [row for row in run.rows if row.case in run.gpu_by_case], "the GPU while it worked")


def _conditions_lines(gpu: GpuSummary | None) -> list[str]:
    if gpu is None:
        return ["NVML told nothing of the GPU while it worked, so its clock, power and throttling are not known."]
    figures = {
        "drew": _spread(gpu.power_watts, 1, "{:.0f}", "W"),
        "ran at": _spread(gpu.sm_clock_hz, 1e9, "{:.2f}", "GHz"),
        "was at": _spread(gpu.temperature_celsius, 1, "{:.0f}", "°C"),
    }
    lines = []
    if told := [f"{verb} {figure}" for verb, figure in figures.items() if figure]:
        lines.append(
            f"While a block was timed the GPU {', '.join(told)}: the median of {gpu.turns} turns, and in parentheses "
            "the lowest and the highest."
        )
    if gpu.power_cap_share is not None:
        limit = _spread(gpu.power_limit_watts, 1, "{:.0f}", "W")
        of_watts = limit and f" of {limit}"
        lines.append(f"It ran at its power limit{of_watts} for {gpu.power_cap_share:.0%} of that time.")
    if gpu.lowered_turns:
        by = ", ".join(f"{reason} in {turns}" for reason, turns in gpu.lowered_turns.items())
        lines.append(f"What else lowered its clock, of {gpu.turns} turns: {by}.")
    if gpu.unsettled_turns:
        lines.append(
            f"In {gpu.unsettled_turns} of {gpu.settling_turns} turns its clock had not settled: in the block's first "
            f"quarter it was more than {SETTLED:.0%} off the rest's."
        )
    return lines


def _memory_lines(run: Run, sequential: Sequence[Comparison]) -> list[str]:
    """How its memory decided which workers were alive together, where any that are compared were not."""
    memory = run.document.gpu_memory
    if memory is None or not sequential:
        return []
    lines = []
    if memory.budget_bytes and memory.free_bytes:
        lines.append(
            f"Of the {memory.free_bytes / 2**30:.1f} GiB that were free of its memory "
            f"{memory.budget_bytes / 2**30:.1f} GiB were planned for workers that are alive together."
        )
    if memory.note:
        lines.append(f"{memory.note}.")
    started = Counter(worker for cohort in run.document.cohorts for worker in cohort.names)
    # A worker that was crowded out stands in two cohorts.
    crowded = dict.fromkeys(worker.case for worker, times in started.items() if times > 1)
    also = f"; crowded out by others and measured again alone: {', '.join(crowded)}" if crowded else ""
    names = ", ".join(dict.fromkeys(each.variant for each in sequential))
    lines.append(f"Comparisons are sequential where workers did not fit together: those of {names}{also}.")
    return lines


def _spread(figure: Spread | None, unit: float, shape: str, name: str = "") -> str:
    """The median, and the lowest and highest where they look different."""
    if figure is None:
        return ""
    median, low, high = (shape.format(each / unit) for each in (figure.median, figure.low, figure.high))
    return f"{median} {name}".rstrip() + (f" ({low}–{high})" if low != high else "")


def _in_turns(reasons: Mapping[str, int], turns: int) -> str:
    return ", ".join(f"{reason} {_of(times, turns)}" for reason, times in reasons.items())


def _of(some: int, of: int) -> str:
    return f"{some} of {of}" if some else ""
