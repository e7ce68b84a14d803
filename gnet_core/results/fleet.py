"""Runs of many hosts, case by case: each host's figures as they are, and what they cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.suites import PlannedCase
from gnet_core.results.records import Row, Run


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Host:
    """A host's run under the host's name, which is that of the run's directory."""

    name: str
    run: Run
    price_per_hour: float | None
    """In whatever money the prices are in; None where none was named."""

    def images_per_price(self, row: Row) -> float | None:
        """Images for one unit of that money."""
        if self.price_per_hour is None or row.images_per_second is None:
            return None
        return row.images_per_second * 3600 / self.price_per_hour


@dataclasses.dataclass(frozen=True, kw_only=True)
class FleetCase:
    """A case with the row of each host that has one, on whichever device that measured."""

    config: StepConfig
    """That of the first host, as if on a CPU."""
    source: str
    rows: Mapping[str, Row]
    """By host."""


def hosts_of(runs: Sequence[Run], prices: Mapping[str, float]) -> list[Host]:
    """The hosts of these runs, with their prices per hour.

    Raises GnetError for a run or a name that is there twice, and for a price of a host that is not there.
    """
    hosts: dict[str, Host] = {}
    directories: dict[str, Path] = {}
    for run in runs:
        name = run.directory.resolve().name
        if same := directories.get(run.document.run):
            raise GnetError(f"{run.directory}: it is the same run as {same}; name each run once")
        if name in hosts:
            raise GnetError(
                f"{run.directory}: {hosts[name].run.directory} is called {name!r} as well, and a host goes by the name "
                "of its run's directory; name one run of each host, in a directory with the host's name"
            )
        directories[run.document.run] = run.directory
        hosts[name] = Host(name=name, run=run, price_per_hour=prices.get(name))
    if unknown := sorted(prices.keys() - hosts.keys()):
        known = ", ".join(hosts)
        raise GnetError(f"price_per_hour: {unknown[0]!r:.200} is no host here; use the name of a directory: {known}")
    return list(hosts.values())


def cases_of(hosts: Sequence[Host]) -> list[FleetCase]:
    """The cases of all hosts, in the order in which the hosts have them."""
    cases: dict[str, FleetCase] = {}
    for host in hosts:
        for row in host.run.rows:
            config = dataclasses.replace(host.run.configs[row.case], device="cpu")
            name = PlannedCase(config=config, suites=(), source=row.source).name
            case = cases.get(name) or FleetCase(config=config, source=row.source, rows={})
            cases[name] = dataclasses.replace(case, rows={**case.rows, host.name: row})
    return list(cases.values())
