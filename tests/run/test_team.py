"""What the processes of a case say, in whatever order it is heard, by processes that only speak."""

import pytest

from gnet_core.config import StepConfig
from gnet_core.plan.suites import Plan
from gnet_core.run.endings import WorkerLost
from gnet_core.run.members import Task
from gnet_core.run.protocol import Channel
from gnet_core.run.team import Team

CASE = Task(module="bench.py", config=StepConfig(workers=2), plan=Plan(), run="now")
OTHER_CODE = "^worker 2 of 2 has gnet's code b, where worker 1 of 2 has a$"


class Speaker:
    """A process that is none: `said` is the end by which it speaks (see gnet_core.run.members.Member)."""

    where, pid = "", None

    def __init__(self):
        self.heard, self.said = Channel.pair()
        self.code = None

    def reserve(self):
        return "127.0.0.1:1"

    def launch(self, task):
        """There is nothing to start."""

    def fileno(self):
        return self.heard.fileno()

    def receive(self):
        return self.heard.receive(0)

    def exit_code(self):
        return self.code

    def log_end(self):
        return ""

    def end(self):
        self.code = 0
        self.said.close()


@pytest.fixture
def pair():
    speakers = Speaker(), Speaker()
    team = Team(speakers)  # type: ignore[arg-type] # nothing here ends or measures them
    team.launch(CASE)
    yield team, *speakers
    for speaker in speakers:
        speaker.heard.close()
        speaker.said.close()


def versions(code):
    return {"event": "versions", "versions": {"gnet's code": code}}


def test_what_the_first_has_done_does_not_hide_that_the_other_runs_other_code(pair):
    team, first, second = pair
    second.said.send(**versions("b"))
    first.said.send(**versions("a"))
    first.said.send(event="ready")
    with pytest.raises(WorkerLost, match=OTHER_CODE):
        team.receive(1)


def test_other_code_that_is_heard_of_last_of_all_is_named_as_well(pair):
    """As of a process on another host, whose words may arrive after all turns."""
    team, first, second = pair
    first.said.send(**versions("a"))
    first.said.send(event="turn_done")
    assert team.receive(1) == {"event": "turn_done"}
    second.said.send(**versions("b"))
    first.end()
    second.end()
    with pytest.raises(WorkerLost, match=OTHER_CODE):
        team.has_ended(0)


def test_processes_of_one_code_end_as_they_should(pair):
    team, first, second = pair
    for speaker in (first, second):
        speaker.said.send(**versions("a"))
        speaker.end()
    assert team.has_ended(1)
