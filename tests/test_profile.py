"""A real trace of the whole network as the tables of a profile.json, and TensorBoard on the same trace."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnet_core import profile
from gnet_core.config import GnetError, StepConfig
from gnet_core.network_parts import OTHER, PARTS, SUMS
from tests.traces import kernel_stats

LEAST_PLACED = 0.95
"""Of the self time of a step, what the operations' names have to place in a part of the network."""


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of the whole network under the profiler."""
    from gnet_core import trace

    directory = tmp_path_factory.mktemp("whole") / "traces"
    trace.trace_case(StepConfig(batch_size=2, image_size=96), directory, steps=2)
    return directory


@pytest.fixture(scope="module")
def tables(log_dir: Path) -> dict[str, Any]:
    (xplane,) = log_dir.glob("plugins/profile/*/*.xplane.pb")
    return profile.tables(xplane, on_gpu=False)


def test_nearly_all_of_a_real_steps_time_has_a_part_of_the_network(tables: dict[str, Any]) -> None:
    other = sum(row["share"] for row in tables["parts"] if row["part"] == OTHER)
    assert other <= 1 - LEAST_PLACED
    assert sum(row["share"] for row in tables["parts"]) == pytest.approx(1)


def test_nearly_all_of_a_real_xla_steps_time_has_a_part_too(tmp_path: Path) -> None:
    from gnet_core import trace

    case = StepConfig(execution="xla", batch_size=2, image_size=67)
    tables = profile.tables(trace.trace_case(case, tmp_path, steps=1).xplane, on_gpu=False)
    # What an instruction waits for its threads is nobody's, and on a busy machine that is more.
    assert sum(row["share"] for row in tables["parts"] if row["part"] != OTHER) >= 0.8
    found = {(row["part"], row["direction"]) for row in tables["parts"]}
    assert {(part, direction) for part in PARTS[:15] for direction in ("forward", "backward")} <= found


def test_every_part_of_the_network_is_there_forward_and_backward(tables: dict[str, Any]) -> None:
    found = {(row["part"], row["direction"]) for row in tables["parts"]}
    both_ways = PARTS[: PARTS.index(SUMS)]
    assert {(part, direction) for part in both_ways for direction in ("forward", "backward")} <= found
    assert {(SUMS, "backward"), ("metrics", "neither"), ("optimizer", "neither")} <= found
    assert [row["part"] for row in tables["parts"]] == sorted((row["part"] for row in tables["parts"]), key=PARTS.index)


def test_a_step_on_a_cpu_is_divided_without_what_only_a_device_has(tables: dict[str, Any]) -> None:
    kinds = {row["kind"]: row["share"] for row in tables["breakdown"]}
    assert "device compute" not in kinds
    assert sum(kinds.values()) == pytest.approx(1, abs=0.02)
    assert len(tables["step_seconds"]) == 2


def test_what_a_cpu_trace_cannot_tell_is_named_with_the_reason(tables: dict[str, Any]) -> None:
    missing = {row["what"]: row["why"] for row in tables["not_available"]}
    assert set(missing) == {"device compute and idle time", "kernels, tensor cores, occupancy"}
    assert all(missing.values())


def test_a_cpu_trace_tells_the_peak_of_tensorflows_allocator(tables: dict[str, Any]) -> None:
    memory = tables["peak_memory"]
    assert memory["allocator"].endswith("cpu")
    weights = 4 * 7_000_000  # of GoogLeNet's parameters; the step holds them, their gradients and Adam's moments
    assert weights < memory["peak_bytes"] < memory["capacity_bytes"]


def test_the_tables_are_plain_data(tables: dict[str, Any]) -> None:
    assert json.loads(json.dumps(tables, allow_nan=False)) == tables


class Told:
    """A trace of a GPU, as xprof would tell it."""

    xplane = Path("told.xplane.pb")

    def __init__(self, kernels: dict[str, Any], memory: dict[str, Any]) -> None:
        self._told = {"kernel_stats": kernels, "memory_profile": memory}

    def tool(self, name: str) -> Any:
        if name in self._told:
            return self._told[name]
        columns = ["stepTimeMs", "kernelLaunchTimeMs"]
        steps = {"cols": [{"id": each} for each in columns], "rows": [{"c": [{"v": 10.0}, {"v": 4.0}]}]}
        operation = ["Device", "Conv2D", "gradient_tape/googlenet_2/stem_7x7/convolution/x", 2.0, 50.0]
        columns = ["host_or_device", "type", "operation", "occurrences", "total_self_time"]
        statistics = {"cols": [{"id": each} for each in columns], "rows": [{"c": [{"v": each} for each in operation]}]}
        return {"overview_page": [steps], "framework_op_stats": [{}, statistics]}[name]


@contextlib.contextmanager
def gpu(kernels: dict[str, Any], memory: dict[str, Any]) -> Iterator[Told]:
    yield Told(kernels, memory)


def test_a_gpus_trace_tells_its_kernels_its_memory_and_its_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = kernel_stats(("xmma", True, True, 2, 50.0, 25.0))
    summary = {"peakStats": {"peakBytesInUse": "1024"}, "memoryCapacity": "4096"}
    memory = {"memoryProfilePerAllocator": {"GPU_0_bfc": {"profileSummary": summary}}}
    monkeypatch.setattr(profile, "open_trace", lambda _xplane: gpu(kernels, memory))
    tables = profile.tables(Path("x"), on_gpu=True)
    assert [row["kernel"] for row in tables["kernels"]] == ["xmma"]
    assert tables["peak_memory"] == {"allocator": "GPU_0_bfc", "peak_bytes": 1024, "capacity_bytes": 4096}
    assert {row["kind"]: row["share"] for row in tables["breakdown"]}["kernel launch"] == pytest.approx(0.4)
    assert [(row["part"], row["direction"]) for row in tables["parts"]] == [("stem", "backward")]
    assert tables["not_available"] == []


def test_a_gpus_trace_without_the_gpu_names_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "open_trace", lambda _xplane: gpu(kernel_stats(), {}))
    missing = [row["what"] for row in profile.tables(Path("x"), on_gpu=True)["not_available"]]
    assert missing == ["the GPU's kernels and their tensor cores", "the peak of the GPU's memory"]


def test_a_cpu_trace_without_an_allocation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "open_trace", lambda _xplane: gpu(kernel_stats(), {}))
    missing = [row["what"] for row in profile.tables(Path("x"), on_gpu=False)["not_available"]]
    assert "the peak of memory" in missing


class OfAThreadPool(Told):
    """A trace of an XLA step on a CPU whose thread pool numbers its work with a word."""

    def tool(self, name: str) -> Any:
        return [{}, {}] if name == "framework_op_stats" else super().tool(name)

    def events(self) -> list[dict[str, Any]]:
        shared = {"tid": 1, "ts": 0.0, "dur": 1.0}
        recorded = {"name": "ThreadpoolListener::Record", "args": {"flow": "first"}}
        return [shared | {"name": "fusion", "args": {"hlo_op": "fusion"}}, shared | recorded]

    def module_texts(self) -> list[str]:
        return []


ODD_MEMORY = {"memoryProfilePerAllocator": {"GPU_0_bfc": {"profileSummary": {"peakStats": {"peakBytesInUse": "much"}}}}}


@pytest.mark.parametrize(
    ("trace", "on_gpu", "named"),
    [
        (Told(kernel_stats(), ODD_MEMORY), True, "much"),
        (Told({"cols": [{"id": "kernel_name"}], "rows": [{"c": [{"v": "sgemm"}]}]}, {}), True, "KeyError"),
        (Told(kernel_stats(), {"memoryProfilePerAllocator": []}), True, "AttributeError"),
        (OfAThreadPool({}, {}), False, "first"),
    ],
)
def test_a_trace_that_is_in_no_shape_of_xprofs_is_refused_by_name(
    trace: Told, on_gpu: bool, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "open_trace", lambda _xplane: contextlib.nullcontext(trace))
    with pytest.raises(GnetError, match=rf"^xplane: 'odd\.xplane\.pb' holds what no step leaves \(.*{named}"):
        profile.tables(Path("odd.xplane.pb"), on_gpu=on_gpu)


@pytest.mark.parametrize("on_gpu", [True, False])
def test_an_empty_file_is_no_trace(tmp_path: Path, on_gpu: bool) -> None:
    xplane = tmp_path / "empty.xplane.pb"
    xplane.touch()
    with pytest.raises(GnetError, match=r"empty\.xplane\.pb"):
        profile.tables(xplane, on_gpu=on_gpu)


@pytest.mark.parametrize("steps", [0, 11, 2.5, True])
def test_a_number_of_steps_that_a_trace_cannot_have_is_refused(steps: Any) -> None:
    with pytest.raises(GnetError, match=r"^steps: "):
        profile.require_steps(steps)


def test_tensorboard_answers_and_lists_the_run(log_dir: Path) -> None:
    (run,) = (path.name for path in log_dir.glob("plugins/profile/*"))
    port = _free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir), "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        runs = _answer(f"http://127.0.0.1:{port}/data/plugin/profile/runs", server)
    finally:
        server.terminate()
        try:
            server.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()
    assert run in json.dumps(runs)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _answer(address: str, server: subprocess.Popen[str], patience_seconds: float = 120) -> Any:
    """What the server says there, once it does; its answers may be gzipped. It lists a run a little after it starts."""
    deadline = time.monotonic() + patience_seconds
    told: Any = None
    while time.monotonic() < deadline:
        assert server.poll() is None, server.stderr and server.stderr.read()
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            with urllib.request.urlopen(address, timeout=30) as response:  # noqa: S310 - our own server
                body = response.read()
            told = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
            if told:
                return told
        time.sleep(0.5)
    raise AssertionError(f"TensorBoard said {told!r} within {patience_seconds:g} s")
