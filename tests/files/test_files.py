"""Files that are regular and bounded when read, whole or absent when written."""

import os
import socket

import pytest

from gnet_core.config import GnetError
from gnet_core.files import whole


def test_text_is_read_also_through_a_link(tmp_path):
    (tmp_path / "file").write_text("π", encoding="utf-8")
    (tmp_path / "link").symlink_to("file")
    assert whole.read_text(tmp_path / "link") == "π"


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def make_sparse(path):
    with path.open("w") as file:
        file.truncate(2**40)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "is no regular file"),
        (os.mkdir, "no regular file|Is a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
        (lambda path: path.symlink_to("/dev/stdin"), ""),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "No such file"),
        (make_socket, "No such device"),
        (make_sparse, "has 1099511627776 bytes, more than"),
    ],
    ids=["pipe", "folder", "device", "terminal", "link loop", "dangling link", "socket", "sparse"],
)
def test_what_is_no_bounded_regular_file_is_an_error_at_once(tmp_path, make, message):
    make(tmp_path / "odd")
    if message:
        with pytest.raises(OSError, match=message):
            whole.read_bytes(tmp_path / "odd")


def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path):
    (tmp_path / "a.json").write_text("old")

    def write_half():
        with whole.written_whole(tmp_path / "a.json") as temporary:
            assert temporary.suffix == ".json"
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


@pytest.mark.parametrize("name", ["report.md", "run.json"])
def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "run").mkdir()
    for link in (name, f".{name}.partial", f"partial-{name}"):
        (tmp_path / "run" / link).symlink_to(victim)
    whole.write_whole(tmp_path / "run" / name, "new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "run" / name).read_text() == "new"
    assert not (tmp_path / "run" / name).is_symlink()


@pytest.mark.parametrize("make", [lambda path: path.symlink_to(path.parent), lambda path: path.touch()])
def test_a_folder_of_a_run_is_its_own(tmp_path, make):
    whole.make_own_folder(tmp_path / "raw")
    whole.make_own_folder(tmp_path / "raw")
    make(tmp_path / "plots")
    with pytest.raises(GnetError, match="a run writes only into folders of its own"):
        whole.make_own_folder(tmp_path / "plots")


def test_what_killed_writers_left_is_removed_without_following_links(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / ".partial-1.json").touch()
    (tmp_path / ".partial-2").mkdir()
    (tmp_path / ".partial-2" / "trace").touch()
    (tmp_path / ".partial-3").symlink_to("kept")
    whole.remove_partial_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()
