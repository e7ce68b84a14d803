"""A run's rows and verdicts, said to people and to programs: report.html, report.md, CSV, the terminal and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import msgspec
import pandas as pd

from gnet_core.config import StepConfig
from gnet_core.files import csv_text
from gnet_core.report import documents, profile
from gnet_core.report.document import (
    Block,
    Bullets,
    Command,
    Document,
    Files,
    Fold,
    Paragraph,
    Section,
    Sentence,
    section,
)
from gnet_core.report.fields import case_words
from gnet_core.report.summary import HOW_TO_READ, TITLE, Summary
from gnet_core.results.comparisons import Family
from gnet_core.results.records import Row, Run

HTML_FILE = "report.html"

DOCUMENTS = ("cases.csv", "verdicts.csv", "report.md", HTML_FILE)
"""What a report consists of, besides its pictures."""

VERDICT_COLUMNS = (
    *("suite", "base", "variant", "verdict", "ratio", "low", "high", "margin", "p_value", "adjusted_p_value"),
    *("smallest_effect", "mode", "base_processes", "variant_processes", "reason", "run"),
)
"""Of verdicts.csv, in its order."""


def write(summary: Summary) -> None:
    """Write report.html, report.md, cases.csv, verdicts.csv and plots/ into the run directory, together or not at all.

    Raises OSError, and GnetError for a plots/ that leads out of the directory.
    """
    run = summary.run
    tables = {"cases.csv": to_csv(run), "verdicts.csv": verdicts_to_csv(summary.families, run.identity)}
    documents.write(run.directory, document(summary), tables)


def to_records(run: Run) -> list[dict[str, Any]]:
    """Each row with the fields of Row in their order, and then whatever else of StepConfig differs between the rows."""
    known = {field.name for field in dataclasses.fields(Row)}
    configs = run.configs.values()
    others = [field.name for field in dataclasses.fields(StepConfig) if field.name not in known]
    varied = [name for name in others if len({getattr(config, name) for config in configs}) > 1]
    return [
        dataclasses.asdict(row) | {name: getattr(run.configs[row.case], name) for name in varied} for row in run.rows
    ]


def to_csv(run: Run) -> str:
    """cases.csv: a line a row; what was not measured is empty."""
    rows = to_records(run)
    columns = list(rows[0]) if rows else [field.name for field in dataclasses.fields(Row)]
    return csv_text.to_csv(pd.DataFrame(rows, columns=columns, dtype=object))


def verdicts_to_csv(families: Iterable[Family], run: str) -> str:
    """verdicts.csv: a row a comparison of the run of that identity; what it has no figure for is empty."""
    rows = [
        {"suite": family.suite, "run": run} | each.to_dict()
        for family in families
        for each in family.comparisons.values()
    ]
    return csv_text.to_csv(pd.DataFrame(rows, columns=list(VERDICT_COLUMNS), dtype=object))


def to_json(summary: Summary) -> dict[str, Any]:
    """The same rows and verdicts for programs, with the run they belong to."""
    run = summary.run
    return {
        "directory": str(run.directory),
        "run": run.identity,
        "complete": run.document.complete,
        "quotable": not summary.reservations,
        "reservations": summary.reservations,
        "findings": [" ".join(sentence) for sentence in summary.findings],
        "failed_checks": summary.failed_checks,
        "environment": msgspec.to_builtins(run.document.environment),
        "environments": msgspec.to_builtins(run.document.environments),
        "peaks": msgspec.to_builtins(run.document.peaks),
        "rows": to_records(run),
        "verdicts": [family.to_dict() for family in summary.families],
        "unread": run.unread,
        "unmeasured": [{"case": case, "reason": reason} for case, reason in run.unmeasured],
        "profiles": run.profiles,
    }


def document(summary: Summary, *, with_pictures: bool = True) -> Document:
    """The whole report; without its pictures, which take most of the time, for a form that shows none."""
    return Document(
        heading=TITLE,
        title=f"{TITLE} on {summary.machine}",
        banners=[summary.standing],
        intro=[Paragraph(Sentence(f"{summary.machine}.", f"{summary.asked}."))],
        summary=_what_it_comes_to(summary),
        sections=[
            *_suites(summary, with_pictures=with_pictures),
            _profiles(summary, with_pictures=with_pictures),
            section("The GPU while it worked", Bullets(summary.gpu_lines), _gpu_cases(summary)),
            _environment(summary),
            _doubts(summary),
            _unmeasured(summary),
            *([_files(summary)] if with_pictures else []),
            section("What measures it again", *_again(summary), reference=True),
            section("How to read the tables", Bullets(HOW_TO_READ), reference=True),
        ],
    )


def _what_it_comes_to(summary: Summary) -> list[Block]:
    resolved = summary.smallest_effects
    return [Bullets(summary.findings), *([Paragraph(resolved, soft=True)] if resolved else [])]


def _suites(summary: Summary, *, with_pictures: bool) -> list[Section]:
    """Each suite's question with its answers, its picture, the columns that answer it, and all the others folded."""
    pictures = summary.pictures if with_pictures else [None] * len(summary.sections)
    return [
        section(
            suite.suite.question,
            Bullets(answers),
            picture,
            suite.short_table(),
            Fold("All columns", [suite.full_table()]),
            name=suite.name,
        )
        for suite, answers, picture in zip(summary.sections, summary.answers, pictures, strict=True)
    ]


def _profiles(summary: Summary, *, with_pictures: bool) -> Section:
    traces = [
        section(", ".join(case_words(each.config)), *profile.blocks(each, with_pictures=with_pictures))
        for each in summary.profiles
    ]
    return section("Where does the time of a step go?", *traces, Bullets(summary.failed_profiles), name="profile")


def _gpu_cases(summary: Summary) -> Section | None:
    """By case, for those who look one up; only where there is something to say of the GPU at all."""
    return section("Case by case", summary.gpu_cases, reference=True) if summary.gpu_lines else None


def _environment(summary: Summary) -> Section:
    """The machine and its software, in what the run's sources differ, and the peaks."""
    differing: list[Block] = []
    for heading, lines in summary.environment_differences:
        differing += [Paragraph(heading), Bullets(lines)]
    peaks = "The device's peaks, measured in this run; MFU is the share of them that the step's arithmetic is:"
    return section(
        "Environment",
        summary.environment,
        *differing,
        Paragraph(peaks) if summary.peaks.rows else None,
        summary.peaks,
        Bullets(summary.failed_peaks),
        reference=True,
    )


def _doubts(summary: Summary) -> Section:
    failed = Bullets(summary.failed_checks or ["Of the report's own checks none failed."])
    return section(
        "Caveats, and what this report finds wrong with itself",
        failed,
        Bullets(summary.caveats),
        reference=True,
    )


def _unmeasured(summary: Summary) -> Section:
    missing = summary.unmeasured
    told = Bullets(missing or ["Everything was measured."])
    return section("What was not measured, and why", told, reference=not missing)


def _again(summary: Summary) -> list[Block]:
    rows = [Command(row.command, f"{row.case}:") for row in summary.run.rows]
    return [Command(summary.command), *([Fold("One row at a time", rows)] if rows else [])]


def _files(summary: Summary) -> Section:
    told = [*summary.files, (HTML_FILE, "this report as a page"), ("report.md", "this report as text")]
    return section("Raw files", Files(told), reference=True)
