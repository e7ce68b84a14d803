"""Outcomes as a JUnit file, by the schema of Jenkins' xUnit plugin, which pytest's `xunit2` keeps to as well."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from xml.etree import ElementTree

from gnet_core.report.outcomes import details, message
from gnet_core.results.outcomes import Outcome, Outcomes
from gnet_core.text import plain


def to_junit(outcomes: Outcomes) -> str:
    """The whole file: a suite of a test case an outcome. The details are the text of its failure, error or skip, which
    viewers show, and of its output where it passed.

    Of each line `plain` leaves printable characters alone, all of which XML 1.0 allows.
    """
    tests = {"tests": len(outcomes.outcomes)}
    tests |= {"failures": len(outcomes.of_kind("failure")), "errors": len(outcomes.of_kind("error"))}
    counted = {name: str(count) for name, count in tests.items()}
    counted["time"] = _seconds(outcomes.outcomes)
    whole = ElementTree.Element("testsuites", {"name": "gnet"} | counted)
    suite = ElementTree.SubElement(whole, "testsuite", {"name": f"gnet {outcomes.command}"} | counted)
    suite.set("skipped", str(len(outcomes.of_kind("skipped"))))
    if timestamp := _timestamp(outcomes.created):
        suite.set("timestamp", timestamp)
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in [("subject", outcomes.subject), *(("warning", warning) for warning in outcomes.warnings)]:
        ElementTree.SubElement(properties, "property", {"name": name, "value": plain(value)})
    for outcome in outcomes.outcomes:
        _add(suite, outcome, outcomes)
    ElementTree.indent(whole)
    file: bytes = ElementTree.tostring(whole, encoding="utf-8", xml_declaration=True)
    return file.decode()


def _add(suite: ElementTree.Element, outcome: Outcome, outcomes: Outcomes) -> None:
    names = {"classname": f"gnet.{outcomes.command}", "name": plain(outcome.case)}
    case = ElementTree.SubElement(suite, "testcase", names | {"time": _seconds([outcome])})
    lines = [*outcomes.warnings, *(" ".join(sentence) for sentence in details(outcome))]
    if outcome.kind == "passed":
        element = ElementTree.SubElement(case, "system-out")
    else:
        why = ", ".join(outcome.failed) or _why_skipped(outcome)
        element = ElementTree.SubElement(case, outcome.kind, {"type": why, "message": message(outcome)})
    element.text = "\n".join(map(plain, lines))


def _why_skipped(outcome: Outcome) -> str:
    """The type of a skipped outcome. A case that cannot be measured is not UNRESOLVED, which more processes settle."""
    if outcome.waived:
        return "waived"
    judged_later = outcome.trend is not None and outcome.trend.series.points[-1].images_per_second is not None
    return "unresolved" if judged_later or (outcome.comparison and not outcome.note) else "no-figures"


def _seconds(outcomes: Iterable[Outcome]) -> str:
    return f"{sum(outcome.seconds for outcome in outcomes):.3f}"


def _timestamp(created: str) -> str:
    """The time as JUnit has it, which is without a zone and so UTC; empty where it cannot be read."""
    try:
        moment = datetime.datetime.fromisoformat(created).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return ""
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")
