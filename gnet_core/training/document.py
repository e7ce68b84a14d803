"""training.json: what a session leaves for its report, as types that refuse by field whatever does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gnet_core.config import MIN_IMAGE_SIZE, GnetError, StepConfig
from gnet_core.files.json_documents import Count, Positive, read_json, typed
from gnet_core.files.migrations import read_config
from gnet_core.machine.environment import Environment
from gnet_core.training.ledger import WallTime
from gnet_core.training.recipe import Recipe
from gnet_core.training.session import EpochRecord, Reached, RecordedData

DOCUMENT_FILE = "training.json"
SAMPLE_SIDE = MIN_IMAGE_SIZE
"""Pixels a side of a picture in the sheet: the smallest that the input pipeline makes."""
MAX_SAMPLES = 24

_SAMPLE_BYTES = SAMPLE_SIDE * SAMPLE_SIDE * 3

Fraction = Annotated[float, Meta(ge=0, le=1, description="a fraction from 0 to 1")]
Seconds = Annotated[float, Meta(ge=0, le=2.0**53, description="a number of seconds, 0 or more")]
Pixels = Annotated[
    bytes,
    Meta(
        min_length=_SAMPLE_BYTES,
        max_length=_SAMPLE_BYTES,
        description=f"{_SAMPLE_BYTES} bytes in base 64",
    ),
]


class Confusion(msgspec.Struct, frozen=True, kw_only=True):
    """Test images of one class of which one class was said, the same or another; positions in the class names."""

    label: Count
    said: Count
    images: Positive


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A test image with what was said of it, and how sure of it the network was."""

    label: Count
    said: Count
    probability: Fraction
    pixels: Pixels
    """RGB levels, row by row, of SAMPLE_SIDE × SAMPLE_SIDE pixels."""


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """training.json: a session as far as it has come."""

    format_version: Literal[1]
    created: str
    """When it was written."""
    environment: Environment
    """The machine and the software of the process that has written it."""
    config: dict[str, Any]
    recipe: Recipe
    epochs: Positive
    """As many as were asked for."""
    steps_per_epoch: Positive
    data_set: RecordedData
    history: Annotated[list[EpochRecord], Meta(min_length=1, description="a list of one epoch or more")]
    wall_time: WallTime
    wall_seconds: Seconds
    """Wall time by a clock of its own, to which the ledger has to sum."""
    target: Fraction | None
    reached: Reached | None
    mllog: str | UnsetType = UNSET
    """Name of the file with MLPerf's log lines, where there is one."""
    confusion: list[Confusion]
    """Of all test images, at the end of the last epoch of the history."""
    samples: Annotated[list[Sample], Meta(max_length=MAX_SAMPLES, description=f"a list of at most {MAX_SAMPLES}")]

    @property
    def case(self) -> StepConfig:
        return read_config(self.config)


def is_training(directory: Path) -> bool:
    """Whether a session of gnet train left its document in the directory."""
    return (directory / DOCUMENT_FILE).exists()


def read_training(directory: Path) -> Training:
    """The document in a directory. Raises GnetError naming the file and the field that is missing or wrong."""
    path = directory / DOCUMENT_FILE
    document, _digest = read_json(path, directory, strict=True)
    training = typed(str(path), document, Training)
    try:
        _ = training.case
    except GnetError as error:
        raise GnetError(f"{path}: {error}") from None
    classes = len(training.data_set.class_names)
    of_classes: dict[str, Sequence[Confusion | Sample]] = {"confusion": training.confusion, "samples": training.samples}
    for field, items in of_classes.items():
        for number, item in enumerate(items):
            if max(item.label, item.said) >= classes:
                raise GnetError(f"{path}: field '{field}[{number}]' is of a class beyond the {classes} that there are")
    for epoch, record in enumerate(training.history, start=1):
        if record.epoch != epoch:
            raise GnetError(f"{path}: field 'history[{epoch - 1}]' is of epoch {record.epoch}; it has to be of {epoch}")
    return training
