"""The command `gnet bench`: from what was asked to cases, a run, and its report."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnet_core.command_line import (
    BATCH_SIZE_LIST,
    CASES_FAILED,
    EXECUTION_LIST,
    FINE,
    INTERRUPTED,
    PRECISION_LIST,
    Whole,
    as_json_option,
    complain,
    default_directory,
    device_option,
    now,
    out_option,
    print_json,
    require_device_form,
    seed_option,
)
from gnet_core.config import StepConfig

if TYPE_CHECKING:
    from gnet_core.runner import CaseState
    from gnet_core.sweep import Axis
    from gnet_core.worker import RunSettings

MEMORY_SHARE = 0.7
"""Of the memory that is free, what a run may take unless told otherwise."""


@click.command()
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@click.option("--preset", default="quick", show_default=True, metavar="smoke|quick|full", help="How thoroughly.")
@device_option
@click.option("--replicates", type=Whole("replicates"), help="Processes a case.")
@click.option("--execution", type=EXECUTION_LIST, help="Only these, separated by commas: eager, graph, xla.")
@click.option("--precision", type=PRECISION_LIST, help="Only these: float32, tf32, mixed_bfloat16, mixed_float16.")
@click.option("--batch-size", type=BATCH_SIZE_LIST, help="Only these, such as 8,16,32.")
@click.option("--image-size", type=Whole("image_size"), help="Pixels a side.")
@click.option("--data", default="synthetic", show_default=True, metavar="NAME_OR_PATH", help="What is fed to the step.")
@seed_option
@click.option("--memory", type=Whole("memory"), metavar="BYTES", help="A worker may take; else 70 % of what is free.")
@click.option("--profile", is_flag=True, help="Trace a case as well, and report where its time goes.")
@out_option("<date-time>-<device>")
@as_json_option
def bench(
    suites: tuple[str, ...],
    preset: str,
    device: str,
    replicates: int | None,
    execution: tuple[str, ...] | None,
    precision: tuple[str, ...] | None,
    batch_size: tuple[int, ...] | None,
    image_size: int | None,
    data: str,
    seed: int,
    memory: int | None,
    profile: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Measure SUITEs (throughput, execution, precision, batch-size; none named: all) and write a run directory."""
    from gnet_core import machine, runner, sweep, worker
    from gnet_core.files import make_empty_directory, require_empty

    checkout = runner.find_checkout(Path.cwd())
    found = runner.choose_suites(runner.discover(checkout), suites)
    # What can be told at once is told before TensorFlow is asked about its devices.
    sweep.preset_for(preset, "cpu")
    classes, images, data = _look_at(data)
    StepConfig(data=data, seed=seed, image_size=image_size or StepConfig().image_size)
    require_device_form(device)
    if out is not None:
        require_empty(out)

    environment = runner.probe()
    environment["machine"]["commit"] = machine.commit(checkout)
    device = machine.choose_device(device, environment)
    chosen_preset = sweep.preset_for(preset, device)
    asked: dict[Axis, tuple[Any, ...] | None] = {
        "execution": execution,
        "precision": precision,
        "batch_size": batch_size,
    }
    cases = sweep.Sweep(
        preset=chosen_preset,
        template=StepConfig(
            device=device, image_size=image_size or chosen_preset.image_size, data=data, seed=seed, classes=classes
        ),
        chosen={axis: values for axis, values in asked.items() if values},
    )
    planned = sweep.plan_cases([item.suite for item in found], cases)
    states = runner.make_states(planned, found, environment, images)
    out = out or default_directory("", device)
    make_empty_directory(out)
    settings = worker.RunSettings(
        checkout=checkout,
        directory=out.resolve(),
        plan=chosen_preset.plan,
        replicates=replicates or chosen_preset.replicates,
        memory_bytes=memory or int(MEMORY_SHARE * machine.available_memory_bytes()),
    )
    document = {
        "created": now(),
        "preset": preset,
        "device": device,
        "seed": seed,
        "replicates": settings.replicates,
        "plan": dataclasses.asdict(chosen_preset.plan),
        "memory_bytes": settings.memory_bytes,
        "environment": environment,
        "suites": [item.suite.to_dict() for item in found],
    }
    profiled = cases.cases()[0] if profile else None
    return _run_and_report(states, settings, document, profiled, as_json=as_json)


def _run_and_report(
    states: list[CaseState],
    settings: RunSettings,
    document: dict[str, Any],
    profiled: StepConfig | None,
    *,
    as_json: bool,
) -> int:
    from gnet_core import records, report, runner

    expected = sum(runner.expected_seconds(state.config, settings.plan) for state in states) * settings.replicates
    with _progress_bar(expected) as progress:
        complete = runner.run(states, settings, document, progress, profiled)
    result = records.load_run(settings.directory)
    report.write(result)
    if as_json:
        print_json(report.to_json(result))
    else:
        click.echo(report.to_terminal(result))
        click.echo(f"\nReport: {settings.directory / 'report.md'}")
    if not complete:
        complain(f"interrupted; what was finished is in {settings.directory}")
        return INTERRUPTED
    return CASES_FAILED if report.failures(result) else FINE


@contextmanager
def _progress_bar(expected_seconds: float) -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr. Its unit is a second of expected work, so its time left follows the machine's real speed."""
    from tqdm import tqdm

    shape = "{percentage:3.0f}%|{bar:20}| {elapsed} gone, {remaining} left | {desc}"
    with tqdm(total=expected_seconds, bar_format=shape, smoothing=0, dynamic_ncols=True, file=sys.stderr) as bar:

        def progress(what: str, seconds: float) -> None:
            bar.set_description_str(what, refresh=False)
            bar.update(min(seconds, expected_seconds - bar.n))
            bar.refresh()

        yield progress


def _look_at(data: str) -> tuple[int, float, str]:
    """Classes, images to train on, and the data set's name or absolute path (workers run in another directory)."""
    if data == "synthetic":
        return StepConfig().classes, math.inf, data
    from gnet_core.datasets import absolute, open_data

    dataset = open_data(data)
    return dataset.classes, len(dataset.train), absolute(data)
