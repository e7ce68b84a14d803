"""In the process of one session: train it as gnet train would, and tell how far it is and why it ends."""

from __future__ import annotations

import os
import sys
from typing import Any

from gnet_core.config import GnetError
from gnet_core.run.protocol import Channel
from gnet_core.run.timer import failure_kind, first_line
from gnet_core.time_to_accuracy.task import SessionTask


def train_session(benchmark: Any, task: SessionTask, channel: Channel | None) -> None:
    """Train a session as pytest-benchmark's one round. An error is reported through the channel and raised again."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # before tqdm is imported: nobody sees the bar of this process
    try:
        benchmark.pedantic(_train, args=(task, channel), rounds=1, iterations=1)
    except Exception as error:
        if channel:
            channel.send(event="failed", kind=_kind(error), message=_message(error))
        raise


def _train(task: SessionTask, channel: Channel | None) -> None:
    from gnet_core.datasets.catalog import open_data
    from gnet_core.frameworks.tf import decode_check
    from gnet_core.frameworks.tf import device as devices
    from gnet_core.training import training
    from gnet_core.training.ledger import process_seconds
    from gnet_core.training.session import EpochRecord

    def told(record: EpochRecord) -> None:
        if channel:
            channel.send(event="epoch", epoch=record.epoch, accuracy=record.test_accuracy, seconds=record.epoch_seconds)

    devices.make_repeatable(task.config)
    devices.prepare(task.config)
    dataset = decode_check.decodable(open_data(task.config.data), strict=False, progress=_note)
    training.train(
        task.config,
        dataset,
        task.directory,
        task.epochs,
        recipe=task.recipe,
        memory_bytes=task.memory_bytes,
        resume=task.resume,
        target=task.target,
        stop_at_target=task.stop_at_target,
        mllog=task.mllog,
        import_seconds=process_seconds(),
        told=told,
    )


def _note(message: str) -> None:
    print(message, file=sys.stderr)


def _kind(error: Exception) -> str:
    from gnet_core.training.session import NotFiniteError
    from gnet_core.training.training import TooLittleMemoryError

    if isinstance(error, NotFiniteError):
        return "not-finite"
    return "oom" if isinstance(error, TooLittleMemoryError) else failure_kind(error)


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, GnetError) else first_line(error)
