"""The training session: epochs over a data set, with their history, curves, best weights and a state to resume from."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import platform
import time
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from gnet_core import device
from gnet_core.config import GnetError, StepConfig, require_whole
from gnet_core.data import batches, named_errors
from gnet_core.datasets import DataSet, Split, check_labels
from gnet_core.files import write_whole
from gnet_core.model import build_model
from gnet_core.step import Step, Tensor, TrainStep, make_test_step, make_train_step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SESSION_FILE = "train.json"
HISTORY_FILE = "history.csv"
BEST_FILE = "best.weights.h5"
CURVES_FILE = "curves.png"
STATE_FILE = "state.npz"

_STEPS_BETWEEN_READS = 10
"""Reading the loss waits for the device, so the bar shows it, and a lost run is noticed, only every so many steps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One finished epoch, counted from 1: a row of history.csv.

    Losses are cross-entropies in nats with the auxiliary ones weighted in; accuracies are fractions of the images that
    the main output names rightly. Training figures are means over steps, each with the weights it had; testing figures
    are means over all test images with the weights at the end of the epoch.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    epoch_seconds: float
    """Wall time of training and testing. Tracing and compiling fall into the first epoch after a start."""
    images_per_second: float
    """Of the training part."""
    skipped_steps: int
    """Steps that loss scaling left out because a gradient was not finite; only mixed_float16 can have any."""


def train(config: StepConfig, dataset: DataSet, out: Path, epochs: int, *, resume: bool = False) -> list[EpochRecord]:
    """Train the network of `config` up to `epochs` epochs in all, testing after each; return one record an epoch.

    After every epoch `out` holds history.csv, curves.png, best.weights.h5 (highest test accuracy so far, of equals the
    lowest test loss), train.json (what was run on what) and state.npz, each written whole or not at all. `resume`
    continues the session in `out` as though it had not stopped: weights, optimizer, dropout and shuffling go on.

    Raises GnetError where `out` holds a session already or, to resume, holds none or a different one or has no epoch
    left to do; for labels beyond config.classes, a batch larger than the training images, an image that cannot be
    decoded, and a loss that is not finite.
    """
    require_whole("epochs", epochs, least=1)
    check_labels(dataset, config.classes)
    device.prepare(config)
    # Asked for before anything is written, since it refuses a batch larger than the data.
    steps = len(batches(dataset.train, config, training=True)) + len(batches(dataset.test, config, training=False))
    _open_session(out, config, dataset, resume)

    model = build_model(config)
    train_step, test_step = make_train_step(model, config), make_test_step(model, config)
    variables = [*model.variables, *train_step.optimizer.variables]  # moving statistics and dropout's seeds included
    records = _restore(out / STATE_FILE, variables) if resume else []
    done = len(records)
    if epochs <= done:
        raise GnetError(f"epochs: {done} are done already; ask for more than {done}")

    with tqdm(total=epochs * steps, initial=done * steps, unit="step", dynamic_ncols=True) as bar:
        for epoch in range(done + 1, epochs + 1):
            records.append(_run_epoch(epoch, config, dataset, train_step, test_step, bar))
            if max(records, key=lambda record: (record.test_accuracy, -record.test_loss)) is records[-1]:
                with _written_whole(out / BEST_FILE) as path:
                    model.save_weights(path)
            _write_history(out, records)
            _save_state(out / STATE_FILE, variables, records)  # last: an epoch counts as done from here on
    return records


def _run_epoch(
    epoch: int, config: StepConfig, dataset: DataSet, train_step: TrainStep, test_step: Step, bar: Any
) -> EpochRecord:
    # A resumed epoch must see the order it would have had, so that order hangs on the epoch, not on what ran before.
    epoch_seed = int(np.random.SeedSequence((config.seed, epoch)).generate_state(1)[0])
    shuffled = dataclasses.replace(config, seed=epoch_seed)
    skipped_before = train_step.skipped_steps()

    bar.set_description(f"epoch {epoch}, training")
    start = time.perf_counter()
    train_loss, train_accuracy = _run_steps(train_step, _examples(dataset.train, shuffled, training=True), epoch, bar)
    trained = time.perf_counter()
    bar.set_description(f"epoch {epoch}, testing")
    test_loss, test_accuracy = _run_steps(test_step, _examples(dataset.test, config, training=False), epoch, bar)
    end = time.perf_counter()

    train_images = len(dataset.train) // config.batch_size * config.batch_size
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


def _run_steps(step: Step, examples: Iterator[tuple[Tensor, Tensor]], epoch: int, bar: Any) -> tuple[float, float]:
    """Mean loss and accuracy over all images of one pass. The device is waited for every few steps and at the end."""
    step.reset_metrics()
    loss_sum, accuracy, images_seen = 0.0, 0.0, 0

    def read_loss() -> float:
        mean_loss = float(loss_sum) / images_seen
        if not math.isfinite(mean_loss):
            raise GnetError(
                f"loss: {mean_loss} in epoch {epoch}, after {images_seen} images; use a lower learning_rate, or "
                "float32 if the precision is another (epochs before this one are saved)"
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


def _examples(split: Split, config: StepConfig, *, training: bool) -> Iterator[tuple[Tensor, Tensor]]:
    return named_errors(split, batches(split, config, training=training))


def recorded_config(directory: Path) -> StepConfig:
    """The configuration of the session in a directory. Raises GnetError naming train.json where there is none."""
    path = directory / SESSION_FILE
    with _readable(path):
        return StepConfig.from_dict(json.loads(path.read_text(encoding="utf-8"))["config"])


def _open_session(out: Path, config: StepConfig, dataset: DataSet, resume: bool) -> None:
    """Write train.json for a new session, or see that the one to resume is of the same case and data."""
    path = out / SESSION_FILE
    data = {
        "data": dataset.name,
        "class_names": list(dataset.class_names),
        "train_images": len(dataset.train),
        "test_images": len(dataset.test),
    }
    if resume:
        with _readable(path):
            session = json.loads(path.read_text(encoding="utf-8"))
            then = {**StepConfig.from_dict(session["config"]).to_dict(), **session["data_set"]}
        for field, value in {**config.to_dict(), **data}.items():
            if then[field] != value:
                raise GnetError(f"{field}: {value!r} differs from the session in {str(out)!r}; use {then[field]!r}")
        return
    if (out / STATE_FILE).exists():  # without it no epoch was finished, and nothing is lost
        raise GnetError(f"out: {str(out)!r} already holds a session; resume it, or name another directory")
    session = {
        "format": 1,
        "config": config.to_dict(),
        "data_set": data,
        "python": platform.python_version(),
        "tensorflow": device.describe(),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(session, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise GnetError(f"out: {str(out)!r} cannot be written: {error.strerror}; name another directory") from None


def _save_state(path: Path, variables: list[Any], records: list[EpochRecord]) -> None:
    # Plain arrays in the variables' order leave nothing out; tf.train.Checkpoint and .weights.h5 lack dropout's seeds.
    history = json.dumps([dataclasses.asdict(record) for record in records])
    with _written_whole(path) as partial:
        np.savez(partial, *[variable.numpy() for variable in variables], history=history)


def _restore(path: Path, variables: list[Any]) -> list[EpochRecord]:
    """Set the variables to a saved state and return its records; without one, no epoch was finished."""
    if not path.exists():
        return []
    with _readable(path), path.open("rb") as file, np.load(file) as state:
        for position, variable in enumerate(variables):
            variable.assign(state[f"arr_{position}"])
        return [EpochRecord(**values) for values in json.loads(str(state["history"]))]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading a session's file into a GnetError that names it."""
    try:
        yield
    except GnetError:
        raise
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        raise GnetError(f"resume: {str(path)!r} is missing or damaged; name the directory of a session") from None


@contextlib.contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
    """As write_whole, for what others write: a path to write to, its ending kept since NumPy and Keras go by it."""
    partial = path.with_name(f"partial-{path.name}")
    yield partial
    partial.replace(path)


def _write_history(out: Path, records: list[EpochRecord]) -> None:
    """The table, and its losses and accuracies drawn side by side."""
    history = pd.DataFrame(records)
    write_whole(out / HISTORY_FILE, history.to_csv(index=False))

    figure = Figure(figsize=(10, 4), layout="constrained")  # outside pyplot: no display, nothing left open
    panels = (("loss", 1, "Loss", "cross-entropy (nats)"), ("accuracy", 100, "Accuracy", "accuracy (% of images)"))
    for axes, (name, scale, title, ylabel) in zip(figure.subplots(1, 2), panels, strict=True):
        for part in ("train", "test"):
            axes.plot(history["epoch"], scale * history[f"{part}_{name}"], "o-", label=part)
        axes.set(title=title, xlabel="epoch", ylabel=ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    with _written_whole(out / CURVES_FILE) as partial:
        figure.savefig(partial, dpi=120)
