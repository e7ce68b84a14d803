"""The command `gnet report`, and how a run that was read is written, printed and judged."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gnet_core.cli import options
from gnet_core.cli.output import BAD_USAGE, CASES_FAILED, FINE, GATE_FAILED, complain, print_document, print_json
from gnet_core.config import GnetError
from gnet_core.files.whole import GPU_CHECK, MAX_TEXT_BYTES
from gnet_core.plan.request import ReportRequest

if TYPE_CHECKING:
    from gnet_core.report.summary import Summary

_CHECK = f"{GPU_CHECK}.md"


class Unwritten(NamedTuple):
    """Documents that were not written."""

    why: str
    status: int
    """The exit status for it: FINE where it is no fault of the run or of the machine."""


@click.command()
@click.argument("run_dir", type=options.PATH)
@options.fail_on("Exit with 1 where one fails; slower and unresolved are about sources that were compared.")
@options.as_json
@options.takes(ReportRequest)
def report(request: ReportRequest) -> int:
    """Build the report of RUN_DIR, of gnet bench, gnet profile or gnet train, anew from its raw files.

    Documents of before are left as they were where raw files are missing by now, where RUN_DIR may only be read and
    while another process writes into it; what can be read is printed all the same.
    """
    from gnet_core.report import run as reporting
    from gnet_core.report.summary import Summary
    from gnet_core.results import gates, looks, records

    run_dir, fail_on = request.run_dir, request.fail_on
    if other := _other_kind(run_dir):
        if fail_on:
            raise GnetError(f"fail_on: {fail_on[0]!r} is about runs of gnet bench, and {other.instead}")
        return other.report(run_dir, as_json=request.as_json)
    run = records.load_run(run_dir)
    looks.require_consistent(run)
    failed = gates.failed_in(run, fail_on)  # refuses what cannot fail before anything is written
    summary = Summary(run)
    if run.unread and any(os.path.lexists(run_dir / name) for name in reporting.DOCUMENTS):
        more = f" (and {len(run.unread) - 1} more)" if len(run.unread) > 1 else ""
        why = f"those that are there may tell more, since a file of the run cannot be read now: {run.unread[0]}{more}"
        unwritten: Unwritten | None = Unwritten(why, CASES_FAILED)
    else:
        unwritten = write_documents(lambda: reporting.write(summary), run_dir)
    return print_run(summary, failed, unwritten, as_json=request.as_json)


class _Kind(NamedTuple):
    """What a directory holds that is no run of gnet bench, in words, and what reports it."""

    instead: str
    report: Callable[..., int]


def _other_kind(directory: Path) -> _Kind | None:
    from gnet_core.profile.document import is_profile
    from gnet_core.training.document import is_training
    from gnet_core.training.session import SESSION_FILE

    if not (directory / "run.json").exists():
        if (directory / _CHECK).exists():
            return _Kind(f"the check in {directory} left none", _report_check)
        if is_training(directory):
            return _Kind(f"{directory} holds a training session", _report_training)
        if (directory / SESSION_FILE).exists():
            raise GnetError(f"{directory}: no epoch of its session is finished yet; go on with gnet train --resume")
    return _Kind(f"{directory} holds a profile", _report_profile) if is_profile(directory) else None


def write_documents(write: Callable[[], None], unclaimed: Path | None = None) -> Unwritten | None:
    """Write documents, in a directory `unclaimed` once it is claimed; return why they were not written, if so."""
    from gnet_core.system.claims import BusyError, claimed

    try:
        with claimed(unclaimed) if unclaimed else contextlib.nullcontext():
            write()
    except BusyError as error:
        return Unwritten(str(error), FINE)
    except (GnetError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        only_readable = isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Unwritten(why, FINE if only_readable else BAD_USAGE)
    return None


def print_run(summary: Summary, failed: dict[str, list[str]], unwritten: Unwritten | None, *, as_json: bool) -> int:
    """Print the report of a run, the gates that failed and why it was not written; return the exit status."""
    from gnet_core.report import run as reporting
    from gnet_core.report.profile import tensorboard_line
    from gnet_core.results import gates

    run = summary.run
    if as_json:
        print_json({**reporting.to_json(summary), "failed_gates": failed})
    else:
        print_document(reporting.document(summary, with_pictures=False))
        print_gates(failed)
        if run.profiles:
            print(f"\nTrace: {tensorboard_line(run.directory)}")
        if unwritten is None:
            print(f"\nReport: {run.directory / reporting.HTML_FILE}")
    status = complain_of(unwritten, run.directory)
    if failed:
        return GATE_FAILED
    return CASES_FAILED if run.unread or gates.failures(run) else status


def complain_of(unwritten: Unwritten | None, directory: Path) -> int:
    """Say why documents were not written, if they were not; return the exit status."""
    if unwritten is None:
        return FINE
    complain(f"{directory}: its documents were not written: {unwritten.why}")
    return unwritten.status


def print_gates(failed: dict[str, list[str]]) -> None:
    """Print the gates that failed, a line each with their cases."""
    from gnet_core.text import plain

    for gate, cases in failed.items():
        print(f"\nGate failed: {gate}: {plain(', '.join(cases))}")


def print_profile(document: dict[str, Any], directory: Path, *, as_json: bool) -> None:
    """Print the report of a profile."""
    from gnet_core.report import profile as reporting

    if as_json:
        print_json({"directory": str(directory), **document})
    else:
        print_document(reporting.document(document, with_pictures=False))
        trace = reporting.why_no_trace(document, directory) or reporting.tensorboard_line(directory)
        print(f"\nReport: {directory / 'report.html'} and report.md\n\nTrace: {trace}")


def _report_profile(directory: Path, *, as_json: bool) -> int:
    from gnet_core.report import profile as reporting

    document = reporting.read(directory)
    unwritten = write_documents(lambda: reporting.write_documents(document, directory), directory)
    print_profile(document, directory, as_json=as_json)
    return complain_of(unwritten, directory)


def _report_training(directory: Path, *, as_json: bool) -> int:
    import msgspec

    from gnet_core.report import training as reporting
    from gnet_core.training.document import read_training

    training = read_training(directory)
    unwritten = write_documents(lambda: reporting.write(directory, training), directory)
    if as_json:
        print_json({"directory": str(directory), **msgspec.to_builtins(training)})
    else:
        print_document(reporting.document(training, with_pictures=False))
        print(f"\nReport: {directory / 'report.html'} and report.md")
    return complain_of(unwritten, directory)


def _report_check(directory: Path, *, as_json: bool) -> int:
    """Print the list of a check of a GPU that ended before its run began."""
    from gnet_core.files import bounded
    from gnet_core.files.json_documents import read_json
    from gnet_core.text import plain

    if as_json:
        print_json(read_json(directory / f"{GPU_CHECK}.json", directory)[0])
    else:
        text = bounded.read_bytes(directory / _CHECK, directory, MAX_TEXT_BYTES).decode(errors="replace")
        print("\n".join(map(plain, text.splitlines())))
    complain(f"{directory}: a check that ended before its run of gnet bench; this is its list as it stood")
    return FINE
