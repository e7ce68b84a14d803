"""The form of what `gnet report --json` prints of a run, for its JSON Schema."""

from __future__ import annotations

from typing import Any

import msgspec

from gnet_core.machine.environment import Environment
from gnet_core.results.records import Row
from gnet_core.results.run_document import Peaks
from gnet_core.stats.verdicts import Comparison


class SuiteVerdicts(msgspec.Struct, frozen=True, kw_only=True):
    """The comparisons of a suite, which are judged together."""

    suite: str
    comparisons: list[Comparison]


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True):
    """A case, or a trace, that was asked for and is not there."""

    case: str
    reason: str


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run's rows and verdicts, and what its report says besides (see gnet_core.report.run.to_json)."""

    directory: str
    run: str
    complete: bool
    quotable: bool
    reservations: list[str]
    """Why its figures may not be quoted."""
    findings: list[str]
    failed_checks: list[str]
    environment: Environment
    environments: dict[str, Environment]
    peaks: list[Peaks]
    rows: list[Row]
    verdicts: list[SuiteVerdicts]
    unread: list[str]
    unmeasured: list[Unmeasured]
    profiles: list[dict[str, Any]]
    """As `gnet schema profile` has them."""
    failed_gates: dict[str, list[str]]
