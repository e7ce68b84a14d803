"""The training session: epochs over a data set, with their history, the best and the last network, and a state to
resume from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from gnet_core.config import GnetError, StepConfig, require_whole
from gnet_core.datasets import recorded_split
from gnet_core.datasets.catalog import check_labels
from gnet_core.datasets.data_set import DataSet
from gnet_core.frameworks.tf import device
from gnet_core.networks.map_sizes import require_learnable
from gnet_core.system.claims import claimed, claimed_empty
from gnet_core.training.document import DOCUMENT_FILE
from gnet_core.training.ledger import Stopwatch, WallTime
from gnet_core.training.loop import run_epoch, test_epoch
from gnet_core.training.mllog import EventLog, write_heading, write_hyperparameters
from gnet_core.training.recipe import RECIPE, Recipe, recipe_of
from gnet_core.training.results import (
    BEST_FILE,
    FINAL_FILE,
    HISTORY_FILE,
    errors_of_writing,
    finish,
    save_epoch,
    write_results,
)
from gnet_core.training.session import SESSION_FILE, STATE_FILE, EpochRecord, Reached, Session, State
from gnet_core.training.trainer import Trainer


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
            trainer = Trainer.begin(session, dataset, out, epochs, watch, memory_bytes)
        trainer.target, trainer.stop_at_target, trainer.save_every = target, stop_at_target, save_every
        trainer.told, trainer.log, trainer.mllog = told, log, mllog
        trainer.reached = _reached_before(trainer.state, target)
        _begin_log(trainer)
        reached = _train(trainer)
        finish(trainer, saved_model=saved_model)
    return Trained(history=trainer.state.records, wall_time=watch.read(), reached=reached)


def _train(trainer: Trainer) -> Reached | None:
    """The epochs that are left; return when the target was reached."""
    done = len(trainer.state.records)
    images = len(trainer.testing.split) + trainer.steps_per_epoch * trainer.session.config.batch_size
    if (
        trainer.state.records and trainer.state.part is None
    ):  # the session may have ended between its state and its results
        test_epoch(done, trainer)
        with trainer.watch.of("checkpoint"), errors_of_writing(trainer):
            write_results(trainer)
    if trainer.epochs <= done:
        finish(trainer, saved_model=False)
        longer = f"ask for more than {done}" if trainer.session.epochs is None else "start a longer session with --out"
        raise GnetError(f"epochs: {done} are done already; {longer}")

    begun = trainer.state.part.steps * trainer.session.config.batch_size if trainer.state.part else 0
    with tqdm(
        total=trainer.epochs * images,
        initial=done * images + begun,
        unit=" images",
        unit_scale=True,
        dynamic_ncols=True,
    ) as trainer.bar:
        for epoch in range(done + 1, trainer.epochs + 1):
            record = run_epoch(epoch, trainer)
            good_enough = trainer.target is not None and record.test_accuracy >= trainer.target
            if good_enough and (trainer.stop_at_target or trainer.reached is None):
                trainer.reached = _reached(epoch, trainer)
                trainer.log.end("run_stop", status="success", epoch_num=epoch)
                trainer.log.close()  # MLPerf's clock stops at the target, whatever is trained beyond it
            save_epoch(record, trainer)
            if trainer.told:
                trainer.told(record)
            if good_enough and trainer.stop_at_target:
                break
    if trainer.reached is None:
        trainer.log.end(
            "run_stop", status="aborted" if trainer.target is not None else "success", epoch_num=trainer.epochs
        )
    return trainer.reached


def _reached(epoch: int, trainer: Trainer) -> Reached:
    wall_time = trainer.watch.read()
    step = epoch * trainer.steps_per_epoch
    return Reached(epoch=epoch, step=step, seconds=wall_time.total, setup_seconds=wall_time.setup)


def _reached_before(state: State, target: float | None) -> Reached | None:
    """When an earlier process of the session reached the target, unless that was another one."""
    if target is None or state.reached is None:
        return None
    good_enough = (record.epoch for record in state.records if record.test_accuracy >= target)
    return state.reached if next(good_enough, None) == state.reached.epoch else None


def _begin_log(trainer: Trainer) -> None:
    """Write what MLPerf's log has before the first epoch, or in the log of a session that goes on from where."""
    log, config, state = trainer.log, trainer.session.config, trainer.state
    if trainer.reached:
        log.close()
        return
    if not log.begun:
        images = trainer.steps_per_epoch * config.batch_size, len(trainer.testing.split)
        write_hyperparameters(log, config, trainer.session.recipe, trainer.epochs, images)
        log.end("init_stop")
        log.begin("run_start")
    if state.records or state.part:
        steps = len(state.records) * trainer.steps_per_epoch + (state.part.steps if state.part else 0)
        log.point("resumed", steps, namespace="gnet")


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
def _out_of_memory_named(config: StepConfig) -> Iterator[None]:
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise TooLittleMemoryError(
            f"batch_size: {config.batch_size} images of {config.image_size} pixels a side do not fit into the memory "
            f"of {config.device}; use a smaller --batch-size or --image-size"
        ) from error
