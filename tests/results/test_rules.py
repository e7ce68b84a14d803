"""The file of rules: read strictly, and asked on a day."""

import datetime
import os

import pytest

from gnet_core.config import GnetError
from gnet_core.files.toml_documents import MAX_TOML_BYTES
from gnet_core.plan.request import GATES
from gnet_core.results.rules import NO_RULES, Rules, load_rules
from gnet_core.stats.verdicts import Comparison

TODAY = datetime.date(2026, 11, 26)

WHOLE = """
[[margin]]
cases = "graph-*"
percent = 5
reason = "noisy at batch 1"

[[margin]]
cases = "*-b1-*"
percent = 7.5

[[waiver]]
cases = "xla-*"
gates = ["slower"]
reason = "issue 123"
expires = 2027-01-31

[[waiver]]
cases = "*"
reason = "a new machine"
expires = 2026-11-25

[[accepted]]
cases = "*"
date = 2026-11-20
reason = "TensorFlow 2.21"
"""


@pytest.fixture
def rules_of(tmp_path):
    """Reads a text as a file of rules on a day."""

    def read(text: str, today: datetime.date = TODAY) -> Rules:
        path = tmp_path / "rules.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_rules(path, today)

    return read


def test_every_field_is_read(rules_of):
    rules = rules_of(WHOLE)
    assert [(item.cases, item.percent, item.reason) for item in rules.margins] == [
        ("graph-*", 5, "noisy at batch 1"),
        ("*-b1-*", 7.5, ""),
    ]
    assert [(item.cases, item.gates, item.reason, item.expires) for item in rules.waivers] == [
        ("xla-*", ("slower",), "issue 123", datetime.date(2027, 1, 31)),
        ("*", GATES, "a new machine", datetime.date(2026, 11, 25)),
    ]
    assert [(item.cases, item.date, item.reason, item.expires) for item in rules.accepted] == [
        ("*", datetime.date(2026, 11, 20), "TensorFlow 2.21", None)
    ]


def test_an_empty_file_has_no_rules(rules_of):
    rules = rules_of("")
    assert (rules.margins, rules.waivers, rules.accepted) == ((), (), ())


def test_the_last_margin_that_matches_counts(rules_of):
    rules = rules_of(WHOLE)
    wanted = {"graph-float32-b8": 5, "graph-float32-b1-i224": 7.5, "xla-float32-b8": None}
    for case, percent in wanted.items():
        margin = rules.margin_of(case)
        assert (margin and margin.percent) == percent


@pytest.mark.parametrize(("high", "exceeded"), [(0.94, True), (0.96, False), (None, False)])
def test_a_margin_is_exceeded_where_the_whole_interval_lies_beyond_it(rules_of, high, exceeded):
    margin = rules_of(WHOLE).margins[0]
    comparison = Comparison(base="a", variant="b", verdict="SLOWER", margin=0.02, ratio=0.92, low=0.9, high=high)
    assert margin.is_exceeded(comparison) is exceeded


def test_a_waiver_acts_until_the_end_of_its_day(rules_of):
    for day, acts in ((31, True), (1, True)):
        rules = rules_of(WHOLE, datetime.date(2027, 1, day))
        assert (rules.waiver_of("xla-float32", "slower") is not None) is acts
    rules = rules_of(WHOLE, datetime.date(2027, 2, 1))
    assert rules.waiver_of("xla-float32", "slower") is None
    assert [waiver.reason for waiver in rules.expired] == ["issue 123", "a new machine"]


def test_a_waiver_is_of_its_gates_and_cases_alone(rules_of):
    rules = rules_of(WHOLE)
    waiver = rules.waiver_of("xla-float32", "slower")
    assert waiver is rules.waivers[0]
    assert str(waiver) == "waived until 2027-01-31: issue 123"
    assert rules.waiver_of("xla-float32", "missing") is None
    assert rules.waiver_of("graph-float32", "slower") is None


def test_a_waiver_in_force_that_matches_nothing_is_known_and_an_expired_one_is_not_asked(rules_of):
    rules = rules_of(WHOLE)
    assert rules.unmatched(["graph-float32"]) == [rules.waivers[0]]
    assert rules.unmatched(["graph-float32", "xla-float32"]) == []
    assert NO_RULES.unmatched([]) == []


def test_names_are_matched_as_a_shell_does_and_by_their_case(rules_of):
    (margin,) = rules_of('[[margin]]\ncases = "[gx]*-b?-i96"\npercent = 5').margins
    assert margin.matches("graph-b8-i96")
    assert not margin.matches("Graph-b8-i96")
    assert not margin.matches("graph-b16-i96")


MARGIN = '[[margin]]\ncases = "*"\npercent = 5\n'
WAIVER = '[[waiver]]\ncases = "*"\nreason = "x"\nexpires = 2027-01-31\n'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[[margin]]\ncases = \n", ["is no TOML", "line 2"]),
        ("[[marg]]", ["'marg' is unknown", "[[margin]], [[waiver]] and [[accepted]]"]),
        ("percent = 5", ["'percent' is unknown"]),
        ('[margin]\ncases = "*"', ["margin is {'cases'", "[[margin]]"]),
        ("margin = [1]", ["[[margin]] 1"]),
        ("[[margin]]\npercent = 5", ["[[margin]] 1", "'cases' is missing"]),
        ('[[margin]]\ncases = "*"', ["[[margin]] 1", "'percent' is missing"]),
        (MARGIN + '[[margin]]\ncases = ""\npercent = 5', ["[[margin]] 2", "'cases' is ''", "shell pattern"]),
        ('[[margin]]\ncases = ["*"]\npercent = 5', ["'cases' is ['*']"]),
        ('[[margin]]\ncases = "*"\npercent = "5"', ["'percent' is '5'", "a number"]),
        ('[[margin]]\ncases = "*"\npercent = true', ["'percent' is True", "a number"]),
        ('[[margin]]\ncases = "*"\npercent = 0', ["[[margin]] 1: percent: 0.0 will not do", "below 100"]),
        ('[[margin]]\ncases = "*"\npercent = -2', ["percent: -2.0 will not do"]),
        ('[[margin]]\ncases = "*"\npercent = 100', ["percent: 100.0 will not do"]),
        ('[[margin]]\ncases = "*"\npercent = nan', ["percent: nan will not do"]),
        (f'[[margin]]\ncases = "*"\npercent = {"9" * 400}', ["[[margin]] 1"]),
        (MARGIN + "expires = 2027-01-31", ["'expires' is unknown; known are cases, percent, reason"]),
        (WAIVER + WAIVER.replace("reason", "because"), ["[[waiver]] 2", "'because' is unknown"]),
        (WAIVER.replace('"x"', '" "'), ["[[waiver]] 1", "'reason' is ' '", "a reason in words"]),
        (WAIVER.replace('reason = "x"\n', ""), ["'reason' is missing"]),
        (WAIVER.replace("expires = 2027-01-31", ""), ["'expires' is missing"]),
        (WAIVER.replace("2027-01-31", '"2027-01-31"'), ["'expires' is '2027-01-31'", "without quotation marks"]),
        (WAIVER.replace("2027-01-31", "2027-01-31T00:00:00"), ["'expires' is", "without quotation marks"]),
        (WAIVER.replace("2027-01-31", "2027-13-31"), ["is no TOML", "line 4"]),
        (WAIVER + "gates = []", ["'gates' is []", "a list of gates"]),
        (WAIVER + 'gates = ["slow"]', ["'gates[0]' is 'slow'", "slower, missing"]),
        ('[[accepted]]\ncases = "*"\ndate = 5\nreason = "x"', ["[[accepted]] 1", "'date' is 5"]),
        ("x = " + "[" * 100_000, ["is no TOML"]),
        (b'[[margin]]\ncases = "\xff"', ["is not UTF-8 (byte 20)"]),
        ("#" * (MAX_TOML_BYTES + 1), ["more than the"]),
    ],
)
def test_what_is_no_rule_is_refused_by_file_table_and_field(rules_of, text, parts):
    with pytest.raises(GnetError) as refused:
        rules_of(text)
    message = str(refused.value)
    assert message.startswith("rules: ")
    assert "\n" not in message
    assert len(message) < 1000
    for part in ("rules.toml", *parts):
        assert part in message


def test_a_file_that_is_none_is_refused_by_name(tmp_path):
    with pytest.raises(GnetError, match=r"rules: .*nowhere\.toml cannot be read \(No such file or directory\)"):
        load_rules(tmp_path / "nowhere.toml")
    with pytest.raises(GnetError, match="cannot be read"):
        load_rules(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GnetError, match="is no regular file"):
        load_rules(tmp_path / "pipe")


def test_the_day_is_the_present_one_unless_it_is_given(tmp_path):
    (tmp_path / "rules.toml").write_text("")
    assert load_rules(tmp_path / "rules.toml").today == datetime.date.today()
