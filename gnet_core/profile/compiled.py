"""An XLA step on a CPU, split into the instructions of its module, told by the names of the operations they came from.

XLA's executor reports the start of every instruction; what that hands to the thread pool is reported as regions of
the pool's threads, which are told to have been recorded by whom. So an instruction's time is its own, and that of the
regions it recorded, wherever they ran.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gnet_core.profile.hlo_names import Module, Named

NOTE = (
    "Time of each compiled instruction on the CPU, summed over the threads that worked on it, told by the operations "
    "that XLA made it from: a fusion of several counts as the last of them, and what XLA moves around between layouts "
    "of its own as a layout copy."
)

_REGION, _STARTED, _RECORDED = (f"ThreadpoolListener::{name}" for name in ("Region", "StartRegion", "Record"))
_ROUNDING = 0.002
"""Microseconds: xprof cuts times to nanoseconds."""


def is_instruction(event: Mapping[str, Any]) -> bool:
    """Whether an event is of a compiled instruction that ran."""
    return "hlo_op" in event["args"]


def operations(events: Sequence[Mapping[str, Any]], module_texts: Iterable[str]) -> list[tuple[str, str, float]]:
    """Name, type and self time in seconds of every run of an instruction, from a trace's events.

    `module_texts` are the compiled modules as XLA prints them. An instruction of one that is not there has no name.
    """
    modules = {_module_name(text): Module(text.splitlines()) for text in module_texts}
    unknown = Module([])
    named: dict[tuple[str, str], Named] = {}
    found = []
    for module, instruction, seconds in instruction_seconds(events):
        if (module, instruction) not in named:
            named[module, instruction] = modules.get(module, unknown).named(instruction)
        found.append((*named[module, instruction], seconds))
    return found


def _module_name(text: str) -> str:
    """Modules number their instructions alike, so an instruction's name says nothing without its module's."""
    found = re.match(r"HloModule ([^\s,]+)", text)
    return found[1] if found else ""


def instruction_seconds(events: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, float]]:
    """Module and name of every run of an instruction and its time in seconds, the pool's regions it recorded included.

    `ts` and `dur` are microseconds.
    """
    timeline = _Timeline(events)
    microseconds = [0.0] * len(timeline.spans)
    for index, own in enumerate(timeline.own_microseconds):
        owner = timeline.owner(index)
        if owner is not None:
            microseconds[owner] += own
    for index, span in enumerate(timeline.spans):
        if is_instruction(span):
            yield str(span["args"].get("hlo_module", "")), str(span["args"]["hlo_op"]), microseconds[index] / 1e6


class _Timeline:
    """Instructions and regions of the thread pool as they lie inside one another on each thread."""

    def __init__(self, events: Sequence[Mapping[str, Any]]) -> None:
        self.spans = [each for each in events if is_instruction(each) or _is_region(each)]
        self.spans.sort(key=lambda span: (span["tid"], span["ts"], -span["dur"]))
        self.own_microseconds: list[float] = [span["dur"] for span in self.spans]
        self._parents: list[int | None] = []
        self._nest()
        self._starts = [(span["tid"], span["ts"]) for span in self.spans]
        self._recorded = {_flow(each): (each["tid"], each["ts"]) for each in events if each["name"] == _RECORDED}
        self._flows = sorted((each["tid"], each["ts"], _flow(each)) for each in events if each["name"] == _STARTED)
        self._owners: dict[int, int | None] = {}

    def _nest(self) -> None:
        enclosing: list[int] = []
        for index, span in enumerate(self.spans):
            while enclosing and not self._holds(enclosing[-1], span["tid"], span["ts"] + span["dur"]):
                enclosing.pop()
            self._parents.append(enclosing[-1] if enclosing else None)
            if enclosing:
                self.own_microseconds[enclosing[-1]] -= span["dur"]
            enclosing.append(index)

    def _holds(self, index: int, thread: int, moment: float) -> bool:
        """Whether a span that began earlier goes on until that moment on that thread."""
        span = self.spans[index]
        return bool(span["tid"] == thread and moment <= span["ts"] + span["dur"] + _ROUNDING)

    def owner(self, index: int) -> int | None:
        """The instruction whose work a span is; None for the executor's own, which schedules instructions."""
        path = []
        found: int | None = index
        while found is not None and not is_instruction(self.spans[found]) and found not in self._owners:
            path.append(found)
            self._owners[found] = None  # so that no circle can be walked twice
            found = self._recorder(found)
        if found is not None:
            found = self._owners.get(found, found)
        self._owners.update(dict.fromkeys(path, found))
        return found

    def _recorder(self, region: int) -> int | None:
        """The innermost span during which a region was recorded."""
        span = self.spans[region]
        position = bisect.bisect_right(self._flows, (span["tid"], span["ts"] + _ROUNDING, _NO_FLOW)) - 1
        if position < 0 or self._flows[position][0] != span["tid"]:
            return None
        recorded = self._recorded.get(self._flows[position][2])
        return None if recorded is None else self._innermost(*recorded)

    def _innermost(self, thread: int, moment: float) -> int | None:
        position = bisect.bisect_right(self._starts, (thread, moment)) - 1
        index = position if position >= 0 and self._starts[position][0] == thread else None
        while index is not None and not self._holds(index, thread, moment):
            index = self._parents[index]
        return index


_NO_FLOW = 2**64


def _is_region(event: Mapping[str, Any]) -> bool:
    return bool(event["name"] == _REGION)


def _flow(event: Mapping[str, Any]) -> int:
    """The number that a region's record and its start share; the last two bits tell the direction."""
    return int(event["args"].get("flow", 0)) >> 2
