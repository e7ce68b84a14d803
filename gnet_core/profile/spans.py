"""Spans of a trace's threads: which one lies inside which, and how much of its time is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROUNDING = 0.002
"""Microseconds. xprof cuts times to nanoseconds, so that a nested span may seem to end later than the one around it."""


def nested(spans: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[int | None]]:
    """For each span, in the order received: the microseconds of its own, which are its duration less that of the spans
    directly inside it on the same thread, and the index of the innermost span around it.

    A span has `tid`, and `ts` and `dur` in microseconds.
    """
    own: list[float] = [span["dur"] for span in spans]
    parents: list[int | None] = [None] * len(spans)
    enclosing: list[int] = []
    for index in sorted(range(len(spans)), key=lambda i: (spans[i]["tid"], spans[i]["ts"], -spans[i]["dur"])):
        span = spans[index]
        while enclosing and not lasts_until(spans[enclosing[-1]], span["tid"], span["ts"] + span["dur"]):
            enclosing.pop()
        if enclosing:
            parents[index] = enclosing[-1]
            own[enclosing[-1]] -= span["dur"]
        enclosing.append(index)
    return own, parents


def lasts_until(span: Mapping[str, Any], thread: int, moment: float) -> bool:
    """Whether a span that began earlier goes on until that moment, in microseconds, on that thread."""
    return bool(span["tid"] == thread and moment <= span["ts"] + span["dur"] + ROUNDING)
