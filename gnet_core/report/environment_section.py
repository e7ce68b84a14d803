"""The section of a page that tells on what machine, and with what software, its figures were made."""

from __future__ import annotations

from gnet_core.machine import overview
from gnet_core.machine.environment import Environment
from gnet_core.report.document import Bullets, Section, section
from gnet_core.report.grid import text_table

_MAX_LINES = 100
"""More of them describe no machine: a file that may lie has as many variables as it likes."""


def environment_section(environment: Environment) -> Section:
    lines = text_table(("what", "value"), overview.as_lines(environment)[:_MAX_LINES], "Environment")
    return section("Environment", lines, Bullets(overview.warnings(environment)), reference=True)
