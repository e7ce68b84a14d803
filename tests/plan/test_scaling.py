"""Cases that scale over devices, and what each of them is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.frameworks.base import why_unsupported
from gnet_core.plan.suites import (
    Source,
    Suite,
    SuiteDescription,
    Sweep,
    base_config,
    comparisons,
    only_cases,
    plan_cases,
    preset_for,
)
from gnet_core.run import discovery
from tests.conftest import JAX_SECTION, MACHINE, TENSORFLOW, TORCH_SECTION, environment_of

ROOT = Path(__file__).parents[2]
SUITES = discovery.choose_suites(discovery.discover(ROOT), ["scaling"], "smoke")
HERE = [Source(checkout=ROOT)]
Team = tuple[int, int, int]
"""Replicas, workers and batch size."""


def sweep(device: str = "cpu", **teams: Any) -> Sweep:
    return Sweep(preset=preset_for("smoke", device), template=StepConfig(device=device, image_size=96), **teams)


def team(config: StepConfig) -> Team:
    return config.replicas, config.workers, config.batch_size


def bases(name: str, made: Sweep) -> dict[Team, Team]:
    """The base of each case that a suite compares."""
    suites = [suite for suite in SUITES if suite.name == name]
    cases = plan_cases(suites, made, HERE)
    return {team(variant.config): team(base.config) for base, variant in comparisons(cases, suites)}


def test_the_topic_names_all_suites_of_its_file_and_no_preset_has_them():
    names = ["weak-scaling", "strong-scaling", "communication", "batch-norm", "distributed-frameworks"]
    assert [suite.name for suite in SUITES] == names
    assert not any(suite.presets for suite in SUITES)
    (one,) = discovery.choose_suites(SUITES, ["communication"], "quick")
    assert one.name == "communication"


def test_weak_scaling_has_for_base_one_replica_with_a_replica_s_batch_and_strong_scaling_with_the_whole():
    made = sweep("gpu:0", replicas=(1, 2), workers=(1, 2))
    assert bases("weak-scaling", made) == dict.fromkeys([(2, 1, 16), (1, 2, 16), (2, 2, 32)], (1, 1, 8))
    assert bases("strong-scaling", made) == dict.fromkeys([(2, 1, 8), (1, 2, 8), (2, 2, 8)], (1, 1, 8))


def test_each_batch_that_is_asked_for_has_its_own_base():
    made = sweep(replicas=(2,), chosen={"batch_size": (8, 16)})
    assert bases("weak-scaling", made) == {(2, 1, 16): (1, 1, 8), (2, 1, 32): (1, 1, 16)}
    assert bases("strong-scaling", made) == {(2, 1, 8): (1, 1, 8), (2, 1, 16): (1, 1, 16)}


def test_one_replica_is_there_whatever_numbers_are_asked_for():
    assert bases("weak-scaling", sweep(replicas=(4,))) == {(4, 1, 32): (1, 1, 8)}


def test_on_a_cpu_replicas_and_workers_vary_apart():
    assert set(bases("weak-scaling", sweep(replicas=(1, 2), workers=(1, 2)))) == {(2, 1, 16), (1, 2, 16)}


def test_each_team_is_beside_itself_without_exchange_and_the_largest_beside_synchronised_norms():
    made = sweep(replicas=(1, 2, 4))
    cases = plan_cases(SUITES, made, HERE)
    pairs = [(base.config, variant.config) for base, variant in comparisons(cases, SUITES)]
    alone = {team(variant) for base, variant in pairs if not variant.all_reduce and team(base) == team(variant)}
    assert alone == {(2, 1, 16), (4, 1, 32)}
    norms = [(team(base), base.batch_norm, team(variant)) for base, variant in pairs if variant.synchronises]
    assert norms == [((4, 1, 32), "per_replica", (4, 1, 32))]


def test_pytorch_stands_beside_the_same_batch_on_as_many_workers():
    cases = plan_cases(SUITES, sweep(workers=(1, 2)), HERE)
    pairs = [(base.config, variant.config) for base, variant in comparisons(cases, SUITES)]
    ((base, torch),) = [pair for pair in pairs if pair[1].framework == "torch"]
    assert (team(base), base.framework) == (team(torch), "tensorflow") == ((1, 2, 16), "tensorflow")


def test_every_case_can_be_measured_where_all_frameworks_are_installed():
    sections = {"machine": MACHINE, "tensorflow": TENSORFLOW, "torch": TORCH_SECTION, "jax": JAX_SECTION}
    cases = plan_cases(SUITES, sweep(replicas=(1, 2), workers=(1, 2)), HERE)
    assert {case.config.framework for case in cases} == {"tensorflow", "torch"}
    assert not [reason for case in cases if (reason := why_unsupported(case.config, environment_of(sections)))]


def test_what_does_not_divide_is_refused_with_what_would():
    with pytest.raises(GnetError, match=r"^batch_size: 8 images do not divide among 3 replicas .*; use 6 or 9$"):
        plan_cases(SUITES, sweep(replicas=(3,)), HERE)


def test_a_case_that_is_named_is_planned_alone_by_its_suite():
    made = sweep(replicas=(2,))
    name = "graph-float32-b16-i96-synthetic-cpu-replicas=2"
    (case,) = plan_cases(only_cases(SUITES, made, [name]), made, HERE)
    assert case.name == name


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"view": "devices", "varies": "replicas", "base": 1}, "^varies: 'replicas' will not do beside view 'devices'"),
        ({"varies": "total_replicas", "base": 2, "scaling": "weak"}, "^base: 2 will not do where 'total_replicas'"),
        ({"varies": "total_replicas", "base": 1}, "^scaling: None will not do where 'total_replicas' varies"),
    ],
)
def test_a_suite_that_no_view_of_devices_could_follow_is_refused(fields, why):
    with pytest.raises(GnetError, match=why):
        Suite(name="odd", question="?", cases=lambda _sweep: [], **fields)
    plain = {"name": "odd", "question": "?", "view": "comparison", "base_fields": {}, "costs": "", **fields}
    with pytest.raises(msgspec.ValidationError, match=why.removeprefix("^")):
        msgspec.convert(plain, SuiteDescription)


def test_a_run_of_before_there_were_devices_has_suites_that_scale_over_none():
    plain = {"name": "precision", "question": "?", "view": "comparison", "base_fields": {}, "costs": ""}
    suite = msgspec.convert(plain | {"varies": "precision", "base": "float32"}, SuiteDescription)
    assert suite.scaling is None
    assert base_config(suite, StepConfig(precision="mixed_bfloat16")) == StepConfig()
