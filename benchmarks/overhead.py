"""A benchmark of the benchmark: what taking turns adds inside the timed region, for a step of 10 ms.

`python benchmarks/overhead.py` starts two real workers that take turns as cases do. Their step is a loop that watches
the clock for 10 ms, so that whatever a block takes beyond its steps is the suite's: pytest-benchmark's call, the loop
around the steps, and waiting for the device at the end. After the turns come bare loops of as many steps.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gnet_core.config import StepConfig
from gnet_core.frameworks.lockstep import Lockstep
from gnet_core.plan.suites import Plan
from gnet_core.run.timer import Blocks, Timer

STEP_SECONDS = 0.010
TURNS = 30
WORKERS = 2


def step() -> None:
    end = time.perf_counter() + STEP_SECONDS
    while time.perf_counter() < end:
        pass


class Spinning(Lockstep):
    """A case whose step is that of this module."""

    trace_count = 0

    def _run(self, steps: int) -> None:
        from gnet_core.frameworks.tf import device

        for _ in range(steps):
            step()
        device.synchronise()

    def _set_dropout(self, active: bool) -> None:
        """There is none."""


def bench_overhead(benchmark: Any, case: StepConfig, timer: Timer) -> None:
    from gnet_core.frameworks.tf import device

    device.prepare(case)

    spinning = Spinning()
    blocks = Blocks(timer.turns, spinning, timer.plan, STEP_SECONDS)
    spinning.run(1)
    blocks.time(benchmark)
    count = blocks.to_dict()["block_steps"]
    bare = []
    for _ in range(TURNS):
        start = time.perf_counter()
        for _ in range(count):
            step()
        bare.append(time.perf_counter() - start)
    benchmark.extra_info.update(block_steps=count, bare_seconds=bare)


def main() -> None:
    from gnet_core.plan.schedule import Job
    from gnet_core.plan.suites import PlannedCase, Source
    from gnet_core.run.cohort import Cohort
    from gnet_core.run.discovery import probe
    from gnet_core.run.worker import RunSettings

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "raw").mkdir()
        source = Source(checkout=Path(__file__).parents[1])
        settings = RunSettings(
            directory=Path(folder),
            plan=Plan(turns=TURNS),
            replicates=WORKERS,
            memory_bytes=8 * 2**30,
            seed=0,
            run="overhead",
            with_peaks=False,
            sources={"": source},
            own_source=source,
            environments={"": probe(source)},
        )
        case = PlannedCase(config=StepConfig(), suites=("overhead",), module=Path(__file__).name)
        jobs = [Job(case=case, replicate=number) for number in range(1, WORKERS + 1)]
        outcome = Cohort(jobs, 1, settings, lambda _what, _seconds: None).run()
        if outcome.lost:
            sys.exit("; ".join(f"{job.worker}: {lost.note}" for job, lost in outcome.lost.items()))
        for job in outcome.finished:
            (measured,) = json.loads((Path(folder) / job.worker.raw_file).read_text())["benchmarks"]
            info = measured["extra_info"]
            in_turns, bare = statistics.median(measured["stats"]["data"]), statistics.median(info["bare_seconds"])
            added = (in_turns - bare) / info["block_steps"] / STEP_SECONDS
            print(
                f"worker {job.replicate}: {TURNS} turns of {info['block_steps']} steps of {1e3 * STEP_SECONDS:g} ms; "
                f"median block {1e3 * in_turns:.3f} ms, bare loop {1e3 * bare:.3f} ms: turns add {added:+.4%} a step"
            )


if __name__ == "__main__":
    main()
