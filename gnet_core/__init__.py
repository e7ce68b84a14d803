"""GNET: how fast GoogleNet_2's TensorFlow train step runs here, and where its time goes.

With the names of `__all__` one declares a suite and reads its run, builds the network and its step, and trains it on
data; each one's docstring has an example. They load on first use, so that `import gnet_core` does not import
TensorFlow. Whatever is imported, a case is what it says (gnet_core.system.settings) and TensorFlow will find NVIDIA's
libraries (gnet_core.machine.cuda_libraries).
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from gnet_core.machine import cuda_libraries
from gnet_core.system import settings

if TYPE_CHECKING:
    from gnet_core.config import GnetError as GnetError
    from gnet_core.config import StepConfig as StepConfig
    from gnet_core.datasets.catalog import open_data as open_data
    from gnet_core.frameworks.tf.model import GoogleNet_2 as GoogleNet_2
    from gnet_core.frameworks.tf.model import build_model as build_model
    from gnet_core.frameworks.tf.step import make_train_step as make_train_step
    from gnet_core.plan.suites import Suite as Suite
    from gnet_core.plan.suites import Sweep as Sweep
    from gnet_core.results.records import load_run as load_run
    from gnet_core.training.training import train as train

settings.hold_process()
cuda_libraries.load_before_tensorflow()

_HOME = {
    "StepConfig": "config",
    "GnetError": "config",
    "Suite": "plan.suites",
    "Sweep": "plan.suites",
    "load_run": "results.records",
    "GoogleNet_2": "frameworks.tf.model",
    "build_model": "frameworks.tf.model",
    "make_train_step": "frameworks.tf.step",
    "open_data": "datasets.catalog",
    "train": "training.training",
}

_MOVED = {
    "make_test_step": "frameworks.tf.step",
    "classifier_layer": "networks.googlenet",
    "inception_layer": "networks.googlenet",
}
"""Names that were public. No job is finished with one alone: the layers take a builder, the test step batches."""

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    home = f"{__name__}.{_HOME.get(name) or _MOVED.get(name)}"
    if name in _MOVED:
        warnings.warn(f"{__name__}.{name} has moved; import it from {home}", DeprecationWarning, stacklevel=2)
    elif name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
