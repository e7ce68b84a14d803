"""Whether a loader keeps up with the step, in words and as a picture."""

from __future__ import annotations

from typing import Any

import pytest

from gnet_core.config import Feed, StepConfig
from gnet_core.report import run as report
from gnet_core.report.findings import findings
from gnet_core.report.summary import Summary
from gnet_core.results import records
from tests.conftest import RunDirectory
from tests.stored import markdown, processes, terminal
from tests.svg import words

SUITE: dict[str, Any] = {
    "name": "input-pipeline",
    "question": "Does the input pipeline keep up with the train step?",
    "view": "input",
    "varies": "feed",
    "base": "ready",
    "base_fields": {"part": "train", "data": "synthetic"},
    "costs": "",
}
PICTURES = {"images": 128, "pixels": 24_000_000, "encoded_bytes": 5_760_000, "made": True}
ALONE: dict[str, Any] = {
    "losses_without_dropout": [[0, None], [0, None]],
    "loss_first": None,
    "loss_last": None,
    "flop_per_image": 0,
    "low_precision_share": None,
}
"""What a worker tells of a loader that is alone."""


def store(directory: RunDirectory, device: str = "cpu", **seconds: tuple[float, float]) -> None:
    """A run of the step alone, 1 s for 8 images, and the seconds of each feed's loader and of both together."""
    directory.document["suites"] = [SUITE]
    add(directory, device, "ready", 1.0)
    for feed, (loader, both) in seconds.items():
        add(directory, device, feed, loader, part="input", pictures=PICTURES, **ALONE)
        add(directory, device, feed, both, pictures=PICTURES)


def add(directory: RunDirectory, device: str, feed: Any, seconds: float, part: Any = "train", **extra: Any) -> None:
    config = StepConfig(batch_size=8, feed=feed, part=part, device=device)
    directory.add(config, *processes(seconds), suites=("input-pipeline",), **extra)


def section_of(directory: RunDirectory) -> Any:
    (section,) = Summary(records.load_run(directory.path)).sections
    return section


def answers(directory: RunDirectory) -> list[str]:
    return [" ".join(sentence) for sentence in section_of(directory).answers()]


def test_a_loader_that_is_faster_than_the_step_leaves_it_compute_bound(run_directory):
    store(run_directory, jpeg=(0.2, 1.25))
    jpeg, pictures, sharing = answers(run_directory)
    assert jpeg == (
        "JPEG files: compute-bound, of what the step takes the loader feeds 5.000× (4.894–5.109): "
        "alone 40.0 images/s (39.5–40.5) against 8.0 images/s (7.9–8.1). "
        "Of its speed alone, the step that is fed from it has 0.800× (0.783–0.817). "
        "2 processors would feed this device, by an estimate from the 8 that the loader had, if it scales linearly."
    )
    assert pictures == (
        "The pictures: 128 photographs that were made for this, of 187,500 pixels and 45 kB each, which is "
        "0.24 bytes a pixel. The system has their files in memory, so no disk is measured."
    )
    assert sharing.startswith("Loader and step share the processors here, all 8 of them:")


def test_a_loader_that_is_slower_than_the_step_leaves_it_input_bound(run_directory):
    store(run_directory, "gpu:0", tfrecord=(2.5, 2.5))
    (tfrecord, pictures) = answers(run_directory)
    assert tfrecord.startswith("TFRecord files: input-bound, of what the step takes the loader feeds 0.400× (0.")
    assert "20 processors would feed this device, by an estimate from the 8 " in tfrecord
    assert pictures.startswith("The pictures:")  # and no word of sharing


def test_a_step_on_a_gpu_that_is_slower_when_fed_is_input_bound_whatever_its_loader_does_alone(run_directory):
    store(run_directory, "gpu:0", jpeg=(0.77, 1.6), cache=(0.01, 1.01))
    jpeg, cache, _ = answers(run_directory)
    assert jpeg.startswith("JPEG files: input-bound, of what the step takes the loader feeds 1.299× (")
    assert "Alone the loader keeps up, but beside it the step waits for processors to launch it." in jpeg
    assert "would feed this device" not in jpeg
    assert cache.startswith("Cache in memory: compute-bound, ")
    assert "1 processor would feed this device" in cache


def test_a_quota_counts_as_the_processors_that_there_are(run_directory):
    run_directory.document["environment"]["machine"]["cpu_quota_cores"] = 1.5
    store(run_directory, jpeg=(2.0, 3.0))
    assert "3 processors would feed this device, by an estimate from the 1.5 " in answers(run_directory)[0]


def test_whether_it_keeps_up_is_open_where_the_interval_holds_1(run_directory):
    store(run_directory, cache=(1.0, 1.0))
    (cache, *_) = answers(run_directory)
    assert cache.startswith(
        "Cache in memory: open whether input-bound, of what the step takes the loader feeds 1.000× ("
    )
    assert " holds 1. Of its speed alone, " in cache
    ranks = [finding.rank.name for finding in section_of(run_directory).findings()]
    assert ranks == ["UNRESOLVED"]


def test_one_process_answers_nothing(run_directory):
    run_directory.document["suites"] = [SUITE]
    run_directory.add(StepConfig(batch_size=8), [2.0] * 3, suites=("input-pipeline",))
    config = StepConfig(batch_size=8, feed="jpeg", part="input")
    run_directory.add(config, [0.2] * 3, suites=("input-pipeline",), pictures=PICTURES, **ALONE)
    (jpeg, *_) = answers(run_directory)
    assert jpeg.startswith("JPEG files: open whether input-bound, of what the step takes the loader feeds 10.00×")
    assert "That rests on one process a side; an answer takes 3." in jpeg
    summary = Summary(records.load_run(run_directory.path))
    assert summary.sections[0].findings() == []
    said = [" ".join(sentence) for sentence in findings(summary.sections)]
    assert any("JPEG loader alone 10.00× of the step alone, from one process a side" in each for each in said)


def test_what_failed_is_no_answer_and_what_is_left_is_one(run_directory):
    store(run_directory, jpeg=(0.2, 1.25))
    failed = StepConfig(batch_size=8, feed="tfrecord", part="input")
    run_directory.add(failed, status="failed", note="no room", suites=("input-pipeline",))
    add(run_directory, "cpu", "tfrecord", 1.2, pictures=PICTURES)
    fed = StepConfig(batch_size=8, feed="cache")
    add(run_directory, "cpu", "cache", 0.01, part="input", pictures=PICTURES, **ALONE)
    run_directory.add(fed, status="oom", note="no memory", suites=("input-pipeline",))
    jpeg, tfrecord, cache, *_ = answers(run_directory)
    assert jpeg.startswith("JPEG files: compute-bound,")
    assert tfrecord == (
        f"No answer: whether TFRecord files would keep up with the step. {failed.name} has no figures: failed."
    )
    assert cache.startswith("Cache in memory: compute-bound,")
    assert f"What feeding costs the step is not known: {fed.name} has no figures: oom." in cache
    assert "out of memory" in words(section_of(run_directory).picture())


def test_without_the_step_alone_there_is_no_answer(run_directory):
    run_directory.document["suites"] = [SUITE]
    add(run_directory, "cpu", "jpeg", 1.0, pictures=PICTURES)
    assert answers(run_directory) == ["No answer: the step alone and what feeds it were not both run."]


def test_the_page_has_bars_of_each_alone_and_of_both_together(run_directory):
    store(run_directory, jpeg=(0.2, 1.25), cache=(0.001, 1.0))
    picture = section_of(run_directory).picture()
    assert picture.title == "Loaders against the step: JPEG 5.000× (compute-bound), cache 1000.000× (compute-bound)"
    drawn = " ".join(words(picture))
    for label in (
        "the step alone",
        "the JPEG loader alone",
        "the step fed from JPEG",
        "images/s, 95 % intervals, logarithmic",
    ):
        assert label in drawn
    assert {"1", "10", "100", "1,000", "10,000"} <= set(words(picture))
    assert "the step fed from cache: 8.0 images/s" in picture.description
    found = section_of(run_directory).findings()
    assert [finding.rank.name for finding in found] == ["INPUT", "INPUT"]


def test_every_form_of_the_report_says_it(run_directory):
    store(run_directory, jpeg=(0.2, 1.25))
    run = records.load_run(run_directory.path)
    for text in (markdown(run).replace("**", ""), terminal(run)):
        plain = " ".join(text.split())
        assert "JPEG files: compute-bound, of what the step takes the loader feeds 5.000× (4.894–5.109)" in plain
    summary = Summary(run)
    judged = [item.section.judged(item.comparison) for item in summary.quotable]
    assert judged[0] == "the JPEG loader alone is FASTER than the step alone, 5.000× (4.894–5.109)"
    report.write(summary)
    assert "compute-bound" in (run_directory.path / "report.html").read_text()


def test_a_loader_alone_has_neither_loss_nor_work_nor_a_start_and_says_so(run_directory):
    store(run_directory, jpeg=(0.2, 1.25))
    run_directory.document["peaks"] = [{"float32": {"flop_per_second": 1e12, "operation": "matmul"}}]
    run_directory.write()
    run = records.load_run(run_directory.path)
    _step, loader, both = run.rows
    nothing = ("gflop_per_image", "gflop_per_second", "mfu", "loss_first", "loss_last", "compile_seconds")
    assert [getattr(loader, name) for name in nothing] == [None] * len(nothing)
    assert (loader.trace_seconds, loader.first_step_seconds, loader.finite, loader.equal_work) == (
        None,
        None,
        True,
        None,
    )
    assert loader.note == "batches alone, of which no step is run: a step stands for a batch, and there is no loss"
    assert both.note == "reading and resizing the images is inside the clock"
    assert both.mfu is not None
    assert run.pictures.keys() == {loader.case, both.case}
    assert Summary(run).failed_checks == []


@pytest.mark.parametrize("feed", ["jpeg", "cache"])
def test_a_mixed_precision_asks_no_proof_of_a_loader(run_directory, feed: Feed):
    config = StepConfig(batch_size=8, feed=feed, part="input", precision="mixed_bfloat16")
    run_directory.document["suites"] = [SUITE]
    run_directory.add(config, *processes(0.2), suites=("input-pipeline",), pictures=PICTURES, **ALONE)
    assert Summary(records.load_run(run_directory.path)).failed_checks == []


def test_a_suite_of_another_field_cannot_have_the_view(run_directory, gnet):
    run_directory.document["suites"] = [SUITE | {"varies": "layers", "base": "keras"}]
    run_directory.add(StepConfig(batch_size=8), [2.0] * 3, suites=("input-pipeline",))
    status, _out, err = gnet("report", run_directory.path)
    assert status == 2
    assert "where view 'input' is about the feed" in err
