"""CSV with a line a process, which is the unit of every interval."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gnet_core.export.cases import Case, Export
from gnet_core.export.samples import Process, processes
from gnet_core.files import csv_text


def to_text(export: Export) -> str:
    """The table. A case without figures has one line, whose cells are empty where a figure would be."""
    of_case = processes(export.run)
    none: list[Process | None] = [None]
    lines = [_line(export, case, process) for case in export.cases for process in of_case.get(case.row.case) or none]
    return csv_text.to_csv(pd.DataFrame(lines, dtype=object))


def _line(export: Export, case: Case, process: Process | None) -> dict[str, Any]:
    columns = export.columns(case)
    created = "" if export.created is None else export.created.isoformat()
    return {
        "run": export.identity,
        "case": case.row.case,
        "process": process and process.number,
        "cohort": process and process.cohort,
        "images_per_second": process and case.config.batch_size / process.step_seconds,
        "step_seconds": process and process.step_seconds,
        "blocks": process and len(process.blocks),
        "voided_blocks": process and process.voided_blocks,
        **columns,
        "created": created,
    }
