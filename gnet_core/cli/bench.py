"""The command `gnet bench`: a request, the run that it takes, and its report."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnet_core.cli import options
from gnet_core.cli.gate import Gate
from gnet_core.cli.output import BAD_USAGE, FINE, INTERRUPTED, Unwritten, complain, write_documents
from gnet_core.cli.report import print_run
from gnet_core.cli.time_to_accuracy import time_to_accuracy
from gnet_core.config import FRAMEWORKS, GnetError, StepConfig
from gnet_core.plan.request import BenchRequest, command_line

if TYPE_CHECKING:
    from gnet_core.report.summary import Summary
    from gnet_core.results.run_document import RunDocument
    from gnet_core.run.runner import Runner
    from gnet_core.run.worker import RunSettings
    from gnet_core.system.cluster import Cluster

_IDENTITY = re.compile(r"[0-9a-f]{32}")
"""A run's identity, which uuid4 gives."""


class _Bench(click.Command):
    """Hands over to the suite whose options are its own where that is what it is called for."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] == [time_to_accuracy.name]:
            return time_to_accuracy.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=_Bench)
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@click.option("--preset", default="quick", show_default=True, metavar="smoke|quick|full|check", help="How thoroughly.")
@options.device
@click.option("--replicates", type=options.WHOLE, help="Processes a case; as many and no more.")
@click.option(
    "--until",
    type=options.UNTIL,
    metavar="resolved|fixed",
    help="resolved: go on until every comparison is settled or the budget is spent; fixed: as many processes as the "
    "preset has. Else the preset's.",
)
@click.option("--budget", type=options.DURATION, metavar="DURATION", help="Wall time until resolved, such as 20m.")
@click.option("--execution", type=options.EXECUTION_LIST, help="Only these, separated by commas: eager, graph, xla.")
@click.option(
    "--precision", type=options.PRECISION_LIST, help="Only these: float32, tf32, mixed_bfloat16, mixed_float16."
)
@click.option("--batch-size", type=options.WHOLES, help="Only these, such as 8,16,32.")
@click.option("--replicas", type=options.WHOLES, help="Devices a process, such as 1,2,4: of the suites of scaling.")
@click.option("--workers", type=options.WHOLES, help="Processes that take a step together: of the suites of scaling.")
@click.option("--case", multiple=True, metavar="NAME", help="Only this case of the suites, set beside no other case.")
@options.layers
@options.widths
@click.option("--image-size", type=options.WHOLE, help="Pixels a side.")
@options.data("synthetic")
@options.seed
@click.option("--memory", type=options.WHOLE, metavar="BYTES", help="For all workers; else 70 % of what is free.")
@click.option("--worker-memory", type=options.WHOLE, metavar="BYTES", help="Of a GPU, each; else measured.")
@click.option("--profile", is_flag=True, help="Trace a case as well, and report where its time goes.")
@click.option("--aa", is_flag=True, help="Compare a case with itself as well: the machine's own noise.")
@click.option(
    "--python",
    multiple=True,
    metavar="NAME=INTERPRETER",
    help="Measure from this one; several: compare. Named torch, jax or tensorflow it runs that framework's rows alone.",
)
@click.option("--against", metavar="REV", help="Compare the working tree with this git revision.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VARIABLE=VALUE[,…]",
    help="Compare with these environment variables, such as onednn0=TF_ENABLE_ONEDNN_OPTS=0; several: each for itself.",
)
@click.option(
    "--sources", metavar="FILE", help="Compare the sources of this TOML file, in place of --python and --against."
)
@click.option("--base", metavar="NAME", help="The source that the others are compared with; else the first.")
@options.out("<date-time>-<device>")
@click.option("--resume", type=options.PATH, help="Go on with the interrupted run in this directory.")
@click.option("--dry-run", is_flag=True, help="Measure nothing: print cases, cohorts, predicted time and memory.")
@options.gate("Exit with 1 where one fails; slower and unresolved are about sources that are compared.")
@options.as_json
@options.takes(BenchRequest)
def bench(request: BenchRequest) -> int:
    """Measure SUITEs (throughput, execution, precision, batch-size, parts, auxiliary, implementation, frameworks,
    scaling, and what else benchmarks/ has; none named: those of the preset) and write a run directory.

    gnet bench time-to-accuracy trains whole sessions instead, and has options of its own: see its --help.
    """
    from gnet_core.cli.bench_plan import BenchPlan
    from gnet_core.cli.forecast import print_forecast
    from gnet_core.files.whole import require_empty
    from gnet_core.results import gates, looks, records
    from gnet_core.run import resuming
    from gnet_core.run.forecast import forecast
    from gnet_core.run.hosts import gathered
    from gnet_core.system import claims

    began = time.monotonic()
    out, resume = request.out, request.resume
    if time_to_accuracy.name in request.suites:
        raise GnetError(
            f"suite: {time_to_accuracy.name!r} has options of its own and runs beside no other; "
            f"use gnet bench {time_to_accuracy.name}, and its options behind that"
        )
    if resume is not None and out is not None:
        raise GnetError(f"out: {out} cannot be named beside --resume, which goes on in its own directory")
    cluster = _cluster_of(request)
    if cluster is not None and not cluster.reports:
        return _join(cluster, request)  # which writes nothing into the directory, that hosts may share
    if out is not None:
        require_empty(out)
    gate = Gate.of_request(request)
    measured = request
    with contextlib.ExitStack() as stack:
        previous = None
        if resume is not None:
            previous = _claim_previous(resume, stack)
            recorded = resuming.require_options(resume / "run.json", previous.options, previous.memory_bytes)
            _refuse_what_differs(request, recorded, resume)
            resuming.require_sources_named(recorded, request, resume)
            looks.require_consistent(records.load_run(resume))
            measured = dataclasses.replace(recorded, memory=previous.memory_bytes)
        pythons = [pair for pair in measured.python if pair.partition("=")[0] not in FRAMEWORKS]
        compared = bool(measured.against or measured.settings or measured.sources) or len(pythons) > 1
        gates.require_sources(request.fail_on, compared=compared)
        plan = BenchPlan(measured, stack, cluster)
        gates.require_sources(request.fail_on, compared=plan.compares_sources)
        directory = resume or out or options.default_directory("", plan.device)
        options.require_utf8("out", str(directory.resolve()))
        if resume is None:
            stack.enter_context(claims.claimed_empty(directory))
        hosts = None
        if cluster is not None and not request.dry_run:
            complain(f"note: waiting for {', '.join(cluster.addresses[1:])} to join")
            hosts = stack.enter_context(gathered(cluster))
        runner, settings = plan.make_runner(directory, previous, request.budget, began, hosts)
        if request.dry_run:
            print_forecast(forecast(runner, settings, traces=plan.profiled is not None), as_json=request.as_json)
            return FINE  # the directory that was claimed goes again, as nothing was written into it
        to_resume = measured.to_resume(directory.resolve())
        return _run_and_report(runner, settings, plan.profiled, request, gate, to_resume)


def _asked(request: BenchRequest) -> BenchRequest:
    """The request of what is measured: where a run is gone on with, the one that it was started with."""
    from gnet_core.results import records
    from gnet_core.run import resuming

    if request.resume is None:
        return request
    document = records.read_run_document(request.resume)
    return resuming.require_options(request.resume / "run.json", document.options, document.memory_bytes)


def _cluster_of(request: BenchRequest) -> Cluster | None:
    """The processes of gnet bench that the site has started together, where several workers are asked for: else each of
    them measures its own host. Raises GnetError for variables that do not tell where they are.
    """
    from gnet_core.system.cluster_variables import cluster_of

    return cluster_of() if max(_asked(request).workers or (1,)) > 1 else None


def _join(cluster: Cluster, request: BenchRequest) -> int:
    """Take part in the run of the cluster's first host, until that has ended."""
    from gnet_core.cli.bench_plan import BenchPlan

    with contextlib.ExitStack() as stack:
        plan = BenchPlan(_asked(request), stack, cluster)
        if not request.dry_run:
            complain(f"note: {cluster.addresses[cluster.index]} takes part in the run of {cluster.addresses[0]}")
            plan.join(cluster)
    return FINE


def _claim_previous(directory: Path, stack: contextlib.ExitStack) -> RunDocument:
    """The run.json of a run to go on with, which nobody else changes until the stack is left."""
    from gnet_core.results import records
    from gnet_core.system import claims

    records.read_run_document(directory)  # a directory that holds no run is refused, and left as it is
    stack.enter_context(claims.claimed(directory))
    document = records.read_run_document(directory)  # its last holder may have changed it
    if not _IDENTITY.fullmatch(document.run):
        raise GnetError(f"resume: {directory / 'run.json'} has no identity, as older versions wrote it; start anew")
    return document


def _absolute(name: str, value: Any) -> Any:
    """An option's value as run.json records it."""
    from gnet_core.datasets.catalog import absolute

    if name == "sources":
        return str(Path(value).absolute())
    return absolute(value) if name == "data" else value


def _refuse_what_differs(request: BenchRequest, before: BenchRequest, directory: Path) -> None:
    """Raise GnetError for an option that was given and is not what the run was started with."""
    for name in filter(options.is_given, request.to_dict()):
        if name == "budget":  # which a run that goes on is given anew
            continue
        value, was = getattr(request, name), getattr(before, name)
        if (_absolute(name, value) if value is not None else None) != was:
            # Sources have to be named where there are any (see resuming.require_sources_named).
            named_again = was and name in BenchRequest.named_again
            then = "name just that" if named_again else "leave it out"
            raise GnetError(f"{name}: {value!r} was asked, but {directory} was started with {was!r}; {then}")


def _run_and_report(
    runner: Runner,
    settings: RunSettings,
    profiled: StepConfig | None,
    request: BenchRequest,
    gate: Gate,
    to_resume: BenchRequest,
) -> int:
    from gnet_core.results import gates, outcomes

    ended = measure(runner, settings, profiled)
    run = ended.summary.run
    result = gates.check_run(run, gate.fail_on if ended.complete else (), gate.rules)
    status = print_run(ended.summary, result, ended.unwritten, as_json=request.as_json)
    told = gate.tell(result, lambda: outcomes.of_run(run, gate.fail_on, gate.rules))
    return ended.why_incomplete(to_resume) or status or told


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that has ended, as it should or not, with its report."""

    summary: Summary
    complete: bool
    stopped: str
    """Why it could not go on; empty where it was only interrupted."""
    unwritten: Unwritten | None

    def why_incomplete(self, to_resume: BenchRequest) -> int:
        """Say why the run is not complete and how it is gone on with; return the exit status, FINE where it is."""
        if self.stopped:
            complain(self.stopped)
            return BAD_USAGE
        if not self.complete:
            directory = self.summary.run.directory
            complain(f"interrupted; what was finished is in {directory}; go on by: {command_line(to_resume)}")
            return INTERRUPTED
        return FINE


def measure(runner: Runner, settings: RunSettings, profiled: StepConfig | None) -> Ended:
    """Run it, with its progress on stderr, and write its report."""
    # The report's modules too are imported before the run: their files may change while it goes on.
    import gnet_core.report.github
    import gnet_core.report.junit
    import gnet_core.report.terminal  # noqa: F401
    from gnet_core.cli import progress
    from gnet_core.report import run as reporting
    from gnet_core.report.summary import Summary
    from gnet_core.results import records
    from gnet_core.run.cohort import expected_seconds

    print(_resolution(runner.document), file=sys.stderr)
    expected = sum(expected_seconds(case.config, settings.plan) for case in runner.to_measure())
    with progress.shown(expected, runner.document) as shown:
        try:
            complete, stopped = runner.run(shown.advance, profiled, shown.look), ""
        except GnetError as error:  # what was finished before is reported all the same
            complete, stopped = False, str(error)
    summary = Summary(records.load_run(settings.directory))
    unwritten = write_documents(lambda: reporting.write(summary))
    runner.write()  # with the time that the report took
    return Ended(summary=summary, complete=complete, stopped=stopped, unwritten=unwritten)


def _resolution(document: RunDocument) -> str:
    """How long the run will go on, and the effect that it can detect, in a sentence."""
    from gnet_core.cli.progress import duration
    from gnet_core.plan.suites import Plan
    from gnet_core.stats import ratio, sequential
    from gnet_core.stats.verdicts import DEFAULT_MARGIN

    turns = (document.plan or Plan()).turns
    if document.until == "resolved":
        most = document.max_looks or sequential.MAX_LOOKS
        effect = ratio.resolvable_effect(most, turns, sequential.nominal_error(most, most))
        spent = ""
        if document.budget_seconds is not None:
            spent = f", or until {duration(document.left_seconds)} are spent"
        return (
            f"{sequential.FIRST_LOOK} to {most} processes × {turns} turns a case, until each comparison is settled "
            f"within {DEFAULT_MARGIN:.0%}{spent}: on a shared machine {most} find a difference of {effect:.1%} 9 times "
            "in 10; a larger one takes fewer"
        )
    processes = document.replicates
    effect = ratio.resolvable_effect(processes, turns)
    if effect is None:
        return f"1 process × {turns} turns a case: a first look; it cannot tell any effect from chance"
    return (
        f"{processes} processes × {turns} turns a case: on a shared machine they find a difference of "
        f"{effect:.1%} 9 times in 10; the report tells what they could find here"
    )
