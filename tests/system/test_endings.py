"""How the command ends: a status means one thing, whoever reads what is printed and in whatever encoding."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from gnet_core.cli import main
from gnet_core.config import StepConfig
from gnet_core.system import streams
from tests.stored import processes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def failed_run(run_directory):
    """A run of which a case failed: `gnet report` ends with 3."""
    run_directory.add(StepConfig(batch_size=8), *processes(1.0))
    run_directory.add(StepConfig(batch_size=16), status="failed", note="crashed – 2 × ≤ 3² \u0416")
    return run_directory.path


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which $GNET is the command."""
    variables = {**os.environ, "GNET": f"{sys.executable} -m gnet_core", "PYTHONPATH": str(ROOT), **environment}
    command = ["bash", "-c", f"set -o pipefail; {line}"]
    return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("$GNET report {run} | head -1 >/dev/null", 3),
        ("$GNET report {run} --json | head -c 1 >/dev/null", 3),
        ("$GNET report {run} --fail-on failed | true", 1),
        ("$GNET report {run} >&- 2>&- <&-", 3),
        ("$GNET report {run}/nothing 2>&-", 2),
        ("$GNET --help | true", 0),
    ],
)
def test_the_status_is_kept_and_nothing_is_printed_where_nobody_reads(failed_run, line, status):
    answer = shell(line.format(run=failed_run))
    assert (answer.returncode, answer.stderr) == (status, b"")


def test_a_pipe_that_does_not_wait_for_its_reader_gets_all_of_it():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    lines = [f"{number} of many lines" for number in range(50_000)]  # more than a pipe holds
    with os.fdopen(reading, encoding="utf-8") as pipe:
        reader = threading.Thread(target=lambda: printed.append(pipe.read()))
        printed: list[str] = []
        reader.start()
        with streams._open(None, writing) as stream:
            print("\n".join(lines), file=stream)
        os.close(writing)
        reader.join()
    assert printed[0].splitlines() == lines


def terminal():
    ours, theirs = os.openpty()
    return theirs, lambda: os.close(ours)


def connection():
    ours, theirs = socket.socketpair()
    theirs.sendall(b"what is sent and never read makes the end of a connection a reset")
    return theirs.detach(), ours.close


@pytest.mark.parametrize("opened", [terminal, connection])
def test_a_terminal_or_a_connection_that_is_closed_is_a_reader_that_left(monkeypatch, opened):
    descriptor, leave = opened()
    with streams._open(None, descriptor) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        leave()
        for _ in range(3):
            print("nobody reads this", file=stream, flush=True)
        assert streams.flush() is None
    os.close(descriptor)


def test_what_is_opened_while_stdout_is_closed_is_not_printed_into(failed_run):
    before = (failed_run / "run.json").read_bytes()
    shell(f"$GNET report {failed_run} >&- 2>&- <&-")
    assert (failed_run / "run.json").read_bytes() == before
    assert "crashed" in (failed_run / "report.md").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_finds_no_room_is_one_line_and_neither_fine_nor_a_gate(failed_run):
    for words in ("--json", "--fail-on failed"):
        answer = shell(f"$GNET report {failed_run} {words} >/dev/full")
        assert answer.returncode == 2
        assert answer.stderr == b"gnet: output: No space left on device, so not all of it was printed\n"


def test_an_interrupted_command_whose_output_finds_no_room_was_interrupted(tmp_path):
    program = "from gnet_core.cli import main as cli; from gnet_core.system import streams\n"
    program += "def run():\n    streams.install()\n    print('x')\n"
    (tmp_path / "run.py").write_text(f"{program}    raise KeyboardInterrupt\ncli._run = run\ncli.main()\n")
    assert shell(f"{sys.executable} {tmp_path / 'run.py'} >/dev/full").returncode == 130


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "utf-16"])
def test_no_encoding_makes_printing_fail(failed_run, encoding):
    answer = shell(f"$GNET report {failed_run}", PYTHONIOENCODING=f"{encoding}:strict")
    assert (answer.returncode, answer.stderr) == (3, b"")
    text = answer.stdout.decode(encoding)
    assert "crashed" in text
    if encoding == "ascii":
        assert "crashed - 2 x <= 3^2 \\u0416" in text


@pytest.mark.parametrize("encoding", ["idna", "undefined"])
def test_an_encoding_that_is_not_for_text_is_not_used(failed_run, encoding):
    answer = shell(f"$GNET report {failed_run}", PYTHONIOENCODING=encoding)
    assert (answer.returncode, answer.stderr) == (3, b"")
    assert "crashed – 2 ×" in answer.stdout.decode("utf-8")


def test_a_python_that_would_ask_for_commands_at_its_end_changes_no_status(failed_run):
    answer = shell(f"$GNET report {failed_run} < /dev/null", PYTHONINSPECT="1")
    assert (answer.returncode, answer.stderr) == (3, b"")
    assert b"Report: " in answer.stdout


def test_json_is_json_in_any_encoding(failed_run):
    answer = shell(f"$GNET report {failed_run} --json", PYTHONIOENCODING="cp437:strict")
    assert json.loads(answer.stdout.decode("cp437"))["rows"][1]["note"] == "crashed – 2 × ≤ 3² \u0416"


def test_a_locale_without_unicode_does_not_make_printing_fail(failed_run):
    environment = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}
    answer = shell(f"$GNET report {failed_run}", **environment)
    assert (answer.returncode, answer.stderr) == (3, b"")
    assert answer.stdout.isascii()
    assert shell("$GNET compare --help && $GNET bench --help", **environment).returncode == 0


def test_a_path_that_is_not_utf8_can_be_printed(failed_run):
    odd = Path(os.fsdecode(os.fsencode(failed_run.parent) + b"/\xff\xfe run"))
    failed_run.rename(odd)
    line = f"$GNET report {failed_run.parent}/*run && $GNET compare {failed_run.parent}/*run {failed_run.parent}/*run"
    answer = shell(line.replace("&&", ";") + f" --out {failed_run.parent}/out")
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert (failed_run.parent / "out" / "compare.html").is_file()


def test_the_bar_is_drawn_in_an_encoding_that_lacks_its_blocks(tmp_path):
    program = "from gnet_core.system import streams; streams.install(); from tqdm import tqdm; import sys\n"
    program += "with tqdm(total=3, file=sys.stderr, ascii=False) as bar: bar.set_description('2 × 3'); bar.update(2)\n"
    (tmp_path / "bar.py").write_text(program)
    answer = shell(f"{sys.executable} {tmp_path / 'bar.py'}", PYTHONIOENCODING="ascii")
    assert answer.returncode == 0, answer.stderr
    assert b"2 x 3" in answer.stderr
    assert answer.stderr.isascii()
    assert shell(f"{sys.executable} {tmp_path / 'bar.py'} 2>&-").returncode == 0


@pytest.fixture
def ended(monkeypatch, capsys, tmp_path):
    """Calls `gnet info` with an error in it: exit status, stdout and stderr."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def call(error: BaseException):
        def fail(**_: object) -> None:
            raise error

        monkeypatch.setattr(main.info, "callback", fail)
        monkeypatch.setattr(sys, "argv", ["gnet", "info"])
        with pytest.raises(SystemExit) as exit_:
            main.main()
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return call


class _OddError(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [
        TypeError("no\nway"),
        RecursionError("too deep"),
        SystemExit(1),
        SystemExit(0),
        SystemExit("a text"),
        ConnectionResetError(104, "Connection reset by peer"),
        BrokenPipeError(32, "Broken pipe"),
        EOFError("ran out of input"),
        AssertionError(),
        KeyError("x"),
        UnicodeEncodeError("ascii", "×", 0, 1, "no"),
        ModuleNotFoundError("No module named 'gnet_core.x'", name="gnet_core.x"),
        _OddError("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_unexpected_error_has_a_status_of_its_own_and_keeps_its_traceback(ended, tmp_path, error):
    status, out, err = ended(error)
    assert (status, out) == (70, "")
    lines = [line for line in err.splitlines() if line]  # click ends the line of what it takes for an end of input
    assert len(lines) == 1
    # Of a pipe that broke click itself makes an exit.
    assert lines[0].startswith(("gnet: unexpected SystemExit", f"gnet: unexpected {type(error).__name__}"))
    (file,) = tmp_path.glob("gnet-traceback-*.txt")
    assert lines[0].endswith(f"please report it with {file}")
    assert "Traceback" in file.read_text()


@pytest.mark.parametrize("name", [None, "libcudart", "numpy.core.multiarray"])
def test_a_package_that_is_installed_and_cannot_be_loaded_is_no_fault_of_ours(ended, name):
    status, out, err = ended(ImportError("libcudart.so.12: cannot open shared object file", name=name))
    assert (status, out) == (2, "")
    assert err.startswith(
        "gnet: libcudart.so.12: cannot open shared object file: an installed package cannot be loaded"
    )


def test_the_traceback_is_printed_where_that_is_asked_for_or_no_file_can_be_written(ended, tmp_path, monkeypatch):
    monkeypatch.setenv("GNET_TRACEBACK", "1")
    status, _, err = ended(TypeError("no way"))
    assert status == 70
    assert err.startswith("gnet: unexpected TypeError: no way; please report it\nTraceback")
    monkeypatch.delenv("GNET_TRACEBACK")
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", _full)
    status, _, err = ended(TypeError("no way"))
    assert status == 70
    assert err.startswith("gnet: unexpected TypeError: no way; please report it\nTraceback")
    assert not list(tmp_path.iterdir())


def _full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_too_little_memory_is_one_line(ended):
    assert ended(MemoryError()) == (
        70,
        "",
        "gnet: out of memory; end other programs, or ask for smaller batches or images\n",
    )


def test_a_full_disk_and_a_missing_library_are_no_fault_of_gnets(ended):
    assert ended(OSError(28, "No space left on device"))[::2] == (2, "gnet: output: No space left on device\n")
    assert ended(PermissionError(13, "Permission denied", "x"))[::2] == (2, "gnet: x: Permission denied\n")
    status, _, err = ended(ModuleNotFoundError("No module named 'xprof'", name="xprof"))
    assert (status, err.startswith("gnet: xprof: it is not installed here")) == (2, True)


def test_an_interrupt_is_no_error(ended):
    assert ended(KeyboardInterrupt())[0] == 130


def test_the_help_lists_every_status():
    answer = shell("$GNET --help")
    text = " ".join(answer.stdout.decode().split())
    for status in ("0 fine", "1 a gate", "2 bad usage", "3 cases failed", "70 an unexpected error", "130 interrupted"):
        assert status in text


@pytest.mark.usefixtures("capsys")
def test_a_stream_that_a_test_has_put_there_stays():
    before = sys.stdout
    streams.install()
    assert sys.stdout is before
