"""The images of a training session, written down beside it, so that it goes on with the same ones or not at all."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Final, Literal

import msgspec

from gnet_core.config import GnetError
from gnet_core.datasets.catalog import fingerprint
from gnet_core.datasets.data_set import DataSet, Split
from gnet_core.files.json_documents import read_json, typed
from gnet_core.files.whole import MAX_TEXT_BYTES, write_whole

SPLIT_FILE = "split.json"
FORMAT_VERSION: Final = 1


class RecordedSplit(msgspec.Struct, frozen=True, kw_only=True):
    """split.json. Paths are written as Python writes them in ASCII, since file names need not be UTF-8."""

    format_version: Literal[1] = FORMAT_VERSION
    fingerprint: str
    """See gnet_core.datasets.catalog.fingerprint. Of images in arrays and records it is all there is."""
    train: list[str] | None
    test: list[str] | None

    @classmethod
    def of(cls, data: DataSet) -> RecordedSplit:
        """Raises GnetError for a file that is gone."""
        return cls(fingerprint=fingerprint(data), train=_paths(data.train), test=_paths(data.test))

    def write(self, directory: Path) -> None:
        """Write split.json, without paths that would be too many to be read again. Raises OSError."""
        text = json.dumps(msgspec.to_builtins(self)) + "\n"
        if len(text) > MAX_TEXT_BYTES:
            text = json.dumps({**msgspec.to_builtins(self), "train": None, "test": None}) + "\n"
        write_whole(directory / SPLIT_FILE, text)


def require_same(directory: Path, data: DataSet) -> None:
    """Raise GnetError naming what differs from the images of the session in a directory, and a damaged split.json.

    Sessions of older versions have none, and go on as they did.
    """
    path = directory / SPLIT_FILE
    if not os.path.lexists(path):
        return
    try:
        document, _ = read_json(path, directory, strict=True)
        there = typed(str(path), document, RecordedSplit)
    except GnetError as error:
        raise GnetError(f"resume: {str(path)!r} is damaged ({error})") from None
    here = RecordedSplit.of(data)
    if here.fingerprint == there.fingerprint:
        return
    session = f"the session in {str(directory)!r}"
    for part, ours, theirs in (("train", here.train, there.train), ("test", here.test, there.test)):
        for present, recorded in itertools.zip_longest(ours or (), theirs or ()):
            if present != recorded:
                what = f"to {part} with, {present or 'nothing'} stands where {session} had {recorded or 'nothing'}"
                raise GnetError(f"data: {what}; give it the images that it had, or start anew with --out")
    raise GnetError(f"data: images of {data.name!r:.200} have changed since {session} began; start anew with --out")


def _paths(split: Split) -> list[str] | None:
    return list(map(ascii, split.images)) if isinstance(split.images, tuple) else None
