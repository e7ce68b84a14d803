"""The outcomes of a command in words: a line for each, its details, and a summary of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from gnet_core.report import history
from gnet_core.report.document import Banner, Bullets, Document, Paragraph, Section, Sentence, section
from gnet_core.report.grid import Column, Grid, grid, ratio, ratio_interval
from gnet_core.report.views.answers import ratio_in_words, speed_in_words
from gnet_core.results.outcomes import Kind, Outcome, Outcomes
from gnet_core.results.records import Row
from gnet_core.text import percent, plain

KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order of their weight."""


def message(outcome: Outcome) -> str:
    """How a case ended, in a line."""
    texts = [_figures(outcome), *(f"{item.gate}: {item.why}" for item in outcome.excused)]
    return plain(": ".join(filter(None, [", ".join(outcome.failed), "; ".join(filter(None, texts))])))


def details(outcome: Outcome) -> list[Sentence]:
    """All that is known of it, which is what viewers of test reports show."""
    lines = [Sentence(f"{outcome.kind}:", message(outcome))]
    if comparison := outcome.comparison:
        own = f"; for the gate slower {outcome.margin}" if outcome.margin else ""
        counts = comparison.base_processes, comparison.variant_processes
        lines += [
            Sentence("ratio to the base:", ratio_in_words(comparison) if comparison.ratio else "none"),
            Sentence("verdict:", " ".join(filter(None, [f"{comparison.verdict}.", comparison.reason]))),
            Sentence("margin:", f"{percent(comparison.margin)}{own}"),
            Sentence("processes:", f"{counts[0]} of the base, {counts[1]} of the case"),
        ]
    at_first = ""
    if first := outcome.first:
        at_first = ", when it was measured first"
        lines.append(Sentence("before it was measured again:", f"{first.verdict}, {ratio_in_words(first)}"))
    lines += [
        Sentence(f"{name}:", _measured(row))
        for name, row in ((f"base{at_first}", outcome.base_row), (f"case{at_first}", outcome.row))
        if row is not None
    ]
    lines += [Sentence("differs from the base:", f"{item} ({item.kind})") for item in outcome.differences]
    if outcome.series:
        lines += history.details(outcome.series, outcome.trend)
    if row := outcome.row or outcome.base_row:
        lines.append(Sentence("measure it again:", row.command))
    return lines


def counts(outcomes: Outcomes) -> str:
    """1 failure, 0 errors, 2 skipped, 5 passed."""
    numbers = {kind: len(outcomes.of_kind(kind)) for kind in KINDS}
    plural = {"failure": "failures", "error": "errors"}
    return ", ".join(f"{number} {kind if number == 1 else plural.get(kind, kind)}" for kind, number in numbers.items())


def document(outcomes: Outcomes, shown: int) -> Document:
    """A summary of `shown` outcomes, those that failed first, with the details of these."""
    ranked = [outcome for kind in KINDS for outcome in outcomes.of_kind(kind)]
    left_out = len(ranked) - shown
    cut = f"{left_out} of {len(ranked)} cases are left out, as a longer summary would not be shown at all."
    broken = [outcome for outcome in ranked[:shown] if outcome.failed]
    return Document(
        heading=f"gnet {outcomes.command}",
        banners=[Banner("bad", warning) for warning in outcomes.warnings],
        intro=[Paragraph(outcomes.subject)],
        summary=[Paragraph(f"{counts(outcomes)}."), *([Paragraph(cut)] if left_out > 0 else [])],
        sections=[
            *(Section(outcome.case, [Bullets(details(outcome))]) for outcome in broken),
            section("Case by case", _table(ranked[:shown])),
            section("Waivers that match no case", Bullets([waiver.label for waiver in outcomes.gates.unmatched])),
        ],
    )


def _table(outcomes: Sequence[Outcome]) -> Grid:
    columns = [
        Column[Outcome]("outcome", lambda outcome: outcome.kind, text=True),
        Column[Outcome]("case", lambda outcome: outcome.case, text=True),
        Column[Outcome]("× base", lambda outcome: ratio(outcome.comparison) if outcome.comparison else ""),
        Column[Outcome]("95 % of ×", lambda outcome: ratio_interval(outcome.comparison) if outcome.comparison else ""),
        Column[Outcome]("how it ended", message, text=True),
    ]
    return grid(columns, outcomes, "Case by case")


def _figures(outcome: Outcome) -> str:
    """The figures that decide, or why there are none."""
    if outcome.trend and outcome.kind != "error":  # the figures of a case without any now are of before
        return "; ".join(filter(None, [outcome.note, history.figures(outcome.trend)]))
    if outcome.note:
        return outcome.note
    if comparison := outcome.comparison:
        figures = ratio_in_words(comparison) if comparison.ratio else comparison.reason
        return f"{comparison.verdict}, {figures}"
    return speed_in_words(outcome.row) if outcome.row else ""


def _measured(row: Row) -> str:
    figures = speed_in_words(row) if row.status == "ok" else row.status
    return "; ".join(filter(None, [figures, row.note]))
