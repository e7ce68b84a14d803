"""What a run comes to: the few sentences that a reader should take away, the most decided and most useful first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from gnet_core.profile.document import Profile
from gnet_core.report.document import NoAnswer, Sentence
from gnet_core.report.grid import ratio
from gnet_core.report.profile import launch_bound
from gnet_core.report.ratios import in_words
from gnet_core.report.views.answers import (
    DIFFERENT,
    comparison,
    counts,
    parts_of_a_step,
    scaling,
    throughput,
    worth_telling,
)
from gnet_core.report.views.section import Section
from gnet_core.results.records import AA_SUITE, Row
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison

MOST = 6
"""Of more than these nobody remembers any."""

MOST_OF_A_SUITE = 2
"""Comparisons that stand before other suites have had their say."""

MOST_NAMED = 3
"""Of a suite's comparisons that rest on too few processes."""


class _Rank(IntEnum):
    """What comes first where not all can be told."""

    SPEED = 0
    DECIDED = 1
    SCALING = 2
    TRACED = 3
    PARTS = 4
    AUXILIARY = 5
    SAME = 6
    UNRESOLVED = 7
    TOO_FEW = 8
    SAME_CODE = 9
    FURTHER = 10


class _Candidate(NamedTuple):
    rank: _Rank
    effect: float
    """By how much the two differ, as a logarithm without sign; 0 where nothing is compared."""
    sentence: Sentence


def findings(found: Sequence[Section], traces: Sequence[Profile] = ()) -> list[Sentence]:
    """At most six sentences, fewer where there is less to tell; plain text. `traces` are those of the same run."""
    candidates = [*_speed(found), *_too_few(found), *_launch_bound(traces)]
    for section in found:
        candidates += _of_suite(section)
    if not candidates:
        return [Sentence("Nothing was measured:", "no case has figures, and the reasons stand below.")]
    ordered = sorted(candidates, key=lambda each: (each.rank, -each.effect))
    return list(dict.fromkeys(each.sentence for each in ordered))[:MOST]  # suites may share a comparison


def _speed(found: Sequence[Section]) -> Iterator[_Candidate]:
    """The most images/s that a whole step with all its losses reached, in whichever suite."""
    reached = [
        (row.images_per_second or 0.0, -number, section, row)
        for number, section in enumerate(found)
        for row in section.rows
        if counts(row) and _is_whole(section, row)
    ]
    if reached:
        *_, section, row = max(reached, key=lambda each: each[:2])
        yield _Candidate(_Rank.SPEED, 0.0, throughput(section, row))


def _launch_bound(traces: Sequence[Profile]) -> Iterator[_Candidate]:
    """The traced cases whose step is bound by launching kernels."""
    for profile in traces:
        if bound := launch_bound(profile):
            case = ", ".join(in_words(profile.config))
            yield _Candidate(_Rank.TRACED, 0.0, Sentence(f"{case}, traced:", bound))


def _is_whole(section: Section, row: Row) -> bool:
    config = section.run.configs[row.case]
    return config.part == "train" and config.aux_weight > 0


def _of_suite(section: Section) -> list[_Candidate]:
    if section.varies == "batch_size" and not section.comparisons:
        return list(_scaling(section))
    if section.varies == "part":
        told = [each for each in parts_of_a_step(section) if not isinstance(each, NoAnswer)]
        return [_Candidate(_Rank.PARTS, 0.0, each) for each in told]
    judged = [each for each in worth_telling(section) if _has_enough(each)]
    ranked = sorted((_of_comparison(section, each) for each in judged), key=lambda each: -each.effect)
    decided = [each for each in ranked if each.rank == _Rank.DECIDED]
    further = [each._replace(rank=_Rank.FURTHER) for each in decided[MOST_OF_A_SUITE:]]
    return [*decided[:MOST_OF_A_SUITE], *further, *(each for each in ranked if each.rank != _Rank.DECIDED)]


def _scaling(section: Section) -> Iterator[_Candidate]:
    counting = [row for row in section.rows if counts(row)]
    if len({row.batch_size for row in counting}) > 1:
        best = max(counting, key=lambda row: row.images_per_second or 0.0)
        yield _Candidate(_Rank.SCALING, 0.0, scaling(section, counting, best))


def _of_comparison(section: Section, found: Comparison) -> _Candidate:
    effect = abs(math.log(found.ratio)) if found.ratio else 0.0
    return _Candidate(_rank(section, found), effect, comparison(section, found))


def _rank(section: Section, found: Comparison) -> _Rank:
    if section.name == AA_SUITE:
        return _Rank.SAME_CODE
    if found.verdict == "UNRESOLVED":
        return _Rank.UNRESOLVED
    if section.name == "auxiliary":
        return _Rank.AUXILIARY
    return _Rank.DECIDED if found.verdict in DIFFERENT else _Rank.SAME


def _has_enough(found: Comparison) -> bool:
    """Whether it could come to a verdict; a comparison without figures tells why, which is an answer as well."""
    return found.ratio is None or min(found.base_processes, found.variant_processes) >= MIN_PROCESSES


def _too_few(found: Sequence[Section]) -> Iterator[_Candidate]:
    """What rests on too few processes, in one sentence: a ratio each, and no claim."""
    groups = []
    short: list[Comparison] = []
    for section in found:
        if section.name == AA_SUITE or section.varies == "part":
            continue
        of_suite = [each for each in section.comparisons.values() if not _has_enough(each)]
        if of_suite:
            ratios = [f"{section.value(section.row(each.variant))} {ratio(each)}×" for each in of_suite]
            more = f" and {len(ratios) - MOST_NAMED} more" if len(ratios) > MOST_NAMED else ""
            groups.append(f"{', '.join(ratios[:MOST_NAMED])}{more} of {section.base}")
            short += of_suite
    if short:
        number = "1 comparison" if len(short) == 1 else f"{len(short)} comparisons"
        fewest = min(min(each.base_processes, each.variant_processes) for each in short)
        processes = "one process" if fewest == 1 else f"{fewest} processes"
        told = f"{'; '.join(groups)}, from {processes} a side; a verdict takes {MIN_PROCESSES} or more (--replicates)."
        point = f"UNRESOLVED, {number} for want of processes:"
        yield _Candidate(_Rank.TOO_FEW, 0.0, Sentence(point, told))
