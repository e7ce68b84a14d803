"""A cohort of real processes on a GPU that NVML's stand-in makes up; only the train step is none."""

import sys

import pytest

from gnet_core.config import StepConfig
from gnet_core.plan.schedule import Job
from gnet_core.plan.suites import Plan, PlannedCase, Source
from gnet_core.run import discovery
from gnet_core.run.cohort import Cohort
from gnet_core.run.worker import RunSettings
from tests.faults.checkout import make_checkout

TURNS = 3


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return make_checkout(tmp_path_factory.mktemp("gpu") / "checkout")


@pytest.fixture
def turns_of(nvml, checkout, tmp_path):
    """The turns of two workers with a step of 2 ms; `after` is called with the driver after each of them."""

    def run(after=None):
        source = Source(python=sys.executable, checkout=checkout)
        settings = RunSettings(
            directory=tmp_path,
            plan=Plan(turns=TURNS, block_seconds=0.6),
            replicates=1,
            memory_bytes=2**34,
            seed=0,
            run="the run",
            with_peaks=False,
            sources={"": source},
            own_source=source,
            environments={"": discovery.probe(source)},
        )
        (tmp_path / "raw").mkdir()
        configs = [StepConfig(device="gpu:0", image_size=96, batch_size=size) for size in (1, 2)]
        cases = [PlannedCase(config=config, suites=("execution",), module="bench_execution.py") for config in configs]
        jobs = [Job(case=case, replicate=1) for case in cases]
        taken = []

        def progress(what, _seconds):
            if ": turn " in what:
                taken.append(what)
                if after:
                    after(nvml, len(taken))

        outcome = Cohort(jobs, 1, settings, progress).run()
        assert outcome.finished == set(jobs)
        return outcome.turns

    return run


def test_every_turn_has_the_figures_of_its_block_and_the_energy_of_its_steps(nvml, turns_of):
    nvml.set(clock=1410, power=650_000, limit=700_000, SW_POWER_CAP="98%", reasons=4)
    turns = turns_of()
    assert len(turns) == 2 * TURNS
    for turn in turns:
        assert turn["gpu_samples"] > 0
        assert (turn["gpu_sm_clock_hz"], turn["gpu_sm_clock_change"] or 0.0) == (1410e6, 0.0)
        assert (turn["gpu_power_watts"], turn["gpu_power_limit_watts"]) == pytest.approx((650, 700))
        assert (turn["gpu_throttle_reasons"], turn["gpu_power_cap_share"]) == ("power cap", 1.0)
        assert "GPU" not in turn["disturbed"]
        # The stand-in draws 400 W: over block and single steps, and not over the wait at the end.
        assert 400 * 0.3 * turn["seconds"] < turn["gpu_energy_joules"] < 400 * (turn["seconds"] - 0.1)
        assert turn["gpu_other_processes"] is None


def test_a_cap_and_a_slowdown_that_come_in_some_turns_disturb_those(nvml, turns_of):
    nvml.set(reasons=0)

    def change(driver, taken):
        driver.set(reasons={1: 0x4, 2: 0x40}.get(taken, 0))

    turns = turns_of(change)
    assert [turn["gpu_throttle_reasons"] for turn in turns] == ["", "power cap", "too hot (hardware)", "", "", ""]
    reasons = [[part for part in turn["disturbed"].split("; ") if "GPU" in part] for turn in turns]
    throttled = "the GPU was throttled: "
    assert reasons == [[], [f"{throttled}power cap"], [f"{throttled}too hot (hardware)"], [], [], []]


def test_a_gpu_that_is_lost_for_some_turns_costs_their_figures_and_no_turn(turns_of):
    turns = turns_of(lambda driver, taken: driver.set(lost={2: 1}.get(taken)))
    assert [turn["gpu_sm_clock_hz"] for turn in turns] == [1980e6, 1980e6, None, 1980e6, 1980e6, 1980e6]
    assert [turn["gpu_energy_joules"] is None for turn in turns] == [False, False, True, False, False, False]
    assert all(turn["steps"] for turn in turns)
