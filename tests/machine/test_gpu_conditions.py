"""Conditions of a GPU during a turn, from readings that are made up and from the stand-in for NVML."""

import dataclasses
import threading
import time

import pynvml
import pytest

from gnet_core.machine import gpu_conditions
from gnet_core.machine import nvml as management
from gnet_core.machine.conditions import Conditions, Watch
from gnet_core.machine.gpu_conditions import GpuConditions, Sample, Span, UsualGpu, span, usual
from gnet_core.run import gpu_memory

WORKER, OTHER_WORKER, STRANGER = 10, 11, 99
BLOCK, WORK = Span(101.0, 103.0), Span(100.5, 103.5)

CAP = pynvml.nvmlClocksEventReasonSwPowerCap
HOT = pynvml.nvmlClocksEventReasonHwThermalSlowdown
SYNC = pynvml.nvmlClocksEventReasonSyncBoost


def samples(change=lambda _at: {}, began=100.0, ended=104.0, step=0.05):
    """A reading every `step` of a GPU at 1.98 GHz and 400 W; `change` tells what is other at a time."""
    usually = {"clock_hz": 1.98e9, "power_watts": 400.0, "temperature_celsius": 60.0, "reasons": 0}
    times = [began + number * step for number in range(round((ended - began) / step) + 1)]
    return [Sample(at_seconds=at, **(usually | {"joules": 400.0 * at} | change(at))) for at in times]


def conditions_of(change=lambda _at: {}, **spans):
    return gpu_conditions.conditions(samples(change), **({"block": BLOCK, "work": WORK} | spans))


def test_clock_power_and_heat_are_those_of_the_block_alone():
    def outside(at):
        idle = {"clock_hz": 0.2e9, "power_watts": 70.0, "temperature_celsius": 40.0, "reasons": HOT}
        return {} if BLOCK.began <= at <= BLOCK.ended else idle

    turn = conditions_of(outside)
    assert turn.samples == 41
    assert (turn.sm_clock_hz, turn.power_watts, turn.temperature_celsius) == (1.98e9, pytest.approx(400), 60.0)
    assert (turn.throttle_reasons, turn.power_cap_share) == ("", 0.0)


def test_a_reading_that_ends_after_the_block_is_none_of_it():
    block = Span(101.0, 101.52)

    def last(at):
        return {"took_seconds": 0.03, "reasons": HOT} if 101.49 < at < 101.51 else {}

    assert conditions_of(last, block=block).throttle_reasons == ""


def test_the_energy_is_what_the_counter_gained_from_the_first_step_to_the_last():
    assert conditions_of().energy_joules == pytest.approx(400.0 * 3.0)
    between_readings = Span(100.52, 103.47)
    assert conditions_of(work=between_readings).energy_joules == pytest.approx(400.0 * 2.95)


@pytest.mark.parametrize(
    "counter",
    [
        lambda _at: None,
        lambda at: 400.0 * at if at < 102 else None,  # it fell off the bus
        lambda at: 400.0 * at if at > 101 else None,
        lambda at: 400.0 * (at if at < 102 else at - 102),  # the driver was loaded anew
        lambda _at: 0.0,
        lambda at: 4e5 * at,  # in millijoules
    ],
)
def test_a_counter_that_is_not_there_throughout_falls_stands_still_or_races_gives_no_energy(counter):
    turn = conditions_of(lambda at: {"joules": counter(at)})
    assert turn.energy_joules is None
    assert turn.power_watts == pytest.approx(400)


@pytest.mark.parametrize("spans", [{"block": None}, {"work": None}])
def test_a_worker_that_does_not_say_when_it_worked_leaves_its_gpu_untold(spans):
    assert conditions_of(**spans) == GpuConditions()


def test_a_block_without_a_reading_has_no_figures_but_its_energy():
    turn = conditions_of(block=Span(102.01, 102.02))
    assert turn.energy_joules == pytest.approx(1200)
    assert dataclasses.replace(turn, energy_joules=None) == GpuConditions(samples=0)


def test_a_reason_counts_by_its_share_of_the_block():
    turn = conditions_of(lambda at: {"reasons": (CAP if at < 102 else 0) | (HOT if 101 <= at <= 101.05 else 0)})
    assert turn.power_cap_share == pytest.approx(20 / 41)
    assert turn.throttle_reasons == "power cap"  # two readings of heat are less than a twentieth


def test_reasons_are_words_and_an_unknown_one_is_not_lost():
    chosen = pynvml.nvmlClocksEventReasonApplicationsClocksSetting | pynvml.nvmlClocksEventReasonDisplayClockSetting
    turn = conditions_of(lambda _at: {"reasons": CAP | HOT | chosen | 1 << 20})
    assert turn.throttle_reasons == "power cap, too hot (hardware), reasons 0x100000"
    assert turn.reasons == ["power cap", "too hot (hardware)", "reasons 0x100000"]


def test_what_the_driver_counts_beats_what_the_readings_happened_to_see():
    turn = conditions_of(lambda at: {"lowered_seconds": {CAP: 7.0 + 0.8 * (at - 100), SYNC: 0.0}})
    assert turn.power_cap_share == pytest.approx(0.8)
    assert turn.throttle_reasons == "power cap"


def test_a_counter_that_counts_nothing_does_not_hide_what_the_readings_saw():
    turn = conditions_of(lambda _at: {"reasons": CAP, "lowered_seconds": {CAP: 0.0}})
    assert (turn.power_cap_share, turn.throttle_reasons) == (1.0, "power cap")


@pytest.mark.parametrize("seconds", [lambda at: 1000 * at, lambda at: -at])
def test_a_counter_of_no_time_that_can_have_passed_is_not_believed(seconds):
    turn = conditions_of(lambda at: {"lowered_seconds": {CAP: seconds(at)}})
    assert (turn.power_cap_share, turn.throttle_reasons) == (0.0, "")


def test_without_reasons_and_counters_throttling_is_unknown():
    turn = conditions_of(lambda _at: {"reasons": None})
    assert (turn.power_cap_share, turn.throttle_reasons) == (None, None)
    assert turn.sm_clock_hz == 1.98e9


@pytest.mark.parametrize(("first", "change"), [(1.98e9, 0.0), (0.99e9, -0.5), (2.97e9, 0.5)])
def test_the_clock_of_the_blocks_first_quarter_is_held_against_the_rest(first, change):
    turn = conditions_of(lambda at: {"clock_hz": first if at < 101.5 else 1.98e9})
    assert turn.sm_clock_change == pytest.approx(change)


def test_a_block_of_few_readings_has_no_change_of_its_clock():
    turn = conditions_of(block=Span(102.0, 102.15))
    assert (turn.samples, turn.sm_clock_change) == (4, None)


def turns_of(*reasons):
    return [GpuConditions(throttle_reasons=held) for held in reasons]


@pytest.mark.parametrize(
    ("reasons", "limits"),
    [
        (["power cap"] * 12, {"power cap"}),
        (["power cap"] * 7 + [""] * 5, {"power cap"}),
        (["power cap"] * 6 + [""] * 6, set()),
        (["power cap", None, None], {"power cap"}),
        (["kept in step with other GPUs, power cap"] * 3, {"power cap", "kept in step with other GPUs"}),
        (["too hot (software)", "hardware slowdown, power brake"] * 6, set()),
        ([None], set()),
        ([], set()),
    ],
)
def test_a_limit_under_which_most_turns_run_is_how_the_gpu_runs(reasons, limits):
    assert usual(turns_of(*reasons)).limits == limits


def test_the_usual_clock_is_the_median_of_the_workers_turns():
    assert usual([GpuConditions(sm_clock_hz=hz) for hz in (1e9, 2e9, None, 1.9e9)]).sm_clock_hz == 1.9e9
    assert usual([GpuConditions()]) == UsualGpu()


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1, 2.5], Span(1.0, 2.5)),
        ([2.5, 2.5], Span(2.5, 2.5)),
        ([2.5, 1.0], None),
        ([-1.0, 1.0], None),
        ([float("nan"), 1.0], None),
        ([1.0, float("inf")], None),
        ([1.0], None),
        (["1", "2"], None),
        (None, None),
    ],
)
def test_a_workers_times_are_believed_only_where_they_are_a_span(times, expected):
    assert span(times) == expected


def watched(driver, device="gpu:0", halfway=None, after=None, seconds=0.5, ours=()) -> Conditions:
    """A turn that only waits: 0.1 s, then its block, then 0.1 s of idling; the driver changes halfway and after it."""
    with Watch(device) as watch:
        begun = watch.begin(WORKER)
        with watch.sampling():
            time.sleep(0.1)
            began = time.monotonic()
            time.sleep(seconds / 2)
            driver.set(**halfway or {})
            time.sleep(seconds / 2)
            whole = Span(began, time.monotonic())
            driver.set(**after or {})
            time.sleep(0.1)
        return watch.end(begun, ours, block=whole, work=whole)


def test_a_turn_has_the_figures_of_its_gpu_while_it_works(nvml):
    nvml.set(gpus=2, clock=[1980, 1410], power=[700_000, 300_000], limit=[700_000, 350_000], pids=f"{WORKER}:1")
    idle = {"clock": [345, 345], "power": [70_000, 70_000], "reasons": HOT}
    turn = watched(nvml, "gpu:1", after=idle).gpu
    assert turn.samples
    assert turn.sm_clock_hz == 1410e6
    assert turn.power_watts == pytest.approx(300)
    assert turn.power_limit_watts == pytest.approx(350)
    assert turn.temperature_celsius == 61
    assert (turn.throttle_reasons, turn.power_cap_share) == ("", 0.0)
    assert turn.other_processes == 0


def test_the_energy_is_that_of_the_drivers_counter_while_it_worked(nvml):
    turn = watched(nvml)
    assert turn.gpu.energy_joules is not None
    assert 400 * 0.5 - 1 < turn.gpu.energy_joules < 400 * (turn.seconds - 0.1)  # the stand-in draws 400 W


def test_the_drivers_counter_of_a_power_cap_is_read(nvml):
    nvml.set(SW_POWER_CAP="80%", THERMAL="0")
    turn = watched(nvml).gpu
    assert turn.power_cap_share == pytest.approx(0.8, abs=0.05)
    assert turn.throttle_reasons == "power cap"


FIGURES = {field.name for field in dataclasses.fields(GpuConditions)} - {"sm_clock_change"}


@pytest.mark.parametrize(
    ("refused", "missing"),
    [
        ("nvmlDeviceGetClockInfo", {"sm_clock_hz"}),
        ("field 186", set()),
        ("field 186,nvmlDeviceGetPowerUsage", {"power_watts"}),
        ("nvmlDeviceGetTemperature", {"temperature_celsius"}),
        ("field 83", {"energy_joules"}),
        ("nvmlDeviceGetFieldValues", {"energy_joules"}),
        ("nvmlDeviceGetCurrentClocks", {"throttle_reasons", "power_cap_share"}),
        ("nvmlDeviceGetEnforcedPowerLimit", {"power_limit_watts"}),
        ("nvmlDeviceGetComputeRunningProcesses", {"other_processes"}),
        ("nvmlDeviceGetMigMode", set()),
    ],
)
def test_a_figure_that_a_gpu_does_not_give_is_none_and_the_others_stay(nvml, refused, missing):
    nvml.set(fail=refused, pids=f"{WORKER}:1")
    turn = watched(nvml, seconds=0.2).gpu
    assert {name for name in FIGURES if getattr(turn, name) is None} == missing


@pytest.mark.parametrize(
    ("made_up", "missing"),
    [
        ({"clock": 0}, "sm_clock_hz"),
        ({"clock": 2**32 - 1}, "sm_clock_hz"),
        ({"power": 0}, "power_watts"),
        ({"power": 2**32 - 1}, "power_watts"),
        ({"limit": 2**32 - 1}, "power_limit_watts"),
        ({"limit": 0}, "power_limit_watts"),
        ({"temperature": 2**31 - 1}, "temperature_celsius"),
        ({"energy": 0}, "energy_joules"),
        ({"energy": 2**64 - 1}, "energy_joules"),
    ],
)
def test_figures_that_a_driver_makes_up_are_none(nvml, made_up, missing):
    nvml.set(pids=f"{WORKER}:1", **made_up)
    turn = watched(nvml, seconds=0.2).gpu
    assert {name for name in FIGURES if getattr(turn, name) is None} == {missing}


def test_a_gpu_that_falls_off_the_bus_keeps_its_readings_from_before(nvml):
    nvml.set(clock=1410)
    turn = watched(nvml, halfway={"lost": 1}).gpu
    assert (turn.sm_clock_hz, turn.temperature_celsius, turn.throttle_reasons) == (1410e6, 61, "")
    assert (turn.energy_joules, turn.power_limit_watts, turn.other_processes) == (None, None, None)


def test_what_changes_in_the_middle_of_a_block_is_seen(nvml):
    nvml.set(clock=990, reasons=0)
    turn = watched(nvml, halfway={"reasons": HOT, "clock": 1980}, seconds=1).gpu
    assert turn.throttle_reasons == "too hot (hardware)"
    assert turn.sm_clock_change == pytest.approx(-0.5)


def test_a_gpu_that_is_lost_before_the_block_has_no_figures_and_ends_nothing(nvml):
    with Watch("gpu:0") as watch:
        nvml.set(lost=1)
        begun = watch.begin(WORKER)
        with watch.sampling():
            now = time.monotonic()
        turn = watch.end(begun, block=Span(now - 1, now), work=Span(now - 1, now)).gpu
    assert turn == GpuConditions(samples=turn.samples)


def is_sampling():
    return "GPU samples" in {thread.name for thread in threading.enumerate()}


@pytest.mark.usefixtures("nvml")
def test_nvml_is_read_during_turns_alone_and_readings_are_of_one_turn():
    with Watch("gpu:0") as watch:
        begun, always = watch.begin(WORKER), Span(0, 1e12)
        assert not is_sampling()
        with watch.sampling():
            assert is_sampling()
        assert not is_sampling()
        assert watch.end(begun, block=always, work=always).gpu.samples
        assert watch.end(begun, block=always, work=always).gpu.samples == 0


@pytest.mark.usefixtures("nvml")
def test_an_interrupt_ends_the_readings():
    def interrupted(watch):
        with watch.sampling():
            raise KeyboardInterrupt

    with Watch("gpu:0") as watch:
        with pytest.raises(KeyboardInterrupt):
            interrupted(watch)
        assert not is_sampling()


def test_a_driver_that_does_not_answer_is_left_alone_for_the_rest_of_the_run(nvml, monkeypatch):
    monkeypatch.setattr(gpu_conditions, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(management, "_given_up", threading.Event())
    with Watch("gpu:0") as watch:
        begun = watch.begin(WORKER)
        with watch.sampling():
            nvml.set(slow=1)
            time.sleep(2 * gpu_conditions.SAMPLE_SECONDS)
        ended = time.monotonic()
        assert watch.end(begun).gpu == GpuConditions()
        with watch.sampling():
            pass
    with Watch("gpu:0") as of_the_next_cohort:
        begun = of_the_next_cohort.begin(WORKER)
        with of_the_next_cohort.sampling():
            pass
        assert of_the_next_cohort.end(begun).gpu == GpuConditions()
    assert gpu_memory.free_bytes("gpu:0") is None
    assert time.monotonic() - ended < 1
    while is_sampling():  # before the stand-in is unloaded
        time.sleep(0.05)


def test_a_partitioned_gpu_has_no_conditions(nvml):
    nvml.set(mig=1)
    assert watched(nvml, seconds=0.2).gpu == GpuConditions()


def test_strangers_are_counted_only_where_the_worker_is_seen(nvml):
    nvml.set(pids=f"{WORKER}:1,{OTHER_WORKER}:1,{STRANGER}:1")
    assert watched(nvml, seconds=0.2, ours=[OTHER_WORKER]).gpu.other_processes == 1
    nvml.set(pids=f"{STRANGER}:1")
    assert watched(nvml, seconds=0.2).gpu.other_processes is None
