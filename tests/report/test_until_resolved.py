"""Reports of runs until resolved: what may be quoted, how it was judged, and what would settle the rest."""

import pytest

from gnet_core.config import StepConfig
from gnet_core.report import run as report
from gnet_core.report.banners import banners, next_step
from gnet_core.report.document import Command
from gnet_core.report.summary import Summary
from gnet_core.report.terminal import to_terminal
from gnet_core.report.views import looks
from gnet_core.results import records
from tests.stored import compare_with_golden, markdown, processes, store_looks

GRAPH, EAGER, XLA = (StepConfig(batch_size=16, execution=execution) for execution in ("graph", "eager", "xla"))
WITH = "each with its machine, its configuration and its interval"
UNTIL_FIXED = "what was settled early leans outward: quote the interval with it, or measure it with --until fixed"
SPENT = {"starting": 180.0, "warming_up": 20.0, "timing": 60.0, "waiting": 20.0, "peaks": 12.0, "report": 4.5}

UNSTEADY = [0.08, 0.0, 0.07, 0.005, 0.09]
"""How much slower each of a case's processes is."""


def summary_of(directory):
    return Summary(records.load_run(directory.path))


def store(directory, *, xla=UNSTEADY, max_looks=20, **document):
    """Eager execution, settled at the first look, and XLA, of which five processes leave it open."""
    directory.add(GRAPH, *processes(1.2, number=5), suites=("throughput", "execution"))
    directory.add(EAGER, *processes(3.0), suites=("execution",))
    directory.add(XLA, *[[2.4 * (1 + slower)] * 5 for slower in xla], suites=("execution",))
    store_looks(directory, max_looks, **({"time_spent": {"timing": 260.0}} | document))


def texts(summary):
    return [(banner.tone, banner.point, list(banner.clauses)) for banner in banners(summary)]


def test_what_is_settled_may_be_quoted_and_what_is_open_says_what_would_settle_it(run_directory):
    store(run_directory)
    summary = summary_of(run_directory)
    assert texts(summary) == [
        (
            "good",
            f"These may be quoted, {WITH}:",
            [
                "execution: eager is SLOWER than graph, 0.398× (0.398–0.398), settled after 3 of at most 20 processes",
                "images/s of every case",
                UNTIL_FIXED,
            ],
        ),
        (
            "bad",
            "Do not quote these:",
            [
                "execution: xla is UNRESOLVED against graph, 0.95× (0.84–1.08); "
                "about 14 more processes a side, about 9 minutes, would probably tell"
            ],
        ),
    ]
    assert next_step(summary) == Command(
        f"gnet bench --budget 660s --resume {run_directory.path}",
        "What is open would probably be settled in about 9 minutes more, by:",
    )


def test_the_way_on_names_again_what_is_never_taken_from_a_file(run_directory):
    store(run_directory)
    run_directory.document["options"] |= {"settings": ["onednn0=TF_ENABLE_ONEDNN_OPTS=0"], "python": ["a=/a/python"]}
    run_directory.write()
    step = next_step(summary_of(run_directory))
    assert step is not None
    assert "--set onednn0=TF_ENABLE_ONEDNN_OPTS=0" in step.command
    assert "--python a=/a/python" in step.command


def test_a_terminal_says_slower_in_its_first_lines_and_the_way_on_in_its_last(run_directory):
    store(run_directory)
    lines = to_terminal(report.document(summary_of(run_directory), with_pictures=False)).splitlines()
    assert lines[2].startswith("These may be quoted")
    assert lines[3].startswith("- execution: eager is SLOWER than graph")
    assert lines[-3].endswith(f"gnet bench --budget 660s --resume {run_directory.path}")
    assert lines[-1].startswith("Do not quote these: execution: xla is UNRESOLVED against graph")


def test_where_all_is_settled_there_is_nothing_against_quoting_and_no_way_on(run_directory):
    store(run_directory, xla=[1.0, 1.01, 1.0])
    summary = summary_of(run_directory)
    assert [tone for tone, _, _ in texts(summary)] == ["good"]
    assert summary.open == []
    assert next_step(summary) is None


def test_what_the_looks_left_cannot_settle_is_to_be_measured_anew(run_directory):
    store(run_directory, max_looks=6)
    summary = summary_of(run_directory)
    ((_, _, _), (_, _, (clause,))) = texts(summary)
    assert clause.endswith(
        "and this run's last look is at 6; measure it anew, about 9 minutes, with --until fixed --replicates 14"
    )
    assert next_step(summary) is None


def test_a_case_in_doubt_takes_its_comparison_from_what_may_be_quoted_and_no_other(run_directory):
    run_directory.add(GRAPH, *processes(1.2), suites=("execution",))
    run_directory.add(EAGER, *processes(3.0), suites=("execution",))
    run_directory.add(XLA, *processes(2.4), suites=("execution",), delay_seconds=0.1)
    summary = summary_of(run_directory)
    assert [item.comparison.variant for item in summary.quotable] == [EAGER.name]
    assert texts(summary) == [
        (
            "good",
            f"These may be quoted, {WITH}:",
            ["execution: eager is SLOWER than graph, 0.400× (0.400–0.400)", "images/s of every other case"],
        ),
        ("bad", "Do not quote these:", [f"every step was delayed to test the suite ({XLA.name})"]),
    ]


def test_where_every_case_is_in_doubt_nothing_may_be_quoted(run_directory):
    run_directory.add(GRAPH, *processes(1.2), suites=("execution",), disturbed=3)
    run_directory.add(EAGER, *processes(3.0), suites=("execution",), disturbed=3)
    why = f"more than 20% of its turns were disturbed ({GRAPH.name}, {EAGER.name})"
    assert texts(summary_of(run_directory)) == [("bad", "Do not quote these figures:", [why])]


@pytest.mark.parametrize("fault", ["smoke", "its own checks"])
def test_a_fault_of_the_whole_run_forbids_to_quote_what_is_settled(run_directory, fault):
    store(run_directory)
    if fault == "smoke":
        run_directory.document["preset"] = "smoke"
    else:
        run_directory.document["cases"][0]["status"] = "odd"
    run_directory.write()
    summary = summary_of(run_directory)
    assert [(tone, point) for tone, point, _ in texts(summary)] == [("bad", "Do not quote these figures:")]
    assert summary.quotable == []


def test_the_interruption_of_a_run_speaks_against_a_fixed_number_of_processes_alone(run_directory):
    store(run_directory, complete=False)
    assert summary_of(run_directory).faults == []
    run_directory.document["until"] = "fixed"
    run_directory.write()
    assert summary_of(run_directory).faults == ["the run was interrupted"]


def test_before_the_first_look_there_are_ratios_and_the_way_to_a_verdict(run_directory):
    run_directory.add(GRAPH, *processes(1.2, number=2), suites=("execution",))
    run_directory.add(EAGER, *processes(3.0, number=2), suites=("execution",))
    store_looks(run_directory, 12, time_spent={"timing": 120.0})
    summary = summary_of(run_directory)
    (item,) = summary.open
    assert (item.comparison.ratio, item.comparison.low, item.comparison.pairs) == (pytest.approx(0.4, rel=0.1), None, 2)
    assert next_step(summary) == Command(
        f"gnet bench --budget 120s --resume {run_directory.path}",
        "What is open would probably be settled in about 60 s more, by:",
    )
    assert "a verdict takes 3 or more (--budget)" in markdown(summary.run)


def test_processes_beyond_the_last_look_of_a_changed_run_json_do_not_count(run_directory):
    store(run_directory)
    run_directory.document["max_looks"] = 4
    run_directory.write()
    (execution,) = summary_of(run_directory).families
    assert {case: item.pairs for case, item in execution.comparisons.items()} == {EAGER.name: 3, XLA.name: 4}


def test_the_looks_at_each_comparison_end_with_the_one_that_settled_it(run_directory):
    store(run_directory)
    _, execution = summary_of(run_directory).sections
    table = looks.table(execution)
    assert table.headings == [
        *("comparison", "n", "× graph", "repeated 95 % of ×", "repeated p", "verdict", "spent error")
    ]
    cells = [[cell.text for cell in row] for row in table.rows]
    assert [(row[0], row[1], row[5], row[6]) for row in cells] == [
        ("eager", "3 of 20", "SLOWER", "0.29%"),
        ("xla", "3 of 20", "UNRESOLVED", "0.29%"),
        ("xla", "4 of 20", "UNRESOLVED", "0.45%"),
        ("xla", "5 of 20", "UNRESOLVED", "0.63%"),
    ]


def test_programs_get_the_looks_and_what_is_settled_and_what_is_open(run_directory):
    store(run_directory, time_spent=SPENT)
    told = report.to_json(summary_of(run_directory))
    assert (told["until"], told["max_looks"], len(told["looks"])) == ("resolved", 20, 3)
    assert list(told["looks"]) == run_directory.document["looks"]
    assert told["time_spent"] == SPENT
    assert told["quotable_comparisons"] == [{"suite": "execution", "base": GRAPH.name, "variant": EAGER.name}]
    (still_open,) = told["open_comparisons"]
    assert still_open["variant"] == XLA.name
    assert still_open["more_pairs"] == 14
    assert still_open["seconds"] == pytest.approx(280.0 / 13 * 28)
    assert {row["max_looks"] for row in told["verdicts"][0]["comparisons"]} == {20}


def test_the_runs_own_time_is_a_table_with_its_sum_and_without_what_took_none(run_directory):
    store(run_directory, time_spent=SPENT)
    text = markdown(summary_of(run_directory).run)
    assert text.rstrip().endswith("|     296.5 |    100% |")
    assert "tracing a case" not in text
    run_directory.document["time_spent"] = {}
    run_directory.write()
    assert "own time" not in markdown(summary_of(run_directory).run)


def test_a_whole_report_of_a_run_until_resolved_is_what_it_was(run_directory):
    store(run_directory, budget_seconds=600.0, time_spent=SPENT)
    text = markdown(summary_of(run_directory).run)
    compare_with_golden("until_resolved.md", text.replace(str(run_directory.path), "DIRECTORY"))
