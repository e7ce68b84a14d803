"""What of an environment decides a speed: figures belong to one history only where these agree."""

from __future__ import annotations

from gnet_core.machine.differences import differences
from gnet_core.machine.environment import Environment
from gnet_core.system import variables


def same_hardware(first: Environment, second: Environment) -> bool:
    """Whether the two are of one machine, or of two that are alike, with the same driver of their GPUs."""
    return not any(difference.kind == "hardware" for difference in differences(first, second))


def driver(environment: Environment) -> str:
    """The version of the GPUs' driver; empty where there is no GPU."""
    return ", ".join(dict.fromkeys(gpu.driver for gpu in environment.machine.gpus))


def tuning(environment: Environment) -> tuple[tuple[str, str], ...]:
    """The environment variables, with their values, that change how something computes."""
    return tuple(sorted(variables.tuning(environment.machine.environment_variables).items()))
