"""What a run's own wall time went to, as a table."""

from __future__ import annotations

import msgspec

from gnet_core.report.grid import Column, Grid, grid
from gnet_core.results.run_document import TimeSpent

_WORDS = {
    "preparing": "planning cases, describing the machine",
    "starting": "workers start: import, build, trace, compile",
    "warming_up": "warming up",
    "timing": "timing: turns",
    "ending": "workers end: FLOP, precision and memory are looked up, samples written",
    "waiting": "between turns: results are read, judged and written",
    "peaks": "measuring the device's peaks",
    "trace": "tracing a case",
    "report": "the report",
}


def table(spent: TimeSpent) -> Grid:
    """Seconds and share of each part that took any, and their sum; no row where nothing is recorded."""
    parts = [(_WORDS[name], seconds) for name, seconds in msgspec.structs.asdict(spent).items() if seconds > 0]
    whole = sum(seconds for _, seconds in parts)
    columns = [
        Column[tuple[str, float]]("what", lambda part: part[0], text=True),
        Column[tuple[str, float]]("seconds", lambda part: f"{part[1]:.1f}"),
        Column[tuple[str, float]]("share", lambda part: f"{part[1] / whole:.0%}"),
    ]
    return grid(columns, [*parts, ("all of it", whole)] if parts else [], "the run's own time")
