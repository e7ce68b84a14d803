"""MLPerf's log lines: their form, their times, and files that cannot be one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gnet_core.config import GnetError
from gnet_core.training.mllog import EventLog


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in path.read_text().splitlines()]


def test_a_line_has_mlperfs_form_and_no_path_of_the_machine(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.txt", clock=lambda: 1.5)
    log.begin("epoch_start", epoch_num=3)
    (line,) = (tmp_path / "log.txt").read_text().splitlines()
    event = json.loads(line.removeprefix(":::MLLOG "))
    assert list(event) == ["namespace", "time_ms", "event_type", "key", "value", "metadata"]
    assert event["metadata"].pop("lineno") > 0
    assert event == {
        "namespace": "",
        "time_ms": 1500,
        "event_type": "INTERVAL_START",
        "key": "epoch_start",
        "value": None,
        "metadata": {"file": "test_mllog.py", "epoch_num": 3},
    }


def test_times_never_fall_also_over_processes_and_where_the_clock_is_set_back(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    times = iter([5.0, 4.0, 6.0])
    log = EventLog(path, clock=lambda: next(times))
    for number in range(3):
        log.point("seed", number)
    EventLog(path, clock=lambda: 1.0).end("run_stop")
    assert [event["time_ms"] for event in events(path)] == [5000, 5000, 6000, 6000]


def test_a_line_that_was_cut_off_is_ended_first_and_lines_of_others_are_left(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    EventLog(path, clock=lambda: 7.0).point("seed", 1)
    with path.open("a") as file:
        file.write("a library's line\n:::MLLOG {\"time_m")
    log = EventLog(path, clock=lambda: 1.0)
    assert log.begun
    log.point("seed", 2)
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    assert json.loads(lines[-1].removeprefix(":::MLLOG "))["time_ms"] == 7000


def test_without_a_file_and_once_it_is_closed_nothing_is_written(tmp_path: Path) -> None:
    EventLog(None).point("seed", 1)
    log = EventLog(tmp_path / "log.txt")
    log.close()
    log.point("seed", 1)
    assert not list(tmp_path.iterdir())


def test_what_is_no_file_and_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(GnetError, match=r"^mllog: .* is no regular file"):
            EventLog(path)
    with pytest.raises(GnetError, match=r"^mllog: .* cannot be written \(No such file"):
        EventLog(tmp_path / "no" / "log.txt").point("seed", 1)
