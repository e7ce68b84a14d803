"""The view of a suite that takes a step apart: what of its time each value of the field that varies adds."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from gnet_core.report.document import Sentence
from gnet_core.report.drawing import COLOURS, Picture, described, draw, height_of, label_lines, legible, subtitle
from gnet_core.report.ratios import MAX_LINES, distinct, wrapped
from gnet_core.report.views import bars
from gnet_core.report.views.answers import NoAnswer, share_in_words
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import milliseconds

_ADDED = {("forward", "gradients"): "backward", ("gradients", "train"): "optimizer"}
"""What the second value does that the first does not, where that has a name."""


class _Part(NamedTuple):
    """What a value adds to the next smaller one."""

    name: str
    share: float
    """Of the whole step's time."""
    low: float | None
    high: float | None


class PartsView(Section):
    """The base is the whole step, and each variant a part of it that holds the next smaller one.

    The ratios are of speeds, taken turn by turn, so their inverses are shares of the base's time.
    """

    @property
    def tells_costs(self) -> bool:
        return True

    def answer(self) -> list[Sentence]:
        if not self.comparisons:
            return [NoAnswer(f"{self.base} and the parts of it were not both run.")]
        return [self._sentence(base, compared) for base, compared in self._by_base().items()]

    def findings(self) -> list[Finding]:
        if not any(row.images_per_second for row in self.rows):
            return []
        return [Finding(Rank.PARTS, each) for each in self.answer() if not isinstance(each, NoAnswer)]

    def draw(self) -> Picture:
        """Steps as stacks of their parts; the speeds where no step has all of them."""
        steps = {base: parts for base, compared in self._by_base().items() if (parts := self._parts(compared))}
        steps = {base: parts for base, parts in steps.items() if self.row(base).step_seconds}
        if not steps:
            return bars.speeds(self)
        shown = dict(list(steps.items())[:MAX_LINES])
        names, shared = distinct([self.words(self.row(base)) for base in shown])
        names = [legible(name) for name in names]
        kinds = dict.fromkeys(part.name for parts in shown.values() for part in parts)
        looks = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(kinds)}
        seconds = [
            [
                (self.row(base).step_seconds or 0.0) * {part.name: part.share for part in parts}.get(name, 0.0)
                for name in kinds
            ]
            for base, parts in shown.items()
        ]
        # Where noise makes a part shorter than nothing, its share says so and its bar is empty.
        stacks = [[1000 * max(0.0, part) for part in step] for step in seconds]

        def paint(axes: object) -> None:
            bars.stacks(axes, stacks, looks)
            for line, step in enumerate(seconds):
                bars.shares(axes, line, step, stacks[line])
            label_lines(axes, [wrapped(name) for name in names])
            axes.set_xlabel("ms a step")  # type: ignore[attr-defined]
            subtitle(axes, shared, len(steps) - len(shown))

        lines = [
            f"{name}: " + ", ".join(f"{kind} {milliseconds(took)} ms" for kind, took in zip(kinds, step, strict=True))
            for name, step in zip(names, seconds, strict=True)
        ]
        height = height_of(len(shown), 3) + bars.LEGEND_INCHES
        return draw(self.picture_name, self.title(), described("Parts of a step.", lines), paint, height)

    def _by_base(self) -> dict[str, list[Comparison]]:
        by_base: dict[str, list[Comparison]] = {}
        for found in self.comparisons.values():
            by_base.setdefault(found.base, []).append(found)
        return by_base

    def _sentence(self, base: str, compared: list[Comparison]) -> Sentence:
        where = self.named(self.row(base))
        parts = self._parts(compared)
        if not parts:
            reasons = " ".join(found.reason for found in compared if found.ratio is None)
            return NoAnswer(f"not all parts of {where} could be measured. {reasons}".rstrip())
        told = ", ".join(f"{part.name} {share_in_words(part.share, part.low, part.high)}" for part in parts)
        return Sentence(told, f"of a step: {where}. Each part was timed as a step of its own.")

    def _parts(self, compared: list[Comparison]) -> list[_Part]:
        """From the smallest part to what only the whole step has; none where one of them has no ratio."""
        if any(not found.ratio for found in compared):
            return []
        ordered = sorted(compared, key=lambda found: -(found.ratio or 0.0))
        first, last = ordered[0], ordered[-1]
        values = [self.value(self.row(found.variant)) for found in ordered]
        parts = [_Part(values[0], _inverse(first.ratio) or 0.0, _inverse(first.high), _inverse(first.low))]
        for smaller, larger in itertools.pairwise(range(len(ordered))):
            took = (_inverse(ordered[larger].ratio) or 0.0) - (_inverse(ordered[smaller].ratio) or 0.0)
            parts.append(_Part(_added(values[smaller], values[larger]), took, None, None))
        rest = [None if share is None else 1 - share for share in map(_inverse, (last.ratio, last.low, last.high))]
        parts.append(_Part(_added(values[-1], self.base), rest[0] or 0.0, rest[1], rest[2]))
        return parts


def _added(smaller: str, larger: str) -> str:
    return _ADDED.get((smaller, larger), f"{larger} beyond {smaller}")


def _inverse(ratio: float | None) -> float | None:
    return 1 / ratio if ratio else None
