"""Two runs side by side, said to people and to programs. Pure: it reads nothing and prints nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gnet_core import machine
from gnet_core.answers import spread_of_identical_code
from gnet_core.comparisons import Between, between, machine_spread
from gnet_core.config import GnetError
from gnet_core.records import Run
from gnet_core.report import reservations
from gnet_core.tables import Column, number, percent, plain, ratio, ratio_interval, table
from gnet_core.verdicts import Comparison

ONE_AFTER_THE_OTHER = (
    "The two runs were timed one after the other: the machine's weather between them is part of every ratio. Where its "
    "speed wanders, two runs of the same code are told apart in about one comparison of six. "
    "gnet bench --against REV compares two revisions in turns, which takes it out."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """Two runs, their comparison, and in what else they differ."""

    base: Run
    new: Run
    margin: float
    between: Between
    differences: list[machine.Difference]
    """Of their environments."""
    other_configs: list[str]
    """In what cases of one name were not configured alike, a sentence each."""

    @property
    def comparisons(self) -> list[Comparison]:
        return list(self.between.family.comparisons.values())

    @property
    def across_machines(self) -> bool:
        return any(difference.kind == "hardware" for difference in self.differences)


def compare(base: Run, new: Run, margin: float, *, across_machines: bool) -> Compared:
    """Compare a run with an earlier one; `margin` is a fraction.

    Raises GnetError where they have no measured case in common, and for unequal hardware unless that is asked for.
    """
    differences = _differences(base, new)
    hardware = [str(difference) for difference in differences if difference.kind == "hardware"]
    if hardware and not across_machines:
        raise GnetError(
            f"{new.directory}: it was not measured on the hardware of {base.directory}: "
            f"{'; '.join(map(plain, hardware))} (--across-machines compares them all the same)"
        )
    found = between(base, new, margin)
    if not found.family.comparisons:
        raise GnetError(f"{new.directory}: it has figures for no case that {base.directory} has figures for too")
    return Compared(
        base=base,
        new=new,
        margin=margin,
        between=found,
        differences=differences,
        other_configs=_other_configs(base, new, found.family.comparisons),
    )


def failed_gates(compared: Compared, gates: Sequence[str]) -> dict[str, list[str]]:
    """The cases that each of the gates slower, missing and unresolved fails on; one that holds is left out."""
    by_verdict = {
        verdict: [each.variant for each in compared.comparisons if each.verdict == verdict]
        for verdict in ("SLOWER", "UNRESOLVED")
    }
    cases = {
        "slower": by_verdict["SLOWER"],
        "missing": compared.between.only_base,
        "unresolved": by_verdict["UNRESOLVED"],
    }
    return {gate: cases[gate] for gate in gates if cases[gate]}


def to_json(compared: Compared, failed: dict[str, list[str]]) -> dict[str, Any]:
    """One document for programs."""
    return {
        "base": str(compared.base.directory),
        "new": str(compared.new.directory),
        "margin": compared.margin,
        "across_machines": compared.across_machines,
        "same_samples": same_samples(compared),
        "comparisons": compared.between.family.to_dict()["comparisons"],
        "only_base": compared.between.only_base,
        "only_new": compared.between.only_new,
        "environment_differences": [difference._asdict() for difference in compared.differences],
        "configuration_differences": compared.other_configs,
        "machine_spread": {"base": machine_spread(compared.base), "new": machine_spread(compared.new)},
        "reservations": {"base": reservations(compared.base), "new": reservations(compared.new)},
        "failed_gates": failed,
    }


def to_terminal(compared: Compared) -> str:
    """The table, what it has to be read with, and what it leaves out."""
    parts = []
    if compared.across_machines:
        parts.append("ACROSS MACHINES: the hardware differs, so the ratios are of machines as much as of code.")
    if same_samples(compared):
        parts.append("BASE and NEW hold the same samples: this compares a run with itself and says nothing of another.")
    parts += [f"BASE {compared.base.directory}\nNEW  {compared.new.directory}", _table(compared)]
    parts += [f"{each.variant}: {each.reason}" for each in compared.comparisons if each.reason]
    if any(each.mode == "sequential" for each in compared.comparisons):
        parts.append(ONE_AFTER_THE_OTHER)
    runs = {"BASE": compared.base, "NEW": compared.new}
    parts += [told for name, run in runs.items() if (told := spread_of_identical_code(run, f"in {name}"))]
    parts += _listed("No figures in NEW for:", [_missing(compared.new, case) for case in compared.between.only_base])
    parts += _listed("Only NEW has figures for:", compared.between.only_new)
    parts += _listed("Not configured alike:", compared.other_configs)
    parts += _listed("The environments differ:", [str(difference) for difference in compared.differences])
    for name, run in runs.items():
        parts += _listed(f"{name} is not to be quoted:", reservations(run))
    return "\n\n".join(parts)


def same_samples(compared: Compared) -> bool:
    """Whether one run is the other, or a copy of it."""
    sides = [
        [[process.log_seconds for process in run.processes[each.variant]] for each in compared.comparisons]
        for run in (compared.base, compared.new)
    ]
    return compared.base.document["created"] == compared.new.document["created"] and sides[0] == sides[1]


def _table(compared: Compared) -> str:
    columns = [
        Column[Comparison]("case", lambda each: each.variant, text=True),
        Column[Comparison]("BASE images/s", lambda each: _speed(compared.base, each.base)),
        Column[Comparison]("NEW images/s", lambda each: _speed(compared.new, each.variant)),
        Column[Comparison]("× BASE", ratio),
        Column[Comparison]("95 % of ×", ratio_interval),
        Column[Comparison]("verdict", lambda each: each.verdict, text=True),
        Column[Comparison]("margin", lambda each: percent(each.margin)),
        Column[Comparison]("smallest effect", lambda each: percent(each.smallest_effect)),
        Column[Comparison]("mode", lambda each: each.mode, text=True),
        Column[Comparison]("processes", lambda each: f"{each.base_processes}+{each.variant_processes}"),
    ]
    return table(columns, compared.comparisons, "simple")


def _missing(run: Run, case: str) -> str:
    """The case, and why it has no figures where the run tells."""
    reasons = {row.case: f"{row.status}, {row.note}" for row in run.rows} | dict(run.unmeasured)
    return f"{case}: {reasons[case]}" if case in reasons else case


def _speed(run: Run, case: str) -> str:
    return number(run.row_of[case].images_per_second, "{:.1f}")


def _listed(heading: str, lines: Sequence[str]) -> list[str]:
    return ["\n".join([heading, *(f"  {plain(line)}" for line in lines)])] if lines else []


def _differences(base: Run, new: Run) -> list[machine.Difference]:
    """Between the environments of each source that both runs have, or of their first ones."""
    environments = [run.document["environments"] for run in (base, new)]
    shared = [(environments[0][name], environments[1][name]) for name in environments[0] if name in environments[1]]
    pairs = shared or [(base.document["environment"], new.document["environment"])]
    found = [difference for pair in pairs for difference in machine.differences(*pair)]
    return list(dict.fromkeys(found))


def _other_configs(base: Run, new: Run, cases: dict[str, Comparison]) -> list[str]:
    """A case's name leaves out its seed and classes, and of a data set's path all but the last part."""
    told: dict[str, list[str]] = {}
    for case in cases:
        sides = [run.configs[case].to_dict() for run in (base, new)]
        for field, was in sides[0].items():
            if was != sides[1][field]:
                told.setdefault(f"{field}: {was!r} → {sides[1][field]!r}", []).append(case)
    return [f"{what} ({len(cases)} case{'s' if len(cases) > 1 else ''})" for what, cases in told.items()]
