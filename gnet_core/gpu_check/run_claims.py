"""What a run, and one of PyTorch and JAX, say of the promises of the GPU side."""

from __future__ import annotations

import pandas as pd

from gnet_core.config import PEERS, PRECISIONS
from gnet_core.gpu_check.evidence import MAX_NAMED, Claims, Figure, Finding, Question, Seen
from gnet_core.plan.schedule import WorkerName
from gnet_core.results import comparisons, records
from gnet_core.results.gpu_summary import SETTLED
from gnet_core.results.records import Row, Run
from gnet_core.results.run_document import Size
from gnet_core.stats import losses as equal_work
from gnet_core.stats.verdicts import Comparison

MAX_GPU_DISTURBED_SHARE = 0.10
"""Of turns that count as disturbed for the GPU's own state; more would be how GPUs run."""


def _all_fit(seen: Seen) -> Finding:
    run = seen.run
    if run is None:
        return seen.missing("bench")
    lost = [f"{row.case} {row.status}" for row in run.rows if row.status not in ("ok", "unsupported")]
    cohorts = [set(cohort.names) for cohort in run.document.cohorts]
    crowded = sorted(
        worker
        for number, cohort in enumerate(cohorts)
        for worker in cohort
        if any(worker in each for each in cohorts[:number])
    )
    figures = (
        Figure("cases", len(run.rows), ""),
        Figure("processes", sum(row.replicates for row in run.rows), ""),
        Figure("alive together", max(map(len, cohorts), default=0), ""),
        *_share_planned(run, cohorts),
    )
    if lost or crowded:
        told = [*lost, *(f"{worker} crowded out" for worker in crowded)]
        return Finding("wrong", figures, ", ".join(told[:MAX_NAMED]))
    if run.unmeasured or not run.document.complete:
        return Finding("open", figures, seen.why_not.get("bench", "the run is not complete"))
    return Finding("confirmed", figures)


def _share_planned(run: Run, cohorts: list[set[WorkerName]]) -> list[Figure]:
    """What the largest cohort was planned with, of what was free of the GPU."""
    free = run.document.gpu_memory and run.document.gpu_memory.free_bytes
    sizes = {case.case: case.gpu_memory.taken_bytes for case in run.document.cases if isinstance(case.gpu_memory, Size)}
    planned = [sum(sizes.get(worker.case, 0) for worker in cohort) for cohort in cohorts]
    return [Figure("planned of what is free", max(planned) / free, "")] if free and any(planned) else []


def _sizes_hold(seen: Seen) -> list[Finding]:
    """How each case's size came about, and the most that any of its processes had in use, which it has to hold."""
    run = seen.run
    if run is None:
        return [seen.missing("bench")]
    sizes = {case.case: case.gpu_memory for case in run.document.cases if isinstance(case.gpu_memory, Size)}
    measured = [row for row in run.rows if row.status == "ok" and row.case in sizes]
    found = [_size_holds(row, sizes[row.case])._replace(of=row.case) for row in measured]
    return found or [Finding("open", because="no case of the run has a size")]


def _size_holds(row: Row, size: Size) -> Finding:
    used = row.peak_memory_bytes or 0
    figures = (Figure("planned", size.taken_bytes / 2**30, "GiB"), Figure("in use at most", used / 2**30, "GiB"))
    return Finding("confirmed" if used <= size.taken_bytes else "wrong", figures, f"known by: {size.origin}")


def _compared(suite: str, *confirmed: str, precision: str = "") -> Question:
    """A finding for each comparison of a suite, of one precision or of all, by its verdict."""

    def question(seen: Seen) -> list[Finding]:
        run, step = (seen.run, "bench") if suite == "precision" else (seen.executions, "bench execution")
        if run is None:
            return [seen.missing(step)]
        found = [
            _of_comparison(comparison, confirmed)._replace(of=case)
            for family in comparisons.within(run)
            if family.suite == suite
            for case, comparison in family.comparisons.items()
            if precision in ("", run.configs[case].precision)
        ]
        return found or [seen.missing(step)]

    return question


def _of_comparison(comparison: Comparison, confirmed: tuple[str, ...]) -> Finding:
    figures = tuple(
        Figure(name, value, "")
        for name, value in (("ratio", comparison.ratio), ("from", comparison.low), ("to", comparison.high))
        if value is not None
    )
    if comparison.verdict == "UNRESOLVED":
        return Finding("open", figures, comparison.reason)
    return Finding("confirmed" if comparison.verdict in confirmed else "wrong", figures, comparison.verdict)


def _losses_within(seen: Seen) -> Finding:
    """The largest deviation of each precision as a share of its tolerance, and which row has it."""
    if seen.run is None:
        return seen.missing("bench")
    run = seen.run
    case_of = {(run.configs[case], run.row_of[case].source): case for case in run.trajectories}
    shares: dict[str, float] = {}
    for case, trajectories in run.trajectories.items():
        config = run.configs[case]
        reference = records.float32_case(config, run.row_of[case].source, case_of)
        for losses in trajectories if reference not in (None, case) else ():
            share = equal_work.share_of_tolerance(losses, run.trajectories[str(reference)][0], config.precision)
            shares[config.precision] = max(share or 0.0, shares.get(config.precision, 0.0))
    figures = tuple(
        Figure(f"largest deviation ÷ tolerance in {precision}", shares[precision], "")
        for precision in PRECISIONS
        if precision in shares
    )
    outside = [row for row in run.rows if row.equal_work is False or not row.finite]
    if outside:
        return Finding("wrong", figures, ", ".join(f"{row.case}: {row.note}" for row in outside[:MAX_NAMED]))
    return Finding("confirmed", figures) if figures else Finding("open", because="no losses could be compared")


def _turns_told(seen: Seen) -> Finding:
    if seen.run is None or seen.turns.empty:
        return seen.missing("bench") if seen.run is None else Finding("open", because="the run has no turns")
    figures = tuple(
        Figure(column.removeprefix("gpu_").replace("_", " "), _told_share(seen.turns, column), "of turns")
        for column in _TURN_COLUMNS
    )
    return Finding("confirmed" if all(figure.value == 1 for figure in figures) else "wrong", figures)


_TURN_COLUMNS = (
    *("gpu_sm_clock_hz", "gpu_sm_clock_change", "gpu_power_watts", "gpu_power_limit_watts", "gpu_temperature_celsius"),
    *("gpu_power_cap_share", "gpu_energy_joules"),
)


def _told_share(turns: pd.DataFrame, column: str) -> float:
    if column not in turns:
        return 0.0
    return float(pd.to_numeric(turns[column], errors="coerce").notna().mean())


def _strangers_told(seen: Seen) -> Finding:
    """Not where the driver's numbers of processes are not the worker's, as in a container."""
    if seen.run is None or seen.turns.empty:
        return seen.missing("bench") if seen.run is None else Finding("open", because="the run has no turns")
    share = _told_share(seen.turns, "gpu_other_processes")
    if not share:
        return Finding("open", because="no worker is seen among the GPU's processes, as in a container")
    return Finding("confirmed" if share == 1 else "wrong", (Figure("told", share, "of turns"),))


def _turns_settle(seen: Seen) -> Finding:
    gpu = seen.run.gpu if seen.run else None
    if gpu is None:
        return seen.missing("bench") if seen.run is None else Finding("open", because=_NOT_READ)
    if not gpu.settling_turns:
        return Finding("open", because="no turn tells whether its clock had settled")
    share = gpu.unsettled_turns / gpu.settling_turns
    figures = (Figure("not settled", share, "of turns"), Figure("turns", gpu.settling_turns, ""))
    return Finding("confirmed" if share <= MAX_GPU_DISTURBED_SHARE else "wrong", figures)


_NOT_READ = "the GPU was read during no turn"


def _gpu_disturbs_few_turns(seen: Seen) -> Finding:
    if seen.run is None or seen.turns.empty:
        return seen.missing("bench") if seen.run is None else Finding("open", because="the run has no turns")
    reasons = seen.turns["disturbed"].fillna("")
    by_gpu = reasons[reasons.str.contains("GPU")]
    figures = (
        Figure("turns", len(reasons), ""),
        Figure("disturbed by the GPU's state", len(by_gpu) / len(reasons), "of turns"),
        Figure("disturbed by anything", float((reasons != "").mean()), "of turns"),
        *_at_the_power_limit(seen.run),
    )
    usual = ", ".join(map(str, by_gpu.value_counts().index[:MAX_NAMED]))
    return Finding("confirmed" if figures[1].value <= MAX_GPU_DISTURBED_SHARE else "wrong", figures, usual)


def _at_the_power_limit(run: Run) -> list[Figure]:
    if run.gpu is None or run.gpu.power_cap_share is None:
        return []
    return [Figure("of the blocks' time the power limit lowers clocks", run.gpu.power_cap_share, "")]


def _peers_measured(seen: Seen) -> list[Finding]:
    run = seen.frameworks
    if run is None:
        return [seen.missing("frameworks")]
    peers = [row for row in run.rows if run.configs[row.case].framework != "tensorflow"]
    return [_of_peer(row)._replace(of=row.case) for row in peers]


def _peers_see_the_gpu(seen: Seen) -> list[Finding]:
    run = seen.frameworks
    if run is None:
        return [seen.missing("frameworks")]
    found = []
    for framework in PEERS:
        environment = run.document.environment_of(framework)
        section = environment.section(framework)
        gpu = environment.gpu(seen.device, framework)
        if gpu is not None:
            finding = Finding("confirmed", because=gpu.name)
        elif section is None:
            finding = Finding("open", because=environment.load_error(framework) or "not installed")
        else:
            finding = Finding("wrong", because=getattr(section, "why_no_gpus", "") or "it does not say why")
        found.append(finding._replace(of=framework))
    return found


def _of_peer(row: Row) -> Finding:
    if row.status == "ok" and row.images_per_second:
        return Finding("confirmed", (Figure("speed", row.images_per_second, "images/s"),))
    return Finding("open" if row.status == "unsupported" else "wrong", because=row.note)


CLAIMS: Claims = (
    ("Every case of the run fits, beside those that it takes turns with", _all_fit),
    ("No process has more memory in use than its case was planned with", _sizes_hold),
    ("TF32 is off in float32: tf32 is faster", _compared("precision", "FASTER", precision="tf32")),
    ("mixed_bfloat16 is faster than float32", _compared("precision", "FASTER", precision="mixed_bfloat16")),
    ("The fused layers are not slower than Keras' own", _compared("implementation", "FASTER", "SAME")),
    ("Losses are float32's within the tolerances, which are a CPU's", _losses_within),
    ("Every turn tells the GPU's clock, power, temperature and energy", _turns_told),
    (f"In {1 - MAX_GPU_DISTURBED_SHARE:.0%} of the turns clocks have settled to within {SETTLED:.0%}", _turns_settle),
    ("NVML tells who else computes on the GPU", _strangers_told),
    (
        f"At most {MAX_GPU_DISTURBED_SHARE:.0%} of the turns count as disturbed for the GPU's own state",
        _gpu_disturbs_few_turns,
    ),
    ("The GPU is seen by PyTorch and JAX", _peers_see_the_gpu),
    ("PyTorch and JAX are measured beside TensorFlow", _peers_measured),
)
