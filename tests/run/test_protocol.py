"""Runner and worker understand each other, and each notices when the other is gone."""

import socket

import pytest

from gnet_core.run.protocol import Channel, ChannelClosed


@pytest.fixture
def ends():
    ours, theirs = Channel.pair()
    with ours, theirs:
        yield ours, theirs


def test_messages_arrive_whole_and_in_order(ends):
    ours, theirs = ends
    theirs.send(event="phase", name="trace")
    theirs.send(event="ready", text="ü\n" * 1000)
    assert ours.receive(1) == {"event": "phase", "name": "trace"}
    assert ours.receive(1) == {"event": "ready", "text": "ü\n" * 1000}


def test_silence_is_none_after_the_time_given(ends):
    assert ends[0].receive(0) is None


def test_a_dead_reader_and_a_dead_writer_are_noticed(ends):
    ours, theirs = ends
    theirs.close()
    with pytest.raises(ChannelClosed):
        ours.receive(1)
    with pytest.raises(ChannelClosed):
        ours.send(turn=0)


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n"])
def test_a_line_that_is_no_message_ends_the_conversation(line):
    ours, theirs = socket.socketpair()
    with Channel(ours) as channel, theirs:
        theirs.sendall(line)
        with pytest.raises(ChannelClosed, match="not a message"):
            channel.receive(1)
