"""What would probably settle the comparisons that a run left open."""

import dataclasses

import pytest

from gnet_core.results.remaining import pairs_to_settle, seconds_to_settle
from gnet_core.stats.verdicts import Comparison
from tests.conftest import run_document

OPEN = Comparison(
    base="graph",
    variant="xla",
    verdict="UNRESOLVED",
    margin=0.02,
    ratio=0.98,
    base_processes=5,
    variant_processes=4,
    max_looks=12,
    more_processes=3,
)
OTHER = dataclasses.replace(OPEN, variant="eager", more_processes=2)


@pytest.fixture
def document(run_directory):
    """A run whose ten processes took 300 s."""
    raw = [f"raw/graph-float32-b8-i224-synthetic-cpu.r{number}.json" for number in range(10)]
    case = {"case": "graph-float32-b8-i224-synthetic-cpu", "config": {}, "source": "", "suites": ["execution"]}
    run_directory.document["cases"].append(case | {"status": "ok", "note": "", "raw": raw})
    return run_directory.document | {"until": "resolved", "time_spent": {"timing": 300.0}}


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({}, 3),
        ({"more_processes": 8}, 8),
        ({"more_processes": 9}, None),  # its last look is the twelfth
        ({"more_processes": None}, None),
        ({"base_processes": 1, "more_processes": None}, 2),  # a verdict takes three
    ],
)
def test_a_comparison_is_settled_within_the_looks_that_it_has_left_or_not_at_all(changes, pairs):
    assert pairs_to_settle(dataclasses.replace(OPEN, **changes)) == pairs


def test_a_base_is_started_once_for_all_its_variants(document):
    run = run_document(document)
    assert seconds_to_settle(run, [OPEN]) == pytest.approx(6 * 30.0)
    assert seconds_to_settle(run, [OPEN, OTHER]) == pytest.approx((3 + 3 + 2) * 30.0)


def test_peaks_trace_and_report_are_no_part_of_what_a_process_costs(document):
    parts = {"starting": 100.0, "warming_up": 20.0, "timing": 70.0, "waiting": 10.0}
    document["time_spent"] = parts | {"peaks": 50.0, "trace": 40.0, "report": 5.0}
    assert seconds_to_settle(run_document(document), [OPEN]) == pytest.approx(6 * 20.0)


def test_there_is_no_time_where_nothing_would_settle_it_or_nothing_was_timed(document):
    assert seconds_to_settle(run_document(document), [dataclasses.replace(OPEN, more_processes=50)]) is None
    assert seconds_to_settle(run_document(document | {"time_spent": {"timing": 0.0}}), [OPEN]) is None
    assert seconds_to_settle(run_document(document | {"cases": []}), [OPEN]) is not None
