"""The command `gnet report`, and how a run that was read is written, printed and judged."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gnet_core.cli.options import (
    BAD_USAGE,
    CASES_FAILED,
    FINE,
    GATE_FAILED,
    as_json_option,
    complain,
    fail_on_option,
    print_document,
    print_json,
    takes,
)
from gnet_core.config import GnetError
from gnet_core.files.whole import GPU_CHECK, MAX_TEXT_BYTES
from gnet_core.plan.request import ReportRequest

if TYPE_CHECKING:
    from gnet_core.report.summary import Summary

_CHECK = f"{GPU_CHECK}.md"

_ONLY_READABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


class Unwritten(NamedTuple):
    """Documents that were not written."""

    why: str
    status: int
    """What the command ends with for it: FINE where it is no fault of the run or of the machine."""


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@fail_on_option("Exit with 1 where one fails; slower and unresolved are about sources that were compared.")
@as_json_option
@takes(ReportRequest)
def report(request: ReportRequest) -> int:
    """Build the report of RUN_DIR anew from its raw files.

    Documents of before are left as they were where raw files are missing by now, where RUN_DIR may only be read and
    while another process writes into it; what can be read is printed all the same.
    """
    from gnet_core.profile import document as profile_document
    from gnet_core.report.summary import Summary
    from gnet_core.results import gates, records

    run_dir, fail_on = request.run_dir, request.fail_on
    if not (run_dir / "run.json").exists() and (run_dir / _CHECK).exists():
        if fail_on:
            raise GnetError(
                f"fail_on: {fail_on[0]!r} is about runs of gnet bench, and the check in {run_dir} left none"
            )
        return _report_check(run_dir, as_json=request.as_json)
    if profile_document.is_profile(run_dir):
        if fail_on:
            raise GnetError(f"fail_on: {fail_on[0]!r} is about runs of gnet bench, and {run_dir} holds a profile")
        return _report_profile(run_dir, as_json=request.as_json)
    run = records.load_run(run_dir)
    failed = gates.failed_in(run, fail_on)  # refuses what cannot fail before anything is written
    summary = Summary(run)
    return tell_run(summary, failed, _rewrite_documents(summary), as_json=request.as_json)


def write_documents(summary: Summary) -> Unwritten | None:
    """Write the documents of a run whose directory this process has claimed; why not, where that cannot be done."""
    from gnet_core.report import run as reporting

    return _attempt(lambda: reporting.write(summary), contextlib.nullcontext())


def tell_run(
    summary: Summary, failed_gates: dict[str, list[str]], unwritten: Unwritten | None, *, as_json: bool
) -> int:
    """Print the report of a run, the gates that failed and why it was not written; return the exit status."""
    from gnet_core.report import run as reporting
    from gnet_core.report.profile import tensorboard_line
    from gnet_core.results import gates

    run = summary.run
    if as_json:
        print_json({**reporting.to_json(summary), "failed_gates": failed_gates})
    else:
        print_document(reporting.document(summary, with_pictures=False))
        tell_gates(failed_gates)
        if run.profiles:
            print(f"\nTrace: {tensorboard_line(run.directory)}")
        if unwritten is None:
            print(f"\nReport: {run.directory / reporting.HTML_FILE}")
    if unwritten is not None:
        complain(f"{run.directory}: its documents were not written: {unwritten.why}")
    if failed_gates:
        return GATE_FAILED
    if run.unread or gates.failures(run):
        return CASES_FAILED
    return unwritten.status if unwritten else FINE


def tell_gates(failed: dict[str, list[str]]) -> None:
    """Print the gates that failed, a line each with their cases."""
    from gnet_core.text import plain

    for gate, cases in failed.items():
        print(f"\nGate failed: {gate}: {plain(', '.join(cases))}")


def print_profile(document: dict[str, Any], directory: Path, *, as_json: bool) -> None:
    """Print what a profile tells."""
    from gnet_core.report import profile as reporting

    if as_json:
        print_json({"directory": str(directory), **document})
    else:
        print_document(reporting.document(document, with_pictures=False))
        print(f"\nReport: {directory / 'report.html'} and report.md\n\nTrace: {reporting.tensorboard_line(directory)}")


def _report_profile(directory: Path, *, as_json: bool) -> int:
    from gnet_core.report import profile as reporting
    from gnet_core.system.claims import claimed

    document = reporting.read(directory)
    unwritten = _attempt(lambda: reporting.write_documents(document, directory), claimed(directory))
    print_profile(document, directory, as_json=as_json)
    if unwritten is None:
        return FINE
    complain(f"{directory}: its documents were not written: {unwritten.why}")
    return unwritten.status


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


def _rewrite_documents(summary: Summary) -> Unwritten | None:
    """Write the documents anew unless those that are there tell more than can be read now."""
    from gnet_core.report import run as reporting
    from gnet_core.system.claims import claimed

    run = summary.run
    if run.unread and any(os.path.lexists(run.directory / name) for name in reporting.DOCUMENTS):
        more = f" (and {len(run.unread) - 1} more)" if len(run.unread) > 1 else ""
        why = f"those that are there may tell more, since a file of the run cannot be read now: {run.unread[0]}{more}"
        return Unwritten(why, CASES_FAILED)
    return _attempt(lambda: reporting.write(summary), claimed(run.directory))


def _attempt(write: Callable[[], None], claim: contextlib.AbstractContextManager[None]) -> Unwritten | None:
    from gnet_core.system.claims import BusyError

    try:
        with claim:
            write()
    except BusyError as error:
        return Unwritten(str(error), FINE)
    except (GnetError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        only_readable = isinstance(cause, OSError) and cause.errno in _ONLY_READABLE
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Unwritten(told, FINE if only_readable else BAD_USAGE)
    return None
