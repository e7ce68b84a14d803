"""The command `gnet`: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnet_core.config import GnetError, StepConfig
from gnet_core.options import (
    BATCH_SIZE_LIST,
    EXECUTION_LIST,
    PRECISION_LIST,
    Whole,
    as_json_option,
    device_option,
    out_option,
    seed_option,
)

if TYPE_CHECKING:
    from gnet_core.runner import CaseState
    from gnet_core.sweep import Axis
    from gnet_core.worker import RunSettings

FINE, GATE_FAILED, BAD_USAGE, CASES_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

MEMORY_SHARE = 0.7
"""Of the memory that is free, what a run may take unless told otherwise."""


def main() -> None:
    """Run the command line and exit: 0 fine, 2 bad usage or input, 3 some cases failed, 130 interrupted."""
    # A build server stops a job with SIGTERM: what was finished is then kept and reported as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        status = commands.main(standalone_mode=False)
    except click.ClickException as error:
        _complain(error.format_message())
        status = BAD_USAGE
    except GnetError as error:
        _complain(str(error))
        status = BAD_USAGE
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        status = INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        _complain(f"{error.name}: it is not installed here; pip install -e '.[cpu]' (or '.[gpu]') in the checkout")
        status = BAD_USAGE
    except BrokenPipeError:
        # The reader of a pipe left; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FINE
    except OSError as error:  # a full disk, or a directory that is taken away while it is written
        _complain(f"{error.filename or 'output'}: {error.strerror or error}")
        status = BAD_USAGE
    sys.exit(status or FINE)


def _complain(message: str) -> None:
    print(f"gnet: {' '.join(message.split())}", file=sys.stderr)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gnet")
def commands() -> None:
    """How fast does GoogleNet_2's TensorFlow train step run here, and where does its time go?"""


@commands.command()
@as_json_option
def info(as_json: bool) -> int:
    """Tell the devices, TensorFlow, what each precision can be expected to do here, and warnings."""
    from tabulate import tabulate

    from gnet_core import device, machine

    environment = device.environment()
    devices = ["cpu", *(gpu["device"] for gpu in environment["tensorflow"]["gpus"])]
    support = {name: machine.precision_support(environment, name) for name in devices}
    warnings = machine.warnings(environment)
    if as_json:
        precisions = {name: {each: said._asdict() for each, said in rows.items()} for name, rows in support.items()}
        _print_json(environment | {"precisions": precisions, "warnings": warnings})
        return FINE
    click.echo(tabulate(machine.as_lines(environment), tablefmt="plain", disable_numparse=True))
    rows = [
        (name, precision, "yes" if said.supported else "no", "yes" if said.pays else "no", said.reason)
        for name, precisions in support.items()
        for precision, said in precisions.items()
    ]
    click.echo("\n" + tabulate(rows, headers=("device", "precision", "runs", "should pay", "because")))
    for warning in warnings:
        click.echo(f"\nNote: {warning}")
    return FINE


@commands.command()
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
    _require_device_form(device)
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
    out = out or _default_directory("", device)
    make_empty_directory(out)
    settings = worker.RunSettings(
        checkout=checkout,
        directory=out.resolve(),
        plan=chosen_preset.plan,
        replicates=replicates or chosen_preset.replicates,
        memory_bytes=memory or int(MEMORY_SHARE * machine.available_memory_bytes()),
    )
    document = {
        "created": _now(),
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
        _print_json(report.to_json(result))
    else:
        click.echo(report.to_terminal(result))
        click.echo(f"\nReport: {settings.directory / 'report.md'}")
    if not complete:
        _complain(f"interrupted; what was finished is in {settings.directory}")
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


@commands.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@as_json_option
def report(run_dir: Path, as_json: bool) -> int:
    """Build the report of RUN_DIR anew from its raw files."""
    from gnet_core import records
    from gnet_core import report as reporting

    if records.is_profile(run_dir):
        return _report_profile(run_dir, as_json=as_json)
    run = records.load_run(run_dir)
    with _writing(run_dir):
        reporting.write(run)
    if as_json:
        _print_json(reporting.to_json(run))
    else:
        click.echo(reporting.to_terminal(run))
    return FINE


@commands.command()
@click.option("--execution", default="graph", show_default=True, metavar="eager|graph|xla")
@click.option("--precision", default="float32", show_default=True, metavar="NAME")
@click.option("--batch-size", type=Whole("batch_size"), default=8, show_default=True)
@click.option("--image-size", type=Whole("image_size"), default=224, show_default=True, help="Pixels a side.")
@click.option("--steps", type=Whole("steps"), default=5, show_default=True, help="Whole steps to trace, at most 10.")
@device_option
@seed_option
@out_option("<date-time>-profile-<device>")
@as_json_option
def profile(
    execution: str,
    precision: str,
    batch_size: int,
    image_size: int,
    steps: int,
    device: str,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> int:
    """Trace whole train steps for TensorBoard's Profile page, and tell where their time went."""
    from gnet_core.files import RUN_FORMAT_VERSION, make_empty_directory, require_empty, write_whole
    from gnet_core.profile import require_steps

    config = make_config(
        execution=execution, precision=precision, batch_size=batch_size, image_size=image_size, seed=seed
    )
    require_steps(steps)
    _require_device_form(device)
    if out is not None:
        require_empty(out)
    from gnet_core import device as devices
    from gnet_core import machine, trace

    environment = devices.environment(_checkout_or_none())
    config = dataclasses.replace(config, device=machine.choose_device(device, environment))
    machine.require_precision(config.precision, config.device, environment)
    out = out or _default_directory("profile", config.device)
    make_empty_directory(out)
    summary = trace.trace_case(config, out / "traces", steps)
    document = {
        "format_version": RUN_FORMAT_VERSION,
        "kind": "profile",
        "created": _now(),
        "device": config.device,
        "config": config.to_dict(),
        "environment": environment,
        "trace": summary.to_dict(out),
    }
    write_whole(out / "run.json", json.dumps(document, indent=1))
    return _report_profile(out, as_json=as_json)


def _report_profile(directory: Path, *, as_json: bool) -> int:
    from gnet_core import profile_report

    with _writing(directory):
        document = profile_report.write(directory)
    if as_json:
        _print_json({"directory": str(directory), **document})
    else:
        click.echo(profile_report.to_terminal(document, directory))
    return FINE


@commands.command()
@click.option(
    "--data", default="digits", show_default=True, metavar="NAME_OR_PATH", help="digits, fashion-mnist or a folder."
)
@click.option("--epochs", type=Whole("epochs"), default=10, show_default=True)
@click.option("--batch-size", type=Whole("batch_size"), default=32, show_default=True)
@click.option("--image-size", type=Whole("image_size"), help="Pixels a side; else what suits the data.")
@click.option("--precision", default="float32", show_default=True, metavar="NAME")
@click.option("--execution", default="graph", show_default=True, metavar="eager|graph|xla")
@click.option(
    "--as-published", is_flag=True, help="Keep the notebook's final ReLU and its loss: watch training collapse."
)
@device_option
@seed_option
@out_option("<date-time>-train-<data>")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with the session in this directory.")
@as_json_option
@click.pass_context
def train(
    context: click.Context,
    /,
    *,
    epochs: int,
    device: str,
    out: Path | None,
    resume: Path | None,
    as_json: bool,
    **asked: Any,
) -> int:
    """Train and test for some epochs; write history, curves and the best weights."""
    from gnet_core.config import slug
    from gnet_core.datasets import absolute, open_data
    from gnet_core.files import make_empty_directory, require_empty

    if out is not None and resume is not None:
        raise GnetError(f"out: {out} cannot be named beside --resume, which goes on in its own directory")
    _require_device_form(device)
    if resume is not None:
        from gnet_core.training import recorded_config

        # What is not asked for again is as it was; what is asked for otherwise will be refused by name.
        explicit = {name for name in asked if context.get_parameter_source(name) is click.ParameterSource.COMMANDLINE}
        config = dataclasses.replace(recorded_config(resume), **{name: asked[name] for name in explicit})
        dataset = open_data(config.data)
    else:
        asked["data"] = absolute(asked["data"])
        dataset = open_data(asked["data"])
        asked["image_size"] = asked["image_size"] or dataset.default_image_size
        config = make_config(**asked, classes=dataset.classes)
    if out is not None:
        require_empty(out)
    from gnet_core import device as devices
    from gnet_core import machine, training

    environment = devices.environment()
    if resume is None or device != "auto":
        config = dataclasses.replace(config, device=machine.choose_device(device, environment))
    machine.require_precision(config.precision, config.device, environment)
    directory = resume or out or _default_directory("train", slug(config.data))
    if resume is None:
        make_empty_directory(directory)
    history = training.train(config, dataset, directory, epochs, resume=resume is not None)
    best = max(history, key=lambda record: record.test_accuracy)
    if as_json:
        _print_json({"directory": str(directory), "epochs": [dataclasses.asdict(record) for record in history]})
    else:
        from tabulate import tabulate

        rows = [dataclasses.asdict(record) for record in history]
        click.echo(tabulate(rows, headers="keys", floatfmt=".4g"))
        click.echo(f"\nBest test accuracy {best.test_accuracy:.2%} in epoch {best.epoch}. Written to {directory}")
    return FINE


def _require_device_form(asked: str) -> None:
    """Whether it exists is known only once TensorFlow was asked; how it is written can be told at once."""
    if asked not in ("auto", "gpu"):
        StepConfig(device=asked)


def _look_at(data: str) -> tuple[int, float, str]:
    """Classes, images to train on, and the data set's name or absolute path (workers run in another directory)."""
    if data == "synthetic":
        return StepConfig().classes, math.inf, data
    from gnet_core.datasets import absolute, open_data

    dataset = open_data(data)
    return dataset.classes, len(dataset.train), absolute(data)


def make_config(**values: Any) -> StepConfig:
    """A StepConfig of what the command line gave; its constructor refuses what is no choice."""
    return StepConfig(**values)


def _default_directory(kind: str, detail: str) -> Path:
    """reports/<date-time>-<kind>-<detail> in the checkout, or here where there is none."""
    stamp = datetime.datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    root = _checkout_or_none() or Path.cwd()
    return root / "reports" / "-".join(part for part in (stamp, kind, detail.replace(":", "")) if part)


def _checkout_or_none() -> Path | None:
    from gnet_core import runner

    try:
        return runner.find_checkout(Path.cwd())
    except GnetError:
        return None


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GnetError(f"run_dir: {directory} cannot be written ({error.strerror})") from error


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=1, allow_nan=False))
