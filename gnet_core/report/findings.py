"""What a run comes to: the few sentences that a reader should take away, the most decided and most useful first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gnet_core.profile.document import Profile
from gnet_core.report.document import Sentence
from gnet_core.report.fields import case_words
from gnet_core.report.grid import ratio
from gnet_core.report.profile import launch_bound
from gnet_core.report.views.answers import counts, speed, spread_of_identical_code, throughput
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.stats.ratio import POWER
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison
from gnet_core.text import percent

MOST = 6
"""Of more than these nobody remembers any."""

MAX_NAMED = 3
"""Of a suite's comparisons that rest on too few processes."""


def findings(found: Sequence[Section], traces: Sequence[Profile] = ()) -> list[Sentence]:
    """At most six sentences, fewer where there is less to tell; plain text. `traces` are those of the same run."""
    candidates = [*_speed(found), *_too_few(found), *_launch_bound(traces)]
    for section in found:
        candidates += section.findings()
    if not candidates:
        return [Sentence("Nothing was measured:", "no case has figures, and the reasons stand below.")]
    ordered = sorted(candidates, key=lambda each: (each.rank, -each.effect))
    return list(dict.fromkeys(each.sentence for each in ordered))[:MOST]  # suites may share a comparison


def smallest_effects(sections: Sequence[Section]) -> Sentence | None:
    """What the comparisons could have found, and the machine's own noise; None where nothing is compared."""
    of_other_code = [section for section in sections if not section.compares_identical_code]
    compared = [each for section in of_other_code for each in section.comparisons.values()]
    if not compared:
        return None
    ranges = []
    for mode, told in (("turns", "in turns"), ("sequential", "one after the other")):
        known = [each.smallest_effect for each in compared if each.mode == mode and each.smallest_effect is not None]
        if known:
            low, high = percent(min(known)), percent(max(known))
            ranges.append(f"{low if low == high else f'{low}–{high}'} {told}")
    if not ranges:
        return Sentence(
            "Smallest effect:", "none can be told, since no comparison has processes enough for an interval."
        )
    told = f"that these comparisons would have found, {POWER:.0%} of the time: {', '.join(ranges)}."
    return Sentence("Smallest effect", f"{told} {spread_of_identical_code(sections[0].run)}".rstrip())


def _speed(found: Sequence[Section]) -> Iterator[Finding]:
    """The most images/s that a whole step with all its losses reached, in whichever suite."""
    reached = [
        (speed(row), -number, section, row)
        for number, section in enumerate(found)
        for row in section.rows
        if counts(row) and section.is_whole(row)
    ]
    if reached:
        *_, section, row = max(reached, key=lambda each: each[:2])
        yield Finding(Rank.SPEED, throughput(section.named(row, whole=True), row))


def _launch_bound(traces: Sequence[Profile]) -> Iterator[Finding]:
    """The traced cases whose step is bound by launching kernels."""
    for profile in traces:
        if bound := launch_bound(profile):
            yield Finding(Rank.TRACED, Sentence(f"{', '.join(case_words(profile.config))}, traced:", bound))


def _too_few(found: Sequence[Section]) -> Iterator[Finding]:
    """What rests on too few processes, in one sentence: a ratio each, and no claim."""
    groups = []
    short: list[Comparison] = []
    for section in found:
        if of_suite := section.too_few_processes():
            ratios = [f"{section.value(section.row(each.variant))} {ratio(each)}×" for each in of_suite]
            more = f" and {len(ratios) - MAX_NAMED} more" if len(ratios) > MAX_NAMED else ""
            groups.append(f"{', '.join(ratios[:MAX_NAMED])}{more} of {section.base}")
            short += of_suite
    if short:
        number = "1 comparison" if len(short) == 1 else f"{len(short)} comparisons"
        fewest = min(min(each.base_processes, each.variant_processes) for each in short)
        processes = "one process" if fewest == 1 else f"{fewest} processes"
        told = f"{'; '.join(groups)}, from {processes} a side; a verdict takes {MIN_PROCESSES} or more (--replicates)."
        yield Finding(Rank.TOO_FEW, Sentence(f"UNRESOLVED, {number} for want of processes:", told))
