"""Interpreters and revisions that cases are measured from."""

import subprocess
import sys
import tempfile

import pytest

from gnet_core import sources
from gnet_core.config import GnetError


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks" / "conftest.py").write_text("first = 1\n")
    for words in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def test_interpreters_keep_their_order_and_names(checkout):
    found = sources.interpreters([f"old={sys.executable}", "new=python3"], checkout)
    assert list(found) == ["old", "new"]
    assert found["old"].python == sys.executable
    assert found["new"].checkout == checkout


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["python3"], "python: 'python3' is no NAME=INTERPRETER"),
        (["old="], "python: 'old=' is no NAME=INTERPRETER"),
        (["../x=python3"], "is no NAME=INTERPRETER"),
        (["again=python3"], "is no NAME=INTERPRETER"),
        (["a=python3", "a=python3"], "python: 'a' is named twice"),
        (["a=/nowhere/python"], "python: '/nowhere/python' of a is no program that can be started"),
    ],
)
def test_what_names_no_interpreter_is_refused(checkout, asked, said):
    with pytest.raises(GnetError, match=said):
        sources.interpreters(asked, checkout)


def test_a_revision_is_checked_out_beside_the_working_tree_and_taken_away_again(checkout):
    (checkout / "benchmarks" / "conftest.py").write_text("second = 2\n")
    with sources.against("HEAD", checkout) as found:
        assert list(found) == ["HEAD", "here"]
        old, new = (found[name].checkout / "benchmarks" / "conftest.py" for name in found)
        assert (old.read_text(), new.read_text()) == ("first = 1\n", "second = 2\n")
    assert not old.exists()
    listed = subprocess.run(
        ["git", "-C", str(checkout), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_a_revision_that_git_does_not_know_is_refused_and_leaves_nothing_behind(checkout, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with (
        pytest.raises(GnetError, match="against: 'nonsense' cannot be checked out; git said: "),
        sources.against("nonsense", checkout),
    ):
        pass
    assert list(temporary.iterdir()) == []
