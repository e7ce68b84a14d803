"""The files from which a training session is resumed: train.json, its configuration, and state.npz, its state."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets.data_set import DataSet, RecordFiles
from gnet_core.datasets.recorded_split import RecordedSplit
from gnet_core.files.json_documents import Count, Positive, typed
from gnet_core.files.migrations import read_config
from gnet_core.files.whole import open_regular, read_text, write_whole, written_whole
from gnet_core.system.claims import claimed
from gnet_core.training.ledger import WallTime
from gnet_core.training.recipe import PLAIN, Recipe

SESSION_FILE = "train.json"
STATE_FILE = "state.npz"

MAX_HISTORY_BYTES = 2**26
"""Largest size of the epochs' records in state.npz, at four bytes a character. Ten thousand epochs fit."""
_MAX_HEADER_BYTES = 1024  # of zip and NumPy before the values of an array
_END_BYTES = 42
"""Last bytes of a zip file, with its directory's size: the locator that only very large files have, then the end."""
_DAMAGE = (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, struct.error, zipfile.BadZipFile)
_MAX_NUMBER = 2.0**53  # seconds, images a second and steps beyond are none that were measured
_MAX_LOSS = float(np.finfo(np.float32).max)

Array = npt.NDArray[Any]

_Loss = Annotated[float, Meta(ge=-_MAX_LOSS, le=_MAX_LOSS, description="a number of float32")]
_Fraction = Annotated[float, Meta(ge=0, le=1, description="a fraction from 0 to 1")]
_Amount = Annotated[float, Meta(ge=0, le=_MAX_NUMBER, description="a number, 0 or more")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One finished epoch, counted from 1: a row of history.csv.

    Losses are cross-entropies in nats with the auxiliary ones weighted in; accuracies are fractions of the images that
    the main output names rightly. Training figures are means over steps, each with the weights it had and with labels
    smoothed as the recipe says. Testing figures are means over all test images, with labels as they are and the weights
    at the end of the epoch, or their averages where the recipe averages.
    """

    epoch: Count
    train_loss: _Loss
    train_accuracy: _Fraction
    test_loss: _Loss
    test_accuracy: _Fraction
    epoch_seconds: _Amount
    """Wall time of training and testing. Tracing and compiling fall into the first epoch after a start, and states that
    are saved amid the epoch into it."""
    images_per_second: _Amount
    """Images a second of the training part."""
    skipped_steps: Count
    """Steps that loss scaling left out because a gradient was not finite; only mixed_float16 can have any."""


def best(records: Sequence[EpochRecord]) -> EpochRecord:
    """The epoch of the highest test accuracy, of equals the first of the lowest test loss."""
    return max(records, key=lambda record: (record.test_accuracy, -record.test_loss))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartOfEpoch:
    """What was done of the epoch after the finished ones, in a state that was saved amid it."""

    steps: Positive
    loss_sum: _Loss
    """Sum over the images seen of the loss of their step, as float32 added it up."""
    metrics: list[_Loss]
    """Values of the variables of the step's metrics."""
    skipped_steps: Count
    seconds: _Amount


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reached:
    """When a session reached its target: at the end of which epoch, after how many steps and seconds of wall time."""

    epoch: Positive
    step: Positive
    seconds: _Amount
    setup_seconds: _Amount | None = None
    """Those of them that went into imports, building, tracing and compiling; older versions did not tell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """How far a session is, beside the values of its variables."""

    records: list[EpochRecord] = dataclasses.field(default_factory=list)
    """The finished epochs 1, 2, 3 …"""
    part: PartOfEpoch | None = None
    wall_time: WallTime = dataclasses.field(default_factory=WallTime)
    reached: Reached | None = None
    """When the target that was asked for last was reached."""

    def to_json(self) -> str:
        """What was not there in older versions is not written where it says nothing."""
        plain = dataclasses.asdict(self)
        if self.reached is None:
            del plain["reached"]
        return json.dumps(plain)

    @property
    def words(self) -> str:
        """What of it is saved, in words."""
        epochs = len(self.records)
        finished = {0: "", 1: "epoch 1"}.get(epochs, f"epochs 1 to {epochs}")
        steps = self.part.steps if self.part else 0
        begun = f"{steps} step{'s' * (steps > 1)} of epoch {epochs + 1}" if steps else ""
        if not finished and not begun:
            return "no epoch was finished, so nothing is kept"
        several = epochs + steps > 1
        return f"{' and '.join(filter(None, (finished, begun)))} {'are' if several else 'is'} saved"


class NotFiniteError(GnetError):
    """A loss or a weight that is no number any more, so that the session cannot go on."""


class RecordedData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A data set as far as a session that goes on has to find it unchanged. Its images are in split.json."""

    data: str
    class_names: list[str]
    train_images: int
    test_images: int
    memory: Count = 0
    """Of data in records, the memory in bytes for keeping them, on which the order of training hangs. What is at its
    default is not written, as older versions did not."""


class _SessionFile(msgspec.Struct, frozen=True, kw_only=True):
    """train.json, as far as it is read."""

    config: dict[str, Any]
    data_set: RecordedData
    recipe: Recipe | None = None
    epochs: Positive | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
    """The case, the data and the recipe that a session's epochs have in common."""

    config: StepConfig
    data_set: RecordedData
    recipe: Recipe = PLAIN
    epochs: int | None = None
    """Length of the run; None where the recipe does not depend on it, so that it may be extended."""
    unrecorded: frozenset[str] = frozenset()
    """Fields of the configuration that train.json, which an older version wrote, does not have."""
    split: RecordedSplit | None = dataclasses.field(default=None, compare=False)
    """The images of a session that begins. One that goes on has them in split.json, where they are compared."""

    @classmethod
    def of(
        cls,
        config: StepConfig,
        dataset: DataSet,
        recipe: Recipe = PLAIN,
        epochs: int | None = None,
        memory_bytes: int = 0,
    ) -> Session:
        """The session that begins, with `memory_bytes` to keep images in. Raises GnetError for a file that is gone."""
        data_set = RecordedData(
            data=dataset.name,
            class_names=list(dataset.class_names),
            train_images=len(dataset.train),
            test_images=len(dataset.test),
            memory=memory_bytes if isinstance(dataset.train.images, RecordFiles) else 0,
        )
        length = epochs if recipe.depends_on_length else None
        split = RecordedSplit.of(dataset)
        return cls(config=config, data_set=data_set, recipe=recipe, epochs=length, split=split)

    @classmethod
    def read(cls, directory: Path) -> Session:
        """The session in a directory. Raises GnetError naming train.json where it is missing or damaged."""
        path = directory / SESSION_FILE
        try:
            recorded = typed(SESSION_FILE, _strict_json(read_text(path)), _SessionFile)
            config = read_config(recorded.config)
            recipe = recorded.recipe or PLAIN
            if recipe.depends_on_length and recorded.epochs is None:
                raise GnetError("field 'epochs' is missing, on which its recipe depends")
        except FileNotFoundError:
            raise GnetError(
                f"resume: {str(path)!r} is missing, so there is no finished epoch to go on from; "
                "name the directory of a session, or start one with --out"
            ) from None
        except GnetError as error:
            raise GnetError(f"resume: {str(path)!r} is damaged ({error})") from None
        except _DAMAGE as error:
            raise _damaged(path, error) from None
        unrecorded = frozenset(config.to_dict().keys() - recorded.config.keys())
        return cls(
            config=config,
            data_set=recorded.data_set,
            recipe=recipe,
            epochs=recorded.epochs,
            unrecorded=unrecorded,
        )

    def write(self, directory: Path, tensorflow: dict[str, Any]) -> None:
        """Write train.json, which also describes the TensorFlow that began it, and before it split.json."""
        if self.split:
            self.split.write(directory)
        document = {"format": 1, **self._document(), "python": platform.python_version(), "tensorflow": tensorflow}
        # In ASCII, since file names that are no UTF-8 could not be written otherwise.
        write_whole(directory / SESSION_FILE, json.dumps(document, indent=2) + "\n")

    def require_same(self, other: Session, directory: Path) -> None:
        """Raise GnetError naming the first field in which the session asked for differs from the one in a directory."""
        data_set, there = (msgspec.structs.asdict(session.data_set) for session in (self, other))
        differences = self.config.differences(other.config)
        differences |= {field: (value, there[field]) for field, value in data_set.items() if value != there[field]}
        recipe, recorded = (dataclasses.asdict(session.recipe) for session in (self, other))
        differences |= {field: (value, recorded[field]) for field, value in recipe.items() if value != recorded[field]}
        if self.epochs != other.epochs:
            differences["epochs"] = (self.epochs, other.epochs)
        for field, (value, use) in differences.items():
            raise GnetError(f"{field}: {value!r:.200} differs from the session in {str(directory)!r}; use {use!r:.200}")

    def digest(self, values: Sequence[Array], history: str) -> str:
        """SHA-256 of the session, its variables and its history, which are useful only together."""
        digest = hashlib.sha256(json.dumps(self._document(), sort_keys=True).encode())
        for value in values:
            digest.update(f"{value.dtype.str} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).data)
        digest.update(history.encode())
        return digest.hexdigest()

    def _document(self) -> dict[str, Any]:
        """The contents of train.json."""
        config = {field: value for field, value in self.config.to_dict().items() if field not in self.unrecorded}
        document: dict[str, Any] = {"config": config, "data_set": msgspec.to_builtins(self.data_set)}
        if self.recipe != PLAIN:  # which was the only one before there were recipes
            document |= {"recipe": dataclasses.asdict(self.recipe), "epochs": self.epochs}
        return document


def recorded_session(directory: Path) -> Session:
    """The session in a directory. Raises BusyError where it is under way, GnetError where none is."""
    if not directory.is_dir():
        raise GnetError(f"resume: {str(directory)!r} is no directory; name the directory of a session")
    with claimed(directory):
        return Session.read(directory)


def save_state(path: Path, session: Session, variables: Sequence[Any], state: State) -> None:
    """Write the variables and how far the session is, whole or not at all. Raises GnetError for values that are not
    finite.
    """
    # Plain arrays in the variables' order leave nothing out; tf.train.Checkpoint and .weights.h5 lack dropout's seeds.
    values = [np.asarray(variable.numpy()) for variable in variables]
    for variable, value in zip(variables, values, strict=True):
        if not np.isfinite(value).all():
            when = f"step {state.part.steps} of epoch {len(state.records) + 1}" if state.part else ""
            when = when or f"epoch {len(state.records)}"
            raise NotFiniteError(f"weights: {variable.path} is not finite after {when}, so it cannot go on")
    history = state.to_json()
    with written_whole(path) as partial:
        np.savez(partial, *values, history=history, sha256=session.digest(values, history))


def load_state(path: Path, session: Session, variables: Sequence[Any]) -> State:
    """Set the variables to a saved state and return how far it is; where there is none, nothing was done.

    Nothing is set unless all of the file is as save_state writes it. Raises GnetError naming the file.
    """
    if not os.path.lexists(path):
        return State()
    kinds = [(np.dtype(variable.dtype), tuple(variable.shape)) for variable in variables]
    try:
        values, history, sha256 = _read_state(path, kinds)
        if not all(np.isfinite(value).all() for value in values):
            raise ValueError("values are not finite")
        if sha256 != session.digest(values, history):
            raise ValueError(f"its digest is not that of its content and {SESSION_FILE}")
        state = _state(history)
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return state


def _read_state(path: Path, kinds: Sequence[tuple[np.dtype[Any], tuple[int, ...]]]) -> tuple[list[Array], str, str]:
    """The arrays of the kinds asked for, the history and the digest. No more is read than these can need."""
    limits = {f"arr_{number}.npy": math.prod(shape) * dtype.itemsize for number, (dtype, shape) in enumerate(kinds)}
    limits |= {"history.npy": MAX_HISTORY_BYTES, "sha256.npy": 4 * hashlib.sha256().digest_size * 2}
    with open_regular(path, sum(limits.values()) + 2 * _MAX_HEADER_BYTES * len(limits)) as file:
        _require_short_directory(file, len(limits))
        contents: dict[str, bytes] = {}
        with zipfile.ZipFile(file) as archive:
            if sorted(archive.namelist()) != sorted(limits):
                raise ValueError("its arrays are not those of the network")
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                    raise ValueError(f"{info.filename} is compressed")
                if info.file_size > limits[info.filename] + _MAX_HEADER_BYTES:
                    raise ValueError(f"{info.filename} is too large")
                contents[info.filename] = archive.read(info)
    values = [_array(contents[f"arr_{number}.npy"], *kind) for number, kind in enumerate(kinds)]
    return values, _text(contents["history.npy"]), _text(contents["sha256.npy"])


def _require_short_directory(file: BinaryIO, entries: int) -> None:
    """Raise ValueError unless a zip file's directory is of so many entries: zipfile makes an object of each."""
    file.seek(-_END_BYTES, os.SEEK_END)
    locator, end = file.read(20), file.read()
    signature, *_, there, directory_bytes, _, comment_bytes = struct.unpack("<4s4H2IH", end)
    file.seek(0)
    if signature != b"PK\5\6" or locator.startswith(b"PK\6\7") or comment_bytes:
        raise ValueError("it is no zip file of ours")
    if there != entries or directory_bytes > entries * _MAX_HEADER_BYTES:
        raise ValueError("its arrays are not those of the network")


def _array(content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """The array in a .npy file, whose header has to be exactly what NumPy writes for that kind of array."""
    start = 10 + int.from_bytes(content[8:10], "little")
    header = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    if content[:8] != b"\x93NUMPY\1\0" or content[10:start].rstrip() != header:
        raise ValueError("an array is of another type or shape")
    return np.frombuffer(content[start:], dtype).reshape(shape)


def _text(content: bytes) -> str:
    characters = (len(content) - 10 - int.from_bytes(content[8:10], "little")) // 4
    return str(_array(content, np.dtype(f"<U{characters}"), ()))


def _state(history: str) -> State:
    """How far a session is; raises ValueError for whatever cannot have been. Older versions wrote the records alone."""
    plain = _strict_json(history)
    if isinstance(plain, list):
        plain = json.loads(State().to_json()) | {"records": plain}
    state = typed("history", plain, State)
    if json.loads(state.to_json()) != plain:
        raise ValueError("it holds what is of no epoch")
    if not state.records and state.part is None:
        raise ValueError("it holds no epoch")
    for epoch, record in enumerate(state.records, start=1):
        if record.epoch != epoch:
            raise ValueError(f"epoch {record.epoch} stands where {epoch} should")
    return state


def _strict_json(text: str) -> Any:
    """JSON without what Python reads beyond it; an object has each member once."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no number of JSON")

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("an object has a member twice")
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=members)


def _damaged(path: Path, error: Exception) -> GnetError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{error!s:.200}"
    reason = reason or type(error).__name__
    return GnetError(f"resume: {str(path)!r} is damaged ({reason}); put a copy of it back, or start anew with --out")
