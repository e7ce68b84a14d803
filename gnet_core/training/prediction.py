"""What a trained network says of images, loaded from a session's directory or from its .keras file."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gnet_core.config import GnetError
from gnet_core.datasets.image_files import look_at
from gnet_core.files.whole import open_regular
from gnet_core.frameworks.tf.input_pipeline import decoded_image
from gnet_core.frameworks.tf.model import GoogleNet_2
from gnet_core.training.results import BEST_FILE
from gnet_core.training.session import SESSION_FILE, Session

MAX_NETWORK_BYTES = 2**32
"""Largest .keras file that is read; GoogleNet_2 of 65,536 classes has less."""

_UNREADABLE = (
    *(OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, ImportError),
    *(zipfile.BadZipFile, tf.errors.OpError),
)
"""What Keras may raise for a file that is damaged or was never one of its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guess:
    """A class that an image may be of."""

    class_name: str
    probability: float


class TrainedNetwork:
    """GoogleNet_2 with trained weights and the names of its classes.

    Raises GnetError from its constructor for what is neither a session's directory nor its .keras file, for a file that
    is damaged or holds another network, and for a session whose classes are not the network's.
    """

    def __init__(self, path: Path) -> None:
        file = path / BEST_FILE if path.is_dir() else path
        self._model = _load(file)
        _, self._size, _, _ = self._model.inception_model.input_shape
        classes = int(self._model.inception_model.output_shape[-1])
        self._class_names = tuple(map(str, range(classes)))
        if path.is_dir() or (file.parent / SESSION_FILE).exists():
            self._class_names = tuple(Session.read(file.parent).data_set.class_names)
        if len(self._class_names) != classes:
            raise GnetError(
                f"model: {str(file)!r} tells {classes} classes apart and {SESSION_FILE} beside it names "
                f"{len(self._class_names)}; put the files of one session together"
            )

    def guesses(self, image: Path, most: int) -> list[Guess]:
        """The most probable classes of an image file, the first one first. Raises GnetError naming the file where it
        cannot be decoded.
        """
        pixels = decoded_image(look_at(image), int(self._size))
        logits = self._model.main_output(pixels[tf.newaxis], training=False)
        probabilities = tf.nn.softmax(logits[0]).numpy()
        first = np.argsort(-probabilities, kind="stable")[:most].tolist()
        return [Guess(class_name=self._class_names[place], probability=float(probabilities[place])) for place in first]


def _load(path: Path) -> GoogleNet_2:
    try:
        with open_regular(path, MAX_NETWORK_BYTES):
            pass
        if path.suffix != ".keras":
            raise GnetError(f"model: {str(path)!r} is no .keras file; name a session's directory or its {BEST_FILE}")
        model = keras.saving.load_model(path, compile=False)
    except FileNotFoundError:
        raise GnetError(
            f"model: {str(path)!r} is missing; name the directory of a session in which an epoch was finished, or a "
            ".keras file"
        ) from None
    except GnetError:
        raise
    except _UNREADABLE as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise GnetError(f"model: {str(path)!r} cannot be loaded ({why:.200})") from error
    if not isinstance(model, GoogleNet_2):
        raise GnetError(f"model: {str(path)!r} holds {type(model).__name__:.60}; it has to be GoogleNet_2")
    return model
