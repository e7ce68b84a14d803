"""GPU memory of workers as NVML's stand-in reports it, and which cases are probed for it."""

import os

import msgspec
import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnet_core.config import GnetError, StepConfig
from gnet_core.files.json_documents import typed
from gnet_core.machine import nvml as management
from gnet_core.plan.schedule import cohorts, groups
from gnet_core.plan.suites import PlannedCase
from gnet_core.results.run_document import Origin, Size
from gnet_core.run import gpu_memory
from gnet_core.run.gpu_memory import estimate, free_bytes, metered, next_probe, planned_bytes

GB = 10**9
ME = os.getpid()
SECOND = "GPU-10000000-0000-4000-8000-000000000000"
INSTANCE = "MIG-01000000-0000-5000-8000-000000000000"
IN_SECOND = f"MIG-{SECOND}/2/0"


def uuids_of(number):
    with management.opened() as answers:
        assert answers
        return [pynvml.nvmlDeviceGetUUID(handle) for handle in management.candidates(number)]


def names(*gpus):
    """GPUs and instances by their numbers: "1" a GPU, "10" the first instance of it."""
    ends = {1: ("GPU", "0000000-0000-4000-8000-000000000000"), 2: ("MIG", "000000-0000-5000-8000-000000000000")}
    return [f"{ends[len(gpu)][0]}-{gpu}{ends[len(gpu)][1]}" for gpu in gpus]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, 90), ("1", 40), ("1,0", 40), ("GPU-1", 40), (SECOND, 40), ("", None), ("7", None), ("GPU-", None)],
)
def test_what_is_free_is_of_the_device_that_is_used(nvml, monkeypatch, visible, expected):
    nvml.set(gpus=2, total=[100 * GB, 50 * GB], used=10 * GB)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert free_bytes("gpu:0") == (expected and expected * GB)


def test_a_later_device_is_counted_among_the_visible_ones(nvml, monkeypatch):
    nvml.set(gpus=3, total=[100 * GB, 50 * GB, 30 * GB], used=0)
    assert [free_bytes(f"gpu:{number}") for number in range(4)] == [100 * GB, 50 * GB, 30 * GB, None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0,9,1")
    assert [free_bytes(f"gpu:{number}") for number in range(3)] == [30 * GB, 100 * GB, None]


@pytest.mark.parametrize(
    ("visible", "order", "expected"),
    [
        (None, None, 40),  # CUDA may count either first
        ("0", None, 40),
        ("0", "FASTEST_FIRST", 40),
        ("0", "PCI_BUS_ID", 90),
        (None, "PCI_BUS_ID", 90),
        ("GPU-0", None, 90),
        ("GPU-1,0", None, 40),
    ],
)
def test_of_gpus_of_which_any_may_be_the_device_the_least_that_is_free_counts(
    nvml, monkeypatch, visible, order, expected
):
    nvml.set(gpus=2, names=["NVIDIA T4", "NVIDIA A100"], total=[100 * GB, 50 * GB], used=10 * GB)
    for name, value in (("CUDA_VISIBLE_DEVICES", visible), ("CUDA_DEVICE_ORDER", order)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert free_bytes("gpu:0") == expected * GB


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, names("00")),
        ("1", names("10")),
        (INSTANCE, names("01")),
        ("MIG-11", names("11")),
        (f"{INSTANCE},1", names("01")),
        (IN_SECOND, names("11")),
        (f"MIG-{SECOND}/3/0", []),
        ("MIG-9", []),
        ("MIG-", []),
    ],
)
def test_of_partitioned_gpus_the_device_is_one_instance(nvml, monkeypatch, visible, expected):
    nvml.set(gpus=2, mig=1)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert uuids_of(0) == expected
    assert uuids_of(1) == []


def test_beside_an_instance_cuda_sees_no_whole_gpu(nvml):
    nvml.set(gpus=2, mig=[0, 1])
    assert uuids_of(0) == names("10")
    assert uuids_of(1) == []


def test_where_the_order_is_unsure_the_device_is_a_whole_gpu_or_an_instance(nvml, monkeypatch):
    nvml.set(gpus=2, mig=[0, 1], names=["NVIDIA T4", "NVIDIA A100"], total=[100 * GB, 80 * GB], used=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert uuids_of(0) == names("0", "10")
    assert free_bytes("gpu:0") == 40 * GB


def test_a_partitioned_gpu_without_instances_is_no_device(nvml):
    nvml.set(mig=1, fail="nvmlDeviceGetMigDeviceHandleByIndex")
    assert uuids_of(0) == []
    assert free_bytes("gpu:0") is None


def test_of_an_instance_neither_clock_nor_power_is_told(nvml, monkeypatch):
    nvml.set(mig=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", INSTANCE)
    with management.opened():
        assert management.find(0) is None
    assert free_bytes("gpu:0") == (85520809984 - 2**30) // 2


@pytest.mark.parametrize("refused", ["nvmlInit", "nvmlDeviceGetCount_v2", "nvmlDeviceGetMemoryInfo"])
def test_where_the_driver_does_not_tell_what_is_free_it_is_not_known(nvml, refused):
    nvml.set(fail=refused)
    assert free_bytes("gpu:0") is None


def taken(nvml, peak_bytes, own=frozenset({ME}), **changes):
    """The size of a worker that had taken most in between."""
    with metered("gpu:0") as meter:
        meter.look(own)
        nvml.set(**changes)
        meter.look(own)
        nvml.set(used=10 * GB, pids=None, fail=None)
        meter.look(own)
    return meter.size(peak_bytes)


@pytest.mark.parametrize(("own", "gigabytes"), [({ME}, 3), ({ME, 99}, 7)])
def test_a_worker_took_what_nvml_counts_for_its_processes_at_most(nvml, own, gigabytes):
    nvml.set(used=10 * GB, pids=f"77:{GB}")
    others = f"77:{GB},88:{20 * GB},99:{4 * GB}"
    size = taken(nvml, GB, own, used=40 * GB, pids=f"{others},{ME}:{3 * GB}")
    assert size == Size(taken_bytes=gigabytes * GB, origin="process")


@pytest.mark.parametrize(
    "changes",
    [
        {"pids": f"{ME}:-1"},  # "not available"
        {"pids": f"123456:{4 * GB}"},  # a number of another namespace
        {"pids": f"{ME}:{GB // 1000}"},  # less than the framework has in use, so it is another's
        {"fail": "nvmlDeviceGetComputeRunningProcesses"},
    ],
)
def test_where_nvml_does_not_count_the_process_the_growth_of_used_memory_counts(nvml, changes):
    nvml.set(used=10 * GB)
    assert taken(nvml, GB, used=14 * GB, **changes) == Size(taken_bytes=4 * GB, origin="growth")


def test_a_number_that_computed_before_the_worker_began_is_a_strangers(nvml):
    nvml.set(used=10 * GB, pids=f"{ME}:{8 * GB}")
    assert taken(nvml, GB, used=12 * GB, pids=f"{ME}:{8 * GB}") == Size(taken_bytes=2 * GB, origin="growth")


def test_a_worker_of_which_one_process_is_not_counted_is_not_counted_by_process(nvml):
    nvml.set(used=10 * GB)
    size = taken(nvml, GB, {ME, 99}, used=17 * GB, pids=f"{ME}:{3 * GB},99:-1")
    assert size == Size(taken_bytes=7 * GB, origin="growth")


@pytest.mark.parametrize("used_bytes", [7 * GB, 10 * GB, 11 * GB])  # others gave back some of what it took, or more
def test_where_nvml_tells_nothing_of_a_worker_its_allocators_count_has_a_reserve(nvml, used_bytes):
    nvml.set(used=10 * GB)
    assert taken(nvml, GB, used=used_bytes) == Size(taken_bytes=3 * 2**30, origin="allocator")


@pytest.mark.parametrize(
    ("peak", "reserved"),
    [(2**30, 3), (2**30 + 1, 5), (1_434_451_968, 5), (1_749_155_840, 5), (2**31, 5), (3 * 2**30, 9)],
)
def test_the_reserve_is_a_region_more_than_holds_the_peak_and_what_cuda_takes(peak, reserved):
    """An H200's driver had given 2.61 GiB for the third peak and 4.61 for the fourth."""
    assert gpu_memory.reserve(peak) == reserved * 2**30


def test_without_a_driver_the_allocators_count_has_a_reserve(nvml):
    nvml.set(fail="nvmlInit")
    with metered("gpu:0") as meter:
        meter.look({ME})
    assert meter.size(GB) == Size(taken_bytes=3 * 2**30, origin="allocator")


def test_of_several_gpus_that_the_device_may_be_the_one_that_the_worker_is_on_counts(nvml):
    nvml.set(gpus=2, names=["NVIDIA T4", "NVIDIA A100"], used=[10 * GB, 20 * GB])
    with metered("gpu:0") as meter:
        nvml.set(pids=["", f"{ME}:{3 * GB}"])
        meter.look({ME})
        by_process = meter.size(GB)
    nvml.set(pids=None)
    with metered("gpu:0") as meter:
        nvml.set(used=[10 * GB, 25 * GB])
        meter.look({ME})
    assert by_process == Size(taken_bytes=3 * GB, origin="process")
    assert meter.size(GB) == Size(taken_bytes=5 * GB, origin="growth")


def test_of_an_instance_its_own_memory_counts(nvml, monkeypatch):
    nvml.set(mig=1, used=10 * GB)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", INSTANCE)
    assert taken(nvml, GB, used=18 * GB) == Size(taken_bytes=4 * GB, origin="growth")


def test_the_note_tells_what_nvml_did_not():
    process, counted = Size(taken_bytes=1, origin="process"), Size(taken_bytes=1, origin="allocator")
    assert gpu_memory.note(GB, [process]) == ""
    assert "each worker runs alone" in gpu_memory.note(None, [])
    assert "what 2 probed workers took" in gpu_memory.note(GB, [process, counted, counted])


def case(batch_size, execution="graph", source=""):
    config = StepConfig(batch_size=batch_size, execution=execution, device="gpu:0")
    return PlannedCase(config=config, suites=("any",), source=source)


def measured(gigabytes):
    return Size(taken_bytes=gigabytes * GB, origin="process")


@pytest.mark.parametrize(
    ("batch_size", "gigabytes"), [(16, 1), (17, 2), (32, 2), (33, 4), (63, 4), (64, 3), (65, 6), (128, 6), (129, 12)]
)
def test_a_batch_is_bounded_by_the_next_smaller_one_that_was_probed(batch_size, gigabytes):
    sizes = {case(16): measured(1), case(64): measured(3), case(1, "xla"): measured(9)}
    origin: Origin = "process" if batch_size in (16, 64) else "bound"
    assert estimate(case(batch_size), sizes) == Size(taken_bytes=gigabytes * GB, origin=origin)


def test_nothing_bounds_the_smallest_batch_another_execution_or_another_source():
    sizes = {case(16): measured(1)}
    assert estimate(case(8), sizes) is None
    assert estimate(case(32, "xla"), sizes) is None
    assert estimate(case(32, source="old"), sizes) is None
    peer = PlannedCase(config=StepConfig(framework="torch", batch_size=32, device="gpu:0"), suites=("any",))
    assert estimate(peer, sizes) is None


def test_a_bound_bounds_no_other():
    assert estimate(case(64), {case(32): Size(taken_bytes=GB, origin="bound")}) is None


def test_what_is_not_known_takes_all_that_there_is():
    sizes = {case(16): measured(30)}
    planned = planned_bytes([case(16), case(32), case(64), case(8)], sizes, 50 * GB)
    assert list(planned.values()) == [30 * GB, 50 * GB, 50 * GB, 50 * GB]
    assert planned_bytes([case(8)], {}, 0) == {case(8): 1}


def family_of(one):
    return one.config.execution, one.source


@st.composite
def runs(draw):
    """Cases, the pairs of them that are compared, what each takes in truth, and the budget."""
    cases = draw(
        st.lists(
            st.builds(
                case,
                st.sampled_from([1, 2, 3, 8, 20, 64, 256, 1000]),
                st.sampled_from(["graph", "eager", "xla"]),
                st.sampled_from(["", "old"]),
            ),
            min_size=1,
            max_size=12,
            unique=True,
        )
    )
    needs = {}
    for family in sorted({family_of(one) for one in cases}):
        needs[family] = draw(st.tuples(st.integers(1, 500), st.integers(0, 2000), st.integers(0, 300)))
    pairs = draw(st.lists(st.tuples(st.sampled_from(cases), st.sampled_from(cases)), max_size=8))
    truth = {}
    for one in cases:
        context, variables, an_image = needs[family_of(one)]
        truth[one] = context + doubled_regions(variables + an_image * one.config.batch_size)
    return cases, [pair for pair in pairs if pair[0] != pair[1]], truth, draw(st.integers(0, 20_000))


def doubled_regions(needed):
    """The sum of an allocator's regions of 1, 2, 4, … once they have room for what is needed."""
    return 2 ** needed.bit_length() - 1


@given(runs())
def test_whatever_workers_take_those_that_are_alive_together_fit(run):
    cases, pairs, truth, budget = run
    cases = sorted(cases, key=lambda one: one.config.batch_size)
    parts, probed = groups(cases, pairs), []
    sizes: dict[PlannedCase, Size] = {}
    while (probe := next_probe(parts, sizes, budget)) is not None:
        assert probe not in sizes
        probed.append(probe)
        sizes[probe] = Size(taken_bytes=truth[probe], origin="process")
    for one in cases:
        size = estimate(one, sizes)
        assert size is None or size.taken_bytes >= truth[one]
    for family in {family_of(one) for one in cases}:
        batches = [one.config.batch_size for one in probed if family_of(one) == family]
        assert batches == sorted(batches)
        smallest = min(one.config.batch_size for one in cases if family_of(one) == family)
        assert batches[:1] == ([smallest] if budget and len(cases) > 1 else [])
    bases = {variant: base for base, variant in pairs}
    for jobs in cohorts(parts, 2, budget, planned_bytes(cases, sizes, budget), bases):
        assert len(jobs) == 1 or sum(truth[job.case] for job in jobs) <= budget


LIES = [None, 3, {}, {"bytes": 1}, {"bytes": True, "origin": "process"}, {"bytes": 2**70, "origin": "growth"}]


@pytest.mark.parametrize("record", LIES)
def test_a_size_is_read_as_it_was_written_or_refused(record):
    size = Size(taken_bytes=7, origin="growth")
    assert typed("here", msgspec.to_builtins(size), Size) == size
    with pytest.raises(GnetError, match=r"^here: "):
        typed("here", record, Size)
