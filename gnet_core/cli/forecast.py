"""What `gnet bench --dry-run` prints."""

from __future__ import annotations

import msgspec

from gnet_core.cli.output import print_json
from gnet_core.cli.progress import comparison_line, count
from gnet_core.run.forecast import Forecast
from gnet_core.stats.verdicts import DEFAULT_MARGIN, MIN_PROCESSES
from gnet_core.text import percent, plain


def print_forecast(forecast: Forecast, *, as_json: bool) -> None:
    """Print what a run would do."""
    if as_json:
        print_json(msgspec.to_builtins(forecast))
    else:
        print("\n\n".join(filter(None, (_cases(forecast), _cohorts(forecast), _sums(forecast), _open(forecast)))))


def _cases(forecast: Forecast) -> str:
    from tabulate import tabulate

    rows = [
        (
            number,
            plain(case.case),
            case.processes,
            case.more_processes,
            f"{case.process_seconds:.0f}",
            _gibibytes(case.memory_bytes),
        )
        for number, case in enumerate(forecast.cases, start=1)
    ]
    headings = ("", "case", "processes", _to_come(forecast), "s each", "GiB each")
    table = tabulate(rows, headings, disable_numparse=True, colalign=("right", "left", *["right"] * 4))
    return "\n".join([table, *(f"{plain(case.case)}: {plain(case.note)}" for case in forecast.cases if case.note)])


def _cohorts(forecast: Forecast) -> str:
    from tabulate import tabulate

    if not forecast.cohorts:
        return "Nothing is left to measure."
    numbers = {case.case: number for number, case in enumerate(forecast.cases, start=1)}
    rows = [
        (
            ", ".join(str(numbers[case]) for case in cohort.cases),
            cohort.times,
            f"{cohort.seconds:.0f}",
            _gibibytes(cohort.memory_bytes),
        )
        for cohort in forecast.cohorts
    ]
    headings = ("cohort of cases", _to_come(forecast), "s each", "GiB each")
    return tabulate(rows, headings, disable_numparse=True, colalign=("left", *["right"] * 3))


def _to_come(forecast: Forecast) -> str:
    return "to come" if forecast.until == "fixed" else "to come at most"


def _sums(forecast: Forecast) -> str:
    return "\n".join(filter(None, (_end(forecast), _time(forecast), _memory(forecast), _effect(forecast))))


def _end(forecast: Forecast) -> str:
    processes = count(forecast.processes, "process", "es")
    if forecast.until == "fixed":
        return f"End: every case has {processes}."
    budget = "" if forecast.left_seconds is None else f", or {_duration(forecast.left_seconds)} are spent"
    return f"End: every comparison is settled within {DEFAULT_MARGIN:.0%}, or every case has {processes}{budget}."


def _time(forecast: Forecast) -> str:
    least, most = _duration(forecast.min_seconds), _duration(forecast.max_seconds)
    span = f"{least} to {most}" if forecast.min_seconds < forecast.max_seconds else most
    known = "from what this run took so far" if forecast.times_measured else "a guess from a CPU of two cores"
    return f"Time: about {span} with peaks, trace and report, {known}."


def _memory(forecast: Forecast) -> str:
    allowed = f" of the {_gibibytes(forecast.memory_bytes)} GiB for all workers" if forecast.memory_bytes else ""
    if any(case.memory_bytes is None for case in forecast.cases):
        return f"Memory: measured as the run begins{allowed}. The cohorts are as if all of the cases fitted together."
    most = max((cohort.memory_bytes or 0 for cohort in forecast.cohorts), default=0)
    return f"Memory: about {_gibibytes(most)} GiB{allowed}."


def _effect(forecast: Forecast) -> str:
    if not forecast.comparisons:
        return "Effect: nothing is compared."
    effect, processes = forecast.minimum_detectable_effect, count(forecast.processes, "process", "es")
    if effect is not None:
        return (
            f"Effect: {processes} a case find {percent(effect)} 9 times in 10, a guess from a shared CPU of two cores."
        )
    takes = f", about {_duration(forecast.min_seconds)}" if forecast.until == "resolved" else ""
    return f"Effect: {processes} a case can tell none from chance; a verdict takes {MIN_PROCESSES}{takes}."


def _open(forecast: Forecast) -> str:
    return "\n".join(map(comparison_line, forecast.still_open))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _gibibytes(size: int | None) -> str:
    return "" if size is None else f"{size / 2**30:.1f}"
