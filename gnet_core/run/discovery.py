"""The cases that a checkout declares, and where they can be measured."""

from __future__ import annotations

import dataclasses
import functools
import math
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import migrations
from gnet_core.files.json_documents import typed
from gnet_core.frameworks.base import why_another_gpu, why_unsupported
from gnet_core.machine.devices import precision_support, require_precision
from gnet_core.machine.environment import Environment
from gnet_core.machine.setting_effects import SettingEffect, setting_effects, why_left_out
from gnet_core.plan.request import InfoRequest, program_words
from gnet_core.plan.suites import PlannedCase, Source, Suite
from gnet_core.run.endings import reason
from gnet_core.run.standing import CaseState
from gnet_core.system import children
from gnet_core.system.git import commit

Sources = Mapping[str, Source]
Environments = Mapping[str, Environment]

PROBE_LIMIT_SECONDS = 180

_NOTHING: Mapping[str, str] = MappingProxyType({})


def find_checkout(start: Path) -> Path:
    """The folder at or above `start` whose benchmarks/ a run drives. Raises GnetError outside a checkout."""
    for folder in (start, *start.parents):
        if (folder / "benchmarks" / "conftest.py").is_file() and (folder / "gnet_core").is_dir():
            return folder
    raise GnetError(
        f"checkout: {start} is not in one; gnet bench drives the files in benchmarks/, so run it in a checkout"
    )


def discover(checkout: Path) -> list[Suite]:
    """The suites that benchmarks/bench_*.py declare, by their position. Raises GnetError naming a broken file."""
    suites = []
    for module in sorted((checkout / "benchmarks").glob("bench_*.py")):
        try:
            here = declared_suites(runpy.run_path(str(module)))
        except KeyboardInterrupt:
            raise
        except GnetError as error:
            raise GnetError(f"benchmarks: {module.name}: {error}") from error
        except BaseException as error:  # also what ends a program, or skips a file of tests
            raise GnetError(f"benchmarks: {module.name} declares no SUITE that can be read: {error!r:.300}") from error
        suites += [dataclasses.replace(suite, module=module.name) for suite in here]
    return sorted(suites, key=lambda suite: (suite.position, suite.name))


def declared_suites(module: Mapping[str, Any]) -> tuple[Suite, ...]:
    """The suites of a benchmark module, from its names: its SUITE, or its SUITES where it answers several questions.
    None is declared by what times no steps. Raises KeyError and TypeError where it declares nothing of the kind.
    """
    suites = module["SUITES"] if "SUITES" in module else (module["SUITE"],)
    if suites == (None,):
        return ()
    if wrong := [suite for suite in suites if not isinstance(suite, Suite)]:
        raise TypeError(f"SUITE is {wrong[0]!r:.60}")
    return tuple(suites)


def choose_suites(suites: Sequence[Suite], names: Sequence[str], preset: str) -> list[Suite]:
    """Those named by themselves or by their topic; when none is, all that the preset has. Raises GnetError for a name
    that no module declares.
    """
    known = dict.fromkeys(name for suite in suites for name in (suite.topic, suite.name) if name)
    for name in names:
        if name not in known:
            raise GnetError(f"suite: {name!r} is unknown; use one of {', '.join(known)}")
    return [
        suite for suite in suites if (suite.name in names or suite.topic in names if names else preset in suite.presets)
    ]


def probe(source: Source, *, observe: bool = False) -> Environment:
    """What the source's interpreter sees of machine and frameworks under its variables, with its commit; on request
    with what a few operations show of TensorFlow. Raises GnetError naming it.
    """
    asked = " ".join(f"{variable}={value}" for variable, value in source.variables.items())
    where = f"python: {' '.join(filter(None, (asked, source.python)))}"
    command = [source.python, "-m", *program_words(InfoRequest(as_json=True, observe=observe))]
    document = _document_of(
        command, source.checkout, where, "about its frameworks", "describe its frameworks", source.variables
    )
    environment = typed(f"{where} described its frameworks otherwise than gnet does", document, Environment)
    machine = msgspec.structs.replace(environment.machine, commit=commit(source.checkout))
    return msgspec.structs.replace(environment, machine=machine)


_PRINT_DEFAULTS = "import json; from gnet_core.config import StepConfig; print(json.dumps(StepConfig().to_dict()))"


def default_fields(checkout: Path) -> dict[str, Any]:
    """StepConfig's fields, with their defaults, in a checkout's code of any age. Raises GnetError where it has none."""
    command, where = [sys.executable, "-c", _PRINT_DEFAULTS], f"checkout: {checkout}"
    return _document_of(command, checkout, where, "what a case is there", "tell what a case is there")


def _document_of(
    command: Sequence[str], checkout: Path, where: str, question: str, task: str, asked: Mapping[str, str] = _NOTHING
) -> dict[str, Any]:
    """The JSON object that a command prints in a checkout. Raises GnetError that begins with `where`."""
    try:
        answer = children.ask(command, cwd=checkout, limit_seconds=PROBE_LIMIT_SECONDS, asked=asked)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GnetError(f"{where} could not be asked {question} ({error})") from error
    try:
        return dict(children.document(answer.stdout))
    except ValueError:
        raise GnetError(f"{where} could not {task}; it said: {reason(answer.stderr)}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probed:
    """What the interpreters of a run's sources said of themselves."""

    environments: dict[str, Environment]
    """The environment of each that answered, by its name (see Source.environment_name), sources first."""
    effects: dict[str, tuple[SettingEffect, ...]]
    """By source, whether each of its variables acts."""
    missing: dict[str, str]
    """By source that cannot be measured, why not, in a sentence."""


def probe_all(sources: Sequence[Source], here: Path) -> Probed:
    """Ask the interpreter of each source, and those of frameworks that have one of their own. `here` is the folder of
    the working tree's code; an older revision's cannot observe what settings do. Raises GnetError where the first
    source, the base of all comparisons, cannot be measured.
    """
    with_settings = any(source.variables for source in sources)

    @functools.cache
    def probed(python: str, checkout: Path, assigned: tuple[tuple[str, str], ...] = ()) -> Environment:
        source = Source(python=python, checkout=checkout, variables=dict(assigned))
        return probe(source, observe=with_settings and checkout == here)

    answered = Probed(environments={}, effects={}, missing={})
    for source in sources:
        try:
            if source.missing:
                raise GnetError(source.missing)
            environment = probed(source.python, source.checkout, tuple(source.variables.items()))
            if why := why_left_out(source.variables, environment):
                raise GnetError(f"set: {source.name}: {why}")
            without = _probed_without(probed, source) if source.variables else environment
        except GnetError as error:
            if source is sources[0]:
                hint = "; it is what the others are compared with, so name another by --base" if sources[1:] else ""
                raise GnetError(f"{error}{hint}") from error
            answered.missing[source.name] = str(error)
        else:
            answered.environments[source.name] = environment
            answered.effects[source.name] = setting_effects(source.variables, environment, without)
    for source in sources:
        for framework, python in source.peers.items():
            answered.environments[framework] = probed(python, source.checkout)
    return answered


def _probed_without(probed: Callable[[str, Path], Environment], source: Source) -> Environment | None:
    """The environment of the source's interpreter without its variables; None where it fails without them."""
    try:
        return probed(source.python, source.checkout)
    except GnetError:
        return None


def deciding(environments: Environments) -> Environment:
    """The environment whose devices a run's are: the first in which there is a framework."""
    first = next(iter(environments.values()))
    return next((each for each in environments.values() if each.section(each.leading)), first)


def make_states(
    planned: Sequence[PlannedCase], sources: Sources, probed: Probed, most_images: float = math.inf
) -> list[CaseState]:
    """A state for each case; one that cannot be run (see `why_not`) or that its source's code does not know is
    `unsupported` from the start. Raises GnetError where nothing else is left.
    """
    environments = probed.environments
    reasons = {case: why_not(case, sources, probed, most_images) for case in planned}
    if all(reasons.values()):
        config, source = planned[0].config, sources[planned[0].source]
        environment = environments[source.environment_name(config.framework)]
        if why := why_unsupported(config, environment, _other_python(source, config)):
            raise GnetError(f"framework: {config.framework!r} cannot be measured: {why}")
        require_precision(config.precision, config.device, environment)
        why = f"{reasons[planned[0]]}, so use at most {most_images}"
        raise GnetError(f"batch_size: {config.batch_size} is too large; {why}")
    checkouts = {source.checkout for source in sources.values()}
    if len(checkouts) > 1:  # one is of this code
        defaults = {checkout: default_fields(checkout) for checkout in checkouts}
        for case, reason in reasons.items():
            reasons[case] = why_not_in_code(case.config, defaults[sources[case.source].checkout]) or reason
    return [CaseState(case=case, status="unsupported" if why else None, note=why) for case, why in reasons.items()]


def why_not(case: PlannedCase, sources: Sources, probed: Probed, most_images: float = math.inf) -> str:
    """Why a case cannot be run from its source, with data of so many images; empty where it can."""
    if why := probed.missing.get(case.source):
        return why
    config, source, environments = case.config, sources[case.source], probed.environments
    environment = environments[source.environment_name(config.framework)]
    support = precision_support(environment, config.device, config.framework)[config.precision]
    return (
        why_unsupported(config, environment, _other_python(source, config))
        or why_another_gpu(config, environment, deciding(environments))
        or ("" if support.supported else support.reason)
        or ("" if config.batch_size <= most_images else f"the data has only {most_images} images to train on")
    )


def why_not_in_code(config: StepConfig, defaults: Mapping[str, Any]) -> str:
    """Why code with these `default_fields` would not measure the case from what a worker is sent, or ""."""
    sent = config.overrides()
    if unknown := [field for field in sent if field not in defaults]:
        return f"this revision has no {unknown[0]}, of which {sent[unknown[0]]!r} was asked"
    try:
        differences = migrations.read_config({**defaults, **sent}).differences(config)
    except GnetError as error:  # it has a field that this version does not know
        return str(error)
    texts = [f"{field} {theirs!r}, where {ours!r} was asked" for field, (theirs, ours) in differences.items()]
    return f"this revision measures {'; '.join(texts)}" if texts else ""


def _other_python(source: Source, config: StepConfig) -> str:
    """The interpreter that would run the case, where it is not gnet's own."""
    python = source.interpreter(config.framework)
    return "" if python == sys.executable else python
