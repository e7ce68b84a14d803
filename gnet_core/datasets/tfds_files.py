"""What TensorFlow Datasets has prepared in a local directory, by the extra `tfds`. Nothing is downloaded.

The package reads the directory's own description and no code of the data set; the records themselves are TFRecord files
of encoded images, which our own pipeline reads as those of a pack.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from gnet_core.config import MAX_CLASSES, GnetError, bad_data
from gnet_core.datasets.data_set import DataSet, RecordFiles, Split, header_array
from gnet_core.datasets.image_files import usable_header
from gnet_core.datasets.image_headers import HeaderError, PictureHeader

PREFIX = "tfds:"
_FORM = "tfds:NAME@DIR, where DIR holds what TensorFlow Datasets has prepared"
_DESCRIPTION = "features.json"
_IMAGE_SIZE = 224


def absolute(name: str) -> str:
    """The name with its directory made absolute."""
    data_set, directory = _parts(name)
    return f"{PREFIX}{data_set}@{Path(directory).resolve()}"


def open_prepared(name: str) -> DataSet:
    """The data set of a name such as tfds:dtd@DIR, whose splits are called train and test.

    Each record is looked at once, since only they have the labels. What their EXIF data say of turning is left alone,
    as TensorFlow Datasets itself leaves it, and alpha is dropped. Raises GnetError where the extra is not installed,
    nothing is prepared there or it holds no images with a label each.
    """
    data_set, directory = _parts(name)
    prepared = _prepared(name, Path(directory), data_set)
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise GnetError(
            f"data: {name!r:.200} needs the package tensorflow-datasets ({error!s:.200}); "
            "pip install -e '.[tfds]' in the checkout"
        ) from None
    try:
        builder = tfds.builder_from_directory(os.fspath(prepared))
        features, splits = builder.info.features, builder.info.splits
    except Exception as error:  # its readers raise whatever a damaged description leads them to
        raise bad_data(prepared, f"cannot be read by tensorflow-datasets ({error!s:.200}); prepare it again") from None
    for feature in ("image", "label"):
        if feature not in features:
            raise bad_data(prepared, f"has no feature {feature!r}; it needs an image and a label")
    for part in ("train", "test"):
        if part not in splits:
            raise bad_data(prepared, f"has the splits {', '.join(splits)}; it needs train and test")
    class_names = tuple(features["label"].names)
    if not 2 <= len(class_names) <= MAX_CLASSES:
        raise bad_data(prepared, f"has {len(class_names)} classes; it needs from 2 to {MAX_CLASSES}")
    train, test = (_open_split(tfds, builder, prepared, part) for part in ("train", "test"))
    return DataSet(name, class_names, train, test, _IMAGE_SIZE)


def _parts(name: str) -> tuple[str, str]:
    data_set, at, directory = name.removeprefix(PREFIX).partition("@")
    if not (data_set and at and directory):
        raise GnetError(f"data: {name!r:.200} is incomplete; use {_FORM}")
    return data_set, directory


def _prepared(name: str, directory: Path, data_set: str) -> Path:
    """The one folder of a version that holds a description: DIR itself, or one below DIR/NAME."""
    if (directory / _DESCRIPTION).is_file():
        return directory
    found = sorted(path.parent for path in (directory / data_set).glob(f"**/{_DESCRIPTION}"))
    if not found:
        raise GnetError(f"data: {name!r:.200} is not prepared there; use {_FORM}")
    if len(found) > 1:
        listed = ", ".join(str(path) for path in found[:3])
        raise GnetError(f"data: {name!r:.200} is there {len(found)} times ({listed}); name one of these folders as DIR")
    return found[0]


def _open_split(tfds: Any, builder: Any, prepared: Path, part: str) -> Split:
    # One shard after the other and in order, so that labels[i] is the label of record i.
    examples = builder.as_dataset(
        split=part,
        shuffle_files=False,
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        decoders={"image": tfds.decode.SkipDecoding()},
    )
    labels: list[int] = []
    headers: list[PictureHeader] = []
    for number, example in enumerate(tfds.as_numpy(examples)):
        try:
            headers.append(usable_header(io.BytesIO(example["image"])))
        except HeaderError as error:
            raise bad_data(prepared, f"record {number} of {part} {error}") from None
        labels.append(int(example["label"]))
    if not labels:
        raise bad_data(prepared, f"has no images in {part}")
    files = builder.info.splits[part].file_instructions
    paths = tuple(os.fspath(file.filename) for file in files)
    statuses = [Path(path).stat() for path in paths]
    records = RecordFiles(
        paths=paths,
        counts=tuple(int(file.examples_in_shard) for file in files),
        sizes_bytes=tuple(status.st_size for status in statuses),
        digest=ascii([(path, one.st_size, one.st_mtime_ns) for path, one in zip(paths, statuses, strict=True)]),
    )
    return Split(records, np.array(labels, np.uint16), header_array(headers))
