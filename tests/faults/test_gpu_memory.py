"""Real runs of processes that take a GPU's memory, which the stand-in for NVML counts."""

import json
import time

import pytest

from tests.faults import checkout as house

GB = 10**9
WORDS = ["gpu:0" if word == "cpu" else word for word in house.WORDS]
TOGETHER, GRAPH, EAGER = ["eager", "graph"], ["graph"], ["eager"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu") / "checkout"
    return house.make_checkout(folder, house.GPU_DEVICE, house.GPU_CASE)


@pytest.fixture
def gpu(nvml, tmp_path, monkeypatch):
    """A GPU with 100 GB, all free. Each execution takes gigabytes to start with, from its first step on, in its turns.

    Where it is told to die, it ends its process instead of raising an error when there are none.
    """

    def use(graph, eager):
        folder = tmp_path / "processes"
        folder.mkdir(exist_ok=True)
        nvml.set(total=100 * GB, used=0, processes=folder)
        takes = {
            execution: {"bytes": [each * GB for each in wanted[:3]], "dies": "dies" in wanted}
            for execution, wanted in (("graph", graph), ("eager", eager))
        }
        monkeypatch.setenv("GNET_TAKES", json.dumps(takes))
        monkeypatch.setenv("GNET_TAKEN", str(folder))
        return nvml

    return use


def cohorts_of(directory):
    """The executions that were alive together."""
    cohorts = house.read(directory)["cohorts"]
    return [sorted(worker.partition("-")[0] for worker in cohort["workers"]) for cohort in cohorts]


def sizes_of(directory):
    """In gigabytes, of graph and eager."""
    sizes = {case["config"]["execution"]: case.get("gpu_memory") for case in house.read(directory)["cases"]}
    return [size and (size["bytes"] / GB, size["origin"]) for size in (sizes["graph"], sizes["eager"])]


def require_whole(directory, status, err):
    assert (status, house.why_not_whole(directory)) == (0, ""), err
    assert "Traceback" not in err
    assert not house.orphans(str(directory))


def test_workers_that_fit_are_alive_together_and_their_sizes_are_told(tmp_path, checkout, gpu):
    gpu((1, 20, 20), (2, 40, 40))
    directory = tmp_path / "run"
    status, _, err = house.gnet(checkout, *WORDS, "--out", str(directory))
    require_whole(directory, status, err)
    assert cohorts_of(directory) == [TOGETHER] * house.REPLICATES
    assert house.read(directory)["gpu_memory"] == {"free_bytes": 100 * GB, "budget_bytes": 70 * GB, "note": ""}
    assert sizes_of(directory) == [(20, "process"), (40, "process")]


def test_workers_that_do_not_fit_together_are_never_alive_together(tmp_path, checkout, gpu):
    gpu((1, 30, 30), (2, 71, 71))
    directory = tmp_path / "run"
    status, _, err = house.gnet(checkout, *WORDS, "--out", str(directory))
    require_whole(directory, status, err)
    assert sorted(cohorts_of(directory)) == [EAGER, EAGER, GRAPH, GRAPH]


GROWING = [((1, 20, 70), (1, 40, 40), GRAPH), ((1, 20, 20), (1, 40, 90, "dies"), EAGER)]


def test_a_worker_that_grows_in_its_turns_beside_others_is_tried_again_alone(tmp_path, checkout, gpu, faults):
    for number, (graph, eager, crowded) in enumerate(faults.slice_of(GROWING, 1)):
        gpu(graph, eager)
        directory = tmp_path / f"run {number}"
        status, _, err = house.gnet(checkout, *WORDS, "--out", str(directory))
        require_whole(directory, status, err)
        assert cohorts_of(directory) == [*[TOGETHER] * house.REPLICATES, *[crowded] * house.REPLICATES]
        faults.count("workers that grow")


CROWDED = [
    (1, 35, 35),  # there is none at its first step
    (30, 35, 35),  # or it cannot even start
    (30, 35, 35, "dies"),
]


def test_memory_that_strangers_took_since_the_probes_costs_no_case(tmp_path, checkout, gpu, faults):
    for number, eager in enumerate(faults.slice_of(CROWDED, 1)):
        driver = gpu((1, 30, 30), eager)
        directory = tmp_path / f"run {number}"
        with house.start(checkout, *WORDS, "--out", str(directory)) as run:
            while not (directory / "run.json").exists() or None in sizes_of(directory):
                assert run.poll() is None
                time.sleep(0.02)
            driver.set(used=45 * GB)
            _, err = run.communicate(timeout=120)
        require_whole(directory, run.returncode, err)
        assert cohorts_of(directory) == [*[TOGETHER] * house.REPLICATES, *[EAGER] * house.REPLICATES]
        faults.count("strangers")


TOO_LARGE = [(1, 101, 101), (101, 101, 101), (1, 101, 101, "dies")]


def test_a_case_that_is_out_of_memory_alone_is_a_row_at_once(tmp_path, checkout, gpu, faults):
    for number, eager in enumerate(faults.slice_of(TOO_LARGE, 1)):
        gpu((1, 20, 20), eager)
        directory = tmp_path / f"run {number}"
        status, _, err = house.gnet(checkout, *WORDS, "--out", str(directory))
        assert status == 3, err
        cases = {case["config"]["execution"]: case for case in house.read(directory)["cases"]}
        assert (cases["graph"]["status"], cases["eager"]["status"]) == ("ok", "oom")
        assert any(sign in cases["eager"]["note"] for sign in ("CUDA_ERROR_OUT_OF_MEMORY", "RESOURCE_EXHAUSTED"))
        assert cohorts_of(directory) == [GRAPH] * house.REPLICATES
        faults.count("cases that are too large")


def test_a_run_that_was_killed_among_its_probes_does_not_probe_again_what_it_knows(tmp_path, checkout, gpu):
    gpu((1, 20, 20), (2, 40, 40))
    directory = tmp_path / "run"
    with house.start(checkout, *WORDS, "--out", str(directory)) as run:
        while not list(directory.glob("raw/eager-*.r0.log")):
            assert run.poll() is None
            time.sleep(0.02)
        run.kill()
        run.communicate(timeout=60)
    assert sizes_of(directory) == [(20, "process"), None]
    text = (directory / "run.json").read_text()
    (directory / "run.json").write_text(text.replace(f'"bytes": {20 * GB}', f'"bytes": {21 * GB}'))
    status, _, err = house.gnet(checkout, "bench", "--resume", str(directory))
    require_whole(directory, status, err)
    assert sizes_of(directory) == [(21, "process"), (40, "process")]
    assert not list((directory / "raw").glob("*.r0.*"))
