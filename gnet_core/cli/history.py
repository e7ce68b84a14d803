"""The command `gnet history`: the speed of each case over many runs, what changed when, and a gate on it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnet_core.cli import options
from gnet_core.cli.gate import Gate, print_gates
from gnet_core.cli.output import (
    BAD_USAGE,
    CASES_FAILED,
    GATE_FAILED,
    complain,
    print_document,
    print_json,
    write_documents,
)
from gnet_core.cli.report import complain_of
from gnet_core.config import GnetError

if TYPE_CHECKING:
    from gnet_core.results.changes import Judged
    from gnet_core.results.gates import GateResult


@click.command()
@click.argument("directories", nargs=-1, required=True, type=options.PATH, metavar="DIR...")
@options.gate("Exit with 1 where one fails: slower, missing or failed; each does where nothing could be compared.")
@options.out("<date-time>-history")
@options.as_json
def history(
    directories: tuple[Path, ...],
    fail_on: tuple[str, ...],
    rules: Path | None,
    junit: Path | None,
    github: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Show how fast each case was over the runs in DIR..., and when that changed.

    A DIR is a run directory, or a folder of them. Another model of machine, driver, framework version, configuration or
    data begins a series of its own. The page is history.html. --rules also tells of changes that were meant.
    """
    from gnet_core.files.whole import require_empty
    from gnet_core.report.history import series_names
    from gnet_core.results import changes, gates, outcomes

    changes.require_gates(fail_on)
    gate = Gate.of(fail_on=fail_on, rules=rules, junit=junit, github=github, as_json=as_json)
    if out is not None:
        require_empty(out)  # before much is read for it
    judged = _judged(directories, gate)
    failed = changes.failed_in_history(judged, fail_on)
    cases = [series.key.case for series in judged.history.series]
    result = gates.under_rules(failed, fail_on, gate.rules, cases, idle_gates=changes.idle_gates(judged, fail_on))
    status = _show(judged, result, out, as_json=as_json)
    names = series_names(judged.current)
    written = gate.tell(result, lambda: outcomes.of_history(judged, fail_on, gate.rules, names))
    if result.failed:
        return GATE_FAILED
    # A gate that did not see the newest run, since the clock of its machine is ahead, has not held.
    unseen = judged.history.unread or (fail_on and judged.history.without_time)
    return CASES_FAILED if unseen else status or written


def _judged(directories: tuple[Path, ...], gate: Gate) -> Judged:
    """Read the history and judge it; say what is left out and what is not looked at, a line each. Raises GnetError
    where there is no run.
    """
    from gnet_core.report import history as reporting
    from gnet_core.results import changes
    from gnet_core.results.history import load_history
    from gnet_core.stats.verdicts import DEFAULT_MARGIN

    def margin_of(case: str) -> float:
        margin = gate.rules.margin_of(case)
        return DEFAULT_MARGIN if margin is None else margin.fraction

    now = datetime.datetime.now().astimezone()
    loaded = load_history(directories, now)
    lines = [*loaded.unread, *(f"note: {note}" for note in loaded.notes)]
    if not loaded.runs:
        for line in lines[:-1]:
            complain(line)
        raise GnetError(lines[-1])
    judged = changes.judge(loaded, gate.rules.accepted, margin_of, now.date())
    lines += [
        f"note: rules: no change in the history is the accepted one of {reporting.accepted_words(rule)}"
        for rule in judged.unmatched
    ]
    if "slower" in gate.fail_on and (short := changes.not_looked_at(judged)):
        lines.append(f"note: {reporting.not_looked_at(short, reporting.series_names(judged.current))}")
    for line in lines:
        complain(line)
    return judged


def _show(judged: Judged, result: GateResult, out: Path | None, *, as_json: bool) -> int:
    """Print what a history comes to, and then write its page, so that a full disk loses nothing that was printed.
    Returns the exit status.
    """
    from gnet_core.report import history as reporting
    from gnet_core.results.gates import GateResult

    directory = out or options.default_directory("history", "")
    if as_json:
        print_json({"directory": str(directory), **reporting.to_json(judged, result)})
    else:
        print_document(reporting.document(judged, GateResult(), with_pictures=False))
        print_gates(result)
    unwritten = write_documents(lambda: _write(judged, result, directory))
    if unwritten is None and not as_json:
        print(f"\nReport: {directory / reporting.HTML_FILE}")
    status = complain_of(unwritten, directory)
    return BAD_USAGE if unwritten is not None and out is not None else status  # a place that was named has to hold it


def _write(judged: Judged, result: GateResult, directory: Path) -> None:
    """Write the page and what belongs to it. Raises GnetError or OSError for a directory that cannot be written."""
    from gnet_core.report import history as reporting
    from gnet_core.system.claims import claimed_empty

    with claimed_empty(directory):
        reporting.write(judged, result, directory)
