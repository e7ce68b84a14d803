"""What a report says of a run besides its suites, as plain text, lists and grids for whichever form it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gnet_core.config import FRAMEWORKS
from gnet_core.machine import capabilities
from gnet_core.machine import environment as machine
from gnet_core.machine.capabilities import TITLES
from gnet_core.plan.request import command_line
from gnet_core.report.checks import failed_checks
from gnet_core.report.grid import Column, Grid, grid
from gnet_core.report.views.answers import DIFFERENT
from gnet_core.results.comparisons import within
from gnet_core.results.gpu_summary import SETTLED, GpuSummary, Spread
from gnet_core.results.records import Row, Run, requested
from gnet_core.results.run_document import Peak, best_peaks
from gnet_core.results.turns import TURNS_FILE
from gnet_core.stats.verdicts import DEFAULT_MARGIN, MIN_PROCESSES, POWER, Comparison
from gnet_core.text import number

TITLE = "The train step of GoogleNet_2"

MOST_DISTURBED = 0.2
"""Of a case's turns. Beyond that its figures are those of a machine that did something else as well."""

FILES = (
    ("cases.csv", "the figures of every case, for programs"),
    ("verdicts.csv", "the comparisons, for programs"),
    ("run.json", "machine, software, configuration, seed, order of turns, and what became of every case"),
    (TURNS_FILE, "what the machine was like during each turn"),
    ("raw/", "every sample, in pytest-benchmark's own files"),
    ("plots/", "the pictures as SVG"),
    ("traces/", "what the profiler recorded; TensorBoard's Profile page opens it: tensorboard --logdir traces"),
)
"""Of a run directory, and what they hold."""

_RATIOS = ("×", "SAME, FASTER, SLOWER, UNRESOLVED", "smallest effect", "sequential")
"""The terms of a comparison."""

HOW_TO_READ = (
    (
        "images/s",
        "The batch size over the mean step of all timed blocks. Its 95 % interval is where the mean of further "
        "processes like these would lie.",
    ),
    (
        "± turns",
        "The standard deviation of those blocks within a process, which says nothing about the next process.",
    ),
    ("p50, p95", "Of steps synchronised one by one; p95 only from 100 of them."),
    (
        "compile, first step",
        "Compile is the first call less a steady step, on a GPU with cuDNN's and XLA's timing of candidate kernels "
        "(autotuning); first step is from TensorFlow imported to the end of the first step.",
    ),
    (
        "×",
        "A ratio of images/s, taken turn by turn between processes that were alive together, so it need not be the "
        "quotient of the two figures.",
    ),
    (
        "SAME, FASTER, SLOWER, UNRESOLVED",
        f"SAME: the whole 95 % interval of the ratio is within {100 * DEFAULT_MARGIN:g} % of 1. FASTER, SLOWER: the "
        f"interval leaves out 1 and the estimate is more than {100 * DEFAULT_MARGIN:g} % away, at a false discovery "
        "rate of 5 % over the table. UNRESOLVED: neither can be said, which does not mean the same.",
    ),
    (
        "smallest effect",
        f"The smallest true difference that the comparison would have found {100 * POWER:g} % of the time.",
    ),
    (
        "sequential",
        "Of processes timed one after the other: the machine's weather is part of the ratio.",
    ),
    (
        "MFU",
        "The arithmetic of the network's layers over time, as a share of the fastest operation that the same run "
        "measured in the same precision.",
    ),
)
"""Terms of the tables, and what they mean."""

HOW_TO_READ_RATIOS = tuple((term, meaning) for term, meaning in HOW_TO_READ if term in _RATIOS)


def files(run: Run) -> list[tuple[str, str]]:
    """Those of FILES that are there, or are written with the report."""
    written = ("cases.csv", "verdicts.csv")
    return [(name, told) for name, told in FILES if name in written or (run.directory / name).exists()]


class Standing(NamedTuple):
    """Whether a run's figures may be quoted."""

    quotable: bool
    point: str
    rest: list[str]
    """The reasons against it, or what to say beside the figures; parts of a sentence."""


def machine_line(run: Run) -> str:
    """The machine and what was measured on it, each framework with its version, in one line."""
    document = run.document
    label = machine.label(document.environment, document.device)
    measured = {config.framework for config in run.configs.values()} or {capabilities.leading(document.environment)}
    frameworks = [each for each in FRAMEWORKS if each in measured]
    told = [capabilities.versions(document.environment_of(each), [each]) for each in frameworks]
    return ", ".join(filter(None, [label, *told]))


def asked_line(run: Run) -> str:
    """What was asked of the machine, and when."""
    document = run.document
    version = document.environment["machine"]["packages"].get("gnet", machine.UNKNOWN)
    processes = "1 process" if document.replicates == 1 else f"{document.replicates} processes"
    configs = run.configs.values()
    sizes = " and ".join(f"{size}×{size}" for size in sorted({config.image_size for config in configs}))
    images = f"images of {sizes}, " if sizes else ""
    return (
        f"Preset {document.preset}, {processes} a case, {images}seed {document.seed}, "
        f"started {document.created}, gnet {version}"
    )


def command(run: Run) -> str:
    """What measures all of the run again."""
    return command_line(requested(run.document))


def commands(run: Run) -> Grid:
    """What measures each row again."""
    columns = [
        Column[Row]("case", lambda row: row.case, text=True),
        Column[Row]("command", lambda row: row.command, text=True),
    ]
    return grid(columns, run.rows, "the command that measures a row again")


def standing(run: Run) -> Standing:
    """Whether the run's figures may be quoted, and if not, why."""
    if why := reservations(run):
        return Standing(False, "Do not quote these figures:", why)
    beside = ["each with its machine, its configuration and its interval"]
    if sequential := _sequential(run):
        are = "comparison is" if len(sequential) == 1 else "comparisons are"
        beside.append(f"{len(sequential)} {are} sequential: say so beside the ratio")
    return Standing(True, "These figures may be quoted", beside)


def _sequential(run: Run) -> list[Comparison]:
    found = (each for family in within(run) for each in family.comparisons.values())
    return [each for each in found if each.mode == "sequential"]


def reservations(run: Run) -> list[str]:
    """Every reason against quoting the run's figures. (That no A/A comparison was run is none.)"""
    measured = [row for row in run.rows if row.status == "ok"]
    why = []
    if run.document.preset == "smoke":
        why.append("the preset smoke only shows that everything works, it measures nothing")
    if not run.document.complete:
        why.append("the run was interrupted")
    if not measured:
        why.append("nothing was measured")
    elif (fewest := min(row.replicates for row in measured)) < MIN_PROCESSES:
        processes = "one process" if fewest == 1 else f"{fewest} processes"
        why.append(f"they rest on {processes} a case, so how far the next process would differ is unknown")
    return [*why, *_reservations_of_rows(measured), *_reservations_of_verdicts(run)]


def _reservations_of_rows(measured: list[Row]) -> list[str]:
    doubts = {
        "a loss was not finite, and speed counts only at equal work": lambda row: not row.finite,
        "other losses than float32's, and speed counts only at equal work": lambda row: row.equal_work is False,
        "every step was delayed to test the suite": lambda row: row.delay_seconds,
        "no steady state, its time still changed over the run": lambda row: row.drift is not None,
        f"more than {MOST_DISTURBED:.0%} of its turns were disturbed": _disturbed,
    }
    found = {why: [row.case for row in measured if applies(row)] for why, applies in doubts.items()}
    return [f"{why} ({_listed(cases)})" for why, cases in found.items() if cases]


def _reservations_of_verdicts(run: Run) -> list[str]:
    why = []
    for family in within(run):
        if family.identical_code:
            odd = [each for each in family.comparisons.values() if each.verdict in DIFFERENT]
            why += [f"identical code against itself came out {each.verdict}" for each in odd]
    if broken := failed_checks(run):
        why.append(f"{len(broken)} of the report's own checks failed, of which the first: {broken[0].rstrip('.')}")
    return why


def _disturbed(row: Row) -> bool:
    return row.disturbed_turns > MOST_DISTURBED * (row.samples + row.voided_samples)


def _listed(cases: list[str], most: int = 3) -> str:
    more = f" and {len(cases) - most} more" if len(cases) > most else ""
    return ", ".join(cases[:most]) + more


def environment(run: Run) -> Grid:
    """The run's identity, the machine and its software."""
    columns = [
        Column[tuple[str, str]]("what", lambda line: line[0], text=True),
        Column[tuple[str, str]]("value", lambda line: str(line[1]), text=True),
    ]
    document = run.document
    lines = [("run", run.identity), *machine.as_lines(document.environment)]
    for framework in document.own_interpreters:
        of_peer = document.environment_of(framework)
        lines += capabilities.lines_of_peers(of_peer, [framework], where=" of its own interpreter")
    return grid(columns, lines, "environment")


def caveats(run: Run) -> list[str]:
    """What about the machine would make a careful reader doubt figures, a sentence each."""
    doubts = machine.warnings(run.document.environment)
    if any(row.device != "cpu" and row.equal_work is not None for row in run.rows):
        doubts.append(
            "How far losses may be from float32's has been measured on a CPU and not yet on a GPU, so a row that is "
            "within tolerance, or is not, says less here."
        )
    return doubts


def environment_differences(run: Run) -> list[tuple[str, list[str]]]:
    """In what the environments of the run's other sources differ from the first one's: a heading and lines, each."""
    peers: dict[str, str] = {each: TITLES[each] for each in run.document.own_interpreters}
    named = list(run.document.environments.items())
    found = []
    for name, other in named[1:]:
        first, base = named[0]
        told = f"{peers[name]}'s own interpreter" if name in peers else name
        if differing := machine.differences(base, other):
            found.append((f"From {first or 'the first'} to {told} these differ:", list(map(str, differing))))
    return found


def peaks(run: Run) -> Grid:
    """The best of the run's passes by precision, which MFU is a share of; no row where none was measured."""
    columns = [
        Column[tuple[str, Peak]]("precision", lambda each: each[0], text=True),
        Column[tuple[str, Peak]]("TFLOP/s", lambda each: f"{each[1].flop_per_second / 1e12:.3g}"),
        Column[tuple[str, Peak]]("fastest operation", lambda each: each[1].operation, text=True),
    ]
    return grid(columns, list(best_peaks(run.document.peaks).items()), "the device's peaks")


def gpu_lines(run: Run) -> list[str]:
    """What the GPU was like while it worked, a sentence each; empty where nothing ran on one."""
    if run.document.device == "cpu" or not run.processes:
        return []
    return [*_conditions_lines(run.gpu), *_memory_lines(run)]


def _memory_lines(run: Run) -> list[str]:
    """How its memory decided which workers were alive together, where any that are compared were not."""
    memory, sequential = run.document.gpu_memory, _sequential(run)
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


def gpu_cases(run: Run) -> Grid:
    """The same of each case."""

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


def failed_peaks(run: Run) -> list[str]:
    """What went wrong where the device's peaks were to be measured, each once."""
    errors = [str(found["error"]) for found in run.document.peaks if "error" in found]
    return [f"A measurement of the device's peaks failed: {error}" for error in dict.fromkeys(errors)]


def unmeasured(run: Run) -> list[tuple[str, str]]:
    """What was not measured, and why."""
    told = [(row.case, f"{row.status}, {row.note}") for row in run.rows if row.status != "ok"]
    told += run.unmeasured
    if note := run.document.profile_note:
        told.append(("a trace", note))
    elif requested(run.document).profile and not run.document.complete and not run.profiles:
        told.append(("a trace", "the run was interrupted before it was taken"))
    return told
