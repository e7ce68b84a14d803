"""What a second measurement says of the cases that looked slower in the first."""

import pytest

from gnet_core.config import StepConfig
from gnet_core.results import confirmation, records
from tests.conftest import RunDirectory
from tests.stored import processes

CONFIG, LARGER = StepConfig(batch_size=8), StepConfig(batch_size=16)


@pytest.fixture
def new(run_directory):
    run_directory.add(CONFIG, *processes(1.2, 0.001))
    run_directory.add(LARGER, *processes(1.2, 0.001))
    return records.load_run(run_directory.path)


@pytest.fixture
def second(tmp_path, environment):
    """A run that compares the sources base and new."""
    directory = RunDirectory(tmp_path / "second", environment)
    directory.document["suites"].append({"name": "sources", "question": "?", "varies": "source", "base": "base"})
    directory.add(CONFIG, *processes(1.0, 0.001), source="base")
    return directory


@pytest.mark.parametrize(("margin", "verdict"), [(0.02, "SLOWER"), (0.3, "SAME")])
def test_a_case_is_judged_by_the_comparison_of_the_sources_within_the_margin(new, second, margin, verdict):
    second.add(CONFIG, *processes(1.2, 0.001), source="new")
    found = confirmation.in_turns([CONFIG.name], new, records.load_run(second.path), margin)
    assert {case: (item.variant, item.verdict) for case, item in found.items()} == {
        CONFIG.name: (f"{CONFIG.name}@new", verdict)
    }


def test_a_case_that_could_not_be_compared_again_is_left_out(new, second):
    second.add(CONFIG, status="failed", note="x", source="new")
    assert confirmation.in_turns([CONFIG.name, LARGER.name], new, records.load_run(second.path), 0.02) == {}
