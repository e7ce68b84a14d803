"""What the README promises is what the project does."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 150
"""Before the section for contributors."""
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


def test_it_is_short_until_it_comes_to_contributors():
    assert README.count("\n## Contributing\n") == 1
    assert len(README.partition("## Contributing\n")[0].splitlines()) <= MAX_LINES


def test_every_file_and_folder_that_the_documents_name_is_there():
    for document in (ROOT / "README.md", ROOT / "reports" / "README.md"):
        named = re.findall(r"`((?:tests|reports|benchmarks|\.ci)/[\w./-]*)`", document.read_text(encoding="utf-8"))
        assert named
        assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_changelog_goes_by_versions_newest_first_and_has_the_packages_own():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    unreleased, *versions = headings
    assert unreleased == "Unreleased"
    assert versions[0] == version
    assert versions == sorted(versions, key=lambda each: tuple(map(int, each.split("."))), reverse=True)
