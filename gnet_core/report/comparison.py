"""Two runs side by side, for people and for programs: the terminal, JSON, compare.html, compare.md and a CSV."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gnet_core.config import PEERS, GnetError
from gnet_core.files import csv_text
from gnet_core.machine.differences import Difference, differences
from gnet_core.machine.environment import UNKNOWN
from gnet_core.report import documents, gates
from gnet_core.report.document import Banner, Bullets, Document, Paragraph, Section, Sentence, section
from gnet_core.report.fields import case_words
from gnet_core.report.grid import Cell, Column, Grid, grid, ratio, ratio_interval, shared_columns, text_table
from gnet_core.report.ratios import distinct, forest
from gnet_core.report.summary import Summary
from gnet_core.report.terms import HOW_TO_READ_RATIOS
from gnet_core.report.views.answers import DIFFERENT, ratio_in_words, spread_of_identical_code
from gnet_core.results.comparisons import Between, between, machine_spread
from gnet_core.results.confirmation import Confirmation
from gnet_core.results.gates import GateResult
from gnet_core.results.outcomes import Outcomes, of_comparison
from gnet_core.results.records import Run
from gnet_core.results.rules import Rules
from gnet_core.stats.verdicts import Comparison, reason_of_all
from gnet_core.text import number, percent, plain

ALIKE = "The two environments are alike in all that is recorded of them."

HTML_FILE = "compare.html"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Two runs, their comparison, and in what else they differ."""

    base: Run
    new: Run
    margin: float
    """As a fraction."""
    between: Between
    differences: list[Difference]
    """Differences of their environments."""
    like_base: Sequence[Run]
    """Further runs of what BASE ran."""
    labels: dict[str, str]
    """By case, the words that distinguish it from the others."""
    shared: str
    """Words that all cases have in common."""
    confirmation: Confirmation | None = None
    """What came of measuring again what looked slower; None where nothing was."""

    @property
    def comparisons(self) -> list[Comparison]:
        return list(self.between.family.comparisons.values())

    @property
    def across_machines(self) -> bool:
        return any(difference.kind == "hardware" for difference in self.differences)

    @functools.cached_property
    def summaries(self) -> dict[str, Summary]:
        """The summary of each run by its name here: BASE, NEW, and further runs of BASE by their directory."""
        further = {str(run.directory): run for run in self.like_base}
        return {name: Summary(run) for name, run in ({"BASE": self.base, "NEW": self.new} | further).items()}


def compare(
    base: Run,
    new: Run,
    margin: float,
    *,
    across_machines: bool,
    like_base: Sequence[Run] = (),
    require_common: bool = True,
) -> Compared:
    """Compare a run with an earlier one, or with several alike (see comparisons.between); `margin` is a fraction.

    Raises GnetError for unequal hardware unless `across_machines`, for no measured case in common where one is
    required, and for a run of `like_base` that is the base itself or was not measured with what the base was.
    """
    known = {base.document.run: base.directory}
    for run in like_base:
        if same := known.get(run.document.run):
            raise GnetError(f"like_base: {run.directory} is the same run as {same}; name another of the same code")
        known[run.document.run] = run.directory
        if others := _differences(base, run):
            texts = "; ".join(map(plain, others))
            raise GnetError(f"like_base: {run.directory} was not measured with what {base.directory} was: {texts}")
    differences = _differences(base, new)
    hardware = [plain(difference) for difference in differences if difference.kind == "hardware"]
    if hardware and not across_machines:
        raise GnetError(
            f"{new.directory}: it was not measured on the hardware of {base.directory}: {'; '.join(hardware)} "
            "(--across-machines compares them all the same)"
        )
    compared = between(base, new, margin, like_base)
    if require_common and not compared.family.comparisons:
        unread = [*new.unread, *base.unread]
        why = f" ({unread[0]})" if unread else ""
        raise GnetError(f"{new.directory}: it has figures for no case that {base.directory} has figures for too{why}")
    cases = list(compared.family.comparisons)
    labels, shared = distinct([_words(new, case) for case in cases])
    return Compared(
        base=base,
        new=new,
        margin=margin,
        between=compared,
        differences=differences,
        like_base=like_base,
        labels=dict(zip(cases, labels, strict=True)),
        shared=shared,
    )


def write(compared: Compared, result: GateResult, directory: Path) -> None:
    """Write compare.html, compare.md, comparison.csv and plots/forest.svg into a directory. Raises OSError."""
    documents.write(directory, document(compared, result), {"comparison.csv": to_csv(compared)}, stem="compare")


def outcomes(compared: Compared, asked: Sequence[str], rules: Rules) -> Outcomes:
    """What a pipeline is to read of it, by the gates that were `asked` for (see results.outcomes.of_run)."""
    again = compared.confirmation.comparisons if compared.confirmation else {}
    return of_comparison(
        compared.base,
        compared.new,
        compared.between,
        asked,
        rules,
        again=again,
        differing=compared.differences,
        warnings=warnings(compared),
    )


def to_json(compared: Compared, result: GateResult) -> dict[str, Any]:
    """One document for programs."""
    base, new, *like_base = compared.summaries.items()
    return {
        "base": str(compared.base.directory),
        "new": str(compared.new.directory),
        "like_base": [str(run.directory) for run in compared.like_base],
        "margin": compared.margin,
        "across_machines": compared.across_machines,
        "same_samples": same_samples(compared),
        "backwards": backwards(compared),
        "comparisons": compared.between.family.to_dict()["comparisons"],
        "only_base": compared.between.only_base,
        "only_new": compared.between.only_new,
        "environment_differences": [difference._asdict() for difference in compared.differences],
        "configuration_differences": other_configs(compared),
        "machine_spread": {name.lower(): machine_spread(summary.run) for name, summary in (base, new)},
        "reservations": {name.lower(): summary.reservations for name, summary in (base, new)},
        "reservations_like_base": {name: summary.reservations for name, summary in like_base},
        "confirmation": compared.confirmation and compared.confirmation.to_dict(),
        **gates.to_json(result),
    }


def to_csv(compared: Compared) -> str:
    """comparison.csv: a line a case that both runs have figures for; what it has no figure for is empty."""
    rows = [
        {
            **comparison.to_dict(),
            "case": comparison.variant,
            "base_images_per_second": compared.base.row_of[comparison.base].images_per_second,
            "new_images_per_second": compared.new.row_of[comparison.variant].images_per_second,
        }
        for comparison in compared.comparisons
    ]
    columns = ["case", "base_images_per_second", "new_images_per_second", *documents.VERDICT_COLUMNS]
    return csv_text.to_csv(pd.DataFrame(rows, columns=columns, dtype=object))


def document(compared: Compared, result: GateResult, *, with_pictures: bool = True) -> Document:
    """The whole report, with what the gates came to."""
    base, new, verdicts = compared.base, compared.new, _result(compared)
    picture = None
    if with_pictures:
        labels = list(compared.labels.values())
        picture = forest(compared.comparisons, compared.margin, "forest", verdicts, labels, compared.shared)
    differing = [Sentence(f"{item.name}:", f"{item.base} → {item.new} ({item.kind})") for item in compared.differences]
    return Document(
        heading="Two runs compared",
        title=verdicts,
        banners=[Banner("bad", warning) for warning in warnings(compared)],
        intro=[Bullets([Sentence("BASE:", str(base.directory)), Sentence("NEW:", str(new.directory))])],
        summary=[Paragraph(f"{verdicts}."), *map(Paragraph, _confirmed(compared))],
        sections=[
            section("Verdicts", picture, _verdicts(compared), Bullets(_reasons(compared))),
            *confirmation_sections(compared),
            section("How far to trust them", *map(Paragraph, _reading(compared))),
            section("No figures in NEW for", Bullets(_missing(base, new, compared.between.only_base))),
            section("Only NEW has figures for", Bullets(_missing(new, base, compared.between.only_new))),
            section("Not configured alike", Bullets(other_configs(compared))),
            section("The environments differ", Bullets(differing)),
            section("Further runs of BASE", Bullets([str(run.directory) for run in compared.like_base])),
            *(
                section(f"{name} is not to be quoted", Bullets(summary.reservations))
                for name, summary in compared.summaries.items()
            ),
            *gates.sections(result),
            section("What is compared", _runs(compared), None if differing else Paragraph(ALIKE), reference=True),
            section("How to read it", HOW_TO_READ_RATIOS, reference=True),
        ],
    )


def confirmation_document(compared: Compared) -> Document:
    """The second measurement alone, for a terminal that shows the first one already."""
    sections = confirmation_sections(compared)
    return Document(heading="Measured again", summary=[*map(Paragraph, _confirmed(compared))], sections=sections)


def confirmation_sections(compared: Compared) -> list[Section]:
    """What came of measuring again what looked slower; empty where nothing was."""
    if compared.confirmation is None:
        return []
    again = compared.confirmation.comparisons
    columns = [
        Column[str]("case", lambda case: compared.labels[case], text=True),
        Column[str]("× BASE at first", lambda case: ratio(compared.between.family.comparisons[case])),
        Column[str]("× BASE again", lambda case: ratio(again[case])),
        Column[str]("95 % of ×", lambda case: ratio_interval(again[case])),
        Column[str]("verdict again", lambda case: Cell(again[case].verdict, again[case].verdict), text=True),
        Column[str]("processes", lambda case: f"{again[case].base_processes}+{again[case].variant_processes}"),
    ]
    table = grid(columns, list(again), "What looked SLOWER, measured again in fresh processes", compared.shared)
    texts = [compared.confirmation.how_timed, f"The second measurement is in {compared.confirmation.run.directory}."]
    doubts = [
        Sentence(f"UNRESOLVED again in {compared.labels[case]}:", item.reason)
        for case, item in again.items()
        if item.verdict == "UNRESOLVED"
    ]
    return [section("Measured again in fresh processes", table, Bullets(doubts), *map(Paragraph, texts))]


def _confirmed(compared: Compared) -> list[str]:
    """In a sentence what became of the cases that looked slower; empty where none was measured again."""
    if (confirmation := compared.confirmation) is None:
        return []
    looked = confirmation.cases
    verdicts = [comparison.verdict for comparison in confirmation.comparisons.values()]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts))]
    if left := [compared.labels[case] for case in looked if case not in confirmation.comparisons]:
        counts.append(f"{len(left)} not compared, so the first verdict stands ({', '.join(left)})")
    cases = "1 case" if len(looked) == 1 else f"{len(looked)} cases"
    text = f"Of {cases} that looked SLOWER, measured again in fresh processes: {', '.join(counts)}."
    if not confirmation.run.document.complete:
        text += " That measurement was cut short, so it decides nothing yet."
    return [text]


def same_samples(compared: Compared) -> bool:
    """Whether one run is the other, or a copy of it."""
    base, new = (
        [[process.log_seconds for process in run.processes[item.variant]] for item in compared.comparisons]
        for run in (compared.base, compared.new)
    )
    return compared.base.document.run == compared.new.document.run and base == new


def backwards(compared: Compared) -> bool:
    """Whether NEW was measured before BASE; False where one of them has no readable time."""
    try:
        base, new = (datetime.datetime.fromisoformat(run.document.created) for run in (compared.base, compared.new))
        return new < base
    except (TypeError, ValueError):  # no time, or one without its zone
        return False


def _result(compared: Compared) -> str:
    """The verdicts in a sentence, with the case that is furthest from its base."""
    known = [item for item in compared.comparisons if item.ratio]
    clear = [item for item in known if item.verdict in DIFFERENT]
    furthest = max(clear or known, key=lambda item: abs(math.log(item.ratio or 1)), default=None)
    if furthest is None:
        return "No case has a ratio, so nothing is said of NEW against BASE"
    text = f"{compared.labels[furthest.variant]}, {ratio_in_words(furthest)}"
    if len(compared.comparisons) == 1:
        return f"NEW against BASE is {furthest.verdict}: {text}"
    verdicts = sorted(item.verdict for item in compared.comparisons)
    counts = ", ".join(f"{verdict} in {verdicts.count(verdict)}" for verdict in dict.fromkeys(verdicts))
    return f"Of {len(verdicts)} cases NEW is {counts}; furthest from BASE is {text}"


def warnings(compared: Compared) -> list[str]:
    """Sentences without which no verdict of it may be read."""
    texts = []
    if compared.across_machines:
        texts.append("ACROSS MACHINES: the hardware differs, so the ratios are of machines as much as of code.")
    if backwards(compared):
        base, new = (plain(run.document.created) for run in (compared.base, compared.new))
        texts.append(
            f"BACKWARDS IN TIME: NEW was started {new}, before BASE, {base}; what is SLOWER here has become faster "
            "since."
        )
    if same_samples(compared):
        texts.append("BASE and NEW hold the same samples: this compares a run with itself and says nothing of another.")
    return texts


def _runs(compared: Compared) -> Grid:
    columns = []
    for summary in (compared.summaries["BASE"], compared.summaries["NEW"]):
        document = summary.run.document
        commit = document.environment.machine.commit or UNKNOWN
        columns.append([summary.machine, commit, document.created, document.preset, str(document.seed)])
    names = ("machine", "commit", "started", "preset", "seed")
    return text_table(("what", "BASE", "NEW"), list(zip(names, *columns, strict=True)), "What is compared")


def _verdicts(compared: Compared) -> Grid:
    bases, variants = compared.base.row_of, compared.new.row_of
    conditions = [
        Column[Comparison]("margin", lambda item: percent(item.margin)),
        Column[Comparison]("mode", lambda item: item.mode, text=True),
        Column[Comparison]("processes", lambda item: f"{item.base_processes}+{item.variant_processes}"),
    ]
    alike, varied = shared_columns(conditions, compared.comparisons)
    columns = [
        Column[Comparison]("case", lambda item: compared.labels[item.variant], text=True),
        Column[Comparison]("BASE images/s", lambda item: number(bases[item.base].images_per_second, "{:.1f}")),
        Column[Comparison]("NEW images/s", lambda item: number(variants[item.variant].images_per_second, "{:.1f}")),
        Column[Comparison]("× BASE", ratio),
        Column[Comparison]("95 % of ×", ratio_interval),
        Column[Comparison]("verdict", lambda item: Cell(item.verdict, item.verdict), text=True),
        Column[Comparison]("detectable effect", lambda item: percent(item.minimum_detectable_effect)),
        *varied,
    ]
    caption = "Verdicts: NEW against BASE, case by case"
    return grid(columns, compared.comparisons, caption, ", ".join(filter(None, [compared.shared, alike])))


def _reasons(compared: Compared) -> list[Sentence]:
    """Why verdicts are UNRESOLVED: each reason once, with the cases that it holds for."""
    by_doubt: dict[str, list[Comparison]] = {}
    for comparison in compared.comparisons:
        if comparison.doubt:
            by_doubt.setdefault(comparison.doubt, []).append(comparison)
    reasons = []
    for alike in by_doubt.values():
        cases = compared.labels[alike[0].variant] if len(alike) == 1 else f"{len(alike)} cases"
        reasons.append(Sentence(f"UNRESOLVED in {cases}:", reason_of_all(alike)))
    return reasons


def _reading(compared: Compared) -> list[str]:
    texts = []
    sequential = any(comparison.mode == "sequential" for comparison in compared.comparisons)
    if sequential and compared.like_base:
        texts.append(
            f"Each run counts once: how far the {1 + len(compared.like_base)} runs of BASE are from each other is how "
            "far NEW may be from them for no reason at all."
        )
    elif sequential:
        texts.append(
            "The two runs were timed one after the other: the machine's drift between them is part of every ratio. "
            "Where its speed wanders, two runs of the same code are told apart in about one comparison of six. "
            "gnet bench --against REV compares two revisions in turns, which takes it out."
        )
    spreads = [spread_of_identical_code(compared.base, "in BASE"), spread_of_identical_code(compared.new, "in NEW")]
    return [*texts, *filter(None, spreads)]


def _missing(there: Run, missing: Run, cases: Sequence[str]) -> list[str]:
    """Cases that only one run has figures for, in words, and why the other has none where it gives a reason."""
    reasons = {row.case: f"{row.status}, {row.note}" for row in missing.rows} | dict(missing.unmeasured)
    return [": ".join(filter(None, [", ".join(_words(there, case)), reasons.get(case)])) for case in cases]


def _words(run: Run, case: str) -> list[str]:
    return case_words(run.configs[case], run.row_of[case].source)


def _differences(base: Run, new: Run) -> list[Difference]:
    """Between the environments of each source that both runs have, or of their first ones, and of each peer."""
    sides = base.document, new.document
    named = [side.environments for side in sides]
    shared = [(named[0][name], named[1][name]) for name in named[0] if name in named[1]]
    pairs = shared or [(base.document.environment, new.document.environment)]
    differing = [difference for pair in pairs for difference in differences(*pair)]
    for framework in PEERS:
        own = [framework in side.own_interpreters for side in sides]
        measured = [framework in {config.framework for config in run.configs.values()} for run in (base, new)]
        if all(measured) and own[0] != own[1]:  # the rest of the two interpreters has no business with its rows
            first, second = (side.environment_of(framework) for side in sides)
            differing += differences(first, second, framework)
    return list(dict.fromkeys(differing))


def other_configs(compared: Compared) -> list[str]:
    """How configurations of one name differ, which leaves out the seed, a data set's classes and most of its path."""
    by_difference: dict[str, list[str]] = {}
    for case in compared.between.family.comparisons:
        differing = compared.base.configs[case].differences(compared.new.configs[case])
        for field, (was, now) in differing.items():
            by_difference.setdefault(f"{field}: {was!r} → {now!r}", []).append(case)
    return [f"{what} ({len(cases)} case{'s' if len(cases) > 1 else ''})" for what, cases in by_difference.items()]
