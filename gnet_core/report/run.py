"""A run's rows and verdicts, for people and for programs: report.html, report.md, CSV, the terminal and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pandas as pd

from gnet_core.config import TITLES, StepConfig
from gnet_core.files import csv_text
from gnet_core.machine import overview
from gnet_core.machine.differences import differences
from gnet_core.machine.environment import UNKNOWN, Environment
from gnet_core.plan.request import Until, command_line
from gnet_core.report import banners, documents, gpu, profile, time_spent
from gnet_core.report import document as blocks
from gnet_core.report.banners import NamedComparison, OpenComparison
from gnet_core.report.document import Bullets, Command, Document, Paragraph, Section, Sentence, section
from gnet_core.report.drawing import PLOTS
from gnet_core.report.fields import case_words
from gnet_core.report.gates import ExcusedCase
from gnet_core.report.grid import Column, Grid, grid, text_table
from gnet_core.report.summary import Summary
from gnet_core.report.terms import how_to_read
from gnet_core.report.views import looks
from gnet_core.report.views import section as views
from gnet_core.report.views.answers import MODES, spread_of_identical_code
from gnet_core.results.comparisons import Family
from gnet_core.results.records import Row, Run
from gnet_core.results.run_document import (
    Look,
    Peak,
    Peaks,
    RecordedHost,
    RecordedSource,
    RunDocument,
    TimeSpent,
    best_peaks,
)
from gnet_core.results.turns import TURNS_FILE
from gnet_core.stats.ratio import POWER
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import percent

TITLE = "The train step of GoogleNet_2"

HTML_FILE = "report.html"

DOCUMENTS = ("cases.csv", "verdicts.csv", "report.md", HTML_FILE)
"""The files of a report, besides its pictures."""

_FILES = {
    "cases.csv": "the figures of every case, for programs",
    "verdicts.csv": "the comparisons, for programs",
    "run.json": "machine, software, configuration, seed, order of turns, and what became of every case",
    TURNS_FILE: "what the machine was like during each turn",
    "raw/": "every sample, in pytest-benchmark's own files",
    f"{PLOTS}/": "the pictures as SVG",
    "traces/": "what the profiler recorded; TensorBoard's Profile page opens it: tensorboard --logdir traces",
    HTML_FILE: "this report as a page",
    "report.md": "this report as text",
}


class SuiteVerdicts(msgspec.Struct, frozen=True, kw_only=True):
    """The comparisons of a suite, which are judged together."""

    suite: str
    comparisons: list[Comparison]


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True):
    """A case, or a trace, that was requested and is not there."""

    case: str
    reason: str


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run's rows and verdicts, and the rest of its report: what `gnet report --json` prints (see to_json)."""

    directory: str
    run: str
    complete: bool
    quotable: bool
    """Whether there is no reservation. What a run until resolved left open is in `open_comparisons`."""
    reservations: list[str]
    quotable_comparisons: list[NamedComparison]
    open_comparisons: list[OpenComparison]
    findings: list[str]
    failed_checks: list[str]
    environment: Environment
    """As in `gnet schema info`."""
    environments: dict[str, Environment]
    sources: tuple[RecordedSource, ...]
    peaks: list[Peaks]
    until: Until
    max_looks: int | None
    looks: tuple[Look, ...]
    """As in run.json."""
    time_spent: TimeSpent
    rows: list[Row]
    verdicts: list[SuiteVerdicts]
    unread: list[str]
    unmeasured: list[Unmeasured]
    profiles: list[dict[str, Any]]
    """As in `gnet schema profile`."""
    failed_gates: dict[str, list[str]]
    excused: list[ExcusedCase]
    unmatched_waivers: list[str]


def write(summary: Summary) -> None:
    """Write the files of the report into the run directory, together or not at all; raises as documents.write does."""
    run = summary.run
    tables = {"cases.csv": to_csv(run), "verdicts.csv": verdicts_to_csv(summary.families, run.document.run)}
    documents.write(run.directory, document(summary), tables)


def to_records(run: Run) -> list[dict[str, Any]]:
    """Each row with the fields of Row in their order, and then whatever else of StepConfig differs between the rows."""
    known, configs = {field.name for field in dataclasses.fields(Row)}, run.configs
    others = [field.name for field in dataclasses.fields(StepConfig) if field.name not in known]
    varied = [name for name in others if len({getattr(config, name) for config in configs.values()}) > 1]
    return [dataclasses.asdict(row) | {name: getattr(configs[row.case], name) for name in varied} for row in run.rows]


def to_csv(run: Run) -> str:
    """cases.csv: a line a row; what was not measured is empty."""
    rows = to_records(run)
    columns = list(rows[0]) if rows else [field.name for field in dataclasses.fields(Row)]
    return csv_text.to_csv(pd.DataFrame(rows, columns=columns, dtype=object))


def verdicts_to_csv(families: Iterable[Family], run: str) -> str:
    """verdicts.csv: a line a comparison of the run of that identity; a figure that it lacks is empty."""
    rows = [
        {"suite": family.suite, "run": run} | comparison.to_dict()
        for family in families
        for comparison in family.comparisons.values()
    ]
    columns = ["suite", "base", "variant", *documents.VERDICT_COLUMNS, "run"]
    return csv_text.to_csv(pd.DataFrame(rows, columns=columns, dtype=object))


def to_json(summary: Summary) -> dict[str, Any]:
    """Rows and verdicts for programs, with the run they belong to: a RunReport without its gates."""
    run = summary.run
    return {
        "directory": str(run.directory),
        "run": run.document.run,
        "complete": run.document.complete,
        "quotable": not summary.reservations,
        "reservations": summary.reservations,
        "quotable_comparisons": msgspec.to_builtins(banners.quotable_comparisons(summary)),
        "open_comparisons": msgspec.to_builtins(banners.open_comparisons(summary)),
        "findings": [" ".join(sentence) for sentence in summary.findings],
        "failed_checks": summary.failed_checks,
        "environment": msgspec.to_builtins(run.document.environment),
        "environments": msgspec.to_builtins(run.document.environments),
        "sources": msgspec.to_builtins(run.document.sources),
        "peaks": msgspec.to_builtins(run.document.peaks),
        "until": run.document.until,
        "max_looks": run.document.max_looks,
        "looks": msgspec.to_builtins(run.document.looks),
        "time_spent": msgspec.to_builtins(run.document.time_spent),
        "rows": to_records(run),
        "verdicts": [family.to_dict() for family in summary.families],
        "unread": run.unread,
        "unmeasured": [{"case": case, "reason": reason} for case, reason in run.unmeasured],
        "profiles": run.profiles,
    }


def document(summary: Summary, *, with_pictures: bool = True) -> Document:
    """The whole report; without its pictures, which take most of the time, for a form that shows none."""
    run, effects, (profiles, failed_profiles) = summary.run, _detectable_effects(summary.sections), summary.profiles
    further = filter(None, [banners.next_step(summary)])
    repeated = run.document.max_looks is not None
    traces = [
        section(", ".join(case_words(trace.config)), *profile.blocks(trace, with_pictures=with_pictures))
        for trace in profiles
    ]
    evidence = [
        *_suites(summary, with_pictures=with_pictures),
        section("Where does the time of a step go?", *traces, Bullets(failed_profiles), name="profile"),
    ]
    gpu_lines = gpu.lines(run, summary.sequential)
    gpu_cases = section("Case by case", gpu.by_case(run), reference=True) if gpu_lines else None
    checks = Bullets(summary.failed_checks or ["Of the report's own checks none failed."])
    unmeasured = _unmeasured(run)
    missing = Bullets(unmeasured or ["Everything was measured."])
    cases_of: dict[str, list[str]] = {}
    for row in run.rows:
        cases_of.setdefault(row.command, []).append(row.case)
    commands = [Command(command, f"{', '.join(cases)}:") for command, cases in cases_of.items()]
    by_row = Section("One row at a time", commands, folded=True)
    written = {*DOCUMENTS, *([f"{PLOTS}/"] if any(blocks.pictures_in(evidence)) else [])}
    files = [item for item in _FILES.items() if item[0] in written or (run.directory / item[0]).exists()]
    sections = [
        *evidence,
        section("The GPU while it worked", Bullets(gpu_lines), gpu_cases),
        _environment(run),
        section("Caveats, and what this report finds wrong with itself", checks, Bullets(caveats(run)), reference=True),
        section("What was not measured, and why", missing, reference=not unmeasured),
        section("Raw files", blocks.Files(files) if with_pictures else None, reference=True),
        section("What measures it again", Command(command_line(run.document.request)), by_row, reference=True),
        section("How to read the tables", how_to_read(repeated=repeated), reference=True),
        section("What the run's own time went to", time_spent.table(run.document.time_spent)),
    ]
    return Document(
        heading=TITLE,
        title=f"{TITLE} on {summary.machine}",
        banners=banners.banners(summary),
        intro=[Paragraph(Sentence(f"{summary.machine}.", _request(run)))],
        summary=[Bullets(summary.findings), *([Paragraph(effects, soft=True)] if effects else []), *further],
        sections=sections,
    )


def caveats(run: Run) -> list[str]:
    """Properties of the machine that would make a careful reader doubt figures, a sentence each."""
    doubts = overview.warnings(run.document.environment)
    if any(row.device != "cpu" and row.equal_work is not None for row in run.rows):
        doubts.append(
            "How far losses may be from float32's has been measured on a CPU and not yet on a GPU, so a row that is "
            "within tolerance, or is not, says less here."
        )
    return doubts


def peaks_table(document: RunDocument) -> Grid:
    """The best of the run's passes by precision, which MFU is a share of; no row where none was measured."""
    columns = [
        Column[tuple[str, Peak]]("precision", lambda item: item[0], text=True),
        Column[tuple[str, Peak]]("TFLOP/s", lambda item: f"{item[1].flop_per_second / 1e12:.3g}"),
        Column[tuple[str, Peak]]("fastest operation", lambda item: item[1].operation, text=True),
    ]
    return grid(columns, list(best_peaks(document.peaks).items()), "the device's peaks")


def _detectable_effects(sections: Sequence[views.Section]) -> Sentence | None:
    """Minimum detectable effects of the comparisons, and the machine's own noise; None where nothing is compared."""
    of_other_code = [section for section in sections if not section.suite.compares_identical_code]
    compared = [comparison for section in of_other_code for comparison in section.comparisons.values()]
    if not compared:
        return None
    ranges = []
    for mode, words in MODES.items():
        effects = [
            item.minimum_detectable_effect
            for item in compared
            if item.mode == mode and item.minimum_detectable_effect is not None
        ]
        if effects:
            low, high = percent(min(effects)), percent(max(effects))
            ranges.append(f"{low if low == high else f'{low}–{high}'} {words}")
    if not ranges:
        why = "none can be told, since no comparison has processes enough for an interval."
        return Sentence("Minimum detectable effect:", why)
    text = f"that these comparisons would have found, {POWER:.0%} of the time: {', '.join(ranges)}."
    return Sentence("Minimum detectable effect", f"{text} {spread_of_identical_code(sections[0].run)}".rstrip())


def _request(run: Run) -> str:
    document = run.document
    version = document.environment.machine.packages.get("gnet", UNKNOWN)
    if document.until == "resolved":
        budget = f" within {document.budget_seconds / 60:.3g} min" if document.budget_seconds else ""
        processes = f"until resolved{budget}, at most {document.max_looks or document.replicates} processes"
    else:
        processes = "1 process" if document.replicates == 1 else f"{document.replicates} processes"
    sizes = " and ".join(f"{size}×{size}" for size in sorted({config.image_size for config in run.configs.values()}))
    images = f"images of {sizes}, " if sizes else ""
    return (
        f"Preset {document.preset}, {processes} a case, {images}seed {document.seed}, "
        f"started {document.created}, gnet {version}."
    )


def _suites(summary: Summary, *, with_pictures: bool) -> list[Section]:
    """Each suite's question with its answers, its picture, the columns that answer it, and all the others folded."""
    return [
        section(
            suite.suite.question,
            Bullets(suite.answers()),
            suite.picture() if with_pictures else None,
            suite.short_table(),
            Section("All columns", [suite.full_table()], folded=True),
            Section("Look by look", [seen], folded=True) if (seen := looks.table(suite)).rows else None,
            name=suite.suite.name,
        )
        for suite in summary.sections
    ]


def _hosts(document: RunDocument) -> Grid:
    """The hosts that took part, where there were several."""
    columns = [
        Column[RecordedHost]("host", lambda host: host.name, text=True),
        Column[RecordedHost]("address", lambda host: host.address, text=True),
        Column[RecordedHost]("machine", lambda host: overview.label(host.environment, document.device), text=True),
        Column[RecordedHost]("unlike the first in", lambda host: "; ".join(host.differences), text=True),
    ]
    return grid(columns, document.hosts, "Hosts")


def _environment(run: Run) -> Section:
    """The machine and its software, in what the run's sources differ, and the peaks."""
    document = run.document
    lines = [("run", run.document.run), *overview.as_lines(document.environment)]
    peers: dict[str, str] = {}
    for framework in document.own_interpreters:
        peers[framework] = f"{TITLES[framework]}'s own interpreter"
        peer = document.environment_of(framework)
        lines += overview.lines_of_peers(peer, [framework], where=" of its own interpreter")
    differing: list[blocks.Block] = []
    environments = list(document.environments.items())
    for name, environment in environments[1:]:
        first, base = environments[0]
        if changed := differences(base, environment):
            heading = f"From {first or 'the first'} to {peers.get(name, name)} these differ:"
            differing += [Paragraph(heading), Bullets(list(map(str, changed)))]
    peaks = peaks_table(document)
    heading = "The device's peaks, measured in this run; MFU is the share of them that the step's arithmetic is:"
    errors = dict.fromkeys(str(measured["error"]) for measured in document.peaks if "error" in measured)
    return section(
        "Environment",
        text_table(("what", "value"), lines, "environment"),
        _hosts(document),
        *differing,
        Bullets([f"{source.name}: {effect}" for source in document.sources for effect in source.effects]),
        Paragraph(heading) if peaks.rows else None,
        peaks,
        Bullets([f"A measurement of the device's peaks failed: {error}" for error in errors]),
        reference=True,
    )


def _unmeasured(run: Run) -> Sequence[Sentence]:
    rows = [(row.case, f"{row.status}, {row.note}") for row in run.rows if row.status != "ok"]
    sentences = [Sentence(f"{case}:", why) for case, why in (*rows, *run.unmeasured)]
    if note := run.document.profile_note:
        sentences.append(Sentence("a trace:", note))
    elif run.document.request.profile and not run.document.complete and not run.profiles:
        sentences.append(Sentence("a trace:", "the run was interrupted before it was taken"))
    return sentences
