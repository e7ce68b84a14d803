"""Which cases a run has: presets, a suite's declaration, and the sweep that turns both into StepConfigs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

from gnet_core.config import Execution, GnetError, Precision, StepConfig, require_choice

Axis = Literal["execution", "precision", "batch_size"]
PresetName = Literal["smoke", "quick", "full"]

PRESETS: tuple[PresetName, ...] = get_args(PresetName)
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how often a worker measures its case."""

    warmup_steps: int = 2
    """Steps after the first one that are run before any is timed."""
    turns: int = 3
    """Blocks timed a worker."""
    block_seconds: float = 0.5
    """A block is as many steps as fill this, at least one."""
    limit_seconds: float = 300.0
    """A worker that has not finished after this is stopped and its case is a timeout."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """What a run sweeps and how thoroughly it measures, for one kind of device."""

    name: PresetName
    image_size: int
    batch_size: int
    """Where a suite does not vary it."""
    throughput_batch_size: int
    batch_sizes: tuple[int, ...]
    executions: tuple[Execution, ...] = ("graph", "eager", "xla")
    precisions: tuple[Precision, ...] = ("float32", "mixed_bfloat16")
    replicates: int = 1
    plan: Plan = Plan()


_POWERS_OF_TWO = tuple(2**n for n in range(12))  # from 4096 on, the stem's map has more values than an int32 counts
_QUICK_PLAN = Plan(turns=5, limit_seconds=300)
_FULL_PLAN = Plan(warmup_steps=5, turns=20, limit_seconds=1200)

_SMOKE = Preset(
    name="smoke",
    image_size=96,
    batch_size=8,
    throughput_batch_size=8,
    batch_sizes=(4, 8),
)

_PRESETS = {
    "cpu": (
        _SMOKE,
        Preset(
            name="quick",
            image_size=224,
            batch_size=8,
            throughput_batch_size=32,
            batch_sizes=(1, 8, 32),
            plan=_QUICK_PLAN,
        ),
        Preset(
            name="full",
            image_size=224,
            batch_size=16,
            throughput_batch_size=32,
            batch_sizes=(1, 2, 4, 8, 16, 32, 64),
            precisions=("float32", "tf32", "mixed_bfloat16", "mixed_float16"),
            plan=_FULL_PLAN,
        ),
    ),
    # On a GPU the batch grows until it no longer fits: the runner stops the sweep at the first case out of memory.
    "gpu": (
        _SMOKE,
        Preset(
            name="quick",
            image_size=224,
            batch_size=64,
            throughput_batch_size=256,
            batch_sizes=(1, 64, 256),
            precisions=("float32", "tf32", "mixed_bfloat16"),
            plan=_QUICK_PLAN,
        ),
        Preset(
            name="full",
            image_size=224,
            batch_size=128,
            throughput_batch_size=512,
            batch_sizes=_POWERS_OF_TWO,
            precisions=("float32", "tf32", "mixed_bfloat16", "mixed_float16"),
            plan=_FULL_PLAN,
        ),
    ),
}


def preset_for(name: str, device: str) -> Preset:
    """The preset of that name for a device ("cpu" or "gpu:N"). Raises GnetError for an unknown name."""
    require_choice("preset", name, PRESETS)
    return next(preset for preset in _PRESETS[device.partition(":")[0]] if preset.name == name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """The values a run may take on each axis: a preset's, or what the user asked for instead."""

    preset: Preset
    template: StepConfig
    """What every case has in common: device, image size, data, seed."""
    chosen: Mapping[Axis, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    """Axes the user fixed; they win over whatever a suite would vary."""

    def cases(self, **axes: Iterable[Any]) -> list[StepConfig]:
        """Every combination of the given axes' values; an axis not given stays at the preset's single value."""
        default: dict[Axis, tuple[Any, ...]] = {
            "execution": ("graph",),
            "precision": ("float32",),
            "batch_size": (self.preset.batch_size,),
        }
        values = [self.chosen.get(axis) or tuple(axes.get(axis, default[axis])) for axis in AXES]
        return [
            dataclasses.replace(self.template, **dict(zip(AXES, combination, strict=True)))
            for combination in itertools.product(*values)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """What a benchmark module declares of itself, without TensorFlow: its question, its cases, and its comparison."""

    name: str
    question: str
    cases: Callable[[Sweep], list[StepConfig]]
    varies: Axis | None = None
    """The axis its table compares along."""
    base: Any = None
    """The value of that axis that the others are compared with; None compares with nothing."""
    position: int = 100
    """Where it stands in a report, lowest first."""

    def to_dict(self) -> dict[str, Any]:
        """What a report needs to know of it."""
        return {"name": self.name, "question": self.question, "varies": self.varies, "base": self.base}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedCase:
    """A case of a run, measured once however many suites ask for it."""

    config: StepConfig
    suites: tuple[str, ...]


def plan_cases(suites: Iterable[Suite], sweep: Sweep) -> list[PlannedCase]:
    """The cases of these suites without repetition, each with the suites that share it.

    Batches ascend, so that memory runs out at the first that is too large. Raises GnetError when nothing is left.
    """
    wanted: dict[StepConfig, list[str]] = {}
    for suite in suites:
        for config in suite.cases(sweep):
            wanted.setdefault(config, [])
            if suite.name not in wanted[config]:
                wanted[config].append(suite.name)
    if not wanted:
        raise GnetError("suite: none named has a case; name one of the suites that `gnet bench --help` lists")
    ordered = sorted(wanted, key=lambda config: config.batch_size)
    return [PlannedCase(config=config, suites=tuple(wanted[config])) for config in ordered]
