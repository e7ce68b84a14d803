"""Strict JSON out of files that anybody may have made: whatever does not fit is named by file and field."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from gnet_core.config import GnetError
from gnet_core.files import bounded
from gnet_core.files.whole import MAX_TEXT_BYTES, READABLE_FORMAT_VERSIONS

Fields = Mapping[str, type | tuple[type, ...]]

CASE_NAME = re.compile(r"[A-Za-z0-9_.=@+-]{1,250}")
"""Form of the name of a case. It goes into tables and commands, so nothing else is accepted."""

_KINDS = {
    str: "text",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    int: "a whole number",
    NoneType: "null",
    object: "anything",
}

MOST_WHOLE = 2**63
"""A whole number beyond is none that was measured, and too large to calculate with."""


def read_json(
    path: Path, directory: Path, *, strict: bool = False, limit: int = MAX_TEXT_BYTES
) -> tuple[dict[str, Any], str]:
    """The JSON object in a file of `directory` that has at most `limit` bytes, and a digest of the file.

    Raises GnetError naming the file; `strict` also refuses NaN and endless numbers.
    """
    hooks: dict[str, Any] = {}
    if strict:
        hooks = {"parse_constant": _refuse_number, "parse_float": _finite_float, "parse_int": _whole_number}
    data = bounded.read_bytes(path, directory, limit)
    try:
        text = data.decode("utf-8")
        document = json.loads(text, **hooks)
        if "\\ud" in text.casefold():
            json.dumps(document, ensure_ascii=False).encode()  # half of a surrogate pair is no character
    except (ValueError, RecursionError) as error:
        raise GnetError(f"{path}: it cannot be read as JSON ({error})") from error
    if not isinstance(document, dict):
        raise GnetError(f"{path}: it holds no JSON object")
    return document, hashlib.sha256(data).hexdigest()


def read_versioned(path: Path, directory: Path) -> dict[str, Any]:
    """Such an object, strictly, of a format version that is read. Raises GnetError naming the file."""
    document, _digest = read_json(path, directory, strict=True)
    require_version(path, document.get("format_version"))
    return document


def require_version(path: Path, version: Any) -> None:
    """Raise GnetError unless a file's format_version is one that is read."""
    if version not in READABLE_FORMAT_VERSIONS or isinstance(version, bool | float):
        read = " and ".join(map(str, READABLE_FORMAT_VERSIONS))
        raise GnetError(f"{path}: format_version is {version!r:.60}; this version of gnet reads {read}")


def require_fields(where: str, document: Any, fields: Fields) -> None:
    """Raise GnetError beginning with `where` for a field that is missing or of another type."""
    if not isinstance(document, dict):
        raise GnetError(f"{where}: {document!r:.60} is no object")
    for field, kind in fields.items():
        if field not in document:
            raise GnetError(f"{where}: field {field!r} is missing; is it a run.json of another program?")
        kinds = (kind,) if isinstance(kind, type) else kind
        is_flag = isinstance(document[field], bool)  # which is a whole number to Python
        if not isinstance(document[field], kinds) or (is_flag and not {bool, object} & set(kinds)):
            wanted = " or ".join(_KINDS[each] for each in kinds)
            raise GnetError(f"{where}: field {field!r} is {document[field]!r:.60}; it has to be {wanted}")


def _finite_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def _whole_number(text: str) -> int:
    value = int(text) if len(text) <= 20 else MOST_WHOLE
    return value if abs(value) < MOST_WHOLE else int(_refuse_number(f"{text:.20}"))


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")
