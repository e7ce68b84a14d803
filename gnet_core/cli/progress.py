"""How far a run is, on stderr: redrawn in place in a terminal, and elsewhere a line for each thing that it begins."""

from __future__ import annotations

import contextlib
import math
import re
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from tqdm import tqdm

from gnet_core.results.run_document import Look, LookAtComparison, RunDocument
from gnet_core.text import plain

MAX_LINES = 10
"""Comparisons of which each has a line. Of more, the counts say more than lines that scroll away."""


class Progress(Protocol):
    """Hears of a run what gnet_core.run.runner.Runner tells."""

    def advance(self, what: str, seconds: float) -> None:
        """Work that is being done, and the seconds' worth of expected work that was just finished."""

    def look(self, look: Look, max_looks: int, left_seconds: float) -> None:
        """How the comparisons of a run until resolved stand, and what is left of its budget."""

    def close(self) -> None:
        """Leave the terminal as a shell expects it."""


@contextlib.contextmanager
def shown(expected_seconds: float, document: RunDocument) -> Iterator[Progress]:
    """Progress on stderr, of a run that is expected to take so long if it has a fixed number of processes."""
    until_resolved, left = document.until == "resolved", document.left_seconds
    progress: Progress
    if not sys.stderr.isatty():
        progress = _Lines(None if until_resolved else expected_seconds, left)
    else:
        progress = _Board(left) if until_resolved else _Bar(expected_seconds)
    with contextlib.closing(progress):
        yield progress


def comparison_line(comparison: LookAtComparison) -> str:
    """SLOWER 0.406× (0.399–0.414) after 3 processes: eager-float32-b16-i224-synthetic-cpu ÷ graph"""
    verdict = "open" if comparison.verdict == "UNRESOLVED" else comparison.verdict
    ratio = "" if comparison.ratio is None else f" {comparison.ratio:.3f}×"
    if comparison.low is not None and comparison.high is not None:
        ratio += f" ({comparison.low:.3f}–{comparison.high:.3f})"
    words = set(_words(comparison.variant))
    base = "-".join(word for word in _words(comparison.base) if word not in words)
    pair = f"{comparison.variant} ÷ {base}" if base else comparison.variant
    return f"{verdict:6}{ratio} after {count(comparison.pairs, 'process', 'es')}: {plain(pair)}"


def duration(seconds: float) -> str:
    """A number of seconds as a clock has it."""
    return str(tqdm.format_interval(round(seconds)))


def _words(case: str) -> list[str]:
    return re.split("[-@]", case)


def count(number: int, what: str, ending: str = "s") -> str:
    """1 process, 2 processes"""
    return f"{number} {what}{'' if number == 1 else ending}"


def _measured(look: Look) -> list[LookAtComparison]:
    """The comparisons that a pair of processes has measured; of the others some cannot be."""
    return [comparison for comparison in look.comparisons if comparison.pairs]


def _counts(look: Look, max_looks: int) -> str:
    measured = _measured(look)
    pairs = max((comparison.pairs for comparison in measured), default=0)
    settled = sum(comparison.verdict != "UNRESOLVED" for comparison in measured)
    return f"{settled} of {len(measured)} settled after {count(pairs, 'process', 'es')} of at most {max_looks}"


class _Budget:
    """Counts down what is left of a budget, which may be infinite."""

    def __init__(self, left_seconds: float) -> None:
        self._end = time.monotonic() + left_seconds

    def __str__(self) -> str:
        left = max(0.0, self._end - time.monotonic())
        return "without a budget" if math.isinf(left) else f"{duration(left)} of the budget left"


class _Bar:
    """A bar whose unit is a second of expected work, so that its time left follows the machine's real speed."""

    def __init__(self, expected_seconds: float) -> None:
        shape = "{percentage:3.0f}%|{bar:20}| {elapsed} gone, {remaining} left | {desc}"
        self._expected = expected_seconds
        self._bar = tqdm(total=expected_seconds, bar_format=shape, smoothing=0, dynamic_ncols=True, file=sys.stderr)

    def advance(self, what: str, seconds: float) -> None:
        self._bar.set_description_str(plain(what), refresh=False)
        self._bar.update(min(seconds, self._expected - self._bar.n))
        self._bar.refresh()

    def look(self, look: Look, max_looks: int, left_seconds: float) -> None:
        """A run with a fixed number of processes has none."""

    def close(self) -> None:
        self._bar.close()


class _Board:
    """A line of counts, one of what is being done, and one for each comparison; all of them go as the report comes."""

    def __init__(self, left_seconds: float) -> None:
        self._lines: list[tqdm[Any]] = []
        self._budget, self._counts = _Budget(left_seconds), "no look yet"
        self.advance("", 0.0)

    def advance(self, what: str, seconds: float) -> None:  # noqa: ARG002
        self._draw(0, f"{self._counts}, {self._budget}")
        self._draw(1, plain(what))

    def look(self, look: Look, max_looks: int, left_seconds: float) -> None:
        self._budget, self._counts = _Budget(left_seconds), _counts(look, max_looks)
        self._draw(0, f"{self._counts}, {self._budget}")
        measured = _measured(look)
        for number, comparison in enumerate(measured if len(measured) <= MAX_LINES else (), start=2):
            self._draw(number, comparison_line(comparison))

    def close(self) -> None:
        for line in reversed(self._lines):
            line.close()

    def _draw(self, number: int, text: str) -> None:
        if number == len(self._lines):
            line = tqdm(bar_format="{desc}", position=number, leave=False, dynamic_ncols=True, file=sys.stderr)
            self._lines.append(line)
        self._lines[number].set_description_str(text)


class _Lines:
    """A line as each process or other piece of work begins, and for each comparison at each look while it is open."""

    def __init__(self, expected_seconds: float | None, left_seconds: float) -> None:
        """Without `expected_seconds`, the budget tells how long the run may go on."""
        self._expected = expected_seconds
        self._budget = _Budget(left_seconds)
        self._began, self._done = time.monotonic(), 0.0
        self._subject = ""
        self._settled: set[tuple[str, str, str]] = set()

    def advance(self, what: str, seconds: float) -> None:
        self._done += seconds
        # A worker tells of its phases one by one, and of what it has finished, which is no beginning.
        subject = "" if seconds else what.partition(": ")[0]
        if subject and subject != self._subject:
            print(f"{self._time()}: {plain(what)}", file=sys.stderr)
        self._subject = subject

    def look(self, look: Look, max_looks: int, left_seconds: float) -> None:
        self._budget = _Budget(left_seconds)
        print(f"{self._time()}: {_counts(look, max_looks)}", file=sys.stderr)
        measured = _measured(look)
        with_open = len(measured) <= MAX_LINES
        for comparison in measured:
            which, is_open = (comparison.suite, comparison.base, comparison.variant), comparison.verdict == "UNRESOLVED"
            if which not in self._settled and (with_open or not is_open):
                print(f"  {comparison_line(comparison)}", file=sys.stderr)
            if not is_open:
                self._settled.add(which)

    def close(self) -> None:
        """Every line has ended."""

    def _time(self) -> str:
        gone = time.monotonic() - self._began
        if self._expected is None:
            return f"{duration(gone)} gone, {self._budget}"
        share = min(1.0, self._done / self._expected) if self._expected else 1.0
        left = duration(gone / share - gone) if share else "?"
        return f"{share:4.0%}, {duration(gone)} gone, {left} left"
