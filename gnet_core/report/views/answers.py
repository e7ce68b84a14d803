"""What a report answers: sentences made from rows and verdicts, and what could be resolved."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gnet_core.report.document import NoAnswer, Sentence
from gnet_core.report.grid import ratio, ratio_interval, speed_interval
from gnet_core.report.views.section import Section
from gnet_core.results.comparisons import break_even_steps, machine_spread
from gnet_core.results.records import AA_SUITE, Row, Run
from gnet_core.stats.verdicts import POWER, Comparison
from gnet_core.text import milliseconds, percent

GOOD_ENOUGH = 0.95
"""Share of the best throughput at which a smaller batch will do."""

WORTH_SAVING = 0.95
"""Share of the memory beyond which a smaller batch saves none worth telling."""

DIFFERENT = ("FASTER", "SLOWER")


def answers(section: Section) -> list[Sentence]:
    """The answers to the suite's question."""
    if not any(row.images_per_second for row in section.rows):
        return [NoAnswer("No answer:", "none of its cases could be measured.")]
    if section.comparisons:
        if section.varies == "part":
            return parts_of_a_step(section)
        return [comparison(section, found) for found in worth_telling(section)]
    if section.suite["base"] is not None and section.varies != "batch_size":
        return [NoAnswer("No answer:", f"{section.base} and what it is compared with were not both run.")]
    counting = [row for row in section.rows if counts(row)]
    if not counting:
        return [NoAnswer("No answer:", "the losses of its cases are not those of the work that was asked for.")]
    best = max(counting, key=_speed)
    return [scaling(section, counting, best) if section.varies == "batch_size" else throughput(section, best)]


def worth_telling(section: Section) -> list[Comparison]:
    """What could not be measured stands elsewhere with its reason; here only if there is nothing else to tell."""
    found = list(section.comparisons.values())
    return [each for each in found if section.row(each.variant).status == "ok"] or found


def comparison(section: Section, found: Comparison) -> Sentence:
    """What one comparison of a suite comes to."""
    if section.name == AA_SUITE:
        return _same_code(section, found)
    return _auxiliary(section, found) if section.name == "auxiliary" else _comparison(section, found)


def counts(row: Row) -> bool:
    """Whether its figure may stand for the speed of the work that was asked for."""
    return row.images_per_second is not None and row.finite and row.equal_work is not False


def throughput(section: Section, row: Row) -> Sentence:
    """What a row reached: images/s with their spread, its configuration, and how much of the device that is."""
    told = f"with {section.named(row, whole=True)}: {milliseconds(row.step_seconds)} ms a step"
    if row.mfu is not None:
        told += f", {percent(row.mfu)} of the device's measured peak"
    return Sentence(_speed_in_words(row), f"{told}.")


def smallest_effects(sections: Sequence[Section]) -> Sentence | None:
    """What the comparisons could have found, and the machine's own noise; None where nothing is compared."""
    compared = [each for section in sections if section.name != AA_SUITE for each in section.comparisons.values()]
    if not compared:
        return None
    ranges = []
    for mode, told in (("turns", "in turns"), ("sequential", "one after the other")):
        known = [each.smallest_effect for each in compared if each.mode == mode and each.smallest_effect is not None]
        if known:
            ranges.append(f"{_range(min(known), max(known))} {told}")
    if not ranges:
        return Sentence(
            "Smallest effect:", "none can be told, since no comparison has processes enough for an interval."
        )
    told = f"that these comparisons would have found, {POWER:.0%} of the time: {', '.join(ranges)}."
    return Sentence("Smallest effect", f"{told} {spread_of_identical_code(sections[0].run)}".rstrip())


def spread_of_identical_code(run: Run, what: str = "here") -> str:
    """The machine's own spread in a sentence; empty where the run did not measure it."""
    told = {"turns": "in turns", "sequential": "one after the other"}
    spreads = [f"{percent(spread)} {told[mode]}" for mode, spread in machine_spread(run).items()]
    differed = " and ".join(spreads)
    return f"Processes of identical code {what} differed by {differed} (standard deviation)." if spreads else ""


def ratio_in_words(found: Comparison) -> str:
    """0.67× (0.64–0.70), and whether it is sequential."""
    interval = ratio_interval(found)
    sequential = ", timed one after the other" if found.mode == "sequential" else ""
    return f"{ratio(found)}×{f' ({interval})' if interval else ''}{sequential}"


def _comparison(section: Section, found: Comparison) -> Sentence:
    row, base = section.row(found.variant), section.row(found.base)
    variant, where = section.value(row), section.named(row)
    if found.ratio is None:
        return _no_ratio(section, found)
    if found.verdict == "UNRESOLVED":
        point = f"UNRESOLVED whether {variant} is faster than {section.base}:"
        return Sentence(point, f"{ratio_in_words(found)}, {where}. {found.reason}")
    if found.verdict == "SAME":
        return Sentence(
            f"{variant} is the SAME as {section.base}",
            f"within {100 * found.margin:.3g}%: {ratio_in_words(found)}, {where}{_equal_work(section, row)}.",
        )
    return Sentence(
        f"{variant} is {found.verdict} than {section.base}:",
        f"{ratio_in_words(found)}, {where}{_break_even(section, base, row, found)}{_equal_work(section, row)}.",
    )


def _no_ratio(section: Section, found: Comparison) -> Sentence:
    row = section.row(found.variant)
    return NoAnswer("No answer:", f"{section.value(row)} against {section.base}, {section.named(row)}. {found.reason}")


def _break_even(section: Section, base: Row, row: Row, found: Comparison) -> str:
    """Only where the verdict says that the speeds differ: else the quotient is one of two noises."""
    compiled = row.execution == "xla" or (section.varies == "framework" and row.execution != "eager")
    if base.execution != "graph" or not compiled:
        return ""
    steps = break_even_steps(base, row)
    took = "" if row.compile_seconds is None else f"{row.compile_seconds:.0f} s "
    if found.verdict == "SLOWER" and steps == math.inf:
        return f"; it never pays back its {took}compile"
    if found.verdict == "FASTER" and steps is not None and steps != math.inf:
        return f"; it has paid back its {took}compile after {math.ceil(steps):,} steps"
    return ""


def _equal_work(section: Section, row: Row) -> str:
    """Beside another precision a speed is worth what its losses are."""
    if section.varies != "precision" or not row.equal_work:
        return ""
    return (
        f"; its losses are float32's within {'tolerance' if row.device == 'cpu' else 'a tolerance measured on a CPU'}"
    )


def _same_code(section: Section, found: Comparison) -> Sentence:
    where = section.named(section.row(found.base))
    if found.ratio is None:
        return _no_ratio(section, found)
    told = f"{ratio_in_words(found)}, {where}."
    if found.spread is not None:
        told += f" {spread_of_identical_code(section.run)} Between such, {percent(found.smallest_effect)} can be seen."
    if found.verdict in DIFFERENT:
        told += " Something besides the code differs, so doubt every verdict here."
    elif found.verdict == "UNRESOLVED":
        told += f" {found.reason}"
    return Sentence(f"Identical code against itself is {found.verdict}:", told)


def _auxiliary(section: Section, found: Comparison) -> Sentence:
    row = section.row(found.variant)
    if found.ratio is None or section.run.configs[row.case].aux_weight != 0:
        return _comparison(section, found)
    cost = f"{_share(1 - 1 / found.ratio, _saved(found.low), _saved(found.high))} of a step"
    told = f"without them it is {ratio_in_words(found)} as fast, {section.named(row).replace(', aux_weight 0.0', '')}."
    if found.verdict == "UNRESOLVED":
        return Sentence("UNRESOLVED what the auxiliary losses cost:", f"{cost}; {told} {found.reason}")
    if found.verdict == "SAME":
        return Sentence("The auxiliary losses cost nothing that matters:", f"{cost}; {told}")
    return Sentence(f"The auxiliary losses cost {cost}:", told)


def parts_of_a_step(section: Section) -> list[Sentence]:
    """What forward, backward and optimizer take, for each whole step that was taken apart."""
    by_base: dict[str, dict[str, Comparison]] = {}
    for found in section.comparisons.values():
        by_base.setdefault(found.base, {})[section.value(section.row(found.variant))] = found
    return [_shares(section, base, parts) for base, parts in by_base.items()]


def _shares(section: Section, base: str, parts: dict[str, Comparison]) -> Sentence:
    """Of the whole step. The ratios are of speeds, so their inverses are shares of its time."""
    forward, gradients = parts.get("forward"), parts.get("gradients")
    where = section.named(section.row(base))
    if forward is None or gradients is None or forward.ratio is None or gradients.ratio is None:
        reasons = " ".join(found.reason for found in parts.values() if found.ratio is None)
        return NoAnswer("No answer:", f"not all parts of {where} could be measured. {reasons}".rstrip())
    backward = 1 / gradients.ratio - 1 / forward.ratio
    told = [
        f"forward {_share(1 / forward.ratio, _time(forward.high), _time(forward.low))}",
        f"backward {backward:.0%}",
        f"optimizer {_share(1 - 1 / gradients.ratio, _saved(gradients.low), _saved(gradients.high))}",
    ]
    return Sentence(f"{', '.join(told)}", f"of a step: {where}. Each part was timed as a step of its own.")


def _time(ratio: float | None) -> float | None:
    """The share of the base's time that a variant of that ratio of speeds takes."""
    return None if ratio is None else 1 / ratio


def _saved(ratio: float | None) -> float | None:
    return None if ratio is None else 1 - 1 / ratio


def _share(share: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{share:.0%}"
    least, most = round(100 * low), round(100 * high)
    return f"{share:.0%} ({least}{'–' if least >= 0 else ' to '}{most}%)"


def scaling(section: Section, measured: list[Row], best: Row) -> Sentence:
    """How far a larger batch helps, and the smallest that is nearly as good as the best."""
    alike = [row for row in measured if section.named(row) == section.named(best)]
    smallest = min(alike, key=lambda row: row.batch_size)
    named = section.named(best)
    if smallest is best:
        return Sentence(_speed_in_words(best), f"with {named}, batch {best.batch_size}, the smallest, is the most.")
    enough = min((row for row in alike if _speed(row) >= GOOD_ENOUGH * _speed(best)), key=lambda row: row.batch_size)
    at_smallest = f"{_with_interval(smallest)} at batch {smallest.batch_size}"
    if enough is best:
        told = f"with {named}, batch {best.batch_size}, against {at_smallest}."
        return Sentence(_speed_in_words(best), told)
    told = f"{_speed_in_words(enough)} against {_with_interval(best)} at batch {best.batch_size}"
    if enough is not smallest:
        told += f" and {at_smallest}"
    point = f"Batch {enough.batch_size} gives {_speed(enough) / _speed(best):.0%} of the best throughput"
    return Sentence(f"{point}{_with_less_memory(enough, best)}:", f"{told}, {named}.")


def _with_less_memory(row: Row, best: Row) -> str:
    """Only where it is less by more than a rounding."""
    if not row.peak_memory_bytes or not best.peak_memory_bytes:
        return ""
    share = row.peak_memory_bytes / best.peak_memory_bytes
    return f" with {share:.0%} of the memory" if share <= WORTH_SAVING else ""


def _speed_in_words(row: Row) -> str:
    """13.4 images/s (12.1–14.7), or that it is of one process."""
    spread = speed_interval(row) or ("one process" if row.replicates == 1 else f"{row.replicates} processes")
    return f"{_speed(row):.1f} images/s ({spread})"


def _with_interval(row: Row) -> str:
    interval = speed_interval(row)
    return f"{_speed(row):.1f} ({interval})" if interval else f"{_speed(row):.1f}"


def _range(low: float, high: float) -> str:
    return percent(low) if percent(low) == percent(high) else f"{percent(low)}–{percent(high)}"


def _speed(row: Row) -> float:
    assert row.images_per_second is not None
    return row.images_per_second
