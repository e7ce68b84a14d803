"""A worker's raw file: pytest-benchmark's samples and what the worker added to them, read and checked."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import json_documents, migrations
from gnet_core.files.bounded import MAX_RAW_BYTES
from gnet_core.results import run_document
from gnet_core.stats import ratio

Trajectory = list[float | None]
"""The loss after 0, 1, 2, … applied updates of the weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawProcess:
    """The figures of one worker."""

    block_seconds: list[float]
    """NaN where the sample is void."""
    config: StepConfig
    """Of the case that it measured."""
    info: dict[str, Any]
    """What timing.Timer told, as shapes.require_raw has found it."""
    digest: str
    """Of the file."""

    @property
    def step_seconds(self) -> list[float]:
        """Of the blocks that count."""
        return [seconds / self.info["block_steps"] for seconds in self.block_seconds if not math.isnan(seconds)]

    @property
    def single_steps(self) -> list[float]:
        """Steps synchronised one by one; a block of one step is such a step already."""
        single: list[float] = self.info["single_step_seconds"]
        return single or self.step_seconds

    @property
    def trajectory(self) -> Trajectory:
        """Without dropout; steps that loss scaling skipped repeat the one before."""
        by_updates = dict(self.info["losses_without_dropout"])
        return [by_updates.get(updates) for updates in range(max(by_updates) + 1)]

    def samples(self, cohort: str) -> ratio.Process:
        """The blocks for statistics; `cohort` names those that were alive together."""
        steps = self.info["block_steps"]
        return ratio.Process(cohort, tuple(math.log(seconds / steps) for seconds in self.block_seconds))


class VoidError(GnetError):
    """A worker's file is sound, but none of its samples counts."""


def read(path: Path, directory: Path, case: str, config: StepConfig, run: str) -> RawProcess:
    """Read the file of a worker that measured `case` in the run in `directory` whose identity is `run`.

    Raises GnetError naming file and field for what cannot be read or is of another format, case or run, and VoidError.
    """
    document, digest = json_documents.read_json(path, directory, limit=MAX_RAW_BYTES)
    try:
        (benchmark,) = document["benchmarks"]
        info, blocks = benchmark["extra_info"], benchmark["stats"]["data"]
        _require_belonging(path, info, case, config, run)
        run_document.require_raw(path, info, blocks)
    except GnetError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise GnetError(f"{path}: field missing or wrong: {error}") from error
    voided = set(info["voided_blocks"])
    kept = [math.nan if index in voided else seconds for index, seconds in enumerate(blocks[: info["timed_blocks"]])]
    if all(map(math.isnan, kept)):
        raise VoidError(f"{path}: the step was traced anew in every timed block, so its samples are void")
    return RawProcess(block_seconds=kept, config=config, info=info, digest=digest)


def _require_belonging(path: Path, info: dict[str, Any], case: str, config: StepConfig, run: str) -> None:
    json_documents.require_version(path, info["format_version"])
    if others := config.differences(migrations.read_config(info["config"])):
        told = "; ".join(f"{field} {asked!r} and not {there!r}" for field, (asked, there) in others.items())
        raise GnetError(f"{path}: config is not that of {case}, which has {told:.300}; the file is another's")
    if info["run"] != run:
        raise GnetError(f"{path}: run is {info['run']!r:.60}, but this one is {run:.60}; the file is another's")
