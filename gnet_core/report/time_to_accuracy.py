"""The report of time to accuracy, made of its time_to_accuracy.json alone."""

from __future__ import annotations

import dataclasses
import math
import statistics
from pathlib import Path
from typing import Any

from gnet_core.config import slug
from gnet_core.machine import overview
from gnet_core.plan.request import command_line
from gnet_core.report import documents
from gnet_core.report.document import (
    Banner,
    Block,
    Bullets,
    Command,
    Document,
    Files,
    Paragraph,
    Section,
    Sentence,
    section,
)
from gnet_core.report.drawing import COLOURS, LEGEND_INCHES, Picture, described, draw, draw_lines
from gnet_core.report.environment_section import environment_section
from gnet_core.report.grid import Cell, Column, Grid, grid, ratio, ratio_interval
from gnet_core.report.training import ENTRIES, LEDGER_TOLERANCE
from gnet_core.stats.medians import Median
from gnet_core.stats.noninferiority import MIN_PAIRS
from gnet_core.stats.verdicts import MIN_PROCESSES, Comparison
from gnet_core.text import percent, plain
from gnet_core.time_to_accuracy.document import CSV_FILE, DOCUMENT_FILE, OPEN_STATUSES, SessionEntry
from gnet_core.time_to_accuracy.evaluation import CaseResult, Convergence, Evaluation

NO_MLPERF_RESULT = (
    "The log lines have MLPerf's form, and this is no MLPerf result: the network, the data, the target and the rules "
    "are others, and nobody has reviewed it."
)

_MARKS = "os^Dv<>"


def write(directory: Path, evaluation: Evaluation) -> None:
    """Write report.html, report.md and plots/. Raises as documents.write does."""
    documents.write(directory, document(evaluation), {})


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """What was worked out, as plain data; what was not reached is null."""
    return {
        "results": [
            {
                "case": result.case,
                "sessions": len(result.sessions),
                "reached": len(result.reached),
                "seconds": _plain_median(result.seconds),
                "steps": _plain_median(result.steps),
                "seconds_without_setup": _plain_median(result.seconds_without_setup),
            }
            for result in evaluation.cases
        ],
        "comparisons": [comparison.to_dict() for comparison in evaluation.speed],
        "convergence": [
            {"base": one.base.case, "variant": one.variant.case, "doubt": one.doubt}
            | dataclasses.asdict(one.comparison)
            for one in evaluation.convergence
        ],
        "ledger_gap": evaluation.largest_gap,
    }


def _plain_median(median: Median | None) -> dict[str, float | None] | None:
    if median is None:
        return None
    return {name: value if math.isfinite(value) else None for name, value in dataclasses.asdict(median).items()}


def document(evaluation: Evaluation, *, with_pictures: bool = True) -> Document:
    """The whole report."""
    stored = evaluation.document
    request, size = stored.request, stored.data_set
    case, environment = stored.cases[0].step, stored.environment
    times, curves = (_times(evaluation), _curves(evaluation)) if with_pictures else (None, None)
    return Document(
        heading=f"Time to {100 * stored.target:.4g} % test accuracy on {plain(slug(request.data))}",
        banners=_banners(evaluation),
        intro=[
            Paragraph(
                f"{size.train_images} images to train with, {size.test_images} to test with, {size.classes} classes; "
                f"images of {case.image_size} pixels a side, batches of {case.batch_size}. On {case.device}: "
                f"{plain(overview.label(environment, case.device))}, {environment.version('tensorflow')}. "
                f"{_count(len(evaluation.cases), 'configuration')} with {_count(request.seeds, 'seed')} each, "
                f"{_count(request.epochs, 'epoch')} a session, one session after the other, in turns."
            )
        ],
        summary=[Bullets(_answers(evaluation)), *([times] if times else [])],
        sections=[
            section("Time to the target", _medians(evaluation), Paragraph(_how_medians(evaluation), soft=True)),
            section("Speed", *_speed(evaluation)),
            section("Accuracy at the end", _final(evaluation), curves, *_convergence(evaluation)),
            section("Where the time went", _ledger(evaluation), Paragraph(_ledger_sum(evaluation), soft=True)),
            section("Sessions", _sessions(evaluation)),
            _mllog(evaluation),
            section("Files", *_files(evaluation, with_pictures=with_pictures), reference=True),
            environment_section(environment),
        ],
    )


def _banners(evaluation: Evaluation) -> list[Banner]:
    sessions, request = evaluation.document.sessions, evaluation.document.request
    banners = []
    still_open = sum(session.status in OPEN_STATUSES for session in sessions)
    if still_open:
        banners.append(Banner("bad", f"{still_open} of {len(sessions)} sessions are not done; the figures may change."))
    broken = [session for session in sessions if session.status not in (*OPEN_STATUSES, "finished")]
    if broken:
        clauses = [f"{session.name} {_status(session)}" for session in broken]
        banners.append(Banner("bad", f"{len(broken)} of {len(sessions)} sessions broke off.", clauses))
    if request.seeds < MIN_PROCESSES:
        point = f"This is a first look: {_count(request.seeds, 'seed')} a configuration, where a verdict needs at least"
        banners.append(Banner("bad", f"{point} {MIN_PROCESSES}."))
    if (gap := evaluation.largest_gap) is not None and gap > LEDGER_TOLERANCE:
        point = f"A ledger and its session's wall time are {percent(gap)} apart, more than {LEDGER_TOLERANCE:.0%}."
        banners.append(Banner("bad", f"{point} Do not quote its times."))
    return banners


def _answers(evaluation: Evaluation) -> list[Sentence]:
    """What it came to, a sentence each."""
    lines = []
    for result in evaluation.cases:
        if not result.sessions or result.seconds is None:
            lines.append(Sentence(f"{result.label}:", "no session has reached the target or is over yet."))
            continue
        counted = f"reached by {len(result.reached)} of {len(result.sessions)}"
        if math.isinf(result.seconds.value):
            lines.append(Sentence(f"{result.label}:", f"{counted}, so its median time is none."))
            continue
        interval = f" ({between})" if (between := _interval(result.seconds, 1)) else ""
        steps = f", {_value(result.steps, 0)} steps"
        lines.append(Sentence(f"{result.label}:", f"{counted}, median {result.seconds.value:.1f} s{interval}{steps}."))
    for comparison in evaluation.speed:
        if comparison.verdict != "UNRESOLVED" and comparison.ratio is not None:
            variant, base = (evaluation.case(name) for name in (comparison.variant, comparison.base))
            how = f"gets there {ratio(comparison)}× as fast as {base.label} ({ratio_interval(comparison)})"
            lines.append(Sentence(f"{comparison.verdict}:", f"{variant.label} {how}."))
    judged = [
        Sentence(f"{one.comparison.verdict}:", _convergence_words(one, evaluation)) for one in evaluation.convergence
    ]
    return lines + judged


def _convergence_words(one: Convergence, evaluation: Evaluation) -> str:
    margin = f"{evaluation.document.request.margin:g}"
    name = f"whether {one.variant.label} ends as accurate as {one.base.label} is not judged"
    match one.comparison.verdict:
        case "AS GOOD":
            return f"{one.variant.label} ends at most {margin} points below {one.base.label}."
        case "WORSE":
            return f"{one.variant.label} ends more than {margin} points below {one.base.label}."
        case _ if one.doubt:
            return f"{name}. {one.doubt}"
        case _ if one.comparison.pairs < MIN_PAIRS:
            return f"{name}: {_count(one.comparison.pairs, 'pair')} of sessions, where a verdict needs {MIN_PAIRS}."
    return f"whether {one.variant.label} ends {margin} points below {one.base.label} is open; more seeds would tell."


def _medians(evaluation: Evaluation) -> Grid:
    columns = [
        Column[CaseResult]("configuration", lambda result: result.label, text=True),
        Column[CaseResult]("reached", lambda result: f"{len(result.reached)} of {len(result.sessions)}"),
        Column[CaseResult]("median s", lambda result: _value(result.seconds, 1)),
        Column[CaseResult]("interval", lambda result: _interval(result.seconds, 1)),
        Column[CaseResult]("median steps", lambda result: _value(result.steps, 0)),
        Column[CaseResult]("interval", lambda result: _interval(result.steps, 0)),
        Column[CaseResult]("s without set-up", lambda result: _value(result.seconds_without_setup, 1)),
    ]
    return grid(columns, evaluation.cases, "Time to the target, from the start of the process")


def _how_medians(evaluation: Evaluation) -> str:
    counts = sorted({len(result.sessions) for result in evaluation.cases if len(result.sessions) > 1})
    coverages = {
        len(result.sessions): result.seconds.coverage for result in evaluation.cases if result.seconds is not None
    }
    covers = "; ".join(f"of {count} sessions it covers the median with {coverages[count]:.0%}" for count in counts)
    interval = (
        f"The interval lies between two of the sessions{f': {covers}' if covers else ''}; ∞ is a session that did not. "
    )
    return (
        "A session that did not get there counts as endlessly long, in the median as well. "
        f"{interval}Set-up is imports, building, tracing and compiling, all of which the wall time holds."
    )


def _value(median: Median | None, digits: int) -> str:
    if median is None:
        return ""
    return "not reached" if math.isinf(median.value) else f"{median.value:.{digits}f}"


def _interval(median: Median | None, digits: int) -> str:
    if median is None or not median.coverage or math.isinf(median.low):
        return ""
    high = "∞" if math.isinf(median.high) else f"{median.high:.{digits}f}"
    return f"{median.low:.{digits}f}–{high}"


def _speed(evaluation: Evaluation) -> list[Block]:
    if not evaluation.speed:
        return []
    columns = [
        Column[Comparison]("configuration", lambda one: evaluation.case(one.variant).label, text=True),
        Column[Comparison]("against", lambda one: evaluation.case(one.base).label, text=True),
        Column[Comparison]("verdict", lambda one: Cell(one.verdict, one.verdict), text=True),
        Column[Comparison]("speed", lambda one: f"{ratio(one)}×" if one.ratio is not None else ""),
        Column[Comparison]("95 %", ratio_interval),
        Column[Comparison]("pairs", lambda one: str(one.pairs or "")),
        Column[Comparison]("why it is open", _open_words, text=True),
    ]
    table = grid(columns, evaluation.speed, "Speed to the target")
    return [table, Paragraph(_how_speed(evaluation), soft=True)]


def _open_words(comparison: Comparison) -> str:
    if comparison.verdict != "UNRESOLVED":
        return ""
    if comparison.ratio is not None and comparison.pairs < MIN_PROCESSES:
        return f"{_count(comparison.pairs, 'seed')}, where a verdict needs at least {MIN_PROCESSES}"
    if comparison.more_processes:
        return f"{comparison.doubt}; about {comparison.more_processes} more seeds would probably tell"
    return comparison.doubt


def _how_speed(evaluation: Evaluation) -> str:
    margin = evaluation.speed[0].margin
    return (
        "Times of base ÷ times of variant, geometric mean over the seeds that both have trained, with a t interval on "
        f"the logarithms. FASTER and SLOWER are more than {margin:.0%} off and stand at a false discovery rate of 5 % "
        f"over the table; SAME lies within {margin:.0%}. Seeds decide when a target is reached, by whole epochs."
    )


def _final(evaluation: Evaluation) -> Grid:
    def mean(result: CaseResult) -> str:
        values = list(result.final_accuracies.values())
        return _accuracy(statistics.fmean(values)) if values else ""

    def extremes(result: CaseResult) -> str:
        values = result.final_accuracies.values()
        return f"{_accuracy(min(values))}–{_accuracy(max(values))}" if values else ""

    def best(result: CaseResult) -> str:
        return _accuracy(max((one.best_accuracy or 0.0 for one in result.sessions), default=0.0))

    columns = [
        Column[CaseResult]("configuration", lambda result: result.label, text=True),
        Column[CaseResult]("sessions to the end", lambda result: str(len(result.final_accuracies))),
        Column[CaseResult]("mean at the end", mean),
        Column[CaseResult]("lowest to highest", extremes),
        Column[CaseResult]("best of any epoch", best),
    ]
    return grid(columns, evaluation.cases, "Test accuracy")


def _convergence(evaluation: Evaluation) -> list[Block]:
    if not evaluation.convergence:
        return []

    def interval(one: Convergence) -> str:
        comparison = one.comparison
        if comparison.low is None or comparison.high is None:
            return ""
        return f"{comparison.low:+.2f} to {comparison.high:+.2f}"

    def difference(one: Convergence) -> str:
        return "" if one.comparison.difference is None else f"{one.comparison.difference:+.2f}"

    columns = [
        Column[Convergence]("precision", lambda one: one.variant.label, text=True),
        Column[Convergence]("against", lambda one: one.base.label, text=True),
        Column[Convergence]("verdict", lambda one: one.comparison.verdict, text=True),
        Column[Convergence]("difference in points", difference),
        Column[Convergence]("interval", interval),
        Column[Convergence]("pairs", lambda one: str(one.comparison.pairs or "")),
        Column[Convergence]("why it is open", lambda one: one.doubt, text=True),
    ]
    levels = [one.comparison.confidence for one in evaluation.convergence if one.comparison.confidence]
    how = (
        f"AS GOOD is an interval above −{evaluation.document.request.margin:g} points, WORSE one below it, OPEN any "
        "other: of a precision that is truly worse by that margin, each of the two is said with at most 2.5 % in the "
        "whole table. Differences are of the test accuracy at the end, paired by seed, never of the best epoch; "
        f"t intervals{f' of {100 * levels[0]:.4g} %' if levels else ''} (Bonferroni over the table). "
        "A precision of which sessions broke off is not judged by those that did not."
    )
    return [grid(columns, evaluation.convergence, "Accuracy by precision"), Paragraph(how, soft=True)]


def _ledger(evaluation: Evaluation) -> Grid:
    ledgers = {result.label: wall_time for result in evaluation.cases if (wall_time := result.mean_wall_time())}

    def seconds_of(label: str) -> Column[str]:
        ledger = ledgers[label]

        def cell(entry: str) -> str:
            seconds = getattr(ledger, entry)
            return f"{seconds:.2f} ({seconds / (ledger.total or 1.0):.1%})"

        return Column(f"{label}, s", cell)

    spent = Column[str]("spent on", lambda entry: ENTRIES[entry], text=True)
    columns = [spent, *map(seconds_of, ledgers)]
    return grid(columns, list(ENTRIES) if ledgers else [], "Mean wall time of a session")


def _ledger_sum(evaluation: Evaluation) -> str:
    if (gap := evaluation.largest_gap) is None:
        return ""
    resumed = sum(session.was_resumed for session in evaluation.document.sessions)
    parts = f" {_count(resumed, 'session')} went on in another process; their parts are summed." if resumed else ""
    return (
        "In every session the entries sum to the wall time by a clock of its own: "
        f"the largest gap is {gap:.2%} of it.{parts}"
    )


def _sessions(evaluation: Evaluation) -> Grid:
    numbered = list(enumerate(evaluation.document.sessions, start=1))
    labels = {result.case: result.label for result in evaluation.cases}

    def reached(session: SessionEntry) -> str:
        there = session.reached
        return f"epoch {there.epoch}, step {there.step}, {there.seconds:.1f} s" if there else "not reached"

    columns = [
        Column[tuple[int, SessionEntry]]("order", lambda row: str(row[0])),
        Column[tuple[int, SessionEntry]]("configuration", lambda row: labels[row[1].case], text=True),
        Column[tuple[int, SessionEntry]]("seed", lambda row: str(row[1].seed)),
        Column[tuple[int, SessionEntry]]("what became of it", lambda row: _status(row[1]), text=True),
        Column[tuple[int, SessionEntry]]("target", lambda row: reached(row[1]), text=True),
        Column[tuple[int, SessionEntry]]("at the end", lambda row: _accuracy(row[1].final_accuracy)),
        Column[tuple[int, SessionEntry]]("best", lambda row: _accuracy(row[1].best_accuracy)),
        Column[tuple[int, SessionEntry]]("steps", lambda row: str(row[1].steps or "")),
        Column[tuple[int, SessionEntry]](
            "wall s", lambda row: "" if row[1].wall_seconds is None else f"{row[1].wall_seconds:.1f}"
        ),
    ]
    return grid(columns, numbered, "Sessions in their order")


def _status(session: SessionEntry) -> str:
    words = {
        "waiting": "not begun",
        "not-finite": "loss not finite",
        "oom": "out of memory",
    }
    went_on = f", in {session.processes} processes" if session.was_resumed else ""
    note = f": {session.note}" if session.note else ""
    return f"{words.get(session.status, session.status)}{went_on}{note}"


def _mllog(evaluation: Evaluation) -> Section:
    logs = [f"{plain(session.mllog)}: {session.name}" for session in evaluation.document.sessions if session.mllog]
    return section("MLPerf's log lines", Paragraph(NO_MLPERF_RESULT) if logs else None, Bullets(logs))


def _files(evaluation: Evaluation, *, with_pictures: bool) -> list[Block]:
    again = Command(command_line(evaluation.document.request), "Again, from the start:")
    if not with_pictures:
        return [again]
    sessions = [session for session in evaluation.document.sessions if session.test_accuracy]
    named = [
        (CSV_FILE, "a row a session"),
        (DOCUMENT_FILE, "what this page is made of"),
        *(
            (f"{session.folder}/training.json", "of which gnet report makes a page of that session")
            for session in sessions
        ),
    ]
    return [Files(named), again]


def _times(evaluation: Evaluation) -> Picture | None:
    """A line a configuration, with a mark for each session at its time to the target, and one for the median."""
    results = [result for result in evaluation.cases if result.sessions]
    times = [one.reached.seconds for result in results for one in result.sessions if one.reached]
    if not times:
        return None
    end = 1.12 * max(times)

    def paint(axes: Any) -> None:
        for line, result in enumerate(results):
            for number, session in enumerate(result.sessions):
                there = session.reached
                offset = 0.16 * (number - (len(result.sessions) - 1) / 2) / max(1, len(result.sessions) - 1)
                mark, colour = ("o", COLOURS[0]) if there else ("x", COLOURS[4])
                axes.plot(there.seconds if there else end, line + offset, mark, color=colour, markersize=6)
            if result.seconds and math.isfinite(result.seconds.value):
                axes.plot([result.seconds.value] * 2, [line - 0.3, line + 0.3], color=COLOURS[1], linewidth=2.5)
        axes.set_xlim(0, 1.05 * end)
        axes.set_xlabel("wall time to the target, s (bar: median; ×: not reached)")

    finite = [result for result in results if result.seconds and math.isfinite(result.seconds.value)]
    lines = [f"{result.label} {_value(result.seconds, 1)}{' s' if result in finite else ''}" for result in results]
    fastest = min(finite, key=lambda result: result.seconds.value if result.seconds else math.inf, default=None)
    title = (
        f"{fastest.label} has the shortest median, {_value(fastest.seconds, 1)} s"
        if fastest
        else "No configuration reached the target in most of its sessions"
    )
    labels = [result.label for result in results]
    return draw_lines("times", title, described("Median time to the target:", lines), paint, labels)


def _curves(evaluation: Evaluation) -> Picture | None:
    """Test accuracy by epoch, a thin line a session and a colour a configuration, near the target."""
    results = [result for result in evaluation.cases if any(one.test_accuracy for one in result.sessions)]
    if not results:
        return None
    target = 100 * evaluation.document.target

    def paint(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for number, result in enumerate(results):
            for place, session in enumerate(one for one in result.sessions if one.test_accuracy):
                values = [100 * value for value in session.test_accuracy]
                epochs = range(1, len(values) + 1)
                mark, colour = _MARKS[number % len(_MARKS)], COLOURS[number % len(COLOURS)]
                label = None if place else result.label
                axes.plot(epochs, values, f"{mark}-", color=colour, label=label, linewidth=1, markersize=3)
        axes.axhline(target, color=COLOURS[4], linestyle="--", linewidth=1, label="target")
        axes.set_xlabel("epoch")
        axes.set_ylabel("test accuracy, %")
        axes.set_xlim(0.5, evaluation.document.request.epochs + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower right")

    lines = []
    for result in results:
        last = statistics.fmean(one.test_accuracy[-1] for one in result.sessions if one.test_accuracy)
        lines.append(f"{result.label} ends at {_accuracy(last)} on average")
    title = f"Test accuracy by epoch, a line a session; the target is {target:.4g} %"
    return draw("accuracy", title, described("Test accuracy by epoch:", lines), paint, 3.2 + LEGEND_INCHES)


def _accuracy(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
