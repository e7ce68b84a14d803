"""The training session: epochs over a data set, with their history, the best and the last network, and a state to
resume from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from gnet_core.config import GnetError, StepConfig, require_whole
from gnet_core.datasets import recorded_split
from gnet_core.datasets.catalog import check_labels
from gnet_core.datasets.data_set import DataSet
from gnet_core.files import csv_text
from gnet_core.files.whole import write_whole
from gnet_core.frameworks.tf import device
from gnet_core.frameworks.tf.averaging import AveragedWeights
from gnet_core.frameworks.tf.input_pipeline import Loader, named_errors
from gnet_core.frameworks.tf.model import build_model
from gnet_core.frameworks.tf.step import Step, make_test_step, make_train_step
from gnet_core.machine.environment import Environment
from gnet_core.networks.builder import Tensor
from gnet_core.networks.map_sizes import require_learnable
from gnet_core.system.claims import claimed, claimed_empty
from gnet_core.training import judgement
from gnet_core.training.document import DOCUMENT_FILE, Training
from gnet_core.training.exports import write_keras, write_saved_model
from gnet_core.training.judgement import Judgement
from gnet_core.training.ledger import Stopwatch, WallTime
from gnet_core.training.mllog import EventLog, write_heading, write_hyperparameters
from gnet_core.training.recipe import RECIPE, Recipe, recipe_of
from gnet_core.training.scalars import Scalars
from gnet_core.training.session import (
    SESSION_FILE,
    STATE_FILE,
    EpochRecord,
    NotFiniteError,
    PartOfEpoch,
    Reached,
    RecordedData,
    Session,
    State,
    best,
    load_state,
    save_state,
)

HISTORY_FILE = "history.csv"
BEST_FILE = "best.keras"
FINAL_FILE = "final.keras"
SAVED_MODEL_FOLDER = "saved_model"
SCALARS_FOLDER = "tensorboard"

_STEPS_BETWEEN_READS = 10
"""Reading the loss waits for the device, so the bar shows it, and a lost run is noticed, only every so many steps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """What a session came to."""

    history: list[EpochRecord]
    wall_time: WallTime
    reached: Reached | None
    """When the target was reached; None where there was none, or it was not."""


class TooLittleMemoryError(GnetError):
    """The device has not the memory that a step takes."""


def train(
    config: StepConfig,
    dataset: DataSet,
    out: Path,
    epochs: int,
    *,
    recipe: Recipe = RECIPE,
    memory_bytes: int = 0,
    resume: bool = False,
    save_every: int | None = None,
    target: float | None = None,
    stop_at_target: bool = True,
    saved_model: bool = False,
    mllog: Path | None = None,
    import_seconds: float = 0.0,
    told: Callable[[EpochRecord], None] | None = None,
) -> Trained:
    """Train the network of `config` up to `epochs` epochs in all by a recipe, testing after each.

    After every epoch `out` holds train.json (what was run on what), split.json (on which images), state.npz,
    history.csv, best.keras (highest test accuracy so far, of equals the lowest test loss), training.json (what
    `gnet report` renders) and tensorboard/. At the end it holds final.keras as well, and saved_model/ if asked for.
    Files are written whole or not at all, and state.npz also every `save_every` steps. As many images as fit into
    `memory_bytes` are decoded once (see gnet_core.frameworks.tf.input_pipeline.Loader), those of training first. The
    first test accuracy of at least `target`, a fraction, ends a session, or is noted where it is not to stop there.
    `mllog` takes MLPerf's log lines (see gnet_core.training.mllog); `told` hears of each epoch once it is saved.

    `resume` continues the session in `out` as though it had not stopped: weights, averages, optimizer, dropout,
    shuffling, augmentation and the learning rate go on, also from the middle of an epoch. A session that ends before
    its first state is saved leaves nothing. As published, a session has no recipe. `import_seconds` went by before, for
    the ledger.

    Raises BusyError where another process writes into `out`; GnetError where `out` has files in it or, to resume, holds
    no session or a different one or has no epoch left to do; for an augmentation that makes other classes of images,
    labels beyond config.classes, a batch larger than the training images or too small to learn from, an image that
    cannot be decoded, a loss that is not finite, memory that is not enough, and an `out` that cannot be written.

    >>> from pathlib import Path
    >>> from gnet_core import StepConfig, open_data, train
    >>> digits = open_data("digits")
    >>> config = StepConfig(image_size=digits.default_image_size, classes=digits.classes)
    >>> trained = train(config, digits, Path("trained-digits"), epochs=1)
    >>> 0 < trained.history[-1].test_accuracy <= 1
    True

    The best of its epochs is a network again:

    >>> import keras
    >>> keras.saving.load_model("trained-digits/best.keras").name
    'googlenet_2'
    """
    for field in ("part", "feed"):
        if (value := getattr(config, field)) != (whole := getattr(StepConfig, field)):
            raise GnetError(f"{field}: {value!r} is for gnet bench to measure; a session trains with {whole}")
    require_whole("epochs", epochs, least=1)
    if save_every is not None:
        require_whole("save_every", save_every, least=1)
    if target is not None and not 0 < target <= 1:
        raise GnetError(f"target: {target!r:.200} will not do; use a test accuracy above 0 % and of at most 100 %")
    watch = Stopwatch(WallTime(imports=import_seconds))
    log = EventLog(mllog)
    recipe = recipe_of(config, recipe)
    dataset.require_augmentation(recipe.augment)
    session = Session.of(config, dataset, recipe, epochs, memory_bytes)
    with claimed(out) if resume else _new_session(out), _out_of_memory_named(config):
        if resume:
            recorded = Session.read(out)
            session.require_same(recorded, out)
            recorded_split.require_same(out, dataset)
            session = recorded  # equal, and signed as the version signed that began it
            _require_own_files(out)
        require_learnable(config)
        check_labels(dataset, config.classes)
        device.prepare(config)
        if not log.begun:
            write_heading(log, config)
            log.begin("init_start")
        with watch.of("build"):
            run = _Run.begin(session, dataset, out, epochs, watch, memory_bytes)
        run.target, run.stop_at_target, run.save_every = target, stop_at_target, save_every
        run.told, run.log, run.mllog = told, log, mllog
        run.reached = _reached_before(run.state, target)
        _begin_log(run)
        reached = _train(run)
        _finish(run, saved_model=saved_model)
    return Trained(history=run.state.records, wall_time=watch.read(), reached=reached)


@dataclasses.dataclass(kw_only=True)
class _Run:
    """A session under way: what its epochs share, and how far it is."""

    session: Session
    out: Path
    epochs: int
    watch: Stopwatch
    began: float
    """Monotonic time from which the wall time is counted by a clock of its own."""
    training: Loader
    testing: Loader
    model: Any
    train_step: Step
    test_step: Step
    average: AveragedWeights | None
    scalars: Scalars
    state: State = dataclasses.field(default_factory=State)
    """The state that was saved last."""
    judgement: Judgement | None = None
    """What was said of the test images at the end of the last epoch."""
    reached: Reached | None = None
    target: float | None = None
    stop_at_target: bool = True
    save_every: int | None = None
    told: Callable[[EpochRecord], None] | None = None
    log: EventLog = dataclasses.field(default_factory=lambda: EventLog(None))
    mllog: Path | None = None
    bar: Any = None
    _seen: set[tuple[int, int]] = dataclasses.field(default_factory=set)

    @classmethod
    def begin(
        cls, session: Session, dataset: DataSet, out: Path, epochs: int, watch: Stopwatch, memory_bytes: int = 0
    ) -> _Run:
        """Build the network and its steps, and set them to the state that was saved, if any."""
        began = time.monotonic() - watch.read().total
        config, recipe = session.config, session.recipe
        # Asked for before the network is built, since it refuses a batch larger than the data.
        training = Loader(dataset.train, config, training=True, augmentation=recipe.augment, memory_bytes=memory_bytes)
        testing = Loader(dataset.test, config, training=False, memory_bytes=memory_bytes - training.kept_bytes)
        steps = epochs * len(training)
        model = build_model(dataclasses.replace(config, bn_momentum=recipe.bn_momentum(config, steps)))
        average = None
        if recipe.average:
            average = AveragedWeights(model, recipe.average_decay(steps), recipe.average_interval(steps))
        train_step = make_train_step(
            model, config, weight_decay=recipe.weight_decay, label_smoothing=recipe.label_smoothing
        )
        run = cls(
            session=session,
            training=training,
            testing=testing,
            out=out,
            epochs=epochs,
            watch=watch,
            began=began,
            model=model,
            train_step=train_step,
            test_step=make_test_step(model, config),
            average=average,
            scalars=Scalars(out / SCALARS_FOLDER),
        )
        run.state = load_state(out / STATE_FILE, session, run.variables)
        part = run.state.part
        if part and (part.steps >= len(training) or len(part.metrics) != len(_metric_variables(train_step))):
            raise GnetError(
                f"resume: {str(out / STATE_FILE)!r} is damaged (its part of an epoch is none of {len(training)} "
                "steps); put a copy of it back, or start anew with --out"
            )
        watch.add(run.state.wall_time)
        run.began -= run.state.wall_time.total
        return run

    @property
    def steps_per_epoch(self) -> int:
        return len(self.training)

    @property
    def variables(self) -> list[Any]:
        """All that a state holds the values of: moving statistics, dropout's seeds and averages included."""
        averages = self.average.variables if self.average else []
        return [*self.model.variables, *self.train_step.optimizer.variables, *averages]

    def learning_rate(self, step: int) -> float:
        """That of the session's step 1, 2, …"""
        return self.session.recipe.learning_rate(self.session.config, step, self.epochs * self.steps_per_epoch)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """The network with the weights that are tested and kept."""
        return self.average.in_place() if self.average else contextlib.nullcontext()

    def call(self, step: Step, function: Callable[[Tensor, Tensor], Any], images: Tensor, labels: Tensor) -> Any:
        """Run a step; its trace for a new shape, and what it compiles then, count to their own entries."""
        shape = (id(step), int(images.shape[0]))
        if step.execution == "eager" or shape in self._seen:
            return function(images, labels)
        self._seen.add(shape)
        with self.watch.of("trace"):
            step.trace(images, labels)
        with self.watch.of("compile"):
            result = function(images, labels)
            device.synchronise()
        return result

    def inputs(self, examples: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches, the wait for each of them counted."""
        while True:
            with self.watch.of("input_wait"):
                batch = next(examples, None)
            if batch is None:
                return
            yield batch


def _train(run: _Run) -> Reached | None:
    """The epochs that are left; return when the target was reached."""
    done = len(run.state.records)
    images = len(run.testing.split) + run.steps_per_epoch * run.session.config.batch_size
    if run.state.records and run.state.part is None:  # the session may have ended between its state and its results
        _test_epoch(done, run)
        with run.watch.of("checkpoint"), _errors_of_writing(run):
            _write_results(run)
    if run.epochs <= done:
        _finish(run, saved_model=False)
        longer = f"ask for more than {done}" if run.session.epochs is None else "start a longer session with --out"
        raise GnetError(f"epochs: {done} are done already; {longer}")

    begun = run.state.part.steps * run.session.config.batch_size if run.state.part else 0
    with tqdm(
        total=run.epochs * images, initial=done * images + begun, unit=" images", unit_scale=True, dynamic_ncols=True
    ) as run.bar:
        for epoch in range(done + 1, run.epochs + 1):
            record = _run_epoch(epoch, run)
            good_enough = run.target is not None and record.test_accuracy >= run.target
            if good_enough and (run.stop_at_target or run.reached is None):
                run.reached = _reached(epoch, run)
                run.log.end("run_stop", status="success", epoch_num=epoch)
                run.log.close()  # MLPerf's clock stops at the target, whatever is trained beyond it
            _save_epoch(record, run)
            if run.told:
                run.told(record)
            if good_enough and run.stop_at_target:
                break
    if run.reached is None:
        run.log.end("run_stop", status="aborted" if run.target is not None else "success", epoch_num=run.epochs)
    return run.reached


def _reached(epoch: int, run: _Run) -> Reached:
    wall_time = run.watch.read()
    step = epoch * run.steps_per_epoch
    return Reached(epoch=epoch, step=step, seconds=wall_time.total, setup_seconds=wall_time.setup)


def _reached_before(state: State, target: float | None) -> Reached | None:
    """When an earlier process of the session reached the target, unless that was another one."""
    if target is None or state.reached is None:
        return None
    good_enough = (record.epoch for record in state.records if record.test_accuracy >= target)
    return state.reached if next(good_enough, None) == state.reached.epoch else None


def _begin_log(run: _Run) -> None:
    """Write what MLPerf's log has before the first epoch, or in the log of a session that goes on from where."""
    log, config, state = run.log, run.session.config, run.state
    if run.reached:
        log.close()
        return
    if not log.begun:
        images = run.steps_per_epoch * config.batch_size, len(run.testing.split)
        write_hyperparameters(log, config, run.session.recipe, run.epochs, images)
        log.end("init_stop")
        log.begin("run_start")
    if state.records or state.part:
        steps = len(state.records) * run.steps_per_epoch + (state.part.steps if state.part else 0)
        log.point("resumed", steps, namespace="gnet")


def _save_epoch(record: EpochRecord, run: _Run) -> None:
    """Write an epoch's state, then what a user looks at."""
    records = [*run.state.records, record]
    with run.watch.of("checkpoint"), _errors_of_writing(run):
        _save(run, State(records=records, wall_time=run.watch.read(), reached=run.reached))
        _write_results(run)
        step = len(records) * run.steps_per_epoch
        run.scalars.write(record, step, run.learning_rate(step))


def _save(run: _Run, state: State) -> None:
    """Write a state, which counts as done from then on, and with the first one train.json."""
    if not run.state.records and run.state.part is None:
        run.session.write(run.out, msgspec.to_builtins(device.describe()))
    save_state(run.out / STATE_FILE, run.session, run.variables, state)
    run.state = state


def _finish(run: _Run, *, saved_model: bool) -> None:
    """Write the network as it is at the end, and the ledger that counts this as well."""
    with run.watch.of("checkpoint"), _errors_of_writing(run):
        with run.averaged():
            write_keras(run.out / FINAL_FILE, run.model)
            if saved_model:
                write_saved_model(run.out / SAVED_MODEL_FOLDER, run.model)
        _write_document(run)


@contextlib.contextmanager
def _new_session(out: Path) -> Iterator[None]:
    """Claim an empty or new directory, which is left as it was found unless a state was saved in it."""
    if (out / STATE_FILE).exists():
        raise GnetError(f"out: {str(out)!r} already holds a session; resume it, or name another directory")
    with claimed_empty(out):
        try:
            yield
        except BaseException:
            if not (out / STATE_FILE).exists():
                with contextlib.suppress(OSError):  # which would hide why it ends
                    (out / SESSION_FILE).unlink(missing_ok=True)
                    (out / recorded_split.SPLIT_FILE).unlink(missing_ok=True)
            raise


def _require_own_files(out: Path) -> None:
    """Raise GnetError where what will be written over is no file, and where an epoch was finished but has no state."""
    for name in (
        *(SESSION_FILE, recorded_split.SPLIT_FILE, STATE_FILE),
        *(HISTORY_FILE, DOCUMENT_FILE, BEST_FILE, FINAL_FILE),
    ):
        path = out / name
        if os.path.lexists(path) and not path.is_symlink() and not path.is_file():
            raise GnetError(f"resume: {str(path)!r} is no regular file; move it away")
    for name in (HISTORY_FILE, BEST_FILE):  # which are written after the state and would be written over
        if os.path.lexists(out / name) and not os.path.lexists(out / STATE_FILE):
            raise GnetError(
                f"resume: {str(out / STATE_FILE)!r} is missing, and {name} tells that an epoch was finished; "
                "put a copy of it back, or start anew with --out"
            )


@contextlib.contextmanager
def _errors_of_writing(run: _Run) -> Iterator[None]:
    try:
        yield
    except (OSError, tf.errors.OpError) as error:  # TensorFlow writes its own files, and tells of them in its own way
        kept = bool(run.state.records or run.state.part)
        then = f"{run.state.words}{'; once it can be, go on with --resume' if kept else ''}"
        if kept and not (run.out / STATE_FILE).exists():
            then = "what was saved there is gone"
        reason = getattr(error, "strerror", None) or f"{error!s:.300}"
        raise GnetError(f"out: {str(run.out)!r} cannot be written: {reason}; {then}") from error


@contextlib.contextmanager
def _out_of_memory_named(config: StepConfig) -> Iterator[None]:
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise TooLittleMemoryError(
            f"batch_size: {config.batch_size} images of {config.image_size} pixels a side do not fit into the memory "
            f"of {config.device}; use a smaller --batch-size or --image-size"
        ) from error


def _run_epoch(epoch: int, run: _Run) -> EpochRecord:
    """Train and test an epoch, or what is left of it."""
    part = run.state.part
    skipped = (part.skipped_steps if part else 0) - run.train_step.skipped_steps()
    start = time.perf_counter() - (part.seconds if part else 0.0)
    run.bar.set_description(f"epoch {epoch}, training")
    run.log.begin("epoch_start", epoch_num=epoch)
    with run.watch.of("train"):
        train_loss, train_accuracy = _train_epoch(epoch, run, start, skipped)
    trained = time.perf_counter()
    run.log.end("epoch_stop", epoch_num=epoch)
    run.bar.set_description(f"epoch {epoch}, testing")
    run.log.begin("eval_start", epoch_num=epoch)
    test_loss, test_accuracy = _test_epoch(epoch, run)
    run.log.point("eval_accuracy", test_accuracy, epoch_num=epoch)
    run.log.end("eval_stop", epoch_num=epoch)
    return EpochRecord(
        epoch=epoch,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        epoch_seconds=time.perf_counter() - start,
        images_per_second=run.steps_per_epoch * run.session.config.batch_size / (trained - start),
        skipped_steps=run.train_step.skipped_steps() + skipped,
    )


def _train_epoch(epoch: int, run: _Run, start: float, skipped: int) -> tuple[float, float]:
    """Mean loss and accuracy over the images of the epoch. The device is waited for every few steps and at the end."""
    step, config, part = run.train_step, run.session.config, run.state.part
    step.reset_metrics()
    done = part.steps if part else 0
    losses = _Losses(run, f"epoch {epoch}", part.loss_sum if part else 0.0, done * config.batch_size)
    if part:
        for variable, value in zip(_metric_variables(step), part.metrics, strict=True):
            variable.assign(value)
    accuracy: Any = 0.0
    before = (epoch - 1) * run.steps_per_epoch
    for number, (images, labels) in enumerate(run.inputs(_training_examples(epoch, run, done)), start=done + 1):
        step.optimizer.learning_rate = run.learning_rate(before + number)
        result = run.call(step, step, images, labels)
        if run.average:
            run.average.after_step(before + number)
        losses.add(number, result.loss, config.batch_size)
        accuracy = result.accuracy
        if number % _STEPS_BETWEEN_READS == 0:
            run.bar.set_postfix(loss=f"{losses.mean():.4f}", accuracy=f"{float(accuracy):.2%}", refresh=False)
        run.bar.update(config.batch_size)
        if run.save_every and (before + number) % run.save_every == 0 and number < run.steps_per_epoch:
            losses.mean()  # which refuses a state whose loss was none
            part = PartOfEpoch(
                steps=number,
                loss_sum=losses.total(),
                metrics=[float(variable.numpy()) for variable in _metric_variables(step)],
                skipped_steps=step.skipped_steps() + skipped,
                seconds=time.perf_counter() - start,
            )
            with run.watch.of("checkpoint"), _errors_of_writing(run):
                _save(run, dataclasses.replace(run.state, part=part, wall_time=run.watch.read()))
    return losses.mean(), float(accuracy)


def _training_examples(epoch: int, run: _Run, done: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch after those that are done."""
    return named_errors(run.training.split, run.training.epoch(epoch, done))


def _test_epoch(epoch: int, run: _Run) -> tuple[float, float]:
    """Mean loss and accuracy over all test images, of which it keeps what was said."""
    step = run.test_step
    step.reset_metrics()
    losses = _Losses(run, f"the test of epoch {epoch}")
    accuracy: Any = 0.0
    judged: list[tuple[Tensor, Tensor]] = []
    with run.watch.of("test"), run.averaged():
        examples = named_errors(run.testing.split, run.testing.epoch(epoch))
        for number, (images, labels) in enumerate(run.inputs(examples), start=1):
            outputs = run.call(step, step.with_logits, images, labels)
            losses.add(number, outputs.result.loss, int(labels.shape[0]))  # the last batch is smaller than the others
            accuracy = outputs.result.accuracy
            judged.append(judgement.said_of(outputs.logits))
            if run.bar is not None:
                run.bar.update(int(labels.shape[0]))
        mean_loss = losses.mean()
        run.judgement = Judgement.of(judged)
    return mean_loss, float(accuracy)


class _Losses:
    """The mean loss over the images of a pass, which is added up on the device and refused where it is no number."""

    def __init__(self, run: _Run, where: str, loss_sum: float = 0.0, images: int = 0) -> None:
        self._run, self._where = run, where
        self._sum, self._images = tf.constant(loss_sum, tf.float32), images
        self._unread: list[tuple[int, Tensor]] = []

    def add(self, step: int, loss: Tensor, images: int) -> None:
        self._sum += loss * images
        self._images += images
        self._unread.append((step, loss))

    def total(self) -> float:
        return float(self._sum)

    def mean(self) -> float:
        """Raise GnetError naming the first step whose loss is not finite. Waits for the device."""
        total = self.total()
        if not math.isfinite(total):
            losses = [(step, float(loss)) for step, loss in self._unread]
            last = (losses[-1][0], total)  # each loss was a number, but no more their sum
            step, loss = next(((step, loss) for step, loss in losses if not math.isfinite(loss)), last)
            precision = "" if self._run.session.config.precision == "float32" else "--precision float32, "
            raise NotFiniteError(
                f"loss: {loss} in step {step} of {self._where}; start anew with {precision}a lower --learning-rate, or "
                f"another --batch-size or --seed ({self._run.state.words})"
            )
        self._unread.clear()
        return total / self._images


def _metric_variables(step: Step) -> list[Any]:
    return [variable for metric in step.metrics for variable in metric.variables]


def _write_results(run: _Run) -> None:
    """Write what a user looks at: where the last epoch is the best one its network, then the table and the document."""
    records = run.state.records
    if best(records) is records[-1]:
        with run.averaged():
            write_keras(run.out / BEST_FILE, run.model)
    write_whole(run.out / HISTORY_FILE, csv_text.to_csv(pd.DataFrame(records)))
    _write_document(run)


def _write_document(run: _Run) -> None:
    """Write training.json, of which `gnet report` makes pages."""
    if run.judgement is None:
        return
    config, split = run.session.config, run.testing.split
    wall_time = run.watch.read()
    document = Training(
        format_version=1,
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        environment=_environment(),
        config=_in_utf8(config.to_dict()),
        recipe=run.session.recipe,
        epochs=run.epochs,
        steps_per_epoch=run.steps_per_epoch,
        data_set=msgspec.convert(_in_utf8(msgspec.to_builtins(run.session.data_set)), RecordedData),
        history=run.state.records,
        wall_time=wall_time,
        wall_seconds=time.monotonic() - run.began,
        target=run.target,
        reached=run.reached,
        mllog=_in_utf8(run.mllog.name) if run.mllog else msgspec.UNSET,
        confusion=judgement.confusion(split, run.judgement),
        samples=judgement.samples(split, run.judgement, config),
    )
    write_whole(run.out / DOCUMENT_FILE, json.dumps(msgspec.to_builtins(document), indent=1) + "\n")


@functools.cache  # of one process it never changes, and looking takes as long as an epoch of a small data set
def _environment() -> Environment:
    return device.environment()


def _in_utf8(plain: Any) -> Any:
    """Plain data in which names that are no UTF-8 have a question mark for what is none, as pages have to."""
    return json.loads(json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace"))
