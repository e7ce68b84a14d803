"""The worker's side of a turn, and what it tells of an error."""

import pytest

from gnet_core.protocol import Channel, ChannelClosed
from gnet_core.timing import Turns, failure_kind, first_line


class ResourceExhaustedError(Exception):
    """Named as TensorFlow names its own."""


def test_without_a_runner_there_is_nobody_to_wait_for():
    turns = Turns()
    turns.announce("ready")
    assert turns.wait() is False


def test_a_turn_tells_whether_others_ran_since_the_last():
    ours, theirs = Channel.pair()
    with ours, theirs:
        turns = Turns(theirs)
        ours.send(turn=0, after_others=False)
        ours.send(turn=1, after_others=True)
        assert [turns.wait(), turns.wait()] == [False, True]
        turns.announce("turn_done")
        assert ours.receive(1) == {"event": "turn_done"}


def test_a_worker_whose_runner_is_gone_does_not_wait_for_ever():
    ours, theirs = Channel.pair()
    ours.close()
    with theirs, pytest.raises(ChannelClosed):
        Turns(theirs).wait()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ResourceExhaustedError("OOM when allocating tensor"), "oom"),
        (MemoryError(), "oom"),
        (RuntimeError("INTERNAL: RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), "oom"),
        (ValueError("shapes differ"), "failed"),
    ],
)
def test_running_out_of_memory_is_told_from_other_failures(error, kind):
    assert failure_kind(error) == kind


def test_an_error_is_told_in_the_line_that_comes_to_the_point():
    assert first_line(ValueError("one\ntwo")) == "ValueError: one"
    inside_a_graph = (
        "Graph execution error:\n\nDetected at node conv defined at (most recent call last):\nno such kernel"
    )
    assert first_line(ValueError(inside_a_graph)) == "ValueError: no such kernel"
    assert first_line(ValueError(f"{inside_a_graph}\nOOM when allocating tensor")) == (
        "ValueError: OOM when allocating tensor"
    )
    assert first_line(MemoryError()) == "MemoryError"
