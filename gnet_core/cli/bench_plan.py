"""From a request of `gnet bench` to its sources, environments, cases and runner."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
import uuid
from pathlib import Path
from typing import Any

from gnet_core.cli import options
from gnet_core.cli.output import complain
from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets.catalog import absolute, fingerprint, open_data
from gnet_core.datasets.data_set import broken_notes
from gnet_core.files.whole import PARTIAL_PREFIX, RUN_FORMAT_VERSION
from gnet_core.machine.description import available_memory_bytes
from gnet_core.machine.devices import gpus_from, require_gpus, require_parts_of_cpu
from gnet_core.machine.environment import Environment
from gnet_core.plan.request import BenchRequest, Until
from gnet_core.plan.suites import (
    AGAIN,
    AXES,
    SOURCE,
    Source,
    SuiteDescription,
    Sweep,
    comparisons,
    only_cases,
    plan_cases,
    preset_for,
)
from gnet_core.results.run_document import MAX_RAW_FILES, RecordedSource, RunDocument, source_of_peaks
from gnet_core.run import agent, discovery, named_sources, resuming, runner, sources
from gnet_core.run.hosts import Hosts
from gnet_core.run.worker import RunSettings
from gnet_core.stats.sequential import MAX_LOOKS
from gnet_core.system.cluster import Cluster

MEMORY_SHARE = 0.7
"""Share of the free memory that a run may take unless --memory says otherwise."""


class BenchPlan:
    """A request, turned into cases, sources and settings. Raises GnetError for what cannot be done."""

    def __init__(self, request: BenchRequest, stack: contextlib.ExitStack, cluster: Cluster | None = None) -> None:
        """`cluster` are the processes that a site has started on the hosts that take part, of which this is one."""
        self._request = request
        self._cluster = cluster
        # What can be refused at once is refused before TensorFlow is asked about its devices.
        preset_for(request.preset, "cpu")
        code = stack.enter_context(sources.code_folder())
        self._here = sources.working_tree(discovery.find_checkout(Path.cwd()), code / "here")
        self._suites = discovery.choose_suites(discovery.discover(self._here.checkout), request.suites, request.preset)
        self._data = _Data.of(request.data)
        for note in self._data.left_out:
            complain(f"note: {note}")
        fields: dict[str, Any] = {"data": self._data.name, "seed": request.seed}
        fields |= {"layers": request.layers, "widths": request.widths}
        StepConfig(**fields, image_size=request.image_size or StepConfig.image_size)
        options.require_device_form(request.device)
        self._sources = self._find_sources(code)
        self._compared = [source for name, source in self._sources.items() if name != AGAIN]
        self._probed = discovery.probe_all(self._compared, self._here.checkout)
        self._note_settings()
        if AGAIN in self._sources:
            self.environments[AGAIN] = next(iter(self.environments.values()))
        self.environment = discovery.deciding(self.environments)
        self.device = options.choose_device(request.device, self.environment)
        self._preset = preset_for(request.preset, self.device)
        image_size = request.image_size or self._preset.image_size
        template = StepConfig(**fields, device=self.device, image_size=image_size, classes=self._data.classes)
        chosen = {axis: values for axis in AXES if (values := getattr(request, axis))}
        sweep = Sweep(preset=self._preset, template=template, chosen=chosen, **self._teams())
        if request.case:
            self._suites = only_cases(self._suites, sweep, request.case)
        first = sweep.cases()[0]
        self._planned = plan_cases(self._suites, sweep, self._compared)
        if AGAIN in self._sources:
            able = [case for case in self._planned if not discovery.why_not(case, self._sources, self._probed)]
            able = able or self._planned
            twin = next((case for case in able if case.config == first), able[0])
            self._planned.append(dataclasses.replace(twin, suites=("aa",), source=AGAIN))
        self.profiled = first if request.profile else None

    def _teams(self) -> dict[str, tuple[int, ...]]:
        """The numbers of replicas and workers to scale over. Raises GnetError for those that no suite takes, or that
        there are no devices for.
        """
        asked = {name: values for name in ("replicas", "workers") if (values := getattr(self._request, name))}
        if asked and not any(suite.scaling for suite in self._suites):
            name = next(iter(asked))
            raise GnetError(f"{name}: no suite that is named takes several; add scaling, or leave it out")
        # Each process of a site's has one worker of a case.
        if self._cluster is not None and max(asked["workers"]) > (hosts := len(self._cluster.addresses)):
            raise GnetError(
                f"workers: {max(asked['workers'])} were asked, but the site has started {hosts} processes of gnet "
                f"bench, each of which has one; use at most {hosts}"
            )
        if self.device == "cpu":
            require_parts_of_cpu(max(asked.get("replicas", (1,))), self.environment.machine.usable_threads)
            return asked
        most = len(gpus_from(self.device, self.environment))
        workers = 1 if self._cluster else max(asked.get("workers", self._preset.workers))
        fitting = tuple(number for number in self._preset.replicas if number * workers <= most)
        replicas = asked.get("replicas") or fitting or (1,)
        require_gpus(max(replicas), workers, self.device, most)
        return asked | {"replicas": replicas}

    def make_runner(
        self,
        directory: Path,
        previous: RunDocument | None,
        more_seconds: int | None,
        began: float,
        hosts: Hosts | None = None,
    ) -> tuple[runner.Runner, RunSettings]:
        """The run to be, in a directory that is made for it or with whatever a previous run has finished in it, which
        may then take `more_seconds` in place of what it has left. The command `began` at that time of the monotonic
        clock. `hosts` are those that have joined, where several take part.
        """
        request = self._request
        code = {source.name: sources.digests(source) for source in self._compared}
        states = discovery.make_states(self._planned, self._sources, self._probed, self._data.train_images)
        until: Until = request.until or ("fixed" if request.replicates else self._preset.until)
        if until == "resolved" and request.replicates:
            raise GnetError(
                f"replicates: {request.replicates!r:.30} cannot be named beside --until resolved, which decides by "
                "what it sees; leave one of them out"
            )
        if until == "fixed" and request.budget:
            raise GnetError(
                f"budget: {request.budget} s cannot be named beside a fixed number of processes; add --until resolved"
            )
        if request.until == "resolved" and not comparisons(self._planned, self._suites):
            raise GnetError(
                "until: 'resolved' has no question to settle, as these suites compare nothing; name one that does, "
                "such as execution or precision, or leave it out"
            )
        budget = request.budget or self._preset.budget_seconds
        if previous and more_seconds:
            budget = previous.time_spent.total + more_seconds
        replicates = MAX_LOOKS if until == "resolved" else request.replicates or self._preset.replicates
        if replicates * len(states) > MAX_RAW_FILES:
            raise GnetError(
                f"replicates: {replicates!r:.30} processes of each of {len(states)} cases are more than the "
                f"{MAX_RAW_FILES} that a report reads; use at most {MAX_RAW_FILES // len(states)}"
            )
        recorded_hosts = hosts.recorded(self.environment) if hosts else ()
        if previous is not None:
            if previous.data_fingerprint != self._data.fingerprint:
                raise GnetError(
                    f"resume: data {self._data.name!r} is not what {directory} was started with; start anew"
                )
            resuming.require_same_code(directory, previous.code, code)
            resuming.require_same_environments(directory, previous.environments, self.environments)
            resuming.require_same_settings(directory, previous.sources, self._recorded_sources())
            resuming.require_same_hosts(directory, previous.hosts, recorded_hosts)
        _require_room_for_names(directory, [state.case.name for state in states])
        settings = RunSettings(
            directory=directory.resolve(),
            plan=self._preset.plan_until(until),
            replicates=replicates,
            memory_bytes=self.memory_bytes,
            seed=request.seed,
            run=previous.run if previous else uuid.uuid4().hex,
            worker_bytes=request.worker_memory,
            with_peaks=self._preset.with_peaks,
            sources=self._sources,
            own_source=self._sources[
                source_of_peaks(self._recorded_sources(), self.environments) or self._compared[0].name
            ],
            environments=self.environments,
            hosts=hosts,
        )
        listed = None if request.sources is None else str(Path(request.sources).absolute())
        recorded = dataclasses.replace(request, data=self._data.name, sources=listed).to_dict()
        kept: dict[str, Any] = {"created": options.now(), "options": recorded}
        if previous is not None:
            names = (
                "created",
                "options",
                "peaks",
                "profile_note",
                "gpu_memory",
                "max_looks",
                "looks",
                "turns",
                "time_spent",
            )
            kept = {name: getattr(previous, name) for name in names}
        document = RunDocument(
            format_version=RUN_FORMAT_VERSION,
            run=settings.run,
            preset=request.preset,
            device=self.device,
            seed=request.seed,
            replicates=replicates,
            plan=settings.plan,
            memory_bytes=settings.memory_bytes,
            until=until,
            budget_seconds=budget,
            environment=self.environment,
            environments=self.environments,
            sources=self._recorded_sources(),
            hosts=recorded_hosts,
            code=code,
            data_fingerprint=self._data.fingerprint,
            suites=tuple(self._described_suites()),
            complete=False,
            cohorts=(),
            cases=(),
            **kept,
        )
        standing = resuming.standing_of(directory, previous, states, replicates) if previous else None
        require_unchanged = self._data.require_unchanged
        made = runner.Runner(states, self._suites, settings, document, standing, require_unchanged, began)
        made.require_budget(self.profiled)
        return made, settings

    @property
    def environments(self) -> dict[str, Environment]:
        """By source; one that cannot be measured has none."""
        return self._probed.environments

    @property
    def memory_bytes(self) -> int:
        """Memory of this host that all workers alive together may take."""
        return self._request.memory or int(MEMORY_SHARE * available_memory_bytes())

    def join(self, cluster: Cluster) -> None:
        """Take part in the run of the cluster's first host until that has ended. Raises GnetError."""
        agent.join(cluster, self._here, self.environment, self.memory_bytes)

    @property
    def compares_sources(self) -> bool:
        return len(self._compared) > 1

    @property
    def data_fingerprint(self) -> str:
        return self._data.fingerprint

    def _find_sources(self, code: Path) -> dict[str, Source]:
        request = self._request
        for name in ("python", "settings"):
            for pair in getattr(request, name):
                options.require_utf8(name, pair)
        options.require_utf8("against", request.against or "")
        options.require_utf8("sources", request.sources or "")
        named = named_sources.of_request(request, self._here, discovery.find_checkout(Path.cwd()), code)
        by_name = {source.name: source for source in named}
        if request.aa:
            by_name[AGAIN] = dataclasses.replace(named[0], name=AGAIN)
        return by_name

    def _recorded_sources(self) -> tuple[RecordedSource, ...]:
        """The sources as run.json has them; none where there is one, with neither name nor settings."""
        effects, missing = self._probed.effects, self._probed.missing
        return tuple(
            RecordedSource(
                name=source.name,
                python=source.python,
                own_code=source.checkout == self._here.checkout,
                variables=dict(source.variables),
                effects=effects.get(source.name, ()),
                missing=missing.get(source.name, ""),
            )
            for source in self._compared
            if source.name
        )

    def _note_settings(self) -> None:
        """Say at once which sources cannot be measured, and which settings are not seen to act."""
        for name, why in self._probed.missing.items():
            complain(f"note: {name} cannot be measured: {why}")
        for name, effects in self._probed.effects.items():
            for effect in effects:
                if effect.effect != "acts":
                    complain(f"note: {name}: {effect}")

    def _described_suites(self) -> list[SuiteDescription]:
        described = [suite.describe() for suite in self._suites]
        first, *others = [source.name for source in self._compared]
        of_sources: dict[str, Any] = {"view": "comparison", "base": first, "base_fields": {}, "costs": ""}
        if others:
            question = f"How fast are the same cases from {', '.join(others)} as from {first}?"
            across = of_sources | {"view": "across"}
            described.append(SuiteDescription(name="sources", question=question, varies=SOURCE, **across))
        if AGAIN in self._sources:
            question = "How far is identical code from itself here?"
            described.append(SuiteDescription(name="aa", question=question, varies=None, **of_sources))
        return described


def _require_room_for_names(directory: Path, cases: list[str]) -> None:
    """Raise GnetError where a case's files could not have their names, before anything is measured."""
    for case in cases:
        options.require_case_name(case)
    attempt = Path(f"{max(cases, key=len)}.r{10**4}.json")
    try:
        with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=directory) as folder:
            (folder / attempt).touch()
    except OSError as error:
        raise GnetError(
            f"out: {directory} can hold no file named {attempt} ({error.strerror}); name a folder that can, or give "
            "data and sources shorter names"
        ) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Data:
    """The data set that is fed to the steps of a run."""

    name: str
    """Name of the data set, or its absolute path: workers run in another directory."""
    classes: int = StepConfig.classes
    train_images: float = math.inf
    fingerprint: str = ""
    left_out: tuple[str, ...] = ()
    """What is to be said of images that are broken."""

    @classmethod
    def of(cls, name: str) -> _Data:
        if name == "synthetic":
            return cls(name=name)
        data, name = open_data(name), absolute(name)
        options.require_utf8("data", name)
        return cls(
            name=name,
            classes=data.classes,
            train_images=len(data.train),
            fingerprint=fingerprint(data),
            left_out=broken_notes(data.broken),
        )

    def require_unchanged(self) -> None:
        """Raise GnetError where it is not what it was; other images make another step."""
        if self != _Data.of(self.name):
            raise GnetError(f"data: {self.name!r} changed while it was measured, so the last processes do not count")
