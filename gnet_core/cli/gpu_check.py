"""The command `gnet gpu-check`: the first minutes on a GPU, unattended."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnet_core.cli.options import (
    FINE,
    GATE_FAILED,
    INTERRUPTED,
    Whole,
    as_json_option,
    complain,
    default_directory,
    device_option,
    now,
    out_option,
    print_document,
    print_json,
    require_device_form,
)
from gnet_core.config import PEERS, GnetError
from gnet_core.plan.request import ReportRequest, command_line

if TYPE_CHECKING:
    from gnet_core.machine.environment import Environment

MAX_MINUTES = 60

_USED = 0.98
"""Of the minutes, what the steps may take; the rest is for Python to start and the list to be written."""


@click.command("gpu-check")
@device_option
@click.option("--minutes", type=Whole("minutes"), default=10, show_default=True, help="What it may take in all.")
@click.option("--python", multiple=True, metavar="torch|jax=INTERPRETER", help="Measure that framework from this one.")
@out_option("<date-time>-gpu-check-<device>")
@as_json_option
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
    require_device_form(device)
    peers = _peers(python)
    if out is not None:
        require_empty(out)
        if found := sorted(out.glob(f"{GPU_CHECK}*")):  # which does not count for the run
            raise GnetError(f"out: {out} has files in it already ({found[0].name}); name one without a check")
    from gnet_core.gpu_check import report as gpu_check_report
    from gnet_core.gpu_check.check import Check
    from gnet_core.plan.suites import Source
    from gnet_core.run import runner

    checkout = runner.find_checkout(Path.cwd())
    environment = runner.probe(Source(checkout=checkout))
    if not environment.tensorflow:
        raise GnetError(
            f"python: {sys.executable} has no TensorFlow, which is what is checked; use one with the extra gpu"
        )
    chosen = _choose_device(device, environment)
    directory = out or default_directory("gpu-check", chosen)
    with claimed_empty(directory / GPU_CHECK):
        check = Check(
            checkout=checkout,
            environment=environment,
            device=chosen,
            directory=directory,
            minutes=minutes,
            deadline=deadline,
            created=now(),
            peers=peers,
            progress=complain,
        )
        complete = check.run()
        report = check.report()
    if as_json:
        print_json(gpu_check_report.to_json(report))
    else:
        print_document(gpu_check_report.document(report))
    to_read = f"; its run is read by: {command_line(ReportRequest(run_dir=directory))}"
    read = to_read if (directory / "run.json").exists() else ""
    complain(f"the list is in {directory / gpu_check_report.MARKDOWN_FILE}{read}")
    if not complete:
        complain(f"interrupted; what was finished is in {directory}")
        return INTERRUPTED
    return GATE_FAILED if report.wrong else FINE


def _peers(python: Sequence[str]) -> list[str]:
    """The NAME=INTERPRETER pairs with absolute paths, since the steps are taken in another directory.

    Raises GnetError for one that names no framework or no program.
    """
    from gnet_core.run.sources import interpreters

    for peer in python:
        if peer.partition("=")[0] not in PEERS:
            raise GnetError(f"python: {peer!r:.200} names no framework; use torch=INTERPRETER or jax=INTERPRETER")
    return [f"{name}={program}" for name, program in interpreters(python).items()]


def _choose_device(asked: str, environment: Environment) -> str:
    """cpu where that is asked for, else a GPU. Raises GnetError where there is none, and why."""
    from gnet_core.machine.devices import choose_device

    try:
        return choose_device("gpu" if asked == "auto" else asked, environment)
    except GnetError as error:
        raise GnetError(f"{error}; --device cpu rehearses the check") from None
