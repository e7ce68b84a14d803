"""Processes that gnet starts: their environment and their end."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from gnet_core.system import children

FOREIGN = {
    "PYTEST_PLUGINS": "no_such_plugin",
    "PYTEST_ADDOPTS": "--no-such-option",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONSAFEPATH": "1",
    "PYTHONSTARTUP": "/nowhere",
    "PYTHONPROFILEIMPORTTIME": "1",
    "PYTHONINSPECT": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "17",
    "GIT_DIR": "/nowhere",
    "GIT_INDEX_FILE": "/nowhere",
    "COVERAGE_PROCESS_START": "/nowhere",
    "FORCE_COLOR": "1",
    "PY_COLORS": "1",
    "MPLBACKEND": "nonsense",
}


def test_a_child_gets_what_it_needs_and_what_is_recorded_and_nothing_else(monkeypatch):
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    given = children.environment()
    assert (given["PATH"], given["TF_ENABLE_ONEDNN_OPTS"], given["PYTHONHASHSEED"]) == (os.environ["PATH"], "0", "0")
    assert set(given) & set(FOREIGN) <= {"PYTHONHASHSEED", "PYTHONOPTIMIZE"}


def test_what_a_program_prints_and_its_status_are_returned(tmp_path):
    program = "import os, sys; print(os.getcwd()); print(sys.stdin.read(), file=sys.stderr); sys.exit(3)"
    answer = children.ask([sys.executable, "-c", program], cwd=tmp_path, limit_seconds=60)
    assert (answer.returncode, answer.stdout, answer.stderr) == (3, f"{tmp_path}\n", "\n")


@pytest.mark.parametrize("before", ["", "a banner\n", "[1]\n\n"])
@pytest.mark.parametrize("after", ["", "\nbye {}\n"])
def test_the_document_that_a_program_prints_is_found_between_what_others_print(before, after):
    assert children.document(before + json.dumps({"a": {"b": [1]}}, indent=1) + after) == {"a": {"b": [1]}}
    with pytest.raises(ValueError, match="Expecting value"):
        children.document(before)


def test_a_program_that_is_none_raises_or_fails(tmp_path):
    try:
        status = children.ask(["/nowhere/program"], cwd=tmp_path, limit_seconds=60).returncode
    except OSError:
        status = 1
    assert status != 0


def wait_until_gone(numbers):
    _gone, alive = psutil.wait_procs([psutil.Process(n) for n in numbers if psutil.pid_exists(n)], timeout=5)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_program_that_takes_too_long_is_ended_with_what_it_started(tmp_path):
    program = "import subprocess, sys, pathlib, os\n"
    program += "child = subprocess.Popen(['sleep', '600'])\n"
    program += f"pathlib.Path({str(tmp_path / 'number')!r}).write_text(str(child.pid))\nchild.wait()"
    with pytest.raises(subprocess.TimeoutExpired):
        children.ask([sys.executable, "-c", program], cwd=tmp_path, limit_seconds=2)
    assert wait_until_gone([int((tmp_path / "number").read_text())])


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("stopped", [False, True], ids=["at work", "stopped"])
def test_a_child_dies_with_its_parent_however_that_ends(stopped):
    program = "import subprocess, sys, time\nfrom pathlib import Path\nfrom gnet_core.system import children\n"
    program += "null = subprocess.DEVNULL\n"
    program += f"child = children.start([{sys.executable!r}, '-c', 'import time; time.sleep(600)'], "
    program += "cwd=Path('/'), stdout=null, stderr=null)\nprint(child.pid, flush=True)\ntime.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        while "-I" in child.cmdline():  # until it is what it was started as
            time.sleep(0.01)
        if stopped:
            os.kill(child.pid, signal.SIGSTOP)
        parent.kill()
    assert wait_until_gone([child.pid])
