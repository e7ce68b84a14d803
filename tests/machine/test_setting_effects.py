"""A setting acts, changes nothing or cannot be verified, by what was observed with it and without it."""

import copy

import pytest

from gnet_core.machine.setting_effects import setting_effects, why_left_out
from tests.conftest import environment_of


def observing(environment, **observed):
    plain = copy.deepcopy(environment)
    plain["tensorflow"]["observed"] = {"oneDNN": "on", "float32 products": "of float32 numbers", **observed}
    return environment_of(plain)


@pytest.mark.parametrize(
    ("variable", "value", "observed", "effect", "evidence"),
    [
        ("TF_ENABLE_ONEDNN_OPTS", "0", {"oneDNN": "off"}, "acts", "oneDNN: off, and on without it"),
        ("TF_ENABLE_ONEDNN_OPTS", "1", {}, "changes nothing", "oneDNN: on, as without it"),
        ("TF_XLA_FLAGS", "--tf_xla_auto_jit=2", {"graphs": "clustered for XLA"}, "unverified", ""),
        ("XLA_FLAGS", "--xla_cpu_use_onednn=true", {}, "unverified", ""),
        (
            "TF_SET_ONEDNN_FPMATH_MODE",
            "BF16",
            {"float32 products": "of bfloat16 numbers"},
            "acts",
            "float32 products: of bfloat16 numbers, and of float32 numbers without it",
        ),
    ],
)
def test_an_effect_is_what_was_observed_with_and_without(environment, variable, value, observed, effect, evidence):
    without, here = observing(environment), observing(environment, **observed)
    (found,) = setting_effects({variable: value}, here, without)
    assert (found.effect, found.evidence) == (effect, evidence)
    assert str(found).startswith(f"{variable}={value} {effect}")
    (unknown,) = setting_effects({variable: value}, here, None)
    assert (unknown.effect, unknown.evidence) == ("unverified", "")


def test_flags_of_xla_show_only_where_they_ask_for_clusters(environment):
    without = observing(environment, graphs="not clustered for XLA")
    clustered = observing(environment, graphs="clustered for XLA")
    for flags, here, effect in (
        ("--tf_xla_auto_jit=2", clustered, "acts"),
        ("--tf_xla_auto_jit=2", without, "changes nothing"),  # on a CPU it takes another flag as well
        ("--tf_xla_min_cluster_size=8", without, "unverified"),
    ):
        (found,) = setting_effects({"TF_XLA_FLAGS": flags}, here, without)
        assert (found.effect, found.decides) == (effect, "execution")


def test_threads_are_told_by_frameworks(environment):
    environment["torch"] = {"version": "2.13.0", "threads": 2}
    fewer = copy.deepcopy(environment)
    fewer["torch"]["threads"] = 1
    fewer["tensorflow"]["intra_op_threads"] = 1
    variables = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    effects = setting_effects(variables, environment_of(fewer), environment_of(environment))
    assert [(one.effect, one.evidence) for one in effects] == [
        ("acts", "intra-op threads: 1, and 0 without it"),
        ("acts", "PyTorch's threads: 1, and 2 without it"),
    ]


def test_code_that_takes_a_setting_out_is_found_out(environment):
    environment["machine"]["environment_variables"] = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    there = environment_of(environment)
    assert why_left_out({"TF_ENABLE_ONEDNN_OPTS": "0"}, there) == ""
    for lacking in ({"TF_ENABLE_ONEDNN_OPTS": "1"}, {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}):
        assert next(iter(lacking)) in why_left_out(lacking, there)
