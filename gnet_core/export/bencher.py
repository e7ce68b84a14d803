"""Bencher Metric Format, for `bencher run --adapter json` (bencher.dev/docs/reference/bencher-metric-format)."""

from __future__ import annotations

import json

import msgspec
from msgspec import UNSET, UnsetType

from gnet_core.export.cases import Export
from gnet_core.results.records import Row

_NANOSECONDS = 1e9


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A value with its 95 % interval, where there is one."""

    value: float
    lower_value: float | UnsetType = UNSET
    upper_value: float | UnsetType = UNSET


def to_text(export: Export) -> str:
    """The measures of all cases that have figures; what failed is absent, as a metric has to have a value."""
    benchmarks = {case.row.case: _measures(case.row) for case in export.measured}
    return json.dumps(msgspec.to_builtins(benchmarks), indent=1, allow_nan=False) + "\n"


def _measures(row: Row) -> dict[str, Metric]:
    """By measure. `throughput` (operations/s) and `latency` (ns) are built into every project of Bencher's: here the
    operation is an image, and the latency is a step's. The others are made when they first come, so their names have
    their units.
    """
    measures = {
        "throughput": _metric(row.images_per_second, row.images_per_second_ci_low, row.images_per_second_ci_high),
        "latency": _metric(row.step_seconds, row.step_seconds_ci_low, row.step_seconds_ci_high, _NANOSECONDS),
        "first-step-seconds": _metric(row.first_step_seconds),
        "peak-memory-bytes": _metric(row.peak_memory_bytes),
    }
    return {name: metric for name, metric in measures.items() if metric is not None}


def _metric(
    value: float | None, low: float | None = None, high: float | None = None, scale: float = 1
) -> Metric | None:
    if value is None:
        return None
    return Metric(value=value * scale, lower_value=_bound(low, scale), upper_value=_bound(high, scale))


def _bound(bound: float | None, scale: float) -> float | UnsetType:
    return UNSET if bound is None else bound * scale
