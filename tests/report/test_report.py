"""Reports of stored rows, for readers and for programs."""

import copy
import csv
import io
import json
import re

import pytest

from gnet_core.config import Part, StepConfig
from gnet_core.report import run as report
from gnet_core.report.html import to_html
from gnet_core.report.summary import Summary
from gnet_core.results import gates, records
from tests.conftest import TORCH_SECTION
from tests.stored import (
    compare_with_golden,
    markdown,
    processes,
    store_every_suite,
    store_hostile,
    store_profile,
    terminal,
)
from tests.traces import document as profile_document

NAME = "xla-float32-b8-i224-synthetic-cpu"
AA = {"name": "aa", "question": "Identical code?", "varies": "source", "base": ""}

CONTRACT = [
    *("case", "suite", "execution", "precision", "batch_size", "image_size", "data", "device", "status", "replicates"),
    *("samples", "trace_seconds", "compile_seconds", "first_step_seconds", "step_seconds", "step_seconds_ci_low"),
    *("step_seconds_ci_high", "step_seconds_p50", "step_seconds_p95", "step_seconds_p99", "images_per_second"),
    *("images_per_second_ci_low", "images_per_second_ci_high", "peak_memory_bytes", "memory_source"),
    *("gflop_per_image", "gflop_per_second", "mfu", "loss_first", "loss_last", "note"),
]


@pytest.fixture
def stored(run_directory):
    run_directory.add(StepConfig(batch_size=8), [2.0, 2.0], suites=("throughput", "execution", "batch-size"))
    run_directory.add(StepConfig(batch_size=8, execution="xla"), [4.0, 4.0], suites=("execution",))
    run_directory.add(
        StepConfig(batch_size=8, execution="eager"), status="timeout", note="not finished", suites=("execution",)
    )
    run_directory.add(StepConfig(batch_size=16), [4.1, 4.1], suites=("batch-size",))
    return run_directory


def load(directory):
    return records.load_run(directory.path)


def test_the_csv_begins_with_the_contracts_columns_and_has_a_line_a_case(stored):
    lines = list(csv.reader(io.StringIO(report.to_csv(load(stored)))))
    assert lines[0][: len(CONTRACT)] == CONTRACT
    assert len(lines) == 5
    first = dict(zip(lines[0], lines[1], strict=True))
    assert first["suite"] == "throughput+execution+batch-size"
    assert (first["step_seconds"], first["images_per_second"], first["step_seconds_p95"]) == ("1.0", "8.0", "")
    assert first["samples"] == "2"


def test_a_figure_that_was_not_measured_is_empty(stored):
    timeout = list(csv.DictReader(io.StringIO(report.to_csv(load(stored)))))[2]
    assert timeout["status"] == "timeout"
    assert timeout["images_per_second"] == timeout["peak_memory_bytes"] == timeout["mfu"] == ""


def test_the_first_line_says_why_one_process_a_case_may_not_be_quoted(stored):
    first = markdown(load(stored)).splitlines()[0]
    assert first.startswith("**Do not quote")
    assert "one process a case" in first


def first_line(run):
    """The line of report.md that says whether the figures may be quoted."""
    return markdown(run).splitlines()[0]


def three(seconds, wobble=0.0):
    """Three processes of two blocks each, of two steps that take about that long."""
    return [[2 * seconds * (1 + wobble * number)] * 2 for number in (-1, 0, 1)]


def test_three_processes_a_case_may_be_quoted_and_smoke_never(run_directory):
    run_directory.add(StepConfig(), *three(1.0))
    assert first_line(load(run_directory)) == (
        "**These figures may be quoted,** each with its machine, its configuration and its interval."
    )
    run_directory.document["preset"] = "smoke"
    run_directory.write()
    assert "smoke" in first_line(load(run_directory))


@pytest.mark.parametrize(
    ("spoiled", "why"),
    [
        ({"loss_last": None}, f"a loss was not finite, and speed counts only at equal work ({NAME})"),
        (
            {"losses_without_dropout": [[0, 4.0], [1, 9.0]]},
            f"other losses than float32's, and speed counts only at equal work ({NAME})",
        ),
        ({"delay_seconds": 0.1}, f"every step was delayed to test the suite ({NAME})"),
        ({"disturbed": 1}, f"more than 20% of its turns were disturbed ({NAME})"),
        (
            {"waiting_cpu_share": 0.5},
            f"1 of the report's own checks failed, of which the first: {NAME}: its processes used 50.0% of a processor "
            "while they waited, which disturbed the others' turns",
        ),
    ],
)
def test_a_run_with_a_row_in_doubt_may_not_be_quoted(run_directory, spoiled, why):
    run_directory.add(StepConfig(batch_size=8), *three(1.0))
    run_directory.add(StepConfig(batch_size=8, execution="xla"), *three(1.0), **spoiled)
    assert Summary(load(run_directory)).reservations == [why]


@pytest.mark.parametrize("device", ["cpu", "gpu:0"])
def test_a_gpus_report_says_that_the_tolerance_of_losses_is_a_cpus(run_directory, device):
    run_directory.add(StepConfig(device=device), *three(1.0))
    run_directory.add(StepConfig(device=device, precision="mixed_bfloat16"), *three(1.0))
    caveats = [caveat for caveat in report.caveats(load(run_directory)) if "measured on a CPU" in caveat]
    assert len(caveats) == (device != "cpu")


def test_two_processes_a_case_are_too_few_to_quote(run_directory):
    run_directory.add(StepConfig(), *three(1.0)[:2])
    assert Summary(load(run_directory)).reservations == [
        "they rest on 2 processes a case, so how far the next process would differ is unknown"
    ]


def test_a_step_without_a_steady_state_may_not_be_quoted(run_directory):
    slower = [[2.0 + 0.1 * turn + 0.001 * process for turn in range(10)] for process in range(3)]
    run_directory.add(StepConfig(batch_size=8, execution="xla"), *slower)
    for batch_size in (4, 8, 16, 32):
        steady = [[2.0 + 0.003 * (turn % 3) for turn in range(10)] for _ in range(3)]
        run_directory.add(StepConfig(batch_size=batch_size), *steady)
    assert Summary(load(run_directory)).reservations == [
        f"no steady state, its time still changed over the run ({NAME})"
    ]


def test_a_sequential_comparison_is_reported_but_forbids_no_quoting(run_directory):
    run_directory.add(StepConfig(batch_size=8), *three(1.0), suites=("execution",))
    run_directory.add(StepConfig(batch_size=8, execution="xla"), *three(2.0), suites=("execution",), sequential=True)
    text = markdown(load(run_directory))
    assert text.startswith("**These figures may be quoted,**\n\n- each with its machine")
    assert "\n- 1 comparison is sequential: say so beside the ratio\n" in text


def test_identical_code_that_differs_forbids_quoting(run_directory):
    run_directory.document["suites"].append(AA)
    run_directory.add(StepConfig(batch_size=8), *three(1.0))
    run_directory.add(StepConfig(batch_size=8), *three(1.2), suites=("aa",), source="again")
    assert Summary(load(run_directory)).reservations == ["identical code against itself came out SLOWER"]


def test_what_the_report_finds_wrong_with_itself_stands_in_it(run_directory):
    run_directory.add(StepConfig(batch_size=8), *three(2.0))
    run_directory.add(StepConfig(batch_size=8, precision="mixed_float16"), *three(1.0), low_precision_share=0.1)
    text = markdown(load(run_directory))
    assert text.splitlines()[0].endswith("images/s of every other case.")  # it speaks against this case alone
    why = "only 10% of its matrix work was done in a lower precision: it is mixed\\_float16 by name"
    assert f"**Do not quote these:** {why} (graph-mixed\\_float16-b8-" in text
    assert "## Caveats, and what this report finds wrong with itself\n\ngraph-mixed\\_float16-b8" in text
    assert "only 10% of its matrix work was done in a lower precision: it is mixed\\_float16 by name." in text


def test_a_trace_of_the_run_is_reported_in_its_report(run_directory):
    run_directory.add(StepConfig(), [1.0])
    folder = run_directory.path / "traces" / StepConfig().name
    folder.mkdir(parents=True)
    rows = [
        {"operation": "Conv2D", "occurrences": 6, "self_seconds": 0.75, "share": 0.75},
        {"operation": "Mul", "occurrences": 2, "self_seconds": 0.25, "share": 0.25},
    ]
    trace = {"untraced_step_seconds": [0.5], "traced_step_seconds": [0.6], "overhead_seconds": 0.1, "warnings": []}
    document = {"config": StepConfig().to_dict(), "operations": rows, "note": "Wall time.", "trace": trace}
    (folder / "profile.json").write_text(json.dumps(document))
    text = markdown(load(run_directory))
    assert "goes to Conv2D 75%, Mul 25%" in text
    assert re.search(r"\| Conv2D +\| +6 \| +750 \| +75.0% \|", text)
    assert "500 ms without the profiler" in text


def test_an_interrupted_run_may_not_be_quoted(run_directory):
    run_directory.add(StepConfig(), [1.0], [1.1], [1.2])
    run_directory.document["complete"] = False
    run_directory.write()
    assert "interrupted" in first_line(load(run_directory))


def answers(directory, suite):
    run = load(directory)
    (section,) = [section for section in Summary(run).sections if section.suite.name == suite]
    return [" ".join(sentence) for sentence in section.answers()]


def test_suites_without_a_base_answer_from_their_rows(stored):
    assert answers(stored, "throughput") == ["8.0 images/s (one process) with graph, float32, batch 8: 1000 ms a step."]
    assert answers(stored, "batch-size") == [
        "8.0 images/s (one process) with graph, float32, batch 8, the smallest, is the most; "
        "7.8 at batch 16, the largest."
    ]


def test_a_smaller_batch_that_is_nearly_as_good_is_reported(run_directory):
    for batch, seconds in ((8, 2.0), (16, 2.4), (32, 4.7)):
        run_directory.add(StepConfig(batch_size=batch), [seconds], suites=("batch-size",))
    assert answers(run_directory, "batch-size") == [
        "Batch 16 gives 98% of the best throughput: 13.3 images/s (one process) against 13.6 at batch 32 and 8.0 at "
        "batch 8, graph, float32."
    ]


PHASES = {"import": 4.0, "build": 2.0, "trace": 7.0, "first_call": 40.0, "warmup": 1.0}


@pytest.mark.parametrize(
    ("xla", "sentence"),
    [
        (
            three(1.5, wobble=0.001),
            "xla is SLOWER than graph: 0.667× (0.665–0.668), float32, batch 8; it never pays back its 38 s compile.",
        ),
        (
            three(0.75, wobble=0.001),
            "xla is FASTER than graph: 1.333× (1.330–1.337), float32, batch 8; "
            "it has paid back its 39 s compile after 120 steps.",
        ),
        (three(1.0, wobble=0.002), "xla is the SAME as graph within 2%: 1.000× (0.995–1.005), float32, batch 8."),
        (
            three(1.1, wobble=0.06),
            "UNRESOLVED whether xla is faster than graph: 0.91× (0.78–1.06), float32, batch 8. "
            "The interval holds 1; about 4 more processes a side would probably tell.",
        ),
        (
            three(1.5)[:1],
            "UNRESOLVED whether xla is faster than graph: 0.67×, float32, batch 8. "
            "1 of base and 1 of variant processes took turns; a verdict needs at least 3 a side.",
        ),
    ],
)
def test_the_verdict_and_its_ratio_make_the_sentence(run_directory, xla, sentence):
    run_directory.add(StepConfig(batch_size=8), *three(1.0), suites=("execution",))
    run_directory.add(StepConfig(batch_size=8, execution="xla"), *xla, suites=("execution",), phase_seconds=PHASES)
    assert answers(run_directory, "execution") == [sentence]


def test_a_suite_whose_base_has_no_figures_says_so(run_directory):
    run_directory.add(StepConfig(), status="oom", note="too large", suites=("execution",))
    run_directory.add(StepConfig(execution="xla"), [1.0], suites=("execution",))
    assert answers(run_directory, "execution") == [
        "No answer: xla against graph, float32, batch 32. graph-float32-b32-i224-synthetic-cpu has no figures: oom."
    ]


def test_a_suite_whose_base_was_not_run_says_so(run_directory):
    run_directory.add(StepConfig(execution="xla"), [1.0], suites=("execution",))
    assert answers(run_directory, "execution") == ["No answer: graph and what it is compared with were not both run."]


def test_forward_backward_and_optimizer_make_up_the_step(run_directory):
    seconds: dict[Part, float] = {"train": 1.0, "gradients": 0.9, "forward": 0.3}
    for part in seconds:
        run_directory.add(StepConfig(batch_size=8, part=part), *three(seconds[part]), suites=("parts",))
    assert answers(run_directory, "parts") == [
        "forward 30% (30–30%), backward 60%, optimizer 10% (10–10%) of a step: graph, float32, batch 8. "
        "Each part was timed as a step of its own."
    ]


def test_without_all_parts_there_are_no_shares(run_directory):
    run_directory.add(StepConfig(batch_size=8), *three(1.0), suites=("parts",))
    run_directory.add(StepConfig(batch_size=8, part="gradients"), *three(0.9), suites=("parts",))
    run_directory.add(StepConfig(batch_size=8, part="forward"), status="failed", note="x", suites=("parts",))
    (sentence,) = answers(run_directory, "parts")
    assert sentence.startswith("No answer: not all parts of graph, float32, batch 8 could be measured.")
    assert sentence.endswith("part=forward has no figures: failed.")


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        (
            three(0.8, wobble=0.001),
            "20% (20–20%) of a step goes to the auxiliary losses: "
            "the speed without is 1.250× (1.247–1.253), graph, float32, batch 8.",
        ),
        (
            three(1.0),
            "Nothing that matters goes to the auxiliary losses: 0% (0–0%) of a step; "
            "the speed without is 1.000× (1.000–1.000), graph, float32, batch 8.",
        ),
        (
            three(1.0)[:1],
            "UNRESOLVED how much goes to the auxiliary losses: 0% of a step; the speed without is 1.00×, graph, "
            "float32, batch 8. 1 of base and 1 of variant processes took turns; a verdict needs at least 3 a side.",
        ),
    ],
)
def test_the_cost_of_the_auxiliary_losses_is_a_share_of_the_step(run_directory, without, sentence):
    run_directory.add(StepConfig(batch_size=8), *three(1.0), suites=("auxiliary",))
    run_directory.add(StepConfig(batch_size=8, aux_weight=0.0), *without, suites=("auxiliary",))
    assert answers(run_directory, "auxiliary") == [sentence]


def test_identical_code_against_itself_tells_the_machines_spread(run_directory):
    run_directory.document["suites"].append(AA)
    run_directory.add(StepConfig(batch_size=8), *three(1.0))
    run_directory.add(StepConfig(batch_size=8), *three(1.0, wobble=0.001), suites=("aa",), source="again")
    assert answers(run_directory, "aa") == [
        "Identical code against itself is SAME: 1.000× (0.998–1.002), graph, float32, batch 8. "
        "Processes of identical code here differed by 0.1% in turns and 0.1% one after the other "
        "(standard deviation). "
        "Between such, 2.1% can be seen."
    ]


def test_sources_are_compared_case_by_case(run_directory, environment):
    run_directory.document["suites"].append({**AA, "name": "sources", "base": "old"})
    changed = copy.deepcopy(environment)
    changed["tensorflow"]["version"] = "2.19.0"
    run_directory.document["environments"] = {"old": environment, "new": changed}
    run_directory.add(StepConfig(batch_size=8), *three(1.0), source="old")
    run_directory.add(StepConfig(batch_size=8), *three(0.5, wobble=0.001), source="new")
    assert answers(run_directory, "sources") == [
        "new is FASTER than old: 2.000× (1.995–2.005), graph, float32, batch 8."
    ]
    text = markdown(load(run_directory))
    assert "From old to new these differ:\n\nTensorFlow: 2.21.0 → 2.19.0\n" in text


def test_a_peer_of_its_own_interpreter_is_reported_with_its_version_and_environment(run_directory, environment):
    of_torch = copy.deepcopy(environment) | {"tensorflow": None, "torch": TORCH_SECTION}
    of_torch["machine"] |= {"python": "3.12.0", "packages": {"gnet": "0.1.0", "keras": "3.15.1", "torch": "2.13.0+cpu"}}
    run_directory.document["environments"] = {"": environment, "torch": of_torch}
    run_directory.add(StepConfig(batch_size=8), *three(1.0))
    run_directory.add(StepConfig(batch_size=8, framework="torch", execution="eager"), *three(1.0))
    text = markdown(load(run_directory))
    assert "16 GiB, TensorFlow 2.21.0, PyTorch 2.13.0+cpu" in text
    assert re.search(r"\| PyTorch of its own interpreter +\| 2\.13\.0\+cpu, built without CUDA", text)
    figures = (
        "From the first to PyTorch's own interpreter these differ:\n\n- Python: 3.11.0 → 3.12.0\n- torch: not installed"
    )
    assert figures in text


def test_a_source_called_torch_in_a_run_of_before_is_a_source(run_directory, environment):
    run_directory.document["environments"] = {"torch": environment, "jax": environment}
    for source in ("torch", "jax"):
        run_directory.add(StepConfig(batch_size=8), *three(1.0), source=source)
    text = markdown(load(run_directory))
    assert "16 GiB, TensorFlow 2.21.0" in text
    assert "PyTorch" not in text.partition("## Environment")[0]
    assert "own interpreter" not in text


def test_without_tensorflow_there_is_no_mfu_and_the_report_says_so(run_directory, environment):
    environment |= {"tensorflow": None, "torch": TORCH_SECTION}
    run_directory.document["peaks"] = [{"error": "TensorFlow is not installed in /x, which measures them"}]
    run_directory.add(StepConfig(batch_size=8), status="unsupported", note="TensorFlow is not installed here")
    run_directory.add(StepConfig(batch_size=8, framework="torch", execution="eager"), *three(1.0))
    run = load(run_directory)
    assert [row.mfu for row in run.rows] == [None, None]
    text = markdown(run)
    assert "16 GiB, PyTorch 2.13.0+cpu" in text
    assert "peaks failed: TensorFlow is not installed in /x" in text


def test_the_table_of_a_suite_with_a_base_has_ratios_and_verdicts(run_directory):
    run_directory.document["peaks"] = [{"float32": {"flop_per_second": 2e12, "operation": "product 2048"}}]
    extra = {"flop_per_image": 100e9, "suites": ("execution",)}
    run_directory.add(StepConfig(batch_size=16), *three(1.0), **extra)
    run_directory.add(
        StepConfig(batch_size=16, execution="xla"), *three(2.0, wobble=0.001), **extra, phase_seconds=PHASES
    )
    run_directory.add(StepConfig(batch_size=16, execution="eager"), *three(1.0, wobble=0.002), **extra, sequential=True)
    run = load(run_directory)
    (section,) = Summary(run).sections
    table = section.full_table()
    assert [table.headings, *([cell.text for cell in row] for row in table.rows)] == [
        [
            *("execution", "precision", "batch", "images/s", "95 % interval", "± turns", "ms a step", "p50 ms"),
            "of steps",
            *("× graph", "95 % of ×", "verdict", "detectable effect", "TFLOP/s", "MFU", "trace s", "compile s"),
            *("first step s", "peak GiB", "blocks", "status"),
        ],
        [
            *("graph", "float32", "16", "16.0", "16.0–16.0", "0.0%", "1000", "600", "9"),
            *("1", "", "", "", "1.6", "80.0%", "7.0", "9.0", "19.0", "1.00", "3×2", "ok"),
        ],
        [
            *("xla", "float32", "16", "8.0", "8.0–8.0", "0.0%", "2000", "600", "9"),
            *("0.500", "0.499–0.501", "SLOWER", "2.1%", "0.8", "40.0%", "7.0", "38.0", "49.0", "1.00", "3×2", "ok"),
        ],
        [
            *("eager", "float32", "16", "16.0", "15.9–16.1", "0.0%", "1000", "600", "9"),
            *("1.000", "0.995–1.005", "SAME, sequential", "2.2%", "1.6", "80.0%", "", "", "19.0", "1.00", "3×2", "ok"),
        ],
    ]
    text = markdown(run)
    assert "| float32     |         2 | product 2048        |" in text
    assert "90% of the time: 2.1% in turns, 2.2% one after the other." in text


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_verdicts_are_written_for_programs_a_line_a_comparison(stored):
    run = load(stored)
    report.write(Summary(run))
    lines = list(csv.DictReader(io.StringIO((stored.path / "verdicts.csv").read_text())))
    assert list(lines[0]) == [
        *("suite", "base", "variant", "verdict", "ratio", "low", "high", "margin", "p_value", "adjusted_p_value"),
        *("minimum_detectable_effect", "mode", "base_processes", "variant_processes", "max_looks", "reason", "run"),
    ]
    assert [(line["variant"], line["verdict"], line["ratio"], line["mode"]) for line in lines] == [
        ("xla-float32-b8-i224-synthetic-cpu", "UNRESOLVED", "0.5", "turns"),
        ("eager-float32-b8-i224-synthetic-cpu", "UNRESOLVED", "", ""),
    ]
    assert lines[1]["reason"] == "eager-float32-b8-i224-synthetic-cpu has no figures: timeout."


def test_what_was_not_measured_is_listed_with_its_reason(stored):
    text = markdown(load(stored))
    assert "\n**eager-float32-b8-i224-synthetic-cpu:** timeout, not finished\n" in text


def test_hostile_text_is_inert_wherever_it_comes_from(run_directory):
    store_hostile(run_directory)
    text = markdown(load(run_directory))
    outside_code = re.sub(r"`[^`\n]*`", "", text)
    assert "<script>" not in outside_code.replace(r"\<script\>", "")
    assert not re.findall(r"(?<!\\)<(?!/?details>|/?summary>)", outside_code)
    assert "\n# [x]" not in text
    assert "[x](" not in outside_code.replace(r"\[x\](", "")
    assert not set("\x1b\u202e\u2066") & set(text)
    headings = 0
    for line in text.splitlines():
        if line.startswith("|"):
            columns = len(re.findall(r"(?<!\\)\|", line))
            assert columns == (headings or columns), line
            headings = columns
        else:
            headings = 0
    assert "\x1b" not in terminal(load(run_directory))


def test_a_text_without_end_is_cut(run_directory):
    run_directory.add(StepConfig(), status="failed", note="x" * 100_000)
    assert len(markdown(load(run_directory))) < 10_000
    assert len(terminal(load(run_directory))) < 10_000


def test_every_form_of_a_report_says_first_that_a_traced_step_is_launch_bound(run_directory, environment):
    run_directory.add(StepConfig(batch_size=1), *processes(1.0))
    config = StepConfig(batch_size=1, device="gpu:0")
    folder = run_directory.path / "traces" / config.name
    folder.mkdir(parents=True)
    at_work = [{"kind": "device compute", "seconds": 0.05, "share": 0.1}]
    stored = profile_document(environment, config=config.to_dict(), device="gpu:0", breakdown=at_work)
    (folder / "profile.json").write_text(json.dumps(stored))
    run = records.load_run(run_directory.path)
    html = to_html(report.document(Summary(run)))
    for text in (markdown(run), html, terminal(run), *report.to_json(Summary(run))["findings"][1:]):
        assert "traced:" in text
        assert "Launch-bound: the GPU is at work for 50 ms of a step of 500 ms" in text


def test_a_profile_that_holds_nothing_is_reported_in_words(run_directory):
    run_directory.add(StepConfig(), [1.0])
    folder = run_directory.path / "traces" / "x"
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text('{"config": {}}')
    run = load(run_directory)
    report.write(Summary(run))
    for text in (
        terminal(run),
        *((run_directory.path / f"report.{end}").read_text() for end in ("md", "html")),
    ):
        assert "A profile.json in traces/ cannot be told: profile.json: field" in text


@pytest.mark.parametrize("name", ["report.md", "cases.csv", "verdicts.csv"])
def test_a_whole_report_of_every_suite_is_what_it_was(run_directory, name):
    store_every_suite(run_directory)
    store_profile(run_directory)
    report.write(Summary(load(run_directory)))
    compare_with_golden(name, (run_directory.path / name).read_text(encoding="utf-8"))


def test_a_whole_report_of_one_process_a_case_is_what_it_was(stored):
    report.write(Summary(load(stored)))
    compare_with_golden("first_look.md", (stored.path / "report.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", [markdown, terminal])
def test_every_form_of_a_report_begins_or_ends_with_the_same_findings(run_directory, form):
    store_every_suite(run_directory)
    run = load(run_directory)
    findings = report.to_json(Summary(run))["findings"]
    assert len(findings) == 6
    text = form(run).replace("**", "").replace("\\", "")
    assert all(sentence in text for sentence in findings)


def test_a_picture_stands_in_the_text_by_its_description(run_directory):
    store_every_suite(run_directory)
    report.write(Summary(load(run_directory)))
    text = (run_directory.path / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[([^]]+)\]\((plots/[^)]+)\)", text)
    assert len(pictures) >= 6
    for description, file in pictures:
        assert len(description) > 20
        assert (run_directory.path / file).read_text(encoding="utf-8").startswith("<?xml")


def test_the_files_are_written_and_made_again_the_same(stored):
    report.write(Summary(load(stored)))
    first = {name: (stored.path / name).read_text() for name in ("cases.csv", "verdicts.csv", "report.md")}
    report.write(Summary(load(stored)))
    assert first == {name: (stored.path / name).read_text() for name in first}
    assert not list(stored.path.glob(".*"))


def test_the_json_is_plain_and_holds_the_same_rows(stored):
    run = load(stored)
    document = json.loads(json.dumps(report.to_json(Summary(run)), allow_nan=False))
    assert [row["case"] for row in document["rows"]] == [row.case for row in run.rows]
    assert document["quotable"] is False
    assert document["failed_checks"] == []
    assert [(family["suite"], len(family["comparisons"])) for family in document["verdicts"]] == [("execution", 2)]


@pytest.mark.parametrize("value", [1e300, 0, -1.0, "fast", None])
def test_a_peak_that_nothing_can_have_is_passed_over(run_directory, value):
    run_directory.document["peaks"] = [{"float32": {"flop_per_second": value, "operation": "conv"}}]
    run_directory.add(StepConfig(), [1.0])
    run = load(run_directory)
    assert run.rows[0].mfu is None
    assert report.peaks_table(run.document).rows == []
    assert "measured peak" not in markdown(run)


def test_a_batch_beyond_memory_is_no_failure_where_a_smaller_one_fitted(run_directory):
    run_directory.add(StepConfig(batch_size=8), [1.0])
    run_directory.add(StepConfig(batch_size=16), status="oom", note="full")
    assert gates.failures(load(run_directory)) == []
    run_directory.add(StepConfig(execution="xla", batch_size=16), status="oom", note="full")
    assert [row.execution for row in gates.failures(load(run_directory))] == ["xla"]


def test_an_operations_name_in_a_trace_is_inert(run_directory):
    run_directory.add(StepConfig(), [1.0])
    folder = run_directory.path / "traces" / "x"
    folder.mkdir(parents=True)
    trace = {"untraced_step_seconds": [0.5], "traced_step_seconds": [0.6], "overhead_seconds": 0.1, "warnings": []}
    rows = [{"operation": "void k<float>|x\x1b", "occurrences": 1, "self_seconds": 1.0, "share": 1.0}]
    document = {"config": StepConfig().to_dict(), "operations": rows, "note": "", "trace": trace}
    (folder / "profile.json").write_text(json.dumps(document))
    text = markdown(load(run_directory))
    assert r"| void k\<float\>\|x |" in text
    assert "\x1b" not in text


def test_a_base_that_another_suite_measured_stands_in_the_table_too(run_directory):
    run_directory.add(StepConfig(batch_size=8), *three(1.0), suites=("throughput",))
    run_directory.add(StepConfig(batch_size=8, execution="xla"), *three(2.0, wobble=0.001), suites=("execution",))
    (_, section) = Summary(load(run_directory)).sections
    assert [row.execution for row in section.rows] == ["graph", "xla"]


@pytest.mark.parametrize(
    ("complete", "reason"), [(False, "the run was interrupted before it was taken"), (True, "it is not there any more")]
)
def test_a_requested_trace_that_is_not_there_is_reported(run_directory, complete, reason):
    run_directory.document["options"]["profile"] = True
    run_directory.document["complete"] = complete
    if complete:
        run_directory.document["profile_note"] = ""  # as a run leaves it whose trace was taken
    run_directory.add(StepConfig(), [1.0])
    assert f"**a trace:** {reason}" in markdown(records.load_run(run_directory.path))
