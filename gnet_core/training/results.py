"""What a session under way writes: its states, its networks, its table and the document that reports are made of."""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pandas as pd
import tensorflow as tf

from gnet_core.config import GnetError
from gnet_core.files import csv_text
from gnet_core.files.whole import write_whole
from gnet_core.frameworks.tf import device
from gnet_core.machine.environment import Environment
from gnet_core.training import judgement
from gnet_core.training.document import DOCUMENT_FILE, Training
from gnet_core.training.exports import write_keras, write_saved_model
from gnet_core.training.session import STATE_FILE, EpochRecord, RecordedData, State, best, save_state
from gnet_core.training.trainer import Trainer

HISTORY_FILE = "history.csv"
BEST_FILE = "best.keras"
FINAL_FILE = "final.keras"
SAVED_MODEL_FOLDER = "saved_model"


@contextlib.contextmanager
def errors_of_writing(trainer: Trainer) -> Iterator[None]:
    try:
        yield
    except (OSError, tf.errors.OpError) as error:  # TensorFlow writes its own files, and tells of them in its own way
        kept = bool(trainer.state.records or trainer.state.part)
        then = f"{trainer.state.words}{'; once it can be, go on with --resume' if kept else ''}"
        if kept and not (trainer.out / STATE_FILE).exists():
            then = "what was saved there is gone"
        reason = getattr(error, "strerror", None) or f"{error!s:.300}"
        raise GnetError(f"out: {str(trainer.out)!r} cannot be written: {reason}; {then}") from error


def save_epoch(record: EpochRecord, trainer: Trainer) -> None:
    """Write an epoch's state, then what a user looks at."""
    records = [*trainer.state.records, record]
    with trainer.watch.of("checkpoint"), errors_of_writing(trainer):
        save(trainer, State(records=records, wall_time=trainer.watch.read(), reached=trainer.reached))
        write_results(trainer)
        step = len(records) * trainer.steps_per_epoch
        trainer.scalars.write(record, step, trainer.learning_rate(step))


def save(trainer: Trainer, state: State) -> None:
    """Write a state, which counts as done from then on, and with the first one train.json."""
    if not trainer.state.records and trainer.state.part is None:
        trainer.session.write(trainer.out, msgspec.to_builtins(device.describe()))
    save_state(trainer.out / STATE_FILE, trainer.session, trainer.variables, state)
    trainer.state = state


def finish(trainer: Trainer, *, saved_model: bool) -> None:
    """Write the network as it is at the end, and the ledger that counts this as well."""
    with trainer.watch.of("checkpoint"), errors_of_writing(trainer):
        with trainer.averaged():
            write_keras(trainer.out / FINAL_FILE, trainer.model)
            if saved_model:
                write_saved_model(trainer.out / SAVED_MODEL_FOLDER, trainer.model)
        _write_document(trainer)


def write_results(trainer: Trainer) -> None:
    """Write what a user looks at: where the last epoch is the best one its network, then the table and the document."""
    records = trainer.state.records
    if best(records) is records[-1]:
        with trainer.averaged():
            write_keras(trainer.out / BEST_FILE, trainer.model)
    write_whole(trainer.out / HISTORY_FILE, csv_text.to_csv(pd.DataFrame(records)))
    _write_document(trainer)


def _write_document(trainer: Trainer) -> None:
    """Write training.json, of which `gnet report` makes pages."""
    if trainer.judgement is None:
        return
    config, split = trainer.session.config, trainer.testing.split
    wall_time = trainer.watch.read()
    document = Training(
        format_version=1,
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        environment=_environment(),
        config=_in_utf8(config.to_dict()),
        recipe=trainer.session.recipe,
        epochs=trainer.epochs,
        steps_per_epoch=trainer.steps_per_epoch,
        data_set=msgspec.convert(_in_utf8(msgspec.to_builtins(trainer.session.data_set)), RecordedData),
        history=trainer.state.records,
        wall_time=wall_time,
        wall_seconds=time.monotonic() - trainer.began,
        target=trainer.target,
        reached=trainer.reached,
        mllog=_in_utf8(trainer.mllog.name) if trainer.mllog else msgspec.UNSET,
        confusion=judgement.confusion(split, trainer.judgement),
        samples=judgement.samples(split, trainer.judgement, config),
    )
    write_whole(trainer.out / DOCUMENT_FILE, json.dumps(msgspec.to_builtins(document), indent=1) + "\n")


@functools.cache  # of one process it never changes, and looking takes as long as an epoch of a small data set
def _environment() -> Environment:
    return device.environment()


def _in_utf8(plain: Any) -> Any:
    """Plain data in which names that are no UTF-8 have a question mark for what is none, as pages have to."""
    return json.loads(json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace"))
