"""The rules that a team keeps for its gates, in a TOML file: margins, waivers and accepted changes of cases."""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from gnet_core.config import GnetError
from gnet_core.files.json_documents import typed
from gnet_core.files.toml_documents import read_toml
from gnet_core.plan.request import GATES, Gate
from gnet_core.stats.verdicts import Comparison, require_margin

_Rule = TypeVar("_Rule", bound="CaseRule")

Pattern = Annotated[str, Meta(min_length=1, description="a shell pattern over names of cases, such as 'graph-*'")]
Reason = Annotated[str, Meta(pattern=r"\S", description="a reason in words")]
Date = Annotated[datetime.date, Meta(description="a date without quotation marks, such as 2027-01-31")]


class CaseRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of the cases whose names match a shell pattern, by the names that cases.csv has."""

    cases: Pattern

    def matches(self, case: str) -> bool:
        return fnmatch.fnmatchcase(case, self.cases)


class Margin(CaseRule, frozen=True, kw_only=True):
    """How much slower than its base a case may be before the gate `slower` fails on it."""

    percent: float
    reason: str = ""

    def __post_init__(self) -> None:
        require_margin(self.percent, "percent")

    def __str__(self) -> str:
        return f"its own margin of {self.percent:g} %{f' ({self.reason})' if self.reason else ''}"

    @property
    def fraction(self) -> float:
        return self.percent / 100

    def is_exceeded(self, comparison: Comparison) -> bool:
        """Whether the case is slower by more than the margin for certain: the whole interval lies beyond it."""
        return comparison.high is not None and comparison.high < 1 / (1 + self.fraction)


class Waiver(CaseRule, frozen=True, kw_only=True):
    """Cases on which gates do not fail for a while."""

    gates: Annotated[tuple[Gate, ...], Meta(min_length=1, description="a list of gates")] = GATES
    reason: Reason
    expires: Date
    """The last day on which it acts."""

    def __str__(self) -> str:
        return f"waived until {self.expires}: {self.reason}"

    @property
    def label(self) -> str:
        return f"{self.cases} ({self})"


class Accepted(CaseRule, frozen=True, kw_only=True):
    """A change of speed that was meant, for `gnet history`."""

    date: Date
    """The day of the run in which it appears."""
    reason: Reason
    expires: Annotated[datetime.date | None, Meta(description="a date without quotation marks, or nothing")] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of a file on a day."""

    today: datetime.date
    margins: tuple[Margin, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    accepted: tuple[Accepted, ...] = ()

    @property
    def expired(self) -> list[Waiver]:
        """Waivers that do not act any more."""
        return [waiver for waiver in self.waivers if waiver.expires < self.today]

    @property
    def in_force(self) -> list[Waiver]:
        return [waiver for waiver in self.waivers if waiver.expires >= self.today]

    def margin_of(self, case: str) -> Margin | None:
        """The case's own margin, the last that matches; None where it has none."""
        return next((margin for margin in reversed(self.margins) if margin.matches(case)), None)

    def waiver_of(self, case: str, gate: str) -> Waiver | None:
        """The first waiver in force that keeps a gate from failing on a case."""
        wanted = (waiver for waiver in self.in_force if gate in waiver.gates)
        return next((waiver for waiver in wanted if waiver.matches(case)), None)

    def unmatched(self, cases: Iterable[str]) -> list[Waiver]:
        """Waivers in force that match none of the cases."""
        names = list(cases)
        return [waiver for waiver in self.in_force if not any(map(waiver.matches, names))]


NO_RULES = Rules(today=datetime.date.min)


def load_rules(path: Path, today: datetime.date | None = None) -> Rules:
    """Read a file of rules; `today` is the day on which waivers are asked, else the present one.

    Raises GnetError naming the file, and the table by its number with its field, for what cannot be read as rules.
    """
    document = read_toml("rules", path)
    if unknown := sorted(document.keys() - {"margin", "waiver", "accepted"}):
        raise GnetError(f"rules: {path}: {unknown[0]!r:.60} is unknown; use [[margin]], [[waiver]] and [[accepted]]")
    return Rules(
        today=today or datetime.date.today(),
        margins=_tables(path, document, "margin", Margin),
        waivers=_tables(path, document, "waiver", Waiver),
        accepted=_tables(path, document, "accepted", Accepted),
    )


def _tables(path: Path, document: dict[str, Any], name: str, kind: type[_Rule]) -> tuple[_Rule, ...]:
    tables = document.get(name, [])
    if not isinstance(tables, list):
        raise GnetError(f"rules: {path}: {name} is {tables!r:.60}; write each as a table of its own: [[{name}]]")
    return tuple(typed(f"rules: {path}: [[{name}]] {number}", table, kind) for number, table in enumerate(tables, 1))
