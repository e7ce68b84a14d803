"""The command `gnet`: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import importlib
import json
import os
import shutil
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnet_core.cli import options
from gnet_core.cli.bench import bench
from gnet_core.cli.compare import compare
from gnet_core.cli.data import data_group
from gnet_core.cli.export import export
from gnet_core.cli.gpu_check import gpu_check
from gnet_core.cli.history import history
from gnet_core.cli.output import BAD_USAGE, FINE, INTERRUPTED, UNEXPECTED, complain, print_json
from gnet_core.cli.predict import predict
from gnet_core.cli.report import print_profile, report
from gnet_core.cli.train import train
from gnet_core.config import GnetError, StepConfig, require_choice
from gnet_core.plan.request import InfoRequest, ProfileRequest
from gnet_core.system import interrupts, streams

if TYPE_CHECKING:
    from gnet_core.machine.environment import Environment


def main() -> None:
    """Run the command line and exit with what the help of `gnet` lists."""
    try:
        status = _status_of(_run)
        if lost := streams.flush():
            complain(f"output: {lost.strerror}, so not all of it was printed")
            # A terminal that was closed has sent SIGHUP, and takes no output any more.
            status = INTERRUPTED if status == INTERRUPTED else BAD_USAGE
    except KeyboardInterrupt:  # a second one, while the first is reported
        status = INTERRUPTED
    if sys.flags.inspect:  # PYTHONINSPECT in the environment: Python would ask for commands, and end with 1 or 0
        os._exit(status)
    sys.exit(status)


def _run() -> Any:
    streams.install()
    interrupts.install()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; Matplotlib refuses to load where this names no backend
    for name in [name for name in os.environ if name.startswith("TQDM_") and name != "TQDM_DISABLE"]:
        del os.environ[name]  # settings of other programs' bars; one that ours cannot be drawn with would end a run
    return commands.main(standalone_mode=False)


def _status_of(command: Callable[[], Any]) -> int:
    """The exit status of a command; an error is one line on stderr."""
    try:
        return command() or FINE
    except (click.ClickException, GnetError) as error:
        complain(error.format_message() if isinstance(error, click.ClickException) else str(error))
        return BAD_USAGE
    except (KeyboardInterrupt, click.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # which click takes for the end of what a user types
            return _unexpected(error.__cause__)
        complain("interrupted")
        return INTERRUPTED
    except BaseException as error:  # also what a library raises in order to exit
        if not (outside := _of_the_machine(error)):
            return _unexpected(error)
        complain(outside)
        return BAD_USAGE


def _of_the_machine(error: BaseException) -> str:
    """What is wrong with the machine or the installation and not with gnet; empty where it is none of that."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("gnet_core"):
        return f"{error.name}: it is not installed here; pip install -e '.[cpu]' (or '.[gpu]') in the checkout"
    if isinstance(error, ImportError) and not str(error.name).startswith("gnet_core"):
        return f"{error!s:.300}: an installed package cannot be loaded; install it anew, or look into PYTHONPATH"
    # Errors of writing to a file that is open do not name it; others without a name are of sockets and the like.
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _OF_THE_DISK):
        return f"{error.filename or 'output'}: {error.strerror or error}"
    return ""


_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def _unexpected(error: BaseException) -> int:
    """Say in one line that there is a fault in gnet, and where its traceback is: stderr if GNET_TRACEBACK is set."""
    if isinstance(error, MemoryError):
        complain("out of memory; end other programs, or ask for smaller batches or images")
        return UNEXPECTED
    text = "".join(traceback.format_exception(error))
    line = f"unexpected {type(error).__name__}: {error!s:.300}; please report it"
    if not os.environ.get("GNET_TRACEBACK"):
        with contextlib.suppress(OSError):  # there is no room for it but on the terminal
            with tempfile.NamedTemporaryFile(
                "w", prefix="gnet-traceback-", suffix=".txt", encoding="utf-8", errors="backslashreplace", delete=False
            ) as file:
                file.write(text)
            complain(f"{line} with {file.name}")
            return UNEXPECTED
    complain(line)
    print(text, end="", file=sys.stderr)
    return UNEXPECTED


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 fine; 1 a gate of --fail-on failed, or a claim of gpu-check is wrong; 2 bad usage or input, "
    "or no room to write; 3 cases failed or cannot be read, or images are broken; 70 an unexpected error, which is a "
    "fault in gnet (GNET_TRACEBACK=1 prints all of it); 130 interrupted.",
)
@click.version_option(package_name="gnet")
def commands() -> None:
    """How fast does GoogleNet_2's TensorFlow train step run here, and where does its time go?"""


for _command in (bench, compare, data_group, export, gpu_check, history, predict, report, train):
    commands.add_command(_command)


_DOCUMENTS = {
    "run": ("results.run_document", "RunDocument"),
    "raw": ("results.raw_files", "RawFile"),
    "profile": ("profile.document", "Profile"),
    "info": ("machine.overview", "Info"),
    "cases": ("report.run", "RunReport"),
    "fleet": ("report.fleet", "FleetReport"),
    "training": ("training.document", "Training"),
    "time-to-accuracy": ("time_to_accuracy.document", "TimeToAccuracy"),
}
"""The module of gnet_core and the type of each document that has a schema."""


@commands.command()
@click.argument("document", default="run", metavar="[run|raw|profile|info|cases|fleet|training|time-to-accuracy]")
def schema(document: str) -> int:
    """Print the JSON Schema of run.json, of a raw file, of profile.json, of training.json, of time_to_accuracy.json, or
    of what `gnet info --json` (info), `gnet report --json` (cases) or `gnet compare --json` of hosts (fleet) prints.
    """
    import msgspec

    require_choice("document", document, tuple(_DOCUMENTS))
    module, name = _DOCUMENTS[document]
    kind = getattr(importlib.import_module(f"gnet_core.{module}"), name)
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)})
    return FINE


@commands.command()
@click.option("--observe", is_flag=True, help="Run a few operations, and tell what TensorFlow does with the settings.")
@options.as_json
@options.takes(InfoRequest)
def info(request: InfoRequest) -> int:
    """Tell the devices, the frameworks, why they see no GPU, what each precision should do here, and warnings."""
    import msgspec
    from tabulate import tabulate

    from gnet_core.frameworks import installed
    from gnet_core.machine import gpu_chain, overview

    described = overview.info(installed.environment(observe=request.observe))
    if request.as_json:
        print_json(msgspec.to_builtins(described))
        return FINE
    lines = [*overview.as_lines(described), *gpu_chain.as_lines(described)]
    print(tabulate(lines, tablefmt="plain", disable_numparse=True))
    rows = [
        (device, precision, "yes" if support.supported else "no", "yes" if support.pays else "no", support.reason)
        for device, precisions in described.precisions.items()
        for precision, support in precisions.items()
    ]
    print("\n" + tabulate(rows, headers=("device", "precision", "runs", "should pay", "because")))
    for warning in described.warnings:
        print(f"\nNote: {warning}")
    return FINE


@commands.command()
@options.data("synthetic")
@click.option("--batch-size", type=options.WHOLE, default=8, show_default=True)
@click.option("--image-size", type=options.WHOLE, default=224, show_default=True, help="Pixels a side.")
@click.option("--classes", type=options.WHOLE, help="Labels there are; else as many as the data has.")
@click.option("--part", default="train", show_default=True, metavar="train|gradients|forward", help="How much of it.")
@click.option("--steps", type=options.WHOLE, default=5, show_default=True, help="Whole steps to trace, at most 10.")
@options.step
@options.number("--learning-rate", "Adam's.")
@options.out("<date-time>-profile-<device>")
@options.takes(ProfileRequest)
def profile(request: ProfileRequest) -> int:
    """Trace whole train steps for TensorBoard's Profile page, and tell where their time went."""
    from gnet_core.config import require_steps
    from gnet_core.datasets.catalog import absolute, open_data
    from gnet_core.files.whole import require_empty
    from gnet_core.system.claims import claimed_empty

    # What can be refused at once is refused before any data is opened, and before TensorFlow is asked for its devices.
    data = absolute(request.data)
    options.require_utf8("data", data)
    config = request.config(device="cpu", data=data, classes=StepConfig.classes)
    options.require_case_name(config.name)
    require_steps(request.steps)
    options.require_device_form(request.device)
    if request.out is not None:
        require_empty(request.out)
    if data != "synthetic":
        config = request.config(device="cpu", data=data, classes=open_data(data).classes)
    from gnet_core.frameworks.tf import command_buffers

    if config.execution == "xla":  # whatever the device will be: on a CPU there are none
        command_buffers.switch_off(os.environ)
    from gnet_core.frameworks.tf import device as devices
    from gnet_core.machine.devices import require_precision
    from gnet_core.report import profile as profile_report

    environment = devices.environment(options.checkout_or_none())
    config = dataclasses.replace(config, device=options.choose_device(request.device, environment))
    require_precision(config.precision, config.device, environment)
    out = request.out or options.default_directory("profile", config.device)
    with claimed_empty(out):
        _trace(config, environment, out, request.steps)
        document = profile_report.write(out)
    print_profile(document, out, as_json=request.as_json)
    return FINE


def _trace(config: StepConfig, environment: Environment, out: Path, steps: int) -> None:
    """Write a trace and the run.json that tells of it; neither where something goes wrong or is interrupted."""
    import msgspec

    from gnet_core.files.whole import RUN_FORMAT_VERSION, write_whole
    from gnet_core.frameworks.tf import trace

    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, out / "traces", ignore_errors=True)
        document = {
            "format_version": RUN_FORMAT_VERSION,
            "kind": "profile",
            "run": uuid.uuid4().hex,
            "created": options.now(),
            "device": config.device,
            "config": config.to_dict(),
            "environment": msgspec.to_builtins(environment),
            "trace": trace.trace_case(config, out / "traces", steps).to_dict(out),
        }
        write_whole(out / "run.json", json.dumps(document, indent=1))
        undo.pop_all()
