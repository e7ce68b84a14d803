"""Looks at a run that goes on until its questions are settled: how the comparisons stand, and which cases are open."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics

import msgspec

from gnet_core.config import GnetError
from gnet_core.results import comparisons
from gnet_core.results.comparisons import Family
from gnet_core.results.records import Run
from gnet_core.results.run_document import Look, LookAtComparison
from gnet_core.stats import ratio
from gnet_core.stats.sequential import FIRST_LOOK, spent_share
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison

STILL = 1.05
"""A machine that has become faster by more since the run began did not hold still, so its peaks are measured again."""


def look_at(run: Run, max_looks: int) -> Look:
    """How the comparisons stand with the cohorts that are finished, after the looks that the run has had already."""
    finished = sum(cohort.complete for cohort in run.document.cohorts)
    empty = Look(cohorts=finished, spent_error=0.0, comparisons=())
    looks = (*run.document.looks, empty)
    seen = dataclasses.replace(run, document=msgspec.structs.replace(run.document, looks=looks, max_looks=max_looks))
    return _filled(empty, comparisons.within(seen), max_looks)


def compared_cases(run: Run) -> set[str]:
    """The cases that stand in any comparison."""
    return {name for cell in _cells(run) for name in (cell.base, cell.variant)}


def open_pairs(run: Run) -> list[tuple[str, str]]:
    """Base and variant of each comparison that another pair of processes might settle."""
    return [(cell.base, cell.variant) for cell in _open_cells(run)]


def lone_cases(run: Run) -> set[str]:
    """The cases that stand in no comparison and have fewer processes than an interval takes."""
    few = {row.case for row in run.rows if row.status == "ok" and row.replicates < MIN_PROCESSES}
    return few - compared_cases(run)


def optimal_turns(run: Run, start_cost: float) -> float | None:
    """The turns a process that suit the open comparisons best, their median (see ratio.optimal_turns); None where no
    comparison tells.
    """
    optima = []
    for cell in _open_cells(run):
        bases, variants = (ratio.by_cohort(run.processes[name]) for name in (cell.base, cell.variant))
        pairs = [(bases[cohort][0], variants[cohort][0]) for cohort in bases if cohort in variants]
        optima.append(ratio.optimal_turns(pairs, start_cost))
    known = [optimum for optimum in optima if optimum is not None]
    return statistics.median_low(known) if known else None


def has_become_faster(run: Run) -> bool:
    """Whether the last process of the cases was faster than the first by more than STILL, in the geometric mean."""
    gains = []
    for processes in run.processes.values():
        first, *others = [
            statistics.fmean(seconds for seconds in process.log_seconds if not math.isnan(seconds))
            for process in processes
        ]
        gains += [first - others[-1]] if others else []
    return bool(gains) and math.exp(statistics.fmean(gains)) > STILL


def require_consistent(run: Run) -> None:
    """Raise GnetError, naming run.json, where its looks are missing, out of order or not what the raw files give."""
    document, path = run.document, run.directory / "run.json"
    if document.until != "resolved":
        return
    if document.max_looks is None and document.looks:
        raise GnetError(f"{path}: field 'max_looks' is missing beside 'looks'; put it back as it was")
    numbers = [look.cohorts for look in document.looks]
    if numbers != sorted(set(numbers)) or max(numbers, default=0) > len(document.cohorts):
        raise GnetError(
            f"{path}: field 'looks' has the cohorts {numbers!r:.200}; they have to rise, and no further than to the "
            f"{len(document.cohorts)} there are"
        )
    if run.unread:  # which the report says, and of which no look can be taken again
        return
    for number, recorded in enumerate(document.looks):
        looks = document.looks[: number + 1]
        then = dataclasses.replace(run, document=msgspec.structs.replace(document, looks=looks))
        again = _filled(recorded, comparisons.within(then), document.max_looks or 0)
        if not _alike(recorded, again):
            raise GnetError(
                f"{path}: field 'looks[{number}]' is not what the raw files give; put both back as they were"
            )
    _require_no_gap(run)


def _require_no_gap(run: Run) -> None:
    """Raise GnetError where a comparison has more than one pair of processes more than at the look before, or a
    finished run has any that it did not look at.
    """
    document = run.document
    pairs = [{(cell.suite, cell.variant): cell.pairs for cell in look.comparisons} for look in document.looks]
    missing = []
    for number, (earlier, later) in enumerate(itertools.pairwise([{}, *pairs])):
        if any(later[cell] > earlier.get(cell, FIRST_LOOK - 1) + 1 for cell in later):
            missing.append(number)
    if document.complete and document.max_looks is not None:
        last = look_at(run, document.max_looks).comparisons
        seen = pairs[-1] if pairs else {}
        if any(cell.pairs > seen.get((cell.suite, cell.variant), FIRST_LOOK - 1) for cell in last):
            missing.append(len(pairs))
    if missing:
        raise GnetError(
            f"{run.directory / 'run.json'}: field 'looks' lacks one at {missing[0]}; a look follows each process, so "
            "put it back as it was"
        )


def _cells(run: Run) -> list[Comparison]:
    return [cell for family in comparisons.within(run) for cell in family.comparisons.values()]


def _open_cells(run: Run) -> list[Comparison]:
    """The comparisons without a verdict that have a ratio; others may not be judged, whatever is measured."""
    most = run.document.max_looks or math.inf
    return [
        cell for cell in _cells(run) if cell.verdict == "UNRESOLVED" and cell.mode != "" and cell.base_processes < most
    ]


def _filled(look: Look, families: list[Family], max_looks: int) -> Look:
    cells = [
        LookAtComparison(
            suite=family.suite,
            base=cell.base,
            variant=cell.variant,
            pairs=cell.pairs,
            ratio=cell.ratio,
            low=cell.low,
            high=cell.high,
            p_value=cell.p_value,
            verdict=cell.verdict,
        )
        for family in families
        for cell in family.comparisons.values()
    ]
    pairs = max((cell.pairs for cell in cells), default=0)
    return msgspec.structs.replace(look, spent_error=spent_share(pairs, max_looks), comparisons=tuple(cells))


def _alike(one: Look, other: Look) -> bool:
    """Whether two looks are the same but for the last digits of their figures."""
    if len(one.comparisons) != len(other.comparisons) or not math.isclose(one.spent_error, other.spent_error):
        return False
    for mine, theirs in zip(one.comparisons, other.comparisons, strict=True):
        if theirs.pairs == 0:  # a later process has done other work, so that the two may not be compared any more
            continue
        for left, right in zip(msgspec.structs.astuple(mine), msgspec.structs.astuple(theirs), strict=True):
            close = isinstance(left, float) and isinstance(right, float) and math.isclose(left, right, rel_tol=1e-6)
            if left != right and not close:
                return False
    return True
