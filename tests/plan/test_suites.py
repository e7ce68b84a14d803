"""Presets and suites make the cases of a run."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.plan import suites as sweep
from gnet_core.run import discovery

SUITES = discovery.discover(Path(__file__).parents[2])
ROOT = Path(__file__).parents[2]
HERE = [sweep.Source(checkout=ROOT)]


def planned(preset_name, device="cpu", **chosen: Any):
    preset = sweep.preset_for(preset_name, device)
    template = StepConfig(device=device, image_size=preset.image_size)
    axes = cast("dict[sweep.Axis, tuple[Any, ...]]", chosen)
    suites = discovery.choose_suites(SUITES, (), preset_name)
    return sweep.plan_cases(suites, sweep.Sweep(preset=preset, template=template, chosen=axes), HERE)


def test_the_suites_are_found_in_reading_order():
    names = ["throughput", "execution", "precision", "batch-size", "parts", "auxiliary", "implementation", "frameworks"]
    assert [suite.name for suite in SUITES if suite.name in names] == names


def test_a_suite_is_in_no_preset_unless_it_says_so():
    suite = sweep.Suite(name="new", question="?", cases=lambda _sweep: [])
    assert not [preset for preset in sweep.PRESETS if discovery.choose_suites([suite], (), preset)]
    assert discovery.choose_suites([suite], ["new"], "quick") == [suite]


def test_smoke_has_graph_eager_xla_bfloat16_and_one_other_batch():
    cases = {(case.config.execution, case.config.precision, case.config.batch_size) for case in planned("smoke")}
    assert cases == {
        ("graph", "float32", 8),
        ("eager", "float32", 8),
        ("xla", "float32", 8),
        ("graph", "mixed_bfloat16", 8),
        ("graph", "float32", 4),
    }


def test_quick_has_seven_cases_at_batch_1_8_and_32():
    cases = planned("quick")
    assert len(cases) == 7
    assert {case.config.batch_size for case in cases} == {1, 8, 32}


@pytest.mark.parametrize("device", ["cpu", "gpu:0"])
def test_full_has_at_most_twenty_cases_of_full_size(device):
    cases = planned("full", device)
    assert len(cases) <= 20
    assert {case.config.image_size for case in cases} == {224}


def test_a_gpu_sweeps_tf32_and_larger_batches():
    cases = planned("full", "gpu:0")
    assert "tf32" in {case.config.precision for case in cases}
    assert max(case.config.batch_size for case in cases) == 2048


@pytest.mark.parametrize(("device", "number"), [("cpu", 6), ("gpu:0", 7)])
def test_a_check_compares_layers_precisions_and_executions_at_one_size(device, number):
    cases = planned("check", device)
    compared = [case for case in cases if {"execution", "precision", "implementation"} & set(case.suites)]
    assert {case.config.batch_size for case in compared} == {4 if device == "cpu" else 64}
    named = [suite for suite in SUITES if suite.name in ("implementation", "precision", "execution")]
    made = sweep.Sweep(preset=sweep.preset_for("check", device), template=StepConfig(device=device))
    assert len(sweep.plan_cases(named, made, HERE)) == number


def test_a_case_that_suites_share_is_planned_once_with_all_their_names():
    cases = planned("smoke")
    (shared,) = [case for case in cases if case.config.name == "graph-float32-b8-i96-synthetic-cpu"]
    assert shared.suites == ("throughput", "execution", "precision", "batch-size")
    assert len({case.config for case in cases}) == len(cases)


def test_cases_that_are_named_are_planned_alone_and_compared_with_none():
    made = sweep.Sweep(preset=sweep.preset_for("smoke", "cpu"), template=StepConfig(image_size=96))
    name = "eager-float32-b8-i96-synthetic-cpu"
    left = sweep.only_cases(SUITES, made, [name])
    (case,) = sweep.plan_cases(left, made, HERE)
    assert (case.config.name, case.suites) == (name, ("execution",))
    assert [suite.describe().base for suite in left] == [None]
    with pytest.raises(GnetError, match="case: 'other' is none of the suites' cases here"):
        sweep.only_cases(SUITES, made, [name, "other"])


def test_the_input_pipeline_has_the_step_alone_and_each_loader_alone_and_with_it():
    (suite,) = discovery.choose_suites(SUITES, ["input-pipeline"], "quick")
    assert not [preset for preset in sweep.PRESETS if suite in discovery.choose_suites(SUITES, (), preset)]
    preset = sweep.preset_for("smoke", "cpu")
    made = sweep.Sweep(preset=preset, template=StepConfig(data="/photos", classes=10, image_size=96))
    cases = sweep.plan_cases([suite], made, HERE)
    told = [(case.config.feed, case.config.part, case.config.data) for case in cases]
    assert told == [
        ("ready", "train", "synthetic"),
        *((feed, part, "/photos") for feed in ("jpeg", "tfrecord", "cache") for part in ("input", "train")),
    ]
    base, *others = cases
    assert sweep.comparisons(cases, [suite]) == [(base, other) for other in others]
    assert {case.config.classes for case in cases} == {10}


def test_batches_ascend_so_that_memory_runs_out_at_the_first_too_large():
    sizes = [case.config.batch_size for case in planned("full")]
    assert sizes == sorted(sizes)


def test_what_the_user_chose_wins_over_every_suite():
    cases = planned("smoke", execution=("xla",), precision=("float32",), batch_size=(2,))
    (case,) = cases
    assert (case.config.execution, case.config.precision, case.config.batch_size) == ("xla", "float32", 2)


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"view": "table"}, "^view: 'table' is unknown; use one of comparison, scaling, devices, parts, speed, input$"),
        ({"varies": "layers", "base": "keras", "view": "input"}, "^varies: 'layers' will not do beside view 'input'"),
        ({"varies": "feed", "view": "input"}, "^base: None will not do beside view 'input'; name a value of feed$"),
        ({"varies": "speed"}, "^varies: 'speed' is unknown; use one of execution, precision, part, layers, "),
        ({"varies": "source", "base": "old"}, "^varies: 'source' is unknown"),
        ({"varies": "image_size", "base": 66}, "^image_size: 66 will not do"),
        ({"varies": "image_size", "base": 96, "base_fields": {"turbo": 1}}, "^base_fields: 'turbo' is unknown"),
        ({"varies": "image_size", "base": 96, "base_fields": {"execution": "fast"}}, "^execution: 'fast' is unknown"),
        (
            {"varies": "image_size", "view": "comparison"},
            "^base: None will not do beside view 'comparison'; name a value",
        ),
        ({"base": 96}, "^varies: None will not do beside base 96; name a field of StepConfig$"),
        ({"view": "scaling"}, "^varies: None will not do beside view 'scaling'"),
    ],
)
def test_a_suite_that_no_report_could_follow_is_refused_by_its_field(declared, why):
    with pytest.raises(GnetError, match=why):
        sweep.Suite(name="x", question="?", cases=lambda _sweep: [], **declared)


@pytest.mark.parametrize(
    ("declared", "view"),
    [
        ({}, "speed"),
        ({"varies": "image_size"}, "speed"),
        ({"varies": "image_size", "base": 96}, "comparison"),
        ({"varies": "image_size", "view": "scaling"}, "scaling"),
    ],
)
def test_a_suite_that_names_no_view_compares_where_it_has_a_base(declared, view):
    assert sweep.Suite(name="x", question="?", cases=lambda _sweep: [], **declared).describe().view == view


def test_two_cases_of_one_name_are_refused_by_what_the_name_leaves_out():
    suite = sweep.Suite(name="seeds", question="?", cases=lambda _sweep: [StepConfig(seed=0), StepConfig(seed=1)])
    made = sweep.Sweep(preset=sweep.preset_for("smoke", "cpu"), template=StepConfig())
    why = "^suite: cases of 'seeds' have one name, graph-float32-b32-i224-synthetic-cpu, which leaves out seed; let"
    with pytest.raises(GnetError, match=why):
        sweep.plan_cases([suite], made, HERE)


def test_an_unknown_preset_is_refused_by_name():
    with pytest.raises(GnetError, match="preset: 'slow'"):
        sweep.preset_for("slow", "cpu")


def test_every_suite_compares_a_case_with_the_one_that_differs_in_what_it_varies_alone():
    cases = planned("full")
    compared = {(base.config.name, variant.config.name) for base, variant in sweep.comparisons(cases, SUITES)}
    graph, bfloat16 = (f"graph-{precision}-b16-i224-synthetic-cpu" for precision in ("float32", "mixed_bfloat16"))
    assert compared == {
        (graph, "eager-float32-b16-i224-synthetic-cpu"),
        (graph, "xla-float32-b16-i224-synthetic-cpu"),
        (graph, "graph-tf32-b16-i224-synthetic-cpu"),
        (graph, bfloat16),
        (graph, f"{graph}-part=forward"),
        (graph, f"{graph}-part=gradients"),
        (graph, f"{graph}-aux_weight=0"),
        (f"{graph}-layers=keras", graph),
        (f"{bfloat16}-layers=keras", bfloat16),
    }


@pytest.mark.parametrize(
    ("chosen", "peers"),
    [
        ({}, {("eager", "torch"), ("xla", "jax")}),
        ({"execution": ("graph",)}, {("graph", "torch")}),  # torch.compile, which takes minutes on a CPU
        ({"execution": ("eager",)}, {("eager", "torch")}),
        ({"execution": ("xla", "eager")}, {("eager", "torch"), ("xla", "jax")}),
    ],
)
def test_each_peer_is_compared_with_our_graph_of_the_same_precision(chosen, peers):
    (frameworks,) = [suite for suite in SUITES if suite.name == "frameworks"]
    preset = sweep.preset_for("full", "cpu")
    cases = sweep.plan_cases([frameworks], sweep.Sweep(preset=preset, template=StepConfig(), chosen=chosen), HERE)
    compared = {(base.config.name, variant.config.name) for base, variant in sweep.comparisons(cases, [frameworks])}
    assert compared == {
        (
            f"graph-{precision}-b16-i224-synthetic-cpu",
            f"{execution}-{precision}-b16-i224-synthetic-cpu-framework={name}",
        )
        for precision in ("float32", "mixed_bfloat16")
        for execution, name in peers
    }


def test_on_a_gpu_our_own_executions_stand_beside_the_peers_and_are_not_compared_with_each_other():
    (frameworks,) = [suite for suite in SUITES if suite.name == "frameworks"]
    preset = sweep.preset_for("full", "gpu:0")
    cases = sweep.plan_cases([frameworks], sweep.Sweep(preset=preset, template=StepConfig(device="gpu:0")), HERE)
    ours = {case.config.execution for case in cases if case.config.framework == "tensorflow"}
    compared = {
        (base.config.framework, base.config.execution, variant.config.framework, variant.config.execution)
        for base, variant in sweep.comparisons(cases, [frameworks])
    }
    assert ours == {"eager", "graph", "xla"}
    assert compared == {
        ("tensorflow", "graph", name, execution)
        for name, execution in (("torch", "eager"), ("torch", "graph"), ("jax", "xla"))
    }


def test_a_framework_with_an_interpreter_of_its_own_is_measured_once_and_compared_with_the_source_that_names_it():
    (frameworks,) = [suite for suite in SUITES if suite.name == "frameworks"]
    preset = sweep.preset_for("smoke", "cpu")
    chosen: dict[sweep.Axis, tuple[Any, ...]] = {"precision": ("float32",)}
    swept = sweep.Sweep(preset=preset, template=StepConfig(), chosen=chosen)
    old, new = (sweep.Source(name=name, python=name, checkout=ROOT) for name in ("old", "new"))
    own = dataclasses.replace(old, peers={"torch": "torch's"})
    measured = [(case.config.framework, case.source) for case in sweep.plan_cases([frameworks], swept, [own, new])]
    # JAX has none of its own, so it is an old source's and a new one's like TensorFlow.
    assert measured == [
        *[("tensorflow", "old"), ("tensorflow", "new"), ("torch", "old"), ("jax", "old"), ("jax", "new")],
    ]
    cases = sweep.plan_cases([frameworks], swept, [own, new])
    pairs = sweep.comparisons(cases, [frameworks])
    of_torch = [(base.source, variant.source) for base, variant in pairs if variant.config.framework == "torch"]
    assert of_torch == [("old", "old")]
    assert (own.interpreter("torch"), own.environment_name("torch")) == ("torch's", "torch")
    assert (own.interpreter("jax"), own.environment_name("jax")) == ("old", "old")


def test_each_source_measures_every_case_and_the_first_is_what_the_others_are_compared_with():
    preset = sweep.preset_for("smoke", "cpu")
    template = StepConfig(image_size=preset.image_size)
    (throughput,) = [suite for suite in SUITES if suite.name == "throughput"]
    chosen: dict[sweep.Axis, tuple[Any, ...]] = {"precision": ("float32",)}
    cases = sweep.plan_cases(
        [throughput],
        sweep.Sweep(preset=preset, template=template, chosen=chosen),
        [sweep.Source(name=name, checkout=ROOT) for name in ("old", "new")],
    )
    old, new = cases
    assert (old.name, new.name) == (f"{old.config.name}@old", f"{old.config.name}@new")
    assert sweep.comparisons(cases, [throughput]) == [(old, new)]


@pytest.mark.parametrize("name", ["quick", "full"])
def test_on_a_gpu_a_block_is_long_enough_for_its_clock_and_the_percentiles_take_no_longer(name):
    cpu, gpu = (sweep.preset_for(name, device).plan for device in ("cpu", "gpu:0"))
    assert (cpu.block_seconds, gpu.block_seconds) == (0.5, 2.0)
    assert cpu.single_seconds == gpu.single_seconds == 0.5
    assert dataclasses.replace(gpu, block_seconds=cpu.block_seconds) == cpu


def test_a_block_shorter_than_its_percentiles_need_has_as_many_single_steps():
    assert sweep.Plan(block_seconds=0.1).single_seconds == 0.1


def test_a_suite_may_vary_any_field_of_a_case_and_no_other():
    swept = sweep.Sweep(
        preset=sweep.preset_for("smoke", "cpu"), template=StepConfig(seed=3), chosen={"execution": ("xla",)}
    )
    cases = swept.cases(execution=("graph", "eager"), image_size=(96, 128), widths=("published", "paper"))
    assert [(case.image_size, case.widths) for case in cases] == [
        *[(96, "published"), (96, "paper"), (128, "published"), (128, "paper")],
    ]
    assert {(case.execution, case.batch_size, case.seed) for case in cases} == {("xla", 8, 3)}
    with pytest.raises(GnetError, match="config: unknown field 'depth'; known are"):
        swept.cases(depth=(1, 2))
    with pytest.raises(GnetError, match="image_size: 10 will not do"):
        swept.cases(image_size=(10,))
