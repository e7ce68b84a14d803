"""The command `gnet bench time-to-accuracy`: a request, the sessions that it takes, and their report."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnet_core.cli import options
from gnet_core.cli.output import (
    INTERRUPTED,
    complain,
    write_documents,
)
from gnet_core.cli.report import complain_of, print_sessions
from gnet_core.cli.train import KEPT_BYTES
from gnet_core.config import GnetError, StepConfig, slug
from gnet_core.plan.request import TimeToAccuracyRequest, command_line
from gnet_core.training.recipe import LEARNING_RATE, Recipe

if TYPE_CHECKING:
    from gnet_core.datasets.data_set import DataSet
    from gnet_core.time_to_accuracy.bench import Bench, Progress
    from gnet_core.time_to_accuracy.document import DataSize, SessionEntry, TimeToAccuracy

NAME = "time-to-accuracy"
TARGETS = {"digits": 98.5, "fashion-mnist": 92.0}
"""Test accuracies in percent that a session of the default recipe reaches towards its end."""

MAX_SEEDS = 1000


@click.command(NAME)
@options.data("digits", "digits, fashion-mnist, a folder, or tfds:NAME@DIR.")
@click.option("--target", type=options.NUMBER, metavar="PERCENT", help="Test accuracy; else what suits the data.")
@click.option("--epochs", type=options.WHOLE, default=10, show_default=True, help="Of each session.")
@click.option("--seeds", type=options.WHOLE, default=3, show_default=True, help="Sessions of each configuration.")
@options.seed
@click.option("--execution", type=options.EXECUTION_LIST, default=("graph",), help="Of eager, graph, xla; else graph.")
@click.option(
    "--precision",
    type=options.PRECISION_LIST,
    default=("float32", "mixed_bfloat16"),
    help="Of float32, tf32, mixed_bfloat16, mixed_float16; else float32,mixed_bfloat16.",
)
@click.option("--batch-size", type=options.WHOLE, default=32, show_default=True)
@click.option("--image-size", type=options.WHOLE, help="Pixels a side; else what suits the data.")
@options.recipe
@options.device
@click.option("--memory", type=options.WHOLE, metavar="BYTES", help="For images that are decoded once; else 1 GiB.")
@click.option("--stop-at-target", is_flag=True, help="End sessions there; accuracies at the end are not compared then.")
@click.option(
    "--margin",
    type=options.NUMBER,
    default=0.5,
    show_default=True,
    metavar="POINTS",
    help="By which a precision may end less accurate than float32 and count as good.",
)
@click.option("--budget", type=options.DURATION, metavar="DURATION", help="Wall time after which to stop, such as 2h.")
@options.mllog("Write MLPerf's log lines to FILE_0, FILE_1, …, which make no MLPerf result.")
@options.out("<date-time>-time-to-accuracy-<data>")
@click.option("--resume", type=options.PATH, help="Go on with the sessions in this directory.")
@options.as_json
@options.takes(TimeToAccuracyRequest)
def time_to_accuracy(request: TimeToAccuracyRequest) -> int:
    """Train sessions of each execution, precision and seed in turns, until their test accuracy reaches a target and on
    to the end; report what each took.
    """
    from gnet_core.files.whole import require_empty
    from gnet_core.machine.devices import require_precision
    from gnet_core.run import discovery, sources
    from gnet_core.system import claims
    from gnet_core.time_to_accuracy.bench import Bench
    from gnet_core.time_to_accuracy.document import RecordedCase, TimeToAccuracy

    if request.out is not None and request.resume is not None:
        raise GnetError(f"out: {request.out} cannot be named beside --resume, which goes on in its own directory")
    _require_possible(request)
    if request.out is not None:
        require_empty(request.out)
    with contextlib.ExitStack() as stack:
        previous = _claim_previous(request, request.resume, stack) if request.resume is not None else None
        asked = previous.request if previous else request
        target = _target(asked, previous)
        dataset = _open(asked)
        configs, recipe = _configs(asked, dataset), _recipe(asked, dataset)  # refused before TensorFlow is asked
        source = sources.working_tree(
            discovery.find_checkout(Path.cwd()), stack.enter_context(sources.code_folder()) / "here"
        )
        environment = discovery.probe(source)
        device = options.choose_device(asked.device, environment)
        for config in configs:
            require_precision(config.precision, device, environment)
        cases = [dataclasses.replace(config, device=device) for config in configs]
        document = TimeToAccuracy(
            format_version=1,
            created=options.now(),
            options=asked.to_dict() | {"data": dataset.name},
            environment=environment,
            code=sources.digest(source),
            target=target,
            recipe=recipe,
            data_set=_size(dataset),
            cases=[RecordedCase(case=config.name, config=config.to_dict()) for config in cases],
            sessions=_sessions(asked, cases),
        )
        if previous:
            document = _gone_on_with(previous, document, request.resume or Path())
        directory = request.resume or request.out or options.default_directory(NAME, slug(asked.data))
        options.require_utf8("out", str(directory.resolve()))
        if not previous:
            stack.enter_context(claims.claimed_empty(directory))
        if request.mllog is not None:
            _require_new_logs(request.mllog, document.sessions)
        budget = math.inf if request.budget is None else request.budget
        bench = Bench(
            directory,
            document,
            source,
            memory_bytes=asked.memory or KEPT_BYTES,
            mllog=request.mllog,
            budget_seconds=budget,
        )
        return _run_and_report(bench, directory, request)


def _require_possible(request: TimeToAccuracyRequest) -> None:
    """Raise GnetError for what can be refused before any data is opened."""
    if request.target is not None and not 0 < request.target <= 100:
        raise GnetError(
            f"target: {request.target!r} will not do; use a test accuracy above 0 and of at most 100 percent"
        )
    if not 0 < request.margin < 100:
        raise GnetError(f"margin: {request.margin!r} will not do; use percentage points above 0 and below 100")
    for field in ("execution", "precision"):
        values = getattr(request, field)
        if len(set(values)) < len(values):
            raise GnetError(f"{field}: {','.join(values)!r} names one twice; name each once")
    if request.seeds > MAX_SEEDS:
        raise GnetError(f"seeds: {request.seeds!r:.30} is too many; use at most {MAX_SEEDS}")
    options.require_device_form(request.device)


def _open(request: TimeToAccuracyRequest) -> DataSet:
    from gnet_core.datasets.catalog import absolute, open_data

    data = absolute(request.data)
    if data == "synthetic":
        raise GnetError("data: 'synthetic' has nothing to learn; use digits, fashion-mnist or a folder of images")
    options.require_utf8("data", data)
    dataset = open_data(data)
    for note in dataset.notes:
        complain(f"note: {note}")
    if request.batch_size > len(dataset.train):
        raise GnetError(
            f"batch_size: {request.batch_size} is too large; the data has only {len(dataset.train)} images to train on"
        )
    return dataset


def _target(request: TimeToAccuracyRequest, previous: TimeToAccuracy | None) -> float:
    """As a fraction. Raises GnetError for data of which nobody knows what is good enough."""
    if previous:
        return previous.target
    percent = TARGETS.get(request.data) if request.target is None else request.target
    if percent is None:
        known = " and ".join(TARGETS)
        raise GnetError(f"target: {request.data!r:.200} needs one; only {known} have a target of their own")
    return percent / 100


def _configs(request: TimeToAccuracyRequest, dataset: DataSet) -> list[StepConfig]:
    """The configurations on a CPU, as which each can be refused that nothing can train."""
    from gnet_core.networks.map_sizes import require_learnable

    configs = [
        StepConfig(
            execution=execution,
            precision=precision,
            batch_size=request.batch_size,
            image_size=request.image_size or dataset.default_image_size,
            classes=dataset.classes,
            learning_rate=LEARNING_RATE if request.learning_rate is None else request.learning_rate,
            data=dataset.name,
        )
        for execution in request.execution
        for precision in request.precision
    ]
    for config in configs:
        options.require_case_name(config.name)
        require_learnable(config)
    return configs


def _recipe(request: TimeToAccuracyRequest, dataset: DataSet) -> Recipe:
    given = {field.name: getattr(request, field.name) for field in dataclasses.fields(Recipe)}
    recipe = Recipe(**{**given, "augment": request.augment or dataset.default_augmentation})
    dataset.require_augmentation(recipe.augment)
    return recipe


def _sessions(request: TimeToAccuracyRequest, cases: Sequence[StepConfig]) -> list[SessionEntry]:
    """All that are to come, in their order. Raises GnetError for seeds beyond those that generators take."""
    from gnet_core.time_to_accuracy.document import SessionEntry
    from gnet_core.time_to_accuracy.schedule import in_turns

    seeds = range(request.seed, request.seed + request.seeds)
    StepConfig(seed=seeds[-1])
    return [SessionEntry(case=case, seed=seed) for case, seed in in_turns([case.name for case in cases], seeds)]


def _size(dataset: DataSet) -> DataSize:
    from gnet_core.datasets.catalog import fingerprint
    from gnet_core.time_to_accuracy.document import DataSize

    return DataSize(
        classes=dataset.classes,
        train_images=len(dataset.train),
        test_images=len(dataset.test),
        fingerprint=fingerprint(dataset),
    )


def _claim_previous(request: TimeToAccuracyRequest, directory: Path, stack: contextlib.ExitStack) -> TimeToAccuracy:
    """The document of sessions to go on with, which nobody else changes until the stack is left."""
    from gnet_core.system import claims
    from gnet_core.time_to_accuracy import document as documents

    if not documents.is_time_to_accuracy(directory):
        raise GnetError(
            f"resume: {str(directory / documents.DOCUMENT_FILE)!r} is missing; name a directory of gnet bench {NAME}"
        )
    stack.enter_context(claims.claimed(directory))
    previous = documents.read(directory)
    before = previous.request
    for name in filter(options.is_given, request.to_dict()):
        value, was = getattr(request, name), getattr(before, name)
        if name == "data":
            from gnet_core.datasets.catalog import absolute

            value = absolute(value)
        if value != was:
            raise GnetError(f"{name}: {value!r} was asked, but {directory} was started with {was!r}; leave it out")
    for session in previous.sessions:
        if session.test_accuracy and not (directory / session.folder).is_dir():
            raise GnetError(
                f"resume: {str(directory / session.folder)!r} is missing, of which {documents.DOCUMENT_FILE} has "
                f"{len(session.test_accuracy)} epochs; put it back, or start anew with --out"
            )
    return previous


def _gone_on_with(previous: TimeToAccuracy, now: TimeToAccuracy, directory: Path) -> TimeToAccuracy:
    """The document of before. Raises GnetError where what would be trained now is not what it was begun with."""
    from gnet_core.machine.differences import differences

    if previous.data_set != now.data_set:
        raise GnetError(f"resume: the images of {previous.request.data!r} have changed since {directory} was begun")
    if [case.step for case in previous.cases] != [case.step for case in now.cases] or previous.recipe != now.recipe:
        raise GnetError(f"resume: {directory} has other configurations than its options give here; start anew")
    if previous.code != now.code:
        raise GnetError(
            f"resume: the code is not what {directory} was begun with; put it back as it was, or start anew"
        )
    if changed := [one for one in differences(previous.environment, now.environment) if one.name != "commit"]:
        raise GnetError(f"resume: this is not what {directory} was begun with: {'; '.join(map(str, changed)):.400}")
    return previous


def _require_new_logs(pattern: Path, sessions: Sequence[SessionEntry]) -> None:
    """Raise GnetError where a log cannot be written, or would be added to what is there before its session begins."""
    from gnet_core.time_to_accuracy.bench import numbered

    if not pattern.name or not pattern.parent.is_dir():
        raise GnetError(f"mllog: {str(pattern)!r} is in no folder that there is; name a file such as result.txt")
    for number, session in enumerate(sessions):
        if not session.processes:
            options.require_new_file("mllog", numbered(pattern, number))


def _run_and_report(bench: Bench, directory: Path, request: TimeToAccuracyRequest) -> int:
    from gnet_core.report import time_to_accuracy as reporting
    from gnet_core.time_to_accuracy.evaluation import evaluate

    interrupted = False
    with _shown(bench.document) as progress:
        try:
            bench.run(progress)
        except KeyboardInterrupt:
            interrupted = True
    evaluation = evaluate(bench.document)
    unwritten = write_documents(lambda: reporting.write(directory, evaluation))
    status = print_sessions(directory, bench.document, as_json=request.as_json)
    if not bench.document.complete:
        again = TimeToAccuracyRequest(resume=directory.resolve(), mllog=request.mllog)
        why = "interrupted" if interrupted else "the budget is spent"
        complain(f"{why}; what was finished is in {directory}; go on by: {command_line(again)}")
    return complain_of(unwritten, directory) or (INTERRUPTED if interrupted else status)


@contextlib.contextmanager
def _shown(document: TimeToAccuracy) -> Iterator[Progress]:
    """Progress on stderr: a bar of epochs in a terminal, and elsewhere a line as each session begins and ends."""
    if not sys.stderr.isatty():
        yield _Lines(len(document.sessions))
        return
    from tqdm import tqdm

    epochs = document.request.epochs
    done = sum(len(session.test_accuracy) for session in document.sessions)
    total = epochs * len(document.sessions)
    with tqdm(total=total, initial=done, unit=" epochs", dynamic_ncols=True, file=sys.stderr) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def begin(self, number: int, session: SessionEntry) -> None:  # noqa: ARG002
        self._bar.set_description(session.name)

    def epoch(self, epoch: int, accuracy: float) -> None:
        self._bar.set_postfix(epoch=epoch, accuracy=f"{accuracy:.2%}", refresh=False)
        self._bar.update()

    def end(self, session: SessionEntry) -> None:
        """The next one's beginning shows it."""


class _Lines:
    def __init__(self, sessions: int) -> None:
        self._sessions = sessions
        self._began = time.monotonic()

    def begin(self, number: int, session: SessionEntry) -> None:
        print(f"{self._time()}: session {number + 1} of {self._sessions}: {session.name}", file=sys.stderr)

    def epoch(self, epoch: int, accuracy: float) -> None:
        """A log of epochs would hide what became of the sessions."""

    def end(self, session: SessionEntry) -> None:
        accuracy = f", test accuracy {session.test_accuracy[-1]:.2%}" if session.test_accuracy else ""
        note = f" ({session.note})" if session.note else ""
        print(f"{self._time()}: {session.name} is {session.status}{accuracy}{note}", file=sys.stderr)

    def _time(self) -> str:
        from gnet_core.cli.progress import duration

        return f"{duration(time.monotonic() - self._began)} gone"
