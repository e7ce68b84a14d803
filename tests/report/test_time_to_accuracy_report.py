"""Time to accuracy as a reader sees it, from its stored document alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gnet_core.report import time_to_accuracy as reporting
from gnet_core.report.html import to_html
from gnet_core.report.markdown import to_markdown
from gnet_core.report.terminal import to_terminal
from gnet_core.time_to_accuracy.evaluation import Evaluation, evaluate
from tests.time_to_accuracy.documents import LOST, WAITING, stored, written

HOSTILE = "<script>alert(1)</script>|a|`b`\n# [x](http://y)\x1b[2J"
REACHED: dict[str, list[float | None]] = {"float32": [20.0, 22.0, 21.0], "mixed_bfloat16": [10.0, 11.0, 10.4]}


@pytest.fixture
def evaluated(tmp_path: Path) -> Any:
    def evaluate_stored(seconds: dict[str, list[float | None]] = REACHED, **sessions: dict[str, Any]) -> Evaluation:
        """Of a document in which sessions by number (n0, n1, …) are changed."""
        plain = stored(seconds)
        for number, changes in sessions.items():
            plain["sessions"][int(number[1:])].update(changes)
        return evaluate(written(tmp_path, plain))

    return evaluate_stored


def text_of(evaluation: Evaluation) -> str:
    return to_terminal(reporting.document(evaluation, with_pictures=False))


def test_the_page_says_what_it_came_to(evaluated: Any) -> None:
    text = text_of(evaluated())
    assert "graph float32: reached by 3 of 3, median 21.0 s (20.0–22.0), 30 steps." in text
    assert "FASTER: graph mixed_bfloat16 gets there 2.006× as fast as graph float32 (1.979–2.034)." in text
    assert "AS GOOD: graph mixed_bfloat16 ends at most 0.5 points below graph float32." in text
    assert "of 3 sessions it covers the median with 75%" in text
    assert re.search(r"graph float32 +3 of 3 +21.0 +20.0–22.0 +30 +30–30 +16.0", text)
    assert "first look" not in text
    assert "broke off" not in text.partition("What it comes to")[2]


def test_what_was_not_reached_is_counted_and_has_no_ratio(evaluated: Any) -> None:
    text = text_of(evaluated({"float32": [20.0, 22.0, 21.0], "mixed_bfloat16": [10.0, None, None]}))
    assert "graph mixed_bfloat16: reached by 1 of 3, so its median time is none." in text
    assert re.search(r"graph mixed_bfloat16 +1 of 3 +not reached +10.0–∞", text)
    assert "2 of 3 sessions of graph mixed_bfloat16 did not reach the target, so there is no ratio of times." in text
    assert "FASTER:" not in text


def test_sessions_that_broke_off_or_are_to_come_are_said_before_any_figure(evaluated: Any) -> None:
    document = reporting.document(evaluated(n1=LOST, n5=WAITING))
    points = [banner.point for banner in document.banners]
    assert points == [
        "1 of 6 sessions are not done; the figures may change.",
        "1 of 6 sessions broke off.",
    ]
    text = text_of(evaluated(n1=LOST, n5=WAITING))
    assert "out of memory: it ran out of memory" in text
    assert "not begun" in text
    assert "1 of 2 sessions of graph mixed_bfloat16 broke off (oom)." in text


def test_fewer_than_three_seeds_are_a_first_look_without_verdicts(evaluated: Any) -> None:
    text = text_of(evaluated({"float32": [20.0, 22.0], "mixed_bfloat16": [10.0, 11.0]}))
    assert "This is a first look: 2 seeds a configuration, where a verdict needs at least 3." in text
    assert "UNRESOLVED" in text
    assert "2 seeds, where a verdict needs at least 3" in text
    assert "2 pairs of sessions, where a verdict needs 3" in text
    assert "first look: 1 seed a configuration" in text_of(evaluated({"float32": [20.0]}))


def test_the_ledger_sums_to_the_wall_time_or_a_banner_says_that_it_does_not(evaluated: Any) -> None:
    assert "the largest gap is 0.00% of it" in text_of(evaluated())
    text = text_of(evaluated(n0={"wall_seconds": 33.0}))
    assert "the largest gap is 9.09% of it" in text
    assert "A ledger and its session's wall time are 9.1% apart, more than 1%. Do not quote its times." in text


def test_a_session_that_went_on_in_another_process_is_marked(evaluated: Any) -> None:
    text = text_of(evaluated(n0={"processes": 3}))
    assert "finished, in 3 processes" in text
    assert "1 session went on in another process; their parts are summed." in text


def test_log_lines_are_listed_and_said_to_be_no_mlperf_result(evaluated: Any) -> None:
    text = text_of(evaluated(n0={"mllog": "result_0.txt"}))
    assert "this is no MLPerf result" in text
    assert "result_0.txt: graph-float32-b32-i72-digits-cpu-seed0" in text
    assert "MLPerf" not in text_of(evaluated())


def test_pages_and_pictures_are_written_and_say_what_they_show(evaluated: Any, tmp_path: Path) -> None:
    evaluation = evaluated()
    for _ in range(2):
        reporting.write(tmp_path, evaluation)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2
    assert not re.search(r'(src|href)="https?:', page)
    assert "# Time to 98.5 % test accuracy on digits" in (tmp_path / "report.md").read_text()
    assert "graph mixed_bfloat16 has the shortest median, 10.4 s" in (tmp_path / "plots" / "times.svg").read_text()


def test_where_nothing_was_reached_there_is_no_picture_of_times(evaluated: Any) -> None:
    document = reporting.document(evaluated({"float32": [None, None, None]}))
    assert len(document.summary) == 1


def test_hostile_text_stays_text(evaluated: Any) -> None:
    document = reporting.document(evaluated(n0=LOST | {"note": HOSTILE}, n1={"mllog": HOSTILE}))
    assert "<script" not in to_html(document)
    assert "<script" not in to_markdown(document).replace("\\<script", "")
    assert "\x1b" not in to_terminal(document)


def test_json_has_null_for_what_was_not_reached(evaluated: Any) -> None:
    plain = reporting.to_json(evaluated({"float32": [20.0, None, None]}))
    assert plain["results"][0]["seconds"] == {"value": None, "low": 20.0, "high": None, "coverage": 0.75}
    assert plain["results"][0]["reached"] == 1
