"""What the README promises is what the project does."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    return re.findall(r"^    (python3 -m venv .*)$", README, re.MULTILINE)


def test_two_commands_do_all_the_setting_up_and_ci_runs_the_one_that_tests():
    bench, tests = commands()
    assert bench.endswith("tox run -e bench")
    assert tests.endswith("tox run -e tests")
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_result_table_is_that_of_the_committed_example():
    example = (ROOT / "reports" / "example" / "report.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in README.split("## Commands")[0].splitlines() if line.startswith(("| graph", "| xla"))]
    assert len(table) >= 2
    for line in table:
        assert line in example


@pytest.mark.parametrize("word", ["TODO", "FIXME", "@@"])
def test_no_note_to_self_is_left(word):
    assert word not in README
