"""The time of a compiled XLA step on a CPU, by instruction, named after the operations that XLA compiled.

XLA's executor records a span for every instruction. What an instruction hands to the thread pool is recorded as
regions on the pool's threads, each with a link to the instruction that recorded it. So the time of an instruction is
its own and that of its regions, on whatever threads they ran.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gnet_core.profile.hlo_names import Module, Operation
from gnet_core.profile.xprof import ROUNDING, lasts_until, nested

_REGION, _STARTED, _RECORDED = (f"ThreadpoolListener::{name}" for name in ("Region", "StartRegion", "Record"))
_NO_FLOW = 2**64  # larger than any flow's number


def is_instruction(event: Mapping[str, Any]) -> bool:
    """Whether an event is the run of a compiled instruction."""
    return "hlo_op" in event["args"]


def operations(events: Sequence[Mapping[str, Any]], module_texts: Iterable[str]) -> list[tuple[str, str, float]]:
    """Name, type and self time in seconds of every run of an instruction, from a trace's events and the compiled
    modules as XLA prints them. An instruction of a module that is not there has no name.
    """
    # Every module numbers its instructions from 1, so the name of an instruction needs that of its module.
    named = ((re.match(r"HloModule ([^\s,]+)", text), text) for text in module_texts)
    modules = {name[1] if name else "": Module(text.splitlines()) for name, text in named}

    @functools.cache
    def source(module: str, instruction: str) -> Operation:
        return modules.get(module, Module([])).source(instruction)

    return [(*source(module, instruction), seconds) for module, instruction, seconds in instruction_seconds(events)]


def instruction_seconds(events: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, float]]:
    """Module, name and seconds of every run of an instruction, with the regions of the thread pool that it recorded."""
    timeline = _Timeline(events)
    microseconds = [0.0] * len(timeline.spans)
    for index, own in enumerate(timeline.own_microseconds):
        if (owner := timeline.owner(index)) is not None:
            microseconds[owner] += own
    for index, span in enumerate(timeline.spans):
        if is_instruction(span):
            yield str(span["args"].get("hlo_module", "")), str(span["args"]["hlo_op"]), microseconds[index] / 1e6


class _Timeline:
    """Instructions and regions of the thread pool as they lie inside one another on each thread."""

    def __init__(self, events: Sequence[Mapping[str, Any]]) -> None:
        self.spans = [event for event in events if is_instruction(event) or event["name"] == _REGION]
        self.spans.sort(key=lambda span: (span["tid"], span["ts"], -span["dur"]))
        self.own_microseconds, self._parents = nested(self.spans)
        self._starts = [(span["tid"], span["ts"]) for span in self.spans]
        self._recorded = {_flow(event): (event["tid"], event["ts"]) for event in events if event["name"] == _RECORDED}
        self._flows = sorted((event["tid"], event["ts"], _flow(event)) for event in events if event["name"] == _STARTED)
        self._owners: dict[int, int | None] = {}

    def owner(self, index: int) -> int | None:
        """The instruction whose work a span is; None for the executor's own, which schedules instructions."""
        path = []
        owner: int | None = index
        while owner is not None and not is_instruction(self.spans[owner]) and owner not in self._owners:
            path.append(owner)
            self._owners[owner] = None  # so that no circle can be walked twice
            owner = self._recorder(owner)
        if owner is not None:
            owner = self._owners.get(owner, owner)
        self._owners.update(dict.fromkeys(path, owner))
        return owner

    def _recorder(self, region: int) -> int | None:
        """The innermost span during which a region was recorded."""
        span = self.spans[region]
        position = bisect.bisect_right(self._flows, (span["tid"], span["ts"] + ROUNDING, _NO_FLOW)) - 1
        if position < 0 or self._flows[position][0] != span["tid"]:
            return None
        if (recorded := self._recorded.get(self._flows[position][2])) is None:
            return None
        thread, moment = recorded
        position = bisect.bisect_right(self._starts, recorded) - 1
        index = position if position >= 0 and self._starts[position][0] == thread else None
        while index is not None and not lasts_until(self.spans[index], thread, moment):
            index = self._parents[index]
        return index


def _flow(event: Mapping[str, Any]) -> int:
    """The number that a region's record and its start share; the last two bits tell the direction."""
    return int(event["args"].get("flow", 0)) >> 2
