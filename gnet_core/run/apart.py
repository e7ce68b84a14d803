"""What is measured apart from the cases, by a command in a process of its own: a trace, and the device's peaks."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Sequence

import msgspec

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import whole
from gnet_core.plan.request import PeaksRequest, ProfileRequest, Request, program_words
from gnet_core.results.run_document import Peaks
from gnet_core.run.worker import RunSettings
from gnet_core.system import children


def profile_case(config: StepConfig, settings: RunSettings) -> str:
    """Trace a case in a process of its own, into traces/<case>, whole or not at all; return why not, or ""."""
    traces = settings.directory / "traces"
    partial = settings.directory / f"{whole.PARTIAL_PREFIX}{secrets.token_hex(8)}"
    try:
        request = ProfileRequest.of(config, out=partial, as_json=True)
        whole.make_own_folder(traces)
        _ask(request, settings)
        shutil.rmtree(traces / config.name, ignore_errors=True)  # what is left of one that was whole
        partial.replace(traces / config.name)
    except (OSError, GnetError) as error:
        return str(error)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return ""


def peaks(device: str, precisions: Sequence[str], settings: RunSettings) -> Peaks:
    """The device's best by precision (see gnet_core.frameworks.tf.peaks), or {"error": why that is unknown}."""
    try:
        printed = _ask(PeaksRequest(device=device, precision=tuple(precisions)), settings)
    except GnetError as error:
        return {"error": str(error)}
    try:
        return msgspec.convert(children.document(printed), Peaks)
    except ValueError:  # no JSON, or no peaks
        return {"error": f"it said {printed[:80]!r}"}


def _ask(request: Request, settings: RunSettings) -> str:
    """The output of a command that is run as a child. Raises GnetError with why it failed."""
    source, limit = settings.own_source, settings.plan.limit_seconds
    command = [source.python, "-m", *program_words(request)]
    try:
        answer = children.ask(command, cwd=source.checkout, limit_seconds=limit, asked=source.variables)
    except subprocess.TimeoutExpired:
        raise GnetError(f"{' '.join(request.program)} had not finished after {limit:g} s") from None
    except OSError as error:
        raise GnetError(f"{' '.join(request.program)} could not be started ({error})") from error
    if answer.returncode != 0:
        raise GnetError(children.last_words(answer.stderr))
    return answer.stdout
