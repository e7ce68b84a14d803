"""Peaks: that each candidate does the work it is credited with, and what is made of its times; on tiny sizes."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from gnet_core.config import GnetError
from gnet_core.frameworks.tf import peaks
from gnet_core.frameworks.tf.peaks import Images, Timing

IMAGES = Images(batch=2, side=5, channels=4)
MATMUL = peaks.matrix_product(8, repetitions=3)
FORWARD = peaks.convolution(IMAGES, repetitions=3)
INPUT_GRADIENT = peaks.input_gradient(IMAGES, repetitions=3)
FILTER_GRADIENT = peaks.filter_gradient(IMAGES, repetitions=3)
TINY = [MATMUL, FORWARD, INPUT_GRADIENT, FILTER_GRADIENT]
ALL = [*TINY, *peaks.candidates_for("cpu"), *peaks.candidates_for("gpu")]


@pytest.fixture
def tiny(monkeypatch):
    """A measurement that is over at once."""
    monkeypatch.setattr(peaks, "candidates_for", lambda _: TINY)
    monkeypatch.setattr(peaks, "COPY_BYTES", {"cpu": 2**16})


def name(candidate):
    return candidate.operation


def run(candidate, dtype=tf.float32):
    """A candidate's inputs, and its results as a graph has them."""
    inputs = candidate.make_inputs(dtype)
    return inputs, tf.function(candidate.call, autograph=False)(*inputs)


def convolve(x, kernel):
    return tf.nn.conv2d(x, kernel, strides=1, padding="SAME")


def gradient_of(function, at, upstream):
    """The gradient by TensorFlow's own tape."""
    with tf.GradientTape() as tape:
        tape.watch(at)
        result = function(at)
    return tape.gradient(result, at, output_gradients=upstream)


@pytest.mark.parametrize("candidate", ALL, ids=name)
def test_a_candidate_is_credited_with_the_flop_that_tensorflow_counts_in_its_graph(candidate):
    specs = [tf.TensorSpec(shape) for shape in shapes(candidate)]
    graph = tf.function(candidate.call, autograph=False).get_concrete_function(*specs).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    counted = tf.compat.v1.profiler.profile(graph, cmd="scope", options=options).total_float_ops
    assert counted == candidate.flop * candidate.repetitions


def shapes(candidate):
    """Shapes of a candidate's inputs, without the memory that the large ones take."""
    inputs = tf.function(lambda: candidate.make_inputs(tf.float32)).get_concrete_function()
    return [tuple(shape) for shape in inputs.output_shapes]


def test_the_chain_of_matrix_products_is_the_product_of_them_all():
    (x, w), result = run(MATMUL)
    np.testing.assert_allclose(result, x.numpy() @ np.linalg.matrix_power(w.numpy(), 3), rtol=1e-4, atol=1e-6)


def test_the_chain_of_convolutions_is_one_after_the_other():
    (x, kernel), result = run(FORWARD)
    for _ in range(3):
        x = convolve(x, kernel)
    np.testing.assert_allclose(result, x, rtol=1e-4, atol=1e-6)


def test_the_chain_of_input_gradients_is_that_of_the_tape():
    (gradient, kernel), result = run(INPUT_GRADIENT)
    for _ in range(3):
        gradient = gradient_of(lambda x: convolve(x, kernel), tf.zeros(IMAGES.shape), gradient)
    np.testing.assert_allclose(result, gradient, rtol=1e-4, atol=1e-6)


def test_each_filter_gradient_is_that_of_the_tape():
    (x, *gradients), results = run(FILTER_GRADIENT)
    for gradient, result in zip(gradients, results, strict=True):
        expected = gradient_of(lambda kernel: convolve(x, kernel), tf.zeros(IMAGES.kernel), gradient)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_values_stay_in_range_through_a_long_chain_of_low_precision(dtype):
    for candidate in (peaks.matrix_product(64, repetitions=64), peaks.convolution(Images(1, 12, 64), repetitions=32)):
        _, result = run(candidate, dtype)
        assert result.dtype == dtype
        assert 1e-3 < float(tf.math.reduce_std(tf.cast(result, tf.float32))) < 10


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_each_operation_is_tried_once_and_the_smaller_of_a_kind_first(kind):
    candidates = peaks.candidates_for(kind)
    assert len({candidate.operation for candidate in candidates}) == len(candidates)
    by_kind: dict[str, list[int]] = {}
    for candidate in candidates:
        by_kind.setdefault(candidate.kind, []).append(candidate.flop)
    assert all(flop == sorted(flop) for flop in by_kind.values())


def test_both_copies_really_copy():
    source, target = tf.random.uniform((3, 4)), tf.Variable(tf.zeros((3, 4)))
    into_new, into_variable = peaks.copies(source, target)
    np.testing.assert_array_equal(into_new(), source)
    np.testing.assert_array_equal(target, tf.zeros((3, 4)))
    into_variable()
    np.testing.assert_array_equal(target, source)


def test_the_rate_of_a_candidate_is_that_of_its_best_call(monkeypatch):
    monkeypatch.setattr(peaks, "_call_seconds", lambda *_: (3.0, 1.5, 2.0))
    (timing,), _ = peaks.time_candidates([MATMUL], tf.float32, seconds=1.0)
    assert timing == Timing("matmul 8", 3072, (3.0, 1.5, 2.0), 1.5, 2.0, 2048.0)


def test_a_candidate_slower_than_its_share_runs_once_and_larger_ones_of_its_kind_do_not():
    larger, other = peaks.matrix_product(9), FORWARD
    timings, left_out = peaks.time_candidates([MATMUL, larger, other], tf.float32, seconds=3e-9)
    assert [(timing.operation, len(timing.seconds)) for timing in timings] == [("matmul 8", 1), (other.operation, 1)]
    assert left_out == {"matmul 9": "one call of a smaller one took over 1e-09 s"}


def test_a_candidate_without_memory_is_left_out():
    def no_memory(_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    timings, left_out = peaks.time_candidates(
        [MATMUL._replace(operation="huge", make_inputs=no_memory), MATMUL], tf.float32, seconds=1e-3
    )
    assert [timing.operation for timing in timings] == ["matmul 8"]
    assert left_out == {"huge": "not enough memory"}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_the_peak_is_the_best_of_all_candidates(precision):
    peak = peaks.measure(precision, "cpu", seconds=1e-3)
    assert (peak.precision, peak.device) == (precision, "cpu")
    rates = {timing.operation: timing.flop_per_second for timing in peak.candidates}
    assert list(rates) == [candidate.operation for candidate in TINY]
    assert rates[peak.operation] == peak.flop_per_second == max(rates.values())
    assert peak.copy_bytes_per_second > 0


@pytest.mark.usefixtures("tiny")
def test_a_peak_is_plain_data_for_json():
    peak = peaks.measure("float32", "cpu", seconds=1e-3)
    document = json.loads(json.dumps(dataclasses.asdict(peak), allow_nan=False))
    assert set(document) == {field.name for field in dataclasses.fields(peak)}
    first, timing = document["candidates"][0], peak.candidates[0]
    assert first == {
        "operation": "matmul 8",
        "flop_per_call": 3 * 2 * 8**3,
        "seconds": list(timing.seconds),
        "best_seconds": timing.best_seconds,
        "median_seconds": timing.median_seconds,
        "flop_per_second": timing.flop_per_second,
    }


@pytest.mark.parametrize(
    ("precision", "device", "seconds", "message"),
    [
        ("float64", "cpu", 1.0, r"precision: 'float64' is unknown; use one of float32"),
        ("tf32", "cpu", 1.0, r"precision: 'tf32' cannot be done on cpu"),
        ("float32", "tpu", 1.0, r"device: 'tpu' is unknown; use cpu or gpu:N"),
        ("float32", "gpu:99", 1.0, r"device: 'gpu:99' is not there"),
        ("float32", "cpu", 0.0, r"seconds: 0\.0 will not do; use a positive number"),
        ("float32", "cpu", float("inf"), r"seconds: inf will not do; use a positive number"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_field_and_value(precision, device, seconds, message):
    with pytest.raises(GnetError, match=message):
        peaks.measure(precision, device, seconds)


@pytest.mark.usefixtures("tiny")
def test_the_command_prints_one_json_document_by_precision(capsys):
    peaks.main(["--device", "cpu", "--precision", "float32,mixed_bfloat16", "--seconds", "0.001"])
    document = json.loads(capsys.readouterr().out)
    assert {name: peak["precision"] for name, peak in document.items()} == {
        "float32": "float32",
        "mixed_bfloat16": "mixed_bfloat16",
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--precision", "float32,double"], "precision: 'double' is unknown"),
        (["--device", "tpu"], "device: 'tpu' is unknown"),
        (["--seconds", "soon"], "'soon' is not a valid float"),
        (["--seconds", "-1"], "seconds: -1.0 will not do"),
    ],
)
def test_the_command_ends_with_status_2_and_one_line_for_bad_input(arguments, problem, capsys):
    with pytest.raises(SystemExit) as ended:
        peaks.main(arguments)
    output = capsys.readouterr()
    assert (ended.value.code, output.out) == (2, "")
    assert problem in output.err
    assert output.err.count("\n") == 1
