"""Which rows are compared with which, within a run and between two: pairs for the verdicts."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gnet_core.config import StepConfig
from gnet_core.machine.setting_effects import SettingEffect
from gnet_core.plan.suites import AGAIN, SOURCE, TOTAL_REPLICAS, SuiteDescription, base_config
from gnet_core.results.records import Row, Run
from gnet_core.stats.losses import judge_trajectories
from gnet_core.stats.verdicts import DEFAULT_MARGIN, MIN_PROCESSES, Comparison, Mode, Pair, judge, judge_repeatedly


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One table of comparisons, judged together."""

    suite: str
    comparisons: dict[str, Comparison]
    """The comparisons by the variant's case."""
    identical_code: bool = False
    """Whether nothing but the process differs between what is compared."""

    def to_dict(self) -> dict[str, Any]:
        return {"suite": self.suite, "comparisons": [comparison.to_dict() for comparison in self.comparisons.values()]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Between:
    """Two runs side by side."""

    family: Family
    only_base: list[str]
    """Cases that the base run has figures for and the new one has not."""
    only_new: list[str]


def within(run: Run, margin: float = DEFAULT_MARGIN) -> list[Family]:
    """The comparisons of a run, a family for each suite that compares; `margin` is a fraction."""
    spread = _spread_in_turns(run)
    families = []
    for suite in run.document.suites:
        if pairs := _pairs(run, suite):
            judged, identical = _by_variant(_judge(run, pairs, margin, spread)), suite.compares_identical_code
            families.append(Family(suite=suite.name, comparisons=judged, identical_code=identical))
    return families


def _judge(run: Run, pairs: list[Pair], margin: float, spread: Mapping[Mode, float]) -> list[Comparison]:
    """By the procedure of the run: repeated confidence intervals where it was looked at while it was measured."""
    document = run.document
    if document.until == "fixed" or document.max_looks is None:
        return judge(pairs, margin, spread)
    # Before the first look the processes that there are give ratios, and neither intervals nor verdicts.
    cohorts = [look.cohorts for look in document.looks] or [len(document.cohorts)]
    looks = [{run.cohort_name(number) for number in range(1, last + 1)} for last in cohorts]
    return judge_repeatedly(pairs, looks, document.max_looks, margin, spread)


def between(base: Run, new: Run, margin: float = DEFAULT_MARGIN, like_base: Sequence[Run] = ()) -> Between:
    """Each case of `new` with the same case of `base`, timed one after the other; `margin` is a fraction. With further
    runs of what `base` ran each run counts once: how far they are apart is how far runs may be for no reason at all.
    """
    base_rows, new_rows = ({row.case: row for row in run.rows if row.status == "ok"} for run in (base, new))
    pairs = [_pair(base, row, new, new_rows[case]) for case, row in base_rows.items() if case in new_rows]
    if like_base:
        pairs = [_pair_by_run(pair, (base, *like_base)) for pair in pairs]
    return Between(
        family=Family(suite="compare", comparisons=_by_variant(judge(pairs, margin))),
        only_base=[case for case in base_rows if case not in new_rows],
        only_new=[case for case in new_rows if case not in base_rows],
    )


def base_row(run: Run, suite: SuiteDescription, row: Row) -> Row | None:
    """The row that a suite of run.json compares this one with, which may be itself; None where there is none."""
    wanted = wanted_base(run, suite, row)
    return run.row_of_config.get(wanted) if wanted else None


def wanted_base(run: Run, suite: SuiteDescription, row: Row) -> tuple[StepConfig, str] | None:
    """Configuration and source of the row that a suite of run.json would compare this one with, if it were there."""
    config = run.configs[row.case]
    if suite.varies == SOURCE:
        return (config, suite.base) if row.source != AGAIN else None
    if suite.name not in row.suite.split("+"):
        return None
    if suite.compares_identical_code:
        return config, suite.base
    wanted = base_config(suite, config)
    return (wanted, row.source) if wanted else None


def machine_spread(run: Run) -> dict[Mode, float]:
    """The standard deviation, in logarithms, between processes of identical code in this run, by how they were timed.

    In turns it is that of the run's A/A comparison. In sequence it is that of a case's processes in one cohort after
    another: what a comparison of separate runs is up against at the least.
    """
    variances = []
    for processes in run.processes.values():
        by_cohort: dict[str, list[float]] = defaultdict(list)
        for process in processes:
            timed = (seconds for seconds in process.log_seconds if not math.isnan(seconds))
            by_cohort[process.cohort].append(statistics.fmean(timed))
        if len(by_cohort) >= MIN_PROCESSES:
            variances.append(statistics.variance(map(statistics.fmean, by_cohort.values())))
    in_sequence: dict[Mode, float] = {"sequential": math.sqrt(statistics.fmean(variances))} if variances else {}
    return _spread_in_turns(run) | in_sequence


def _spread_in_turns(run: Run) -> dict[Mode, float]:
    for suite in run.document.suites:
        for pair in _pairs(run, suite) if suite.compares_identical_code else ():
            (comparison,) = judge([pair])
            if comparison.mode == "turns" and comparison.spread is not None:
                return {comparison.mode: comparison.spread}
    return {}


def break_even_steps(graph: Row, xla: Row) -> float | None:
    """Steps after which a compiler's longer start is paid for by its shorter steps; inf: never; None: not measured."""
    if graph.first_step_seconds is None or xla.first_step_seconds is None:
        return None
    if graph.step_seconds is None or xla.step_seconds is None:
        return None
    gained, paid = graph.step_seconds - xla.step_seconds, xla.first_step_seconds - graph.first_step_seconds
    if paid <= 0:
        return 0.0
    return paid / gained if gained > 0 else math.inf


def _by_variant(comparisons: list[Comparison]) -> dict[str, Comparison]:
    return {comparison.variant: comparison for comparison in comparisons}


def _pairs(run: Run, suite: SuiteDescription) -> list[Pair]:
    """Each row that a suite of the run compares, beside its base."""
    bases = [(row, base_row(run, suite, row)) for row in run.rows]
    pairs = [_pair(run, base, run, row) for row, base in bases if base is not None and base is not row]
    return [_of_a_replica(run, pair) for pair in pairs] if suite.varies == TOTAL_REPLICAS else pairs


def _of_a_replica(run: Run, pair: Pair) -> Pair:
    """The pair compared by images/s a replica, which makes its ratio the efficiency of the many."""
    base, variant = (run.configs[case].replica_batch_size for case in (pair.base, pair.variant))
    return dataclasses.replace(pair, scale=variant / base)


def _pair(base_run: Run, base: Row, variant_run: Run, variant: Row) -> Pair:
    return Pair(
        base=base.case,
        variant=variant.case,
        base_processes=base_run.processes.get(base.case, ()),
        variant_processes=variant_run.processes.get(variant.case, ()),
        scale=variant.batch_size / base.batch_size,
        invalid=_why_not(base) or _why_not(variant) or other_work(base_run, base, variant_run, variant),
    )


def _pair_by_run(pair: Pair, bases: Sequence[Run]) -> Pair:
    """The pair with the processes of all runs of the base in which the case was configured alike."""
    config = bases[0].configs[pair.base]
    alike = [run for run in bases if run.configs.get(pair.base) == config]
    of_base = tuple(
        dataclasses.replace(process, cohort=f"base {number}")
        for number, run in enumerate(alike)
        for process in run.processes.get(pair.base, ())
    )
    of_new = tuple(dataclasses.replace(process, cohort="new") for process in pair.variant_processes)
    return dataclasses.replace(pair, base_processes=of_base, variant_processes=of_new, by_run=True)


def other_work(base_run: Run, base: Row, variant_run: Run, variant: Row) -> str:
    """Whether one configuration from two sources or runs led to other losses, as a sentence; empty where it did not."""
    config = variant_run.configs[variant.case]
    if base is variant or base_run.configs[base.case] != config or config.part != "train":
        return ""
    own, bases = variant_run.trajectories.get(variant.case), base_run.trajectories.get(base.case)
    if own is None or bases is None:
        return ""
    settings = [*_settings_on_precision(base_run, base.source), *_settings_on_precision(variant_run, variant.source)]
    # oneDNN's, say, multiply float32 in bfloat16: what is so far off is the setting's and no other work.
    precision = "mixed_bfloat16" if settings and config.precision == "float32" else config.precision
    judged = judge_trajectories(own, bases[0], precision, config.device)
    return judged.reason.replace("float32", base.source or "the base", 1) if not judged.within else ""


def _settings_on_precision(run: Run, source: str) -> list[SettingEffect]:
    """The settings of a source of the run that were seen to decide in what precision float32 is multiplied."""
    effects = (effect for one in run.document.sources if one.name == source for effect in one.effects)
    return [effect for effect in effects if effect.decides == "precision" and effect.effect == "acts"]


def _why_not(row: Row) -> str:
    """Why a row may not stand in a comparison of speeds, as a sentence; empty where it may."""
    if row.status != "ok":
        return f"{row.case} has no figures: {row.status}."
    if not row.finite:
        return f"The loss of {row.case} was not finite."
    if row.equal_work is False:
        tolerance = "" if row.device == "cpu" else " by a tolerance measured on a CPU"
        return f"The losses of {row.case} are not those of float32{tolerance}, so it did other work."
    return ""
