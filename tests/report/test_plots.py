"""The plot of each suite: that it says what the rows say, and that no row and no text can spoil it."""

import copy
import re
import subprocess
import sys
from typing import Any

import pytest

from gnet_core.config import StepConfig
from gnet_core.report import drawing
from gnet_core.report.ratios import LOOKS
from gnet_core.report.summary import Summary
from gnet_core.results import records
from tests.conftest import RunDirectory
from tests.svg import height_points, outside_references, words

HOSTILE = "<script>alert(1)</script></svg>../../x\x1b[2J $x^2$ 図表"
AA = {"name": "aa", "question": "Identical code?", "varies": "source", "base": ""}
SOURCES = {"name": "sources", "question": "New against old?", "varies": "source", "base": "old"}

FORMS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "throughput": [({}, ""), ({"precision": "mixed_bfloat16"}, "")],
    "execution": [({}, ""), ({"execution": "xla"}, "")],
    "precision": [({}, ""), ({"precision": "mixed_bfloat16"}, "")],
    "batch-size": [({}, ""), ({"batch_size": 16}, "")],
    "parts": [({"part": "forward"}, ""), ({"part": "gradients"}, ""), ({}, "")],
    "auxiliary": [({}, ""), ({"aux_weight": 0.0}, "")],
    "sources": [({}, "old"), ({}, "new")],
    "aa": [({}, ""), ({}, "again")],
}
"""The cases of each suite, as what differs from a plain one, and their source."""


def three(seconds, wobble=0.002):
    """Three processes of two blocks each, of two steps that take about that long."""
    return [[2 * seconds * (1 + wobble * number)] * 2 for number in (-1, 0, 1)]


@pytest.fixture
def run_of(tmp_path, environment):
    """Makes a run of one suite, whose cases take the given seconds a step; None is a case without figures."""

    def make(suite, seconds, directory="run", status="failed"):
        made = RunDirectory(tmp_path / directory, copy.deepcopy(environment))
        made.document["suites"] += [AA, SOURCES]
        for (changes, source), took in zip(FORMS[suite], seconds, strict=True):
            config = StepConfig(**{"batch_size": 8} | changes)
            processes, outcome = (three(took), "ok") if took else ([], status)
            made.add(config, *processes, suites=(suite,), source=source, status=outcome)
        return made

    return make


def section_of(directory, suite):
    run = records.load_run(directory.path)
    return next(section for section in Summary(run).sections if section.suite.name == suite)


def plot_of(directory, suite):
    return section_of(directory, suite).picture()


@pytest.mark.parametrize("suite", FORMS)
def test_swapping_the_figures_of_two_rows_changes_the_title(run_of, suite):
    rest = [1.25] * (len(FORMS[suite]) - 2)
    drawn = [
        plot_of(run_of(suite, [*seconds, *rest], name), suite)
        for seconds, name in (((0.5, 1.0), "one"), ((1.0, 0.5), "other"))
    ]
    assert drawn[0].title != drawn[1].title
    assert drawn[0].svg != drawn[1].svg


@pytest.mark.parametrize(
    ("suite", "seconds"),
    [
        ("batch-size", (1.0, 1.0)),
        ("auxiliary", (1.0, 0.8)),
        ("aa", (1.0, 1.0)),
        ("parts", (0.25, 0.75, 1.0)),
        ("precision", (1.0, 0.5)),
        ("sources", (1.0, 1.5)),
    ],
)
def test_the_title_is_the_answer_to_the_suites_question(run_of, suite, seconds):
    directory = run_of(suite, seconds)
    title = plot_of(directory, suite).title
    assert " ".join(section_of(directory, suite).answers()[0]).startswith(title)
    assert re.search(r"\d", title)
    assert title in " ".join(words(plot_of(directory, suite)))


def test_the_title_of_a_suite_without_a_base_is_its_fastest_case(run_of):
    title = plot_of(run_of("throughput", (1.0, 0.5)), "throughput").title
    assert title.startswith("16.0 images/s (15.9–16.1) with graph, mixed_bfloat16, batch 8")


def test_the_title_of_many_comparisons_counts_their_verdicts(run_directory):
    for batch_size, seconds in ((1, 0.5), (2, 0.4), (4, 1.5), (8, 0.8), (16, 1.0)):
        run_directory.add(StepConfig(batch_size=batch_size), *three(1.0), suites=("execution",))
        xla = StepConfig(batch_size=batch_size, execution="xla")
        run_directory.add(xla, *three(seconds), suites=("execution",))
    assert plot_of(run_directory, "execution").title == (
        "xla against graph: FASTER in 3 of 5 (1.250–2.500×), SLOWER in 1 (0.667×), SAME in 1 (1.000×)"
    )


@pytest.mark.parametrize("suite", FORMS)
def test_every_plot_has_a_name_units_and_a_description_with_its_figures(run_of, suite):
    picture = plot_of(run_of(suite, (0.5, 1.0, 1.25)[: len(FORMS[suite])]), suite)
    assert picture.name == suite
    assert len(picture.description) <= drawing.MAX_DESCRIBED
    assert re.search(r"\d+\.\d+ images/s|\d+ ms|\d\.\d+×", picture.description)
    assert any(unit in " ".join(words(picture)) for unit in ("images/s", "ms a step"))
    sizes = re.findall(r"font-size: ([\d.]+)px|font: (?:\w+ )*([\d.]+)px", picture.svg)
    assert sizes
    assert min(float(one or other) for one, other in sizes) >= 9


@pytest.mark.parametrize("status", ["oom", "failed", "timeout", "unsupported"])
@pytest.mark.parametrize("suite", FORMS)
def test_a_row_without_figures_is_reported_and_breaks_nothing(run_of, suite, status):
    seconds = [1.0, None, 1.25][: len(FORMS[suite])]
    picture = plot_of(run_of(suite, seconds, status=status), suite)
    reason = "out of memory" if status == "oom" else status
    assert reason in " ".join(words(picture))
    assert reason in picture.description


@pytest.mark.parametrize("suite", FORMS)
def test_a_suite_of_which_nothing_was_measured_has_no_plot(run_of, suite):
    assert plot_of(run_of(suite, [None] * len(FORMS[suite])), suite) is None


def test_intervals_are_drawn_only_where_there_are_any(run_directory):
    run_directory.add(StepConfig(batch_size=8), [2.0, 2.0])
    assert "images/s" in words(plot_of(run_directory, "throughput"))
    run_directory.add(StepConfig(batch_size=16), *three(1.0))
    assert "images/s, 95 % intervals" in words(plot_of(run_directory, "throughput"))


def test_verdicts_stand_beside_the_bars_in_words_and_in_colours(run_of):
    picture = plot_of(run_of("precision", (1.0, 0.5)), "precision")
    assert "2.000× FASTER" in words(picture)
    assert LOOKS["FASTER"][0] in picture.svg
    assert LOOKS["SLOWER"][0] not in picture.svg
    assert "2.000× FASTER" in picture.description


def test_the_share_of_the_peak_stands_beside_the_bars(run_of):
    directory = run_of("precision", (1.0, 0.5))
    directory.document["peaks"] = [{"float32": {"flop_per_second": 200e9, "operation": "product"}}]
    directory.write()
    assert "8.0, MFU 40%" in words(plot_of(directory, "precision"))


def test_a_row_of_other_work_is_not_the_finding_and_says_so(run_directory):
    run_directory.add(StepConfig(batch_size=8), *three(1.0))
    wrong = {"losses_without_dropout": [[0, 4.0], [1, 9.0]]}
    run_directory.add(StepConfig(batch_size=8, precision="mixed_bfloat16"), *three(0.1), **wrong)
    picture = plot_of(run_directory, "throughput")
    assert picture.title.startswith("8.0 images/s")
    assert "other losses than float32's" in words(picture)


def test_what_a_compilation_costs_stands_beside_what_it_buys(run_directory):
    phases = {"import": 4.0, "build": 2.0, "trace": 7.0, "first_call": 40.0, "warmup": 1.0}
    run_directory.add(StepConfig(), *three(1.0), suites=("execution",))
    run_directory.add(StepConfig(execution="xla"), *three(0.9), suites=("execution",), phase_seconds=phases)
    run_directory.add(StepConfig(execution="eager"), *three(3.0), suites=("execution",))
    picture = plot_of(run_directory, "execution")
    assert picture.title == (
        "xla is FASTER than graph: 1.111× (1.111–1.111); eager is SLOWER than graph: 0.333× (0.333–0.333)"
    )
    assert {"import", "build", "trace", "compile and first step", "53.0", "23.0"} <= set(words(picture))
    assert "xla: 53.0 s" in picture.description


def test_memory_runs_out_at_a_batch_that_is_marked_and_named(run_directory):
    for batch_size in (1, 2, 4, 8):
        run_directory.add(StepConfig(batch_size=batch_size), *three(0.2 + 0.1 * batch_size), suites=("batch-size",))
    run_directory.add(StepConfig(batch_size=16), status="oom", suites=("batch-size",))
    picture = plot_of(run_directory, "batch-size")
    assert {"out of memory at 16", "1", "2", "4", "8", "16", "peak memory in GiB"} <= set(words(picture))
    assert "batch 16: out of memory" in picture.description
    assert "batch 8: 8.0 images/s" in picture.description


def test_a_batch_that_only_some_can_hold_is_no_end_of_memory(run_directory):
    for execution in ("graph", "xla"):
        for batch_size in (8, 16, 32):
            config = StepConfig(batch_size=batch_size, execution=execution)
            holds = batch_size == 8 or (execution == "xla" and batch_size == 16)
            processes = three(0.2) if holds else []
            run_directory.add(config, *processes, status="ok" if holds else "oom", suites=("batch-size",))
    texts = words(plot_of(run_directory, "batch-size"))
    assert {"out of memory", "out of memory at 32"} <= set(texts)
    assert "out of memory at 16" not in texts


def test_every_execution_has_a_line_of_its_own_over_the_batch(run_directory):
    for execution in ("graph", "xla"):
        for batch_size in (1, 2):
            config = StepConfig(batch_size=batch_size, execution=execution)
            run_directory.add(config, *three(0.2), suites=("batch-size",))
    assert {"graph, float32", "xla, float32"} <= set(words(plot_of(run_directory, "batch-size")))


def test_the_shares_of_a_step_are_those_of_the_sentence(run_of):
    picture = plot_of(run_of("parts", (0.25, 0.75, 1.0)), "parts")
    assert {"25%", "50%", "forward", "backward", "optimizer", "ms a step"} <= set(words(picture))
    assert "forward 250 ms, backward 500 ms, optimizer 250 ms" in picture.description


def test_many_cases_stay_readable_and_those_left_out_are_counted(run_directory):
    for number in range(60):
        config = StepConfig(image_size=100 + number)
        run_directory.add(config, *three(1.0 + number / 100), suites=("throughput", "precision"))
    picture = plot_of(run_directory, "throughput")
    assert any("20 more in the table" in word for word in words(picture))
    assert height_points(picture) < 72 * 20
    assert len(picture.description) <= drawing.MAX_DESCRIBED
    assert picture.description.endswith("more.")


@pytest.mark.parametrize("suite", ["throughput", "batch-size", "sources"])
@pytest.mark.parametrize("text", [HOSTILE, "x" * 10_000_000, "図" * 50, "", "\x00\ud7ff", "$"])
def test_no_text_of_a_run_spoils_a_plot(run_directory, suite, text):
    varies = {"sources": "source", "batch-size": "batch_size"}.get(suite)
    run_directory.document["suites"] = [{"name": text, "question": text, "varies": varies, "base": text}]
    if suite != "sources":
        run_directory.document["suites"][0]["base"] = None
    for number, source in enumerate((text, "other")):
        config = StepConfig(data=text[:100] or "x", batch_size=8 if suite == "sources" else 8 + number)
        run_directory.add(config, *three(1.0), suites=(text,), source=f"source{number}")
        run_directory.document["cases"][-1]["source"] = source
    run_directory.write()
    picture = plot_of(run_directory, text)
    assert re.fullmatch(r"[A-Za-z0-9-]{1,80}", picture.name)
    assert outside_references(picture.svg) == []
    assert "<script" not in picture.svg
    assert "\x1b" not in picture.svg
    assert len(picture.svg) < 200_000


def test_suites_whose_names_differ_in_signs_only_have_files_of_their_own(run_directory):
    run_directory.document["suites"] = [
        {"name": name, "question": "?", "varies": None, "base": None} for name in ("a/b", "a b")
    ]
    run_directory.add(StepConfig(), *three(1.0), suites=("a/b", "a b"))
    names = {plot_of(run_directory, suite).name for suite in ("a/b", "a b")}
    assert len(names) == 2


def test_the_same_run_gives_the_same_plots(run_of):
    directory = run_of("execution", (1.0, 2.0))
    assert plot_of(directory, "execution") == plot_of(directory, "execution")


def test_matplotlib_is_imported_only_to_draw():
    check = "import sys; import gnet_core.report.summary; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
