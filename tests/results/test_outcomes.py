"""What a pipeline reads of a run and of a comparison: one outcome a case."""

import copy
import datetime

import pytest

from gnet_core.config import StepConfig
from gnet_core.report import comparison
from gnet_core.report import history as history_report
from gnet_core.report.outcomes import details, message
from gnet_core.results import changes, gates, outcomes, records
from gnet_core.results.history import History
from gnet_core.results.outcomes import Outcome
from gnet_core.results.rules import NO_RULES, Margin, Rules, Waiver
from tests.conftest import RunDirectory
from tests.histories import history_of, level, together
from tests.stored import processes

CONFIG, LARGER = StepConfig(batch_size=8), StepConfig(batch_size=16)
TODAY = datetime.date(2026, 11, 26)
WAIVED = Rules(today=TODAY, waivers=(Waiver(cases="*", reason="issue 123", expires=TODAY),))


@pytest.fixture
def base(tmp_path, environment):
    return RunDirectory(tmp_path / "base", copy.deepcopy(environment))


@pytest.fixture
def new(tmp_path, environment):
    directory = RunDirectory(tmp_path / "new", copy.deepcopy(environment))
    directory.document["run"] = "another run"
    return directory


@pytest.fixture
def sources(run_directory):
    """A run that compares the sources main and here."""
    run_directory.document["suites"].append({"name": "sources", "question": "?", "varies": "source", "base": "main"})
    run_directory.add(CONFIG, *processes(1.0, 0.001), source="main")
    return run_directory


def between(base: RunDirectory, new: RunDirectory, *asked: str, rules: Rules = NO_RULES) -> outcomes.Outcomes:
    base_run, new_run = (records.load_run(directory.path) for directory in (base, new))
    compared = comparison.compare(base_run, new_run, 0.02, across_machines=True, require_common=False)
    return comparison.outcomes(compared, asked, rules)


def of_run(directory: RunDirectory, *asked: str, rules: Rules = NO_RULES) -> outcomes.Outcomes:
    return outcomes.of_run(records.load_run(directory.path), asked, rules)


def kinds(told: outcomes.Outcomes) -> dict[str, tuple[str, list[str]]]:
    """By case, the kind of its outcome and the gates that failed."""
    return {outcome.case: (outcome.kind, list(outcome.failed)) for outcome in told.outcomes}


@pytest.mark.parametrize(
    ("seconds", "scatter", "asked", "kind", "failed"),
    [
        (1.2, 0.001, (), "failure", ["slower"]),
        (1.2, 0.001, ("missing",), "failure", ["slower"]),
        (1.0, 0.001, (), "passed", []),
        (0.8, 0.001, (), "passed", []),
        (1.02, 0.2, (), "skipped", []),
        (1.02, 0.2, ("unresolved",), "failure", ["unresolved"]),
    ],
)
def test_the_verdict_of_a_case_decides_in_a_comparison_and_between_sources(
    base, new, sources, seconds, scatter, asked, kind, failed
):
    base.add(CONFIG, *processes(1.0, 0.001))
    new.add(CONFIG, *processes(seconds, scatter))
    assert kinds(between(base, new, *asked)) == {CONFIG.name: (kind, failed)}
    sources.add(CONFIG, *processes(seconds, scatter), source="here")
    name = CONFIG.name
    assert kinds(of_run(sources, *asked)) == {f"{name}@main": ("passed", []), f"{name}@here": (kind, failed)}


def test_another_gate_fails_on_a_case_where_it_was_asked_for(base, new):
    base.add(CONFIG, *processes(1.0))
    base.add(LARGER, *processes(1.0))
    new.add(CONFIG, *processes(1.0), losses_without_dropout=[[0, 9.0], [1, 3.0]])
    new.add(LARGER, *processes(1.0))
    assert kinds(between(base, new))[CONFIG.name] == ("skipped", [])  # it has no ratio
    assert kinds(between(base, new, "other-work"))[CONFIG.name] == ("failure", ["other-work"])


@pytest.mark.parametrize(
    ("status", "kind", "failed"),
    [
        ("failed", "error", ["missing", "failed"]),
        ("timeout", "error", ["missing", "failed"]),
        ("unsupported", "error", ["missing"]),
        (None, "error", ["missing"]),
    ],
)
def test_what_has_no_figures_any_more_is_an_error(base, new, status, kind, failed):
    base.add(CONFIG, *processes(1.0))
    base.add(LARGER, *processes(1.0))
    new.add(CONFIG, *processes(1.0))
    new.add(LARGER, status=status, note="because")
    told = between(base, new)
    assert kinds(told)[LARGER.name] == (kind, failed)
    assert told.outcomes[1].note == ("NEW: because" if status is None else f"NEW: {status}: because")


def test_a_case_that_new_does_not_have_is_an_error_and_one_that_base_does_not_have_is_skipped(base, new):
    for directory, config in ((base, CONFIG), (new, CONFIG), (base, LARGER), (new, StepConfig(batch_size=32))):
        directory.add(config, *processes(1.0))
    told = between(base, new)
    assert kinds(told) == {
        CONFIG.name: ("passed", []),
        LARGER.name: ("error", ["missing"]),
        StepConfig(batch_size=32).name: ("skipped", []),
    }
    assert [outcome.note for outcome in told.outcomes] == ["", "NEW: not configured", "BASE: not configured"]


def test_what_neither_can_do_and_a_batch_beyond_memory_are_skipped(base, new):
    tf32 = StepConfig(precision="tf32")
    for directory in (base, new):
        directory.add(CONFIG, *processes(1.0))
        directory.add(LARGER, status="oom", note="x")
        directory.add(tf32, status="unsupported", note="there is none on a CPU")
    told = between(base, new)
    assert kinds(told) == {
        CONFIG.name: ("passed", []),
        LARGER.name: ("skipped", []),
        tf32.name: ("skipped", []),
    }
    assert "there is none on a CPU" in told.outcomes[2].note


def test_cases_of_sources_that_failed_are_errors(sources):
    sources.add(CONFIG, *processes(1.0, 0.001), source="here")
    sources.add(LARGER, status="failed", note="because", source="main")
    sources.add(LARGER, *processes(1.0), source="here")
    assert kinds(of_run(sources)) == {
        f"{CONFIG.name}@main": ("passed", []),
        f"{CONFIG.name}@here": ("passed", []),
        f"{LARGER.name}@main": ("error", ["failed"]),
        f"{LARGER.name}@here": ("skipped", []),  # without a base it is UNRESOLVED
    }


def test_a_run_without_sources_is_judged_by_what_failed_alone(run_directory):
    run_directory.add(CONFIG, *processes(1.0))
    run_directory.add(StepConfig(batch_size=8, execution="xla"), *processes(3.0), suites=("execution",))
    run_directory.add(StepConfig(batch_size=8, execution="eager"), status="failed", note="because")
    assert [outcome.kind for outcome in of_run(run_directory).outcomes] == ["passed", "passed", "error"]


def test_that_nothing_was_compared_is_an_outcome(base, new, sources):
    base.add(CONFIG, *processes(1.0))
    new.add(LARGER, *processes(1.0))
    told = kinds(between(base, new, "slower"))
    assert told[gates.NOTHING] == ("error", ["slower", "failed"])
    assert told[CONFIG.name] == ("error", ["missing"])
    sources.add(CONFIG, status="failed", note="x", source="here")
    assert kinds(of_run(sources))[gates.NOTHING][0] == "error"


def test_what_a_waiver_covers_is_skipped_and_one_that_has_expired_is_a_failure(base, new):
    base.add(CONFIG, *processes(1.0, 0.001))
    new.add(CONFIG, *processes(1.2, 0.001))
    (outcome,) = between(base, new, rules=WAIVED).outcomes
    assert (outcome.kind, [item.why for item in outcome.excused]) == ("skipped", ["waived until 2026-11-26: issue 123"])
    expired = Rules(today=TODAY + datetime.timedelta(days=1), waivers=WAIVED.waivers)
    assert kinds(between(base, new, rules=expired)) == {
        CONFIG.name: ("failure", ["slower"]),
        "* (waived until 2026-11-26: issue 123)": ("failure", ["expired-waiver"]),
    }


def test_a_case_within_its_own_margin_passes(base, new):
    base.add(CONFIG, *processes(1.0, 0.001))
    new.add(CONFIG, *processes(1.2, 0.001))
    (outcome,) = between(base, new, rules=Rules(today=TODAY, margins=(Margin(cases="*", percent=30),))).outcomes
    assert (outcome.kind, len(outcome.excused)) == ("passed", 1)


def test_an_outcome_has_what_its_timed_blocks_took_and_both_environments(base, new):
    new.document["environment"]["tensorflow"]["version"] = "2.19.0"
    base.add(CONFIG, [1.0, 2.0], [3.0, 4.0], [5.0, 6.0])
    new.add(CONFIG, [0.5, 0.25], [1.0, 1.0], [1.0, 1.0])
    (outcome,) = between(base, new).outcomes
    assert outcome.seconds == 4.75
    assert [str(difference) for difference in outcome.differences] == ["TensorFlow: 2.21.0 → 2.19.0"]
    assert outcome.row is not None
    assert outcome.base_row is not None


def test_blocks_that_are_void_took_no_time(base):
    base.add(CONFIG, [1.0, 2.0], [3.0, 4.0], voided_blocks=[0])
    assert of_run(base).outcomes[0].seconds == 6.0


def test_what_differs_between_two_sources_is_told(sources):
    document = sources.document
    other = copy.deepcopy(document["environment"])
    other["tensorflow"]["version"] = "2.19.0"
    document["environments"] = {"main": document["environment"], "here": other}
    sources.add(CONFIG, *processes(1.0, 0.001), source="here")
    first, second = of_run(sources).outcomes
    assert first.differences == []
    assert [str(difference) for difference in second.differences] == ["TensorFlow: 2.21.0 → 2.19.0"]


def test_the_warning_of_two_machines_goes_with_the_outcomes(base, new):
    new.document["environment"]["machine"]["cores"] = 64
    base.add(CONFIG, *processes(1.0))
    new.add(CONFIG, *processes(1.1))
    assert [warning.partition(":")[0] for warning in between(base, new).warnings] == ["ACROSS MACHINES"]


def test_a_note_alone_is_a_skip_and_a_failed_gate_comes_before_it():
    assert Outcome(case="x").kind == "passed"
    assert Outcome(case="x", note="because").kind == "skipped"
    assert Outcome(case="x", note="because", failed=["slower"]).kind == "failure"


def of_history(history: History, *asked: str, rules: Rules = NO_RULES) -> outcomes.Outcomes:
    judged = changes.judge(history, (), lambda _case: 0.02, TODAY)
    return outcomes.of_history(judged, asked, rules, history_report.series_names(judged.current))


def body(outcome: Outcome) -> str:
    return "\n".join(" ".join(sentence) for sentence in details(outcome))


SLOWER = level(100, 20) + level(90, 10)


def test_each_series_of_a_case_is_an_outcome_with_its_own_figures_and_machine():
    slower, fine = history_of({"a": SLOWER}), history_of({"a": level(100, 30)}, machine=2, hours_later=1)
    of_it = of_history(together(slower, fine))
    assert kinds(of_it) == {"a, a machine": ("failure", ["slower"]), "a, machine 2": ("passed", [])}
    failure, passed = of_it.outcomes
    assert "SLOWER now: 0.90" in message(failure)
    assert "SLOWER" not in message(passed)
    for text in (
        "machine: a machine (machine 1)",
        "framework: TensorFlow 2.21.0",
        "margin: 2.0%",
        "change since 2026-01-21: 0.90",
        "SLOWER (commit 20abcdef01), first in runs/20",
        "last run: runs/29 of 2026-01-30 (commit 29abcdef01): ok",
    ):
        assert text in body(failure)
    assert "machine: machine 2 (machine 2)" in body(passed)


def test_a_waiver_covers_every_series_of_its_cases():
    both = together(history_of({"a": SLOWER}), history_of({"a": SLOWER}, machine=2, hours_later=1))
    waiver = Waiver(cases="a", reason="issue 123", expires=TODAY)
    of_it = of_history(both, "slower", rules=Rules(today=TODAY, waivers=(waiver,)))
    assert [(outcome.kind, len(outcome.excused)) for outcome in of_it.outcomes] == [("skipped", 1), ("skipped", 1)]
    assert of_it.gates.unmatched == []


def test_a_series_of_too_few_runs_is_skipped_with_the_number_that_it_takes():
    history = history_of({"a": level(100, 30), "b": [*level(50, 3), *[None] * 27]}, skip_gaps=True)
    short = of_history(history).outcomes[1]
    assert (short.kind, short.note) == ("skipped", "3 of 8 runs that changes take")
    assert kinds(of_history(history_of({"a": level(100, 3)}))) == {"a": ("skipped", [])}


def test_where_slower_was_asked_for_and_looked_at_nothing_that_is_an_outcome():
    history = history_of({"a": level(100, 3)})
    assert kinds(of_history(history, "slower"))[gates.NOTHING] == ("failure", ["slower"])
    single = history_of({"a": level(100, 1)})
    assert kinds(of_history(single))[gates.NOTHING] == ("error", ["slower", "missing", "failed"])


def test_a_case_that_crashed_or_is_missing_shows_that_and_no_speed_of_before():
    crashed = history_of({"a": [*level(100, 9), None], "b": level(50, 10)})
    (outcome, other) = of_history(crashed).outcomes
    assert (outcome.kind, message(outcome)) == ("error", "failed: failed in runs/9")
    assert other.kind == "passed"
    missing = history_of({"a": [*level(100, 9), None], "b": level(50, 10)}, skip_gaps=True)
    (outcome, _other) = of_history(missing).outcomes
    assert (outcome.kind, message(outcome)) == ("error", "missing: no row in runs/9, which runs/8 has")
    never = history_of({"a": [None] * 9, "b": level(50, 9)}, gap="unsupported")
    (outcome, _other) = of_history(never).outcomes
    assert (outcome.kind, message(outcome)) == ("skipped", "unsupported in runs/8; never measured")


def test_what_a_history_left_out_goes_with_its_outcomes():
    whole = history_of({"a": level(100, 10)})
    history = History(runs=whole.runs, series=whole.series, notes=["A note."], unread=["x/run.json: no JSON"])
    assert of_history(history).warnings == ["x/run.json: no JSON", "A note."]
