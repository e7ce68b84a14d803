"""Measures again, in fresh processes, what looked slower between two runs, before a gate fails on it."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnet_core.cli import options
from gnet_core.cli.bench import Ended, measure
from gnet_core.cli.bench_plan import BenchPlan
from gnet_core.cli.output import complain
from gnet_core.config import GnetError
from gnet_core.plan.request import BenchRequest
from gnet_core.results import comparisons, confirmation
from gnet_core.results.confirmation import Confirmation
from gnet_core.run import at_hand, discovery, resuming, sources
from gnet_core.stats.verdicts import MIN_PROCESSES
from gnet_core.system.claims import claimed_empty

if TYPE_CHECKING:
    from gnet_core.report.comparison import Compared
    from gnet_core.results.records import Run

BASE, NEW = "base", "new"
"""Sources of one code that two interpreters run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HowToConfirm:
    """What was asked of a second measurement."""

    out: Path | None
    """The comparison's own directory, in which the run gets one; None: reports/ of the checkout."""
    budget: int | None
    """Seconds."""
    base_python: str | None
    """The interpreter that BASE was measured with; None: the one that runs this."""
    rules: Path | None
    """The absolute path of the file whose rules the gate has when the run is gone on with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A second measurement that has ended, as it should or not."""

    confirmation: Confirmation
    ended: Ended
    to_resume: BenchRequest


def confirm(compared: Compared, cases: list[str], how: HowToConfirm) -> Confirmed:
    """Measure these cases, which looked slower, again. Raises GnetError where NEW's code, environment or data are not
    at hand, so that nothing can be measured.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        request, plan, why_sequential = _plan(compared, cases, how, stack)
        directory = how.out / "confirm" if how.out is not None else options.default_directory("confirm", "")
        options.require_utf8("out", str(directory.resolve()))
        stack.enter_context(claimed_empty(directory))
        running, settings = plan.make_runner(directory, None, None, began)
        how_timed = f"one after the other, since {why_sequential}" if why_sequential else "in turns with BASE's code"
        complain(f"measuring again in fresh processes what looked slower, {how_timed}; into {directory}")
        ended = measure(running, settings, None)
    again, new = ended.summary.run, compared.new
    if why_sequential:
        between = comparisons.between(compared.base, again, compared.margin, compared.like_base)
        found = between.family.comparisons
    else:
        found = confirmation.in_turns(cases, new, again, compared.margin)
    return Confirmed(
        confirmation=Confirmation(run=again, cases=cases, comparisons=found, why_sequential=why_sequential),
        ended=ended,
        to_resume=request.to_resume(
            directory.resolve(),
            fail_on=() if why_sequential else ("slower",),
            rules=None if why_sequential else how.rules,
        ),
    )


def _plan(
    compared: Compared, cases: list[str], how: HowToConfirm, stack: contextlib.ExitStack
) -> tuple[BenchRequest, BenchPlan, str]:
    """What to run, and why it measures NEW alone if it does. Raises GnetError where not even that can be done."""
    new, source = compared.new, at_hand.source_of(compared.new, cases)
    recorded = resuming.require_options(new.directory / "run.json", new.document.options, new.document.memory_bytes)
    once_more = dataclasses.replace(
        recorded,
        case=tuple(new.configs[case].name for case in cases),
        device=new.document.device,
        profile=False,
        aa=False,
        # Interpreters and a revision that its run.json names are never started.
        python=(),
        against=None,
        settings=(),
        sources=None,
        base=None,
    )

    def plan(request: BenchRequest) -> BenchPlan:
        made = BenchPlan(request, stack)
        *_, environment = made.environments.values()  # NEW's comes last
        at_hand.require_environment(new, source, environment)
        at_hand.require_data(new, made.data_fingerprint)
        return made

    checkout = discovery.find_checkout(Path.cwd())
    with sources.code_folder() as folder:
        code = sources.digests(sources.working_tree(checkout, folder / "here"))
        if names := at_hand.differing_code(new, source, code):
            raise GnetError(f"{new.directory} was measured with other code than this checkout has: {names}")
        try:
            both = _both_sources(compared.base, cases, how, code, checkout, folder / "base")
            in_turns = dataclasses.replace(once_more, replicates=None, until="resolved", budget=how.budget, **both)
            made = plan(in_turns)
            environment, *_ = made.environments.values()
            at_hand.require_environment(compared.base, at_hand.source_of(compared.base, cases), environment)
            at_hand.require_data(compared.base, made.data_fingerprint)
            return in_turns, made, ""
        except GnetError as error:
            why = str(error)
    processes = max(MIN_PROCESSES, *(new.row_of[case].replicates for case in cases))
    python = (f"{source}={sys.executable}",) if source else ()
    alone = dataclasses.replace(once_more, until="fixed", replicates=processes, budget=None, python=python)
    made = plan(alone)
    if how.budget:
        raise GnetError(
            f"budget: {how.budget} s cannot be kept, as only NEW could be measured again, {processes} times a case; "
            f"leave it out, or bring BASE's code back: {why}"
        )
    return alone, made, why


def _both_sources(
    base: Run, cases: list[str], how: HowToConfirm, code: Mapping[str, str], checkout: Path, folder: Path
) -> dict[str, Any]:
    """The options that measure BASE's code beside this checkout's, whose digests are `code`. Raises GnetError where it
    is not at hand.
    """
    source = at_hand.source_of(base, cases)
    if names := at_hand.differing_code(base, source, code):
        if how.base_python is not None:
            raise GnetError(f"{base.directory} has another interpreter and other code as well: {names}")
        return {"against": at_hand.revision_of(base, source, checkout, folder)}
    return {"python": (f"{BASE}={how.base_python or sys.executable}", f"{NEW}={sys.executable}")}
