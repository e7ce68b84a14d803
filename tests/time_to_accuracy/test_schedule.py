"""The order of sessions."""

from __future__ import annotations

from collections import Counter

from gnet_core.time_to_accuracy.schedule import in_turns


def test_each_round_has_all_cases_with_one_seed_and_begins_one_case_further_on() -> None:
    assert in_turns(["a", "b"], [5, 6, 7]) == [("a", 5), ("b", 5), ("b", 6), ("a", 6), ("a", 7), ("b", 7)]


def test_over_as_many_rounds_as_cases_each_stands_in_each_place_once() -> None:
    cases = ["a", "b", "c", "d"]
    turns = in_turns(cases, range(4))
    places = Counter((case, number % 4) for number, (case, _) in enumerate(turns))
    assert set(places.values()) == {1}
    assert len(places) == 16
