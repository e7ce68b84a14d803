"""Makes pytest run the benchmark modules: one case that a runner names, or a preset's cases when run by hand."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnet_core.config import StepConfig
from gnet_core.frameworks import installed
from gnet_core.frameworks.base import why_unsupported
from gnet_core.machine.devices import choose_device, precision_support
from gnet_core.machine.environment import Environment
from gnet_core.plan.suites import PRESETS, Plan, Sweep, preset_for
from gnet_core.run.discovery import declared_suites
from gnet_core.run.protocol import Channel
from gnet_core.run.timer import Timer, Turns, worker_environment
from gnet_core.system.cluster import Cluster
from gnet_core.time_to_accuracy import worker as sessions
from gnet_core.time_to_accuracy.task import SessionTask

_CHECKOUT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gnet")
    group.addoption("--preset", choices=PRESETS, default="smoke", help="the cases to run by hand (default: smoke)")
    group.addoption("--gnet-case", metavar="JSON", help="the one case to run, as gnet bench names it")
    group.addoption("--gnet-plan", metavar="JSON", help="how long and how often to measure it")
    group.addoption("--gnet-cluster", metavar="JSON", help="the workers of the case and which of them this process is")
    group.addoption("--gnet-session", metavar="JSON", help="the session to train, as gnet bench names it")
    group.addoption("--gnet-run", metavar="ID", default="", help="the run that its raw file belongs to")
    group.addoption("--gnet-channel", metavar="FD", type=int, help="descriptor of the runner's channel")


def pytest_configure(config: pytest.Config) -> None:
    """A warning is no failure of a measurement, as it is of a test."""
    config.addinivalue_line("filterwarnings", "default")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every function that asks for a `case` the runner's case, or each of its suite's."""
    if "case" not in metafunc.fixturenames:
        return
    options = metafunc.config.option
    if options.gnet_case:
        parameters = [pytest.param(_the_case(options.gnet_case))]
    else:
        environment = _environment_by_hand()
        device = choose_device("auto", environment)
        preset = preset_for(options.preset, device)
        template = StepConfig(device=device, image_size=preset.image_size)
        sweep = Sweep(preset=preset, template=template)
        suites = declared_suites(vars(metafunc.module))
        cases = list(dict.fromkeys(case for suite in suites for case in suite.cases(sweep)))
        reasons = [_why_not(case, environment) for case in cases]
        marks = [[pytest.mark.skip(reason=reason)] if reason else [] for reason in reasons]
        parameters = [pytest.param(case, marks=each) for case, each in zip(cases, marks, strict=True)]
    metafunc.parametrize("case", parameters, ids=lambda case: case.name)


def _the_case(text: str) -> StepConfig:
    return StepConfig.from_dict(json.loads(text))


@functools.cache
def _environment_by_hand() -> Environment:
    return installed.environment(_CHECKOUT)


def _why_not(case: StepConfig, environment: Environment) -> str:
    """Why a case cannot be run by hand here; empty where it can."""
    if case.framework == "jax":
        return "Keras has one backend a process; gnet bench gives JAX one of its own"
    if case.total_replicas > 1:
        return "a process has one number of devices; gnet bench gives each case processes of its own"
    support = precision_support(environment, case.device, case.framework)[case.precision]
    return why_unsupported(case, environment) or ("" if support.supported else support.reason)


@pytest.fixture(scope="session")
def channel(request: pytest.FixtureRequest) -> Iterator[Channel | None]:
    """The way to the runner, if one started this worker."""
    descriptor = request.config.option.gnet_channel
    channel = Channel.inherited(descriptor) if descriptor is not None else None
    yield channel
    if channel:
        channel.close()


@pytest.fixture(scope="session")
def timer(request: pytest.FixtureRequest, channel: Channel | None) -> Timer:
    """The clock of this worker, taking its turns from the runner if there is one."""
    options = request.config.option
    plan = Plan(**json.loads(options.gnet_plan)) if options.gnet_plan else preset_for(options.preset, "cpu").plan
    cluster = msgspec.json.decode(options.gnet_cluster, type=Cluster) if options.gnet_cluster else None
    return Timer(plan, Turns(channel), options.gnet_run, cluster)


@pytest.fixture
def time_train_step(benchmark: Any, timer: Timer) -> Callable[[StepConfig], None]:
    """Measures a case's train step, as pytest-benchmark's one benchmark of a test function; or follows the worker that
    does.
    """
    return functools.partial(timer.time_train_step, benchmark) if timer.reports else timer.follow_train_step


@pytest.fixture
def train_session(
    benchmark: Any, request: pytest.FixtureRequest, channel: Channel | None, tmp_path: Path
) -> Callable[[], None]:
    """Trains the session that the runner names, or a short one by hand, as one round of pytest-benchmark."""
    word = request.config.option.gnet_session
    if word:
        task = SessionTask.from_word(word)
    else:
        task = SessionTask.by_hand(tmp_path / "session", choose_device("auto", _environment_by_hand()))
    return functools.partial(sessions.train_session, benchmark, task, channel)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Keep the machine and the framework that were measured beside the samples, as gnet bench has told them before."""
    chosen = config.option.gnet_case
    framework = _the_case(chosen).framework if chosen else _environment_by_hand().leading
    machine_info["gnet"] = msgspec.to_builtins(worker_environment(_CHECKOUT, framework))
