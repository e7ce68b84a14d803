"""Two runs side by side, said to people and to programs: the terminal, JSON, compare.html, compare.md and a CSV."""

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
from gnet_core.report import documents
from gnet_core.report.document import Banner, Bullets, Document, Paragraph, Sentence, section
from gnet_core.report.drawing import Picture
from gnet_core.report.fields import case_words
from gnet_core.report.grid import Cell, Column, Grid, grid, ratio, ratio_interval, shared_columns
from gnet_core.report.ratios import distinct, forest
from gnet_core.report.summary import HOW_TO_READ_RATIOS, Summary
from gnet_core.report.views.answers import DIFFERENT, ratio_in_words, spread_of_identical_code
from gnet_core.results.comparisons import Between, between, machine_spread
from gnet_core.results.gates import failed_between
from gnet_core.results.records import Run
from gnet_core.stats.verdicts import Comparison, reason_of_all
from gnet_core.text import number, percent, plain

ONE_AFTER_THE_OTHER = (
    "The two runs were timed one after the other: the machine's drift between them is part of every ratio. Where its "
    "speed wanders, two runs of the same code are told apart in about one comparison of six. "
    "gnet bench --against REV compares two revisions in turns, which takes it out."
)

BY_RUN = (
    "Each run counts once: how far the {runs} runs of BASE are from each other is how far NEW may be from them for no "
    "reason at all."
)

ALIKE = "The two environments are alike in all that is recorded of them."

HTML_FILE = "compare.html"

_CSV_COLUMNS = (
    *(
        "case",
        "base_images_per_second",
        "new_images_per_second",
        "verdict",
        "ratio",
        "low",
        "high",
        "margin",
        "p_value",
    ),
    *("adjusted_p_value", "smallest_effect", "mode", "base_processes", "variant_processes", "reason"),
)
"""Of comparison.csv, in its order."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Two runs, their comparison, and in what else they differ."""

    base: Run
    new: Run
    margin: float
    between: Between
    differences: list[Difference]
    """Of their environments."""
    other_configs: list[str]
    """In what cases of one name were not configured alike, a sentence each."""
    like_base: Sequence[Run] = ()
    """Further runs of what BASE ran."""

    @property
    def comparisons(self) -> list[Comparison]:
        return list(self.between.family.comparisons.values())

    @functools.cached_property
    def labels(self) -> dict[str, str]:
        """What tells each case from the others, in words."""
        labels, _shared = self._labelled
        return dict(zip(self.between.family.comparisons, labels, strict=True))

    @property
    def shared(self) -> str:
        """What all cases have in common, in words."""
        return self._labelled[1]

    @functools.cached_property
    def _labelled(self) -> tuple[list[str], str]:
        return distinct([_words(self.new, case) for case in self.between.family.comparisons])

    @property
    def across_machines(self) -> bool:
        return any(difference.kind == "hardware" for difference in self.differences)

    @property
    def runs(self) -> dict[str, Run]:
        return {"BASE": self.base, "NEW": self.new}

    @functools.cached_property
    def summaries(self) -> dict[str, Summary]:
        """What each run comes to, by its name here: BASE, NEW, and further runs of BASE by their directory."""
        further = {str(run.directory): run for run in self.like_base}
        return {name: Summary(run) for name, run in (self.runs | further).items()}


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

    Raises GnetError where they have no measured case in common, unless that is to be told like the rest, for unequal
    hardware unless that is asked for, and where a run of `like_base` is the base itself or was not measured with what
    the base was.
    """
    _require_alike(base, like_base)
    differences = _differences(base, new)
    hardware = [str(difference) for difference in differences if difference.kind == "hardware"]
    if hardware and not across_machines:
        raise GnetError(
            f"{new.directory}: it was not measured on the hardware of {base.directory}: "
            f"{'; '.join(map(plain, hardware))} (--across-machines compares them all the same)"
        )
    found = between(base, new, margin, like_base)
    if require_common and not found.family.comparisons:
        unread = [*new.unread, *base.unread]
        because = f" ({unread[0]})" if unread else ""
        raise GnetError(
            f"{new.directory}: it has figures for no case that {base.directory} has figures for too{because}"
        )
    return Compared(
        base=base,
        new=new,
        margin=margin,
        between=found,
        differences=differences,
        other_configs=_other_configs(base, new, found.family.comparisons),
        like_base=like_base,
    )


def _require_alike(base: Run, like_base: Sequence[Run]) -> None:
    known = {base.identity: base.directory}
    for run in like_base:
        if same := known.get(run.identity):
            raise GnetError(f"like_base: {run.directory} is the same run as {same}; name another of the same code")
        known[run.identity] = run.directory
        if differences := _differences(base, run):
            told = "; ".join(plain(difference) for difference in differences)
            raise GnetError(f"like_base: {run.directory} was not measured with what {base.directory} was: {told}")


def failed_gates(compared: Compared, gates: Sequence[str]) -> dict[str, list[str]]:
    """The cases that each gate fails on; one that holds is left out."""
    return failed_between(compared.base, compared.new, compared.between, gates)


def write(compared: Compared, failed: dict[str, list[str]], directory: Path) -> None:
    """Write compare.html, compare.md, comparison.csv and plots/forest.svg into a directory that exists.

    Raises OSError.
    """
    documents.write(directory, document(compared, failed), {"comparison.csv": to_csv(compared)}, stem="compare")


def to_json(compared: Compared, failed: dict[str, list[str]]) -> dict[str, Any]:
    """One document for programs."""
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
        "configuration_differences": compared.other_configs,
        "machine_spread": {name.lower(): machine_spread(run) for name, run in compared.runs.items()},
        "reservations": {name.lower(): compared.summaries[name].reservations for name in compared.runs},
        "reservations_like_base": {
            name: summary.reservations for name, summary in compared.summaries.items() if name not in compared.runs
        },
        "failed_gates": failed,
    }


def to_csv(compared: Compared) -> str:
    """comparison.csv: a line a case that both runs have figures for; what it has no figure for is empty."""
    rows = [
        {
            **each.to_dict(),
            "case": each.variant,
            "base_images_per_second": compared.base.row_of[each.base].images_per_second,
            "new_images_per_second": compared.new.row_of[each.variant].images_per_second,
        }
        for each in compared.comparisons
    ]
    return csv_text.to_csv(pd.DataFrame(rows, columns=list(_CSV_COLUMNS), dtype=object))


def document(compared: Compared, failed: dict[str, list[str]], *, with_pictures: bool = True) -> Document:
    """The whole report; `failed` are the gates that failed, with their cases."""
    base, new = compared.base, compared.new
    return Document(
        heading="Two runs compared",
        title=_finding(compared),
        banners=[Banner("bad", warning) for warning in _warnings(compared)],
        intro=[Bullets([Sentence(f"{name}:", str(run.directory)) for name, run in compared.runs.items()])],
        summary=[Paragraph(f"{_finding(compared)}.")],
        sections=[
            section(
                "Verdicts",
                picture_of(compared) if with_pictures else None,
                _verdicts(compared),
                Bullets(_reasons(compared)),
            ),
            section("How far to trust them", *map(Paragraph, _reading(compared))),
            section("No figures in NEW for", Bullets(_missing(base, new, compared.between.only_base))),
            section("Only NEW has figures for", Bullets(_missing(new, base, compared.between.only_new))),
            section("Not configured alike", Bullets(compared.other_configs)),
            section("The environments differ", Bullets(_differing(compared.differences))),
            section("Further runs of BASE", Bullets([str(run.directory) for run in compared.like_base])),
            *(
                section(f"{name} is not to be quoted", Bullets(summary.reservations))
                for name, summary in compared.summaries.items()
            ),
            section("Gates that failed", Bullets([f"{gate}: {', '.join(cases)}" for gate, cases in failed.items()])),
            section(
                "What is compared",
                _runs(compared),
                None if compared.differences else Paragraph(ALIKE),
                reference=True,
            ),
            section("How to read it", Bullets(HOW_TO_READ_RATIOS), reference=True),
        ],
    )


def picture_of(compared: Compared) -> Picture:
    """The ratios with their intervals, drawn."""
    labels = list(compared.labels.values())
    return forest(compared.comparisons, compared.margin, "forest", _finding(compared), labels, compared.shared)


def same_samples(compared: Compared) -> bool:
    """Whether one run is the other, or a copy of it."""
    sides = [
        [[process.log_seconds for process in run.processes[each.variant]] for each in compared.comparisons]
        for run in (compared.base, compared.new)
    ]
    return compared.base.identity == compared.new.identity and sides[0] == sides[1]


def backwards(compared: Compared) -> bool:
    """Whether NEW was measured before BASE; not where one of them does not tell its time."""
    try:
        times = [datetime.datetime.fromisoformat(run.document.created) for run in compared.runs.values()]
        return times[1] < times[0]
    except (TypeError, ValueError):  # no time, or one without its zone
        return False


def _finding(compared: Compared) -> str:
    """What the verdicts come to, and the case that is furthest from its base."""
    known = [each for each in compared.comparisons if each.ratio]
    clear = [each for each in known if each.verdict in DIFFERENT]
    furthest = max(clear or known, key=lambda each: abs(math.log(each.ratio or 1)), default=None)
    if furthest is None:
        return "No case has a ratio, so nothing is said of NEW against BASE"
    told = f"{compared.labels[furthest.variant]}, {ratio_in_words(furthest)}"
    if len(compared.comparisons) == 1:
        return f"NEW against BASE is {furthest.verdict}: {told}"
    verdicts = [each.verdict for each in compared.comparisons]
    counts = ", ".join(f"{verdict} in {verdicts.count(verdict)}" for verdict in dict.fromkeys(sorted(verdicts)))
    return f"Of {len(verdicts)} cases NEW is {counts}; furthest from BASE is {told}"


def _warnings(compared: Compared) -> list[str]:
    said = []
    if compared.across_machines:
        said.append("ACROSS MACHINES: the hardware differs, so the ratios are of machines as much as of code.")
    if backwards(compared):
        base, new = (plain(run.document.created) for run in compared.runs.values())
        said.append(
            f"BACKWARDS IN TIME: NEW was started {new}, before BASE, {base}; what is SLOWER here has "
            "become faster since."
        )
    if same_samples(compared):
        said.append("BASE and NEW hold the same samples: this compares a run with itself and says nothing of another.")
    return said


def _runs(compared: Compared) -> Grid:
    base, new = (_of_run(compared.summaries[name]) for name in compared.runs)
    columns = [
        Column[str]("what", lambda name: name, text=True),
        Column[str]("BASE", lambda name: base[name], text=True),
        Column[str]("NEW", lambda name: new[name], text=True),
    ]
    return grid(columns, list(base), "What is compared")


def _of_run(summary: Summary) -> dict[str, str]:
    document = summary.run.document
    return {
        "machine": summary.machine,
        "commit": document.environment.machine.commit or UNKNOWN,
        "started": document.created,
        "preset": document.preset,
        "seed": str(document.seed),
    }


def _verdicts(compared: Compared) -> Grid:
    """A row a case; what is the same in all of them is said once."""
    of_all = [
        Column[Comparison]("margin", lambda each: percent(each.margin)),
        Column[Comparison]("mode", lambda each: each.mode, text=True),
        Column[Comparison]("processes", lambda each: f"{each.base_processes}+{each.variant_processes}"),
    ]
    alike, varied = shared_columns(of_all, compared.comparisons)
    columns = [
        Column[Comparison]("case", lambda each: compared.labels[each.variant], text=True),
        Column[Comparison]("BASE images/s", lambda each: _speed(compared.base, each.base)),
        Column[Comparison]("NEW images/s", lambda each: _speed(compared.new, each.variant)),
        Column[Comparison]("× BASE", ratio),
        Column[Comparison]("95 % of ×", ratio_interval),
        Column[Comparison]("verdict", lambda each: Cell(each.verdict, each.verdict), text=True),
        Column[Comparison]("smallest effect", lambda each: percent(each.smallest_effect)),
        *varied,
    ]
    found = grid(columns, compared.comparisons, "Verdicts: NEW against BASE, case by case")
    return dataclasses.replace(found, shared=plain(", ".join(filter(None, [compared.shared, alike]))))


def _reasons(compared: Compared) -> list[Sentence]:
    """Why verdicts are UNRESOLVED: each reason once, with the cases that it holds for."""
    alike: dict[str, list[Comparison]] = {}
    for each in compared.comparisons:
        if each.doubt:
            alike.setdefault(each.doubt, []).append(each)
    found = []
    for comparisons in alike.values():
        cases = compared.labels[comparisons[0].variant] if len(comparisons) == 1 else f"{len(comparisons)} cases"
        found.append(Sentence(f"UNRESOLVED in {cases}:", reason_of_all(comparisons)))
    return found


def _reading(compared: Compared) -> list[str]:
    by_run = BY_RUN.format(runs=1 + len(compared.like_base)) if compared.like_base else ONE_AFTER_THE_OTHER
    said = [by_run] if any(each.mode == "sequential" for each in compared.comparisons) else []
    return said + [told for name, run in compared.runs.items() if (told := spread_of_identical_code(run, f"in {name}"))]


def _differing(differences: Sequence[Difference]) -> list[Sentence]:
    return [Sentence(f"{each.name}:", f"{each.base} → {each.new} ({each.kind})") for each in differences]


def _missing(there: Run, missing: Run, cases: Sequence[str]) -> list[str]:
    """Cases that only one run has figures for, in words, and why the other has none where it tells."""
    reasons = {row.case: f"{row.status}, {row.note}" for row in missing.rows} | dict(missing.unmeasured)
    told = [(", ".join(_words(there, case)), reasons.get(case)) for case in cases]
    return [f"{name}: {reason}" if reason else name for name, reason in told]


def _words(run: Run, case: str) -> list[str]:
    return case_words(run.configs[case], run.row_of[case].source)


def _speed(run: Run, case: str) -> str:
    return number(run.row_of[case].images_per_second, "{:.1f}")


def _differences(base: Run, new: Run) -> list[Difference]:
    """Between the environments of each source that both runs have, or of their first ones, and of each peer."""
    told = base.document, new.document
    named = [document.environments for document in told]
    shared = [(named[0][name], named[1][name]) for name in named[0] if name in named[1]]
    pairs = shared or [(base.document.environment, new.document.environment)]
    found = [difference for pair in pairs for difference in differences(*pair)]
    for framework in PEERS:
        own = [framework in document.own_interpreters for document in told]
        measured = [framework in {config.framework for config in run.configs.values()} for run in (base, new)]
        if all(measured) and own[0] != own[1]:  # the rest of the two interpreters has no business with its rows
            first, second = (document.environment_of(framework) for document in told)
            found += differences(first, second, framework)
    return list(dict.fromkeys(found))


def _other_configs(base: Run, new: Run, cases: dict[str, Comparison]) -> list[str]:
    """A case's name leaves out its seed and classes, and of a data set's path all but the last part."""
    told: dict[str, list[str]] = {}
    for case in cases:
        for field, (was, now) in base.configs[case].differences(new.configs[case]).items():
            told.setdefault(f"{field}: {was!r} → {now!r}", []).append(case)
    return [f"{what} ({len(cases)} case{'s' if len(cases) > 1 else ''})" for what, cases in told.items()]
