"""Which cases a run has: presets, a suite's declaration, and the sweep that turns both into StepConfigs."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from gnet_core.config import Execution, Framework, GnetError, Precision, StepConfig, require_choice
from gnet_core.plan.request import Until

Axis = Literal["execution", "precision", "batch_size"]
ViewName = Literal["comparison", "scaling", "devices", "parts", "speed", "input", "across"]
Scaling = Literal["weak", "strong"]
PresetName = Literal["smoke", "quick", "full", "check"]

PRESETS: tuple[PresetName, ...] = get_args(PresetName)
AXES: tuple[Axis, ...] = get_args(Axis)
VIEWS: tuple[ViewName, ...] = tuple(name for name in get_args(ViewName) if name != "across")
"""The views that a suite may declare; sources are compared by the run itself."""

SOURCE = "source"
"""Stands for the field that a comparison of sources varies, which is none of StepConfig."""
TOTAL_REPLICAS = "total_replicas"
"""Stands for `replicas` and `workers`, whose product it is. What a suite compares then is images/s a replica, the
efficiency, and its base has one."""
AGAIN = "again"
"""The source of an A/A comparison's second half: the first source under another name."""


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
    step_seconds: float | None = None
    """Time of a step that an earlier process of the case has measured, for one that starts beside others; None where a
    worker measures it as it warms up, alone."""

    @property
    def single_seconds(self) -> float:
        """Time of the steps that are synchronised one by one after a block: percentiles need no long one."""
        return min(self.block_seconds, 0.5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """The values that a run sweeps and how thoroughly it measures, for one kind of device."""

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
    pilot_turns: int | None = None
    """Turns of the first processes of a run until resolved, from which it learns how many suit what is left open; None:
    as many as the plan has."""
    until: Until = "fixed"
    budget_seconds: float | None = None
    """Wall time of a run until resolved."""
    replicas: tuple[int, ...] = (1, 2)
    workers: tuple[int, ...] = (1,)
    """Numbers of replicas and of workers that the suites of bench_scaling.py take."""
    with_peaks: bool = True
    """Whether the device's peaks are measured as well, without which there is no MFU."""

    def plan_until(self, until: Until) -> Plan:
        """How long and how often a worker of a run with that stopping rule measures, to begin with."""
        if until == "fixed" or self.pilot_turns is None:
            return self.plan
        return dataclasses.replace(self.plan, turns=self.pilot_turns)


_PRECISIONS_ON_GPU: tuple[Precision, ...] = ("float32", "tf32", "mixed_bfloat16")
_REPLICAS_ON_GPU = (1, 2, 4, 8)
"""As far as there are so many GPUs."""
# A GPU's block and its warm-up. Its clock rises with the work and falls again where that meets the power limit,
# of which some GPUs' drivers see the mean of a second (nvml.h, nvmlDeviceGetPowerUsage; arXiv 2312.02741), and the
# driver's counters are 0.1 s behind at each end. What is enough for a GPU, the samples show (gpu_conditions).
_GPU_BLOCK_SECONDS = 2.0

_SMOKE = Preset(
    name="smoke", image_size=96, batch_size=8, throughput_batch_size=8, batch_sizes=(4, 8), with_peaks=False
)

# For gnet gpu-check: as many processes as give verdicts, each as short as it can be. On a CPU it is a rehearsal.
_CHECK_ON_CPU = dataclasses.replace(
    _SMOKE, name="check", batch_size=4, throughput_batch_size=4, batch_sizes=(4,), replicates=3
)
_CHECK_ON_GPU = dataclasses.replace(
    _CHECK_ON_CPU,
    image_size=224,
    batch_size=64,
    throughput_batch_size=64,
    batch_sizes=(64,),
    precisions=_PRECISIONS_ON_GPU,
    plan=Plan(block_seconds=1.0),
)

_QUICK_PLAN = Plan(turns=5)
_QUICK_ON_CPU = Preset(
    name="quick",
    image_size=224,
    batch_size=8,
    throughput_batch_size=32,
    batch_sizes=(1, 8, 32),
    plan=_QUICK_PLAN,
    until="resolved",
    budget_seconds=360,
)
_QUICK_ON_GPU = dataclasses.replace(
    _QUICK_ON_CPU,
    batch_size=64,
    throughput_batch_size=256,
    batch_sizes=(1, 64, 256),
    precisions=_PRECISIONS_ON_GPU,
    plan=dataclasses.replace(_QUICK_PLAN, block_seconds=_GPU_BLOCK_SECONDS),
    # XLA compiled for 162 s on an H100, the others began after 20 to 35 s, and each starts alone.
    budget_seconds=1200,
    replicas=_REPLICAS_ON_GPU,
)

_FULL_PLAN = Plan(warmup_steps=5, turns=12, limit_seconds=1200)
_FULL_ON_CPU = Preset(
    name="full",
    image_size=224,
    batch_size=16,
    throughput_batch_size=32,
    batch_sizes=(1, 2, 4, 8, 16, 32, 64),
    # float16, which few processors have instructions for, would take a fifth of the run to come out last.
    precisions=("float32", "tf32", "mixed_bfloat16"),
    # With --until fixed as many processes and turns as find 5 % in 94 of 100 cases under the noise of a shared machine,
    # with 1.5 % between processes and 7 % between blocks, and say SAME of equal cases at a margin of 5 % in 81
    # (tests/noise.py).
    replicates=8,
    plan=_FULL_PLAN,
    # What differs by a third is settled by three processes of as many.
    pilot_turns=5,
    until="resolved",
    budget_seconds=3600,
    replicas=(1, 2, 4),
    workers=(1, 2),
)
# On a GPU the batch grows until it no longer fits: the runner stops the sweep at the first case out of memory.
_FULL_ON_GPU = dataclasses.replace(
    _FULL_ON_CPU,
    batch_size=128,
    throughput_batch_size=512,
    # Without 2 to 8, to stay at twenty cases. From 4096 on, the stem's map has more values than an int32 counts.
    batch_sizes=(1, *(2**n for n in range(4, 12))),
    precisions=(*_PRECISIONS_ON_GPU, "mixed_float16"),
    replicas=_REPLICAS_ON_GPU,
    workers=(1,),
    plan=dataclasses.replace(_FULL_PLAN, block_seconds=_GPU_BLOCK_SECONDS),
)

_PRESETS = {
    "cpu": (_SMOKE, _CHECK_ON_CPU, _QUICK_ON_CPU, _FULL_ON_CPU),
    "gpu": (_SMOKE, _CHECK_ON_GPU, _QUICK_ON_GPU, _FULL_ON_GPU),
}


def preset_for(name: str, device: str) -> Preset:
    """The preset of that name for a device ("cpu" or "gpu:N"). Raises GnetError for an unknown name."""
    require_choice("preset", name, PRESETS)
    return next(preset for preset in _PRESETS[device.partition(":")[0]] if preset.name == name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """The values a run may take on each axis: a preset's, or what the user asked for instead.

    GNET makes it and hands it to a suite's `cases`.

    >>> from gnet_core import StepConfig, Sweep
    >>> from gnet_core.plan.suites import preset_for
    >>> sweep = Sweep(preset=preset_for("smoke", "cpu"), template=StepConfig(image_size=96))
    >>> [(case.execution, case.batch_size) for case in sweep.cases(execution=("graph", "xla"))]
    [('graph', 8), ('xla', 8)]
    """

    preset: Preset
    template: StepConfig
    """A case with what all have in common: device, image size, data, seed."""
    chosen: Mapping[Axis, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    """Axes the user fixed; they win over whatever a suite would vary."""
    replicas: tuple[int, ...] = ()
    workers: tuple[int, ...] = ()
    """Numbers of replicas and of workers to scale over; empty: the preset's."""

    def cases(self, **varied: Iterable[Any]) -> list[StepConfig]:
        """Every combination of the values of these fields of StepConfig.

        An axis that is not given stays at the preset's single value, another field at the template's. Raises GnetError
        for a field that there is not, or a value that it cannot have.
        """
        values: dict[str, Iterable[Any]] = {"execution": ("graph",), "precision": ("float32",)}
        values |= {"batch_size": (self.preset.batch_size,)} | varied
        values |= {str(axis): chosen for axis, chosen in self.chosen.items()}
        return [
            StepConfig.from_dict(self.template.to_dict() | dict(zip(values, combination, strict=True)))
            for combination in itertools.product(*values.values())
        ]

    def scaled(self, scaling: Scaling, **varied: Iterable[Any]) -> list[StepConfig]:
        """As `cases`, each on one replica first and then on every number of replicas and workers (see Suite.scaling).

        On a CPU each of several workers has one device, so there the two numbers vary apart.

        Raises GnetError as `cases` does, and for a batch that does not divide among replicas.
        """
        replicas, workers = self.replicas or self.preset.replicas, self.workers or self.preset.workers
        teams = [(1, 1), *itertools.product(workers, replicas)]
        if self.template.device == "cpu":
            teams = [(1, 1), *((1, each) for each in replicas), *((number, 1) for number in workers)]
        return [
            dataclasses.replace(
                case,
                workers=number,
                replicas=each,
                batch_size=case.batch_size * number * each if scaling == "weak" else case.batch_size,
            )
            for case in self.cases(**varied)
            for number, each in dict.fromkeys(teams)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """A benchmark module's declaration, made without TensorFlow: its question, its cases, and the view that answers.

    This is the whole of a file benchmarks/bench_image_size.py:

    >>> from gnet_core import StepConfig, Suite, Sweep
    >>> def cases(sweep: Sweep) -> list[StepConfig]:
    ...     return sweep.cases(image_size=(96, 128))
    >>> SUITE = Suite(
    ...     name="image-size",
    ...     question="What do larger images cost?",
    ...     cases=cases,
    ...     varies="image_size",
    ...     base=96,
    ... )
    >>> def bench_image_size(case, time_train_step):
    ...     time_train_step(case)

    `gnet bench image-size` measures it, and gnet_core.load_run reads the rows.

    Raises GnetError from its constructor, naming the field, for a declaration that no report could follow.
    """

    name: str
    question: str
    cases: Callable[[Sweep], list[StepConfig]]
    view: ViewName | None = None
    """How a report answers the question.

    comparison: each case against its base, as a ratio with a verdict; scaling: speed and memory over the values of the
    field that varies, such as the batch size; devices: how efficient many replicas are, of a suite that varies
    TOTAL_REPLICAS; parts: what of a step each value takes; speed: the most images/s; input: whether a loader keeps up
    with the step, of a suite that varies the feed. None: comparison where there is a base, else speed.
    """
    varies: str | None = None
    """The field of StepConfig that the view is about: any but the seed, by which runs are repeated. Or
    TOTAL_REPLICAS."""
    base: Any = None
    """The value of that field that the others are compared with; None compares with nothing."""
    base_fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Other fields that the base has fixed, whatever the cases have that are compared with it."""
    costs: str = ""
    """Name of what the base has and the others lack, where the answer is the share of a step that it takes."""
    scaling: Scaling | None = None
    """Of a suite that takes several replicas, so that --replicas and --workers are its options. weak: batch sizes that
    are asked for are those of a replica, which has as much to do among many as alone; strong: they are those of all
    replicas together. None: one replica takes each step."""
    position: int = 100
    """Where it stands in a report, lowest first."""
    presets: tuple[PresetName, ...] = ()
    """Presets that have it where no suite is named; by default it is measured where it is named alone."""
    module: str = ""
    """The file in benchmarks/ that declares it, which GNET fills in."""

    def __post_init__(self) -> None:
        if self.view is not None:
            require_choice("view", self.view, VIEWS)
        fields = tuple(field.name for field in dataclasses.fields(StepConfig))
        if self.varies is not None:
            require_choice("varies", self.varies, (*fields, TOTAL_REPLICAS))
        for field in self.base_fields:
            require_choice("base_fields", field, fields)
        if self.varies is None and (self.base is not None or self.view == "scaling"):
            beside = f"view {self.view!r}" if self.base is None else f"base {self.base!r:.60}"
            raise GnetError(f"varies: None will not do beside {beside}; name a field of StepConfig")
        if self.base is None and self.view in ("comparison", "parts", "input"):
            raise GnetError(f"base: None will not do beside view {self.view!r}; name a value of {self.varies}")
        if self.view == "input" and self.varies != "feed":
            raise GnetError(f"varies: {self.varies!r:.60} will not do beside view 'input', which is about the feed")
        if why := _why_no_devices(self.view, self.varies, self.base, self.scaling):
            raise GnetError(why)
        if self.varies is not None and self.base is not None:
            dataclasses.replace(StepConfig(), **_base_values(self))

    @property
    def topic(self) -> str:
        """The name of its file without `bench_`, which stands for all the suites that the file declares."""
        return self.module.removeprefix("bench_").removesuffix(".py").replace("_", "-")

    def describe(self) -> SuiteDescription:
        """The suite as a report needs it and run.json has it."""
        fields = {name: getattr(self, name) for name in SuiteDescription.__struct_fields__}
        view = self.view or ("speed" if self.base is None else "comparison")
        return SuiteDescription(**fields | {"view": view, "base_fields": dict(self.base_fields)})


class SuiteDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A suite as run.json has it; one that compares sources or identical code is declared by the run itself."""

    name: str
    question: str
    view: ViewName
    varies: str | None
    """A field of StepConfig, or SOURCE."""
    base: Any
    base_fields: dict[str, Any]
    costs: str
    scaling: Scaling | None = None

    @property
    def compares_identical_code(self) -> bool:
        """Whether it compares with its base what differs from it in nothing."""
        return self.varies is None and self.base is not None

    def __post_init__(self) -> None:
        of_sources = self.varies == SOURCE or self.compares_identical_code
        if of_sources and not isinstance(self.base, str | None):
            raise ValueError(f"base is {self.base!r:.60}; it has to be the name of a source")
        if self.varies in (None, SOURCE):
            if self.view in ("scaling", "devices", "parts", "input"):
                raise ValueError(f"{self.name!r:.60} varies no field, which view {self.view!r} needs")
            return
        if self.view == "across":
            raise ValueError(f"{self.name!r:.60} varies a field, where view 'across' is of sources")
        if self.varies not in (fields := [*(field.name for field in dataclasses.fields(StepConfig)), TOTAL_REPLICAS]):
            right = f"it has to be source or one of {', '.join(fields)}"
            raise ValueError(f"{self.name!r:.60} varies {self.varies!r:.60}; {right}")
        if self.view == "input" and self.varies != "feed":
            raise ValueError(f"{self.name!r:.60} varies {self.varies!r:.60}, where view 'input' is about the feed")
        if why := _why_no_devices(self.view, self.varies, self.base, self.scaling):
            raise ValueError(f"{self.name!r:.60}: {why}")
        try:
            dataclasses.replace(StepConfig(), **(dict(self.base_fields) if self.base is None else _base_values(self)))
        except (TypeError, GnetError) as error:
            raise ValueError(f"{self.name!r:.60} varies or compares what cannot be: {error!s:.300}") from error


def _why_no_devices(view: ViewName | None, varies: str | None, base: object, scaling: Scaling | None) -> str:
    """What of a declaration does not fit a suite of several replicas; empty where all does."""
    if view == "devices" and varies != TOTAL_REPLICAS:
        return f"varies: {varies!r:.60} will not do beside view 'devices'; use {TOTAL_REPLICAS!r}"
    if varies == TOTAL_REPLICAS and base not in (1, None):
        return f"base: {base!r:.60} will not do where {TOTAL_REPLICAS!r} varies; use 1"
    if varies == TOTAL_REPLICAS and scaling is None:
        return f"scaling: None will not do where {TOTAL_REPLICAS!r} varies; use weak or strong"
    return ""


def _base_values(suite: Suite | SuiteDescription) -> dict[str, Any]:
    """The fields that the base of a suite has fixed."""
    if suite.varies == TOTAL_REPLICAS:
        return {**suite.base_fields, "replicas": suite.base, "workers": 1}
    return {**suite.base_fields, str(suite.varies): suite.base}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Where a worker's code and interpreter come from. A run has one, unless it compares several."""

    name: str = ""
    python: str = sys.executable
    checkout: Path
    """The folder with the gnet_core/ and benchmarks/ that the worker runs."""
    peers: Mapping[Framework, str] = dataclasses.field(default_factory=dict)
    """Interpreters of frameworks that have one of their own, since one environment cannot hold them all for a GPU."""
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Environment variables that its processes are started with. They act whatever they decide: its name is in the
    rows."""
    missing: str = ""
    """Why nothing can be measured from it, in a sentence; empty where that is not known yet."""

    def interpreter(self, framework: Framework) -> str:
        """The interpreter that runs the framework's rows."""
        return self.peers.get(framework, self.python)

    def environment_name(self, framework: Framework) -> str:
        """The name of that interpreter's environment in run.json."""
        return framework if framework in self.peers else self.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedCase:
    """A case of a run, measured by one source however many suites ask for it."""

    config: StepConfig
    suites: tuple[str, ...]
    source: str = ""
    module: str = ""
    """The file in benchmarks/ that times it. Every one can time any case."""

    @property
    def name(self) -> str:
        """Its identifier in tables and file names: its configuration, and its source where there are several."""
        return f"{self.config.name}@{self.source}" if self.source else self.config.name

    def differs_in_batch_size_alone(self, other: PlannedCase) -> bool:
        """Whether nothing but the batch size tells two cases apart, which may be equal."""
        same_batch = dataclasses.replace(self.config, batch_size=other.config.batch_size)
        return self.source == other.source and same_batch == other.config


def only_cases(suites: Iterable[Suite], sweep: Sweep, names: Sequence[str]) -> list[Suite]:
    """The suites that have cases of these names, with those alone. They compare none with another, as what a case is
    compared with need not be among them. Raises GnetError for a name that no case of the suites has.
    """

    def narrowed(suite: Suite) -> Suite:
        def cases(sweep: Sweep) -> list[StepConfig]:
            return [config for config in suite.cases(sweep) if config.name in names]

        return dataclasses.replace(suite, cases=cases, view=None, varies=None, base=None, base_fields={}, costs="")

    left = [suite for suite in map(narrowed, suites) if suite.cases(sweep)]
    there = {config.name for suite in left for config in suite.cases(sweep)}
    if unknown := [name for name in names if name not in there]:
        raise GnetError(f"case: {unknown[0]!r:.300} is none of the suites' cases here; use a name as cases.csv has it")
    return left


def plan_cases(suites: Iterable[Suite], sweep: Sweep, sources: Sequence[Source]) -> list[PlannedCase]:
    """The cases of these suites without repetition, each with the suites that share it, from each of the sources.

    A framework with an interpreter of its own is measured from the source that names it alone. Batches ascend, so that
    memory runs out at the first too large one. Raises GnetError when none is left, or where two cases have one name.
    """
    suites_of: dict[StepConfig, dict[str, Suite]] = {}
    for suite in suites:
        for config in suite.cases(sweep):
            suites_of.setdefault(config, {}).setdefault(suite.name, suite)
    if not suites_of:
        raise GnetError("suite: none of those named has a case in this sweep; name another")
    by_name: dict[str, StepConfig] = {}
    for config, suites_asking in suites_of.items():
        if (other := by_name.setdefault(config.name, config)) is not config:
            names = " and ".join(map(repr, dict.fromkeys([*suites_of[other], *suites_asking])))
            fields = " and ".join(config.differences(other))
            raise GnetError(
                f"suite: cases of {names} have one name, {config.name}, which leaves out {fields}; let no case differ "
                "in that alone"
            )
    own = {framework for source in sources for framework in source.peers}
    return [
        PlannedCase(config=config, suites=tuple(asking), source=source.name, module=next(iter(asking.values())).module)
        for config, asking in sorted(suites_of.items(), key=lambda item: item[0].batch_size)
        for source in sources
        if config.framework not in own or config.framework in source.peers
    ]


def base_config(suite: SuiteDescription, config: StepConfig) -> StepConfig | None:
    """The case that a suite compares this one with, which may be itself; None: with nothing."""
    if suite.base is None or suite.varies is None:
        return None
    values = _base_values(suite)
    if suite.varies == TOTAL_REPLICAS and suite.scaling == "weak":
        values["batch_size"] = config.replica_batch_size
    base = dataclasses.replace(config, **values)
    # What differs from the base in its other fields alone is another suite's to compare.
    same_value = getattr(config, suite.varies) == getattr(base, suite.varies)
    return None if same_value and base != config else base


def comparisons(cases: Sequence[PlannedCase], suites: Iterable[Suite]) -> list[tuple[PlannedCase, PlannedCase]]:
    """Each base with each case that is compared with it: within the suites, and with the first source of its config."""
    case_of = {(case.config, case.source): case for case in cases}
    first: dict[StepConfig, PlannedCase] = {}
    pairs = []
    for case in cases:
        base = first.setdefault(case.config, case)
        if base is not case:
            pairs.append((base, case))
        for suite in suites:
            wanted = base_config(suite.describe(), case.config) if suite.name in case.suites else None
            if wanted is not None and wanted != case.config and (wanted, case.source) in case_of:
                pairs.append((case_of[wanted, case.source], case))
    return pairs
