"""A case of several workers on one host: real processes under the real timer, whose step only sleeps and meets the
others'. Whatever happens to one of them, the case ends with a row that names it, and the run goes on.
"""

import dataclasses
import socket

import pytest

from gnet_core.plan.suites import Source
from gnet_core.results import records
from gnet_core.run import discovery, team, worker
from gnet_core.system.cluster import free_port
from tests.run import trouble
from tests.run.trouble import left_behind, measured


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return trouble.make_checkout(tmp_path_factory.mktemp("members") / "checkout")


@pytest.fixture(scope="module")
def environment(checkout):
    return discovery.probe(Source(checkout=checkout))


@pytest.fixture
def settings(checkout, environment, tmp_path, monkeypatch):
    """With limits that are short enough to wait for."""
    monkeypatch.setattr(worker, "MIN_TURN_LIMIT_SECONDS", 5.0)
    monkeypatch.setattr(team, "SILENT_SECONDS", 2.5)
    trouble.cause(checkout)
    return trouble.settings_of(checkout, tmp_path, environment)


def test_workers_take_their_turns_as_one_among_other_cases(settings, checkout):
    cases = measured(settings, [1, 2, 3])
    assert [(case["status"], case["note"]) for case in cases] == [("ok", "")] * 3
    run = records.load_run(settings.directory)
    assert [row.samples for row in run.rows] == [3, 3, 3]
    assert [row.straggler_spread is not None for row in run.rows] == [False, True, True]
    assert not list((settings.directory / "raw").glob("*.log"))
    assert not left_behind(checkout)


TROUBLES = [
    (2, "dies", False, "failed", "worker 2 of 2 was killed (SIGKILL)"),
    (2, "dies", True, "failed", "worker 2 of 2 was killed (SIGKILL)"),
    (1, "dies", True, "failed", "worker 1 of 2 was killed (SIGKILL)"),
    (2, "leaves", True, "failed", "worker 2 of 2 ended with status 0"),
    (2, "raises", True, "failed", "worker 2 of 2: ValueError: one of two"),
    (2, "has no memory", True, "oom", "worker 2 of 2: MemoryError: no more"),
    (2, "is stopped", True, "timeout", "worker 2 of 2 fell silent"),
    (1, "is stopped", True, "timeout", "worker 1 of 2 fell silent"),
    (2, "sleeps", True, "timeout", "worker 2 of 2 was behind, at step"),
    (1, "sleeps", True, "timeout", "worker 1 of 2 was behind, at step"),
    (2, "has another version", False, "failed", "worker 2 of 2 has TensorFlow 1.0, where worker 1 of 2 has unknown"),
]


@pytest.mark.parametrize(("number", "kind", "in_turns", "status", "note"), TROUBLES)
def test_what_happens_to_one_worker_is_a_row_that_names_it_and_the_run_goes_on(
    settings, checkout, number, kind, in_turns, status, note
):
    trouble.cause(checkout, number, kind, in_turns=in_turns)
    pair, other = measured(settings, [2, 1])
    assert (pair["status"], note in pair["note"]) == (status, True), pair["note"]
    assert other["status"] == "ok"
    assert not left_behind(checkout)


@pytest.mark.parametrize("kind", ["", "dies"])
def test_no_temporary_file_of_a_worker_outlives_it(settings, checkout, tmp_path, monkeypatch, kind):
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("TMPDIR", str(shared))
    beside = set(checkout.parent.iterdir())
    trouble.cause(checkout, 2, kind)
    (pair,) = measured(settings, [2])
    assert pair["status"] == ("failed" if kind else "ok")
    assert not list(shared.iterdir())
    assert set(checkout.parent.iterdir()) == beside


def test_a_worker_that_never_arrives_is_named_when_the_time_is_up(settings, checkout):
    trouble.cause(checkout, 3, "never arrives")
    settings = dataclasses.replace(settings, plan=dataclasses.replace(settings.plan, limit_seconds=12.0))
    trio, other = measured(settings, [3, 1])
    assert (trio["status"], trio["note"]) == ("timeout", "not finished after 12 s; worker 3 of 3 never arrived")
    assert other["status"] == "ok"
    assert not left_behind(checkout)


@pytest.mark.parametrize("taken", [1, 2])
def test_a_port_that_is_taken_by_then_is_replaced_once(settings, monkeypatch, taken):
    free, taker, tries = free_port, socket.create_server(("127.0.0.1", 0)), iter(range(10))

    def port():
        return taker.getsockname()[1] if next(tries) in (1, 3)[:taken] else free()

    monkeypatch.setattr("gnet_core.run.members.free_port", port)
    with taker:
        (pair,) = measured(settings, [2])
    assert pair["status"] == ("ok" if taken == 1 else "failed")
    assert taken == 1 or "worker 2 of 2: OSError: [Errno 98] Address already in use" in pair["note"]
