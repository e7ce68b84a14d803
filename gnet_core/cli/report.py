"""The command `gnet report`, and how a run that was read is written, printed and judged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gnet_core.cli import options
from gnet_core.cli.gate import Gate, print_gates
from gnet_core.cli.output import (
    CASES_FAILED,
    FINE,
    GATE_FAILED,
    Unwritten,
    complain,
    print_document,
    print_json,
    write_documents,
)
from gnet_core.config import GnetError
from gnet_core.files.whole import GPU_CHECK, MAX_TEXT_BYTES
from gnet_core.plan.request import ReportRequest

if TYPE_CHECKING:
    from gnet_core.report.summary import Summary
    from gnet_core.results.gates import GateResult
    from gnet_core.time_to_accuracy.document import TimeToAccuracy

_CHECK = f"{GPU_CHECK}.md"


@click.command()
@click.argument("run_dir", type=options.PATH)
@options.gate("Exit with 1 where one fails; slower and unresolved are about sources that were compared.")
@options.as_json
@options.takes(ReportRequest)
def report(request: ReportRequest) -> int:
    """Build the report of RUN_DIR, of gnet bench, gnet profile or gnet train, anew from its raw files.

    Documents of before are left as they were where raw files are missing by now, where RUN_DIR may only be read and
    while another process writes into it; what can be read is printed all the same.
    """
    from gnet_core.report import run as reporting
    from gnet_core.report.summary import Summary
    from gnet_core.results import gates, looks, outcomes, records

    run_dir = request.run_dir
    if other := _other_kind(run_dir):
        for name in filter(options.is_given, options.OF_GATE):
            raise GnetError(f"{name}: it is about runs of gnet bench, and {other.instead}")
        return other.report(run_dir, as_json=request.as_json)
    gate = Gate.of_request(request)
    run = records.load_run(run_dir)
    looks.require_consistent(run)
    result = gates.check_run(run, gate.fail_on, gate.rules)  # refuses what cannot fail before anything is written
    summary = Summary(run)
    if run.unread and any(os.path.lexists(run_dir / name) for name in reporting.DOCUMENTS):
        more = f" (and {len(run.unread) - 1} more)" if len(run.unread) > 1 else ""
        why = f"those that are there may tell more, since a file of the run cannot be read now: {run.unread[0]}{more}"
        unwritten: Unwritten | None = Unwritten(why, CASES_FAILED)
    else:
        unwritten = write_documents(lambda: reporting.write(summary), run_dir)
    status = print_run(summary, result, unwritten, as_json=request.as_json)
    written = gate.tell(result, lambda: outcomes.of_run(run, gate.fail_on, gate.rules))
    return status or written


class _Kind(NamedTuple):
    """What a directory holds that is no run of gnet bench, in words, and what reports it."""

    instead: str
    report: Callable[..., int]


def _other_kind(directory: Path) -> _Kind | None:
    from gnet_core.profile.document import is_profile
    from gnet_core.time_to_accuracy.document import is_time_to_accuracy
    from gnet_core.training.document import is_training
    from gnet_core.training.session import SESSION_FILE

    if not (directory / "run.json").exists():
        if (directory / _CHECK).exists():
            return _Kind(f"the check in {directory} left none", _report_check)
        if is_time_to_accuracy(directory):
            return _Kind(f"{directory} holds sessions of time-to-accuracy", _report_time_to_accuracy)
        if is_training(directory):
            return _Kind(f"{directory} holds a training session", _report_training)
        if (directory / SESSION_FILE).exists():
            raise GnetError(f"{directory}: no epoch of its session is finished yet; go on with gnet train --resume")
    return _Kind(f"{directory} holds a profile", _report_profile) if is_profile(directory) else None


def print_run(summary: Summary, result: GateResult, unwritten: Unwritten | None, *, as_json: bool) -> int:
    """Print the report of a run, what its gates came to and why it was not written; return the exit status."""
    from gnet_core.report import gates as gates_report
    from gnet_core.report import run as reporting
    from gnet_core.report.profile import tensorboard_line
    from gnet_core.results import gates

    run = summary.run
    if as_json:
        print_json({**reporting.to_json(summary), **gates_report.to_json(result)})
    else:
        print_document(reporting.document(summary, with_pictures=False))
        print_gates(result)
        if run.profiles:
            print(f"\nTrace: {tensorboard_line(run.directory)}")
        if unwritten is None:
            print(f"\nReport: {run.directory / reporting.HTML_FILE}")
    status = complain_of(unwritten, run.directory)
    if result.failed:
        return GATE_FAILED
    return CASES_FAILED if run.unread or gates.failures(run) else status


def complain_of(unwritten: Unwritten | None, directory: Path) -> int:
    """Say why documents were not written, if they were not; return the exit status."""
    if unwritten is None:
        return FINE
    complain(f"{directory}: its documents were not written: {unwritten.why}")
    return unwritten.status


def print_profile(document: dict[str, Any], directory: Path, *, as_json: bool) -> None:
    """Print the report of a profile."""
    from gnet_core.report import profile as reporting

    if as_json:
        print_json({"directory": str(directory), **document})
    else:
        print_document(reporting.document(document, with_pictures=False))
        trace = reporting.why_no_trace(document, directory) or reporting.tensorboard_line(directory)
        print(f"\nReport: {directory / 'report.html'} and report.md\n\nTrace: {trace}")


def print_sessions(directory: Path, document: TimeToAccuracy, *, as_json: bool) -> int:
    """Print the report of sessions; return the exit status."""
    import msgspec

    from gnet_core.report import time_to_accuracy as reporting
    from gnet_core.time_to_accuracy.document import OPEN_STATUSES
    from gnet_core.time_to_accuracy.evaluation import evaluate

    evaluation = evaluate(document)
    if as_json:
        plain = msgspec.to_builtins(document)
        print_json({"directory": str(directory), **plain, **reporting.to_json(evaluation)})
    else:
        print_document(reporting.document(evaluation, with_pictures=False))
        print(f"\nReport: {directory / 'report.html'} and report.md")
    broken = any(session.status not in (*OPEN_STATUSES, "finished") for session in document.sessions)
    return CASES_FAILED if broken else FINE


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


def _report_time_to_accuracy(directory: Path, *, as_json: bool) -> int:
    from gnet_core.report import time_to_accuracy as reporting
    from gnet_core.time_to_accuracy.document import read
    from gnet_core.time_to_accuracy.evaluation import evaluate

    document = read(directory)
    unwritten = write_documents(lambda: reporting.write(directory, evaluate(document)), directory)
    return complain_of(unwritten, directory) or print_sessions(directory, document, as_json=as_json)


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
