"""Many hosts in one report, for people and for programs: fleet.html, fleet.md, a CSV, the terminal and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pandas as pd

from gnet_core.files import csv_text
from gnet_core.report import documents
from gnet_core.report.document import Banner, Bullets, Document, Paragraph, Section, Sentence, section
from gnet_core.report.fields import case_words
from gnet_core.report.grid import Column, Grid, grid
from gnet_core.report.ratios import distinct
from gnet_core.report.summary import Summary
from gnet_core.report.views.answers import counts, speed, speed_in_words, speed_interval
from gnet_core.results.fleet import Host, cases_of
from gnet_core.results.records import Row
from gnet_core.text import number

HTML_FILE = "fleet.html"

NO_TURNS = (
    "These hosts did not take turns, so there is no verdict between them: each figure has its own machine's load and "
    "drift in it."
)

MAX_SENTENCES = 8
"""Cases of which the most images/s are said in a sentence; the table has all."""


class FleetHost(msgspec.Struct, frozen=True, kw_only=True):
    """A host and its run."""

    host: str
    directory: str
    run: str
    machine: str
    """In one line, with the versions of the frameworks that were measured."""
    device: str
    price_per_hour: float | None
    reservations: list[str]
    """Reasons against quoting its figures."""


class FleetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A case on a host; what was not measured, or has no price, is None."""

    case: str
    host: str
    status: str
    counts: bool
    """Whether its figure stands for the speed of the work that was asked for."""
    images_per_second: float | None
    images_per_second_ci_low: float | None
    images_per_second_ci_high: float | None
    images_per_joule: float | None
    images_per_price: float | None
    """Images for one unit of the money that prices are in."""


class FleetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `gnet compare --across-machines --json` prints of three hosts or more, or of hosts with prices."""

    hosts: list[FleetHost]
    rows: list[FleetRow]


class _Line(NamedTuple):
    """A row of the table: a case in words, and its figures on a host."""

    case: str
    host: Host
    row: Row


def write(hosts: Sequence[Host], directory: Path) -> None:
    """Write fleet.html, fleet.md and fleet.csv into a directory. Raises OSError."""
    rows = msgspec.to_builtins(report(hosts).rows)
    table = pd.DataFrame(rows, columns=list(FleetRow.__struct_fields__), dtype=object)
    documents.write(directory, document(hosts), {"fleet.csv": csv_text.to_csv(table)}, stem="fleet")


def report(hosts: Sequence[Host]) -> FleetReport:
    """The figures of the hosts, for programs."""
    rows = [_row(host, case.rows[host.name]) for case in cases_of(hosts) for host in hosts if host.name in case.rows]
    return FleetReport(hosts=[_described(host) for host in hosts], rows=rows)


def document(hosts: Sequence[Host]) -> Document:
    """The whole report."""
    cases = cases_of(hosts)
    names, shared = distinct([case_words(case.config, case.source) for case in cases])
    lines = [
        _Line(name, host, case.rows[host.name])
        for name, case in zip(names, cases, strict=True)
        for host in hosts
        if host.name in case.rows
    ]
    by_case = {name: [line for line in lines if line.case == name and counts(line.row)] for name in names}
    several = [group for group in by_case.values() if len(group) > 1]
    doubtful = [section(f"{host.name} is not to be quoted", Bullets(_described(host).reservations)) for host in hosts]
    return Document(
        heading="Hosts side by side",
        title=f"{len(hosts)} hosts side by side",
        banners=[Banner("bad", NO_TURNS)],
        summary=[
            Bullets([_most(group) for group in several[:MAX_SENTENCES]] or ["No case was measured on two hosts."])
        ],
        sections=[
            section("Hosts", _hosts(hosts)),
            section("Cases", _figures(lines, shared)),
            *doubtful,
            *_reading(hosts),
        ],
    )


def _described(host: Host) -> FleetHost:
    summary = Summary(host.run)
    return FleetHost(
        host=host.name,
        directory=str(host.run.directory),
        run=host.run.document.run,
        machine=summary.machine,
        device=host.run.document.device,
        price_per_hour=host.price_per_hour,
        reservations=summary.reservations,
    )


def _row(host: Host, row: Row) -> FleetRow:
    return FleetRow(
        case=row.case,
        host=host.name,
        status=row.status,
        counts=counts(row),
        images_per_second=row.images_per_second,
        images_per_second_ci_low=row.images_per_second_ci_low,
        images_per_second_ci_high=row.images_per_second_ci_high,
        images_per_joule=row.images_per_joule,
        images_per_price=host.images_per_price(row),
    )


def _most(lines: Sequence[_Line]) -> Sentence:
    """The hosts with the most images/s and, where there are prices, with the most for them."""
    fastest = max(lines, key=lambda line: speed(line.row))
    text = f"{speed_in_words(fastest.row)} on {fastest.host.name}"
    priced = [(images, line) for line in lines if (images := line.host.images_per_price(line.row)) is not None]
    if priced:
        images, cheapest = max(priced, key=lambda pair: pair[0])
        text += f", and the most for their price, {images:,.0f} images for 1, on {cheapest.host.name}"
    return Sentence(f"{lines[0].case}:", f"the most are {text}, of {len(lines)} hosts.")


def _hosts(hosts: Sequence[Host]) -> Grid:
    columns = [
        Column[FleetHost]("host", lambda host: host.host, text=True),
        Column[FleetHost]("machine", lambda host: host.machine, text=True),
        Column[FleetHost]("device", lambda host: host.device, text=True),
        Column[FleetHost]("price an hour", lambda host: number(host.price_per_hour, "{:g}")),
        Column[FleetHost]("run", lambda host: host.directory, text=True),
    ]
    return grid(columns, [_described(host) for host in hosts], "Hosts")


def _figures(lines: Sequence[_Line], shared: str) -> Grid:
    columns = [
        Column[_Line]("case", lambda line: line.case, text=True),
        Column[_Line]("host", lambda line: line.host.name, text=True),
        Column[_Line]("images/s", lambda line: number(line.row.images_per_second, "{:.1f}")),
        Column[_Line]("95 % interval", lambda line: speed_interval(line.row)),
        Column[_Line]("processes", lambda line: str(line.row.replicates or "")),
        Column[_Line]("images/J", lambda line: number(line.row.images_per_joule, "{:.2f}")),
        Column[_Line]("images for 1", lambda line: number(line.host.images_per_price(line.row), "{:,.0f}")),
        Column[_Line]("status", lambda line: _why_not(line.row), text=True),
    ]
    return grid(columns, lines, "Cases, host by host", shared)


def _why_not(row: Row) -> str:
    """Why a figure is missing or does not count."""
    if row.status != "ok":
        return row.status
    return "" if counts(row) else "other losses than float32's" if row.finite else "loss not finite"


def _reading(hosts: Sequence[Host]) -> list[Section]:
    texts = ["An interval is where the mean of further processes of the same run would lie, not another host's."]
    if any(host.price_per_hour is not None for host in hosts):
        texts.append("images for 1: images for one unit of the money that prices are in, images/s × 3600 ÷ the price.")
    return [section("How to read it", *map(Paragraph, texts), reference=True)]
