"""The ledger of a session's wall time: each moment belongs to one entry, so that the entries sum to the whole."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import psutil
from msgspec import Meta

Entry = Literal["imports", "build", "trace", "compile", "input_wait", "train", "test", "checkpoint", "other"]
_Seconds = Annotated[float, Meta(ge=0, le=2.0**53, description="a number of seconds, 0 or more")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WallTime:
    """Seconds of wall time by what they were spent on, summed over the processes of a session that was resumed."""

    imports: _Seconds = 0.0
    """From the start of the process until training began: imports, and opening the data with a look at each image."""
    build: _Seconds = 0.0
    """Making the network, its optimizer and its input, and loading a state."""
    trace: _Seconds = 0.0
    compile: _Seconds = 0.0
    """First steps after a trace, which compile or choose kernels; each holds one step's work as well."""
    input_wait: _Seconds = 0.0
    """Waiting for the next batch."""
    train: _Seconds = 0.0
    test: _Seconds = 0.0
    checkpoint: _Seconds = 0.0
    """Writing states, weights, history and scalars."""
    other: _Seconds = 0.0

    @property
    def total(self) -> float:
        return float(sum(dataclasses.astuple(self)))

    @property
    def setup(self) -> float:
        """What comes before steps that only train: imports, building, tracing and compiling."""
        return self.imports + self.build + self.trace + self.compile


class Stopwatch:
    """Wall time since it was made, on top of what earlier processes spent, by the innermost entry at each moment."""

    def __init__(self, before: WallTime, clock: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = dataclasses.asdict(before)
        self._clock = clock
        self._entry: Entry = "other"
        self._since = clock()

    @contextlib.contextmanager
    def of(self, entry: Entry) -> Iterator[None]:
        """Count the block to an entry, but for the blocks inside it that are counted to others."""
        outside = self._switch(entry)
        try:
            yield
        finally:
            self._switch(outside)

    def add(self, before: WallTime) -> None:
        """Add what an earlier process of the session spent."""
        for entry, seconds in dataclasses.asdict(before).items():
            self._seconds[entry] += seconds

    def read(self) -> WallTime:
        self._switch(self._entry)
        return WallTime(**self._seconds)

    def _switch(self, entry: Entry) -> Entry:
        now = self._clock()
        self._seconds[self._entry] += now - self._since
        before, self._entry, self._since = self._entry, entry, now
        return before


def process_seconds() -> float:
    """Wall time since this process was started, most of which went into imports."""
    return max(0.0, time.time() - psutil.Process().create_time())
