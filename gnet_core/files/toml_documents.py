"""TOML that people write by hand: what does not parse is named by file, line and column."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError
from gnet_core.files.whole import read_text

MAX_TOML_BYTES = 2**20
"""Largest file that is read; nobody writes as much by hand."""


def read_toml(field: str, path: Path) -> dict[str, Any]:
    """The tables of a TOML file that an option, `field`, names. Raises GnetError naming both, and the line and column
    where it does not parse.
    """
    try:
        return tomllib.loads(read_text(path, MAX_TOML_BYTES))
    except OSError as error:
        raise GnetError(f"{field}: {path} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise GnetError(f"{field}: {path} is not UTF-8 (byte {error.start}), as TOML has to be") from error
    except (ValueError, RecursionError) as error:  # also a number of more digits than Python converts
        raise GnetError(f"{field}: {path} is no TOML: {error!s:.200}") from error
