"""The training session: epochs over a data set, with their history, curves, best weights and a state to resume from."""

from __future__ import annotations

import contextlib
import io
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from gnet_core.config import Augmentation, GnetError, StepConfig, require_whole
from gnet_core.datasets import recorded_split
from gnet_core.datasets.catalog import check_labels
from gnet_core.datasets.data_set import DataSet
from gnet_core.files import csv_text
from gnet_core.files.whole import write_whole, written_whole
from gnet_core.frameworks.tf import device
from gnet_core.frameworks.tf.input_pipeline import Loader, named_errors
from gnet_core.frameworks.tf.model import build_model
from gnet_core.frameworks.tf.step import Step, make_test_step, make_train_step
from gnet_core.networks.builder import Tensor
from gnet_core.networks.map_sizes import require_learnable
from gnet_core.system.claims import claimed, claimed_empty
from gnet_core.training.session import SESSION_FILE, STATE_FILE, EpochRecord, Session, best, load_state, save_state

HISTORY_FILE = "history.csv"
BEST_FILE = "best.weights.h5"
CURVES_FILE = "curves.png"

_STEPS_BETWEEN_READS = 10
"""Reading the loss waits for the device, so the bar shows it, and a lost run is noticed, only every so many steps."""


def train(
    config: StepConfig,
    dataset: DataSet,
    out: Path,
    epochs: int,
    *,
    resume: bool = False,
    augmentation: Augmentation = "none",
    memory_bytes: int = 0,
) -> list[EpochRecord]:
    """Train the network of `config` up to `epochs` epochs in all, testing after each; return one record an epoch.

    After every epoch `out` holds history.csv, curves.png, best.weights.h5 (highest test accuracy so far, of equals the
    lowest test loss), train.json (what was run on what), split.json (which images) and state.npz, each written whole or
    not at all. `augmentation` changes the images of training, and as many images as fit into `memory_bytes` are decoded
    once (see gnet_core.frameworks.tf.input_pipeline.Loader), those of training first. `resume` continues the session in
    `out` as though it had not stopped: weights, optimizer, dropout, shuffling and augmentation go on. A session that
    ends before its first epoch is saved leaves nothing.

    Raises BusyError where another process writes into `out`; GnetError where `out` has files in it or, to resume, holds
    no session or a different one or has no epoch left to do; for labels beyond config.classes, a batch larger than the
    training images or too small to learn from, an image that cannot be decoded, a loss that is not finite, memory that
    is not enough, and an `out` that cannot be written.

    >>> from pathlib import Path
    >>> from gnet_core import StepConfig, build_model, open_data, train
    >>> digits = open_data("digits")
    >>> config = StepConfig(image_size=digits.default_image_size, classes=digits.classes)
    >>> history = train(config, digits, Path("trained-digits"), epochs=1)
    >>> 0 < history[-1].test_accuracy <= 1
    True

    The best of its epochs is a network again:

    >>> build_model(config).load_weights("trained-digits/best.weights.h5")
    """
    require_whole("epochs", epochs, least=1)
    dataset.require_augmentation(augmentation)
    session = Session.of(config, dataset, augmentation, memory_bytes)
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
        return _train(session, dataset, out, epochs, memory_bytes)


def _train(session: Session, dataset: DataSet, out: Path, epochs: int, memory_bytes: int) -> list[EpochRecord]:
    config = session.config
    # Made before the network is built, since it refuses a batch larger than the data.
    augmentation = session.data_set.augment
    training = Loader(dataset.train, config, training=True, augmentation=augmentation, memory_bytes=memory_bytes)
    testing = Loader(dataset.test, config, training=False, memory_bytes=memory_bytes - training.kept_bytes)
    steps = len(training) + len(testing)
    model = build_model(config)
    train_step, test_step = make_train_step(model, config), make_test_step(model, config)
    variables = [*model.variables, *train_step.optimizer.variables]  # moving statistics and dropout's seeds included
    records = load_state(out / STATE_FILE, session, variables)
    done = len(records)
    if records:
        with _errors_of_writing(out, records):
            _write_results(out, model, records)  # the session may have ended between its state and these
    if epochs <= done:
        raise GnetError(f"epochs: {done} are done already; ask for more than {done}")

    with tqdm(total=epochs * steps, initial=done * steps, unit="step", dynamic_ncols=True) as bar:
        for epoch in range(done + 1, epochs + 1):
            record = _run_epoch(epoch, config, training, testing, train_step, test_step, bar)
            _save_epoch(record, records, out, session, model, variables)
    return records


def _save_epoch(
    record: EpochRecord, records: list[EpochRecord], out: Path, session: Session, model: Any, variables: list[Any]
) -> None:
    """Write an epoch's state, then what a user looks at, and add it to the records."""
    with _errors_of_writing(out, records):
        if not records:
            session.write(out, msgspec.to_builtins(device.describe()))
        save_state(out / STATE_FILE, session, variables, [*records, record])
        records.append(record)  # it counts as done from here on
        _write_results(out, model, records)


@contextlib.contextmanager
def _new_session(out: Path) -> Iterator[None]:
    """Claim an empty or new directory, which is left as it was found unless an epoch was saved in it."""
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
    for name in (SESSION_FILE, recorded_split.SPLIT_FILE, STATE_FILE, HISTORY_FILE, CURVES_FILE, BEST_FILE):
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
def _errors_of_writing(out: Path, records: list[EpochRecord]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        then = f"{_what_is_saved(len(records))}{'; once it can be, go on with --resume' if records else ''}"
        if records and not (out / STATE_FILE).exists():
            then = "what was saved there is gone"
        raise GnetError(f"out: {str(out)!r} cannot be written: {error.strerror or error}; {then}") from error


def _what_is_saved(epochs: int) -> str:
    if epochs == 0:
        return "no epoch was finished, so nothing is kept"
    return "epoch 1 is saved" if epochs == 1 else f"epochs 1 to {epochs} are saved"


@contextlib.contextmanager
def _out_of_memory_named(config: StepConfig) -> Iterator[None]:
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise GnetError(
            f"batch_size: {config.batch_size} images of {config.image_size} pixels a side do not fit into the memory "
            f"of {config.device}; use a smaller --batch-size or --image-size"
        ) from error


def _run_epoch(
    epoch: int,
    config: StepConfig,
    training: Loader,
    testing: Loader,
    train_step: Step,
    test_step: Step,
    bar: Any,
) -> EpochRecord:
    skipped_before = train_step.skipped_steps()

    bar.set_description(f"epoch {epoch}, training")
    start = time.perf_counter()
    examples = named_errors(training.split, training.epoch(epoch))
    train_loss, train_accuracy = _run_steps(train_step, examples, config, epoch, bar)
    trained = time.perf_counter()
    bar.set_description(f"epoch {epoch}, testing")
    examples = named_errors(testing.split, testing.epoch(epoch))
    test_loss, test_accuracy = _run_steps(test_step, examples, config, epoch, bar)
    end = time.perf_counter()

    train_images = len(training) * config.batch_size
    return EpochRecord(
        epoch=epoch,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        epoch_seconds=end - start,
        images_per_second=train_images / (trained - start),
        skipped_steps=train_step.skipped_steps() - skipped_before,
    )


def _run_steps(
    step: Step, examples: Iterator[tuple[Tensor, Tensor]], config: StepConfig, epoch: int, bar: Any
) -> tuple[float, float]:
    """Mean loss and accuracy over all images of one pass. The device is waited for every few steps and at the end."""
    step.reset_metrics()
    loss_sum, accuracy, images_seen = 0.0, 0.0, 0

    def read_loss() -> float:
        mean_loss = float(loss_sum) / images_seen
        if not math.isfinite(mean_loss):
            precision = "" if config.precision == "float32" else "--precision float32, "
            raise GnetError(
                f"loss: {mean_loss} in epoch {epoch}, after {images_seen} images; start anew with {precision}a lower "
                f"--learning-rate, or another --batch-size or --seed ({_what_is_saved(epoch - 1)})"
            )
        return mean_loss

    for count, (images, labels) in enumerate(examples, start=1):
        result = step(images, labels)
        batch_size = labels.shape[0]
        loss_sum += result.loss * batch_size  # weighted: the last test batch is smaller than the others
        images_seen += batch_size
        accuracy = result.accuracy
        if count % _STEPS_BETWEEN_READS == 0:
            bar.set_postfix(loss=f"{read_loss():.4f}", accuracy=f"{float(accuracy):.2%}", refresh=False)
        bar.update()
    return read_loss(), float(accuracy)


def _write_results(out: Path, model: Any, records: list[EpochRecord]) -> None:
    """Write what a user looks at: where the last epoch is the best one its weights, then the table and its curves."""
    if best(records) is records[-1]:
        weights = _WeightsInMemory()
        model.save_weights(weights)
        with written_whole(out / BEST_FILE) as partial:
            partial.write_bytes(weights.getbuffer())

    history = pd.DataFrame(records)
    write_whole(out / HISTORY_FILE, csv_text.to_csv(history))
    figure = Figure(figsize=(10, 4), layout="constrained")  # outside pyplot: no display, nothing left open
    panels = (("loss", 1, "Loss", "cross-entropy (nats)"), ("accuracy", 100, "Accuracy", "accuracy (% of images)"))
    for axes, (name, scale, title, ylabel) in zip(figure.subplots(1, 2), panels, strict=True):
        for part in ("train", "test"):
            axes.plot(history["epoch"], scale * history[f"{part}_{name}"], "o-", label=part)
        axes.set(title=title, xlabel="epoch", ylabel=ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    with written_whole(out / CURVES_FILE) as partial:
        figure.savefig(partial, dpi=120)


class _WeightsInMemory(io.BytesIO):
    """A .weights.h5 file in memory: on a full disk HDF5 would end the process with a segmentation fault at its exit."""

    def __str__(self) -> str:
        return BEST_FILE  # Keras chooses the format by the ending of a name
