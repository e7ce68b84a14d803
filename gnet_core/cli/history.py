"""The command `gnet history`: the speed of each case over many runs, what changed when, and a gate on it."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from gnet_core.cli import options
from gnet_core.cli.gate import Gate, print_gates
from gnet_core.cli.output import CASES_FAILED, GATE_FAILED, complain, print_document, print_json
from gnet_core.config import GnetError


@click.command()
@click.argument("directories", nargs=-1, required=True, type=options.PATH, metavar="DIR...")
@options.gate("Exit with 1 where one fails: slower, missing or failed; each does where no case has two runs.")
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

    A DIR is a run directory, or a folder of them. Runs of another machine, driver, framework version or configuration
    are series of their own. The page is history.html. --rules also tells of changes that were meant.
    """
    from gnet_core.files.whole import require_empty
    from gnet_core.report import history as reporting
    from gnet_core.results import changes, gates, outcomes
    from gnet_core.results.history import load_history
    from gnet_core.stats.verdicts import DEFAULT_MARGIN
    from gnet_core.system.claims import claimed_empty

    changes.require_gates(fail_on)
    gate = Gate.of(fail_on=fail_on, rules=rules, junit=junit, github=github, as_json=as_json)
    if out is not None:
        require_empty(out)  # before much is read for it

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
    for line in lines:
        complain(line)
    failed = changes.failed_in_history(judged, fail_on)
    cases = [series.key.case for series in loaded.series]
    result = gates.under_rules(failed, fail_on, gate.rules, cases, idle=changes.is_idle(judged))
    directory = out or options.default_directory("history", "")
    with claimed_empty(directory):
        reporting.write(judged, result, directory)
    if as_json:
        print_json({"directory": str(directory), **reporting.to_json(judged, result)})
    else:
        print_document(reporting.document(judged, gates.GateResult(), with_pictures=False))
        print_gates(result)
        print(f"\nReport: {directory / reporting.HTML_FILE}")
    status = gate.tell(result, lambda: outcomes.of_history(judged, fail_on, gate.rules, reporting.figures))
    if result.failed:
        return GATE_FAILED
    return CASES_FAILED if loaded.unread else status
