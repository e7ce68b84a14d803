"""The command `gnet gpu-check`: the first minutes on a GPU, unattended."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from gnet_core.cli import options
from gnet_core.cli.output import FINE, GATE_FAILED, INTERRUPTED, complain, print_document, print_json
from gnet_core.config import PEERS, GnetError
from gnet_core.plan.request import ReportRequest, command_line

MAX_MINUTES = 60

_USED = 0.98
"""Share of the minutes that the steps may take; in the rest Python starts and the list is written."""


@click.command("gpu-check")
@options.device
@click.option("--minutes", type=options.WHOLE, default=10, show_default=True, help="What it may take in all.")
@click.option("--python", multiple=True, metavar="torch|jax=INTERPRETER", help="Measure that framework from this one.")
@options.out("<date-time>-gpu-check-<device>")
@options.as_json
def gpu_check(device: str, minutes: int, python: tuple[str, ...], out: Path | None, as_json: bool) -> int:
    """Find out in minutes what of the GPU side is confirmed, wrong or still open.

    Samples a worker each of graph, eager and XLA, traces each of them, and measures implementations, precisions and
    executions; every step writes its results before the next begins. Exit status 1 where a claim is wrong. With
    --device cpu all of it is rehearsed on a CPU.
    """
    from gnet_core.files.whole import GPU_CHECK, require_empty
    from gnet_core.system.claims import claimed_empty

    deadline = time.monotonic() + _USED * 60.0 * minutes
    if minutes > MAX_MINUTES:
        raise GnetError(f"minutes: {minutes:.30g} are too many; use at most {MAX_MINUTES}, or gnet bench for more")
    options.require_device_form(device)
    peers = _peers(python)
    if out is not None:
        require_empty(out)
        if left := sorted(out.glob(f"{GPU_CHECK}*")):  # which does not count for the run
            raise GnetError(f"out: {out} has files in it already ({left[0].name}); name one without a check")
    from gnet_core.gpu_check import report as gpu_check_report
    from gnet_core.gpu_check.check import Check
    from gnet_core.machine.devices import choose_device
    from gnet_core.plan.suites import Source
    from gnet_core.run import discovery

    checkout = discovery.find_checkout(Path.cwd())
    environment = discovery.probe(Source(checkout=checkout))
    if not environment.tensorflow:
        raise GnetError(
            f"python: {sys.executable} has no TensorFlow, which is what is checked; use one with the extra gpu"
        )
    try:
        chosen = choose_device("gpu" if device == "auto" else device, environment)
    except GnetError as error:
        raise GnetError(f"{error}; --device cpu rehearses the check") from None
    directory = out or options.default_directory("gpu-check", chosen)
    with claimed_empty(directory / GPU_CHECK):
        check = Check(
            checkout=checkout,
            environment=environment,
            device=chosen,
            directory=directory.resolve(),
            minutes=minutes,
            deadline=deadline,
            created=options.now(),
            peers=peers,
            progress=complain,
        )
        complete = check.run()
        report = check.report()
    if as_json:
        print_json(gpu_check_report.to_json(report))
    else:
        print_document(gpu_check_report.document(report))
    read = f"; its run is read by: {command_line(ReportRequest(run_dir=directory))}"
    has_run = (directory / "run.json").exists()
    complain(f"the list is in {directory / gpu_check_report.MARKDOWN_FILE}{read if has_run else ''}")
    if not complete:
        complain(f"interrupted; what was finished is in {directory}")
        return INTERRUPTED
    return GATE_FAILED if any(claim.verdict == "wrong" for claim in report.claims) else FINE


def _peers(python: Sequence[str]) -> list[str]:
    """The pairs with absolute paths, as steps run elsewhere. Raises GnetError for one of no framework or program."""
    from gnet_core.run.named_sources import interpreters

    for peer in python:
        if peer.partition("=")[0] not in PEERS:
            raise GnetError(f"python: {peer!r:.200} names no framework; use torch=INTERPRETER or jax=INTERPRETER")
    return [f"{name}={program}" for name, program in interpreters(python).items()]
