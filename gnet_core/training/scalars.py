"""A session's figures for TensorBoard, which reads them while the session goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from gnet_core.files.whole import make_own_folder
from gnet_core.training.session import EpochRecord


class Scalars:
    """Writes a point of each curve an epoch, at its number of steps. A session that is resumed adds a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def write(self, record: EpochRecord, step: int, learning_rate: float) -> None:
        """Raises OSError or tf.errors.OpError where it cannot be written, GnetError where the folder is a link."""
        if self._writer is None:
            make_own_folder(self._folder)
            self._writer = tf.summary.create_file_writer(str(self._folder))
        figures = {
            "loss/train": record.train_loss,
            "loss/test": record.test_loss,
            "accuracy/train": record.train_accuracy,
            "accuracy/test": record.test_accuracy,
            "learning_rate": learning_rate,
            "images_per_second": record.images_per_second,
        }
        with self._writer.as_default(step=step):
            for name, value in figures.items():
                tf.summary.scalar(name, value)
        self._writer.flush()
