"""A run's rows and verdicts, said to people and to programs: report.md, the tables as CSV, the terminal and JSON.

Pure but for `write`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from gnet_core import machine
from gnet_core.answers import DIFFERENT, Sentence, answers, smallest_effects
from gnet_core.checks import failed_checks
from gnet_core.comparisons import Family, within
from gnet_core.config import StepConfig
from gnet_core.files import write_whole
from gnet_core.markdown import environment_table
from gnet_core.profile_report import section as profile_section
from gnet_core.records import AA_SUITE, Row, Run
from gnet_core.sections import sections
from gnet_core.shapes import CASE_NAME
from gnet_core.tables import code, inert, pairs_table, plain, suite_table
from gnet_core.verdicts import DEFAULT_MARGIN, LEAST_PROCESSES, POWER

MOST_DISTURBED = 0.2
"""Of a case's turns. Beyond that its figures are those of a machine that did something else as well."""

HOW_TO_READ = (
    "`images/s` is the batch size over the mean step of all timed blocks. `± turns` is the standard deviation of those "
    "blocks within a process, which says nothing about the next process. p50 and p95 are of steps synchronised one by "
    "one, p95 only from 100 of them. Compile is the first call less a steady step; first step is from TensorFlow "
    "imported to the end of the first step.",
    "`×` is a ratio of images/s, taken turn by turn between processes that were alive together, so it need not be the "
    f"quotient of the two figures beside it. SAME: its whole 95 % interval is within {100 * DEFAULT_MARGIN:g} % of 1. "
    f"FASTER, SLOWER: the interval leaves out 1 and the estimate is more than {100 * DEFAULT_MARGIN:g} % away, at a "
    "false discovery rate of 5 % over the table. UNRESOLVED: neither can be said. `smallest effect` is what the "
    f"comparison would have found {100 * POWER:g} % of the time. Sequential comparisons are of processes timed one "
    "after the other: the machine's weather is part of them.",
)

VERDICT_COLUMNS = (
    *("suite", "base", "variant", "verdict", "ratio", "low", "high", "margin", "p_value", "adjusted_p_value"),
    *("smallest_effect", "mode", "base_processes", "variant_processes", "reason"),
)
"""Of verdicts.csv, in its order."""


def write(run: Run) -> None:
    """Write cases.csv, verdicts.csv and report.md into the run directory, each under a temporary name first."""
    write_whole(run.directory / "cases.csv", to_csv(run))
    write_whole(run.directory / "verdicts.csv", verdicts_to_csv(within(run)))
    write_whole(run.directory / "report.md", to_markdown(run))


def to_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A row a case and a column a field of Row, in its order; what was not measured is empty."""
    fields = [field.name for field in dataclasses.fields(Row)]
    return pd.DataFrame([dataclasses.asdict(row) for row in rows], columns=fields, dtype=object)


def to_csv(run: Run) -> str:
    """cases.csv."""
    return str(to_frame(run.rows).to_csv(index=False, lineterminator="\n"))


def verdicts_to_csv(families: Iterable[Family]) -> str:
    """verdicts.csv: a row a comparison; what it has no figure for is empty."""
    rows = [{"suite": family.suite} | each.to_dict() for family in families for each in family.comparisons.values()]
    frame = pd.DataFrame(rows, columns=list(VERDICT_COLUMNS), dtype=object)
    return str(frame.to_csv(index=False, lineterminator="\n"))


def to_json(run: Run) -> dict[str, Any]:
    """The same rows and verdicts for programs, with the run they belong to."""
    why = reservations(run)
    return {
        "directory": str(run.directory),
        "complete": run.document["complete"],
        "quotable": not why,
        "reservations": why,
        "failed_checks": failed_checks(run),
        "environment": run.document["environment"],
        "environments": run.document["environments"],
        "peaks": run.document.get("peaks", []),
        "rows": [dataclasses.asdict(row) for row in run.rows],
        "verdicts": [family.to_dict() for family in within(run)],
        "unmeasured": [{"case": case, "reason": reason} for case, reason in run.unmeasured],
        "profiles": run.profiles,
    }


def to_markdown(run: Run) -> str:
    """The whole report.md."""
    document, found = run.document, sections(run)
    version = document["environment"]["machine"]["packages"].get("gnet", machine.UNKNOWN)
    parts = [
        quotable_line(run),
        "# The train step of GoogleNet_2",
        f"On {inert(machine_line(run))}. Preset {code(document['preset'])}, seed {document['seed']}, "
        f"started {inert(document['created'])}, gnet {inert(version)}.",
    ]
    if resolved := smallest_effects(found):
        parts.append(_in_markdown(resolved))
    if broken := failed_checks(run):
        parts += ["## What this report finds wrong with itself", _bullets(map(inert, broken))]
    for section in found:
        parts += [f"## {inert(section.name)}: {inert(section.suite['question'])}"]
        parts += [_bullets(map(_in_markdown, answers(section))), suite_table(section, "pipe")]
    for told in _profiles(run, _operation):
        parts += ["## profile: Where does the time of a step go?", *told]
    parts += [*HOW_TO_READ, "## Environment", *_environment(run)]
    parts += ["## What was not measured, and why", _unmeasured(run)]
    parts += ["## What measures a row again", _commands(run)]
    return "\n\n".join(parts) + "\n"


def to_terminal(run: Run) -> str:
    """The answers and tables of the report, for a terminal."""
    found = sections(run)
    parts = [plain(machine_line(run))]
    for section in found:
        said = [f"{plain(section.name)}: {plain(section.suite['question'])}"]
        parts.append("\n".join(said + [plain(" ".join(sentence)) for sentence in answers(section)]))
        parts.append(suite_table(section, "simple"))
    parts += [plain(f"{row.case}: {row.status}: {row.note}") for row in run.rows if row.status != "ok"]
    parts += [plain(f"{case}: {reason}") for case, reason in run.unmeasured]
    for told in _profiles(run, plain):
        parts += [part.replace("**", "") for part in told]
    if resolved := smallest_effects(found):
        parts.append(plain(" ".join(resolved)))
    parts.append(quotable_line(run, plain).replace("**", ""))
    return "\n\n".join(parts)


def machine_line(run: Run) -> str:
    """The machine and its TensorFlow in one line."""
    environment = run.document["environment"]
    label = machine.label(environment, run.document["device"])
    return f"{label}, TensorFlow {environment['tensorflow']['version']}"


def quotable_line(run: Run, protect: Callable[[object], str] = inert) -> str:
    """Whether the run's figures may be quoted, and if not, why."""
    why = reservations(run)
    if why:
        return f"**Do not quote these figures:** {'; '.join(map(protect, why))}."
    sequential = [each for family in within(run) for each in family.comparisons.values() if each.mode == "sequential"]
    told = "**These figures may be quoted**, each with its machine, its configuration and its interval."
    if sequential:
        are = "comparison is" if len(sequential) == 1 else "comparisons are"
        told += f" {len(sequential)} {are} sequential: say so beside the ratio."
    return told


def reservations(run: Run) -> list[str]:
    """Every reason against quoting the run's figures. (That no A/A comparison was run is none.)"""
    measured = [row for row in run.rows if row.status == "ok"]
    why = []
    if run.document["preset"] == "smoke":
        why.append("the preset smoke only shows that everything works, it measures nothing")
    if not run.document["complete"]:
        why.append("the run was interrupted")
    if not measured:
        why.append("nothing was measured")
    elif (fewest := min(row.replicates for row in measured)) < LEAST_PROCESSES:
        processes = "one process" if fewest == 1 else f"{fewest} processes"
        why.append(f"they rest on {processes} a case, so how far the next process would differ is unknown")
    return [*why, *_reservations_of_rows(measured), *_reservations_of_verdicts(run)]


def _reservations_of_rows(measured: list[Row]) -> list[str]:
    doubts = {
        "a loss was not finite, and speed counts only at equal work": lambda row: not row.finite,
        "other losses than float32's, and speed counts only at equal work": lambda row: row.equal_work is False,
        "every step was delayed to test the suite": lambda row: row.delay_seconds,
        "no steady state, its time still changed over the run": lambda row: row.drift is not None,
        f"more than {MOST_DISTURBED:.0%} of its turns were disturbed": _disturbed,
    }
    found = {why: [row.case for row in measured if applies(row)] for why, applies in doubts.items()}
    return [f"{why} ({_listed(cases)})" for why, cases in found.items() if cases]


def _reservations_of_verdicts(run: Run) -> list[str]:
    why = []
    for family in within(run):
        if family.suite == AA_SUITE:
            odd = [each for each in family.comparisons.values() if each.verdict in DIFFERENT]
            why += [f"identical code against itself came out {each.verdict}" for each in odd]
    if broken := failed_checks(run):
        why.append(f"{len(broken)} of the report's own checks failed, of which the first: {broken[0].rstrip('.')}")
    return why


def _disturbed(row: Row) -> bool:
    return row.disturbed_turns > MOST_DISTURBED * (row.samples + row.voided_samples)


def _listed(cases: list[str], most: int = 3) -> str:
    more = f" and {len(cases) - most} more" if len(cases) > most else ""
    return ", ".join(cases[:most]) + more


def failures(run: Run) -> list[Row]:
    """Rows that should have had figures. A batch too large for the memory is a finding where a smaller one fitted."""
    return [
        row
        for row in run.rows
        if row.status in ("failed", "timeout") or (row.status == "oom" and not _smaller_batch_fitted(row, run.rows))
    ]


def _smaller_batch_fitted(row: Row, rows: list[Row]) -> bool:
    return any(
        other.status == "ok"
        and other.batch_size < row.batch_size
        and (other.execution, other.precision) == (row.execution, row.precision)
        for other in rows
    )


def _in_markdown(sentence: Sentence) -> str:
    return f"**{inert(sentence.point)}** {inert(sentence.rest)}"


def _bullets(lines: Iterable[str]) -> str:
    lines = list(lines)
    return lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)


def _profiles(run: Run, protect: Callable[[object], str]) -> Iterable[list[str]]:
    """What each trace tells; a profile.json that is none is told in words."""
    for document in run.profiles:
        try:
            if not CASE_NAME.fullmatch(StepConfig.from_dict(document["config"]).name):
                raise ValueError("config")
            operations = [{**row, "operation": protect(row["operation"])} for row in document["operations"]]
            yield profile_section({**document, "operations": operations})
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError) as error:
            yield [protect(f"A profile.json in traces/ cannot be told: field missing or wrong: {error}")]


def _operation(name: object) -> str:
    """An operation's name for Markdown. Its underscores stay: they are inside words or before them."""
    return inert(name).replace("\\_", "_")


def _environment(run: Run) -> list[str]:
    """The machine and its software, in what the run's sources differ, and the peaks that were measured."""
    document = run.document
    parts = [environment_table(document["environment"])]
    (first, base), *others = document["environments"].items() or [("", document["environment"])]
    for name, environment in others:
        if differing := machine.differences(base, environment):
            parts.append(f"From {code(first)} to {code(name)} these differ:")
            parts.append("\n".join(f"- {inert(difference)}" for difference in differing))
    return [*parts, *_peaks(document)]


def _peaks(document: Mapping[str, Any]) -> list[str]:
    """The best of the run's passes by precision, which MFU is a share of."""
    best: dict[str, tuple[float, str]] = {}
    errors = []
    for found in document.get("peaks", []):
        for precision, peak in found.items() if isinstance(found, dict) else ():
            value = peak.get("flop_per_second") if isinstance(peak, dict) else None
            if isinstance(value, int | float) and value > best.get(precision, (0.0, ""))[0]:
                best[precision] = float(value), str(peak.get("operation", machine.UNKNOWN))
            elif precision == "error":
                errors.append(f"- A measurement of the device's peaks failed: {inert(peak)}")
    parts = ["\n".join(dict.fromkeys(errors))] if errors else []
    if best:
        lines = [(inert(name), f"{value / 1e12:.3g}", inert(told)) for name, (value, told) in best.items()]
        parts.append(
            "The device's peaks, measured in this run; MFU is the share of them that the step's arithmetic is:"
        )
        parts.append(pairs_table(lines, ("precision", "TFLOP/s", "fastest operation")))
    return parts


def _unmeasured(run: Run) -> str:
    lines = [f"- {code(row.case)}: {inert(row.status)}, {inert(row.note)}" for row in run.rows if row.status != "ok"]
    lines += [f"- {code(case)}: {inert(reason)}" for case, reason in run.unmeasured]
    if note := run.document.get("profile_note"):
        lines.append(f"- A trace: {inert(note)}")
    return "\n".join(lines) or "Everything was measured."


def _commands(run: Run) -> str:
    return pairs_table([(code(row.case), code(row.command)) for row in run.rows], ("case", "command"))
