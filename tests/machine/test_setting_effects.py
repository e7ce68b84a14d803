"""A setting acts, changes nothing or cannot be verified, by what was observed with it and without it."""

import copy

import pytest

from gnet_core.machine.setting_effects import setting_effects, why_left_out
from tests.conftest import environment_of


def observing(environment, observed):
    plain = copy.deepcopy(environment)
    plain["tensorflow"]["observed"] = {"oneDNN": "on", "float32 products on the CPU": "of float32 numbers"} | observed
    return environment_of(plain)


@pytest.mark.parametrize(
    ("variable", "value", "observed", "effect", "evidence"),
    [
        ("TF_ENABLE_ONEDNN_OPTS", "0", {"oneDNN": "off"}, "acts", "oneDNN: off, and on without it"),
        ("TF_ENABLE_ONEDNN_OPTS", "1", {}, "changes nothing", "oneDNN: on, as without it"),
        ("TF_XLA_FLAGS", "--tf_xla_auto_jit=2", {"graphs on the CPU": "clustered for XLA"}, "unverified", ""),
        ("XLA_FLAGS", "--xla_cpu_use_onednn=true", {}, "unverified", ""),
        (
            "TF_SET_ONEDNN_FPMATH_MODE",
            "BF16",
            {"float32 products on the CPU": "of bfloat16 numbers"},
            "acts",
            "float32 products on the CPU: of bfloat16 numbers, and of float32 numbers without it",
        ),
    ],
)
def test_an_effect_is_what_was_observed_with_and_without(environment, variable, value, observed, effect, evidence):
    without, here = observing(environment, {}), observing(environment, observed)
    (found,) = setting_effects({variable: value}, here, without)
    assert (found.effect, found.evidence) == (effect, evidence)
    assert str(found).startswith(f"{variable}={value} {effect}")
    (unknown,) = setting_effects({variable: value}, here, None)
    assert (unknown.effect, unknown.evidence) == ("unverified", "")


def test_flags_of_xla_show_only_where_they_ask_for_clusters_and_nothing_else(environment):
    without = observing(environment, {"graphs on the CPU": "not clustered for XLA"})
    clustered = observing(environment, {"graphs on the CPU": "clustered for XLA"})
    for flags, here, effect in (
        ("--tf_xla_auto_jit=2", clustered, "acts"),
        ("--tf_xla_auto_jit=2", without, "changes nothing"),  # on a CPU it takes another flag as well
        ("--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit", without, "changes nothing"),
        ("--tf_xla_min_cluster_size=8", without, "unverified"),
        ("--tf_xla_auto_jit=2 --tf_xla_min_cluster_size=50", without, "unverified"),  # the step may have such clusters
        ("--tf_xla_auto_jit=fusible", without, "unverified"),
    ):
        (found,) = setting_effects({"TF_XLA_FLAGS": flags}, here, without)
        assert (found.effect, found.decides) == (effect, "execution")


def test_of_two_variables_that_show_in_one_thing_neither_is_said_to_act(environment):
    without = observing(environment, {})
    here = observing(environment, {"float32 products on the CPU": "of bfloat16 numbers"})
    variables = {"TF_SET_ONEDNN_FPMATH_MODE": "BF16", "NVIDIA_TF32_OVERRIDE": "0"}
    assert {one.effect for one in setting_effects(variables, here, without)} == {"unverified"}


def test_a_setting_may_act_on_one_device_alone(environment):
    products = {
        "float32 products on the CPU": "of float32 numbers",
        "float32 products on the first GPU": "of TF32 numbers",
    }
    without = observing(environment, products)
    here = observing(environment, products | {"float32 products on the first GPU": "of float32 numbers"})
    (found,) = setting_effects({"NVIDIA_TF32_OVERRIDE": "0"}, here, without)
    assert found.evidence == "float32 products on the first GPU: of float32 numbers, and of TF32 numbers without it"


def test_threads_are_those_that_a_process_has(environment):
    without = observing(environment, {"intra-op and other threads": "5"})
    here = observing(environment, {"intra-op and other threads": "4"})
    variables = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    assert [(one.effect, one.evidence) for one in setting_effects(variables, here, without)] == [
        ("acts", "intra-op and other threads: 4, and 5 without it"),
        ("unverified", ""),
    ]


def test_flags_in_xla_flags_decide_what_variables_of_their_own_would(environment):
    (found,) = setting_effects({"XLA_FLAGS": "--xla_allow_excess_precision=true"}, environment_of(environment), None)
    assert found.decides == "precision"


def test_code_that_takes_a_setting_out_is_found_out(environment):
    environment["machine"]["environment_variables"] = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    there = environment_of(environment)
    assert why_left_out({"TF_ENABLE_ONEDNN_OPTS": "0"}, there) == ""
    for lacking in ({"TF_ENABLE_ONEDNN_OPTS": "1"}, {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}):
        assert next(iter(lacking)) in why_left_out(lacking, there)
