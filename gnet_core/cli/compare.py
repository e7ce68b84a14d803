"""The command `gnet compare`: a verdict a case between two runs, and a gate on them."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnet_core.cli import options
from gnet_core.cli.gate import Gate, print_gates
from gnet_core.cli.output import CASES_FAILED, FINE, GATE_FAILED, complain, print_document, print_json
from gnet_core.cli.report import complain_of
from gnet_core.config import GnetError

if TYPE_CHECKING:
    from gnet_core.cli.confirm import HowToConfirm
    from gnet_core.report.comparison import Compared
    from gnet_core.results.gates import GateResult
    from gnet_core.results.records import Run

_OF_VERDICTS = ("margin", *options.OF_GATE, "like_base", "to_confirm", "budget", "base_python")

MIN_USUAL_MARGIN = 0.005
"""No run here has resolved as little, so a smaller margin was probably meant as a fraction and not as percent."""


@click.command()
@click.argument("base", type=options.PATH)
@click.argument("new", type=options.PATH)
@click.argument("more", nargs=-1, type=options.PATH)
@click.option("--margin", default="2", show_default=True, metavar="PCT", help="Differences below it are the SAME.")
@options.gate("Exit with 1 where one fails, as every one does where nothing could be compared.")
@click.option(
    "--confirm",
    "to_confirm",
    is_flag=True,
    help="Measure what looks SLOWER again in fresh processes, in turns with BASE's code where this repository has it; "
    "the gate slower fails only on what is SLOWER again, and unresolved on what is UNRESOLVED then.",
)
@click.option("--budget", type=options.DURATION, metavar="DURATION", help="Wall time of --confirm, such as 20m.")
@click.option("--base-python", metavar="INTERPRETER", help="For --confirm, the one that measured BASE, if another.")
@click.option(
    "--across-machines",
    is_flag=True,
    help="Compare also what was measured on other hardware; three runs or more are of many hosts, side by side.",
)
@click.option(
    "--price-per-hour",
    "prices",
    multiple=True,
    metavar="NAME=PRICE",
    help="What the host costs whose run's directory has that name: images for its money. For many hosts.",
)
@click.option(
    "--like-base", multiple=True, type=options.PATH, help="Another run of BASE's code; with two, each counts once."
)
@click.option(
    "--out", type=options.PATH, help="New directory for a page, its plot and a table, and in it the run of --confirm."
)
@click.option("--profiles", is_flag=True, help="Compare traces instead: where the time went, by part and operation.")
@options.as_json
def compare(
    base: Path,
    new: Path,
    more: tuple[Path, ...],
    margin: str,
    fail_on: tuple[str, ...],
    rules: Path | None,
    junit: Path | None,
    github: bool,
    across_machines: bool,
    prices: tuple[str, ...],
    like_base: tuple[Path, ...],
    out: Path | None,
    to_confirm: bool,
    budget: int | None,
    base_python: str | None,
    profiles: bool,
    as_json: bool,
) -> int:
    """Compare the run in NEW with the one in BASE, case by case: FASTER, SLOWER, SAME or UNRESOLVED.

    With --profiles both are directories of gnet profile, or of gnet bench with one trace; there is no verdict then,
    and without --out the page goes to reports/<time>-compare-profiles.

    With --across-machines and MORE runs, or prices, each is a host's, by the name of its directory. The hosts stand
    side by side, and there is no verdict either.
    """
    if more or prices:
        if not across_machines or profiles:
            raise GnetError(
                f"across_machines: {2 + len(more)} runs are of many hosts, side by side; add --across-machines and "
                "leave out --profiles, or name BASE and NEW alone"
            )
        return _compare_hosts((base, new, *more), prices, out, as_json=as_json)
    if profiles:
        return _compare_profiles(base, new, out, as_json=as_json)
    from gnet_core.report import comparison
    from gnet_core.results import gates
    from gnet_core.stats import verdicts
    from gnet_core.system.claims import claimed_empty

    _require_to_confirm(to_confirm, fail_on, base_python)
    gate = Gate.of(fail_on=fail_on, rules=rules, junit=junit, github=github, as_json=as_json)
    fraction = verdicts.require_margin(margin)
    if fraction < MIN_USUAL_MARGIN:
        complain(
            f"margin: {margin} is taken as {margin} %; is it meant as a fraction? then write {100 * float(margin):g}"
        )
    compared = comparison.compare(
        _load(base),
        _load(new),
        fraction,
        across_machines=across_machines,
        like_base=[_load(directory) for directory in like_base],
        require_common=not fail_on,
    )
    with claimed_empty(out) if out is not None else contextlib.nullcontext():
        result = gates.check_between(compared.base, compared.new, compared.between, fail_on, gate.rules)
        slower = [case for case in result.failed.get("slower", []) if case in result.judged]
        if to_confirm and slower:
            from gnet_core.cli.confirm import HowToConfirm

            how = HowToConfirm(out=out, budget=budget, base_python=base_python, rules=rules and rules.resolve())
            return _confirm(compared, slower, gate, how, as_json=as_json)
        if out is not None:
            comparison.write(compared, result, out)
        if not as_json:
            print_document(comparison.document(compared, gates.GateResult(), with_pictures=False))
            if to_confirm:
                beyond = " by more than the rules allow" if result.excused else ""
                print(f"\nNothing looked SLOWER{beyond}, so nothing is measured again.")
        _print_end(compared, result, out, as_json=as_json)
        written = gate.tell(result, lambda: comparison.outcomes(compared, fail_on, gate.rules))
        return GATE_FAILED if result.failed else written


def _require_to_confirm(to_confirm: bool, fail_on: tuple[str, ...], base_python: str | None) -> None:
    """Raise GnetError for options that --confirm needs, or that need it."""
    if not to_confirm:
        for name in filter(options.is_given, ("budget", "base_python")):
            raise GnetError(f"{name}: it is about measuring again, which was not asked for; add --confirm")
    elif "slower" not in fail_on:
        raise GnetError("confirm: it measures again what would fail the gate slower; add --fail-on slower")
    if base_python is not None and shutil.which(base_python) is None:
        raise GnetError(f"base_python: {base_python!r} is no program that can be started; name an interpreter")


def _confirm(compared: Compared, slower: list[str], gate: Gate, how: HowToConfirm, *, as_json: bool) -> int:
    """Tell what was found, measure again what looked slower, and judge the gates by that."""
    from gnet_core.cli.confirm import confirm
    from gnet_core.report import comparison
    from gnet_core.results import gates

    def check(asked: tuple[str, ...]) -> GateResult:
        again = compared.confirmation.comparisons if compared.confirmation else None
        return gates.check_between(compared.base, compared.new, compared.between, asked, gate.rules, again)

    result = check(tuple(asked for asked in gate.fail_on if asked != "slower"))  # of which nothing is known yet
    if how.out is not None:
        comparison.write(compared, result, how.out)
    if not as_json:
        print_document(comparison.document(compared, gates.GateResult(), with_pictures=False))
        sys.stdout.flush()  # before what is said on stderr
    try:
        confirmed = confirm(compared, slower, how)
    except GnetError:  # the first verdicts are what is known
        _print_end(compared, result, how.out, as_json=as_json)
        gate.tell(result, lambda: comparison.outcomes(compared, gate.fail_on, gate.rules))
        raise
    at_first, compared = compared, dataclasses.replace(compared, confirmation=confirmed.confirmation)
    if confirmed.ended.complete:
        result = check(gate.fail_on)
    if how.out is not None:
        comparison.write(compared, result, how.out)
    if not as_json:
        print()
        print_document(comparison.confirmation_document(compared))
    _print_end(compared, result, how.out, as_json=as_json)
    status = complain_of(confirmed.ended.unwritten, confirmed.confirmation.run.directory)
    if incomplete := confirmed.ended.why_incomplete(confirmed.to_resume):
        gate.tell(result, lambda: comparison.outcomes(at_first, gate.fail_on, gate.rules))
        return incomplete
    written = gate.tell(result, lambda: comparison.outcomes(compared, gate.fail_on, gate.rules))
    if result.failed:
        return GATE_FAILED
    return CASES_FAILED if gates.failures(confirmed.confirmation.run) else status or written


def _print_end(compared: Compared, result: GateResult, out: Path | None, *, as_json: bool) -> None:
    """Print the one document for programs, or the gates that failed and where the page is."""
    from gnet_core.report import comparison

    if as_json:
        print_json(comparison.to_json(compared, result))
        return
    print_gates(result)
    if out is not None:
        print(f"\nReport: {out / comparison.HTML_FILE}")


def _compare_profiles(base: Path, new: Path, out: Path | None, *, as_json: bool) -> int:
    from gnet_core.profile import comparison as profile_comparison
    from gnet_core.report import profile_comparison as profile_comparison_report
    from gnet_core.system.claims import claimed_empty

    _refuse_verdicts((*_OF_VERDICTS, "across_machines"), "profiles carry none of")
    compared = profile_comparison.compare(profile_comparison.load(base), profile_comparison.load(new))
    out = out or options.default_directory("compare", "profiles")
    with claimed_empty(out):
        profile_comparison_report.write(compared, out)
    if as_json:
        print_json({"directory": str(out), **profile_comparison_report.to_json(compared)})
    else:
        print_document(profile_comparison_report.document(compared, with_pictures=False))
        print(f"\nReport: {out / 'report.html'} and report.md")
    return FINE


def _compare_hosts(directories: tuple[Path, ...], prices: tuple[str, ...], out: Path | None, *, as_json: bool) -> int:
    import msgspec

    from gnet_core.report import fleet
    from gnet_core.results.fleet import hosts_of
    from gnet_core.system.claims import claimed_empty

    _refuse_verdicts(_OF_VERDICTS, "hosts that did not take turns carry none of")
    hosts = hosts_of(list(map(_load, directories)), _prices(prices))
    with claimed_empty(out) if out is not None else contextlib.nullcontext():
        if out is not None:
            fleet.write(hosts, out)
    if as_json:
        print_json(msgspec.to_builtins(fleet.report(hosts)))
        return FINE
    print_document(fleet.document(hosts))
    if out is not None:
        print(f"\nReport: {out / fleet.HTML_FILE}")
    return FINE


def _refuse_verdicts(names: tuple[str, ...], why: str) -> None:
    """Raise GnetError for an option that only verdicts have a use for."""
    for name in filter(options.is_given, names):
        raise GnetError(f"{name}: it belongs to verdicts, which {why}; leave it out")


def _prices(pairs: tuple[str, ...]) -> dict[str, float]:
    """Prices by host. Raises GnetError for what is none."""
    prices: dict[str, float] = {}
    for pair in pairs:
        name, equals, word = pair.rpartition("=")
        try:
            price = float(word)
        except ValueError:
            price = math.nan
        if not equals or not name or not 0 < price < math.inf:
            raise GnetError(f"price_per_hour: {pair!r:.200} will not do; use NAME=PRICE with a number above 0")
        if name in prices:
            raise GnetError(f"price_per_hour: {name!r:.200} has two prices; name one")
        prices[name] = price
    return prices


def _load(directory: Path) -> Run:
    from gnet_core.profile import document
    from gnet_core.results import records

    if document.is_profile(directory):
        raise GnetError(
            f"{directory}: it holds a profile; name directories of gnet bench, or compare two profiles with --profiles"
        )
    return records.load_run(directory)
