"""The tox environments: each factor is explained, they combine, and those of a release share its installation."""

import configparser
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gnet_core.cli.bench import bench
from gnet_core.plan.request import BenchRequest

ROOT = Path(__file__).parents[1]
FACTORS = ("eager", "graph", "xla", "autocluster", "fp32", "bf16", "fp16", "onednn0", "threads1", "fpmathbf16")


def tox(*words):
    command = [sys.executable, "-m", "tox", *words]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def listed():
    """The environments that `tox list` names, with their explanations."""
    lines = (line.partition(" -> ") for line in tox("list").splitlines() if " -> " in line)
    return {name.strip(): explained.strip() for name, _, explained in lines}


@pytest.mark.parametrize("factor", FACTORS)
def test_each_configuration_is_explained_for_each_release(listed, factor):
    for release in ("tf219", "tf220", "tf221"):
        explained = listed[f"{release}-cpu-{factor}"]
        assert explained.startswith(f"gnet bench with TensorFlow 2.{release[3:]} on a CPU: ")
        assert len(explained) > 50
    assert listed["matrix"]
    assert listed["matrix-gpu"]


def command_of(environment, *words):
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(
        tox("config", "-e", environment, "-k", "commands", "env_dir", "deps", *(("--", *words) if words else ()))
    )
    return config[f"testenv:{environment}"]


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ("tf220-cpu-xla-bf16", {"execution": ("xla",), "precision": ("mixed_bfloat16",)}),
        ("tf221-cpu-graph-xla", {"execution": ("graph", "xla")}),
        ("tf221-gpu-tf32", {"precision": ("tf32",)}),
        (
            "tf219-cpu-onednn0-threads1-eager",
            {
                "execution": ("eager",),
                "settings": ("onednn0-threads1=TF_ENABLE_ONEDNN_OPTS=0,TF_NUM_INTRAOP_THREADS=1,OMP_NUM_THREADS=1",),
            },
        ),
        (
            "tf221-cpu-autocluster",
            {"settings": ("autocluster=TF_XLA_FLAGS=--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",)},
        ),
    ],
)
def test_factors_combine_into_options_that_the_command_takes(environment, options):
    import shlex

    section = command_of(environment)
    program, command, *words = shlex.split(section["commands"])
    release = environment.split("-")[0]
    device = environment.split("-")[1]
    assert Path(program).parts[-3:] == (f"{release}-{device}", "bin", "gnet")  # the installation of the release
    assert command == "bench"
    context = bench.make_context("bench", words)
    parsed = BenchRequest(**context.params)
    assert {name: getattr(parsed, name) for name in options} == options
    assert parsed.suites == ("throughput",)
    assert parsed.device == ("gpu" if device == "gpu" else "auto")
    assert section.get("deps", "").strip() == ""


def test_words_after_the_dashes_replace_the_default():
    assert command_of("tf221-cpu-xla", "execution", "--preset", "smoke")["commands"].endswith(
        "bench --execution=xla execution --preset smoke"
    )


@pytest.mark.parametrize(
    "name",
    [
        *("tf221-cpu-xlaa", "tf221", "tf221-xla", "cpu-tf221-xla", "xla", "tf218-cpu-xla"),
        "tf221-gpu-onednn0",  # which makes no difference on a GPU
    ],
)
def test_what_names_no_installation_and_configuration_of_it_is_refused_in_a_line(name):
    command = [sys.executable, "-m", "tox", "config", "-e", name, "-k", "commands"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert f"{name}: there is no such environment" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_files_of_the_matrix_name_what_it_installs(device):
    sources = tomllib.loads((ROOT / "benchmarks" / f"releases-{device}.toml").read_text())["source"]
    named = [source["name"] for source in sources]
    assert named == sorted(named)
    assert [source["python"] for source in sources] == [f"../.tox/{name}-{device}/bin/python" for name in named]
    provided = re.search(rf"^ +!?gpu: - tox run --notest -e (tf219-{device}.*)$", (ROOT / "tox.ini").read_text(), re.M)
    assert provided
    assert provided[1].split(",") == [f"{name}-{device}" for name in named]
