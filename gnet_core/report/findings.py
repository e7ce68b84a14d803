"""What a run comes to: the few sentences that a reader should take away, the most decided and most useful first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gnet_core.profile.document import Profile
from gnet_core.report.document import Sentence
from gnet_core.report.fields import case_words
from gnet_core.report.grid import ratio
from gnet_core.report.profile import launch_bound
from gnet_core.report.views.answers import (
    MODES,
    counts,
    processes_in_words,
    speed,
    spread_of_identical_code,
    throughput,
)
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.stats.verdicts import MIN_PROCESSES, POWER, Comparison
from gnet_core.text import percent

MAX_FINDINGS = 6
"""Findings on the first page. Readers do not retain more."""

MAX_NAMED = 3
"""Comparisons of a suite that are named where they rest on too few processes."""


def findings(sections: Sequence[Section], traces: Sequence[Profile] = ()) -> list[Sentence]:
    """At most MAX_FINDINGS sentences of plain text, fewer where less is known. `traces` are those of the same run."""
    candidates = [*_fastest(sections), *_too_few(sections)]
    candidates += [
        Finding(Rank.TRACED, Sentence(f"{', '.join(case_words(trace.config))}, traced:", bound))
        for trace in traces
        if (bound := launch_bound(trace))
    ]
    for section in sections:
        candidates += section.findings()
    if not candidates:
        return [Sentence("Nothing was measured:", "no case has figures, and the reasons stand below.")]
    ordered = sorted(candidates, key=lambda finding: (finding.rank, -finding.effect))
    return list(dict.fromkeys(finding.sentence for finding in ordered))[:MAX_FINDINGS]  # suites may share a comparison


def detectable_effects(sections: Sequence[Section]) -> Sentence | None:
    """Minimum detectable effects of the comparisons, and the machine's own noise; None where nothing is compared."""
    of_other_code = [section for section in sections if not section.suite.compares_identical_code]
    compared = [comparison for section in of_other_code for comparison in section.comparisons.values()]
    if not compared:
        return None
    ranges = []
    for mode, words in MODES.items():
        effects = [item.smallest_effect for item in compared if item.mode == mode and item.smallest_effect is not None]
        if effects:
            low, high = percent(min(effects)), percent(max(effects))
            ranges.append(f"{low if low == high else f'{low}–{high}'} {words}")
    if not ranges:
        why = "none can be told, since no comparison has processes enough for an interval."
        return Sentence("Smallest effect:", why)
    text = f"that these comparisons would have found, {POWER:.0%} of the time: {', '.join(ranges)}."
    return Sentence("Smallest effect", f"{text} {spread_of_identical_code(sections[0].run)}".rstrip())


def _fastest(sections: Sequence[Section]) -> Iterator[Finding]:
    """The most images/s that a whole step with all its losses reached, in the first of the suites that share it."""
    reached = [(section, row) for section in sections for row in section.rows if counts(row) and section.is_whole(row)]
    if reached:
        section, row = max(reached, key=lambda candidate: speed(candidate[1]))
        yield Finding(Rank.SPEED, throughput(section.named(row, whole=True), row))


def _too_few(sections: Sequence[Section]) -> Iterator[Finding]:
    """The comparisons that rest on too few processes, in one sentence: their ratios, and no claim."""
    groups = []
    short: list[Comparison] = []
    for section in sections:
        if comparisons := section.too_few_processes():
            ratios = [f"{section.value(section.row(item.variant))} {ratio(item)}×" for item in comparisons]
            more = f" and {len(ratios) - MAX_NAMED} more" if len(ratios) > MAX_NAMED else ""
            groups.append(f"{', '.join(ratios[:MAX_NAMED])}{more} of {section.base}")
            short += comparisons
    if short:
        number = "1 comparison" if len(short) == 1 else f"{len(short)} comparisons"
        fewest = processes_in_words(min(min(item.base_processes, item.variant_processes) for item in short))
        text = f"{'; '.join(groups)}, from {fewest} a side; a verdict takes {MIN_PROCESSES} or more (--replicates)."
        yield Finding(Rank.TOO_FEW, Sentence(f"UNRESOLVED, {number} for want of processes:", text))
