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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnet_core import config
from gnet_core.config import GnetError, StepConfig
from gnet_core.profile import reading
from gnet_core.profile.gpu_tables import NOTHING_OF_THE_GPU
from gnet_core.profile.parts import OTHER, PARTS, SUMS
from gnet_core.profile.step_breakdown import AT_WORK, REST
from tests.traces import Launch, gpu_trace

MIN_PLACED = 0.95
"""Of the self time of a step, what the operations' names have to place in a part of the network."""


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of the whole network under the profiler."""
    from gnet_core.frameworks.tf import trace

    directory = tmp_path_factory.mktemp("whole") / "traces"
    trace.trace_case(StepConfig(batch_size=2, image_size=96), directory, steps=2)
    return directory


@pytest.fixture(scope="module")
def tables(log_dir: Path) -> dict[str, Any]:
    (xplane,) = log_dir.glob("plugins/profile/*/*.xplane.pb")
    return reading.tables(xplane, on_gpu=False)


def test_nearly_all_of_a_real_steps_time_has_a_part_of_the_network(tables: dict[str, Any]) -> None:
    other = sum(row["share"] for row in tables["parts"] if row["part"] == OTHER)
    assert other <= 1 - MIN_PLACED
    assert sum(row["share"] for row in tables["parts"]) == pytest.approx(1)


@pytest.mark.campaign  # half a minute of XLA's compiler; a tiny step through it is in test_compiled_step
def test_nearly_all_of_a_real_xla_steps_time_has_a_part_too(tmp_path: Path) -> None:
    from gnet_core.frameworks.tf import trace

    case = StepConfig(execution="xla", batch_size=2, image_size=67)
    tables = reading.tables(trace.trace_case(case, tmp_path, steps=1).xplane, on_gpu=False)
    # What an instruction waits for its threads is nobody's, and on a busy machine that is more.
    assert sum(row["share"] for row in tables["parts"] if row["part"] != OTHER) >= 0.8
    places = {(row["part"], row["direction"]) for row in tables["parts"]}
    assert {(part, direction) for part in PARTS[:15] for direction in ("forward", "backward")} <= places


def test_every_part_of_the_network_is_there_forward_and_backward(tables: dict[str, Any]) -> None:
    places = {(row["part"], row["direction"]) for row in tables["parts"]}
    both_ways = PARTS[: PARTS.index(SUMS)]
    assert {(part, direction) for part in both_ways for direction in ("forward", "backward")} <= places
    assert {(SUMS, "backward"), ("metrics", "neither"), ("optimizer", "neither")} <= places
    assert [row["part"] for row in tables["parts"]] == sorted((row["part"] for row in tables["parts"]), key=PARTS.index)


def test_a_step_on_a_cpu_is_divided_without_what_only_a_device_has(tables: dict[str, Any]) -> None:
    kinds = {row["kind"]: row["share"] for row in tables["breakdown"]}
    assert "device compute" not in kinds
    assert sum(kinds.values()) == pytest.approx(1, abs=0.02)
    assert len(tables["step_seconds"]) == 2


def test_what_a_cpu_trace_cannot_tell_is_named_with_the_reason(tables: dict[str, Any]) -> None:
    missing = {row["what"]: row["why"] for row in tables["not_available"]}
    assert set(missing) - {"the peak of memory"} == {"device compute and idle time", "kernels, tensor cores, occupancy"}
    assert all(missing.values())


def test_a_cpu_trace_tells_the_peak_of_the_allocator_or_that_it_cannot(tables: dict[str, Any]) -> None:
    """oneDNN's allocator tells a trace of itself, and TensorFlow leaves oneDNN out on a processor without AVX-512."""
    memory = tables["peak_memory"]
    missing = {row["what"] for row in tables["not_available"]}
    assert (memory is None) == ("the peak of memory" in missing)
    if memory is None:
        return
    assert memory["allocator"].endswith("cpu")
    weights = 4 * 7_000_000  # of GoogLeNet's parameters; the step holds them, their gradients and Adam's moments
    assert weights < memory["peak_bytes"] < memory["capacity_bytes"]


def test_the_tables_are_plain_data(tables: dict[str, Any]) -> None:
    assert json.loads(json.dumps(tables, allow_nan=False)) == tables


HOST = "what the host did in a step: input, launches, compilation"

STEP = (
    Launch(
        "sm80_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_tensor16x8x16", 400, "stem_7x7/convolution/Conv2D:Conv2D"
    ),
    Launch("Mul_GPU_DT_FLOAT_DT_FLOAT_kernel", 200, "gradient_tape/stem_7x7_bn/mul:Mul"),
    Launch("gemm_fusion_dot_3", 150, "main_dense/MatMul:MatMul"),
    Launch("ampere_sgemm_32x32_tn", 150),
)


@pytest.fixture
def gpu_tables(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What is told of a made-up step on a GPU, by way of real xprof."""

    def answer(*launches: Launch, **how: Any) -> dict[str, Any]:
        return reading.tables(gpu_trace(tmp_path / "gpu.xplane.pb", launches, **how), on_gpu=True)

    return answer


def missing(tables: dict[str, Any]) -> dict[str, str]:
    return {row["what"]: row["why"] for row in tables["not_available"]}


def test_a_gpus_trace_tells_operations_parts_and_steps(gpu_tables: Callable[..., dict[str, Any]]) -> None:
    tables = gpu_tables(*STEP)
    assert [row["operation"] for row in tables["operations"]] == ["Conv2D", "Mul", "MatMul"]
    assert [(row["part"], row["direction"]) for row in tables["parts"]] == [
        ("stem", "backward"),
        ("stem", "forward"),
        ("main", "forward"),
    ]
    assert tables["step_seconds"] == pytest.approx([930e-6] * 3)
    assert missing(tables).keys() == {"the peak of the GPU's memory", HOST}
    assert json.loads(json.dumps(tables, allow_nan=False)) == tables


def test_a_gpus_step_is_divided_without_what_xprof_does_not_count_of_the_host(
    gpu_tables: Callable[..., dict[str, Any]],
) -> None:
    tables = gpu_tables(*STEP)
    kinds = {row["kind"]: row["seconds"] for row in tables["breakdown"]}
    assert kinds == {
        "device compute": pytest.approx(900e-6),
        "device to device": 0.0,
        "device collectives": 0.0,
        REST: pytest.approx(30e-6),  # of four launches of 10 each the first is before the first kernel
    }
    assert "from its first kernel to its last" in missing(tables)[HOST]


def test_a_gpus_trace_tells_of_tensor_cores_what_the_kernels_names_tell(
    gpu_tables: Callable[..., dict[str, Any]],
) -> None:
    tables = gpu_tables(*STEP)
    assert tables["tensor_cores"] == pytest.approx({"used": 8 / 18, "not used": 7 / 18, "unknown": 3 / 18})
    assert {row["kernel"]: row["tensor_cores"] for row in tables["kernels"]} == dict(
        zip((each.kernel for each in STEP), ("used", "not used", "unknown", "not used"), strict=True)
    )


def test_a_gpus_trace_tells_the_time_of_its_kernels_beside_that_of_its_operations(
    gpu_tables: Callable[..., dict[str, Any]],
) -> None:
    assert gpu_tables(*STEP)["device_time"] == {
        "operations_seconds": pytest.approx(3 * 750e-6),
        "kernels_seconds": pytest.approx(3 * 900e-6),
        "unnamed_kernels_seconds": pytest.approx(3 * 150e-6),
        "operations_cut": False,
        "kernels_cut": False,
    }


def test_a_trace_without_marked_steps_lacks_their_table_alone(gpu_tables: Callable[..., dict[str, Any]]) -> None:
    tables = gpu_tables(*STEP, marked=False)
    assert missing(tables)["what a step's time goes to"] == "xprof recognised no step"
    assert len(tables["operations"]) == 3
    assert len(tables["kernels"]) == 4


def test_a_gpus_trace_without_the_gpu_names_what_it_lacks_and_shows_nothing_of_the_host(log_dir: Path) -> None:
    (xplane,) = log_dir.glob("plugins/profile/*/*.xplane.pb")
    tables = reading.tables(xplane, on_gpu=True)
    assert (tables["operations"], tables["parts"], tables["kernels"]) == ([], [], [])
    assert (tables["tensor_cores"], tables["device_time"]) == (None, None)
    assert missing(tables) == {
        "time by operation and by part of the network": "the trace holds no operation that ran on the GPU",
        "the GPU's kernels and their tensor cores": NOTHING_OF_THE_GPU,
        "the peak of the GPU's memory": "the trace holds no allocation; gnet bench tells what was held",
        "device compute and idle time": NOTHING_OF_THE_GPU,
    }
    assert len(tables["step_seconds"]) == 2
    assert {*AT_WORK, "kernel launch"}.isdisjoint(row["kind"] for row in tables["breakdown"])
    assert tables["note"] == "There is no table of operations: the trace holds no operation that ran on the GPU."


def test_eager_execution_on_a_gpu_says_why_there_are_no_parts(gpu_tables: Callable[..., dict[str, Any]]) -> None:
    tables = gpu_tables(Launch("xmma", 400, "Conv2D:Conv2D"), Launch("mul", 100, "Mul:Mul"))
    assert tables["parts"] == []
    assert missing(tables)["time by part of the network"].startswith("eager execution gives the profiler")


def test_a_cpu_trace_without_an_allocation_says_so(gpu_tables: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    gpu_tables(*STEP)
    assert "no allocation" in missing(reading.tables(tmp_path / "gpu.xplane.pb", on_gpu=False))["the peak of memory"]


TABLES = {
    "overview_page": "what a step's time goes to",
    "framework_op_stats": "time by operation and by part of the network",
    "kernel_stats": "the GPU's kernels and their tensor cores",
    "memory_profile": "the peak of the GPU's memory",
}


def raises(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


@pytest.mark.parametrize("tool", TABLES)
@pytest.mark.parametrize(
    ("says", "why"),
    [
        (lambda: None, "tells nothing of this trace"),
        (lambda: b"", "tells nothing of this trace"),
        (lambda: b"<html>", "which is no JSON"),
        (lambda: b'{"cols": [{"id": "kernel_name"}], "rows": [{"c": 3}], "memoryProfilePerAllocator": 3}', "no step"),
        (raises(RuntimeError("core\ndumped")), "fails on this trace (RuntimeError: core)"),
        (raises(KeyError("stats")), "fails on this trace (KeyError: 'stats')"),
    ],
)
def test_a_tool_that_tells_nothing_costs_its_own_table(
    tool: str, says: Callable[[], Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xprof.convert import raw_to_tool_data

    convert = raw_to_tool_data.xspace_to_tool_data

    def instead(paths: Any, name: str, *others: Any) -> Any:
        return (says(), "application/json") if name == tool else convert(paths, name, *others)

    monkeypatch.setattr(raw_to_tool_data, "xspace_to_tool_data", instead)
    # framework_op_stats is asked for what XLA compiled.
    step = [Launch("fusion_1", 100, instruction="fusion.1")] if tool == "framework_op_stats" else STEP
    tables = reading.tables(gpu_trace(tmp_path / "gpu.xplane.pb", step), on_gpu=True)
    answer = missing(tables)
    assert why in answer[TABLES[tool]]
    assert set(answer) <= {TABLES[tool], TABLES["memory_profile"], HOST}
    assert ("operations" if tool == "kernel_stats" else "kernels", True) in {(k, bool(v)) for k, v in tables.items()}


class OfAThreadPool:
    """A trace of an XLA step on a CPU whose thread pool numbers its work with a word."""

    xplane = Path("odd.xplane.pb")

    def tool(self, name: str) -> Any:
        return [] if name == "overview_page" else {}

    def events(self) -> list[dict[str, Any]]:
        shared = {"tid": 1, "ts": 0.0, "dur": 1.0}
        recorded = {"name": "ThreadpoolListener::Record", "args": {"flow": "first"}}
        return [shared | {"name": "fusion", "args": {"hlo_op": "fusion"}}, shared | recorded]

    def module_texts(self) -> list[str]:
        return []


def test_events_that_no_step_leaves_cost_the_table_of_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "open_trace", lambda _xplane: contextlib.nullcontext(OfAThreadPool()))
    tables = reading.tables(Path("odd.xplane.pb"), on_gpu=False)
    assert "first" in missing(tables)["time by operation and by part of the network"]
    assert tables["note"].startswith("There is no table of operations: the trace holds what no step leaves (ValueError")


REAL = Path(__file__).parents[2] / ".." / "shared" / "gpu" / "without-a-gpu"
"""Traces of others' GPUs, which are not the project's to hand on."""


def real_trace(name: str) -> Path:
    if not (REAL / name).is_file():
        pytest.skip(f"needs ../shared/gpu/without-a-gpu/{name}, from the project's root")
    return REAL / name


def test_a_real_trace_of_eight_gpus_of_which_six_did_nothing() -> None:
    tables = reading.tables(real_trace("tf-2020-8xV100-bert.xplane.pb"), on_gpu=True)
    kinds = {row["kind"]: row["share"] for row in tables["breakdown"]}
    assert kinds["device compute"] == pytest.approx(0.698, abs=1e-3)
    assert tables["operations"] == []  # the format of 2020 names them otherwise; the host's are no substitute
    assert len(tables["kernels"]) > 10
    assert tables["tensor_cores"]["used"] == 0  # dropout, casts and the like, before the first matrix product
    assert tables["tensor_cores"]["not used"] > 0.99
    assert tables["peak_memory"]["allocator"] == "GPU_6_bfc"


def test_a_real_trace_of_a_step_that_xla_compiled_for_a_gpu() -> None:
    tables = reading.tables(real_trace("jax08-mi300-conv.xplane.pb"), on_gpu=True)
    assert [row["operation"] for row in tables["operations"]] == ["conv_general_dilated", "x", "kernel"]
    assert missing(tables)["time by part of the network"] == "none of the operations' names is one of the network's"
    assert missing(tables)["what a step's time goes to"] == "xprof recognised no step"
    assert set(tables["tensor_cores"]) == {"used", "not used", "unknown"}
    assert tables["device_time"]["unnamed_kernels_seconds"] > 0


@pytest.mark.parametrize("on_gpu", [True, False])
def test_an_empty_file_is_no_trace(tmp_path: Path, on_gpu: bool) -> None:
    xplane = tmp_path / "empty.xplane.pb"
    xplane.touch()
    with pytest.raises(GnetError, match=r"empty\.xplane\.pb"):
        reading.tables(xplane, on_gpu=on_gpu)


@pytest.mark.parametrize("steps", [0, 11, 2.5, True])
def test_a_number_of_steps_that_a_trace_cannot_have_is_refused(steps: Any) -> None:
    with pytest.raises(GnetError, match=r"^steps: "):
        config.require_steps(steps)


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
    answer: Any = None
    while time.monotonic() < deadline:
        assert server.poll() is None, server.stderr and server.stderr.read()
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            with urllib.request.urlopen(address, timeout=30) as response:  # noqa: S310 - our own server
                body = response.read()
            answer = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
            if answer:
                return answer
        time.sleep(0.5)
    raise AssertionError(f"TensorBoard said {answer!r} within {patience_seconds:g} s")
