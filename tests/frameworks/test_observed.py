"""What TensorFlow itself shows of settings, each in a process of its own."""

import sys
from pathlib import Path

import pytest

from gnet_core.machine.description import USABLE_THREADS
from gnet_core.machine.setting_effects import setting_effects
from gnet_core.plan.suites import Source
from gnet_core.run.discovery import probe

ROOT = Path(__file__).parents[2]


def environment(**variables):
    return probe(Source(python=sys.executable, checkout=ROOT, variables=variables), observe=True)


@pytest.fixture(scope="module")
def without():
    return environment()


@pytest.mark.parametrize(
    ("variables", "effect", "name"),
    [
        ({"TF_NUM_INTRAOP_THREADS": str(USABLE_THREADS + 1)}, "acts", "intra-op and other threads: "),
        (
            {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"},
            "acts",
            "graphs on the CPU: clustered for XLA",
        ),
        ({"TF_XLA_FLAGS": "--tf_xla_auto_jit=0"}, "changes nothing", "graphs on the CPU: not clustered for XLA"),
    ],
)
def test_a_setting_acts_where_tensorflow_shows_another_behaviour(without, variables, effect, name):
    (found,) = setting_effects(variables, environment(**variables), without)
    assert found.effect == effect, found
    assert name in found.evidence


def test_onednn_acts_where_it_is_not_what_tensorflow_chooses_for_the_processor(without):
    """It is on by default where there is AVX-512, and off elsewhere."""
    off, on = (
        setting_effects({"TF_ENABLE_ONEDNN_OPTS": value}, environment(TF_ENABLE_ONEDNN_OPTS=value), without)[0]
        for value in ("0", "1")
    )
    assert {off.effect, on.effect} == {"acts", "changes nothing"}
    assert "oneDNN: off" in off.evidence
    assert "oneDNN: on" in on.evidence
