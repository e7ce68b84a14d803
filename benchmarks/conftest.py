"""Makes pytest run the benchmark modules: one case that a runner names, or a preset's cases when run by hand."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gnet_core.config import StepConfig
from gnet_core.protocol import Channel
from gnet_core.sweep import PRESETS, Plan, Sweep, preset_for
from gnet_core.timing import Timer, Turns, default_device, worker_environment


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gnet")
    group.addoption("--preset", choices=PRESETS, default="smoke", help="the cases to run by hand (default: smoke)")
    group.addoption("--gnet-case", metavar="JSON", help="the one case to run, as gnet bench names it")
    group.addoption("--gnet-plan", metavar="JSON", help="how long and how often to measure it")
    group.addoption("--gnet-channel", metavar="FD", type=int, help="descriptor of the runner's channel")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every function that asks for a `case` the runner's case, or each of its suite's."""
    if "case" not in metafunc.fixturenames:
        return
    options = metafunc.config.option
    if options.gnet_case:
        cases = [StepConfig.from_dict(json.loads(options.gnet_case))]
    else:
        device = default_device()
        preset = preset_for(options.preset, device)
        template = StepConfig(device=device, image_size=preset.image_size)
        cases = metafunc.module.SUITE.cases(Sweep(preset=preset, template=template))
    metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="session")
def timer(request: pytest.FixtureRequest) -> Iterator[Timer]:
    """The clock of this worker, taking its turns from the runner if one started it."""
    options = request.config.option
    plan = Plan(**json.loads(options.gnet_plan)) if options.gnet_plan else _plan_by_hand(options.preset)
    channel = Channel.inherited(options.gnet_channel) if options.gnet_channel is not None else None
    yield Timer(plan, Turns(channel))
    if channel:
        channel.close()


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Keep the machine and the TensorFlow that were measured beside the samples."""
    machine_info["gnet"] = worker_environment()


def _plan_by_hand(preset: str) -> Plan:
    return preset_for(preset, default_device()).plan
