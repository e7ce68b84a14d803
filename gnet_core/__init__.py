"""GNET: how fast GoogleNet_2's TensorFlow train step runs here, and where its time goes.

The public names load on first use, so that `import gnet_core` does not import TensorFlow. Before anything else the
package sees to it that a case is what it says, whatever the environment asks for (see gnet_core.system.settings), and
that TensorFlow will find NVIDIA's libraries (see gnet_core.machine.cuda_libraries).
"""

import importlib
from typing import Any

from gnet_core.machine import cuda_libraries
from gnet_core.system import settings

settings.hold_process()
cuda_libraries.load_before_tensorflow()

_HOME = {
    "GnetError": "config",
    "StepConfig": "config",
    "GoogleNet_2": "frameworks.tf.model",
    "build_model": "frameworks.tf.model",
    "classifier_layer": "networks.googlenet",
    "inception_layer": "networks.googlenet",
    "make_test_step": "frameworks.tf.step",
    "make_train_step": "frameworks.tf.step",
    "load_run": "results.records",
    "train": "training.training",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
