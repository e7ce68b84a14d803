"""What gates came to, in words and for programs."""

from __future__ import annotations

from typing import Any

import msgspec

from gnet_core.report.document import Bullets, Section, Sentence, section
from gnet_core.results.gates import GateResult


class ExcusedCase(msgspec.Struct, frozen=True, kw_only=True):
    """A gate that a rule kept from failing on a case."""

    gate: str
    case: str
    why: str


def to_json(result: GateResult) -> dict[str, Any]:
    """The fields of a document for programs."""
    return {
        "failed_gates": result.failed,
        "excused": [{"gate": item.gate, "case": item.case, "why": item.why} for item in result.excused],
        "unmatched_waivers": [waiver.label for waiver in result.unmatched],
    }


def excused(result: GateResult) -> list[Sentence]:
    """What rules kept from failing, a sentence for each gate and rule with its cases."""
    by_rule: dict[tuple[str, str], list[str]] = {}
    for item in result.excused:
        by_rule.setdefault((item.gate, item.why), []).append(item.case)
    return [Sentence(f"{gate}, {why}:", ", ".join(cases)) for (gate, why), cases in by_rule.items()]


def sections(result: GateResult) -> list[Section]:
    """For a page; sections without anything in them are left out of it."""
    margins = [Sentence(f"{case}:", str(margin)) for case, margin in result.margins.items()]
    return [
        section("Gates that failed", Bullets([f"{gate}: {', '.join(cases)}" for gate, cases in result.failed.items()])),
        section("Gates that rules kept from failing", Bullets(excused(result))),
        section("Margins that the rules give the gate slower", Bullets(margins)),
        section("Waivers that match no case", Bullets([waiver.label for waiver in result.unmatched])),
    ]
