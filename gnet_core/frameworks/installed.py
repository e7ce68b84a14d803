"""The frameworks that this interpreter has, and the description that each gives of itself.

PyTorch and JAX are each asked in a process of their own: what one framework loads, CUDA's libraries before all, is not
what another would find.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from gnet_core.config import FRAMEWORKS, Framework
from gnet_core.frameworks import base
from gnet_core.machine import environment as machine
from gnet_core.machine.capabilities import PEERS
from gnet_core.system import children

LIMIT_SECONDS = 120


def environment(checkout: Path | None = None) -> dict[str, Any]:
    """The machine and every framework, as gnet_core.machine.capabilities has it; `checkout` adds its commit.

    A peer that cannot be asked says why in "error". Raises GnetError for a variable that would end TensorFlow.
    """
    installed = {framework: importlib.util.find_spec(framework) is not None for framework in FRAMEWORKS}
    tensorflow = base.describe("tensorflow") if installed["tensorflow"] else None
    peers: dict[str, Any] = {
        framework: _describe_apart(framework) if installed[framework] else None for framework in PEERS
    }
    return {"machine": machine.describe(checkout), "tensorflow": tensorflow, **peers}


def _describe_apart(framework: Framework) -> dict[str, Any]:
    """The framework's description of itself in a process of its own; under "error" why there is none."""
    command = [sys.executable, "-m", __name__, framework]
    try:
        answer = children.ask(command, cwd=Path(__file__).parents[2], limit_seconds=LIMIT_SECONDS)
        section: dict[str, Any] = children.document(answer.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"it had not told of itself after {LIMIT_SECONDS} s"}
    except OSError as error:
        return {"error": f"no process could be started to ask it ({error.strerror or error})"}
    except ValueError:
        last = children.last_words(answer.stderr)
        silent = f"the process that asked it ended with status {answer.returncode}, saying nothing"
        return {"error": silent if last == "nothing" else f"{last:.300}"}
    return section


if __name__ == "__main__":
    print(json.dumps(base.describe(sys.argv[1])))  # type: ignore[arg-type]
