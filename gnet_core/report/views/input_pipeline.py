"""The view of a suite that asks whether a loader keeps up with the step: input-bound or compute-bound, and why."""

from __future__ import annotations

import math
from typing import NamedTuple

from gnet_core.config import slug
from gnet_core.report.document import Sentence
from gnet_core.report.drawing import Picture
from gnet_core.report.fields import setting_words
from gnet_core.report.grid import ratio, ratio_and_interval
from gnet_core.report.views import bars
from gnet_core.report.views.answers import NoAnswer, processes_in_words, ratio_in_words, speed_in_words
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.results.raw_files import Pictures
from gnet_core.results.records import Row
from gnet_core.stats.verdicts import DEFAULT_MARGIN, MIN_PROCESSES, Comparison

_FORMS = {"jpeg": "JPEG files", "tfrecord": "TFRecord files", "cache": "Cache in memory"}
_BRIEF = {"jpeg": "JPEG", "tfrecord": "TFRecord", "cache": "cache"}
"""Where there is no room for more."""
_ALONE = "the step alone"
_SAID_ELSEWHERE = ("feed", "part", "data")


class _Form(NamedTuple):
    """A feed beside a step: what its loader and both together are to the step alone."""

    feed: str
    loader: Comparison | None
    both: Comparison | None
    on_host: bool
    """Whether the step is computed by the processors that load, which feeding always takes from it."""

    @property
    def verdict(self) -> str:
        """compute-bound, input-bound, or open where the interval holds 1 or rests on too few processes."""
        loader = self.loader
        if loader is None or loader.low is None or loader.high is None or loader.pairs < MIN_PROCESSES:
            return "open"
        if loader.high < 1 or self.held_back:
            return "input-bound"
        return "compute-bound" if loader.low > 1 else "open"

    @property
    def held_back(self) -> bool:
        """Whether a step on a device of its own is slower when fed, whatever the loader can do alone: it is launched
        by processors that are busy loading.
        """
        both = self.both
        if self.on_host or both is None or both.high is None or both.pairs < MIN_PROCESSES:
            return False
        return both.high < 1 - DEFAULT_MARGIN


class InputView(Section):
    """A sentence a feed: its loader against the step alone, what feeding costs the step, and the processors it needs.

    Each ratio is of images a second to those of the step alone, on a batch that is ready.
    """

    @property
    def base(self) -> str:
        return _ALONE

    def value(self, row: Row) -> str:
        config = self.config(row)
        if config.feed == "ready":
            return _ALONE
        form = _BRIEF[config.feed]
        return f"the {form} loader alone" if config.part == "input" else f"the step fed from {form}"

    def words(self, row: Row, *, whole: bool = False) -> list[str]:
        config = self.config(row)
        said = [field for field in self.fields if field not in _SAID_ELSEWHERE]
        words = [setting_words(field, getattr(config, field)) for field in said]
        words += [f"from {row.source}"] if row.source else []
        return [self.value(row), *words] if whole else words

    def answer(self) -> list[Sentence]:
        if not self.comparisons:
            return [NoAnswer("the step alone and what feeds it were not both run.")]
        answers = [self._sentence(base, form) for base, forms in self._by_base().items() for form in forms]
        return [*answers, *self._surroundings()]

    def title(self) -> str:
        forms = [form for forms in self._by_base().values() for form in forms if form.loader and form.loader.ratio]
        said = [f"{_BRIEF[form.feed]} {ratio(form.loader)}× ({form.verdict})" for form in forms if form.loader]
        return f"Loaders against the step: {', '.join(said[:3])}" if said else super().title()

    def draw(self) -> Picture:
        return bars.speeds(self, logarithmic=True)  # what is kept in memory is a hundred times faster than the step

    def findings(self) -> list[Finding]:
        found = []
        for base, forms in self._by_base().items():
            for form in forms:
                if form.loader is not None and form.loader.ratio is not None and form.loader.pairs >= MIN_PROCESSES:
                    rank = Rank.UNRESOLVED if form.verdict == "open" else Rank.INPUT
                    found.append(Finding(rank, self._sentence(base, form), abs(math.log(form.loader.ratio))))
        return found

    def too_few_processes(self) -> list[Comparison]:
        return [item for item in self.comparisons.values() if item.ratio is not None and item.pairs < MIN_PROCESSES]

    def _by_base(self) -> dict[str, list[_Form]]:
        """The forms beside each step alone, in the order of their feeds."""
        found: dict[tuple[str, str], dict[str, Comparison]] = {}
        for comparison in self.comparisons.values():
            config = self.config(self.row(comparison.variant))
            found.setdefault((comparison.base, config.feed), {})[config.part] = comparison
        by_base: dict[str, list[_Form]] = {}
        for (base, feed), parts in found.items():
            on_host = self.row(base).device == "cpu"
            by_base.setdefault(base, []).append(_Form(feed, parts.get("input"), parts.get("train"), on_host))
        return by_base

    def _sentence(self, base: str, form: _Form) -> Sentence:
        loader, both, step = form.loader, form.both, self.row(base)
        where = ", ".join(self.words(step)) if len(self._by_base()) > 1 else ""
        name = ", ".join(filter(None, [_FORMS[form.feed], where]))
        if loader is None or loader.ratio is None:
            why = loader.reason if loader is not None else "its loader was not run alone."
            return NoAnswer(f"whether {name} would keep up with the step. {why}")
        alone = self.row(loader.variant)
        feeds = f"of what the step takes the loader feeds {ratio_in_words(loader)}"
        text = [f"{feeds}: alone {speed_in_words(alone)} against {speed_in_words(step)}."]
        if form.verdict == "open":
            text.append(_why_open(loader))
        if both is not None and both.ratio is not None:
            text.append(f"Of its speed alone, the step that is fed from it has {ratio_in_words(both)}.")
        elif both is not None:
            text.append(f"What feeding costs the step is not known: {both.reason}")
        if form.held_back and loader.low is not None and loader.low > 1:
            text.append("Alone the loader keeps up, but beside it the step waits for processors to launch it.")
        else:
            text.append(self._processors(alone, loader.ratio))
        verdict = "open whether input-bound" if form.verdict == "open" else form.verdict
        return Sentence(f"{name}: {verdict},", " ".join(text))

    def _processors(self, loader: Row, feeds: float) -> str:
        usable = self._usable_processors(loader)
        needed = math.ceil(usable / feeds)
        number = "1 processor" if needed == 1 else f"{needed} processors"
        estimate = f"by an estimate from the {usable:g} that the loader had, if it scales linearly"
        return f"{number} would feed this device, {estimate}."

    def _usable_processors(self, row: Row) -> float:
        """The processors that a process of the row could use."""
        document = self.run.document
        machine = document.environments.get(row.source, document.environment).machine
        quota = machine.cpu_quota_cores
        return float(machine.usable_threads) if quota is None else min(quota, machine.usable_threads)

    def _surroundings(self) -> list[Sentence]:
        """What a reader has to know of the pictures, and of the processors where loader and step share them."""
        fed = [(self.run.pictures[row.case], row.data) for row in self.rows if row.case in self.run.pictures]
        sentences = [Sentence("The pictures:", _described(pictures, data)) for pictures, data in dict.fromkeys(fed)]
        if any(row.device == "cpu" for row in self.rows):
            usable = max(map(self._usable_processors, self.rows))
            sentences.append(
                Sentence(
                    "Loader and step share the processors here,",
                    f"all {usable:g} of them: feeding costs the step also where the loader alone is the faster.",
                )
            )
        return sentences


def _described(pictures: Pictures, data: str) -> str:
    which = "photographs that were made for this" if pictures.made else f"of the training images of {slug(data)}"
    pixels, encoded = pictures.pixels / pictures.images, pictures.encoded_bytes / pictures.images
    return (
        f"{pictures.images} {which}, of {pixels:,.0f} pixels and {encoded / 1000:.3g} kB each, which is "
        f"{encoded / pixels:.2f} bytes a pixel. The system has their files in memory, so no disk is measured."
    )


def _why_open(loader: Comparison) -> str:
    if loader.low is None or loader.pairs < MIN_PROCESSES:
        return f"That rests on {processes_in_words(loader.pairs)} a side; an answer takes {MIN_PROCESSES}."
    return f"The interval of {ratio_and_interval(loader)} holds 1."
