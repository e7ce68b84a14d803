"""The command `gnet schema`: the JSON Schema of what gnet writes and prints, for programs that read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gnet_core.cli.options import FINE, print_json
from gnet_core.config import require_choice

if TYPE_CHECKING:
    from collections.abc import Callable

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@click.command()
@click.argument("document", default="run", metavar="[run|raw|profile|info|cases]")
def schema(document: str) -> int:
    """Print the JSON Schema of run.json, of a raw file, of profile.json, or of what `gnet info --json` (info) or
    `gnet report --json` (cases) prints.
    """
    require_choice("document", document, tuple(_KINDS))
    print_json(schema_of(document))
    return FINE


def schema_of(document: str) -> dict[str, Any]:
    """The JSON Schema of one of these documents, as this version writes it."""
    import msgspec

    return {"$schema": DIALECT, **msgspec.json.schema(_KINDS[document]())}


def _run() -> type:
    from gnet_core.results.run_document import RunDocument

    return RunDocument


def _raw() -> type:
    from gnet_core.results.raw_files import RawFile

    return RawFile


def _profile() -> type:
    from gnet_core.profile.document import Profile

    return Profile


def _info() -> type:
    from gnet_core.machine.overview import Info

    return Info


def _cases() -> type:
    from gnet_core.report.schema import RunReport

    return RunReport


_KINDS: dict[str, Callable[[], type]] = {"run": _run, "raw": _raw, "profile": _profile, "info": _info, "cases": _cases}
