"""The command `gnet export`: a run's figures for another tool."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnet_core.cli import options
from gnet_core.cli.output import CASES_FAILED, FINE, complain
from gnet_core.config import GnetError, require_choice

if TYPE_CHECKING:
    from gnet_core.export.cases import Export

_TEXTS = {
    "github-action-benchmark": "github_action_benchmark",
    "bencher": "bencher",
    "openmetrics": "openmetrics",
    "csv": "process_table",
}
"""The formats that are one text, by their modules in gnet_core.export."""

FORMATS = (*_TEXTS, "asv", "parquet")

_TABLES = ("csv", "parquet")
"""Formats that say of each case whether its figures count; the others have those that do alone."""


@click.command()
@click.argument("run_dir", type=options.PATH)
@click.option("--to", "to", required=True, metavar="FORMAT", help=f"One of {', '.join(FORMATS)}.")
@click.option("--out", type=options.PATH, help="New file, or for asv a results directory; else a text goes to stdout.")
def export(run_dir: Path, to: str, out: Path | None) -> int:
    """Write the figures of RUN_DIR for another tool.

    Values are over processes, with their 95 % interval, and what failed is absent or null.

    \b
    github-action-benchmark  images/s, for its tool customBiggerIsBetter
    bencher                  Bencher Metric Format: throughput in images/s, latency in ns a step
    asv                      seconds a step, added to a results directory of asv's that may be there
    openmetrics              gauges with the time of the run, for promtool
    parquet                  a row a timed block (pip install 'gnet[parquet]')
    csv                      a line a process
    """
    from gnet_core.export.cases import Export
    from gnet_core.profile.document import is_profile
    from gnet_core.results import records

    require_choice("to", to, FORMATS)
    if out is None and to not in _TEXTS:
        raise GnetError(f"out: {to} cannot go to stdout; name a {'directory' if to == 'asv' else 'file'} to write")
    if is_profile(run_dir):
        raise GnetError(f"{run_dir}: it holds a profile; name a directory of gnet bench")
    run = records.load_run(run_dir)
    prepared = Export.of(run)
    if out is None:
        click.echo(_text(prepared, to), nl=False)
    else:
        _write(prepared, to, out)
    return _status(prepared, to)


def _text(prepared: Export, to: str) -> str:
    text: str = importlib.import_module(f"gnet_core.export.{_TEXTS[to]}").to_text(prepared)
    return text


def _write(prepared: Export, to: str, out: Path) -> None:
    """Write a new file, whole, or add to asv's results. Raises GnetError where that cannot be."""
    from gnet_core.export import parquet
    from gnet_core.files.whole import write_whole, written_whole

    try:
        if to == "asv":
            _add_to_asv(prepared, out)
        elif os.path.lexists(out):
            raise GnetError(f"out: {out} is there already; name a file that is not")
        elif to == "parquet":
            with written_whole(out) as file:
                parquet.write(prepared, file)
        else:
            write_whole(out, _text(prepared, to))
    except OSError as error:
        raise GnetError(f"out: {out} cannot be written ({error.strerror or error}); name a place that can") from error


def _add_to_asv(prepared: Export, out: Path) -> None:
    from gnet_core.export import asv
    from gnet_core.system.claims import claimed, claimed_empty

    results = asv.results(prepared)  # refuses before anything is made
    with (claimed if (out / asv.BENCHMARKS_FILE).exists() else claimed_empty)(out):
        asv.add(results, out)


def _status(prepared: Export, to: str) -> int:
    """Say what of the run is missing in the export; return the exit status. Other work is no failure."""
    from gnet_core.results import gates
    from gnet_core.text import plain

    run = prepared.run
    if run.unread:
        more = f" (and {len(run.unread) - 1} more)" if len(run.unread) > 1 else ""
        complain(f"{run.unread[0]}{more}")
    if failed := gates.failures(run):
        names = plain(", ".join(row.case for row in failed))
        complain(f"{run.directory}: {len(failed)} of its cases failed and have no figures: {names}")
    if to not in _TABLES and prepared.not_counted:
        names = plain(", ".join(case.row.case for case in prepared.not_counted))
        complain(f"{run.directory}: losses that are not finite, or not those of float32, so no figures of: {names}")
    return CASES_FAILED if run.unread or failed else FINE
