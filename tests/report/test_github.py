"""The summary of a step on GitHub, which has a largest size, and annotations, whose lines nothing in them may end."""

import datetime

import pytest

from gnet_core.report.github import MAX_ANNOTATIONS, MAX_SUMMARY_BYTES, annotation_lines, to_summary
from gnet_core.results.gates import Excused, GateResult
from gnet_core.results.outcomes import Outcome, Outcomes
from gnet_core.results.rules import Waiver

TODAY = datetime.date(2026, 11, 26)
WAIVER = Waiver(cases="xla-*", reason="issue 123", expires=TODAY)


def told(*cases: Outcome, unmatched=(), warnings=()) -> Outcomes:
    return Outcomes(
        command="compare",
        subject="new against base",
        created="x",
        outcomes=cases,
        gates=GateResult(unmatched=unmatched),
        warnings=warnings,
    )


FAILED = Outcome(case="graph-float32", failed=["slower"])
WAIVED = Outcome(case="xla-float32", excused=[Excused("slower", "xla-float32", WAIVER)])
MISSING = Outcome(case="eager-float32", failed=["missing"], note="NEW: not configured")
PASSED = Outcome(case="graph-float32-b16")


def test_the_whole_of_a_summary():
    outcomes = told(PASSED, WAIVED, MISSING, FAILED, unmatched=[WAIVER], warnings=["ACROSS MACHINES: x."])
    assert (
        to_summary(outcomes, MAX_SUMMARY_BYTES)
        == r"""**ACROSS MACHINES: x.**

# gnet compare

new against base

## What it comes to

1 failure, 1 error, 1 skipped, 1 passed.

## graph-float32

**failure:** slower

## eager-float32

**error:** missing: NEW: not configured

## Case by case

| outcome   | case              | how it ended                               |
|:----------|:------------------|:-------------------------------------------|
| failure   | graph-float32     | slower                                     |
| error     | eager-float32     | missing: NEW: not configured               |
| skipped   | xla-float32       | slower: waived until 2026-11-26: issue 123 |
| passed    | graph-float32-b16 |                                            |

## Waivers that match no case

xla-\* (waived until 2026-11-26: issue 123)
"""
    )


@pytest.mark.parametrize("number", [1, 10, 1000])
@pytest.mark.parametrize("room", [2_000, 20_000])
def test_a_summary_keeps_to_its_room_and_says_what_it_leaves_out(number, room):
    cases = [Outcome(case=f"case-{index}", note="🐍_" * 50) for index in range(number)]
    outcomes = told(*cases, Outcome(case="worst", failed=["slower"], note="x"))
    text = to_summary(outcomes, room)
    assert len(text.encode()) <= room
    shown = sum(f"| case-{index} " in text for index in range(number))
    assert "## worst" in text  # what failed comes first
    assert (f"{number - shown} of {number + 1} cases are left out" in text) == (shown < number)
    assert shown < number or number < 1000


def test_where_not_even_the_counts_fit_there_is_no_summary():
    assert to_summary(told(FAILED), 50) == ""
    assert to_summary(told(FAILED), -1) == ""


def test_the_largest_size_is_below_githubs():
    assert MAX_SUMMARY_BYTES <= 1024 * 1000


def test_what_failed_is_an_error_and_what_a_waiver_covers_a_warning():
    assert annotation_lines(told(PASSED, FAILED, MISSING, WAIVED, unmatched=[WAIVER])) == [
        "::error title=gnet compare::graph-float32: slower",
        "::error title=gnet compare::eager-float32: missing: NEW: not configured",
        "::warning title=gnet compare::xla-float32: slower: waived until 2026-11-26: issue 123",
        "::warning title=gnet compare::xla-* (waived until 2026-11-26: issue 123) matches no case",
    ]


def test_no_more_lines_of_a_kind_are_printed_than_github_shows():
    lines = annotation_lines(told(*[FAILED] * MAX_ANNOTATIONS))
    assert len(lines) == MAX_ANNOTATIONS
    assert len(set(lines)) == 1
    lines = annotation_lines(told(*[FAILED] * (MAX_ANNOTATIONS + 5), *[WAIVED] * 11))
    errors, warnings = lines[:MAX_ANNOTATIONS], lines[MAX_ANNOTATIONS:]
    assert errors[-1] == "::error title=gnet compare::and 6 more, which the summary has"
    assert warnings[-1] == "::warning title=gnet compare::and 2 more, which the summary has"
    assert len(warnings) == MAX_ANNOTATIONS


def test_nothing_in_a_text_ends_its_line_or_begins_another_command():
    waiver = Waiver(cases="100%\r\n::stop-commands::x", reason="a\nb", expires=TODAY)
    (line,) = annotation_lines(told(unmatched=[waiver]))
    assert line == (
        "::warning title=gnet compare::100%25%0D%0A::stop-commands::x (waived until 2026-11-26: a%0Ab) matches no case"
    )
    outcomes = Outcomes(command="a:b,c%", subject="x", created="x", outcomes=[FAILED], gates=GateResult())
    assert annotation_lines(outcomes) == ["::error title=gnet a%3Ab%2Cc%25::graph-float32: slower"]
