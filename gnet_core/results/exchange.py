"""What replicas exchange in a step as figures of a case, over all processes that measured it."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from gnet_core.config import StepConfig
from gnet_core.results.raw_files import Exchange
from gnet_core.stats import ratio


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExchangeSummary:
    """Figures of gnet_core.results.records.Row, which says what each is."""

    gradient_bytes: int
    all_reduce_seconds: float
    all_reduce_interval: tuple[float, float] | None
    bus_bytes_per_second: float
    straggler_spread: float
    replica_memory_bytes: int


def summary(config: StepConfig, measured: Sequence[Exchange]) -> ExchangeSummary:
    """The figures of a case that was measured at least once."""
    medians = [statistics.median(exchange.all_reduce_seconds) for exchange in measured]
    all_reduce, gradients = statistics.fmean(medians), measured[0].gradient_bytes
    peak = max(max(exchange.process_peak_bytes) for exchange in measured)
    return ExchangeSummary(
        gradient_bytes=gradients,
        all_reduce_seconds=all_reduce,
        all_reduce_interval=ratio.geometric_interval(medians),
        bus_bytes_per_second=bus_bandwidth(gradients, all_reduce, config.total_replicas),
        straggler_spread=statistics.fmean(spread(exchange.local_step_seconds) for exchange in measured),
        # A GPU's allocator counts for one device, and a CPU's memory is that of a whole process.
        replica_memory_bytes=peak // config.replicas if config.device == "cpu" else peak,
    )


def bus_bandwidth(size: int, seconds: float, replicas: int) -> float:
    """Bytes a second that an all-reduce of so many bytes moves through each replica's link, which can be held against
    the link's own: size ÷ seconds · 2(n - 1) ÷ n (nccl-tests, doc/PERFORMANCE.md).
    """
    return size / seconds * 2 * (replicas - 1) / replicas


def spread(seconds: Sequence[float]) -> float:
    """How far the replicas are apart: (max - min) ÷ mean."""
    return (max(seconds) - min(seconds)) / statistics.fmean(seconds)
