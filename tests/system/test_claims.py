"""One writer a directory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gnet_core.config import GnetError
from gnet_core.files.whole import LOCK_FILE
from gnet_core.system import claims, interrupts

HOLD = """
import sys
from pathlib import Path
from gnet_core.system.claims import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

COVERAGE = sys.gettrace()
"""What traces lines besides, to be put back; None where nothing does."""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the directory until its stdin is closed or it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_directory_that_another_process_writes_into_is_refused_by_its_holders_number(tmp_path, holder):
    with (
        pytest.raises(claims.BusyError, match=f"process {holder.pid} on .* is writing into it"),
        claims.claimed(tmp_path),
    ):
        pass
    holder.communicate()
    with claims.claimed(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
    (tmp_path / ".partial-1").touch()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with claims.claimed(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def signal_at(line, directory):
    """Claim the directory, with a signal right before the line of claims.py is executed for the first time."""

    def trace(frame, event, _argument):
        if frame.f_code.co_filename != claims.__file__:
            return None
        if event == "line" and frame.f_lineno == line:
            sys.settrace(COVERAGE)
            signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        with claims.claimed(directory):
            pass
    finally:
        sys.settrace(COVERAGE)


def test_an_interrupt_while_the_lock_is_made_or_removed_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(interrupts, "_handler", interrupts._Handler())
    before = signal.signal(signal.SIGINT, interrupts._handler)
    interrupted = 0
    try:
        for line in range(1, len(Path(claims.__file__).read_text().splitlines()) + 1):
            interrupts._handler._last_seconds = -interrupts.REPEAT_SECONDS
            try:
                signal_at(line, tmp_path)
            except KeyboardInterrupt:
                interrupted += 1
            assert list(tmp_path.iterdir()) == [], f"interrupted at line {line}"
    finally:
        signal.signal(signal.SIGINT, before)
    assert interrupted > 10


def test_of_many_that_ask_at_once_one_gets_an_empty_directory(tmp_path):
    program = HOLD.replace("claimed", "claimed_empty").replace(
        "sys.stdin.read()", "Path(sys.argv[1], str(sys.argv[2])).touch()"
    )
    commands = [[sys.executable, "-c", program, str(tmp_path / "run"), str(number)] for number in range(8)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in commands]
    outputs = [process.communicate()[1].decode() for process in processes]
    statuses = [process.returncode for process in processes]
    assert statuses.count(0) == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == [str(statuses.index(0))]
    for status, words in zip(statuses, outputs, strict=True):
        assert status == 0 or "is writing into it" in words or "has files in it already" in words


def test_a_new_directory_in_which_nothing_was_written_is_gone_again(tmp_path):
    with pytest.raises(GnetError, match="refused"), claims.claimed_empty(tmp_path / "a" / "b"):
        raise GnetError("refused")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with claims.claimed_empty(tmp_path / "mine"):
        pass
    with claims.claimed_empty(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "a"}


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("victim"), os.mkdir])
def test_a_lock_that_is_no_file_of_its_own_is_refused(tmp_path, make):
    make(tmp_path / LOCK_FILE)
    with pytest.raises(GnetError, match="cannot be claimed"), claims.claimed(tmp_path):
        pass
    assert not (tmp_path / "victim").exists()


def test_a_pipe_in_the_place_of_the_lock_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / LOCK_FILE)
    with pytest.raises(GnetError, match="cannot be locked"), claims.claimed(tmp_path):
        pass


@pytest.mark.parametrize("out", ["/proc/nothing", "/dev/null/run"])
def test_a_directory_that_cannot_be_made_is_refused(out):
    with pytest.raises(GnetError, match=r"out: .* cannot be written"), claims.claimed_empty(Path(out)):
        pass
