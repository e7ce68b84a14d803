"""The command `gnet history`: the speed of each case over many runs, what changed when, and a gate on it."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from gnet_core.cli import options
from gnet_core.cli.output import CASES_FAILED, FINE, GATE_FAILED, complain, print_document, print_json
from gnet_core.cli.report import print_gates
from gnet_core.config import GnetError


@click.command()
@click.argument("directories", nargs=-1, required=True, type=options.PATH, metavar="DIR...")
@options.fail_on("Exit with 1 where one fails: slower, missing or failed; each does where no case has two runs.")
@click.option("--rules", "rules_file", type=options.PATH, help="TOML file of margins and of changes that were meant.")
@options.out("<date-time>-history")
@options.as_json
def history(
    directories: tuple[Path, ...], fail_on: tuple[str, ...], rules_file: Path | None, out: Path | None, as_json: bool
) -> int:
    """Show how fast each case was over the runs in DIR..., and when that changed.

    A DIR is a run directory, or a folder of them. Runs of another machine, driver, framework version or configuration
    are series of their own. The page is history.html.
    """
    from gnet_core.files.whole import require_empty
    from gnet_core.report import history as reporting
    from gnet_core.results import changes
    from gnet_core.results.history import load_history
    from gnet_core.results.rules import NO_RULES, load_rules
    from gnet_core.stats.verdicts import DEFAULT_MARGIN
    from gnet_core.system.claims import claimed_empty

    changes.require_gates(fail_on)
    rules = NO_RULES if rules_file is None else load_rules(rules_file)
    if out is not None:
        require_empty(out)  # before much is read for it

    def margin_of(case: str) -> float:
        margin = rules.margin_of(case)
        return DEFAULT_MARGIN if margin is None else margin.fraction

    now = datetime.datetime.now().astimezone()
    loaded = load_history(directories, now)
    lines = [*loaded.unread, *(f"note: {note}" for note in loaded.notes)]
    if not loaded.runs:
        for line in lines[:-1]:
            complain(line)
        raise GnetError(lines[-1])
    judged = changes.judge(loaded, rules.accepted, margin_of, now.date())
    lines += [
        f"note: rules: no change in the history is the accepted one of {reporting.accepted_words(rule)}"
        for rule in judged.unmatched
    ]
    for line in lines:
        complain(line)
    failed = changes.failed_in_history(judged, fail_on)
    directory = out or options.default_directory("history", "")
    with claimed_empty(directory):
        reporting.write(judged, failed, directory)
    if as_json:
        print_json({"directory": str(directory), **reporting.to_json(judged, failed)})
    else:
        print_document(reporting.document(judged, {}, with_pictures=False))
        print_gates(failed)
        print(f"\nReport: {directory / reporting.HTML_FILE}")
    if failed:
        return GATE_FAILED
    return CASES_FAILED if loaded.unread else FINE
