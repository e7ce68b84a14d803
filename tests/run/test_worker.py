"""The reason that is given for a worker that ended before its time."""

import pytest

from gnet_core.run.endings import may_lack_memory, memory_line, reason
from gnet_core.run.protocol import MAX_MESSAGE_BYTES, Channel, ChannelClosed

USAGE = """ERROR: usage: pytest [options]
pytest: error: unrecognized arguments: --turbo
  inifile: /x/pyproject.toml
  rootdir: /x
"""

CONFTEST = """ImportError while loading conftest '/x/benchmarks/conftest.py'.
benchmarks/conftest.py:9: in <module>
    from gnet_core.config import StepConfig
E   ModuleNotFoundError: No module named 'gnet_core'
"""

TRACEBACK = """Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
ModuleNotFoundError: No module named 'pytest'
"""

CHECK = """2026-11-25 12:00:00.000000: I tensorflow/core/platform/cpu_feature_guard.cc:210] optimized
F0000 00:00:1.2 4 parse_flags_from_env.cc:227] Unknown flag in XLA_FLAGS: --nonsense
"""

NOTHING_TO_RUN = """
============================= test session starts ==============================
plugins: benchmark-5.3.1
rootdir: /x
collected 0 items

============================ no tests ran in 0.01s =============================
"""


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (USAGE, "pytest: error: unrecognized arguments: --turbo"),
        (CONFTEST, "ModuleNotFoundError: No module named 'gnet_core'"),
        (TRACEBACK, "ModuleNotFoundError: No module named 'pytest'"),
        (CHECK, "F0000 00:00:1.2 4 parse_flags_from_env.cc:227] Unknown flag in XLA_FLAGS: --nonsense"),
        (NOTHING_TO_RUN, "collected 0 items"),
        ("E       ValueError: first\n\nE       ValueError: last\n= short summary =\nFAILED x", "ValueError: last"),
        (
            "python: symbol lookup error: libfoo.so: undefined symbol",
            "python: symbol lookup error: libfoo.so: undefined symbol",
        ),
        ("", "nothing"),
        ("rootdir: /x\n", "nothing"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_the_reason_is_the_line_that_tells_and_not_the_last(log, line):
    assert reason(log) == line


LOGGED = "E0000 00:00:1.2 3 cuda_executor.cc:1] failed call to cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY"
CHECKED = "F0000 00:00:1.2 3 gpu.cc:1] Check failed: RESOURCE_EXHAUSTED: Failed to allocate 2.0GiB"
OLDER = "2026-11-25 12:00:00.000000: {} tensorflow/core/gpu.cc:1] CUDNN_STATUS_ALLOC_FAILED"
RAISED = "E   RuntimeError: cublas error: the resource allocation failed"
TERMINATED = "terminate called after throwing an instance of 'c10::OutOfMemoryError'"
WHAT = "what():  CUDA out of memory. Tried to allocate 2 GiB"


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (CHECKED, CHECKED),
        (OLDER.format("F"), OLDER.format("F")),
        (RAISED, RAISED.removeprefix("E   ")),
        (f"{TERMINATED}\n  {WHAT}\n#1 libtorch.so", WHAT),
        (f"{TERMINATED}\n#1 libtorch.so", TERMINATED),
        ("torch.OutOfMemoryError: CUDA out of memory.\n= 1 failed =", "torch.OutOfMemoryError: CUDA out of memory."),
    ],
)
def test_of_a_worker_that_died_of_memory_the_line_that_tells_is_its_reason(log, line):
    assert memory_line(f"collected 1 item\n{log}\n") == line
    assert may_lack_memory(log)


@pytest.mark.parametrize(
    "log", [LOGGED, OLDER.format("W"), OLDER.format("E"), f"{LOGGED}\nE   RuntimeError: no device"]
)
def test_what_an_allocator_may_have_done_without_is_no_reason_but_may_be_one(log):
    assert memory_line(log) == ""
    assert may_lack_memory(log)


@pytest.mark.parametrize(
    "log", ["", "E   ValueError: one", '    raise RuntimeError("CUDA out of memory")', "a.py:1: MemoryError"]
)
def test_code_that_a_traceback_shows_tells_of_no_memory(log):
    assert memory_line(log) == ""
    assert not may_lack_memory(log)


@pytest.mark.parametrize("message", [b"[1]\n", b"not JSON\n", b"x" * (MAX_MESSAGE_BYTES + 1)])
def test_what_is_no_message_closes_the_channel(message):
    ours, theirs = Channel.pair()
    import threading

    with ours, theirs:
        writer = threading.Thread(target=theirs._socket.sendall, args=(message,))
        writer.start()
        with pytest.raises(ChannelClosed, match="not a message"):
            ours.receive(60)
        ours.close()
        writer.join()
