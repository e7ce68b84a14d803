"""What the runs of a check show of the promises of the GPU side: of the precisions, executions, PyTorch and JAX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from gnet_core.config import PEERS, PRECISIONS
from gnet_core.gpu_check.evidence import MAX_NAMED, Claims, Figure, Finding, OpenError, Question, Seen, judged
from gnet_core.results import comparisons, records
from gnet_core.results.gpu_summary import SETTLED
from gnet_core.results.records import Run
from gnet_core.results.run_document import Size
from gnet_core.stats import losses as equal_work

CLAIMS = Claims()

MAX_GPU_DISTURBED_SHARE = 0.10
"""Share of the turns that count as disturbed for the GPU's own state; with more it would be how GPUs run."""


@CLAIMS.of_all("Every case of the run fits, beside those that it takes turns with")
def _all_fit(seen: Seen) -> Finding:
    run: Run = seen.result("bench")
    lost = [f"{row.case} {row.status}" for row in run.rows if row.status not in ("ok", "unsupported")]
    cohorts = [set(cohort.names) for cohort in run.document.cohorts]
    alive = Counter(worker for cohort in cohorts for worker in cohort)
    lost += [f"{worker} crowded out" for worker, times in sorted(alive.items()) if times > 1]
    figures = [
        Figure("cases", len(run.rows)),
        Figure("processes", sum(row.replicates for row in run.rows)),
        Figure("alive together", max(map(len, cohorts), default=0)),
    ]
    sizes = _planned_sizes(seen)
    taken = [sum(sizes[worker.case].taken_bytes for worker in cohort if worker.case in sizes) for cohort in cohorts]
    planned = max(taken, default=0)
    if planned and (memory := run.document.gpu_memory) and memory.free_bytes:
        figures.append(Figure("planned of what is free", planned / memory.free_bytes))
    if not lost and (run.unmeasured or not run.document.complete):
        raise OpenError(seen.why_not.get("bench", "the run is not complete"), *figures)
    return judged(not lost, *figures, because=", ".join(lost[:MAX_NAMED]))


def _planned_sizes(seen: Seen) -> dict[str, Size]:
    """By case, the memory that each of its processes was planned with."""
    run: Run = seen.result("bench")
    return {case.case: case.gpu_memory for case in run.document.cases if isinstance(case.gpu_memory, Size)}


@CLAIMS.of_all("No process has more memory in use than its case was planned with")
def _sizes_hold(seen: Seen) -> Iterator[Finding]:
    if not (sizes := _planned_sizes(seen)):
        raise OpenError("no case of the run has a size")
    run: Run = seen.result("bench")
    for row in run.rows:
        if row.status == "ok" and row.case in sizes:
            size, used = sizes[row.case], row.peak_memory_bytes or 0
            figures = Figure("planned", size.taken_bytes / 2**30, "GiB"), Figure("in use at most", used / 2**30, "GiB")
            yield judged(used <= size.taken_bytes, *figures, because=f"known by: {size.origin}", subject=row.case)


def _compared(suite: str, *verdicts: str, precision: str = "") -> Question:
    """A finding for each comparison of a suite, of one precision or of all; it is confirmed by one of the verdicts."""

    def question(seen: Seen) -> Iterator[Finding]:
        run: Run = seen.result("bench" if suite == "precision" else "bench execution")
        for family in comparisons.within(run):
            for case, comparison in family.comparisons.items() if family.suite == suite else ():
                if precision not in ("", run.configs[case].precision):
                    continue
                bounds = {"ratio": comparison.ratio, "from": comparison.low, "to": comparison.high}
                figures = tuple(Figure(name, value) for name, value in bounds.items() if value is not None)
                if comparison.verdict == "UNRESOLVED":
                    yield Finding("open", figures, comparison.reason, case)
                else:
                    yield judged(comparison.verdict in verdicts, *figures, because=comparison.verdict, subject=case)

    return question


CLAIMS += [
    ("TF32 is off in float32: tf32 is faster", _compared("precision", "FASTER", precision="tf32")),
    ("mixed_bfloat16 is faster than float32", _compared("precision", "FASTER", precision="mixed_bfloat16")),
    ("The fused layers are not slower than Keras' own", _compared("implementation", "FASTER", "SAME")),
]


@CLAIMS.of_all("Losses are float32's within the tolerances, which are a CPU's")
def _losses_within(seen: Seen) -> Finding:
    """Shows the largest deviation of each precision as a share of its tolerance."""
    run: Run = seen.result("bench")
    case_of = {(run.configs[case], run.row_of[case].source): case for case in run.trajectories}
    shares: dict[str, float] = {}
    for case, trajectories in run.trajectories.items():
        config = run.configs[case]
        reference = records.float32_case(config, run.row_of[case].source, case_of)
        for losses in trajectories if reference not in (None, case) else ():
            share = equal_work.share_of_tolerance(losses, run.trajectories[str(reference)][0], config.precision)
            shares[config.precision] = max(share or 0.0, shares.get(config.precision, 0.0))
    figures = [
        Figure(f"largest deviation ÷ tolerance in {precision}", shares[precision])
        for precision in PRECISIONS
        if precision in shares
    ]
    outside = [f"{row.case}: {row.note}" for row in run.rows if row.equal_work is False or not row.finite]
    if not outside and not figures:
        raise OpenError("no losses could be compared")
    return judged(not outside, *figures, because=", ".join(outside[:MAX_NAMED]))


@CLAIMS.of_all("Every turn tells the GPU's clock, power, temperature and energy")
def _turns_measured(seen: Seen) -> Finding:
    turns = seen.turns_of_run()
    figures = [
        Figure(column.removeprefix("gpu_").replace("_", " "), _share_with_number(turns, column), "of turns")
        for column in (
            *("gpu_sm_clock_hz", "gpu_sm_clock_change", "gpu_power_watts", "gpu_power_limit_watts"),
            *("gpu_temperature_celsius", "gpu_power_cap_share", "gpu_energy_joules"),
        )
    ]
    return judged(all(figure.value == 1 for figure in figures), *figures)


def _share_with_number(turns: pd.DataFrame, column: str) -> float:
    if column not in turns:
        return 0.0
    return float(pd.to_numeric(turns[column], errors="coerce").notna().mean())


@CLAIMS.of_all("NVML tells who else computes on the GPU")
def _strangers_counted(seen: Seen) -> Finding:
    share = _share_with_number(seen.turns_of_run(), "gpu_other_processes")
    if not share:
        raise OpenError("no worker is seen among the GPU's processes, as in a container")
    return judged(share == 1, Figure("told", share, "of turns"))


@CLAIMS.of_all(f"In {1 - MAX_GPU_DISTURBED_SHARE:.0%} of the turns clocks have settled to within {SETTLED:.0%}")
def _turns_settle(seen: Seen) -> Finding:
    run: Run = seen.result("bench")
    if (gpu := run.gpu) is None:
        raise OpenError("the GPU was read during no turn")
    if not gpu.settling_turns:
        raise OpenError("no turn tells whether its clock had settled")
    share = gpu.unsettled_turns / gpu.settling_turns
    figures = Figure("not settled", share, "of turns"), Figure("turns", gpu.settling_turns)
    return judged(share <= MAX_GPU_DISTURBED_SHARE, *figures)


@CLAIMS.of_all(f"At most {MAX_GPU_DISTURBED_SHARE:.0%} of the turns count as disturbed for the GPU's own state")
def _gpu_disturbs_few_turns(seen: Seen) -> Finding:
    run: Run = seen.result("bench")
    reasons = seen.turns_of_run()["disturbed"].fillna("")
    by_gpu = reasons[reasons.str.contains("GPU")]
    share = len(by_gpu) / len(reasons)
    figures = [
        Figure("turns", len(reasons)),
        Figure("disturbed by the GPU's state", share, "of turns"),
        Figure("disturbed by anything", float((reasons != "").mean()), "of turns"),
    ]
    if run.gpu is not None and run.gpu.power_cap_share is not None:
        figures.append(Figure("of the blocks' time the power limit lowers clocks", run.gpu.power_cap_share))
    usual = ", ".join(map(str, by_gpu.value_counts().index[:MAX_NAMED]))
    return judged(share <= MAX_GPU_DISTURBED_SHARE, *figures, because=usual)


@CLAIMS.of_all("PyTorch and JAX are measured beside TensorFlow")
def _peers_measured(seen: Seen) -> Iterator[Finding]:
    run: Run = seen.result("frameworks")
    for row in run.rows:
        if run.configs[row.case].framework == "tensorflow":
            continue
        if row.status == "unsupported":
            yield Finding("open", because=row.note, subject=row.case)
        elif row.status == "ok" and row.images_per_second:
            yield judged(True, Figure("speed", row.images_per_second, "images/s"), subject=row.case)
        else:
            yield judged(False, because=row.note, subject=row.case)


@CLAIMS.of_all("The GPU is seen by PyTorch and JAX")
def _peers_see_the_gpu(seen: Seen) -> Iterator[Finding]:
    run: Run = seen.result("frameworks")
    for framework in PEERS:
        environment = run.document.environment_of(framework)
        section = environment.section(framework)
        gpu = environment.gpu(seen.device, framework)
        if section is None:
            why = environment.load_error(framework) or "not installed"
            yield Finding("open", because=why, subject=framework)
        else:
            because = gpu.name if gpu else getattr(section, "why_no_gpus", "") or "it does not say why"
            yield judged(gpu is not None, because=because, subject=framework)
