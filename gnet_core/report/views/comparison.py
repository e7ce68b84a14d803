"""The view of a suite that compares: each case against its base, as a ratio with a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gnet_core.report.document import Sentence
from gnet_core.report.drawing import Picture
from gnet_core.report.grid import ratio, ratio_and_interval
from gnet_core.report.ratios import LOOKS, distinct, forest
from gnet_core.report.views import bars
from gnet_core.report.views.answers import (
    DIFFERENT,
    NoAnswer,
    ratio_in_words,
    relation,
    share_in_words,
    spread_of_identical_code,
)
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.results.comparisons import break_even_steps
from gnet_core.results.records import Row
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison
from gnet_core.text import percent

MAX_OF_A_SUITE = 2
"""Comparisons of a suite that rank before those of other suites."""

_MAX_IN_TITLE = 3  # values that are compared with their base; more are counted


class ComparisonView(Section):
    """A sentence a comparison. Ratios of one configuration, or that are costs, are drawn, else the speeds."""

    def answer(self) -> list[Sentence]:
        if not self.comparisons:
            return [NoAnswer(f"{self.base} and what it is compared with were not both run.")]
        return [self._sentence(comparison) for comparison in self._shown()]

    def draw(self) -> Picture:
        comparisons = list(self.comparisons.values())
        if (self.compares_sources or self.suite.costs) and any(comparison.ratio for comparison in comparisons):
            names = [bars.row_words(self, self.row(comparison.variant)) for comparison in comparisons]
            return forest(comparisons, comparisons[0].margin, self.picture_name, self.title(), *distinct(names))
        # What an execution gains is paid for when it starts.
        return bars.speeds(self, with_starts=len({row.execution for row in self.rows}) > 1)

    def title(self) -> str:
        comparisons = [comparison for comparison in self.comparisons.values() if comparison.ratio is not None]
        alone = len(self.comparisons) == 1 or self.suite.compares_identical_code or self.suite.costs
        return super().title() if alone or not comparisons else self._verdicts_in_words(comparisons)

    def findings(self) -> list[Finding]:
        judged = map(self._finding, filter(_has_enough, self._shown()))
        ranked = sorted(judged, key=lambda finding: -finding.effect)
        decided = [finding for finding in ranked if finding.rank == Rank.DECIDED]
        further = [finding._replace(rank=Rank.FURTHER) for finding in decided[MAX_OF_A_SUITE:]]
        others = [finding for finding in ranked if finding.rank != Rank.DECIDED]
        return [*decided[:MAX_OF_A_SUITE], *further, *others]

    def too_few_processes(self) -> list[Comparison]:
        if self.suite.compares_identical_code:
            return []
        return [comparison for comparison in self.comparisons.values() if not _has_enough(comparison)]

    def _finding(self, comparison: Comparison) -> Finding:
        if self.suite.compares_identical_code:
            rank = Rank.SAME_CODE
        elif comparison.verdict == "UNRESOLVED":
            rank = Rank.UNRESOLVED
        elif self.suite.costs:
            rank = Rank.COST
        else:
            rank = Rank.DECIDED if comparison.verdict in DIFFERENT else Rank.SAME
        effect = abs(math.log(comparison.ratio)) if comparison.ratio else 0.0
        return Finding(rank, self._sentence(comparison), effect)

    def _shown(self) -> list[Comparison]:
        """The comparisons of measured rows, or all where there are none; others stand elsewhere with their reasons."""
        comparisons = list(self.comparisons.values())
        return [item for item in comparisons if self.row(item.variant).status == "ok"] or comparisons

    def _sentence(self, comparison: Comparison) -> Sentence:
        row, base = self.row(comparison.variant), self.row(comparison.base)
        variant, where = self.value(row), self.named(row)
        if comparison.ratio is None:
            return NoAnswer(f"{variant} against {self.base}, {where}. {comparison.reason}")
        if self.suite.compares_identical_code:
            return self._same_code(comparison)
        if self.suite.costs:
            return self._cost(comparison, comparison.ratio)
        figures = f"{ratio_in_words(comparison)}, {where}"
        if comparison.verdict == "UNRESOLVED":
            point = f"UNRESOLVED whether {variant} is faster than {self.base}:"
            return Sentence(point, f"{figures}. {comparison.reason}")
        work = ""
        if row.precision != base.precision and row.equal_work:  # a speed is worth what its losses are
            tolerance = "tolerance" if row.device == "cpu" else "a tolerance measured on a CPU"
            work = f"; its losses are float32's within {tolerance}"
        point = f"{variant} {relation(comparison)} {self.base}"
        if comparison.verdict == "SAME":
            return Sentence(point, f"within {100 * comparison.margin:.3g}%: {figures}{work}.")
        return Sentence(f"{point}:", f"{figures}{self._break_even(base, row, comparison)}{work}.")

    def _break_even(self, base: Row, row: Row, comparison: Comparison) -> str:
        """Only where the verdict says that the speeds differ: else the quotient is one of two noises."""
        other = self.config(row).framework != self.config(base).framework
        compiled = row.execution == "xla" or (other and row.execution != "eager")
        if base.execution != "graph" or not compiled:
            return ""
        steps = break_even_steps(base, row)
        took = "" if row.compile_seconds is None else f"{row.compile_seconds:.0f} s "
        if comparison.verdict == "SLOWER" and steps == math.inf:
            return f"; it never pays back its {took}compile"
        if comparison.verdict == "FASTER" and steps is not None and steps != math.inf:
            return f"; it has paid back its {took}compile after {math.ceil(steps):,} steps"
        return ""

    def _same_code(self, comparison: Comparison) -> Sentence:
        text = f"{ratio_in_words(comparison)}, {self.named(self.row(comparison.base))}."
        if comparison.spread is not None:
            smallest = percent(comparison.minimum_detectable_effect)
            text += f" {spread_of_identical_code(self.run)} Between such, {smallest} can be seen."
        if comparison.verdict in DIFFERENT:
            text += " Something besides the code differs, so doubt every verdict here."
        elif comparison.verdict == "UNRESOLVED":
            text += f" {comparison.reason}"
        return Sentence(f"Identical code against itself is {comparison.verdict}:", text)

    def _cost(self, comparison: Comparison, ratio: float) -> Sentence:
        """A ratio of speeds as the share of a step that the base has and the variant has not."""
        low, high = (None if end is None else 1 - 1 / end for end in (comparison.low, comparison.high))
        share, costs = f"{share_in_words(1 - 1 / ratio, low, high)} of a step", self.suite.costs
        without = f"the speed without is {ratio_in_words(comparison)}, {self.named(self.row(comparison.variant))}."
        if comparison.verdict == "UNRESOLVED":
            return Sentence(f"UNRESOLVED how much goes to {costs}:", f"{share}; {without} {comparison.reason}")
        if comparison.verdict == "SAME":
            return Sentence(f"Nothing that matters goes to {costs}:", f"{share}; {without}")
        return Sentence(f"{share} goes to {costs}:", without)

    def _verdicts_in_words(self, comparisons: Sequence[Comparison]) -> str:
        """Each verdict where there is one a value, else how often each was given and for which ratios."""
        by_value: dict[str, list[Comparison]] = {}
        for comparison in sorted(comparisons, key=lambda comparison: list(LOOKS).index(comparison.verdict)):
            by_value.setdefault(self.value(self.row(comparison.variant)), []).append(comparison)
        parts = [
            f"{value} against {self.base}: {counted(group)}"
            if len(by_value) < len(comparisons)
            else f"{value} {relation(group[0])} {self.base}: {ratio_and_interval(group[0])}"
            for value, group in by_value.items()
        ]
        more = f"; {len(parts) - _MAX_IN_TITLE} more" if len(parts) > _MAX_IN_TITLE else ""
        return "; ".join(parts[:_MAX_IN_TITLE]) + more


def _has_enough(comparison: Comparison) -> bool:
    """Whether it could come to a verdict; a comparison without figures has a reason, which is an answer as well."""
    return comparison.ratio is None or min(comparison.base_processes, comparison.variant_processes) >= MIN_PROCESSES


def counted(comparisons: Sequence[Comparison]) -> str:
    """Each verdict of comparisons that have ratios, with how often it was given and for which ratios."""
    parts: list[str] = []
    for verdict in dict.fromkeys(comparison.verdict for comparison in comparisons):
        alike = sorted((item for item in comparisons if item.verdict == verdict), key=lambda item: item.ratio or 0.0)
        highest = f"–{ratio(alike[-1])}" if len(alike) > 1 else ""
        total = "" if parts else f" of {len(comparisons)}"
        parts.append(f"{verdict} in {len(alike)}{total} ({ratio(alike[0])}{highest}×)")
    return ", ".join(parts)
