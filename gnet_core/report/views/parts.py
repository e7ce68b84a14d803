"""The view of a suite that takes a step apart: what of its time each value of the field that varies adds."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from gnet_core.report.document import Sentence
from gnet_core.report.drawing import COLOURS, LEGEND_INCHES, Picture, described, draw_lines, legible, subtitle
from gnet_core.report.ratios import MAX_LINES, distinct, wrapped
from gnet_core.report.views import bars
from gnet_core.report.views.answers import NoAnswer, share_in_words
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.stats.verdicts import Comparison
from gnet_core.text import milliseconds

_ADDED = {("forward", "gradients"): "backward", ("gradients", "train"): "optimizer"}
"""Names of the work that the second value does beyond the first, where it has one."""


class _Part(NamedTuple):
    """The time that a value adds to the next smaller one."""

    name: str
    share: float
    """Share of the whole step's time, with its 95 % interval where there is one."""
    low: float | None = None
    high: float | None = None


class PartsView(Section):
    """The base is the whole step, and each variant a part of it that holds the next smaller one.

    The ratios are of speeds, taken turn by turn, so their inverses are shares of the base's time.
    """

    @property
    def shows_costs(self) -> bool:
        return True

    def answer(self) -> list[Sentence]:
        if not self.comparisons:
            return [NoAnswer(f"{self.base} and the parts of it were not both run.")]
        return [self._sentence(base, comparisons) for base, comparisons in self._by_base().items()]

    def findings(self) -> list[Finding]:
        return [Finding(Rank.PARTS, answer) for answer in self.answers() if not isinstance(answer, NoAnswer)]

    def draw(self) -> Picture:
        """Steps as stacks of their parts; the speeds where no step has all of them."""
        steps: list[tuple[str, dict[str, float]]] = []  # bases, with the seconds of their parts
        for base, comparisons in self._by_base().items():
            whole, parts = self.row(base).step_seconds, self._parts(comparisons)
            if whole and parts:
                steps.append((base, {part.name: whole * part.share for part in parts}))
        if not steps:
            return bars.speeds(self)
        shown = steps[:MAX_LINES]
        names, shared = distinct([self.words(self.row(base)) for base, _ in shown])
        names = [legible(name) for name in names]
        kinds = dict.fromkeys(kind for _, parts in shown for kind in parts)
        looks = {kind: COLOURS[number % len(COLOURS)] for number, kind in enumerate(kinds)}
        seconds = [[parts.get(kind, 0.0) for kind in kinds] for _, parts in shown]

        def paint(axes: Any) -> None:
            bars.stacks(axes, [[1000 * part for part in step] for step in seconds], looks, with_shares=True)
            axes.set_xlabel("ms a step")
            subtitle(axes, shared, len(steps) - len(shown))

        lines = [
            f"{name}: " + ", ".join(f"{kind} {milliseconds(took)} ms" for kind, took in zip(kinds, step, strict=True))
            for name, step in zip(names, seconds, strict=True)
        ]
        description, labels = described("Parts of a step.", lines), [wrapped(name) for name in names]
        room: dict[str, Any] = {"label_rows": 3, "legend": LEGEND_INCHES}  # shares stand above the bars
        return draw_lines(self.picture_name, self.title(), description, paint, labels, **room)

    def _by_base(self) -> dict[str, list[Comparison]]:
        by_base: dict[str, list[Comparison]] = {}
        for comparison in self.comparisons.values():
            by_base.setdefault(comparison.base, []).append(comparison)
        return by_base

    def _sentence(self, base: str, comparisons: list[Comparison]) -> Sentence:
        where = self.named(self.row(base))
        parts = self._parts(comparisons)
        if not parts:
            reasons = " ".join(comparison.reason for comparison in comparisons if comparison.ratio is None)
            return NoAnswer(f"not all parts of {where} could be measured. {reasons}".rstrip())
        point = ", ".join(f"{part.name} {share_in_words(part.share, part.low, part.high)}" for part in parts)
        return Sentence(point, f"of a step: {where}. Each part was timed as a step of its own.")

    def _parts(self, comparisons: list[Comparison]) -> list[_Part]:
        """From the smallest part to what only the whole step has; none where one of them has no ratio."""
        # A value's share of the whole step is the inverse of its ratio, so the fastest is the smallest.
        steps = [
            _Part(self.value(self.row(item.variant)), 1 / item.ratio, _inverse(item.high), _inverse(item.low))
            for item in sorted(comparisons, key=lambda item: -(item.ratio or 0.0))
            if item.ratio
        ]
        if len(steps) < len(comparisons):
            return []
        whole = _Part(self.base, 1.0)
        added = [_added(smaller, larger) for smaller, larger in itertools.pairwise([*steps, whole])]
        low, high = (None if end is None else 1 - end for end in (steps[-1].high, steps[-1].low))
        return [steps[0], *added[:-1], added[-1]._replace(low=low, high=high)]


def _added(smaller: _Part, larger: _Part) -> _Part:
    names = smaller.name, larger.name
    return _Part(_ADDED.get(names, f"{larger.name} beyond {smaller.name}"), larger.share - smaller.share)


def _inverse(ratio: float | None) -> float | None:
    return 1 / ratio if ratio else None
