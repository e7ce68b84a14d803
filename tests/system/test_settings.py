"""What the environment asks for and a case defines does not act; what only changes its speed does, and is recorded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gnet_core.system import children, settings, variables

ROOT = Path(__file__).parents[2]

DAMAGED = ["{", "[]", "3", '"x"', "\x00", '{"backend": 3}', '{"floatx": "bfloat7"}', '{"epsilon": "small"}']


def held(**environ: str) -> tuple[dict[str, str], dict[str, str]]:
    """An environment after it was held, and what is noted as left out."""
    settings.hold(environ)
    return environ, json.loads(environ.get(settings.LEFT_OUT_VARIABLE, "{}"))


@pytest.mark.parametrize(
    "name",
    [
        *("TF_XLA_FLAGS", "TF_FUNCTION_JIT_COMPILE_DEFAULT", "TF_JIT_COMPILE_REWRITE", "JAX_DISABLE_JIT"),
        *("TORCHDYNAMO_DISABLE", "TORCHDYNAMO_SUPPRESS_ERRORS", "TORCH_COMPILE_DISABLE", "JAX_COMPILATION_CACHE_DIR"),
        *("TF_SET_ONEDNN_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
        *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "JAX_DEFAULT_MATMUL_PRECISION"),
        *("TF_ENABLE_AUTO_MIXED_PRECISION", "TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE", "JAX_ENABLE_X64"),
        *("TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_LEVEL", "TF_FP16_MATMUL_USE_FP32_COMPUTE", "JAX_PLATFORMS"),
        *("XLA_PYTHON_CLIENT_MEM_FRACTION", "TF_FORCE_GPU_ALLOW_GROWTH", "KERAS_MAX_EPOCHS", "KERAS_NNX_ENABLED"),
        *("KERAS_TORCH_DEVICE", "TF_USE_LEGACY_KERAS"),
    ],
)
def test_what_would_decide_what_a_case_is_is_left_out_and_noted(name):
    environ, noted = held(**{name: "1"})
    assert name not in environ
    assert noted == {name: "1"}
    assert settings.defined_by_case(name)
    assert name not in variables.recorded({name: "1"})


@pytest.mark.parametrize("name", ["KERAS_BACKEND", "KERAS_HOME", "XLA_PYTHON_CLIENT_PREALLOCATE"])
def test_what_the_suite_sets_is_set_whatever_was_asked_for(name):
    environ, noted = held(**{name: "nonsense"})
    assert environ[name] == settings.SET[name]
    assert noted == {name: "nonsense"}
    again, noted = held(**{name: settings.SET[name]})
    assert again[name] == settings.SET[name]
    assert noted == {}


def test_where_nothing_was_asked_for_nothing_is_noted():
    environ, _ = held(TF_ENABLE_ONEDNN_OPTS="0", TF_XLA_FLAGS="")
    assert environ == {"TF_ENABLE_ONEDNN_OPTS": "0", **settings.SET}


def test_a_child_knows_what_its_parent_has_left_out():
    environ, _ = held(KERAS_BACKEND="torch")
    settings.hold(environ)
    assert json.loads(environ[settings.LEFT_OUT_VARIABLE]) == {"KERAS_BACKEND": "torch"}


@pytest.mark.parametrize("noted", ["", "{", "[1]", "3", '{"a": {"b": 1}}'])
def test_a_note_that_no_parent_wrote_is_no_traceback(noted):
    environ, _ = held(**{settings.LEFT_OUT_VARIABLE: noted, "TF_XLA_FLAGS": "--x"})
    assert json.loads(environ[settings.LEFT_OUT_VARIABLE])["TF_XLA_FLAGS"] == "--x"


@pytest.mark.parametrize(
    ("flags", "kept", "left_out"),
    [
        ("--xla_dump_to=/a", "--xla_dump_to=/a", ""),
        ("--xla_cpu_enable_fast_math=true", "", "--xla_cpu_enable_fast_math=true"),
        ("  --xla_allow_excess_precision=false\t--xla_b", "--xla_b", "--xla_allow_excess_precision=false"),
        ("--xla_dump_to='a precision' --xla_b", "--xla_dump_to='a precision' --xla_b", ""),
        ("-xla_force_host_platform_device_count=8", "", "-xla_force_host_platform_device_count=8"),
        ("/a/file/of/flags", "", "/a/file/of/flags"),
    ],
)
def test_of_xlas_flags_only_those_that_tune_it_stay(flags, kept, left_out):
    environ, noted = held(XLA_FLAGS=flags)
    assert environ.get("XLA_FLAGS", "") == kept
    assert noted.get("XLA_FLAGS", "") == left_out


@pytest.mark.parametrize(
    "name",
    [
        *(
            "TF_CPU_ALLOCATOR_USE_BFC",
            "TF_OVERRIDE_GLOBAL_THREADPOOL",
            "TF_MKL_ALLOC_MAX_BYTES",
            "TF_DUMP_GRAPH_PREFIX",
        ),
        *("TF_GRAPH_CACHING", "TF_DATA_EXPERIMENT_OPT_IN", "TF_BFC_MEMORY_DUMP", "TF_NUM_INTRAOP_THREADS"),
        *("TF_ENABLE_ONEDNN_OPTS", "TF_SYNC_ON_FINISH", "TF_RUN_HANDLER_QUEUE_SHARDS", "TF_DETERMINISTIC_OPS"),
        *("GLIBC_TUNABLES", "KMP_BLOCKTIME", "GOMP_CPU_AFFINITY", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"),
        *("JAX_DEBUG_NANS", "JAXLIB_X", "TORCHINDUCTOR_MAX_AUTOTUNE", "TORCH_CUDNN_V8_API_DISABLED", "NPROC"),
        *("PYTORCH_CUDA_ALLOC_CONF", "ATEN_CPU_CAPABILITY", "OPENBLAS_NUM_THREADS", "NCCL_ALGO", "PJRT_NPROC"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONOPTIMIZE", "MIMALLOC_SHOW_STATS", "TCMALLOC_X"),
        *(
            "CUDA_VISIBLE_DEVICES",
            "CUBLAS_WORKSPACE_CONFIG",
            "DNNL_MAX_CPU_ISA",
            "ONEDNN_VERBOSE",
            "GNET_DELAY_SECONDS",
        ),
    ],
)
def test_what_may_change_how_fast_a_case_is_is_recorded_and_reaches_workers(monkeypatch, name):
    assert variables.recorded({name: "1"}) == {name: "1"}
    monkeypatch.setenv(name, "1")
    assert children.environment()[name] == "1"


@pytest.mark.parametrize(
    "name",
    [
        *("TF_VAR_password", "TF_TOKEN_app_terraform_io", "TF_CLI_CONFIG_FILE", "TF_HTTP_PASSWORD", "TF_WORKSPACE"),
        *("HOME", "AWS_SECRET_ACCESS_KEY", "TF_CPP_MIN_LOG_LEVEL", "PYTHONHASHSEED", settings.LEFT_OUT_VARIABLE),
    ],
)
def test_what_is_anothers_or_means_nothing_is_not_recorded(name):
    assert variables.recorded({name: "1"}) == {}


def test_a_value_that_is_no_text_is_recorded_as_one_that_every_file_can_hold():
    assert variables.recorded({"LD_PRELOAD": "a\udcffb"}) == {"LD_PRELOAD": "a\ufffdb"}


def report_of_keras(home: Path, **variables_asked: str) -> dict[str, object]:
    """What a process of its own has Keras do, whose home holds a .keras/keras.json."""
    code = """
import json, gnet_core
from gnet_core.system import settings
import keras
config = [keras.config.backend(), keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon()]
network = gnet_core.GoogleNet_2((67, 67, 3), 4)
print(json.dumps({"config": config, "shape": list(network.inception_model.layers[1].kernel.shape),
                  "policy": network.layers[1].dtype_policy.name, "left_out": settings.left_out()}))
"""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environ | variables_asked, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    report: dict[str, object] = json.loads(answer.stdout.splitlines()[-1])
    return report


AUTO_JIT = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"


def test_no_variable_turns_a_graph_into_a_program_of_xlas():
    code = """
import sys, gnet_core.frameworks.tf.peaks as peaks
import tensorflow as tf
graph = tf.function(lambda x: tf.tanh(tf.matmul(x, x)) * 2 + tf.matmul(x, x), autograph=False)
print(float(tf.reduce_sum(graph(tf.ones((8, 8))))))
"""
    hostile = {"TF_XLA_FLAGS": AUTO_JIT, "TF_FUNCTION_JIT_COMPILE_DEFAULT": "1", "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [sys.executable, "-c", code]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **hostile}
    answer = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert "Compiled cluster using XLA" not in answer.stderr


USUAL = ["tensorflow", "channels_last", "float32", 1e-7]


def test_neither_variables_nor_a_file_of_settings_change_what_keras_builds(tmp_path):
    (tmp_path / ".keras").mkdir()
    others = {"backend": "torch", "floatx": "float64", "image_data_format": "channels_first", "epsilon": 0.1}
    (tmp_path / ".keras/keras.json").write_text(json.dumps(others))
    report = report_of_keras(tmp_path, KERAS_BACKEND="nonsense", KERAS_MAX_EPOCHS="many", KERAS_NNX_ENABLED="true")
    assert report["config"] == USUAL
    assert report["shape"] == [7, 7, 3, 64]
    assert report["policy"] == "float32"
    left_out = report["left_out"]
    assert isinstance(left_out, dict)
    assert json.loads(left_out.pop("keras.json")) == others
    assert left_out == {"KERAS_BACKEND": "nonsense", "KERAS_MAX_EPOCHS": "many", "KERAS_NNX_ENABLED": "true"}


def test_a_damaged_file_of_settings_is_reported_and_changes_nothing(tmp_path):
    home = tmp_path / "elsewhere"
    home.mkdir()
    (home / "keras.json").write_text('{"floatx": ')
    report = report_of_keras(tmp_path, KERAS_HOME=str(home))
    assert report["config"] == USUAL
    assert report["left_out"] == {"keras.json": "damaged"}


@pytest.mark.parametrize("text", DAMAGED)
def test_whatever_a_file_of_settings_holds_is_reported_without_a_traceback(tmp_path, text):
    file = tmp_path / "keras.json"
    file.write_text(text)
    assert settings._keras_settings(file)


def test_a_file_of_settings_that_is_usual_or_missing_is_not_reported(tmp_path):
    file = tmp_path / "keras.json"
    assert settings._keras_settings(file) == ""
    file.write_text(json.dumps(settings._KERAS_DEFAULTS | {"other": 1}))
    assert settings._keras_settings(file) == ""
    file.unlink()
    os.mkfifo(file)
    assert settings._keras_settings(file) == "damaged"


def test_keras_imported_first_is_set_as_a_case_needs_it(tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "float64", "image_data_format": "channels_first"}')
    code = "import keras; import gnet_core; c = keras.config; "
    code += "print(c.floatx(), c.image_data_format(), c.dtype_policy().name)"
    environ = {**os.environ, "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    answer = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["float32", "channels_last", "float32"]


def test_keras_on_another_backend_already_is_refused_in_one_line(monkeypatch):
    import keras

    from gnet_core.config import GnetError

    settings.require_keras_backend("tensorflow")
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(GnetError, match="keras: it runs on 'torch' in this process already, and tensorflow is needed"):
        settings.require_keras_backend("tensorflow")


def test_what_a_source_was_asked_to_have_stays_and_is_recorded(monkeypatch):
    asked = {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2", "XLA_FLAGS": "--xla_allow_excess_precision=false"}
    environ = children.environment(asked)
    settings.hold(environ)
    assert {name: environ[name] for name in asked} == asked
    assert settings.LEFT_OUT_VARIABLE not in environ
    monkeypatch.setattr(settings, "_started_with", environ)
    assert settings.asked() == asked
    assert variables.recorded().items() >= asked.items()
    assert settings.ASKED_VARIABLE not in variables.recorded()


def test_what_was_asked_for_acts_only_as_it_was_asked_for():
    noted = json.dumps({"TF_XLA_FLAGS": "--tf_xla_auto_jit=1", "KERAS_BACKEND": "jax"})
    environ, left_out = held(TF_XLA_FLAGS="--tf_xla_auto_jit=2", KERAS_BACKEND="jax", GNET_SETTINGS=noted)
    assert "TF_XLA_FLAGS" not in environ
    assert environ["KERAS_BACKEND"] == "tensorflow"
    assert set(left_out) == {"TF_XLA_FLAGS", "KERAS_BACKEND"}


@pytest.mark.parametrize("nonsense", DAMAGED)
def test_nonsense_in_place_of_what_was_asked_for_asks_for_nothing(nonsense):
    environ, left_out = held(TF_XLA_FLAGS="--tf_xla_auto_jit=2", GNET_SETTINGS=nonsense)
    assert "TF_XLA_FLAGS" not in environ
    assert left_out == {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}


def test_no_child_inherits_what_another_was_asked_to_have(monkeypatch):
    monkeypatch.setenv("GNET_SETTINGS", json.dumps({"TF_XLA_FLAGS": "x"}))
    assert "GNET_SETTINGS" not in children.environment()
    assert json.loads(children.environment({"A": "1"})["GNET_SETTINGS"]) == {"A": "1"}
