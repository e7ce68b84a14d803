"""The processes and timed blocks of a run's cases, from its raw files."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator

from gnet_core.plan.schedule import WorkerName
from gnet_core.results import raw_files
from gnet_core.results.records import Run
from gnet_core.results.run_document import RecordedCase


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A timed block."""

    round: int
    """From 1."""
    order: int | None
    """The place of its turn in the round, from 1; None where run.json does not tell it."""
    seconds: float | None
    """Of the whole block; None where it is void, since the step was traced anew in it."""
    steps: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Process:
    """A process that measured a case."""

    number: int
    """Among the processes of the case, from 1."""
    cohort: int
    """Among the cohorts of the run, from 1: processes of one cohort were alive together."""
    blocks: tuple[Block, ...]

    @property
    def step_seconds(self) -> float:
        """Mean over its blocks of a block's seconds ÷ its steps, without the void ones."""
        return statistics.fmean(block.seconds / block.steps for block in self.blocks if block.seconds is not None)

    @property
    def voided_blocks(self) -> int:
        return sum(block.seconds is None for block in self.blocks)


def processes(run: Run) -> dict[str, list[Process]]:
    """The processes of each case that has figures. Raises GnetError naming a raw file that cannot be read any more."""
    measured = (case for case in run.document.cases if case.case in run.processes)
    return {case.case: list(_processes(run, case)) for case in measured}


def _processes(run: Run, case: RecordedCase) -> Iterator[Process]:
    for name in case.raw:
        path = run.directory / name
        raw = raw_files.read(path, run.directory, case.case, run.configs[case.case], run.document.run)
        cohorts = (cohort for cohort in enumerate(run.document.cohorts, start=1) if path.stem in cohort[1].workers)
        # A worker that was crowded out is in an earlier cohort as well; a run whose process is in none was not read.
        *_, (number, cohort) = cohorts
        worker = cohort.workers.index(path.stem)
        places = [order.index(worker) + 1 if worker in order else None for order in cohort.order]
        blocks = (
            Block(
                round=index + 1,
                order=places[index] if index < len(places) else None,
                seconds=None if math.isnan(seconds) else seconds,
                steps=raw.info.block_steps,
            )
            for index, seconds in enumerate(raw.block_seconds)
        )
        yield Process(number=WorkerName.parse(path.stem).replicate, cohort=number, blocks=tuple(blocks))
