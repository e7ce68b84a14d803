"""A trained network as files for others: Keras' own format, and TensorFlow's SavedModel."""

from __future__ import annotations

import contextlib
import io
import secrets
import shutil
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError
from gnet_core.files.whole import PARTIAL_PREFIX, written_whole


def write_keras(path: Path, model: Any) -> None:
    """Write a .keras file, whole or not at all. Raises OSError."""
    content = _InMemory()
    model.save(content)
    with written_whole(path) as partial:
        partial.write_bytes(content.getbuffer())


def write_saved_model(folder: Path, model: Any) -> None:
    """Write a SavedModel, images → (main, class_1, class_2), whole or not at all; an earlier one is replaced.

    Raises OSError, tf.errors.OpError, and GnetError where a link or a file is in its place.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise GnetError(f"{folder}: it is no folder of its own, in whose place a SavedModel could stand; move it away")
    partial = folder.with_name(f"{PARTIAL_PREFIX}{secrets.token_hex(8)}")
    try:
        model.export(str(partial), verbose=False)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except BaseException:
        with contextlib.suppress(OSError):  # which would hide why it ends
            shutil.rmtree(partial, ignore_errors=True)
        raise


class _InMemory(io.BytesIO):
    """A .keras file in memory: on a full disk HDF5 would end the process with a segmentation fault at its exit."""

    def __str__(self) -> str:
        return "network.keras"  # Keras chooses the format by the ending of a name
