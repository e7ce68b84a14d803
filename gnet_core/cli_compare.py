"""The command `gnet compare`: a verdict a case between two runs, and a gate on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnet_core.command_line import FINE, GATE_FAILED, Choices, as_json_option, print_json
from gnet_core.config import GnetError

if TYPE_CHECKING:
    from gnet_core.records import Run

GATES = Choices("fail_on", ("slower", "missing", "unresolved"))


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--margin", default="2", show_default=True, metavar="PCT", help="Differences below it are the SAME.")
@click.option("--fail-on", type=GATES, metavar="slower,missing,unresolved", help="Exit with 1 where one applies.")
@click.option("--across-machines", is_flag=True, help="Compare also what was measured on other hardware.")
@as_json_option
def compare(
    base: Path, new: Path, margin: str, fail_on: tuple[str, ...] | None, across_machines: bool, as_json: bool
) -> int:
    """Compare the run in NEW with the one in BASE, case by case: FASTER, SLOWER, SAME or UNRESOLVED."""
    from gnet_core import compare_report, verdicts

    fraction = verdicts.require_margin(margin)
    compared = compare_report.compare(_load(base), _load(new), fraction, across_machines=across_machines)
    failed = compare_report.failed_gates(compared, fail_on or ())
    if as_json:
        print_json(compare_report.to_json(compared, failed))
    else:
        click.echo(compare_report.to_terminal(compared))
        for gate, cases in failed.items():
            click.echo(f"\nGate failed: {gate}: {', '.join(cases)}")
    return GATE_FAILED if failed else FINE


def _load(directory: Path) -> Run:
    from gnet_core import records

    if records.is_profile(directory):
        raise GnetError(f"{directory}: it holds a profile, which is not compared; name two directories of gnet bench")
    return records.load_run(directory)
