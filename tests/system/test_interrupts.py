"""Signals that ask gnet to end."""

import signal
import subprocess
import sys
import time

import pytest

from gnet_core.system import interrupts

ASKING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU]


@pytest.fixture
def handled(monkeypatch):
    """Signals handled as gnet does it, until the test has ended."""
    before = {number: signal.getsignal(number) for number in ASKING}
    monkeypatch.setattr(interrupts, "_handler", interrupts._Handler())
    for number in ASKING:
        signal.signal(number, signal.SIG_DFL)
    interrupts.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize("number", ASKING)
def test_each_of_them_is_a_keyboard_interrupt(number):
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.usefixtures("handled")
def test_a_second_one_right_after_is_the_same_wish_and_a_later_one_is_another(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    now[0] += 0.3
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGHUP)
    now[0] += interrupts.REPEAT_SECONDS + 0.1
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("handled")
def test_one_that_arrives_in_a_deferring_block_is_raised_at_its_end():
    done = []

    def interrupted():
        with interrupts.deferred():
            with interrupts.deferred():
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["inner", "outer"]
    with interrupts.deferred():
        done.append("once")
    assert done[-1] == "once"


@pytest.mark.usefixtures("handled")
def test_an_error_in_a_deferring_block_is_raised_where_no_signal_arrived():
    with pytest.raises(ValueError, match="its own"), interrupts.deferred():
        raise ValueError("its own")


IN_AN_OBJECT_THAT_GOES = """
class Going:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
Going()
"""
IN_AN_IMPORT = """
import sys
def trace(frame, event, _):
    if frame.f_code.co_name == "cb" and "importlib" in frame.f_code.co_filename:
        sys.settrace(None)
        signal.raise_signal(signal.SIGINT)
sys.settrace(trace)
import colorsys
"""


@pytest.mark.parametrize("arrives", [IN_AN_OBJECT_THAT_GOES, IN_AN_IMPORT])
def test_one_that_arrives_where_nothing_can_be_raised_is_raised_right_after(arrives):
    program = "import signal, time\nfrom gnet_core.system import interrupts\ninterrupts.install()\n"
    program += f"try:\n    exec({arrives!r})\n    time.sleep(20)\nexcept KeyboardInterrupt:\n    print('interrupted')"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert (answer.stdout, answer.stderr) == ("interrupted\n", "")


def test_what_nohup_or_a_shell_ignores_stays_ignored():
    program = "import signal\nfrom gnet_core.system import interrupts\ninterrupts.install()\n"
    program += "signal.raise_signal(signal.SIGHUP)\nprint('alive')"
    command = ["sh", "-c", f"trap '' HUP; exec {sys.executable} -c \"{program}\""]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "alive\n"


@pytest.mark.parametrize("number", ASKING)
def test_one_that_arrives_when_all_is_done_changes_no_status(number):
    program = "import atexit, signal\nfrom gnet_core.cli import main as cli\n"
    program += f"class Last:\n    def __del__(self, kill=signal.raise_signal):\n        kill({int(number)})\n"
    # Modules go when Python has given the signals back to the system.
    program += "signal.kept = Last()\ncli._run = lambda: cli.interrupts.install() or 3\ncli.main()\n"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 3
