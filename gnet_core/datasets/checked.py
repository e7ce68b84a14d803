"""Which images of a data set were found not to decode, remembered in the user's cache, so that it is found out once."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from gnet_core.config import GnetError
from gnet_core.datasets.image_files import BrokenImage
from gnet_core.files.json_documents import read_json, typed
from gnet_core.files.whole import write_whole

FORMAT_VERSION: Final = 1
_KEY = re.compile(r"[A-Za-z0-9._-]{1,200}")


class _Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the cache."""

    format_version: Literal[1] = FORMAT_VERSION
    broken: list[BrokenImage]


def recorded(key: str) -> tuple[BrokenImage, ...] | None:
    """The images that were recorded under a key; None where nothing was, or what is there cannot be used."""
    path = _path(key)
    try:
        document, _ = read_json(path, path.parent, strict=True)
        return tuple(typed(str(path), document, _Checked).broken)
    except GnetError:
        return None


def record(key: str, broken: Sequence[BrokenImage]) -> None:
    """Record the broken images of the data set that has this key. A cache that cannot be written is left alone."""
    path = _path(key)
    text = json.dumps(msgspec.to_builtins(_Checked(broken=list(broken)))) + "\n"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


def _path(key: str) -> Path:
    """The file of a key, in the folder that the XDG Base Directory Specification has for caches."""
    assert _KEY.fullmatch(key), key
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = os.path.expanduser("~")  # noqa: PTH111  Path.home raises where there is none
    caches = Path(named) if named.startswith("/") else Path(home) / ".cache"
    return caches / "gnet" / f"decoded-{key}.json"
