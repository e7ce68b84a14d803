"""JSON for github-action-benchmark's tool `customBiggerIsBetter`: images/s, a figure a case (its `src/extract.ts`)."""

from __future__ import annotations

import json

import msgspec
from msgspec import UNSET, UnsetType

from gnet_core.export.cases import Case, Export
from gnet_core.text import plain


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A figure as the action's interface `BenchmarkResult` has it."""

    name: str
    unit: str
    value: float
    range: str | UnsetType = UNSET
    """The 95 % interval, which the action shows beside the value and does not calculate with. It is no ±, since an
    interval on logarithms is not symmetric."""
    extra: str
    """Lines for the tooltip of a point."""


def to_text(export: Export) -> str:
    """The figures of all cases that have one; what failed is absent, as the action knows no null."""
    entries = [_entry(export, case) for case in export.measured]
    return json.dumps(msgspec.to_builtins(entries), indent=1, allow_nan=False) + "\n"


def _entry(export: Export, case: Case) -> Entry:
    row = case.row
    assert row.images_per_second is not None  # of a case that has figures
    low, high = row.images_per_second_ci_low, row.images_per_second_ci_high
    lines = [f"machine: {export.machine}", f"framework: {case.framework}", f"processes: {row.replicates}"]
    lines += [f"status: {row.status}", *([f"note: {plain(row.note)}"] if row.note else [])]
    return Entry(
        name=row.case,
        unit="images/s",
        value=row.images_per_second,
        range=UNSET if low is None or high is None else f"{_short(low)}–{_short(high)}",
        extra="\n".join(lines),
    )


def _short(speed: float) -> str:
    """Four digits, or all of a whole number of images."""
    return f"{speed:.0f}" if speed >= 1000 else f"{speed:.4g}"
