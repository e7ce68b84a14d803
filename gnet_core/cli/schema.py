"""The command `gnet schema`: the JSON Schema of what gnet writes and prints, for programs that read it."""

from __future__ import annotations

import importlib

import click

from gnet_core.cli.output import FINE, print_json
from gnet_core.config import require_choice

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TYPES = {
    "run": ("results.run_document", "RunDocument"),
    "raw": ("results.raw_files", "RawFile"),
    "profile": ("profile.document", "Profile"),
    "info": ("machine.overview", "Info"),
    "cases": ("report.run", "RunReport"),
}
"""The module of gnet_core and the type of each document."""


@click.command()
@click.argument("document", default="run", metavar="[run|raw|profile|info|cases]")
def schema(document: str) -> int:
    """Print the JSON Schema of run.json, of a raw file, of profile.json, or of what `gnet info --json` (info) or
    `gnet report --json` (cases) prints.
    """
    import msgspec

    require_choice("document", document, tuple(_TYPES))
    module, name = _TYPES[document]
    kind = getattr(importlib.import_module(f"gnet_core.{module}"), name)
    print_json({"$schema": DIALECT, **msgspec.json.schema(kind)})
    return FINE
