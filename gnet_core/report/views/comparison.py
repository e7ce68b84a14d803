"""The view of a suite that compares: each case against its base, as a ratio with a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gnet_core.report.document import Sentence
from gnet_core.report.drawing import Picture
from gnet_core.report.grid import ratio
from gnet_core.report.ratios import LOOKS, distinct, forest, ratio_told
from gnet_core.report.views import bars
from gnet_core.report.views.answers import (
    DIFFERENT,
    NoAnswer,
    ratio_in_words,
    share_in_words,
    spread_of_identical_code,
)
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.results.comparisons import break_even_steps
from gnet_core.results.records import Row
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison
from gnet_core.text import percent

MAX_OF_A_SUITE = 2
"""Comparisons that stand before other suites have had their say."""

_MAX_TOLD = 3
"""Values of a title, compared with their base; more are counted."""


class ComparisonView(Section):
    """A sentence a comparison. Where base and variant are of one configuration, or the answer is what something costs,
    the ratios are drawn, else the speeds.
    """

    @property
    def costs(self) -> str:
        """What the base has and the others lack; empty where the answer is no share of a step."""
        return self.suite.costs

    def answer(self) -> list[Sentence]:
        if not self.comparisons:
            return [NoAnswer(f"{self.base} and what it is compared with were not both run.")]
        return [self._sentence(found) for found in self._worth_telling()]

    def draw(self) -> Picture:
        compared = list(self.comparisons.values())
        if (self.compares_sources or self.costs) and any(found.ratio for found in compared):
            names = [bars.row_words(self, self.row(found.variant)) for found in compared]
            return forest(compared, compared[0].margin, self.picture_name, self.title(), *distinct(names))
        # What an execution gains is paid for when it starts.
        differ = len({row.execution for row in self.rows}) > 1
        return bars.speeds_and_starts(self) if differ else bars.speeds(self)

    def title(self) -> str:
        compared = [found for found in self.comparisons.values() if found.ratio is not None]
        if not compared or len(self.comparisons) == 1 or self.compares_identical_code or self.costs:
            return super().title()
        return self._verdicts_told(compared)

    def findings(self) -> list[Finding]:
        judged = [self._finding(found) for found in self._worth_telling() if _has_enough(found)]
        ranked = sorted(judged, key=lambda each: -each.effect)
        decided = [each for each in ranked if each.rank == Rank.DECIDED]
        further = [each._replace(rank=Rank.FURTHER) for each in decided[MAX_OF_A_SUITE:]]
        return [*decided[:MAX_OF_A_SUITE], *further, *(each for each in ranked if each.rank != Rank.DECIDED)]

    def too_few_processes(self) -> list[Comparison]:
        if self.compares_identical_code:
            return []
        return [found for found in self.comparisons.values() if not _has_enough(found)]

    def _finding(self, found: Comparison) -> Finding:
        if self.compares_identical_code:
            rank = Rank.SAME_CODE
        elif found.verdict == "UNRESOLVED":
            rank = Rank.UNRESOLVED
        elif self.costs:
            rank = Rank.COST
        else:
            rank = Rank.DECIDED if found.verdict in DIFFERENT else Rank.SAME
        return Finding(rank, self._sentence(found), abs(math.log(found.ratio)) if found.ratio else 0.0)

    def _worth_telling(self) -> list[Comparison]:
        """What could not be measured stands elsewhere with its reason; here only if there is nothing else to tell."""
        found = list(self.comparisons.values())
        return [each for each in found if self.row(each.variant).status == "ok"] or found

    def _sentence(self, found: Comparison) -> Sentence:
        if found.ratio is None:
            row = self.row(found.variant)
            return NoAnswer(f"{self.value(row)} against {self.base}, {self.named(row)}. {found.reason}")
        if self.compares_identical_code:
            return self._same_code(found)
        return self._cost(found) if self.costs else self._verdict(found)

    def _verdict(self, found: Comparison) -> Sentence:
        row, base = self.row(found.variant), self.row(found.base)
        variant, where = self.value(row), self.named(row)
        if found.verdict == "UNRESOLVED":
            point = f"UNRESOLVED whether {variant} is faster than {self.base}:"
            return Sentence(point, f"{ratio_in_words(found)}, {where}. {found.reason}")
        work = _equal_work(base, row)
        if found.verdict == "SAME":
            point = f"{variant} is the SAME as {self.base}"
            return Sentence(point, f"within {100 * found.margin:.3g}%: {ratio_in_words(found)}, {where}{work}.")
        point = f"{variant} is {found.verdict} than {self.base}:"
        return Sentence(point, f"{ratio_in_words(found)}, {where}{self._break_even(base, row, found)}{work}.")

    def _break_even(self, base: Row, row: Row, found: Comparison) -> str:
        """Only where the verdict says that the speeds differ: else the quotient is one of two noises."""
        other = self.config(row).framework != self.config(base).framework
        compiled = row.execution == "xla" or (other and row.execution != "eager")
        if base.execution != "graph" or not compiled:
            return ""
        steps = break_even_steps(base, row)
        took = "" if row.compile_seconds is None else f"{row.compile_seconds:.0f} s "
        if found.verdict == "SLOWER" and steps == math.inf:
            return f"; it never pays back its {took}compile"
        if found.verdict == "FASTER" and steps is not None and steps != math.inf:
            return f"; it has paid back its {took}compile after {math.ceil(steps):,} steps"
        return ""

    def _same_code(self, found: Comparison) -> Sentence:
        told = f"{ratio_in_words(found)}, {self.named(self.row(found.base))}."
        if found.spread is not None:
            spread = spread_of_identical_code(self.run)
            told += f" {spread} Between such, {percent(found.smallest_effect)} can be seen."
        if found.verdict in DIFFERENT:
            told += " Something besides the code differs, so doubt every verdict here."
        elif found.verdict == "UNRESOLVED":
            told += f" {found.reason}"
        return Sentence(f"Identical code against itself is {found.verdict}:", told)

    def _cost(self, found: Comparison) -> Sentence:
        """A ratio of speeds as the share of a step that the base has and the variant has not."""
        assert found.ratio is not None
        low, high = (None if end is None else 1 - 1 / end for end in (found.low, found.high))
        share = f"{share_in_words(1 - 1 / found.ratio, low, high)} of a step"
        told = f"a step without is {ratio_in_words(found)} as fast, {self.named(self.row(found.variant))}."
        if found.verdict == "UNRESOLVED":
            return Sentence(f"UNRESOLVED how much goes to {self.costs}:", f"{share}; {told} {found.reason}")
        if found.verdict == "SAME":
            return Sentence(f"Nothing that matters goes to {self.costs}:", f"{share}; {told}")
        return Sentence(f"{share} goes to {self.costs}:", told)

    def _verdicts_told(self, compared: Sequence[Comparison]) -> str:
        """Each verdict where there is one a value; where there are more, how often each was given and of which
        ratios.
        """
        compared = sorted(compared, key=lambda found: list(LOOKS).index(found.verdict))
        by_value: dict[str, list[Comparison]] = {}
        for found in compared:
            by_value.setdefault(self.value(self.row(found.variant)), []).append(found)
        if len(by_value) == len(compared):
            told = [
                f"{value} {_relation(found)} {self.base}: {ratio_told(found)}" for value, (found,) in by_value.items()
            ]
        else:
            told = [f"{value} against {self.base}: {_counted(group)}" for value, group in by_value.items()]
        more = f"; {len(told) - _MAX_TOLD} more" if len(told) > _MAX_TOLD else ""
        return "; ".join(told[:_MAX_TOLD]) + more


def _has_enough(found: Comparison) -> bool:
    """Whether it could come to a verdict; a comparison without figures tells why, which is an answer as well."""
    return found.ratio is None or min(found.base_processes, found.variant_processes) >= MIN_PROCESSES


def _equal_work(base: Row, row: Row) -> str:
    """Beside another precision a speed is worth what its losses are."""
    if row.precision == base.precision or not row.equal_work:
        return ""
    tolerance = "tolerance" if row.device == "cpu" else "a tolerance measured on a CPU"
    return f"; its losses are float32's within {tolerance}"


def _counted(compared: Sequence[Comparison]) -> str:
    told: list[str] = []
    for verdict in dict.fromkeys(found.verdict for found in compared):
        alike = sorted((found for found in compared if found.verdict == verdict), key=lambda found: found.ratio or 0.0)
        highest = f"–{ratio(alike[-1])}" if len(alike) > 1 else ""
        total = "" if told else f" of {len(compared)}"
        told.append(f"{verdict} in {len(alike)}{total} ({ratio(alike[0])}{highest}×)")
    return ", ".join(told)


def _relation(found: Comparison) -> str:
    if found.verdict == "UNRESOLVED":
        return "is UNRESOLVED against"
    return "is the SAME as" if found.verdict == "SAME" else f"is {found.verdict} than"
