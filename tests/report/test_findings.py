"""The sentences that stand first follow from the rows, and change with them."""

import pytest

from gnet_core.config import StepConfig
from gnet_core.profile.document import read
from gnet_core.report.findings import MAX_FINDINGS, findings
from gnet_core.report.summary import Summary
from gnet_core.results import records
from tests.stored import processes, store_every_suite
from tests.traces import document


def sentences_of(directory):
    return [" ".join(sentence) for sentence in findings(Summary(records.load_run(directory.path)).sections)]


def add(directory, *samples, suites=("execution",), **config):
    directory.add(StepConfig(batch_size=16, **config), *samples, suites=suites, peak_memory_bytes=2**30)


def swap_samples(directory, one, other):
    """Give each of two raw files the other's samples."""
    samples = {}
    for name in (one, other):
        directory.spoil(name, lambda benchmark, name=name: samples.update({name: benchmark["stats"]["data"]}))
    for name, of in ((one, other), (other, one)):
        directory.spoil(name, lambda benchmark, of=of: benchmark["stats"].update(data=samples[of]))


def test_a_full_run_comes_to_six_sentences_the_speed_first_and_then_what_differs_most(run_directory):
    store_every_suite(run_directory)
    sentences = sentences_of(run_directory)
    assert len(sentences) == MAX_FINDINGS
    assert sentences == [
        "18.8 images/s (18.6–19.1) with graph, mixed_bfloat16, batch 16: 850 ms a step.",
        "eager is SLOWER than graph: 0.203× (0.199–0.208), float32, batch 16.",
        "xla is SLOWER than graph: 0.686× (0.671–0.701), float32, batch 16; it never pays back its 33 s compile.",
        "mixed_bfloat16 is FASTER than float32: 1.412× (1.382–1.442), graph, batch 16; "
        "its losses are float32's within tolerance.",
        "Batch 16 gives 98% of the best throughput with 50% of the memory: 13.3 images/s (13.2–13.5) against "
        "13.6 (13.4–13.8) at batch 32 and 7.1 (7.1–7.2) at batch 1, graph, float32.",
        "forward 33% (33–34%), backward 63%, optimizer 4% (2–6%) of a step: graph, float32, batch 16. "
        "Each part was timed as a step of its own.",
    ]


def test_a_traced_step_that_is_launch_bound_is_a_finding(run_directory, environment):
    add(run_directory, *processes(1.0))
    config = StepConfig(batch_size=1, device="gpu:0")
    at_work = [{"kind": "device compute", "seconds": 0.05, "share": 0.1}]
    trace = read(document(environment, config=config.to_dict(), breakdown=at_work))
    sections = Summary(records.load_run(run_directory.path)).sections
    sentences = [" ".join(sentence) for sentence in findings(sections, [trace])]
    assert sentences[0].startswith("16.0 images/s")
    assert sentences[1].startswith(
        "graph, float32, batch 1, device gpu:0, traced: Launch-bound: the GPU is at work for 50 ms of a step of 500 ms"
    )
    busy = read(document(environment, config=config.to_dict(), breakdown=[at_work[0] | {"seconds": 0.4}]))
    assert findings(sections, [busy]) == findings(sections)


def test_another_precision_is_reported_with_its_losses(run_directory):
    store_every_suite(run_directory)
    (sentence,) = [sentence for sentence in sentences_of(run_directory) if sentence.startswith("mixed_bfloat16 is")]
    assert sentence.endswith("graph, batch 16; its losses are float32's within tolerance.")


def test_on_a_gpu_the_tolerance_of_its_losses_is_called_a_cpus(run_directory):
    for precision, seconds in (("float32", 2.0), ("mixed_bfloat16", 1.0)):
        add(run_directory, *processes(seconds), suites=("precision",), precision=precision, device="gpu:0")
    (sentence,) = [sentence for sentence in sentences_of(run_directory) if sentence.startswith("mixed_bfloat16 is")]
    assert sentence.endswith("; its losses are float32's within a tolerance measured on a CPU.")


def test_the_two_whose_figures_are_swapped_swap_their_verdict(run_directory):
    add(run_directory, *processes(1.0))
    add(run_directory, *processes(2.0), execution="xla")
    before = sentences_of(run_directory)
    graph, xla = (case["raw"] for case in run_directory.document["cases"])
    for one, other in zip(graph, xla, strict=True):
        swap_samples(run_directory, one, other)
    after = sentences_of(run_directory)
    assert before[0].startswith("16.0 images/s (15.8–16.2) with graph, float32, batch 16")
    assert after[0].startswith("16.0 images/s (15.8–16.2) with xla, float32, batch 16")
    assert before[1].startswith("xla is SLOWER than graph: 0.500×")
    assert after[1].startswith("xla is FASTER than graph: 2.000×")


def test_one_process_a_case_claims_nothing_and_says_what_would(run_directory):
    add(run_directory, *processes(1.0, number=1), suites=("throughput", "execution", "precision"))
    add(run_directory, *processes(1.5, number=1), execution="xla")
    add(run_directory, *processes(12.0, number=1), execution="eager")
    add(run_directory, *processes(0.8, number=1), precision="mixed_bfloat16", suites=("precision",))
    sentences = sentences_of(run_directory)
    assert sentences == [
        "20.0 images/s (one process) with graph, mixed_bfloat16, batch 16: 800 ms a step.",
        "UNRESOLVED, 3 comparisons for want of processes: xla 0.67×, eager 0.083× of graph; "
        "mixed_bfloat16 1.25× of float32, from one process a side; a verdict takes 3 or more (--replicates).",
    ]


def test_what_is_unresolved_tells_how_many_more_processes_would_probably_tell(run_directory):
    add(run_directory, *processes(1.0))
    add(run_directory, *[[2.0 + wobble] * 4 for wobble in (0.4, 0.2, -0.1)], execution="xla")
    (_, sentence) = sentences_of(run_directory)
    assert sentence.startswith("UNRESOLVED whether xla is faster than graph: 0.93×")
    assert "more processes a side would probably tell" in sentence


def test_a_smaller_batch_is_reported_with_its_memory_only_where_that_is_less(run_directory):
    for batch_size, seconds, gibibytes in ((8, 1.0, 1), (16, 1.05, 2), (32, 2.05, 4)):
        run_directory.add(
            StepConfig(batch_size=batch_size),
            *processes(seconds),
            suites=("batch-size",),
            peak_memory_bytes=gibibytes * 2**30,
        )
    figures = (
        "15.2 images/s (15.1–15.4) against 15.6 (15.4–15.8) at batch 32 and 8.0 (7.9–8.1) at batch 8, graph, float32."
    )
    assert (
        sentences_of(run_directory)[1] == f"Batch 16 gives 98% of the best throughput with 50% of the memory: {figures}"
    )
    for case in run_directory.document["cases"]:
        for name in case["raw"]:
            run_directory.spoil(name, lambda benchmark: benchmark["extra_info"].update(peak_memory_bytes=2**30))
    assert sentences_of(run_directory)[1] == f"Batch 16 gives 98% of the best throughput: {figures}"


def test_the_most_that_the_device_was_seen_to_do_is_reported_where_it_was_measured(run_directory):
    run_directory.document["peaks"] = [{"float32": {"flop_per_second": 4e11, "operation": "conv"}}]
    run_directory.add(StepConfig(batch_size=16), *processes(1.0), flop_per_image=1e10)
    assert sentences_of(run_directory) == [
        "16.0 images/s (15.8–16.2) with graph, float32, batch 16: 1000 ms a step, 40% of the device's measured peak."
    ]


@pytest.mark.parametrize(
    "spoiled", [{"loss_last": None}, {"losses_without_dropout": [[0, 4.0], [1, 9.0]]}], ids=["not finite", "other work"]
)
def test_a_speed_at_other_work_is_nobodys_finding(run_directory, spoiled):
    add(run_directory, *processes(1.0))
    run_directory.add(StepConfig(batch_size=16, execution="xla"), *processes(0.1), suites=("execution",), **spoiled)
    sentences = sentences_of(run_directory)
    assert sentences[0].startswith("16.0 images/s (15.8–16.2) with graph")
    assert not [sentence for sentence in sentences if "FASTER" in sentence]


def test_a_part_of_a_step_is_no_speed_of_the_step(run_directory):
    add(run_directory, *processes(1.0), suites=("parts",))
    add(run_directory, *processes(0.3), part="forward", suites=("parts",))
    assert [sentence.partition(" (")[0] for sentence in sentences_of(run_directory)] == ["16.0 images/s", "forward 30%"]


def test_of_a_suite_with_many_comparisons_two_stand_before_the_other_suites(run_directory):
    for batch_size in (1, 2, 4, 8, 16, 32, 64):
        run_directory.add(StepConfig(batch_size=batch_size), *processes(1.0), suites=("execution",))
        config = StepConfig(batch_size=batch_size, execution="xla")
        run_directory.add(config, *processes(1.0 + batch_size / 10), suites=("execution",))
    config = StepConfig(batch_size=8, precision="mixed_bfloat16")
    run_directory.add(config, *processes(0.9), suites=("precision",))
    sentences = sentences_of(run_directory)
    assert len(sentences) == MAX_FINDINGS
    assert [sentence.startswith("xla is SLOWER") for sentence in sentences] == [False, True, True, False, True, True]
    assert sentences[3].startswith("mixed_bfloat16 is FASTER")


def test_a_comparison_that_two_suites_share_is_reported_once(run_directory):
    run_directory.document["suites"].append({**run_directory.document["suites"][1], "name": "again"})
    add(run_directory, *processes(1.0), suites=("execution", "again"))
    add(run_directory, *processes(2.0), execution="xla", suites=("execution", "again"))
    assert [sentence.partition(" ")[0] for sentence in sentences_of(run_directory)] == ["16.0", "xla"]


def test_where_nothing_was_measured_that_is_the_finding(run_directory):
    run_directory.add(StepConfig(), status="failed", note="no")
    assert sentences_of(run_directory) == ["Nothing was measured: no case has figures, and the reasons stand below."]
