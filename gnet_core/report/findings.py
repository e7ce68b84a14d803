"""The few sentences that a reader should take away from a run, the most decided and most useful first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gnet_core.profile.document import Profile
from gnet_core.report.document import Sentence
from gnet_core.report.fields import case_words
from gnet_core.report.grid import ratio
from gnet_core.report.profile import launch_bound
from gnet_core.report.views.answers import counts, processes_in_words, speed, throughput
from gnet_core.report.views.section import Finding, Rank, Section
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison

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
    candidates += [finding for section in sections for finding in section.findings()]
    if not candidates:
        return [Sentence("Nothing was measured:", "no case has figures, and the reasons stand below.")]
    ordered = sorted(candidates, key=lambda finding: (finding.rank, -finding.effect))
    return list(dict.fromkeys(finding.sentence for finding in ordered))[:MAX_FINDINGS]  # suites may share a comparison


def _fastest(sections: Sequence[Section]) -> Iterator[Finding]:
    """The most images/s of a whole step, all its losses and exchange included, on the largest images, in any suite."""
    reached = []
    for section in sections:
        largest = max(config.image_size for config in section.run.configs.values())
        for row in filter(counts, section.rows):
            config = section.config(row)
            whole = config.part == "train" and config.aux_weight > 0 and config.all_reduce
            if whole and config.image_size == largest:
                reached.append((section, row))
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
            of_what = f" of {section.base}" if section.base else f" ({section.suite.name}, {section.quantity})"
            groups.append(f"{', '.join(ratios[:MAX_NAMED])}{more}{of_what}")
            short += comparisons
    if short:
        number = "1 comparison" if len(short) == 1 else f"{len(short)} comparisons"
        fewest = processes_in_words(min(min(item.base_processes, item.variant_processes) for item in short))
        option = "--budget" if sections[0].run.document.until == "resolved" else "--replicates"
        text = f"{'; '.join(groups)}, from {fewest} a side; a verdict takes {MIN_PROCESSES} or more ({option})."
        yield Finding(Rank.TOO_FEW, Sentence(f"UNRESOLVED, {number} for want of processes:", text))
