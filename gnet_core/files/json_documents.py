"""Strict JSON out of files that anybody may have made: whatever does not fit is named by file and field."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from gnet_core.config import GnetError
from gnet_core.files import bounded
from gnet_core.files.whole import MAX_TEXT_BYTES, READABLE_FORMAT_VERSIONS

Typed = TypeVar("Typed")

CASE_NAME = re.compile(r"[A-Za-z0-9_.=@+-]{1,250}")
"""Form of the name of a case. It goes into tables and commands, so nothing else is accepted."""

MAX_WHOLE = 2**63
"""Numbers from here on were never measured, and are too large to calculate with."""

_RIGHT_NAME = "the name of a case, which has at most 250 letters, digits and _.=@+-"
CaseName = Annotated[str, msgspec.Meta(pattern=f"^{CASE_NAME.pattern}(?!\\n)$", description=_RIGHT_NAME)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_WHOLE - 1, description="a whole number, 0 or more")]
Positive = Annotated[int, msgspec.Meta(ge=1, le=MAX_WHOLE - 1, description="a whole number, 1 or more")]

_JSON_TYPES = {"str": "text", "object": "an object", "array": "a list", "bool": "true or false"}
_JSON_TYPES |= {"int": "a whole number", "float": "a number"}
_EXPECTED = re.compile(r"Expected `([^`]*)`(.*?)(?:, got .*)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>\d+)\]|\[\.\.\.\]")


def read_json(
    path: Path, directory: Path, *, strict: bool = False, limit: int = MAX_TEXT_BYTES
) -> tuple[dict[str, Any], str]:
    """The JSON object in a file of `directory`, and a digest of the file. Raises GnetError naming it where it cannot be
    read or has more than `limit` bytes, and if `strict` also for NaN and endless numbers.
    """
    hooks: dict[str, Any] = {"parse_constant": _refuse_number, "parse_float": _finite_float, "parse_int": _whole_number}
    data = bounded.read_bytes(path, directory, limit)
    try:
        text = data.decode("utf-8")
        document = json.loads(text, **(hooks if strict else {}))
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


def typed(where: str, data: Any, kind: type[Typed], at: str = "") -> Typed:
    """Plain data of JSON or TOML as a msgspec.Struct or a dataclass. Fields that the type does not know are left out,
    unless it forbids them.

    Raises GnetError beginning with `where` for what does not fit, with the path of the field, its value, and what is
    right: the description of its type where it has one. `at` is the path of the data itself.
    """
    try:
        return msgspec.convert(data, kind, builtin_types=(datetime.date,))  # which TOML has, and text is none
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
    field, value, hint = _located(data, kind, path.rstrip("`"))
    field = f"{at}{field}".lstrip(".")
    if missing := _MISSING.fullmatch(problem):
        name = f"{field}.{missing[1]}".lstrip(".")
        raise GnetError(f"{where}: field {name!r} is missing")
    if unknown := _UNKNOWN.fullmatch(problem):
        name = f"{field}.{unknown[1]}".lstrip(".")
        known = ", ".join(one.encode_name for one in msgspec.structs.fields(_present(hint)))
        raise GnetError(f"{where}: field {name!r:.60} is unknown; known are {known}")
    # What is not msgspec's is what a type says itself, of fields that do not go together.
    if not problem.startswith(("Expected", "Invalid", "Number")):
        raise GnetError(f"{where}: {field and f'field {field!r}: '}{problem:.400}")
    named = f"field {field!r} is {value!r:.60}" if field else f"{value!r:.60} is not what is read here"
    raise GnetError(f"{where}: {named}; it has to be {_right(problem, hint)}")


def _finite_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def _whole_number(text: str) -> int:
    value = int(text) if len(text) <= 20 else MAX_WHOLE
    return value if abs(value) < MAX_WHOLE else int(_refuse_number(f"{text:.20}"))


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _located(data: Any, hint: Any, path: str) -> tuple[str, Any, Any]:
    """The field at a path of msgspec's: its own path, in which keys are named, its value and its type."""
    field = ""
    for step in _STEP.finditer(path):
        hint = _present(hint)
        if name := step["field"]:
            is_struct = issubclass(hint, msgspec.Struct)
            fields = {one.encode_name: one.type for one in msgspec.structs.fields(hint)} if is_struct else {}
            hint = (fields or get_type_hints(hint, include_extras=True))[name]
            field, data = f"{field}.{name}", data[name]
        elif index := step["index"]:
            items = get_args(hint)
            hint = items[int(index)] if len(items) > int(index) and items[-1] is not Ellipsis else items[0]
            field, data = f"{field}[{index}]", data[int(index)]
        else:
            hint = get_args(hint)[1]
            for key, value in data.items():  # msgspec does not name it
                try:
                    msgspec.convert(value, hint)
                except msgspec.ValidationError:
                    field, data = f"{field}[{key!r:.60}]", value
                    break
    return field, data, hint


def _present(hint: Any) -> Any:
    """The type without its annotations, and of one that may be null the type of what is there."""
    if get_origin(hint) is Annotated:
        return _present(get_args(hint)[0])
    if get_origin(hint) in (UnionType, Union):
        return _present(next(option for option in get_args(hint) if option is not NoneType))
    return hint


def _right(problem: str, hint: Any) -> str:
    """The right values: as the type is described, one of its choices, or in the words for JSON's types."""
    options = get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)
    notes = [note for option in options for note in getattr(option, "__metadata__", ())]
    words = [note.description for note in notes if isinstance(note, msgspec.Meta) and note.description]
    choices = [str(choice) for option in options if get_origin(option) is Literal for choice in get_args(option)]
    if choices:
        words.append(f"one of {', '.join(choices)}")
    if words:
        return " or ".join([*words, "null"] if NoneType in options else words)
    expected = _EXPECTED.fullmatch(problem)
    if expected is None:
        return f"something else ({problem:.100})"
    return " or ".join(_JSON_TYPES.get(name, name) for name in expected[1].split(" | ")) + expected[2]
