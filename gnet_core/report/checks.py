"""What a report finds wrong with its own figures, a sentence each; none is hidden from the reader."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from gnet_core.results.comparisons import Family
from gnet_core.results.records import Row, Run

STATUSES = ("ok", "oom", "failed", "timeout", "unsupported")

MIN_LOW_PRECISION_SHARE = 0.5
"""Of its matrix work, what a mixed precision has to do in the lower one to be called by its name."""

MAX_WAITING_CPU_SHARE = 0.01
"""Of one processor. A worker that waits for its turn should take nothing of what the active one has."""


def failed_checks(run: Run, families: Sequence[Family]) -> list[str]:
    """What does not hold, a sentence each; empty where all is well."""
    found = list(_cases(run))
    for row in run.rows:
        if row.status == "ok":
            found += [
                f"{row.case}: {sentence}"
                for sentence in (*_figures(row), *_precision(run, row), *_losses(run, row), *_waiting(row))
            ]
    return [*found, *_comparisons(families)]


def _cases(run: Run) -> Iterator[str]:
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


def _figures(row: Row) -> Iterator[str]:
    percentiles = [row.step_seconds_p50, row.step_seconds_p95, row.step_seconds_p99]
    known = [value for value in percentiles if value is not None]
    if known != sorted(known):
        yield f"p50 ≤ p95 ≤ p99 does not hold: {', '.join(f'{value:.4g}' for value in known)} s."
    if row.images_per_second is None or row.step_seconds is None:
        yield "its status is ok, but it has no figures."
        return
    if not math.isclose(row.images_per_second, row.batch_size / row.step_seconds, rel_tol=1e-9):
        of_steps = row.batch_size / row.step_seconds
        yield f"{row.images_per_second:.4g} images/s are not batch size ÷ mean step, which is {of_steps:.4g}."
    if row.mfu is not None and row.mfu > 1:
        yield f"it did {row.mfu:.2f} times the FLOP/s of the best that was measured as the device's peak."
    yield from _interval("images/s", row.images_per_second_ci_low, row.images_per_second, row.images_per_second_ci_high)
    yield from _interval("the mean step", row.step_seconds_ci_low, row.step_seconds, row.step_seconds_ci_high)


def _precision(run: Run, row: Row) -> Iterator[str]:
    share = row.low_precision_share
    if row.precision.startswith("mixed_"):
        if share is None and run.configs[row.case].framework == "tensorflow":  # of others it cannot always be asked
            yield f"nothing shows whether its matrix work was done in {row.precision}."
        elif share is not None and share < MIN_LOW_PRECISION_SHARE:
            yield f"only {share:.0%} of its matrix work was done in a lower precision: it is {row.precision} by name."
    elif row.precision == "float32" and share:
        yield f"{share:.0%} of its matrix work was done in a lower precision: it is float32 by name."


def _losses(run: Run, row: Row) -> Iterator[str]:
    """A mixed precision that is compared with float32's speed has to be compared with its losses."""
    if row.precision.startswith("mixed_") and row.equal_work is None and run.configs[row.case].part == "train":
        yield "its losses were compared with no float32's; measure float32 beside it."


def _waiting(row: Row) -> Iterator[str]:
    share = row.waiting_cpu_share
    if share is not None and share > MAX_WAITING_CPU_SHARE:
        yield f"its processes used {share:.1%} of a processor while they waited, which disturbed the others' turns."


def _comparisons(families: Sequence[Family]) -> Iterator[str]:
    for family in families:
        for found in family.comparisons.values():
            for sentence in _interval("the ratio", found.low, found.ratio, found.high):
                yield f"{family.suite}, {found.variant}: {sentence}"


def _interval(what: str, low: float | None, estimate: float | None, high: float | None) -> Iterator[str]:
    # Limits and estimate come by different sums, so they may differ in their last digits.
    if low is not None and estimate is not None and high is not None:
        slack = 1e-9 * abs(estimate)
        if not low - slack <= estimate <= high + slack:
            yield f"the interval of {what}, {low:.4g}–{high:.4g}, does not hold its estimate of {estimate:.4g}."
