"""The command `gnet bench`: from what was asked to cases, a run, and its report."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnet_core.cli.options import (
    BAD_USAGE,
    BATCH_SIZE_LIST,
    EXECUTION_LIST,
    INTERRUPTED,
    PRECISION_LIST,
    Whole,
    as_json_option,
    choose_device,
    complain,
    default_directory,
    device_option,
    fail_on_option,
    layers_option,
    now,
    out_option,
    require_case_name,
    require_device_form,
    require_utf8,
    seed_option,
    takes,
    widths_option,
)
from gnet_core.cli.report import tell_run, write_documents
from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.request import BenchRequest, command_line

if TYPE_CHECKING:
    from gnet_core.plan.suites import Axis, PlannedCase, Preset, Source, SuiteDescription, Sweep
    from gnet_core.results.run_document import RunDocument
    from gnet_core.run.runner import Runner
    from gnet_core.run.worker import RunSettings

_IDENTITY = re.compile(r"[0-9a-f]{32}")
"""Of a run: what uuid4 gives."""

MEMORY_SHARE = 0.7
"""Of the memory that is free, what a run may take unless told otherwise."""


@click.command()
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@click.option("--preset", default="quick", show_default=True, metavar="smoke|quick|full|check", help="How thoroughly.")
@device_option
@click.option("--replicates", type=Whole("replicates"), help="Processes a case.")
@click.option("--execution", type=EXECUTION_LIST, help="Only these, separated by commas: eager, graph, xla.")
@click.option("--precision", type=PRECISION_LIST, help="Only these: float32, tf32, mixed_bfloat16, mixed_float16.")
@click.option("--batch-size", type=BATCH_SIZE_LIST, help="Only these, such as 8,16,32.")
@layers_option
@widths_option
@click.option("--image-size", type=Whole("image_size"), help="Pixels a side.")
@click.option("--data", default="synthetic", show_default=True, metavar="NAME_OR_PATH", help="What is fed to the step.")
@seed_option
@click.option("--memory", type=Whole("memory"), metavar="BYTES", help="For all workers; else 70 % of what is free.")
@click.option("--worker-memory", type=Whole("worker_memory"), metavar="BYTES", help="Of a GPU, each; else measured.")
@click.option("--profile", is_flag=True, help="Trace a case as well, and report where its time goes.")
@click.option("--aa", is_flag=True, help="Compare a case with itself as well: the machine's own noise.")
@click.option(
    "--python",
    multiple=True,
    metavar="NAME=INTERPRETER",
    help="Measure from this one; several: compare. Named torch, jax or tensorflow it runs that framework's rows alone.",
)
@click.option("--against", metavar="REV", help="Compare the working tree with this git revision.")
@out_option("<date-time>-<device>")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with the interrupted run in this directory.")
@fail_on_option("Exit with 1 where one fails; slower and unresolved are about --against or several --python.")
@as_json_option
@takes(BenchRequest)
def bench(request: BenchRequest) -> int:
    """Measure SUITEs (throughput, execution, precision, batch-size, parts, auxiliary, implementation, frameworks;
    none named: what the preset has) and write a run directory.
    """
    from gnet_core.files.whole import require_empty
    from gnet_core.results import gates
    from gnet_core.run import resuming
    from gnet_core.run.sources import is_of_framework
    from gnet_core.system import claims

    out, resume = request.out, request.resume
    if resume is not None and out is not None:
        raise GnetError(f"out: {out} cannot be named beside --resume, which goes on in its own directory")
    if out is not None:
        require_empty(out)
    measured = request
    with contextlib.ExitStack() as stack:
        previous = None
        if resume is not None:
            previous = _claim_previous(resume, stack)
            recorded = resuming.require_options(resume / "run.json", previous.options, previous.memory_bytes)
            _refuse_what_differs(request, recorded, resume)
            resuming.require_sources_named(recorded, request, resume)
            measured = dataclasses.replace(recorded, memory=previous.memory_bytes)
        sources_compared = [pair for pair in measured.python if not is_of_framework(pair)]
        gates.require_sources(request.fail_on, compared=bool(measured.against) or len(sources_compared) > 1)
        plan = _Plan(measured, stack)
        directory = resume or out or default_directory("", plan.device)
        require_utf8("out", directory.resolve())
        if resume is None:
            stack.enter_context(claims.claimed_empty(directory))
        runner, settings = plan.runner(directory, previous)
        to_resume = BenchRequest(resume=directory.resolve(), python=measured.python, against=measured.against)
        return _run_and_report(runner, settings, plan.profiled, request, to_resume)


def _claim_previous(directory: Path, stack: contextlib.ExitStack) -> RunDocument:
    """The run.json of a run to go on with, which nobody else changes until the stack is left."""
    from gnet_core.results import records
    from gnet_core.system import claims

    records.read_run_document(directory)  # a directory that holds no run is told so, and left as it is
    stack.enter_context(claims.claimed(directory))
    document = records.read_run_document(directory)  # its last holder may have changed it
    if not _IDENTITY.fullmatch(document.run):
        raise GnetError(f"resume: {directory / 'run.json'} has no identity, as older versions wrote it; start anew")
    return document


class _Plan:
    """What was asked, turned into cases, sources and settings. Raises GnetError for what cannot be done."""

    def __init__(self, asked: BenchRequest, stack: contextlib.ExitStack) -> None:
        from gnet_core.plan import suites as sweep
        from gnet_core.run import runner, sources

        self._asked = asked
        # What can be told at once is told before TensorFlow is asked about its devices.
        sweep.preset_for(asked.preset, "cpu")
        code = stack.enter_context(sources.code_folder())
        self._here = sources.working_tree(runner.find_checkout(Path.cwd()), code / "here")
        self._found = runner.choose_suites(runner.discover(self._here.checkout), asked.suites, asked.preset)
        self._data = _Data.of(asked.data)
        StepConfig(
            data=self._data.name,
            seed=asked.seed,
            image_size=asked.image_size or StepConfig().image_size,
            layers=asked.layers,
            widths=asked.widths,
        )
        require_device_form(asked.device)
        self._sources = self._find_sources(code)
        self._environments = runner.probe_all([source for name, source in self._sources.items() if name != sweep.AGAIN])
        if sweep.AGAIN in self._sources:
            self._environments[sweep.AGAIN] = next(iter(self._environments.values()))
        self.environment = runner.deciding(self._environments)
        self.device = choose_device(asked.device, self.environment)
        self._preset: Preset = sweep.preset_for(asked.preset, self.device)
        template = StepConfig(
            device=self.device,
            image_size=asked.image_size or self._preset.image_size,
            layers=asked.layers,
            widths=asked.widths,
            data=self._data.name,
            seed=asked.seed,
            classes=self._data.classes,
        )
        axes: tuple[Axis, ...] = sweep.AXES
        chosen = {axis: values for axis in axes if (values := getattr(asked, axis))}
        self._sweep: Sweep = sweep.Sweep(preset=self._preset, template=template, chosen=chosen)
        self._planned = self._plan_cases()
        self.profiled = self._sweep.cases()[0] if asked.profile else None

    def runner(self, directory: Path, previous: RunDocument | None) -> tuple[Runner, RunSettings]:
        """The run to be, in a directory that is made for it or with whatever a previous run has finished in it."""
        from gnet_core.files.whole import RUN_FORMAT_VERSION
        from gnet_core.machine.description import available_memory_bytes
        from gnet_core.plan import suites as sweep
        from gnet_core.results.run_document import MAX_RAW_FILES, RunDocument
        from gnet_core.run import resuming
        from gnet_core.run.runner import Runner, make_states
        from gnet_core.run.sources import HERE, digests
        from gnet_core.run.worker import RunSettings

        asked = self._asked
        code = {name: digests(source) for name, source in self._sources.items() if name != sweep.AGAIN}
        states = make_states(self._planned, self._found, self._sources, self._environments, self._data.train_images)
        replicates = asked.replicates or self._preset.replicates
        if replicates * len(states) > MAX_RAW_FILES:
            raise GnetError(
                f"replicates: {replicates!r:.30} processes of each of {len(states)} cases are more than the "
                f"{MAX_RAW_FILES} that a report reads; use at most {MAX_RAW_FILES // len(states)}"
            )
        if previous is not None:
            if previous.data_fingerprint != self._data.fingerprint:
                raise GnetError(
                    f"resume: data {self._data.name!r} is not what {directory} was started with; start anew"
                )
            resuming.require_same_code(directory, previous.code, code)
            resuming.require_same_environments(directory, previous.environments, self._environments)
        _require_room_for_names(directory, [state.case.name for state in states])
        settings = RunSettings(
            directory=directory.resolve(),
            plan=self._preset.plan,
            replicates=replicates,
            memory_bytes=asked.memory or int(MEMORY_SHARE * available_memory_bytes()),
            seed=asked.seed,
            run=previous.run if previous else uuid.uuid4().hex,
            worker_bytes=asked.worker_memory,
            with_peaks=self._preset.with_peaks,
            sources=self._sources,
            # Beside an older revision the working tree, which knows how to.
            own_source=self._sources.get(HERE) or next(iter(self._sources.values())),
            environments=self._environments,
        )
        document = RunDocument(
            format_version=RUN_FORMAT_VERSION,
            run=settings.run,
            created=previous.created if previous else now(),
            options=previous.options if previous else dataclasses.replace(asked, data=self._data.name).to_dict(),
            preset=asked.preset,
            device=self.device,
            seed=asked.seed,
            replicates=replicates,
            plan=settings.plan,
            memory_bytes=settings.memory_bytes,
            environment=self.environment,
            environments=self._environments,
            code=code,
            data_fingerprint=self._data.fingerprint,
            suites=tuple(self._described_suites()),
            complete=False,
            peaks=previous.peaks if previous else (),
            profile_note=previous.profile_note if previous else None,
            gpu_memory=previous.gpu_memory if previous else None,
            cohorts=(),
            cases=(),
        )
        standing = None
        if previous is not None:
            standing = resuming.standing_of(directory, previous, states, replicates)
        suites = [item.suite for item in self._found]
        return Runner(states, suites, settings, document, standing, self._data.require_unchanged), settings

    def _find_sources(self, code: Path) -> dict[str, Source]:
        from gnet_core.plan import suites as sweep
        from gnet_core.run import runner, sources

        asked = self._asked
        for pair in asked.python:
            require_utf8("python", pair)
        require_utf8("against", asked.against or "")
        named = sources.with_interpreters(self._here, sources.interpreters(asked.python))
        found = {source.name: source for source in named}
        if asked.against is not None:
            if named[0].name:
                raise GnetError(f"against: {asked.against!r} cannot be named beside --python; compare one thing")
            old = sources.revision(asked.against, runner.find_checkout(Path.cwd()), code / "revision")
            # Peers are measured from the working tree alone: a revision from before they were told of knows none.
            old = dataclasses.replace(old, python=named[0].python)
            found = {old.name: old, sources.HERE: dataclasses.replace(named[0], name=sources.HERE)}
        if asked.aa:
            first = next(iter(found.values()))
            found[sweep.AGAIN] = dataclasses.replace(first, name=sweep.AGAIN)
        return found

    def _plan_cases(self) -> list[PlannedCase]:
        from gnet_core.plan import suites as sweep
        from gnet_core.run import runner

        sources = [source for name, source in self._sources.items() if name != sweep.AGAIN]
        planned = sweep.plan_cases([item.suite for item in self._found], self._sweep, sources)
        if self._asked.aa:
            usual = self._sweep.cases()[0]
            able = [case for case in planned if not runner.why_not(case, self._sources, self._environments)] or planned
            twin = next((case for case in able if case.config == usual), able[0])
            planned.append(dataclasses.replace(twin, suites=("aa",), source=sweep.AGAIN))
        return planned

    def _described_suites(self) -> list[SuiteDescription]:
        from gnet_core.plan import suites as sweep

        described = [item.suite.describe() for item in self._found]
        first, *others = [name for name in self._sources if name != sweep.AGAIN]
        of_sources: dict[str, Any] = {"view": "comparison", "base": first, "base_fields": {}, "costs": ""}
        if others:
            question = f"How fast are the same cases from {', '.join(others)} as from {first}?"
            varies = sweep.SOURCE
            described.append(sweep.SuiteDescription(name="sources", question=question, varies=varies, **of_sources))
        if sweep.AGAIN in self._sources:
            question = "How far is identical code from itself here?"
            described.append(sweep.SuiteDescription(name="aa", question=question, varies=None, **of_sources))
        return described


def _require_room_for_names(directory: Path, cases: list[str]) -> None:
    """Raise GnetError where a case's files could not have their names, before anything is measured."""
    from gnet_core.files.whole import PARTIAL_PREFIX

    longest = max(cases, key=len)
    for case in cases:
        require_case_name(case)
    attempt = Path(f"{longest}.r{10**4}.json")
    try:
        with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=directory) as folder:
            (folder / attempt).touch()
    except OSError as error:
        raise GnetError(
            f"out: {directory} can hold no file named {attempt} ({error.strerror}); name a folder that can, or give "
            "the data a shorter name"
        ) from error


def _refuse_what_differs(asked: BenchRequest, before: BenchRequest, directory: Path) -> None:
    """Raise GnetError for an option that was given and is not what the run was started with."""
    from gnet_core.datasets.catalog import absolute

    context = click.get_current_context()
    for name in asked.to_dict():
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        value, was = getattr(asked, name), getattr(before, name)
        if (absolute(value) if name == "data" else value) != was:
            # Sources have to be named where there are any (see resuming.require_sources_named).
            then = "name just that" if was and name in ("python", "against") else "leave it out"
            raise GnetError(f"{name}: {value!r} was asked, but {directory} was started with {was!r}; {then}")


def _run_and_report(
    runner: Runner, settings: RunSettings, profiled: StepConfig | None, asked: BenchRequest, to_resume: BenchRequest
) -> int:
    # The report's modules too are imported before the run: their files may change while it goes on.
    import gnet_core.report.run
    import gnet_core.report.terminal  # noqa: F401
    from gnet_core.report.summary import Summary
    from gnet_core.results import gates, records
    from gnet_core.run.cohort import expected_seconds

    print(_what_can_be_told(settings), file=sys.stderr)
    expected = sum(expected_seconds(job.case.config, settings.plan) for job in runner.open_jobs())
    with _progress_bar(expected) as progress:
        try:
            complete, stopped = runner.run(progress, profiled), ""
        except GnetError as error:  # what was finished before is told all the same
            complete, stopped = False, str(error)
    result = records.load_run(settings.directory)
    failed = gates.failed_in(result, asked.fail_on if complete else ())
    summary = Summary(result)
    status = tell_run(summary, failed, write_documents(summary), as_json=asked.as_json)
    if stopped:
        complain(stopped)
        return BAD_USAGE
    if not complete:
        complain(f"interrupted; what was finished is in {settings.directory}; go on by: {command_line(to_resume)}")
        return INTERRUPTED
    return status


def _what_can_be_told(settings: RunSettings) -> str:
    from gnet_core.stats import ratio

    processes, turns = settings.replicates, settings.plan.turns
    effect = ratio.resolvable_effect(processes, turns)
    if effect is None:
        return f"1 process × {turns} turns a case: a first look; it cannot tell any effect from chance"
    return (
        f"{processes} processes × {turns} turns a case: on a shared machine they find a difference of "
        f"{effect:.1%} 9 times in 10; the report tells what they could find here"
    )


@contextmanager
def _progress_bar(expected_seconds: float) -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr. Its unit is a second of expected work, so its time left follows the machine's real speed."""
    from tqdm import tqdm

    shape = "{percentage:3.0f}%|{bar:20}| {elapsed} gone, {remaining} left | {desc}"
    with tqdm(total=expected_seconds, bar_format=shape, smoothing=0, dynamic_ncols=True, file=sys.stderr) as bar:

        def progress(what: str, seconds: float) -> None:
            bar.set_description_str(what, refresh=False)
            bar.update(min(seconds, expected_seconds - bar.n))
            bar.refresh()

        yield progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Data:
    """What a run has to know of what is fed to its steps."""

    name: str
    """Of the data set, or its absolute path: workers run in another directory."""
    classes: int
    train_images: float
    fingerprint: str

    @classmethod
    def of(cls, name: str) -> _Data:
        if name == "synthetic":
            return cls(name=name, classes=StepConfig().classes, train_images=math.inf, fingerprint="")
        from gnet_core.datasets.catalog import absolute, fingerprint, open_data

        data = open_data(name)
        require_utf8("data", absolute(name))
        return cls(
            name=absolute(name), classes=data.classes, train_images=len(data.train), fingerprint=fingerprint(data)
        )

    def require_unchanged(self) -> None:
        """Raise GnetError where it is not what it was; other images make another step."""
        if self != _Data.of(self.name):
            raise GnetError(f"data: {self.name!r} changed while it was measured, so the last processes do not count")
