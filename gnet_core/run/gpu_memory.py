"""GPU memory: how much of it workers take, how much there is for them, and which cases must be probed to know."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from gnet_core.machine import nvml
from gnet_core.plan.suites import PlannedCase
from gnet_core.results.run_document import Size

Sizes = Mapping[PlannedCase, Size]

SHARE = 0.7
"""Share of the free memory that all workers alive together may take. TensorFlow leaves 1.5 to 1.8 GiB of what it
finds free alone (MinSystemMemory in gpu_device.cc), and a process may take more than the probe of its case did: where
its allocations come in another order it may need one more region, which is as large as all that it has."""

CONTEXT_BYTES = 2**30
"""More than CUDA and its libraries take for each process, which the frameworks' own counts do not see: 0.61 GiB on an
H200."""


def free_bytes(device: str) -> int | None:
    """Free memory of a device gpu:N now; the least of several that it can be; None where NVML does not report it."""
    with nvml.opened() as answers:
        memories = [nvml.memory(handle) for handle in _candidates(device)] if answers else []
    free = [memory.free_bytes for memory in memories if memory is not None]
    return min(free) if free and len(free) == len(memories) else None


@contextlib.contextmanager
def metered(device: str) -> Iterator[Meter]:
    """Begin before the worker starts, while no other worker is alive on that device gpu:N."""
    with nvml.opened() as answers:
        yield Meter(_candidates(device) if answers else [])


class Meter:
    """Reads what a worker takes of a GPU; what others take counts as well where NVML does not count by process."""

    def __init__(self, handles: Sequence[nvml.Handle]) -> None:
        """`handles` are those of all that the device can be; NVML has to stay open."""
        self._used_before = [(handle, _used_bytes(handle)) for handle in handles]
        # In a container one of the driver's numbers may be the worker's by chance, and some of those are seen before.
        self._strangers = {pid for handle in handles for pid in nvml.process_bytes(handle)}
        self.process_bytes = self.growth_bytes = 0

    def look(self, pids: Collection[int]) -> None:
        """Read what a living worker's processes take and what the device's used memory grew by; the most counts."""
        for handle, before in self._used_before:
            running = nvml.process_bytes(handle)
            own = [running[pid] for pid in set(pids) & running.keys() - self._strangers]
            if None not in own:
                self.process_bytes = max(self.process_bytes, sum(filter(None, own)))
            used = _used_bytes(handle)
            if used is not None and before is not None:
                self.growth_bytes = max(self.growth_bytes, used - before)

    def size(self, peak_bytes: int) -> Size:
        """Size of the worker; a reading below `peak_bytes`, its allocator's own count, was disturbed by others."""
        if self.process_bytes > peak_bytes:
            return Size(taken_bytes=self.process_bytes, origin="process")
        if self.growth_bytes > peak_bytes:
            return Size(taken_bytes=self.growth_bytes, origin="growth")
        return Size(taken_bytes=reserve(peak_bytes), origin="allocator")


def reserve(peak_bytes: int) -> int:
    """About the most that a worker takes of the driver whose allocator had `peak_bytes` in use at most.

    TensorFlow's and JAX's (tsl's BFC) begins with 2 MiB and takes a region twice as large whenever those that it has
    cannot hold a tensor (BFCAllocator::Extend), so that all of them are together a power of two. It is the one that
    holds the peak, or the next where what is free lies in pieces. On an H200 a graph with a peak of 1.34 GiB had taken
    2, and eager execution with 1.63 had taken 4.
    """
    regions = 1 << (peak_bytes - 1).bit_length()
    return 2 * regions + CONTEXT_BYTES


def next_probe(parts: Sequence[Sequence[PlannedCase]], sizes: Sizes, budget_bytes: int) -> PlannedCase | None:
    """The case to probe next, a smaller batch before a larger one; None where the sizes suffice.

    `parts` are the cases that take turns with each other. The smallest of each family of batches is probed; a larger
    one only where its bound keeps its part from being alive together, and not where it will be alone anyway.
    """
    cases = [case for part in parts for case in part]
    if len(cases) < 2 or not budget_bytes:
        return None
    wanted = []
    for part in parts:
        estimates = [estimate(case, sizes) for case in part]
        fits = sum(size.taken_bytes for size in estimates if size is not None) <= budget_bytes
        for case, size in zip(part, estimates, strict=True):
            if size is None:
                family = (other for other in cases if other.differs_in_batch_size_alone(case))
                probed = case.config.batch_size == min(other.config.batch_size for other in family)
            else:
                probed = not size.measured and not fits and not _is_alone(case, part, sizes, budget_bytes)
            if probed:
                wanted.append(case)
    return min(wanted, key=lambda case: case.config.batch_size, default=None)


def estimate(case: PlannedCase, sizes: Sizes) -> Size | None:
    """The case's own size, or a bound that follows from the next smaller batch that was probed; None without either.

    What a process takes grows no faster than its batch, but by doubled regions (see reserve), so the bound is the
    smaller one's bytes times the ratio of the batches, rounded up to a power of two.
    """
    if case in sizes and sizes[case].measured:
        return sizes[case]
    smaller = _next_smaller(case, sizes)
    if smaller is None:
        return None
    ratio = 2 ** (-(-case.config.batch_size // smaller.config.batch_size) - 1).bit_length()
    return Size(taken_bytes=ratio * sizes[smaller].taken_bytes, origin="bound")


def planned_bytes(cases: Sequence[PlannedCase], sizes: Sizes, budget_bytes: int) -> dict[PlannedCase, int]:
    """The bytes to plan each case with. A case without a size, or with a bound beyond the budget, takes all of it."""
    everything = max(1, budget_bytes)
    estimates = {case: estimate(case, sizes) for case in cases}
    return {
        case: everything if size is None else size.taken_bytes if size.measured else min(size.taken_bytes, everything)
        for case, size in estimates.items()
    }


def note(free: int | None, sizes: Iterable[Size]) -> str:
    """How the sizes came about, in a sentence for run.json; "" where NVML reported everything."""
    if free is None:
        return "NVML does not tell what is free of the GPU, so each worker runs alone"
    counted = sum(size.origin == "allocator" for size in sizes)
    if not counted:
        return ""
    return (
        f"NVML does not tell what {counted} probed workers took: what counts is twice the power of two that holds the "
        f"framework's own peak, with {CONTEXT_BYTES / 2**30:g} GiB for CUDA"
    )


def _candidates(device: str) -> list[nvml.Handle]:
    return nvml.candidates(int(device.partition(":")[2]))


def _used_bytes(handle: nvml.Handle) -> int | None:
    memory = nvml.memory(handle)
    return None if memory is None else memory.used_bytes


def _next_smaller(case: PlannedCase, sizes: Sizes) -> PlannedCase | None:
    """The largest smaller batch of its family that was probed."""
    family = [other for other, size in sizes.items() if size.measured and other.differs_in_batch_size_alone(case)]
    smaller = [other for other in family if other.config.batch_size < case.config.batch_size]
    return max(smaller, key=lambda other: other.config.batch_size, default=None)


def _is_alone(case: PlannedCase, part: Sequence[PlannedCase], sizes: Sizes, budget_bytes: int) -> bool:
    """Whether it fits beside no other of its part, even if all take no more than a smaller batch of theirs."""

    def least_bytes(one: PlannedCase) -> int:
        probed = one if one in sizes and sizes[one].measured else _next_smaller(one, sizes)
        return 0 if probed is None else sizes[probed].taken_bytes

    others = [least_bytes(other) for other in part if other != case]
    return not others or least_bytes(case) + min(others) > budget_bytes
