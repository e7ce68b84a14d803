"""What looked slower between two runs and was measured again in fresh processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from gnet_core.plan.suites import SOURCE
from gnet_core.results.comparisons import within
from gnet_core.results.records import Run
from gnet_core.stats.verdicts import Comparison


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Confirmation:
    """A second measurement of the cases that looked slower, with no process of the first in it."""

    run: Run
    """The run of the fresh processes."""
    cases: list[str]
    """The cases that looked slower."""
    comparisons: dict[str, Comparison]
    """By the case that looked slower. One that the second run could not compare keeps its verdict and is not here."""
    why_sequential: str = ""
    """Why NEW was measured alone, after BASE, and not in turns with it; empty where they took turns."""

    @property
    def how_timed(self) -> str:
        """Whether the two took turns, as a sentence, and why not."""
        if not self.comparisons:
            return "Nothing could be compared again: what was started failed, or ended before its third process."
        if self.why_sequential:
            return (
                "Only NEW was measured anew, so the two were timed one after the other, and the machine's drift and "
                f"the luck that BASE had are in these ratios too: {self.why_sequential}."
            )
        if all(comparison.mode == "turns" for comparison in self.comparisons.values()):
            return "Both were measured anew, in turns, so no drift of the machine is in these ratios."
        return "Both were measured anew, but timed one after the other where the memory did not hold them together."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "directory": str(self.run.directory),
            "complete": self.run.document.complete,
            "why_sequential": self.why_sequential,
            "comparisons": [{"case": case} | item.to_dict() for case, item in self.comparisons.items()],
        }


def in_turns(cases: Iterable[str], new: Run, again: Run, margin: float) -> dict[str, Comparison]:
    """The comparisons of the sources of the run `again`, by the case of `new` that has the same configuration."""
    of_sources = {suite.name for suite in again.document.suites if suite.varies == SOURCE}
    by_config = {
        again.configs[variant].name: comparison
        for family in within(again, margin)
        if family.suite in of_sources
        for variant, comparison in family.comparisons.items()
        if comparison.ratio is not None
    }
    return {case: by_config[name] for case in cases if (name := new.configs[case].name) in by_config}
