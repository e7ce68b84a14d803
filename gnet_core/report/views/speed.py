"""The view of a suite that asks how fast: the most images/s that its cases reached."""

from __future__ import annotations

from gnet_core.report.document import Sentence
from gnet_core.report.drawing import Picture
from gnet_core.report.views import bars
from gnet_core.report.views.answers import NoAnswer, throughput
from gnet_core.report.views.section import Finding, Section
from gnet_core.results.records import Row


class SpeedView(Section):
    """The fastest row answers. It is no finding of its own: the fastest of the whole run is one."""

    def answer(self) -> list[Sentence]:
        best = self.best()
        if best is None:
            return [NoAnswer("the losses of its cases are not those of the work that was asked for.")]
        return [self.sentence(best)]

    def sentence(self, best: Row) -> Sentence:
        """The fastest row in words."""
        return throughput(self.named(best, whole=True), best)

    def draw(self) -> Picture:
        return bars.speeds(self)

    def findings(self) -> list[Finding]:
        return []
