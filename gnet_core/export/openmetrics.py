"""OpenMetrics 1.0 text: a gauge a figure, a sample a case, at the time when the run began.

The ends of an interval are gauges of their own and no label of the figure's, since whatever aggregates over labels, as
Prometheus' `avg by (case)` does, would mix them with it.
"""

from __future__ import annotations

from typing import NamedTuple

from gnet_core.export.cases import Case, Export
from gnet_core.text import plain

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\""})
"""What a label's value cannot hold as it is (the specification's section "Escaping"), but for the
line feed, which plain text has none of."""


class _Family(NamedTuple):
    name: str
    """Ends in its unit."""
    unit: str
    field: str
    """The field of Row."""
    meaning: str


_FAMILIES = (
    _Family("gnet_images_per_second", "images_per_second", "images_per_second", "Images that are trained on a second."),
    _Family(
        *("gnet_ci_low_images_per_second", "images_per_second", "images_per_second_ci_low"),
        "Lower end of the 95 % interval of gnet_images_per_second over processes.",
    ),
    _Family(
        *("gnet_ci_high_images_per_second", "images_per_second", "images_per_second_ci_high"),
        "Upper end of the 95 % interval of gnet_images_per_second over processes.",
    ),
    _Family("gnet_step_seconds", "seconds", "step_seconds", "Mean time of a train step."),
    _Family(
        *("gnet_ci_low_step_seconds", "seconds", "step_seconds_ci_low"),
        "Lower end of the 95 % interval of gnet_step_seconds over processes.",
    ),
    _Family(
        *("gnet_ci_high_step_seconds", "seconds", "step_seconds_ci_high"),
        "Upper end of the 95 % interval of gnet_step_seconds over processes.",
    ),
    _Family(
        *("gnet_first_step_seconds", "seconds", "first_step_seconds"),
        "Time from the framework imported to the end of the first step, compilation included.",
    ),
    _Family("gnet_peak_memory_bytes", "bytes", "peak_memory_bytes", "Peak memory of a process."),
)


def to_text(export: Export) -> str:
    """The exposition. A case has no sample of what was not measured, and a family that has none is left out."""
    labels = [(case, _labels(export, case)) for case in export.measured]
    time = "" if export.created is None else f" {export.created.timestamp():.0f}"
    lines = []
    for family in _FAMILIES:
        figures = [(text, getattr(case.row, family.field)) for case, text in labels]
        samples = [f"{family.name}{{{text}}} {figure!r}{time}" for text, figure in figures if figure is not None]
        if samples:
            lines += [f"# TYPE {family.name} gauge", f"# UNIT {family.name} {family.unit}"]
            lines += [f"# HELP {family.name} {family.meaning}", *samples]
    return "\n".join([*lines, "# EOF", ""])


def _labels(export: Export, case: Case) -> str:
    """The labels of a case, the same names for every case: those of another framework have an empty `tensorflow`."""
    row = case.row
    labels = {
        "case": row.case,
        "source": plain(row.source),
        "framework": case.framework,
        "execution": row.execution,
        "precision": row.precision,
        "batch_size": str(row.batch_size),
        "machine": export.machine,
        "tensorflow": case.version if case.config.framework == "tensorflow" else "",
    }
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
