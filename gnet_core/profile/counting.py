"""How the time of a trace's operations was counted. Times of different countings cannot be compared as they are."""

from __future__ import annotations

from typing import Literal

Counting = Literal["kernels", "launched kernels", "graph operations", "eager operations", "compiled instructions"]

NOTES: dict[Counting, str] = {
    "kernels": "Self time of the device's kernels.",
    "launched kernels": "Self time of the device's kernels, each assigned to the eager operation that launched it.",
    "graph operations": "Wall time inside each operation on the CPU, what it hands to other threads included.",
    "eager operations": (
        "Wall time inside each operation on the CPU, TensorFlow's own dispatch included, Python's left out."
    ),
    "compiled instructions": (
        "Time of each compiled instruction on the CPU, summed over the threads that worked on it, under the name of "
        "the operation that XLA compiled it from. A fusion of several counts as the last of them, and a move between "
        "XLA's own layouts as a layout copy."
    ),
}
"""What a reader has to know of each."""

_EARLIER: dict[str, Counting] = {
    "Self time of the device's kernels, each counted to the eager operation that launched it.": "launched kernels",
    (
        "Time of each compiled instruction on the CPU, summed over the threads that worked on it, told by the "
        "operations that XLA made it from: a fusion of several counts as the last of them, and what XLA moves around "
        "between layouts of its own as a layout copy."
    ): "compiled instructions",
}
"""Notes of earlier versions, in other words."""


def counting_of(note: str) -> str:
    """The counting that a version without this field meant by its note; an unknown note is one of its own."""
    known = {**{text: counting for counting, text in NOTES.items()}, **_EARLIER}
    return known.get(note, note)
