"""The limits of this process' control groups, as of a container or a service, in version 1 and 2.

A group lies within others, and the limits of all of them hold, so the smallest counts. Those of groups around a
container's own cannot be read from within. The processors of a cpuset are in the process' affinity already.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gnet_core.files.whole import read_text

_MAX_FILE_BYTES = 2**20
_UNLIMITED_BYTES = 2**62  # limits from here on are none: version 1 writes the most whole pages there are for "max"


class Throttling(NamedTuple):
    """How often a CPU quota has stopped the groups so far, and for how long, summed over processors."""

    periods: int
    seconds: float


class ControlGroups:
    """The groups of this process by controller, each from its own up to the highest that can be seen below `root`."""

    def __init__(self, root: Path = Path("/")) -> None:
        mounts = list(_mounts(_text(root / "proc/self/mountinfo")))
        self._memory: list[Path] = []
        self._cpu: list[Path] = []
        for controllers, path in _memberships(_text(root / "proc/self/cgroup")):
            for controller, groups in (("memory", self._memory), ("cpu", self._cpu)):
                if not controllers:  # version 2, which has one tree for all
                    groups += _groups(root, path, [mount for mount in mounts if not mount.controllers])
                elif controller in controllers:
                    groups += _groups(root, path, [mount for mount in mounts if controller in mount.controllers])
        self._cpu_stats = [group / "cpu.stat" for group in self._cpu if "nr_throttled" in _table(group / "cpu.stat")]

    def memory_limit_bytes(self) -> int | None:
        """The most that the processes of the group may hold together; None without a limit."""
        return min((limit for limit, _used in self._memory_limits()), default=None)

    def memory_left_bytes(self) -> int | None:
        """Bytes that the groups may still allocate, with those that can be reclaimed; None without a limit."""
        return min((max(0, limit - used) for limit, used in self._memory_limits()), default=None)

    def cpu_quota_cores(self) -> float | None:
        """Processor seconds a second that the processes of the groups may take together; None without a quota."""
        return min(filter(None, map(_quota_cores, self._cpu)), default=None)

    def throttling(self) -> Throttling | None:
        """Throttling by quotas so far; None where no group counts it."""
        tables = [_table(file) for file in self._cpu_stats]
        if not tables:
            return None
        nanoseconds = sum(table.get("throttled_time", 1000 * table.get("throttled_usec", 0)) for table in tables)
        return Throttling(sum(table.get("nr_throttled", 0) for table in tables), nanoseconds / 1e9)

    def _memory_limits(self) -> Iterator[tuple[int, int]]:
        """The limit of each group that has one, and what it holds."""
        for group in self._memory:
            limits = [_number(group / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
            limit = min((known for known in limits if known is not None and known < _UNLIMITED_BYTES), default=None)
            if limit is not None:
                table = _table(group / "memory.stat")
                droppable = table.get("total_inactive_file", table.get("inactive_file", 0))
                used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
                yield limit, max(0, used - droppable)


class _Mount(NamedTuple):
    """A tree of groups in the file system: `top` is the group that is mounted at `place`."""

    controllers: frozenset[str]
    """Controllers of version 1; version 2 has none."""
    top: PurePosixPath
    place: PurePosixPath


def _mounts(text: str) -> Iterator[_Mount]:
    """The mounts in the text of /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    for line in text.splitlines():
        fields, _, kind = line.partition(" - ")
        with contextlib.suppress(ValueError):  # a line of another shape
            _number, _parent, _device, top, place = fields.split(" ")[:5]
            file_system, _source, options = kind.split(" ")[:3]
            if file_system in ("cgroup", "cgroup2"):
                controllers = frozenset(options.split(",")) if file_system == "cgroup" else frozenset[str]()
                unescaped = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path) for path in (top, place))
                yield _Mount(controllers, *map(PurePosixPath, unescaped))


def _memberships(text: str) -> Iterator[tuple[frozenset[str], PurePosixPath]]:
    """Groups in the text of /proc/self/cgroup: "4:cpu,cpuacct:/a" in version 1, "0::/a" in version 2."""
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if number.isdecimal() and colon:
            yield frozenset(filter(None, controllers.split(","))), PurePosixPath(path)


def _groups(root: Path, path: PurePosixPath, mounts: Sequence[_Mount]) -> list[Path]:
    """The group at `path` and those around it, as far as a mount shows them, or else what is mounted."""
    for mount in mounts:
        if path.is_relative_to(mount.top) and ".." not in path.parts:
            place = root / mount.place.relative_to("/")
            own = place / path.relative_to(mount.top)
            if os.path.isdir(own):  # noqa: PTH112 - Path's raises for what may not be looked at
                return [own, *list(own.parents)[: len(own.parts) - len(place.parts)]]
    places = (root / mount.place.relative_to("/") for mount in mounts)  # a container's own may be mounted as the top
    return [place for place in places if os.path.isdir(place)][:1]  # noqa: PTH112


def _quota_cores(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None  # "max", or nothing to be read
    return cores if cores > 0 else None  # -1 is no quota


def _table(file: Path) -> dict[str, int]:
    """The numbers by name in a file of a name and a number a line."""
    pairs = (line.split(" ") for line in _text(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdecimal() else None


def _text(file: Path) -> str:
    """The text of a file; empty where it does not exist, as for a controller that is off."""
    try:
        return read_text(file, _MAX_FILE_BYTES)
    except (OSError, ValueError):
        return ""
