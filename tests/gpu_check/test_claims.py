"""Each promise of the GPU side, judged by made-up results: confirmed, wrong and open."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pandas as pd
import pytest

from gnet_core.config import PEERS, StepConfig
from gnet_core.files.json_documents import typed
from gnet_core.frameworks.tf import command_buffers
from gnet_core.gpu_check import claims
from gnet_core.gpu_check.evidence import SAMPLED, Claim, Figure, Finding, Result, Seen, WorkerReading
from gnet_core.gpu_check.report import CheckReport, to_json
from gnet_core.machine.gpu_conditions import Sample, Span
from gnet_core.profile import document as profile_document
from gnet_core.results import records, turns
from gnet_core.results.raw_files import RawFile, RawProcess
from tests import traces
from tests.conftest import RunDirectory, environment_of, raw_document
from tests.stored import processes

GPU = "gpu:0"
NAME = "NVIDIA H100 80GB HBM3"

USUAL = StepConfig(device=GPU, batch_size=64)
BFLOAT16 = dataclasses.replace(USUAL, precision="mixed_bfloat16")
TF32 = dataclasses.replace(USUAL, precision="tf32")
KERAS = dataclasses.replace(USUAL, layers="keras")
SUITES = [
    {"name": "precision", "question": "?", "varies": "precision", "base": "float32"},
    {"name": "implementation", "question": "?", "varies": "layers", "base": "keras"},
]


@pytest.fixture
def environment(environment):
    environment["machine"]["gpus"] = [{"name": NAME, "memory_bytes": 80 * 2**30, "driver": "580.95.05"}]
    place = {"name": "libcudart.so.12", "package": "", "at_start": True, "path": "/lib/libcudart.so.12", "error": None}
    environment["machine"]["nvidia"] = {"driver": "580", "cuda_version": [13, 0], "libraries": [place]}
    environment["tensorflow"] |= {
        "built_for_cuda": True,
        "gpus": [{"device": GPU, "name": NAME, "compute_capability": [9, 0]}],
    }
    return environment


def samples(**changes: Any) -> list[Sample]:
    """A GPU at 400 W and 1980 MHz while it works for 6 s, and at 70 W for 2 s in which it idles."""
    readings = []
    for number in range(-1, 160):
        at = 100.0 + 0.05 * number
        busy = 100.0 <= at < 106.0
        readings.append(
            Sample(
                at_seconds=at,
                power_watts=400.0 if busy else 70.0,
                clock_hz=1980e6 if busy else 345e6,
                temperature_celsius=55.0,
                joules=400.0 * max(0.0, min(at - 100.0, 6.0)),
                reasons=4 if busy else 1,
                lowered_seconds={4: 0.0},
            )
        )
    return [dataclasses.replace(reading, **changes) for reading in readings]


def worker(**info: Any) -> WorkerReading:
    document = raw_document(BFLOAT16, [3.0], **{"low_precision_share": 0.9998, "peak_memory_bytes": 3 * 2**30} | info)
    (benchmark,) = typed("raw", document, RawFile).benchmarks
    return WorkerReading(
        process=RawProcess(block_seconds=[3.0], config=BFLOAT16, info=benchmark.extra_info, digest=""),
        samples=samples(),
        block=Span(100.0, 103.0),
        work=Span(100.0, 106.0),
        process_bytes=4 * 2**30,
        growth_bytes=5 * 2**30,
    )


DEVICE_TIME: dict[str, Any] = {
    "operations_seconds": 0.2,
    "kernels_seconds": 0.2,
    "unnamed_kernels_seconds": 0.0,
    "operations_cut": False,
    "kernels_cut": False,
}


def profile(environment: dict[str, Any], **changes: Any) -> profile_document.Profile:
    """A trace of two steps on a GPU, 100 ms of operations and of kernels a step."""
    kernel = {"tensor_cores": "used", "occurrences": 8, "occupancy": 0.5}
    whole: dict[str, Any] = {
        "config": BFLOAT16.to_dict(),
        "device": GPU,
        "breakdown": [{"kind": "device compute", "seconds": 0.1, "share": 0.9}],
        "operations": [
            {"operation": "Conv2D", "occurrences": 8, "self_seconds": 0.19, "share": 0.95},
            {"operation": "Transpose", "occurrences": 12, "self_seconds": 0.01, "share": 0.05},
        ],
        "parts": [{"part": "stem", "direction": "forward", "occurrences": 8, "self_seconds": 0.2, "share": 1.0}],
        "kernels": [kernel | {"kernel": "sm90_xmma_gemm", "seconds": 0.2, "share": 1.0}],
        "device_time": DEVICE_TIME,
        "peak_memory": {"allocator": "GPU_0_bfc", "peak_bytes": 3 * 2**30, "capacity_bytes": None},
        "not_available": [],
    }
    return profile_document.read(traces.document(environment, **whole | changes))


LAYERS = [
    {"operation": "_FusedBatchNormEx", "occurrences": 36, "self_seconds": 0.1, "share": 0.5},
    {"operation": "FusedBatchNormV3", "occurrences": 64, "self_seconds": 0.1, "share": 0.5},
]
SLOW_KERNEL = {
    "kernel": "ampere_sgemm_32x32",
    "tensor_cores": "not used",
    "occurrences": 8,
    "seconds": 0.2,
    "occupancy": 0.5,
    "share": 1.0,
}


def without_command_buffers(profile: profile_document.Profile) -> profile_document.Profile:
    trace = msgspec.structs.replace(profile.trace, warnings=[command_buffers.NOTE])
    return msgspec.structs.replace(profile, trace=trace)


def profiles(environment: dict[str, Any]) -> dict[str, profile_document.Profile]:
    by_name: dict[str, profile_document.Profile] = {name: profile(environment) for name in SAMPLED}
    by_name["xla"] = without_command_buffers(by_name["xla"])
    by_name["float32"] = profile(environment, operations=LAYERS, kernels=[SLOW_KERNEL])
    idling = [{"kind": "device compute", "seconds": 0.05, "share": 0.1}]
    return by_name | {"batch 1": profile(environment, breakdown=idling)}


def gpu_turn(_number: int) -> dict[str, Any]:
    """The figures of a GPU in a turn as it should be."""
    figures: dict[str, Any] = {"samples": 40, "sm_clock_hz": 1980e6, "sm_clock_change": 0.01, "power_watts": 400.0}
    figures |= {"power_limit_watts": 700.0, "temperature_celsius": 55.0, "power_cap_share": 0.0, "energy_joules": 800.0}
    figures |= {"other_processes": 0, "throttle_reasons": ""}
    return {f"gpu_{name}": value for name, value in figures.items()}


@pytest.fixture
def directory(run_directory: RunDirectory) -> RunDirectory:
    """A run in which all is as it should be."""
    run_directory.document |= {"device": GPU, "suites": SUITES, "peaks": [{"float32": {"flop_per_second": 1e15}}]}
    fill(run_directory)
    run_directory.document["gpu_memory"] = {"free_bytes": 80 * 2**30, "budget_bytes": 56 * 2**30, "note": ""}
    for case in run_directory.document["cases"]:
        case["gpu_memory"] = {"bytes": 8 * 2**30, "origin": "told"}
    run_directory.write()
    return run_directory


def fill(directory: RunDirectory, **seconds: float) -> None:
    for config, suites, usual in (
        (USUAL, ("precision", "implementation"), 0.10),
        (TF32, ("precision",), 0.05),
        (BFLOAT16, ("precision",), 0.04),
        (KERAS, ("implementation",), 0.12),
    ):
        name = "keras" if config.layers == "keras" else config.precision
        directory.add(config, *processes(seconds.get(name, usual)), suites=suites, gpu=gpu_turn)


@pytest.fixture
def seen(environment: dict[str, Any], directory: RunDirectory) -> Seen:
    """All that a check can see, and all of it as promised."""
    run = records.load_run(directory.path)
    peers = records.load_run(directory.path)
    results: dict[str, Result] = {"peak": 1e15, "bench": run, "bench execution": run, "frameworks": peers}
    results |= {f"worker {execution}": worker() for execution in SAMPLED}
    results |= {f"profile {name}": trace for name, trace in profiles(environment).items()}
    for case, framework in zip(peers.configs, ("tensorflow", "torch", "torch", "jax"), strict=True):
        peers.configs[case] = dataclasses.replace(peers.configs[case], framework=framework)  # type: ignore[arg-type]
    section = {"gpus": [{"device": GPU, "name": NAME}], "built_for_cuda": True}
    peers.document.environments.update({name: environment_of({**environment, name: section}) for name in PEERS})
    return Seen(
        device=GPU,
        environment=environment_of(environment),
        results=results,
        turns=turns.read_turns(directory.path, run.document.run),
        why_not={},
    )


def claim_of(seen: Seen, start: str) -> Claim:
    (claim,) = [claim for claim in claims.judge(seen) if claim.claim.startswith(start)]
    return claim


def with_results(seen: Seen, **changes: Result) -> Seen:
    """Other results of steps, whose names have underscores here."""
    return dataclasses.replace(
        seen, results={**seen.results, **{name.replace("_", " "): changes[name] for name in changes}}
    )


def without(seen: Seen, step: str) -> Seen:
    """The same as if a step had left nothing, as the check says it."""
    results = {name: result for name, result in seen.results.items() if name != step}
    return dataclasses.replace(seen, results=results, why_not={step: "failed: it died"})


def test_where_all_is_as_promised_every_claim_is_confirmed(seen):
    assert {claim.claim: claim.verdict for claim in claims.judge(seen) if claim.verdict != "confirmed"} == {}


def test_a_rehearsal_on_a_cpu_confirms_nothing_and_finds_nothing_wrong(seen):
    judged = claims.judge(dataclasses.replace(seen, device="cpu"))
    assert {claim.verdict for claim in judged} == {"open"}
    assert all(claim.evidence[0] == "rehearsed on a CPU" for claim in judged)
    assert any(finding.figures for claim in judged for finding in claim.findings)


STEPS = {
    "The proof of precision": "worker xla",
    "What NVML says a worker takes": "worker eager",
    "The energy counter": "worker graph",
    "XLA's first call": "worker xla",
    "Power rises with the work": "worker graph",
    "A reading of NVML": "worker graph",
    "No step in bfloat16": "peak",
    "A step of a single image": "profile batch 1",
    "XLA's command buffers": "profile xla",
    "float32 runs on no tensor cores": "profile float32",
    "Nothing converts layouts": "profile xla",
    "No process has more memory": "bench",
    "In 90% of the turns": "bench",
    "NVML tells who else": "bench",
    "The GPU is seen by": "frameworks",
    "A trace holds": "profile graph",
    "Kernels' names": "profile float32",
    "mixed_bfloat16 runs on": "profile xla",
    "The times of operations": "profile xla",
    "A graph and XLA tell": "profile graph",
    "Every case of the run": "bench",
    "TF32 is off": "bench",
    "mixed_bfloat16 is faster": "bench",
    "The fused layers": "bench execution",
    "Losses are": "bench",
    "Every turn": "bench",
    "At most 10% of the turns": "bench",
    "PyTorch and JAX": "frameworks",
}


@pytest.mark.parametrize(("claim", "step"), STEPS.items())
def test_what_a_step_did_not_leave_is_open_for_the_steps_reason(seen, claim, step):
    judged = claim_of(without(seen, step), claim)
    assert judged.verdict == "open"
    assert "failed: it died" in "; ".join(judged.evidence)


def test_every_claim_but_those_of_the_devices_rests_on_a_step(seen):
    assert len(claims.judge(seen)) == len(STEPS) + 2


# --- the devices


def with_devices(seen: Seen, driver: list[str], tensorflow: list[str], visible: str | None = None) -> Seen:
    environment = msgspec.to_builtins(seen.environment)
    environment["machine"]["gpus"] = [{"name": name, "memory_bytes": None, "driver": "580"} for name in driver]
    if visible is not None:
        environment["machine"]["environment_variables"] = {"CUDA_VISIBLE_DEVICES": visible}
    gpus = [{"device": f"gpu:{number}", "name": name} for number, name in enumerate(tensorflow)]
    environment["tensorflow"]["gpus"] = gpus
    return dataclasses.replace(seen, environment=environment_of(environment))


@pytest.mark.parametrize(("path", "verdict"), [("/site/libcusolver.so.11", "confirmed"), (None, "wrong")])
def test_a_library_that_is_not_found_is_wrong_and_named(seen, path, verdict):
    library = {"name": "libcusolver.so.11", "package": "", "at_start": True, "path": path}
    environment = msgspec.to_builtins(seen.environment)
    environment["machine"]["nvidia"] = {"libraries": [library | {"error": None if path else "cannot open"}]}
    judged = claim_of(dataclasses.replace(seen, environment=environment_of(environment)), "Each of NVIDIA's libraries")
    assert judged.verdict == verdict
    assert path or "libcusolver.so.11: cannot open" in judged.evidence[0]


@pytest.mark.parametrize(
    ("driver", "tensorflow", "visible", "verdict"),
    [
        (["A", "B"], ["A", "B"], None, "confirmed"),
        (["A", "B"], ["B", "A"], None, "wrong"),
        (["A", "B"], ["A"], None, "wrong"),
        (["A", "B"], ["B"], "1", "open"),
        (["A"], [], "0", "wrong"),
    ],
)
def test_devices_are_compared_by_name_and_order(seen, driver, tensorflow, visible, verdict):
    changed = with_devices(seen, driver, tensorflow, visible)
    assert claim_of(changed, "TensorFlow sees the GPUs").verdict == verdict


# --- workers


def with_worker(seen: Seen, **changes: Any) -> Seen:
    """One of the three is otherwise."""
    return with_results(seen, worker_xla=dataclasses.replace(worker(), **changes))


def with_info(seen: Seen, **info: Any) -> Seen:
    return with_results(seen, worker_xla=worker(**info))


@pytest.mark.parametrize(
    ("info", "evidence"),
    [
        ({"low_precision_share": 0.5}, "xla (wrong): share of the matrix work 0.5"),
        (
            {"low_precision_share": None, "low_precision_note": "no matrix work was seen"},
            "xla (wrong): no matrix work was seen",
        ),
    ],
)
def test_a_share_that_is_small_or_missing_is_wrong(seen, info, evidence):
    judged = claim_of(with_info(seen, **info), "The proof of precision")
    assert judged.verdict == "wrong"
    assert evidence in "; ".join(judged.evidence)


def test_an_allocator_that_has_more_than_nvml_knows_of_is_wrong(seen):
    judged = claim_of(with_info(seen, peak_memory_bytes=6 * 2**30), "What NVML says")
    assert (judged.verdict, [figure.value for figure in judged.findings[-1].figures]) == (
        *("wrong", [6.0, 4.0, 5.0, 17.0]),
    )


def test_where_the_process_is_not_told_what_the_device_grew_by_counts(seen):
    assert claim_of(with_worker(seen, process_bytes=0, growth_bytes=2**30), "What NVML says").verdict == "wrong"
    judged = claim_of(with_worker(seen, process_bytes=0, growth_bytes=0), "What NVML says")
    assert (judged.verdict, judged.findings[-1].because) == ("open", "NVML tells no memory of this device")


@pytest.mark.parametrize(
    ("field", "claim"),
    [("power_watts", "Power rises"), ("joules", "The energy counter")],
)
def test_what_rests_on_a_figure_that_is_not_told_is_open(seen, field, claim):
    assert claim_of(with_worker(seen, samples=samples(**{field: None})), claim).verdict == "open"


WORKER_CLAIMS = [name for name, step in STEPS.items() if step == "worker graph"]


@pytest.mark.parametrize("claim", WORKER_CLAIMS)
def test_without_samples_what_rests_on_them_is_open(seen, claim):
    judged = claim_of(with_worker(seen, samples=[]), claim)
    assert judged.verdict == "open"
    assert "NVML cannot tell which" in judged.findings[-1].because


def test_power_that_stays_where_it_was_is_wrong(seen):
    assert claim_of(with_worker(seen, samples=samples(power_watts=70.0)), "Power rises").verdict == "wrong"


@pytest.mark.parametrize(("watts", "verdict"), [(470.0, "confirmed"), (600.0, "wrong"), (300.0, "wrong")])
def test_energy_that_is_not_power_times_time_is_wrong(seen, watts, verdict):
    assert claim_of(with_worker(seen, samples=samples(power_watts=watts)), "The energy counter").verdict == verdict


@pytest.mark.parametrize(("gibibytes", "verdict"), [(9, "confirmed"), (10, "wrong")])
def test_more_than_the_reserve_is_wrong(seen, gibibytes, verdict):
    """Of 3 GiB in use at most, 9 are reserved: a region more than the 4 that hold it, and one for CUDA."""
    judged = claim_of(with_worker(seen, process_bytes=gibibytes * 2**30), "What NVML says")
    assert (judged.verdict, judged.findings[-1].figures[-1].value) == (verdict, 9.0)
    assert claim_of(with_worker(seen, process_bytes=None, growth_bytes=None), "What NVML says").verdict == "open"


@pytest.mark.parametrize(("seconds", "verdict"), [(0.3, "confirmed"), (0.9, "wrong")])
def test_power_that_falls_late_is_a_mean_over_time(seen, seconds, verdict):
    late = [
        dataclasses.replace(sample, power_watts=400.0) if 106.0 <= sample.at_seconds < 106.0 + seconds else sample
        for sample in samples()
    ]
    judged = claim_of(with_worker(seen, samples=late), "Power rises with the work")
    assert judged.verdict == verdict
    assert judged.findings[-1].figures[-1].value == pytest.approx(seconds, abs=0.06)


def test_a_slow_reading_is_wrong(seen):
    judged = claim_of(with_worker(seen, samples=samples(took_seconds=0.011)), "A reading of NVML")
    assert judged.verdict == "wrong"
    assert judged.findings[-1].figures[0].value == pytest.approx(11.0)


def test_a_compilation_of_minutes_is_wrong(seen):
    phases = {"import": 4.0, "build": 2.0, "trace": 7.0, "first_call": 130.0, "warmup": 1.0}
    assert claim_of(with_info(seen, phase_seconds=phases), "XLA's first call").verdict == "wrong"


def test_a_step_that_does_more_than_the_peak_is_wrong(seen):
    judged = claim_of(with_results(seen, peak=1e11), "No step in bfloat16")
    assert judged.verdict == "wrong"
    # 10 GFLOP an image, 64 images a step of 1.5 s.
    assert [figure.value for figure in judged.findings[0].figures] == pytest.approx([0.4267, 4.267], rel=1e-3)


# --- traces


@pytest.fixture
def with_trace(seen, environment):
    """One of the four is otherwise."""

    def change(name: str = "float32", **changes: Any) -> Seen:
        changed: Seen = with_results(seen, **{f"profile {name}": profile(environment, **changes)})
        return changed

    return change


@pytest.mark.parametrize(
    ("claim", "changes", "verdict"),
    [
        ("A trace holds", {"kernels": []}, "wrong"),
        ("A trace holds", {"breakdown": []}, "wrong"),
        ("A trace holds", {"breakdown": [{"kind": "input", "seconds": 0.1, "share": 1.0}]}, "wrong"),
        ("Kernels' names", {"kernels": []}, "open"),
        ("mixed_bfloat16 runs on", {"kernels": []}, "open"),
        ("mixed_bfloat16 runs on", {"kernels": [SLOW_KERNEL]}, "wrong"),
        ("Kernels' names", {"kernels": [SLOW_KERNEL | {"tensor_cores": "unknown"}]}, "wrong"),
        ("The times of operations", {"device_time": None}, "open"),
        ("The times of operations", {"device_time": DEVICE_TIME | {"operations_seconds": 0.0}}, "open"),
        ("The times of operations", {"device_time": DEVICE_TIME | {"kernels_seconds": 0.1}}, "wrong"),
        ("A graph and XLA tell", {"parts": []}, "wrong"),
        ("Nothing converts layouts", {"kernels": []}, "open"),
    ],
)
def test_a_trace_that_is_not_as_promised(with_trace, claim, changes, verdict):
    assert claim_of(with_trace("graph", **changes), claim).verdict == verdict


def test_every_kernel_whose_name_does_not_tell_is_named_with_its_share(with_trace):
    named = SLOW_KERNEL | {"seconds": 0.1, "share": 0.5}
    unknown = named | {"kernel": "gemm_fusion_dot_12", "tensor_cores": "unknown"}
    finding = claim_of(with_trace("xla", kernels=[named, unknown]), "Kernels' names").findings[2]
    assert (finding.subject, finding.verdict, finding.because) == ("xla", "wrong", "gemm_fusion_dot_12 50.0%")
    assert [(figure.name, figure.value) for figure in finding.figures] == [
        *(("used", 0.0), ("not used", 0.5), ("unknown", 0.5), ("unknown names", 1)),
    ]


@pytest.mark.parametrize(("kernels", "verdict"), [([], "open"), ([SLOW_KERNEL | {"tensor_cores": "used"}], "wrong")])
def test_float32_on_tensor_cores_is_wrong(with_trace, kernels, verdict):
    assert claim_of(with_trace(kernels=kernels), "float32 runs on no tensor cores").verdict == verdict


@pytest.mark.parametrize(
    "kernel",
    [
        "void tensorflow::functor::SwapDimension1And2InTensor3UsingTiles<unsigned int, 1024, 1024, 2, false>(…)",
        "void tensorflow::functor::ShuffleInTensor3Simple<float, 2, 1, 0, false>(int, float const*)",
        "void cudnn::ops::nchwToNhwcKernel<float, float, float, false, true>(cudnn::ops::nchw2nhwc_params_t<float>)",
        "input_transpose_fusion_3",
        "wrapped_transpose",
    ],
)
def test_a_kernel_that_converts_layouts_is_named(with_trace, kernel):
    converting = SLOW_KERNEL | {"kernel": kernel, "occurrences": 232}
    judged = claim_of(with_trace("graph", kernels=[converting]), "Nothing converts layouts")
    assert judged.verdict == "wrong"
    assert [figure.value for figure in judged.findings[0].figures] == [1.0, 116]
    assert judged.findings[0].because.startswith(kernel[:80])


@pytest.mark.parametrize("kernel", ["transpose_readwrite_alignment_kernel", "loop_add_fusion", "ampere_sgemm_32x32_nt"])
def test_other_kernels_convert_none(with_trace, kernel):
    changed = with_trace("graph", kernels=[SLOW_KERNEL | {"kernel": kernel}])
    assert claim_of(changed, "Nothing converts layouts").verdict == "confirmed"


def test_a_step_of_one_image_in_which_the_gpu_idles_is_launch_bound(seen, with_trace):
    claim = "A step of a single image"
    finding = claim_of(seen, claim).findings[0]
    assert finding.because.startswith("Launch-bound: the GPU is at work for 50 ms of a step of 500 ms (10%)")
    assert {figure.name: figure.value for figure in finding.figures}["batch 1: at work"] == pytest.approx(0.1)
    busy = with_trace("batch 1", breakdown=[{"kind": "device compute", "seconds": 0.4, "share": 0.8}])
    assert claim_of(busy, claim).verdict == "wrong"
    untold = claim_of(with_trace("batch 1", breakdown=[]), claim)
    assert (untold.verdict, untold.findings[0].because) == ("open", "xprof tells nothing of the device in its steps")


def test_command_buffers_that_are_on_or_hide_kernels_are_wrong(seen, with_trace):
    claim = "XLA's command buffers"
    figures = {figure.name: figure.value for figure in claim_of(seen, claim).findings[0].figures}
    assert figures["kernels a step"] == 4
    assert figures["a step without them ÷ with them"] == pytest.approx(0.5 / 1.5)
    on = claim_of(with_trace("xla"), claim)
    assert (on.verdict, on.findings[0].because) == ("wrong", "they were not switched off")
    off = with_trace("xla", device_time=DEVICE_TIME | {"unnamed_kernels_seconds": 0.1}).results["profile xla"]
    hidden = without_command_buffers(off)
    judged = claim_of(with_results(seen, profile_xla=hidden), claim)
    assert (judged.verdict, judged.findings[0].figures[-1].value) == ("wrong", 0.5)
    untold = msgspec.structs.replace(hidden, device_time=None)
    assert claim_of(with_results(seen, profile_xla=untold), claim).verdict == "open"


# --- the run


@pytest.fixture
def with_run(seen, environment, tmp_path):
    """The run is of another directory, which `fill` or the like has made."""

    def change(make: Any) -> Seen:
        directory = RunDirectory(tmp_path / "other", environment)
        directory.document |= {"device": GPU, "suites": SUITES}
        make(directory)
        run = records.load_run(directory.path)
        changed: Seen = with_results(seen, bench=run, bench_execution=run)
        return changed

    return change


@pytest.mark.parametrize(
    ("claim", "seconds", "verdict"),
    [
        ("TF32 is off", {"tf32": 0.0999}, "wrong"),
        ("TF32 is off", {"tf32": 0.2}, "wrong"),
        ("mixed_bfloat16 is faster", {"mixed_bfloat16": 0.2}, "wrong"),
        ("The fused layers", {"float32": 0.12}, "confirmed"),
        ("The fused layers", {"float32": 0.15}, "wrong"),
    ],
)
def test_comparisons_are_judged_by_their_verdicts(with_run, claim, seconds, verdict):
    judged = claim_of(with_run(lambda directory: fill(directory, **seconds)), claim)
    assert judged.verdict == verdict
    assert judged.findings[0].figures[0].name == "ratio"


def test_a_comparison_of_too_few_processes_is_open(with_run):
    def two_each(directory: RunDirectory) -> None:
        directory.add(USUAL, *processes(0.1, number=2), suites=("precision",))
        directory.add(TF32, *processes(0.05, number=2), suites=("precision",))

    judged = claim_of(with_run(two_each), "TF32 is off")
    assert judged.verdict == "open"
    assert judged.findings[0].figures[0].value == pytest.approx(2, rel=0.05)


def test_a_case_that_does_not_fit_or_is_crowded_out_is_wrong(with_run):
    def out_of_memory(directory: RunDirectory) -> None:
        fill(directory)
        directory.add(dataclasses.replace(USUAL, execution="xla"), status="oom", suites=("precision",))

    judged = claim_of(with_run(out_of_memory), "Every case of the run")
    assert (judged.verdict, judged.evidence[0].partition(";")[0]) == (
        "wrong",
        "xla-float32-b64-i224-synthetic-gpu0 oom",
    )


def test_a_worker_in_two_cohorts_was_crowded_out(seen, directory):
    stem = f"{USUAL.name}.r1"
    directory.document["cohorts"].append({"workers": [stem], "order": [], "complete": True})
    directory.write()
    judged = claim_of(with_results(seen, bench=records.load_run(directory.path)), "Every case of the run")
    assert (judged.verdict, judged.evidence[0].partition(";")[0]) == ("wrong", f"{stem} crowded out")


def changed(seen: Seen, directory: RunDirectory) -> Seen:
    """The run as the directory has it now."""
    directory.write()
    run = records.load_run(directory.path)
    return dataclasses.replace(with_results(seen, bench=run), turns=turns.read_turns(directory.path, run.document.run))


def test_what_the_largest_cohort_was_planned_with_is_told_as_a_share_of_what_is_free(seen, directory):
    figures = claim_of(seen, "Every case of the run").findings[0].figures
    assert {figure.name: figure.value for figure in figures}["planned of what is free"] == pytest.approx(4 * 8 / 80)
    directory.document["gpu_memory"]["free_bytes"] = None
    names = [figure.name for figure in claim_of(changed(seen, directory), "Every case of the run").findings[0].figures]
    assert "planned of what is free" not in names


def test_a_process_that_has_more_in_use_than_was_planned_is_wrong(seen, directory):
    claim = "No process has more memory"
    directory.document["cases"][0]["gpu_memory"] = {"bytes": 2**29, "origin": "process"}
    judged = claim_of(changed(seen, directory), claim)
    assert [finding.verdict for finding in judged.findings] == ["wrong", "confirmed", "confirmed", "confirmed"]
    assert judged.evidence[0] == (f"{USUAL.name} (wrong): known by: process; planned 0.5 GiB, in use at most 1 GiB")
    for case in directory.document["cases"]:
        del case["gpu_memory"]
    assert claim_of(changed(seen, directory), claim).evidence == ["no case of the run has a size"]


def test_a_run_that_was_cut_short_leaves_open_whether_all_fits(seen, directory):
    directory.document["complete"] = False
    directory.write()
    cut = dataclasses.replace(changed(seen, directory), why_not={"bench": "cut short: no time"})
    assert claim_of(cut, "Every case of the run").evidence[0].startswith("cut short: no time")


def test_the_largest_deviation_of_each_precision_is_told_as_a_share_of_its_tolerance(with_run):
    def off(directory: RunDirectory) -> None:
        directory.add(USUAL, *processes(0.1), suites=("precision",))
        losses = [[0, 4.0], [1, 3.0 * 1.06], [2, 2.0]]
        directory.add(BFLOAT16, *processes(0.05), suites=("precision",), losses_without_dropout=losses)

    judged = claim_of(with_run(off), "Losses are")
    assert judged.verdict == "confirmed"
    assert judged.findings[0].figures[0].name == "largest deviation ÷ tolerance in mixed_bfloat16"
    assert judged.findings[0].figures[0].value == pytest.approx(0.5)


def test_losses_outside_their_tolerance_are_wrong(with_run):
    def off(directory: RunDirectory) -> None:
        directory.add(USUAL, *processes(0.1), suites=("precision",))
        losses = [[0, 8.0], [1, 3.0], [2, 2.0]]
        directory.add(TF32, *processes(0.05), suites=("precision",), losses_without_dropout=losses)

    judged = claim_of(with_run(off), "Losses are")
    assert judged.verdict == "wrong"
    assert judged.findings[0].figures[0].value == pytest.approx(50)
    assert TF32.name in judged.evidence[0]


def test_losses_that_nothing_can_be_compared_with_are_open(with_run):
    judged = claim_of(
        with_run(lambda directory: directory.add(USUAL, *processes(0.1), suites=("precision",))), "Losses are"
    )
    assert (judged.verdict, judged.evidence[0].partition(";")[0]) == ("open", "no losses could be compared")


def test_a_turn_without_the_gpus_power_is_wrong(seen):
    table = seen.turns.copy()
    table.loc[0, "gpu_power_watts"] = None
    judged = claim_of(dataclasses.replace(seen, turns=table), "Every turn")
    assert judged.verdict == "wrong"
    assert {figure.name: figure.value for figure in judged.findings[0].figures}["power watts"] == pytest.approx(
        1 - 1 / len(table)
    )
    assert claim_of(dataclasses.replace(seen, turns=pd.DataFrame()), "Every turn").verdict == "open"


def test_clocks_that_have_not_settled_in_many_turns_are_wrong(seen: Seen) -> None:
    def with_summary(**changes: Any) -> Seen:
        run = seen.result("bench")
        gpu = None if run.gpu is None or not changes else dataclasses.replace(run.gpu, **changes)
        return with_results(seen, bench=dataclasses.replace(run, gpu=gpu))

    claim = "In 90% of the turns"
    assert claim_of(with_summary(unsettled_turns=3, settling_turns=20), claim).verdict == "wrong"
    assert claim_of(with_summary(unsettled_turns=2, settling_turns=20), claim).verdict == "confirmed"
    assert claim_of(with_summary(settling_turns=0), claim).verdict == "open"
    assert claim_of(with_summary(), claim).evidence == ["the GPU was read during no turn"]


def test_strangers_that_are_told_in_some_turns_alone_are_wrong_and_in_none_open(seen):
    table = seen.turns.copy()
    table.loc[:10, "gpu_other_processes"] = ""
    assert claim_of(dataclasses.replace(seen, turns=table), "NVML tells who else").verdict == "wrong"
    table["gpu_other_processes"] = ""
    assert claim_of(dataclasses.replace(seen, turns=table), "NVML tells who else").verdict == "open"
    assert claim_of(dataclasses.replace(seen, turns=pd.DataFrame()), "NVML tells who else").verdict == "open"


def test_turns_that_the_gpus_own_state_disturbs_are_wrong_when_they_are_many(seen):
    table = seen.turns.copy()
    table.loc[:10, "disturbed"] = "the GPU was throttled: power cap"
    judged = claim_of(dataclasses.replace(seen, turns=table), "At most 10% of the turns")
    assert (judged.verdict, judged.evidence[0].partition(";")[0]) == ("wrong", "the GPU was throttled: power cap")
    table.loc[:, "disturbed"] = "other processes took 9% of the processors' time"
    assert claim_of(dataclasses.replace(seen, turns=table), "At most 10% of the turns").verdict == "confirmed"


@pytest.mark.parametrize(("status", "verdict"), [("unsupported", "open"), ("failed", "wrong")])
def test_a_peer_that_was_not_measured_is_open_where_it_is_not_there_and_wrong_where_it_fails(seen, status, verdict):
    row = seen.result("frameworks").rows[-1]
    row.status, row.note = status, "jax: why"
    judged = claim_of(seen, "PyTorch and JAX")
    assert judged.verdict == verdict
    assert "jax: why" in judged.evidence[-1]


@pytest.mark.parametrize(
    ("section", "verdict", "because"),
    [
        ({"gpus": [], "why_no_gpus": "the driver is too old"}, "wrong", "the driver is too old"),
        (None, "open", "not installed"),
        ({"error": "ImportError: libcudnn"}, "open", "ImportError: libcudnn"),
    ],
)
def test_a_peer_that_sees_no_gpu_says_why(seen, section, verdict, because):
    environment = {**msgspec.to_builtins(seen.environment), "jax": section}
    seen.result("frameworks").document.environments["jax"] = environment_of(environment)
    finding = claim_of(seen, "The GPU is seen by").findings[-1]
    assert (finding.subject, finding.verdict, finding.because) == ("jax", verdict, because)


def test_what_cannot_be_judged_costs_its_own_claim_alone(seen):
    broken = dataclasses.replace(seen, turns=pd.DataFrame({"disturbed": [1.5]}))
    judged = claim_of(broken, "At most 10% of the turns")
    assert (judged.verdict, "could not be judged" in judged.evidence[0]) == ("open", True)
    assert claim_of(broken, "TF32 is off").verdict == "confirmed"


def test_the_list_is_plain_data_in_which_a_figure_that_is_no_number_is_null():
    finding = Finding(
        "wrong", (Figure("deviation", float("inf")), Figure("first call of xla", 10.0, "s")), subject="xla"
    )
    claim = Claim(claim="a", verdict="wrong", findings=[finding])
    report = CheckReport(created="", device="cpu", machine="", minutes=7, complete=True, steps=(), claims=[claim])
    (plain,) = to_json(report)["claims"]
    assert plain["verdict"] == "wrong"
    assert plain["findings"][0]["figures"] == [
        {"name": "deviation", "value": None, "unit": ""},
        {"name": "first call of xla", "value": 10.0, "unit": "s"},
    ]
