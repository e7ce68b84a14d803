"""What the machine was like during a turn, from processors, drivers and processes that are made up."""

import json
import os
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pynvml
import pytest

from gnet_core.machine import conditions
from gnet_core.machine.conditions import Conditions, Watch, disturbance, processor_seconds
from gnet_core.machine.gpu_conditions import SYNC_BOOST, GpuConditions, Span, UsualGpu
from gnet_core.system.cgroups import Throttling

WORKER, OTHER_WORKER, STRANGER, GONE = 10, 11, 99, 404
USUAL_GPU = UsualGpu(sm_clock_hz=2e9, limits=frozenset({SYNC_BOOST}))


class FakeProcess:
    """A process of psutil's, whose times are in `seconds` by process number; the stranger is the worker's child."""

    seconds: dict[int, float]

    def __init__(self, pid: int) -> None:
        if pid not in self.seconds:
            raise psutil.NoSuchProcess(pid)
        self.pid = pid

    def is_running(self) -> bool:
        return self.pid in self.seconds

    def children(self, recursive: bool) -> list["FakeProcess"]:  # noqa: ARG002 - as psutil has it
        return [FakeProcess(pid) for pid in self.seconds if pid // 10 == self.pid]

    def cpu_times(self) -> SimpleNamespace:
        if self.pid not in self.seconds:
            raise psutil.NoSuchProcess(self.pid)
        return SimpleNamespace(user=self.seconds[self.pid], system=0.0, children_user=0.0, children_system=0.0)


class FakeMachine:
    """Four processors, and a clock that only moves when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, processors: Any) -> None:
        self.now = 100.0
        self.times = {"user": 50.0, "nice": 0.0, "system": 5.0, "idle": 1000.0, "iowait": 1.0, "steal": 2.0}
        self.seconds = {WORKER: 3.0, OTHER_WORKER: 1.0}
        monkeypatch.setattr(FakeProcess, "seconds", self.seconds, raising=False)
        monkeypatch.setattr(psutil, "Process", FakeProcess)
        monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
        monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(**self.times))
        monkeypatch.setattr(psutil, "cpu_freq", lambda: SimpleNamespace(current=2500.0))
        monkeypatch.setattr(psutil, "getloadavg", lambda: (0.5, 0.4, 0.3))
        monkeypatch.setattr(conditions, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(conditions, "_PROCESSORS", processors)

    def turn(self, watch: Watch, ours: tuple[int, ...] = (), seconds: float = 2.0, **gained: float) -> Conditions:
        """A turn of the worker; `gained` is processor time by psutil's names, and the worker's own."""
        begun = watch.begin(WORKER)
        began = time.monotonic()
        with watch.sampling():
            self.now += seconds
        self.seconds[WORKER] += gained.pop("worker", 0.0)
        for name, more in gained.items():
            self.times[name] += more
        whole = Span(began, time.monotonic())
        return watch.end(begun, ours, block=whole, work=whole)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return FakeMachine(monkeypatch, tmp_path)


class FakeDriver:
    """NVML with two equal GPUs; a name in `refuses` is a call that is not supported."""

    def __init__(self) -> None:
        self.names = ["GPU Model", "GPU Model"]
        self.pids = [WORKER]
        self.partitioned = False
        self.refuses: set[str] = set()
        self.gpus_read: list[int] = []
        self.open = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = {
            "nvmlInit": lambda: self._count(1),
            "nvmlShutdown": lambda: self._count(-1),
            "nvmlDeviceGetCount": lambda: len(self.names),
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda gpu: self.names[gpu],
            "nvmlDeviceGetUUID": lambda gpu: f"GPU-{'ab'[gpu]}0123456",
            "nvmlDeviceGetMigMode": lambda _gpu: [int(self.partitioned), int(self.partitioned)],
            "nvmlDeviceGetClockInfo": self._clock_megahertz,
            "nvmlDeviceGetPowerUsage": lambda _gpu: 350_000,
            "nvmlDeviceGetTemperature": lambda _gpu, _kind: 61,
            "nvmlDeviceGetEnforcedPowerLimit": lambda _gpu: 700_000,
            "nvmlDeviceGetFieldValues": lambda _gpu, _fields: [],
            "nvmlDeviceGetCurrentClocksEventReasons": lambda _gpu: pynvml.nvmlClocksEventReasonGpuIdle,
            "nvmlDeviceGetComputeRunningProcesses": lambda _gpu: [SimpleNamespace(pid=pid) for pid in self.pids],
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, self._unless_refused(name, answer))

    def _clock_megahertz(self, gpu: int, _kind: int) -> int:
        self.gpus_read.append(gpu)
        return 1980

    def _count(self, change: int) -> None:
        self.open += change

    def _unless_refused(self, name: str, answer: Any) -> Any:
        def ask(*arguments: Any) -> Any:
            if name in self.refuses:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return answer(*arguments)

        return ask


@pytest.fixture
def driver(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    driver = FakeDriver()
    driver.install(monkeypatch)
    return driver


def calm(**changes: Any) -> Conditions:
    figures: dict[str, Any] = {
        "seconds": 1.0,
        "processors": 4,
        "load_1_minute": 1.0,
        "other_cpu_share": 0.01,
        "steal_share": 0.0,
        "worker_cpu_seconds": 3.0,
        "frequency_hz": 3e9,
        "throttled": False,
    }
    return Conditions(**(figures | changes))


def test_what_others_took_is_the_busy_time_that_was_not_the_workers(machine):
    with Watch("cpu") as watch:
        turn = machine.turn(watch, user=5.0, system=1.0, idle=1.5, iowait=1.0, steal=0.4, worker=5.2)
    assert turn.seconds == 2.0
    assert turn.worker_cpu_seconds == pytest.approx(5.2)
    assert turn.other_cpu_share == pytest.approx((6.0 - 5.2) / (2.0 * 4))
    assert turn.steal_share == pytest.approx(0.4 / 8)
    assert (turn.load_1_minute, turn.frequency_hz, turn.throttled) == (0.5, 2.5e9, None)
    assert turn.gpu == GpuConditions()


def test_a_worker_that_counts_more_than_the_machine_leaves_nothing_for_others(machine):
    with Watch("cpu") as watch:
        assert machine.turn(watch, user=1.0, worker=1.02).other_cpu_share == 0.0


def test_a_system_that_does_not_count_stolen_time_gives_none(machine):
    del machine.times["steal"]
    with Watch("cpu") as watch:
        assert machine.turn(watch, user=1.0).steal_share is None


def test_a_workers_children_are_the_worker(machine):
    child = WORKER * 10
    machine.seconds[child] = 7.0
    with Watch("cpu") as watch:
        begun = watch.begin(WORKER)
        machine.now += 1.0
        machine.seconds[child] += 2.0
        machine.times["user"] += 2.0
        turn = watch.end(begun)
    assert turn.worker_cpu_seconds == pytest.approx(2.0)
    assert turn.other_cpu_share == pytest.approx(0.0)


def test_a_worker_that_died_leaves_its_share_untold(machine):
    with Watch("cpu") as watch:
        begun = watch.begin(WORKER)
        machine.now += 1.0
        del machine.seconds[WORKER]
        turn = watch.end(begun)
    assert turn.worker_cpu_seconds is None
    assert turn.other_cpu_share is None
    assert turn.steal_share == 0.0
    assert disturbance(turn) == ""


def test_a_process_number_that_is_given_again_is_looked_at_again(machine):
    with Watch("cpu") as watch:
        del machine.seconds[WORKER]
        assert watch.begin(WORKER).worker_seconds is None
        machine.seconds[WORKER] = 1.0
        assert watch.begin(WORKER).worker_seconds == 1.0


def test_processor_seconds_are_of_the_whole_family_and_none_once_it_is_gone(machine):
    machine.seconds[WORKER * 10] = 4.0
    assert processor_seconds(WORKER) == pytest.approx(7.0)
    assert processor_seconds(GONE) is None


def test_clocks_and_throttling_are_read_from_the_kernels_files(machine, tmp_path):
    for number, kilohertz in ((0, 2_000_000), (1, 3_000_000)):
        policy, thermal = tmp_path / f"cpufreq/policy{number}", tmp_path / f"cpu{number}/thermal_throttle"
        policy.mkdir(parents=True)
        thermal.mkdir(parents=True)
        (policy / "scaling_cur_freq").write_text(f"{kilohertz}\n")
        (thermal / "core_throttle_count").write_text("7\n")
    with Watch("cpu") as watch:
        assert machine.turn(watch).frequency_hz == 2.5e9
        assert machine.turn(watch).throttled is False
        begun = watch.begin(WORKER)
        machine.now += 1.0
        (thermal / "core_throttle_count").write_text("8\n")
        assert watch.end(begun).throttled is True
        (thermal / "core_throttle_count").unlink()
        assert machine.turn(watch).throttled is None


class FakeGroups:
    """Control groups that a quota has stopped so often and so long; None where nothing counts it."""

    so_far: Throttling | None = Throttling(7, 0.5)

    def throttling(self) -> Throttling | None:
        return self.so_far


@pytest.fixture
def groups(monkeypatch):
    groups = FakeGroups()
    monkeypatch.setattr(conditions, "ControlGroups", lambda: groups)
    monkeypatch.setattr(conditions, "USABLE_THREADS", 2)
    return groups


def test_what_a_cpu_quota_stops_is_counted_by_the_turn(machine, groups):
    with Watch("cpu") as watch:
        begun = watch.begin(WORKER)
        machine.now += 2.0
        groups.so_far = Throttling(27, 3.5)
        turn = watch.end(begun)
        assert (turn.quota_throttled_periods, turn.quota_throttled_seconds) == (20, 3.0)
        assert disturbance(turn) == "the CPU quota stopped it for 75% of the processors' time"
        assert disturbance(machine.turn(watch)) == ""


def test_a_quota_that_nothing_counts_is_not_known(machine, groups):
    groups.so_far = None
    with Watch("cpu") as watch:
        turn = machine.turn(watch)
    assert (turn.quota_throttled_periods, turn.quota_throttled_seconds) == (None, None)
    assert disturbance(turn) == ""


def test_a_cpu_case_does_not_open_the_driver(machine, driver):
    driver.refuses = {"nvmlShutdown"}
    with Watch("cpu") as watch:
        assert machine.turn(watch).gpu == GpuConditions()
        assert driver.open == 0


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetHandleByIndex"])
def test_without_a_driver_or_a_permission_there_are_no_gpu_figures(machine, driver, call):
    driver.refuses = {call}
    with Watch("gpu:0") as watch:
        turn = machine.turn(watch)
    assert turn.gpu == GpuConditions()
    assert driver.open == 0


def test_the_gpu_is_the_one_that_cuda_visible_devices_makes_number_n(machine, driver, monkeypatch):
    for visible, device, expected in [
        (None, "gpu:1", 1),
        ("1", "gpu:0", 1),
        ("1, 0", "gpu:1", 0),
        ("GPU-b0123456", "gpu:0", 1),
        ("GPU-b0", "gpu:0", 1),
        ("GPU-b0,GPU-a0", "gpu:1", 0),
        (None, "gpu:2", None),
        ("1", "gpu:1", None),
        ("", "gpu:0", None),
        ("-1,0", "gpu:1", None),
        ("7", "gpu:0", None),
        ("GPU-", "gpu:0", None),
        ("MIG-b0123456", "gpu:0", None),
    ]:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        driver.gpus_read.clear()
        with Watch(device) as watch:
            machine.turn(watch)
        assert set(driver.gpus_read) == (set() if expected is None else {expected}), (visible, device)


def test_unequal_gpus_are_told_apart_only_where_their_order_is_known(machine, driver, monkeypatch):
    driver.names = ["Small GPU", "Large GPU"]
    with Watch("gpu:0") as watch:
        assert machine.turn(watch).gpu == GpuConditions()
    for variable, value in (("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), ("CUDA_VISIBLE_DEVICES", "GPU-a0")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            with Watch("gpu:0") as watch:
                assert machine.turn(watch).gpu.sm_clock_hz is not None


def test_a_partitioned_gpu_gives_no_figures(machine, driver):
    driver.partitioned = True
    with Watch("gpu:0") as watch:
        assert machine.turn(watch).gpu == GpuConditions()


def test_processes_on_the_gpu_are_strangers_unless_they_are_ours(machine, driver):
    driver.pids = [WORKER, OTHER_WORKER, STRANGER]
    with Watch("gpu:0") as watch:
        assert machine.turn(watch, ours=(OTHER_WORKER,)).gpu.other_processes == 1
        driver.pids = [30_010, 30_011]
        assert machine.turn(watch, ours=(OTHER_WORKER,)).gpu.other_processes is None


@pytest.mark.usefixtures("driver")
def test_conditions_are_flat_and_survive_json(machine):
    with Watch("gpu:0") as watch:
        fields = machine.turn(watch, user=1.0).to_dict()
    assert json.loads(json.dumps(fields)) == fields
    assert all(isinstance(value, int | float | str | None) for value in fields.values())


def test_a_calm_turn_is_not_disturbed():
    assert disturbance(calm(gpu=GpuConditions(throttle_reasons="", other_processes=0)), 3e9, USUAL_GPU) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"other_cpu_share": 0.12}, "other processes took 12% of the processors' time"),
        ({"steal_share": 0.08}, "the hypervisor took 8% of the processors' time"),
        ({"throttled": True}, "the processor was throttled"),
        (
            {"quota_throttled_periods": 1, "quota_throttled_seconds": 9.0, "usable_processors": 1},
            "the CPU quota stopped it for 100% of the processors' time",
        ),
        ({"frequency_hz": 2.1e9}, "the processors' clock was 30% below the run's median"),
        ({"gpu": GpuConditions(throttle_reasons="power cap")}, "the GPU was throttled: power cap"),
        (
            {"gpu": GpuConditions(throttle_reasons="kept in step with other GPUs, too hot (hardware)")},
            "the GPU was throttled: too hot (hardware)",
        ),
        ({"gpu": GpuConditions(sm_clock_hz=1e9)}, "the GPU's clock was 50% below the median of this process"),
        ({"gpu": GpuConditions(other_processes=1)}, "1 other process on the GPU"),
        ({"gpu": GpuConditions(other_processes=2)}, "2 other processes on the GPU"),
        ({"throttled": True, "steal_share": 0.5}, "the hypervisor took 50% of the processors' time; the processor was"),
    ],
)
def test_a_disturbed_turn_names_its_disturbance(changes, reason):
    assert disturbance(calm(**changes), 3e9, USUAL_GPU).startswith(reason)


def test_a_share_of_too_short_a_turn_is_no_disturbance():
    assert disturbance(calm(seconds=0.1, processors=2, other_cpu_share=0.1)) == ""
    assert disturbance(calm(seconds=1.0, processors=2, other_cpu_share=0.1)) != ""


def test_what_is_not_known_is_no_disturbance():
    untold = dict.fromkeys(("other_cpu_share", "steal_share", "worker_cpu_seconds", "frequency_hz", "throttled"))
    assert disturbance(calm(**untold), 3e9, USUAL_GPU) == ""


def test_shares_of_the_machine_that_runs_this_lie_between_0_and_1():
    with Watch("cpu") as watch:
        turn = watch.end(watch.begin(os.getpid()))
    assert turn.seconds > 0
    assert turn.worker_cpu_seconds is not None
    assert turn.other_cpu_share is not None
    assert 0 <= turn.other_cpu_share <= 1
    assert (processor_seconds(os.getpid()) or 0) > 0
