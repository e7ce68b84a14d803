"""What more devices bring, as efficiencies with verdicts, in words, as a table and as a curve."""

from __future__ import annotations

from typing import Any

import pytest

from gnet_core.config import StepConfig
from gnet_core.report.summary import Summary
from gnet_core.results import records
from tests.conftest import RunDirectory
from tests.stored import markdown, processes, terminal
from tests.svg import words

WEAK: dict[str, Any] = {
    "name": "weak-scaling",
    "question": "What do more devices bring?",
    "view": "devices",
    "varies": "total_replicas",
    "base": 1,
    "base_fields": {},
    "costs": "",
    "scaling": "weak",
}
STRONG = WEAK | {"name": "strong-scaling", "scaling": "strong"}
COMMUNICATION = WEAK | {
    "name": "communication",
    "view": "comparison",
    "varies": "all_reduce",
    "base": True,
    "costs": "exchanging gradients",
}


def exchange(config: StepConfig) -> dict[str, Any]:
    return {
        "gradient_bytes": 24_000_000,
        "all_reduce_seconds": [0.011, 0.012, 0.013],
        "local_step_seconds": [0.98, *[1.02] * (config.total_replicas - 1)],
        "process_peak_bytes": [2**31] * config.workers,
    }


def add(directory: RunDirectory, seconds: float, *suites: str, **fields: Any) -> StepConfig:
    config = StepConfig(**fields)
    extra: dict[str, Any] = {}
    if config.total_replicas > 1 and config.all_reduce:
        extra["exchange"] = exchange(config)
    directory.add(config, *processes(seconds), suites=suites, **extra)
    return config


@pytest.fixture
def stored(run_directory: RunDirectory) -> RunDirectory:
    """One device takes a step of 8 images in a second; two share it badly, and lose a tenth of it to communication."""
    run_directory.document["suites"] = [WEAK, STRONG, COMMUNICATION]
    add(run_directory, 1.0, "weak-scaling", "strong-scaling", batch_size=8)
    add(run_directory, 1.0, "weak-scaling", "communication", batch_size=16, replicas=2)
    add(run_directory, 0.9, "communication", batch_size=16, replicas=2, all_reduce=False)
    add(run_directory, 1.25, "weak-scaling", batch_size=32, workers=4)
    add(run_directory, 0.625, "strong-scaling", batch_size=8, workers=2)
    return run_directory


def summary_of(directory: RunDirectory) -> Summary:
    return Summary(records.load_run(directory.path))


def section_of(directory: RunDirectory, name: str) -> Any:
    return next(section for section in summary_of(directory).sections if section.suite.name == name)


def cells(directory: RunDirectory, name: str) -> dict[str, list[str]]:
    """The short table's cells by heading."""
    table = section_of(directory, name).short_table()
    return {heading: [row[place].text for row in table.rows] for place, heading in enumerate(table.headings)}


def test_weak_scaling_keeps_the_batch_of_a_replica_and_strong_scaling_that_of_all(stored):
    weak, strong = (cells(stored, name) for name in ("weak-scaling", "strong-scaling"))
    assert (weak["n"], weak["batch"]) == (["1", "2", "4"], ["8", "16", "32"])
    assert (strong["n"], strong["batch"]) == (["1", "2"], ["8", "8"])


def test_an_efficiency_is_what_each_replica_has_of_one_s_speed_with_its_interval_and_verdict(stored):
    weak, strong = (cells(stored, name) for name in ("weak-scaling", "strong-scaling"))
    assert (weak["efficiency"], weak["verdict"]) == (["1", "1.000", "0.800"], ["", "SAME", "SLOWER"])
    assert weak["speedup"] == ["", "2.00", "3.20"]
    assert weak["95 % of efficiency"][2] == "0.783–0.817"
    assert (strong["efficiency"], strong["speedup"]) == (["1", "0.800"], ["", "1.60"])


def test_one_device_against_itself_has_an_efficiency_of_1_within_its_interval(run_directory):
    """By chance alone the processes of two cases differ, be they identical or as fast a replica."""
    identical = {"name": "aa", "question": "?", "view": "comparison", "varies": None, "base": ""}
    run_directory.document["suites"] = [WEAK, identical | {"base_fields": {}, "costs": ""}]
    one = add(run_directory, 1.0, "weak-scaling", batch_size=8)
    others = [(one, "aa", "again"), (StepConfig(batch_size=16, replicas=2), "weak-scaling", "")]
    for config, suite, source in others:
        run_directory.add(config, *reversed(processes(1.0, scatter=0.004)), suites=(suite,), source=source)
    for suite in ("weak-scaling", "aa"):
        (comparison,) = section_of(run_directory, suite).comparisons.values()
        assert comparison.low < 1 < comparison.high
        assert comparison.verdict == "SAME"


def test_a_row_tells_what_the_exchange_takes_moves_and_needs(stored):
    weak = cells(stored, "weak-scaling")
    assert weak["exchange takes"] == ["", "10% (8–12%)", ""]
    assert (weak["gradients MB"], weak["all-reduce ms"]) == (["", "24.0", "24.0"], ["", "12", "12"])
    assert weak["bus GB/s"] == ["", "2", "3"]  # 24 MB in 12 ms, times 2 · 1/2 and 2 · 3/4
    assert (weak["stragglers"], weak["GiB a replica"]) == (["", "4.0%", "4.0%"], ["1.00", "1.00", "2.00"])


def test_the_answers_are_sentences(stored):
    scales, loses = (" ".join(sentence) for sentence in section_of(stored, "weak-scaling").answers())
    assert scales == (
        "2 replicas scale within 2%: 2.00 times the images/s of one, an efficiency of 1.000 (1.000–1.000); exchanging "
        "gradients takes 10% (8–12%) of a step; the replicas' own parts of a step are 4.0% apart in time; graph, "
        "float32, batch 16."
    )
    assert loses.startswith("4 workers lose 20%: 3.20 times the images/s of one, an efficiency of 0.800 (0.783–0.817);")
    assert "2 workers lose 20%:" in terminal(summary_of(stored).run)


def test_too_few_processes_are_told_by_suite_and_without_the_base_that_goes_without_saying(run_directory):
    run_directory.document["suites"] = [WEAK]
    for config in (StepConfig(batch_size=8), StepConfig(batch_size=16, replicas=2)):
        run_directory.add(config, *processes(1.0, number=2), suites=("weak-scaling",))
    said = [sentence.rest for sentence in summary_of(run_directory).findings]
    assert any(rest.startswith("2 replicas 1.000× (weak-scaling, efficiency), from 2 processes") for rest in said), said


def test_the_most_images_a_second_are_those_of_replicas_that_exchange_their_gradients(run_directory):
    """Without the exchange each replica trains a network of its own, however fast."""
    run_directory.document["suites"] = [COMMUNICATION]
    add(run_directory, 1.0, "communication", batch_size=16, replicas=2)
    add(run_directory, 0.5, "communication", batch_size=16, replicas=2, all_reduce=False)
    fastest = next(sentence for sentence in summary_of(run_directory).findings if "images/s" in sentence.point)
    assert fastest.point.startswith("16.0 images/s")


def test_a_team_without_figures_has_a_reason_and_no_efficiency(run_directory):
    run_directory.document["suites"] = [WEAK]
    add(run_directory, 1.0, "weak-scaling", batch_size=8)
    run_directory.add(
        StepConfig(batch_size=16, workers=2), status="failed", note="worker 2 of 2 ended", suites=("weak-scaling",)
    )
    (answer,) = section_of(run_directory, "weak-scaling").answers()
    assert "how 2 workers scale" in answer.rest
    assert "failed" in answer.rest
    assert cells(run_directory, "weak-scaling")["status"] == ["", "failed"]


def test_the_curve_stands_beside_the_ideal_line_and_says_in_words_what_it_shows(stored):
    picture = section_of(stored, "weak-scaling").picture()
    assert {"ideal", "replicas in all", "efficiency, band: margin"} <= set(words(picture))
    assert picture.title == "Weak scaling: 4 workers have an efficiency of 0.800 (0.783–0.817)"
    assert "4 workers, batch 32: 25.6 images/s (25.3–25.9), efficiency 0.800 SLOWER" in picture.description


@pytest.mark.parametrize(
    ("teams", "says"),
    [
        ([{"replicas": 2}], "A CPU was split into logical devices:"),
        ([{"workers": 2}], "Several processes shared a CPU:"),
        ([{"replicas": 2}, {"workers": 2}], "A CPU was split into logical devices and several processes shared a CPU:"),
        ([{"replicas": 2, "device": "gpu:0"}], ""),
        ([{}], ""),
    ],
)
def test_the_first_line_says_that_a_cpu_shows_only_that_it_works(run_directory, teams, says):
    run_directory.document["suites"] = [WEAK]
    for team in teams:
        add(run_directory, 1.0, "weak-scaling", batch_size=8, **team)
    first = markdown(summary_of(run_directory).run).splitlines()[0]
    expected = f"**{says} this shows that it works, not how GPUs scale.**"
    assert first == expected if says else "shows that it works" not in first


def test_hosts_that_are_not_alike_are_named_first_and_do_not_share_a_cpu(run_directory, environment):
    run_directory.document["suites"] = [WEAK]
    run_directory.document["hosts"] = [
        {"name": "node1", "address": "10.0.0.1:8888", "environment": environment},
        {
            "name": "node2",
            "address": "10.0.0.2:8888",
            "environment": environment,
            "differences": ["processor: Old → New", "tensorflow: 2.20.0 → 2.21.0"],
        },
    ]
    add(run_directory, 1.0, "weak-scaling", batch_size=8, workers=2)
    text = markdown(summary_of(run_directory).run)
    first = (
        "**Hosts are not as node1, and a step waits for the slowest:** node2: processor: Old → New; tensorflow: 2.20.0"
    )
    assert text.startswith(first)
    assert "10.0.0.2:8888" in text


def test_other_work_is_labelled_in_its_row(stored):
    rows = {(row.batch_size, row.case.endswith("all_reduce=False")): row for row in summary_of(stored).run.rows}
    assert "each replica normalises its own 8 images, which is not one's work" in rows[16, False].note
    assert "replicas exchange no gradients" in rows[16, True].note
    assert "replica" not in rows[8, False].note or rows[8, False].case.endswith("workers=2")
