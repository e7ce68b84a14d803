"""The frameworks that this interpreter has, and the description that each gives of itself.

PyTorch and JAX are each asked in a process of their own: what one framework loads, CUDA's libraries before all, is not
what another would find.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import msgspec

from gnet_core.config import Framework
from gnet_core.frameworks import base
from gnet_core.machine import description
from gnet_core.machine.environment import Environment, Peer
from gnet_core.system import children, settings

LIMIT_SECONDS = 120


def environment(checkout: Path | None = None, *, observe: bool = False) -> Environment:
    """The machine with every framework and the checkout's commit; on request with what TensorFlow's operations show of
    its settings. Raises GnetError for what would end TensorFlow.
    """
    tensorflow = base.describe("tensorflow") if _is_installed("tensorflow") else None
    if tensorflow and observe:
        from gnet_core.frameworks.tf.observed import observe as observe_tensorflow

        tensorflow = msgspec.structs.replace(tensorflow, observed=observe_tensorflow())
    return Environment(
        tensorflow=tensorflow,
        torch=_describe_apart("torch") if _is_installed("torch") else None,
        jax=_describe_apart("jax") if _is_installed("jax") else None,
        machine=description.describe(checkout),
    )


def _is_installed(framework: Framework) -> bool:
    return importlib.util.find_spec(framework) is not None


def _describe_apart(framework: Framework) -> Peer:
    command = [sys.executable, "-m", __name__, framework]
    try:
        checkout = Path(__file__).parents[2]
        answer = children.ask(command, cwd=checkout, limit_seconds=LIMIT_SECONDS, asked=settings.asked())
        return msgspec.convert(children.document(answer.stdout), Peer)
    except subprocess.TimeoutExpired:
        return Peer(error=f"it had not told of itself after {LIMIT_SECONDS} s")
    except OSError as error:
        return Peer(error=f"no process could be started to ask it ({error.strerror or error})")
    except (ValueError, msgspec.ValidationError):
        last = children.last_words(answer.stderr)
        silent = f"the process that asked it ended with status {answer.returncode}, saying nothing"
        return Peer(error=silent if last == "nothing" else f"{last:.300}")


if __name__ == "__main__":
    print(msgspec.json.encode(base.describe(sys.argv[1])).decode())  # type: ignore[arg-type]
