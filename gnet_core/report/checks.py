"""A report's checks on its own figures. One that fails is a sentence, and none is hidden from the reader."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from gnet_core.results.comparisons import Family
from gnet_core.results.records import Row, Run

STATUSES = ("ok", "oom", "failed", "timeout", "unsupported")

MIN_LOW_PRECISION_SHARE = 0.5
"""Share of its matrix work that a mixed precision has to do in the lower one to deserve its name."""

MAX_WAITING_CPU_SHARE = 0.01
"""Share of one processor. A worker that waits for its turn should take nothing from the active one."""


def failed_checks(run: Run, families: Sequence[Family]) -> list[str]:
    """A sentence for each check of the figures that fails; empty where all is well."""
    failed = list(_check_cases(run))
    for row in run.rows:
        if row.status == "ok":
            failed += [f"{row.case}: {text}" for text in (*_check_figures(row), *_check_waiting(row))]
    for family in families:
        for comparison in family.comparisons.values():
            interval = _check_interval("the ratio", comparison.low, comparison.ratio, comparison.high)
            failed += [f"{family.suite}, {comparison.variant}: {text}" for text in interval]
    return failed


def unproven_work(run: Run) -> list[tuple[str, str]]:
    """Cases of which it is not known that they did the work of their names, each with a sentence that says why. They
    speak against themselves alone.
    """
    return [(row.case, text) for row in run.rows if row.status == "ok" for text in _check_work(run, row)]


def _check_cases(run: Run) -> Iterator[str]:
    """Every configured case stands once in run.json and has a status, or in words why it has none."""
    cases = run.document.cases
    for name, times in Counter(case.case for case in cases).items():
        if times > 1:
            yield f"{name}: run.json has the case {times} times; it has to be there once."
    for case in cases:
        if case.status is None and run.document.complete and not case.note:
            yield f"{case.case}: the run is complete, but the case has neither a status nor a reason."
        elif case.status is not None and case.status not in STATUSES:
            yield f"{case.case}: its status is {case.status!r:.40}; it has to be one of {', '.join(STATUSES)}."


def _check_figures(row: Row) -> Iterator[str]:
    percentiles = [row.step_seconds_p50, row.step_seconds_p95, row.step_seconds_p99]
    known = [value for value in percentiles if value is not None]
    if known != sorted(known):
        yield f"p50 ≤ p95 ≤ p99 does not hold: {', '.join(f'{value:.4g}' for value in known)} s."
    if row.images_per_second is None or row.step_seconds is None:
        yield "its status is ok, but it has no figures."
        return
    quotient = row.batch_size / row.step_seconds
    if not math.isclose(row.images_per_second, quotient, rel_tol=1e-9):
        yield f"{row.images_per_second:.4g} images/s are not batch size ÷ mean step, which is {quotient:.4g}."
    if row.mfu is not None and row.mfu > 1:
        yield f"it did {row.mfu:.2f} times the FLOP/s of the best that was measured as the device's peak."
    low, high = row.images_per_second_ci_low, row.images_per_second_ci_high
    yield from _check_interval("images/s", low, row.images_per_second, high)
    yield from _check_interval("the mean step", row.step_seconds_ci_low, row.step_seconds, row.step_seconds_ci_high)


def _check_work(run: Run, row: Row) -> Iterator[str]:
    """Whether it did the work of its precision, and was compared with float32's losses."""
    share, config = row.low_precision_share, run.configs[row.case]
    mixed = config.compute_dtype != "float32" and config.part != "input"
    if mixed and share is None and config.framework == "tensorflow":  # other frameworks cannot always report it
        yield f"nothing shows whether its matrix work was done in {row.precision}."
    elif mixed and share is not None and share < MIN_LOW_PRECISION_SHARE:
        yield f"only {share:.0%} of its matrix work was done in a lower precision: it is {row.precision} by name."
    elif row.precision == "float32" and share:
        yield f"{share:.0%} of its matrix work was done in a lower precision: it is float32 by name."
    if mixed and row.equal_work is None and config.part == "train":
        yield "its losses were compared with no float32's; measure float32 beside it."


def _check_waiting(row: Row) -> Iterator[str]:
    """Whether it let the others work while it waited."""
    waiting = row.waiting_cpu_share
    if waiting is not None and waiting > MAX_WAITING_CPU_SHARE:
        yield f"its processes used {waiting:.1%} of a processor while they waited, which disturbed the others' turns."


def _check_interval(what: str, low: float | None, estimate: float | None, high: float | None) -> Iterator[str]:
    # Limits and estimate come by different sums, so they may differ in their last digits.
    if low is not None and estimate is not None and high is not None:
        slack = 1e-9 * abs(estimate)
        if not low - slack <= estimate <= high + slack:
            yield f"the interval of {what}, {low:.4g}–{high:.4g}, does not hold its estimate of {estimate:.4g}."
