"""A run's rows and verdicts, said to people and to programs: report.html, report.md, CSV, the terminal and JSON.

Pure but for `write`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import pandas as pd

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import csv_text
from gnet_core.files.whole import make_own_folder
from gnet_core.report import documents, page
from gnet_core.report import summary as facts
from gnet_core.report.checks import failed_checks
from gnet_core.report.drawing import Picture
from gnet_core.report.findings import findings, smallest_effects
from gnet_core.report.grid import in_style, pairs_table
from gnet_core.report.profile import ProfileView, view
from gnet_core.report.profile_report import paragraphs, tensorboard_line
from gnet_core.report.views.answers import Sentence
from gnet_core.report.views.section import Section
from gnet_core.report.views.suites import sections
from gnet_core.results.comparisons import Family, within
from gnet_core.results.records import Row, Run
from gnet_core.text import code, inert, plain

HTML_FILE = "report.html"

DOCUMENTS = ("cases.csv", "verdicts.csv", "report.md", HTML_FILE)
"""What a report consists of, besides its pictures."""

VERDICT_COLUMNS = (
    *("suite", "base", "variant", "verdict", "ratio", "low", "high", "margin", "p_value", "adjusted_p_value"),
    *("smallest_effect", "mode", "base_processes", "variant_processes", "reason", "run"),
)
"""Of verdicts.csv, in its order."""


def write(run: Run) -> None:
    """Write report.html, report.md, cases.csv, verdicts.csv and plots/ into the run directory, together or not at all.

    Raises OSError, and GnetError for a plots/ that leads out of the directory.
    """
    pictures = {section.name: picture for section in sections(run) if (picture := section.picture())}
    views, failed = profile_views(run)
    drawn = [*pictures.values(), *(picture for view in views for picture in view.pictures)]
    if drawn:
        make_own_folder(run.directory / documents.PLOTS)  # the texts tell of it where it is there
    texts = (
        to_csv(run),
        verdicts_to_csv(within(run), run.identity),
        to_markdown(run, pictures),
        page.to_html(run, pictures, views, failed),
    )
    documents.write(run.directory, dict(zip(DOCUMENTS, texts, strict=True)), drawn)


def _findings(run: Run) -> list[Sentence]:
    return findings(sections(run), profile_views(run)[0])


@functools.lru_cache(maxsize=2)
def profile_views(run: Run) -> tuple[list[ProfileView], list[str]]:
    """The run's traces, and why others cannot be told."""
    views, failed = [], []
    for document in run.profiles:
        try:
            views.append(view(document))
        except GnetError as error:
            failed.append(f"A profile.json in traces/ cannot be told: {error}")
    return views, failed


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


def to_json(run: Run) -> dict[str, Any]:
    """The same rows and verdicts for programs, with the run they belong to."""
    standing = facts.standing(run)
    return {
        "directory": str(run.directory),
        "run": run.identity,
        "complete": run.document.complete,
        "quotable": standing.quotable,
        "reservations": facts.reservations(run),
        "findings": [" ".join(sentence) for sentence in _findings(run)],
        "failed_checks": failed_checks(run),
        "environment": run.document.environment,
        "environments": run.document.environments,
        "peaks": msgspec.to_builtins(run.document.peaks),
        "rows": to_records(run),
        "verdicts": [family.to_dict() for family in within(run)],
        "unread": run.unread,
        "unmeasured": [{"case": case, "reason": reason} for case, reason in run.unmeasured],
        "profiles": run.profiles,
    }


def to_markdown(run: Run, pictures: Mapping[str, Picture] | None = None) -> str:
    """The whole report.md. `pictures` are by suite and lie in plots/."""
    found = sections(run)
    parts = [quotable_line(run), f"# {facts.TITLE}", f"On {inert(facts.machine_line(run))}. {_asked(run)}."]
    parts += ["## What it comes to", _bullets(map(_in_markdown, _findings(run)))]
    if resolved := smallest_effects(found):
        parts.append(_in_markdown(resolved))
    if broken := failed_checks(run):
        parts += ["## What this report finds wrong with itself", _bullets(map(inert, broken))]
    for section in found:
        parts += _suite(section, (pictures or {}).get(section.name))
    for told in _profiles(run, "pipe"):
        parts += ["## profile: Where does the time of a step go?", *told]
    parts += ["## Environment", *_environment(run)]
    parts += ["## What was not measured, and why", _unmeasured(run)]
    parts += ["## What measures it again", code(facts.command(run)), _folded("One row at a time", _commands(run))]
    parts += ["## Raw files", _bullets(f"[{name}]({name}): {inert(told)}" for name, told in _files(run))]
    parts += ["## How to read the tables", "\n".join(_term(*each) for each in facts.HOW_TO_READ)]
    return "\n\n".join(parts) + "\n"


def to_terminal(run: Run) -> str:
    """The answers with their short tables, and last what it comes to, for a terminal."""
    found = sections(run)
    parts = [plain(facts.machine_line(run))]
    for section in found:
        said = [f"{plain(section.name)}: {plain(section.suite.question)}"]
        parts.append("\n".join(said + [plain(" ".join(sentence)) for sentence in section.answers()]))
        parts.append(_short_table(section, "simple"))
    parts += [plain(f"{row.case}: {row.status}: {row.note}") for row in run.rows if row.status != "ok"]
    parts += [plain(f"{case}: {reason}") for case, reason in run.unmeasured]
    if lines := facts.gpu_lines(run):
        parts.append("\n".join(map(plain, lines)))
    for told in _profiles(run, "simple"):
        parts += told
    if run.profiles:
        parts.append(f"Trace: {tensorboard_line(run.directory)}")
    parts.append("\n".join(f"- {plain(' '.join(sentence))}" for sentence in _findings(run)))
    if resolved := smallest_effects(found):
        parts.append(plain(" ".join(resolved)))
    parts.append(quotable_line(run, plain).replace("**", ""))
    return "\n\n".join(parts)


def quotable_line(run: Run, protect: Callable[[object], str] = inert) -> str:
    """Whether the run's figures may be quoted, and if not, why."""
    standing = facts.standing(run)
    told = [protect(each) for each in standing.rest]
    if standing.quotable:
        return f"**{standing.point}**, {'. '.join(told)}."
    return f"**{standing.point}** {'; '.join(told)}."


def _suite(section: Section, picture: Picture | None) -> list[str]:
    """The question, its answers, the picture, the columns that answer it, and all the others folded."""
    parts = [f"## {inert(section.name)}: {inert(section.suite.question)}"]
    parts.append(_bullets(map(_in_markdown, section.answers())))
    if picture:
        parts.append(f"![{inert(picture.description)}]({documents.PLOTS}/{documents.picture_file(picture)})")
    return [*parts, _short_table(section, "pipe"), _folded("All columns", in_style(section.full_table(), "pipe"))]


def _short_table(section: Section, style: str) -> str:
    """The columns that answer the question, below what all rows share."""
    short = section.short_table()
    protect = inert if style == "pipe" else plain
    above = f"All with {protect(short.shared)}:\n\n" if short.shared else ""
    return f"{above}{in_style(short, style)}"


def _folded(summary: str, table: str) -> str:
    """A table that a code host shows when it is asked for."""
    return f"<details><summary>{summary}</summary>\n\n{table}\n\n</details>"


def _asked(run: Run) -> str:
    return inert(facts.asked_line(run))


def _in_markdown(sentence: Sentence) -> str:
    return f"**{inert(sentence.point)}** {inert(sentence.rest)}"


def _bullets(lines: Iterable[str]) -> str:
    lines = list(lines)
    return lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)


def _files(run: Run) -> list[tuple[str, str]]:
    return [*facts.files(run), ("report.html", "this report as a page")]


def _term(term: str, meaning: str) -> str:
    return f"- **{inert(term)}**: {inert(meaning)}"


def _profiles(run: Run, style: str) -> list[list[str]]:
    """What each trace tells, and why others cannot be told, in a style of tabulate's."""
    views, failed = profile_views(run)
    protect = inert if style == "pipe" else plain
    return [*(paragraphs(told, style) for told in views), *([protect(each)] for each in failed)]


def _environment(run: Run) -> list[str]:
    """The machine and its software, what speaks against it, in what the run's sources differ, and the peaks."""
    parts = [in_style(facts.environment(run), "pipe"), *(f"- {inert(caveat)}" for caveat in facts.caveats(run))]
    for heading, differing in facts.environment_differences(run):
        parts += [inert(heading), "\n".join(f"- {inert(difference)}" for difference in differing)]
    if failed := facts.failed_peaks(run):
        parts.append("\n".join(f"- {inert(each)}" for each in failed))
    peaks = facts.peaks(run)
    if peaks.rows:
        parts.append(
            "The device's peaks, measured in this run; MFU is the share of them that the step's arithmetic is:"
        )
        parts.append(in_style(peaks, "pipe"))
    if lines := facts.gpu_lines(run):
        parts += ["### The GPU while it worked", "\n".join(f"- {inert(line)}" for line in lines)]
        cases = facts.gpu_cases(run)
        parts += [in_style(cases, "pipe")] if cases.rows else []
    return parts


def _unmeasured(run: Run) -> str:
    return (
        "\n".join(f"- {code(what)}: {inert(why)}" for what, why in facts.unmeasured(run)) or "Everything was measured."
    )


def _commands(run: Run) -> str:
    return pairs_table(
        [(code(case.text), code(command.text)) for case, command in facts.commands(run).rows], ("case", "command")
    )
