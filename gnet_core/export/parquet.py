"""Parquet with a row a timed block. PyArrow, which writes it, is an optional dependency of gnet."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError, StepConfig
from gnet_core.export.cases import Export
from gnet_core.export.samples import processes
from gnet_core.files.json_documents import read_json

_FIGURES = {
    "run": "string",
    "case": "string",
    "process": "int64",
    "cohort": "int64",
    "round": "int64",
    "order": "int64",
    "seconds": "float64",
    "steps": "int64",
    "voided": "bool",
}
_ORIGIN = {
    "source": "string",
    "status": "string",
    "finite": "bool",
    "equal_work": "bool",
    "created": "time",
    "machine": "string",
    "processor": "string",
    "threads": "int64",
    "memory_bytes": "int64",
    "system": "string",
    "python": "string",
    "framework_version": "string",
    "commit": "string",
}
_OF_FIELD = {bool: "bool", int: "int64", float: "float64", str: "string"}
_CONFIGURATION = {name: _OF_FIELD[type(value)] for name, value in StepConfig().to_dict().items()}


def write(export: Export, path: Path) -> None:
    """Write the file: null is what is not known, and a void block has no seconds. Its metadata has the SHA-256 digest
    and the format version of run.json, the run's identity, and gnet's versions: `gnet.version` wrote the file and
    `gnet.measured` the run. Raises GnetError without PyArrow, and OSError for a file that cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise GnetError("to: parquet needs pyarrow, which is not installed; pip install 'gnet[parquet]'") from error
    kinds = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
    }
    columns = _FIGURES | _ORIGIN | _CONFIGURATION
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()], metadata=_metadata(export))
    table = pa.Table.from_pylist(list(_rows(export)), schema=schema)
    parquet.write_table(table, path)


def _rows(export: Export) -> Iterator[dict[str, Any]]:
    of_case = processes(export.run)
    for case in export.cases:
        columns = export.columns(case)
        for process in of_case.get(case.row.case, ()):
            for block in process.blocks:
                yield {
                    "run": export.identity,
                    "case": case.row.case,
                    "process": process.number,
                    "cohort": process.cohort,
                    "round": block.round,
                    "order": block.order,
                    "seconds": block.seconds,
                    "steps": block.steps,
                    "voided": block.seconds is None,
                    **columns,
                }


def _metadata(export: Export) -> dict[str, str]:
    run = export.run
    document, digest = read_json(run.directory / "run.json", run.directory)
    measured = run.document.environment.machine.packages.get("gnet", "")
    return {
        "gnet.run": export.identity,
        "gnet.run_json_sha256": digest,
        "gnet.format_version": str(document["format_version"]),
        "gnet.version": importlib.metadata.version("gnet"),
        "gnet.measured": measured,
    }
