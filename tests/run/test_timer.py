"""The worker's side of a turn, and what it tells of an error."""

import threading
import time
from types import SimpleNamespace

import pytest

from gnet_core.config import StepConfig
from gnet_core.frameworks import base
from gnet_core.plan.suites import Plan
from gnet_core.run import timer
from gnet_core.run.protocol import Channel, ChannelClosed
from gnet_core.run.timer import SETTLE_SECONDS, Ahead, Blocks, Turns, failure_kind, first_line
from gnet_core.system.cluster import Cluster


class ResourceExhaustedError(Exception):
    """Named as TensorFlow names its own."""


def test_without_a_runner_there_is_nobody_to_wait_for():
    turns = Turns()
    turns.announce("ready")
    assert turns.wait() == "again"


def test_a_turn_tells_whether_others_ran_since_the_last_and_when_there_are_no_more():
    ours, theirs = Channel.pair()
    with ours, theirs:
        turns = Turns(theirs)
        ours.send(turn=0, after_others=False)
        ours.send(turn=1, after_others=True)
        ours.send(finish=True)
        assert [turns.wait(), turns.wait(), turns.wait()] == ["again", "first", "over"]
        turns.announce("turn_done")
        assert ours.receive(1) == {"event": "turn_done"}


def test_a_worker_whose_runner_is_gone_does_not_wait_for_ever():
    ours, theirs = Channel.pair()
    ours.close()
    with theirs, pytest.raises(ChannelClosed):
        Turns(theirs).wait()


class Pedantic:
    """pytest-benchmark's fixture, as far as blocks use it; counts what was run inside the clock."""

    def __init__(self, step):
        self.step = step
        self.timed = []

    def pedantic(self, target, setup, teardown, rounds, iterations):
        assert iterations == 1
        for _ in range(rounds):
            setup()
            before = self.step.count
            result = target()
            self.timed.append(self.step.count - before)
            teardown()
        return result


class CountedStep:
    def __init__(self):
        self.count = 0
        self.trace_count = 0
        self.asked = []

    def run(self, steps):
        self.count += steps
        return self.count

    def expect(self, steps, runs=1):
        self.asked.append(f"expect {runs} × {steps}")

    def rest(self):
        self.asked.append("rest")


def time_blocks(turns, rounds, *, step=None, step_seconds=0.25, block_seconds=0.5, ahead=Ahead()):  # noqa: B008
    step = step or CountedStep()
    plan = Plan(turns=rounds, block_seconds=block_seconds)
    blocks = Blocks(turns, step, plan, step_seconds, ahead)
    benchmark = Pedantic(step)
    blocks.time(benchmark)
    return blocks.to_dict(), benchmark, step


def test_a_block_fills_half_a_second_and_is_followed_by_as_many_single_steps():
    fields, benchmark, step = time_blocks(Turns(), 3)
    assert (fields["block_steps"], fields["timed_blocks"]) == (2, 3)
    assert benchmark.timed == [2, 2, 2]
    assert len(fields["single_step_seconds"]) == 6
    assert fields["resumed_step_seconds"] == []
    assert step.count == 12


def test_a_longer_block_is_followed_by_no_more_single_steps():
    fields, benchmark, _step = time_blocks(Turns(), 3, block_seconds=2.0)
    assert benchmark.timed == [8, 8, 8]
    assert len(fields["single_step_seconds"]) == 6


def test_a_step_longer_than_a_block_is_a_block_and_needs_no_single_steps():
    fields, benchmark, step = time_blocks(Turns(), 3, step_seconds=2.0)
    assert (benchmark.timed, step.count, fields["single_step_seconds"]) == ([1, 1, 1], 3, [])


def test_the_first_step_after_others_ran_stays_outside_the_clock():
    ours, theirs = Channel.pair()
    with ours, theirs:
        ours.send(turn=0, after_others=True)
        ours.send(turn=1, after_others=False)
        ours.send(finish=True)
        fields, benchmark, step = time_blocks(Turns(theirs), 2)
        assert benchmark.timed == [2, 2]
        assert len(fields["resumed_step_seconds"]) == 1
        assert step.count == 9
        ready, *turns = [ours.receive(1) or {} for _ in range(3)]
    assert ready == {"event": "ready", "step_seconds": 0.25, "block_steps": 2}
    assert [turn["steps"] for turn in turns] == [5, 4]


def test_a_turn_tells_when_it_worked_and_timed_its_block():
    class Noting(CountedStep):
        def __init__(self):
            super().__init__()
            self.began = []

        def run(self, steps):
            self.began.append(time.monotonic())
            return super().run(steps)

    ours, theirs = Channel.pair()
    with ours, theirs:
        ours.send(turn=0, after_others=True)
        ours.send(finish=True)
        _told, _benchmark, step = time_blocks(Turns(theirs), 1, step=Noting())
        _ready, turn = [ours.receive(1) or {} for _ in range(2)]
    discarded, block, *single = step.began
    (work_began, work_ended), (block_began, block_ended) = turn["work"], turn["block"]
    assert work_began < discarded < block_began < block < block_ended < single[0] < single[-1] < work_ended
    assert time.monotonic() - work_ended > SETTLE_SECONDS


def test_of_a_step_longer_than_a_block_none_is_left_out():
    ours, theirs = Channel.pair()
    with ours, theirs:
        ours.send(turn=0, after_others=True)
        ours.send(finish=True)
        fields, benchmark, step = time_blocks(Turns(theirs), 1, step_seconds=2.0)
    assert (benchmark.timed, step.count, fields["resumed_step_seconds"]) == ([1], 1, [])


@pytest.mark.parametrize(("block_seconds", "lead"), [(0.5, 7), (2.5, 10), (0.1, 7)])
def test_batches_that_were_made_ahead_are_used_up_outside_the_clock(block_seconds, lead):
    ahead = Ahead(batches=7, waits=True)
    fields, benchmark, step = time_blocks(Turns(), 2, block_seconds=block_seconds, ahead=ahead)
    block = max(1, round(block_seconds / 0.25))
    assert benchmark.timed == [block] * 2
    assert step.count == 2 * (lead + block) + len(fields["single_step_seconds"])
    assert fields["resumed_step_seconds"] == []


def test_a_step_that_never_waits_for_its_batch_has_no_lead():
    _fields, benchmark, step = time_blocks(Turns(), 2, ahead=Ahead(batches=7, waits=False))
    assert (benchmark.timed, step.count) == ([2, 2], 8)


def test_a_worker_that_works_ahead_hands_back_once_it_is_idle():
    enough = threading.Event()
    ended = []

    def work_ahead():
        while not enough.is_set():
            sum(range(1000))
        ended.append(time.monotonic())

    class Feeding(CountedStep):
        def run(self, steps):
            if self.count:  # the block, which follows the lead: from then on it works for a second
                threading.Thread(target=work_ahead).start()
                threading.Timer(1.0, enough.set).start()
            return super().run(steps)

    ours, theirs = Channel.pair()
    with ours, theirs:
        ours.send(turn=0, after_others=False)
        ours.send(finish=True)
        time_blocks(Turns(theirs), 1, step=Feeding(), step_seconds=2.0, ahead=Ahead(batches=7, waits=True))
    assert ended


def test_when_the_turns_end_early_what_was_timed_stands_and_nothing_more_is_run():
    ours, theirs = Channel.pair()
    with ours, theirs:
        ours.send(turn=0, after_others=False)
        ours.send(finish=True)
        fields, benchmark, _step = time_blocks(Turns(theirs), 4)
    assert fields["timed_blocks"] == 1
    assert benchmark.timed == [2, 0, 0, 0]


def test_a_retrace_inside_the_timed_region_voids_its_block_alone():
    class Retracing(CountedStep):
        def run(self, steps):
            self.trace_count += self.count == 4  # the first step of the second round
            return super().run(steps)

    fields, _benchmark, _step = time_blocks(Turns(), 3, step=Retracing())
    assert fields["voided_blocks"] == [1]


def test_single_steps_among_which_the_step_was_traced_anew_count_for_nothing():
    class Retracing(CountedStep):
        def run(self, steps):
            self.trace_count += self.count == 2  # the first single step of the first round
            return super().run(steps)

    fields, _benchmark, _step = time_blocks(Turns(), 3, step=Retracing())
    assert (len(fields["single_step_seconds"]), fields["voided_blocks"]) == (4, [])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ResourceExhaustedError("OOM when allocating tensor"), "oom"),
        (MemoryError(), "oom"),
        (RuntimeError("INTERNAL: RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), "oom"),
        (RuntimeError("failed call to cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY: out of memory"), "oom"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "oom"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "oom"),
        (RuntimeError("failed to create cublas handle: the resource allocation failed"), "oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "oom"),
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


def test_who_takes_the_steps_as_well_is_told_of_them_outside_the_clock_and_rests_before_every_wait():
    _fields, _benchmark, step = time_blocks(Turns(), 2)
    a_turn = ["expect 1 × 2", "expect 2 × 1", "rest"]  # the block, and the single steps after it
    assert step.asked == ["rest", *a_turn, *a_turn]


class FollowedCase:
    """A case whose first worker rests once and then has finished."""

    steps = 7

    def __init__(self, config, cluster):
        self.config, self.cluster, self.turns = config, cluster, [True, False]

    def trace(self):
        """Nothing."""

    def follow(self):
        time.sleep(0.1)
        return self.turns.pop(0)


def follow(monkeypatch, case, channel):
    monkeypatch.setattr(timer, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(base, "load", lambda _framework: SimpleNamespace(Case=case))
    cluster = Cluster(addresses=("127.0.0.1:1", "127.0.0.1:2"), index=1)
    following = timer.Timer(Plan(), Turns(channel), cluster=cluster)
    assert not following.reports
    following.follow_train_step(StepConfig(workers=2))


def test_a_worker_that_follows_waits_for_turns_and_gives_signs_of_life(monkeypatch):
    ours, theirs = Channel.pair()
    with ours, theirs:
        ours.send(turn=0, after_others=False)
        follow(monkeypatch, FollowedCase, theirs)
        theirs.send(event="end")
        messages = []
        while (message := ours.receive(1)) != {"event": "end"}:
            assert message is not None
            messages.append(message)
    phases = [message["name"] for message in messages if message["event"] == "phase"]
    assert phases == ["import", "build", "trace", "follow"]
    beats = [message for message in messages if message["event"] == "beat"]
    (versions,) = [message["versions"] for message in messages if message["event"] == "versions"]
    assert list(versions) == ["Python", "TensorFlow", "gnet's code"]
    assert len(phases) + len(beats) + 1 == len(messages)
    assert beats[-1] == {"event": "beat", "steps": 7}


def test_a_worker_that_follows_reports_its_errors(monkeypatch):
    class Failing(FollowedCase):
        def follow(self):
            raise ResourceExhaustedError("no room")

    ours, theirs = Channel.pair()
    with ours, theirs:
        with pytest.raises(ResourceExhaustedError):
            follow(monkeypatch, Failing, theirs)
        while (message := ours.receive(1) or {}).get("event") in ("phase", "versions", "beat"):
            pass
    assert message == {"event": "failed", "kind": "oom", "message": "ResourceExhaustedError: no room"}
