"""What sessions say of their configurations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from gnet_core.time_to_accuracy.evaluation import Evaluation, evaluate
from tests.time_to_accuracy.documents import LOST, WAITING, stored, written

BASE = [20.0, 22.0, 21.0]


def evaluated(tmp_path: Path, seconds: dict[str, list[float | None]], **lost: dict[str, Any]) -> Evaluation:
    """Of a document in which sessions by number (n0, n1, …) are changed."""
    plain = stored(seconds)
    for number, changes in lost.items():
        plain["sessions"][int(number[1:])].update(changes)
    return evaluate(written(tmp_path, plain))


def test_medians_count_a_session_that_did_not_get_there_as_endless(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"float32": [*BASE], "mixed_bfloat16": [10.0, None, None]})
    plain, mixed = evaluation.cases
    assert plain.seconds is not None
    assert (plain.seconds.value, plain.seconds.low, plain.seconds.high) == (21.0, 20.0, 22.0)
    assert plain.seconds_without_setup is not None
    assert plain.seconds_without_setup.value == 16.0
    assert plain.steps is not None
    assert plain.steps.value == 30
    assert mixed.seconds is not None
    assert mixed.seconds.value == math.inf
    assert (len(mixed.reached), len(mixed.sessions)) == (1, 3)


def test_a_session_that_the_budget_cut_off_says_nothing_unless_it_had_reached_the_target(tmp_path: Path) -> None:
    cut: dict[str, Any] = {"status": "unfinished", "reached": None, "test_accuracy": [0.5], "steps": 10}
    evaluation = evaluated(tmp_path, {"float32": [*BASE], "mixed_bfloat16": [10.0, 11.0, 12.0]}, n3=cut)
    sessions = {result.config.precision: len(result.sessions) for result in evaluation.cases}
    assert sorted(sessions.values()) == [2, 3]
    assert all(result.seconds and math.isfinite(result.seconds.value) for result in evaluation.cases)
    there = {"status": "unfinished"}
    evaluation = evaluated(tmp_path, {"float32": [*BASE], "mixed_bfloat16": [10.0, 11.0, 12.0]}, n3=there)
    assert [len(result.sessions) for result in evaluation.cases] == [3, 3]


def test_twice_as_fast_on_every_seed_is_a_ratio_of_two(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"float32": [*BASE], "mixed_bfloat16": [10.0, 11.0, 10.4]})
    (comparison,) = evaluation.speed
    assert comparison.verdict == "FASTER"
    assert comparison.ratio == pytest.approx(2.0, abs=0.05)
    assert comparison.pairs == 3


def test_without_all_sessions_at_the_target_there_is_no_ratio_and_words_say_so(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"float32": [*BASE], "mixed_bfloat16": [10.0, None, 10.4]})
    (comparison,) = evaluation.speed
    assert (comparison.verdict, comparison.ratio) == ("UNRESOLVED", None)
    assert "1 of 3 sessions of graph mixed_bfloat16 did not reach the target" in comparison.reason


def test_sessions_to_come_leave_the_pairs_that_are_there(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"float32": [*BASE], "mixed_bfloat16": [10.0, 11.0, 10.4]}, n5=WAITING)
    (comparison,) = evaluation.speed
    assert (comparison.verdict, comparison.pairs) == ("UNRESOLVED", 2)


def test_a_precision_of_equal_accuracy_is_as_good_and_one_of_which_sessions_broke_off_is_not_judged(
    tmp_path: Path,
) -> None:
    seconds: dict[str, list[float | None]] = {"float32": [*BASE], "mixed_bfloat16": [10.0, 11.0, 10.4]}
    (one,) = evaluated(tmp_path, seconds).convergence
    assert (one.comparison.verdict, one.comparison.difference) == ("AS GOOD", 0.0)
    (lost,) = evaluated(tmp_path, seconds, n1=LOST).convergence
    assert lost.comparison.verdict == "OPEN"
    assert lost.doubt == "1 of 3 sessions of graph mixed_bfloat16 broke off (oom)."


def test_a_precision_that_ends_a_point_worse_on_every_seed_is_worse(tmp_path: Path) -> None:
    plain = stored({"float32": [*BASE], "mixed_bfloat16": [10.0, 11.0, 10.4]})
    for number, end in ((1, 0.9800), (2, 0.9802), (5, 0.9798)):
        plain["sessions"][number]["test_accuracy"][3] = end
    (one,) = evaluate(written(tmp_path, plain)).convergence
    assert one.comparison.difference == pytest.approx(-1.0)
    assert one.comparison.verdict == "WORSE"


def test_sessions_that_ended_at_the_target_have_no_accuracy_at_the_end(tmp_path: Path) -> None:
    plain = stored({"float32": [*BASE], "mixed_bfloat16": [10.0, 11.0, 10.4]})
    plain["options"]["stop_at_target"] = True
    for session in plain["sessions"]:
        session.update(test_accuracy=[0.1, 0.2, 0.99], steps=30)
    (one,) = evaluate(written(tmp_path, plain)).convergence
    assert (one.comparison.verdict, one.comparison.pairs) == ("OPEN", 0)
    assert one.doubt.startswith("Sessions ended at the target")


def test_the_ledger_is_the_mean_of_finished_sessions_and_its_largest_gap_is_told(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"float32": [*BASE]}, n0={"wall_seconds": 30.3}, n1=LOST)
    ledger = evaluation.cases[0].mean_wall_time()
    assert ledger is not None
    assert ledger.imports == 3.0
    assert ledger.total == pytest.approx((30.0 + 31.5) / 2)
    assert evaluation.largest_gap == pytest.approx(0.3 / 30.3)
