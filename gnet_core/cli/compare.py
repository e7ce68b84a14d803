"""The command `gnet compare`: a verdict a case between two runs, and a gate on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnet_core.cli import options
from gnet_core.cli.output import FINE, GATE_FAILED, complain, print_document, print_json
from gnet_core.cli.report import print_gates
from gnet_core.config import GnetError

if TYPE_CHECKING:
    from gnet_core.results.records import Run

MIN_USUAL_MARGIN = 0.005
"""No run here has resolved as little, so a smaller margin was probably meant as a fraction and not as percent."""


@click.command()
@click.argument("base", type=options.PATH)
@click.argument("new", type=options.PATH)
@click.option("--margin", default="2", show_default=True, metavar="PCT", help="Differences below it are the SAME.")
@options.fail_on("Exit with 1 where one fails.")
@click.option("--across-machines", is_flag=True, help="Compare also what was measured on other hardware.")
@click.option(
    "--like-base", multiple=True, type=options.PATH, help="Another run of BASE's code; with two, each counts once."
)
@click.option("--out", type=options.PATH, help="New directory for a page, its plot and a table.")
@click.option("--profiles", is_flag=True, help="Compare traces instead: where the time went, by part and operation.")
@options.as_json
def compare(
    base: Path,
    new: Path,
    margin: str,
    fail_on: tuple[str, ...],
    across_machines: bool,
    like_base: tuple[Path, ...],
    out: Path | None,
    profiles: bool,
    as_json: bool,
) -> int:
    """Compare the run in NEW with the one in BASE, case by case: FASTER, SLOWER, SAME or UNRESOLVED.

    With --profiles both are directories of gnet profile, or of gnet bench with one trace; there is no verdict then,
    and without --out the page goes to reports/<time>-compare-profiles.
    """
    if profiles:
        return _compare_profiles(base, new, out, as_json=as_json)
    from gnet_core.report import comparison
    from gnet_core.results import gates
    from gnet_core.stats import verdicts
    from gnet_core.system.claims import claimed_empty

    fraction = verdicts.require_margin(margin)
    if fraction < MIN_USUAL_MARGIN:
        complain(
            f"margin: {margin} is taken as {margin} %; is it meant as a fraction? then write {100 * float(margin):g}"
        )
    compared = comparison.compare(
        _load(base),
        _load(new),
        fraction,
        across_machines=across_machines,
        like_base=[_load(directory) for directory in like_base],
        require_common="missing" not in fail_on,
    )
    failed = gates.failed_between(compared.base, compared.new, compared.between, fail_on)
    if out is not None:
        with claimed_empty(out):
            comparison.write(compared, failed, out)
    if as_json:
        print_json(comparison.to_json(compared, failed))
    else:
        print_document(comparison.document(compared, {}, with_pictures=False))
        print_gates(failed)
        if out is not None:
            print(f"\nReport: {out / comparison.HTML_FILE}")
    return GATE_FAILED if failed else FINE


def _compare_profiles(base: Path, new: Path, out: Path | None, *, as_json: bool) -> int:
    from gnet_core.profile import comparison as profile_comparison
    from gnet_core.report import profile_comparison as profile_comparison_report
    from gnet_core.system.claims import claimed_empty

    for name in ("margin", "fail_on", "across_machines", "like_base"):
        if options.is_given(name):
            raise GnetError(f"{name}: it belongs to verdicts, which profiles carry none of; leave it out")
    compared = profile_comparison.compare(profile_comparison.load(base), profile_comparison.load(new))
    out = out or options.default_directory("compare", "profiles")
    with claimed_empty(out):
        profile_comparison_report.write(compared, out)
    if as_json:
        print_json({"directory": str(out), **profile_comparison_report.to_json(compared)})
    else:
        print_document(profile_comparison_report.document(compared, with_pictures=False))
        print(f"\nReport: {out / 'report.html'} and report.md")
    return FINE


def _load(directory: Path) -> Run:
    from gnet_core.profile import document
    from gnet_core.results import records

    if document.is_profile(directory):
        raise GnetError(f"{directory}: it holds a profile; name two directories of gnet bench, or ask for --profiles")
    return records.load_run(directory)
