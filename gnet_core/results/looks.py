"""Looks at a run that goes on until its questions are settled: how the comparisons stand, and which cases are open."""

from __future__ import annotations

import dataclasses
import math

import msgspec

from gnet_core.config import GnetError
from gnet_core.results import comparisons
from gnet_core.results.comparisons import Family
from gnet_core.results.records import Run
from gnet_core.results.run_document import Look, LookAtComparison
from gnet_core.stats.sequential import spent_share
from gnet_core.stats.verdicts import MIN_PROCESSES


def look_at(run: Run, max_looks: int) -> Look:
    """How the comparisons stand with the cohorts that are finished, after the looks that the run has had already."""
    finished = sum(cohort.complete for cohort in run.document.cohorts)
    empty = Look(cohorts=finished, spent_error=0.0, comparisons=())
    looks = (*run.document.looks, empty)
    seen = dataclasses.replace(run, document=msgspec.structs.replace(run.document, looks=looks, max_looks=max_looks))
    return _filled(empty, comparisons.within(seen), max_looks)


def open_cases(run: Run) -> set[str]:
    """The cases that are still to be measured: both sides of each comparison that the last look left unresolved, and
    those that are compared with none and have fewer processes than an interval takes.
    """
    cells = [cell for family in comparisons.within(run) for cell in family.comparisons.values()]
    compared = {name for cell in cells for name in (cell.base, cell.variant)}
    unresolved = {name for cell in cells if cell.verdict == "UNRESOLVED" for name in (cell.base, cell.variant)}
    alone = {row.case for row in run.rows if row.case not in compared and row.replicates < MIN_PROCESSES}
    return unresolved | alone


def require_consistent(run: Run) -> None:
    """Raise GnetError, naming run.json, where its looks are out of order or are not what the raw files give."""
    document, path = run.document, run.directory / "run.json"
    if document.until != "resolved" or not document.looks:
        return
    if document.max_looks is None:
        raise GnetError(f"{path}: field 'max_looks' is missing beside 'looks'; the run cannot be gone on with")
    numbers = [look.cohorts for look in document.looks]
    if numbers != sorted(set(numbers)) or numbers[-1] > len(document.cohorts):
        raise GnetError(
            f"{path}: field 'looks' has the cohorts {numbers!r:.200}; they have to rise, to those there are"
        )
    for number, recorded in enumerate(document.looks):
        looks = document.looks[: number + 1]
        then = dataclasses.replace(run, document=msgspec.structs.replace(document, looks=looks))
        again = _filled(recorded, comparisons.within(then), document.max_looks)
        if not _alike(recorded, again):
            raise GnetError(
                f"{path}: field 'looks[{number}]' is not what the raw files give; put them back as they were"
            )


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
    if len(one.comparisons) != len(other.comparisons):
        return False
    for mine, theirs in zip(
        map(msgspec.structs.astuple, one.comparisons), map(msgspec.structs.astuple, other.comparisons), strict=True
    ):
        for left, right in zip(mine, theirs, strict=True):
            close = isinstance(left, float) and isinstance(right, float) and math.isclose(left, right, rel_tol=1e-6)
            if left != right and not close:
                return False
    return True
