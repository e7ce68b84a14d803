"""A worker's raw file: pytest-benchmark's samples and what the worker added to them, read and checked."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import json_documents, migrations
from gnet_core.files.bounded import MAX_RAW_BYTES
from gnet_core.files.json_documents import MAX_WHOLE, Count, Positive, typed
from gnet_core.stats import ratio

Trajectory = list[float | None]
"""The loss after 0, 1, 2, … applied updates of the weights."""

MIN_SECONDS, MAX_SECONDS = 1e-6, 1e6
"""Range of what a clock can have shown for a block or a step."""

MAX_STEPS = 10**6
Seconds = Annotated[
    float, Meta(ge=MIN_SECONDS, le=MAX_SECONDS, description=f"seconds between {MIN_SECONDS:g} and {MAX_SECONDS:g}")
]
Amount = Annotated[float, Meta(ge=0, lt=MAX_WHOLE, description="a number, 0 or more")]
Loss = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max, description="a number")]
"""JSON has neither NaN nor infinity; a loss that is one is null."""


class PhaseSeconds(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that a worker took until it was warm, by phase."""

    imports: Amount = msgspec.field(name="import")
    build: Amount
    trace: Amount
    first_call: Amount
    warmup: Amount


class Pictures(msgspec.Struct, frozen=True, kw_only=True):
    """The images that a case was fed from (see gnet_core.frameworks.base.Pictures)."""

    images: Positive
    pixels: Positive
    encoded_bytes: Positive
    """Of all of them together, as the pixels are."""
    made: bool


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """What the replicas of a case exchanged, and how far they are apart (see gnet_core.frameworks.base.Exchange)."""

    gradient_bytes: Positive
    all_reduce_seconds: Annotated[tuple[Seconds, ...], Meta(min_length=1)]
    local_step_seconds: Annotated[tuple[Seconds, ...], Meta(min_length=2)]
    process_peak_bytes: Annotated[tuple[Count, ...], Meta(min_length=1)]


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that gnet_core.run.timer.Timer adds to a worker's blocks, as pytest-benchmark's extra_info."""

    format_version: int
    run: str
    config: dict[str, Any]
    """Fields for gnet_core.files.migrations.read_config."""
    block_steps: Annotated[int, Meta(ge=1, le=MAX_STEPS, description=f"a whole number from 1 to {MAX_STEPS}")]
    timed_blocks: Positive
    voided_blocks: tuple[Count, ...]
    """The numbers, from 0, of blocks in which the step was traced anew."""
    single_step_seconds: tuple[Seconds, ...]
    resumed_step_seconds: tuple[Seconds, ...]
    """Seconds of the steps right after other workers ran, which are not timed."""
    phase_seconds: PhaseSeconds
    started_alone: bool = True
    """Whether nothing else started meanwhile; else the phases took longer and are no figures of the case."""
    skipped_steps: Count
    steps: Count
    losses_without_dropout: Annotated[tuple[tuple[Count, Loss | None], ...], Meta(min_length=1)]
    """Pairs of the updates that were applied before a step, and its loss."""
    loss_first: Loss | None
    loss_last: Loss | None
    peak_memory_bytes: Count
    memory_source: str
    flop_per_image: Amount
    low_precision_share: Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")] | None
    low_precision_note: str = ""
    pictures: Pictures | None = None
    """None of a batch that was ready."""
    exchange: Exchange | None = None
    """None where replicas exchange nothing."""
    delay_seconds: Amount = 0.0

    def __post_init__(self) -> None:
        if any(index >= self.timed_blocks for index in self.voided_blocks):
            raise ValueError(f"voided_blocks is {self.voided_blocks!r:.60}; there are {self.timed_blocks} blocks")
        if any(applied > len(self.losses_without_dropout) for applied, _loss in self.losses_without_dropout):
            raise ValueError("losses_without_dropout has more updates of the weights than steps")


class _Stats(msgspec.Struct, frozen=True, kw_only=True):
    data: tuple[float, ...]


class _Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    stats: _Stats
    extra_info: WorkerInfo

    def __post_init__(self) -> None:
        blocks = self.stats.data[: self.extra_info.timed_blocks]  # after an interruption the others are none
        if not blocks:
            raise ValueError("stats.data has no timed block")
        if wrong := [seconds for seconds in blocks if not MIN_SECONDS <= seconds <= MAX_SECONDS]:
            limits = f"{MIN_SECONDS:g} and {MAX_SECONDS:g}"
            raise ValueError(f"stats.data has {wrong[0]!r:.60}; blocks are seconds between {limits}")


class RawFile(msgspec.Struct, frozen=True, kw_only=True):
    """A raw file of the current format version, as far as it is read."""

    benchmarks: Annotated[tuple[_Benchmark, ...], Meta(min_length=1, max_length=1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawProcess:
    """The figures of one worker."""

    block_seconds: list[float]
    """NaN where the sample is void."""
    config: StepConfig
    info: WorkerInfo
    digest: str
    """SHA-256 of the file."""

    @property
    def step_seconds(self) -> list[float]:
        """Seconds of a step in each block that counts."""
        return [seconds / self.info.block_steps for seconds in self.block_seconds if not math.isnan(seconds)]

    @property
    def single_steps(self) -> list[float]:
        """Steps synchronised one by one; a block of one step is such a step already."""
        return list(self.info.single_step_seconds) or self.step_seconds

    @property
    def trajectory(self) -> Trajectory:
        """Without dropout; steps that loss scaling skipped repeat the one before."""
        by_updates = dict(self.info.losses_without_dropout)
        return [by_updates.get(updates) for updates in range(max(by_updates) + 1)]

    def samples(self, cohort: str) -> ratio.Process:
        """The blocks for statistics; `cohort` names those that were alive together."""
        steps = self.info.block_steps
        return ratio.Process(cohort, tuple(math.log(seconds / steps) for seconds in self.block_seconds))


def _require_all(path: Path, exchange: Exchange, config: StepConfig) -> None:
    """Raise GnetError where it does not tell of each replica and each worker of the case."""
    lengths = {"local_step_seconds": config.total_replicas, "process_peak_bytes": config.workers}
    for field, number in lengths.items():
        if (there := len(getattr(exchange, field))) != number:
            raise GnetError(f"{path}: exchange.{field} has {there} values; this case has to have {number}")


class VoidError(GnetError):
    """A worker's file is sound, but none of its samples counts."""


def read(path: Path, directory: Path, case: str, config: StepConfig, run: str) -> RawProcess:
    """Read the file of a worker of this case in the run in `directory` with the identity `run`. Raises VoidError, and
    GnetError naming file and field for what cannot be read or is of another format, case or run.
    """
    document, digest = json_documents.read_json(path, directory, limit=MAX_RAW_BYTES)
    migrations.require_raw_version(path, document)
    (benchmark,) = typed(str(path), document, RawFile).benchmarks
    info, blocks = benchmark.extra_info, benchmark.stats.data[: benchmark.extra_info.timed_blocks]
    if others := config.differences(migrations.read_config(info.config)):
        text = "; ".join(f"{field} {here!r} and not {there!r}" for field, (here, there) in others.items())
        raise GnetError(f"{path}: config is not that of {case}, which has {text:.300}; the file is another's")
    if info.exchange:
        _require_all(path, info.exchange, config)
    if info.run != run:
        raise GnetError(f"{path}: run is {info.run!r:.60}, but this one is {run:.60}; the file is another's")
    kept = [math.nan if index in info.voided_blocks else seconds for index, seconds in enumerate(blocks)]
    if all(map(math.isnan, kept)):
        raise VoidError(f"{path}: the step was traced anew in every timed block, so its samples are void")
    return RawProcess(block_seconds=kept, config=config, info=info, digest=digest)
