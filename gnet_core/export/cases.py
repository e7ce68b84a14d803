"""What every format exports: the cases of a run, each with its configuration and the environment that measured it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from gnet_core.config import TITLES, GnetError, StepConfig
from gnet_core.machine import overview
from gnet_core.machine.environment import UNKNOWN, Environment
from gnet_core.results.records import Row, Run
from gnet_core.text import plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A case of a run, with or without figures that count."""

    row: Row
    config: StepConfig
    environment: Environment

    @property
    def has_figures(self) -> bool:
        """Whether it has figures of the work that was asked for: of finite losses, which are those of float32."""
        return self.row.status == "ok" and self.row.finite and self.row.equal_work is not False

    @property
    def version(self) -> str:
        """Version of the case's framework; empty where that is not installed."""
        section = self.environment.section(self.config.framework)
        return plain(section.version or UNKNOWN) if section else ""

    @property
    def framework(self) -> str:
        """Name and version of the case's framework, such as `TensorFlow 2.21.0`."""
        return f"{TITLES[self.config.framework]} {self.version}".strip()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """A run as it is exported."""

    run: Run
    machine: str
    """The machine in one line, as reports have it."""
    created: datetime.datetime | None
    """When the run began, in UTC; None where run.json has no time with a zone."""
    cases: tuple[Case, ...]
    """Every case that has a row."""

    @classmethod
    def of(cls, run: Run) -> Export:
        """The run, prepared. Raises GnetError where none of its cases has figures."""
        document = run.document
        if all(row.status != "ok" for row in run.rows):
            reasons = [*run.unread, *(reason for _case, reason in run.unmeasured), *(row.note for row in run.rows)]
            because = next((f", and the first reason is: {plain(reason)}" for reason in reasons if reason), "")
            raise GnetError(f"{run.directory}: none of its cases has figures, so there is nothing to export{because}")
        return cls(
            run=run,
            machine=plain(overview.label(document.environment, document.device)),
            created=_time(document.created),
            cases=tuple(
                Case(row=row, config=run.configs[row.case], environment=_environment(run, row)) for row in run.rows
            ),
        )

    @property
    def identity(self) -> str:
        """The run's identity, which its files have too."""
        return plain(self.run.document.run)

    @property
    def measured(self) -> list[Case]:
        """The cases that have figures of the work that was asked for."""
        return [case for case in self.cases if case.has_figures]

    @property
    def not_counted(self) -> list[Case]:
        """The cases that were measured and whose figures do not count, as they are of other work."""
        return [case for case in self.cases if case.row.status == "ok" and not case.has_figures]

    def columns(self, case: Case) -> Mapping[str, Any]:
        """What a table says of a case beside its figures: where, when and with what it was measured, and every field of
        its configuration. None is what is not known.
        """
        machine, source = self.run.document.environment.machine, case.environment.machine
        return {
            "source": plain(case.row.source),
            "status": plain(case.row.status),
            "finite": case.row.finite if case.row.status == "ok" else None,
            "equal_work": case.row.equal_work,
            "created": self.created,
            "machine": self.machine,
            "processor": plain(machine.processor),
            "threads": machine.usable_threads,
            "memory_bytes": machine.memory_bytes,
            "system": plain(source.system),
            "python": plain(source.python),
            "framework_version": case.version or None,
            "commit": source.commit and plain(source.commit),
            **case.config.to_dict(),
        }


def _environment(run: Run, row: Row) -> Environment:
    """The environment of the interpreter that measured a row: its framework's own one, or its source's."""
    document, framework = run.document, run.configs[row.case].framework
    if framework in document.own_interpreters:
        return document.environment_of(framework)
    return document.environments.get(row.source, document.environment)


def _time(text: str) -> datetime.datetime | None:
    try:
        time = datetime.datetime.fromisoformat(text)
        return time.astimezone(datetime.UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None
