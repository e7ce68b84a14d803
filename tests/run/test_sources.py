"""Copies of the code, interpreters and revisions that cases are measured from."""

import os
import subprocess
import tempfile
import time

import pytest

from gnet_core.config import GnetError
from gnet_core.plan.suites import AGAIN, Source
from gnet_core.run import resuming, sources
from gnet_core.system import git


def commit(folder, message):
    who = ("-c", "user.name=n", "-c", "user.email=e")
    for words in (["add", "--all"], [*who, "commit", "--quiet", "--allow-empty", "-m", message]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    for name in ("benchmarks", "gnet_core"):
        (folder / name).mkdir(parents=True)
    (folder / "benchmarks" / "conftest.py").write_text("first = 1\n")
    (folder / "gnet_core" / "step.py").write_text("")
    (folder / "pyproject.toml").write_text("")
    subprocess.run(["git", "-C", str(folder), "init", "--quiet", "--initial-branch=main"], check=True)
    commit(folder, "first")
    return folder


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


def first_line(source):
    return (source.checkout / "benchmarks" / "conftest.py").read_text()


def test_the_working_tree_is_copied_so_that_a_later_change_does_not_reach_the_run(checkout, code):
    (checkout / "benchmarks" / "conftest.py").write_text("second = 2\n")
    here = sources.working_tree(checkout, code / "here")
    before = sources.digests(here)
    (checkout / "benchmarks" / "conftest.py").write_text("third = 3\n")
    assert first_line(here) == "second = 2\n"
    assert sources.digests(here) == before
    assert git.commit(here.checkout) == git.commit(checkout)
    assert str(git.commit(here.checkout)).endswith("+changes")


def test_every_file_that_changed_came_or_went_is_named(checkout, code):
    before = sources.digests(sources.working_tree(checkout, code / "before"))
    (checkout / "gnet_core" / "step.py").write_text("slow = True\n")
    (checkout / "gnet_core" / "new.py").write_text("")
    (checkout / "benchmarks" / "conftest.py").unlink()
    (checkout / "README.md").write_text("it measures nothing")
    after = sources.digests(sources.working_tree(checkout, code / "after"))
    names = "benchmarks/conftest.py, gnet_core/new.py, gnet_core/step.py"
    with pytest.raises(GnetError, match=f"started with: {names}; put it back"):
        resuming.require_same_code(code, {"": before}, {"": after})
    resuming.require_same_code(code, {"": before}, {"": dict(before)})


def test_what_cannot_be_copied_is_named(checkout, code):
    (checkout / "gnet_core" / "gone.py").symlink_to("nowhere.py")
    with pytest.raises(GnetError, match=r"checkout: .*gone\.py"):
        sources.working_tree(checkout, code / "here")


def test_what_is_wrong_is_told_of_the_first_file_that_cannot_be_copied(checkout, code, monkeypatch):
    def full(_source, destination, **_):
        raise OSError(28, "No space left on device", destination)

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(GnetError, match=r"\(\S*step\.py: \[Errno 28\] .*\); .* \(see TMPDIR\) has to have room"):
        sources.working_tree(checkout, code / "here")


def test_without_any_folder_for_temporary_files_the_variable_is_named(monkeypatch):
    def none(*_, **__):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    message = r"^TMPDIR: .* \(No usable temporary directory .*\); name one that can be written"
    with pytest.raises(GnetError, match=message), sources.code_folder():
        pass


def test_what_an_editor_or_python_leaves_beside_the_code_is_not_copied(checkout, code):
    (checkout / "gnet_core" / ".#step.py").symlink_to("me@here.1234:5678")
    (checkout / "benchmarks" / "__pycache__").mkdir()
    here = sources.working_tree(checkout, code / "here")
    assert sorted(sources.digests(here)) == ["benchmarks/conftest.py", "gnet_core/step.py", "pyproject.toml"]


@pytest.mark.parametrize("attribute", ["export-ignore", "-export-ignore"])
def test_a_revision_that_git_does_not_write_whole_is_refused(checkout, code, attribute):
    (checkout / ".gitattributes").write_text(f"gnet_core/step.py {attribute}\n")
    commit(checkout, "attributes")
    if attribute.startswith("-"):
        assert (sources.revision("HEAD", checkout, code / "revision").checkout / "gnet_core" / "step.py").is_file()
    else:
        with pytest.raises(GnetError, match=r"against: 'HEAD' .* leaves out 'gnet_core/step\.py'; .* export-ignore"):
            sources.revision("HEAD", checkout, code / "revision")


def test_links_of_a_revision_are_links(checkout, code):
    (checkout / "gnet_core" / "same.py").symlink_to("step.py")
    (checkout / "gnet_core" / "step.py").write_text("real = 1\n")
    commit(checkout, "link")
    old = sources.revision("HEAD", checkout, code / "revision")
    assert (old.checkout / "gnet_core" / "same.py").read_text() == "real = 1\n"
    assert sources.digests(old) == sources.digests(sources.working_tree(checkout, code / "here"))


def test_a_revision_is_written_beside_the_working_tree_and_the_repository_is_left_alone(checkout, code):
    (checkout / "benchmarks" / "conftest.py").write_text("second = 2\n")
    index = (checkout / ".git" / "index").read_bytes()
    old = sources.revision("HEAD", checkout, code / "revision")
    assert (old.name, first_line(old)) == ("HEAD", "first = 1\n")
    assert git.commit(old.checkout) == str(git.commit(checkout)).removesuffix("+changes")
    assert (checkout / ".git" / "index").read_bytes() == index
    assert not (checkout / ".git" / "worktrees").exists()


def test_a_checkout_below_the_top_of_its_repository_has_revisions_too(checkout, code):
    subprocess.run(
        ["git", "-C", str(checkout), "mv", "-k", "benchmarks", "gnet_core", "pyproject.toml", "."], check=True
    )
    inner = checkout / "inner"
    inner.mkdir()
    for name in sources.MEASURED:
        (checkout / name).rename(inner / name)
    commit(checkout, "moved")
    assert first_line(sources.revision("HEAD", inner, code / "revision")) == "first = 1\n"
    with pytest.raises(GnetError, match="against: 'HEAD~1' has no benchmarks/ to measure"):
        sources.revision("HEAD~1", inner, code / "older")


@pytest.mark.parametrize("branch", ["here", "again", "HERE", "feature/here", "x" * 200])
def test_a_branch_of_any_name_is_told_from_our_own_sources(checkout, code, branch):
    subprocess.run(["git", "-C", str(checkout), "branch", branch], check=True)
    old = sources.revision(branch, checkout, code / "revision")
    assert old.name.casefold() not in (sources.HERE, AGAIN)
    assert len(old.name) <= sources.MAX_NAME_CHARACTERS


@pytest.mark.parametrize("name", ["--force", "-d", "--lock", "-b", "--upload-pack=touch x", "-"])
def test_an_option_of_gits_is_no_revision(checkout, code, name):
    with pytest.raises(GnetError, match="is an option of git's; name a revision"):
        sources.revision(name, checkout, code / "revision")
    assert not (checkout / ".git" / "worktrees").exists()


@pytest.mark.parametrize("name", ["nonsense", "", "HEAD:benchmarks", "HEAD~99", "a b", "main..main", "\u2603"])
def test_what_names_no_commit_is_refused_with_all_that_git_says(checkout, code, name):
    with pytest.raises(GnetError, match=r"against: .* cannot be read; git said: fatal: ") as refused:
        sources.revision(name, checkout, code / "revision")
    assert "\n" not in str(refused.value)
    assert not (code / "revision").exists()


def test_what_is_no_single_revision_is_refused(checkout, code):
    with pytest.raises(GnetError, match=r"against: '\^main' is no single revision"):
        sources.revision("^main", checkout, code / "revision")


def test_a_shallow_clone_is_told_how_to_get_older_revisions(checkout, code, tmp_path):
    commit(checkout, "second")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", checkout.as_uri(), str(shallow)], check=True)
    with pytest.raises(GnetError, match="this clone is shallow: git fetch --unshallow"):
        sources.revision("HEAD~1", shallow, code / "revision")


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY"])
def test_a_git_hook_around_gnet_does_not_lead_it_to_another_repository(checkout, code, tmp_path, monkeypatch, variable):
    other = tmp_path / "other"
    other.mkdir()
    index = (checkout / ".git" / "index").read_bytes()
    monkeypatch.setenv(variable, str(checkout / ".git" / "index" if variable == "GIT_INDEX_FILE" else other))
    assert first_line(sources.revision("main", checkout, code / "revision")) == "first = 1\n"
    assert git.commit(checkout)
    assert (checkout / ".git" / "index").read_bytes() == index
    assert not list(other.iterdir())


def test_copies_of_code_are_gone_when_the_run_ends_and_those_of_killed_runs_at_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned, foreign = tmp_path / "gnet-code-dead", tmp_path / "other"
    for folder in (abandoned, foreign):
        folder.mkdir()
        os.utime(folder, (time.time() - 3600,) * 2)
    with sources.code_folder() as own:
        os.utime(own, (time.time() - 3600,) * 2)
        assert not abandoned.exists()
        with sources.code_folder() as second:
            assert own.is_dir()
            assert second != own
    assert list(tmp_path.iterdir()) == [foreign]


def test_sources_that_share_their_code_have_the_same_digests(checkout):
    assert sources.digests(Source(name="a", checkout=checkout)) == sources.digests(Source(name="b", checkout=checkout))
