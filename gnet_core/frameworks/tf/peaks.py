"""The peak FLOP/s and bandwidth of a device in TensorFlow, measured: the denominator of an MFU.

`python -m gnet_core.frameworks.tf.peaks --device cpu --precision float32,mixed_bfloat16` prints one JSON document.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import click
import tensorflow as tf

from gnet_core.config import PRECISIONS, GnetError, Precision, StepConfig, require_choice
from gnet_core.frameworks.tf.device import environment, prepare, set_tf32, synchronise
from gnet_core.machine.devices import require_precision
from gnet_core.networks.builder import Tensor

DType = Any  # a tf.DType

SECONDS = 6.0
"""Seconds of all candidates' calls together. With MIN_CALLS of the largest that is 10 s of two processor cores."""
MIN_CALLS = 3
COPY_BYTES = {"cpu": 2**28, "gpu": 2**29}
"""Bytes of the tensor that is copied: many times a last-level cache."""
SEED = 20140917


class Candidate(NamedTuple):
    """One operation that may be the fastest, and how often a call repeats it."""

    kind: str
    """Among candidates of one kind, more FLOP take longer."""
    operation: str
    flop: int
    """FLOP of one repetition. Those of a convolution are of the direct algorithm, as in gnet_core.frameworks.flops."""
    repetitions: int
    make_inputs: Callable[[DType], list[Tensor]]
    call: Callable[..., Tensor]
    """Function of the inputs whose result needs every repetition."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The calls of one candidate."""

    operation: str
    flop_per_call: int
    seconds: tuple[float, ...]
    best_seconds: float
    median_seconds: float
    flop_per_second: float
    """FLOP/s of the fastest call: disturbances only make calls slower, and a peak is the best that was reached."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peak:
    """The best that was measured in one precision on one device."""

    precision: Precision
    device: str
    flop_per_second: float
    """FLOP/s of the fastest call of the fastest candidate, whose operation follows."""
    operation: str
    copy_bytes_per_second: float
    """Bytes read plus bytes written a second, in the best call of the better way to copy a float32 tensor."""
    candidates: tuple[Timing, ...]
    left_out: dict[str, str]
    """Candidates that were not timed, and why."""
    seconds: float
    """Seconds of the whole measurement, random inputs and tracing included."""


def measure(precision: Precision, device: str, seconds: float = SECONDS) -> Peak:
    """Time matrix products, convolutions and copies in a precision on a device ("cpu" or "gpu:N").

    Makes the device the only one and sets TF32 for the process. `seconds` are divided among the candidates; each is
    called MIN_CALLS times at least, so that it takes somewhat longer. Raises GnetError for an unknown precision or
    device, a device that is not there, a precision that it cannot do, and no positive number of seconds.
    """
    config = StepConfig(precision=precision, device=device)
    if not 0 < seconds < math.inf:
        raise GnetError(f"seconds: {seconds!r} will not do; use a positive number")
    start = time.perf_counter()
    name = prepare(config)
    require_precision(precision, device, environment())
    set_tf32(precision)
    kind = device.partition(":")[0]
    with tf.device(name):
        dtype = tf.as_dtype(config.compute_dtype)
        timings, left_out = time_candidates(candidates_for(kind), dtype, seconds)
        copied = copy_bytes_per_second(COPY_BYTES[kind], seconds / 10)
    if not timings:
        raise GnetError(f"device: {device!r} had no memory for any candidate; free some")
    best = max(timings, key=lambda timing: timing.flop_per_second)
    return Peak(
        precision=precision,
        device=device,
        flop_per_second=best.flop_per_second,
        operation=best.operation,
        copy_bytes_per_second=copied,
        candidates=timings,
        left_out=left_out,
        seconds=time.perf_counter() - start,
    )


def candidates_for(kind: str) -> list[Candidate]:
    """The candidates on a "cpu" or "gpu", the smaller ones of each kind first.

    The convolutions are 3×3 ones like those of the network's stem and fourth stage, with as many channels out as in so
    that they chain. A call is 9 GFLOP or more on a CPU, a TFLOP or more on a GPU: beside that its launch is little.
    """
    if kind == "cpu":
        stem, stage_4 = Images(batch=16, side=54, channels=192), Images(batch=64, side=12, channels=256)
        return [
            matrix_product(1024, repetitions=4),
            matrix_product(2048),
            matrix_product(4096),
            convolution(stage_4),
            convolution(stem),
            input_gradient(stage_4),
            filter_gradient(stage_4),
        ]
    stem, stage_4 = Images(batch=256, side=54, channels=192), Images(batch=1024, side=12, channels=256)
    return [
        matrix_product(4096, repetitions=64),
        matrix_product(8192, repetitions=8),
        matrix_product(16384),
        convolution(stage_4, repetitions=32),
        convolution(stem, repetitions=16),
        input_gradient(stem, repetitions=16),
        filter_gradient(stem, repetitions=4),  # few, since each needs memory of its own
    ]


def matrix_product(size: int, repetitions: int = 1) -> Candidate:
    """x ← x·w of two square matrices, 2·size³ FLOP."""
    return _chain("matmul", f"matmul {size}", 2 * size**3, (size, size), (size, size), tf.matmul, repetitions)


class Images(NamedTuple):
    """NHWC images of a 3×3 convolution that keeps their shape."""

    batch: int
    side: int
    channels: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.side, self.side, self.channels

    @property
    def kernel(self) -> tuple[int, int, int, int]:
        return 3, 3, self.channels, self.channels

    @property
    def flop(self) -> int:
        """FLOP of the convolution, and of each of its two gradients."""
        return 2 * math.prod(self.kernel) * self.batch * self.side**2

    def operation(self, kind: str) -> str:
        channels, side = self.channels, self.side
        return f"conv 3×3 {channels}→{channels} {side}×{side} batch {self.batch} {kind}"


def convolution(images: Images, repetitions: int = 1) -> Candidate:
    """x ← x convolved with w."""

    def step(x: Tensor, kernel: Tensor) -> Tensor:
        return tf.nn.conv2d(x, kernel, strides=1, padding="SAME")

    name = images.operation("forward")
    return _chain("conv forward", name, images.flop, images.shape, images.kernel, step, repetitions)


def input_gradient(images: Images, repetitions: int = 1) -> Candidate:
    """dy ← the convolution's gradient with respect to its input, given dy."""

    def step(gradient: Tensor, kernel: Tensor) -> Tensor:
        return tf.raw_ops.Conv2DBackpropInput(
            input_sizes=images.shape, filter=kernel, out_backprop=gradient, strides=[1, 1, 1, 1], padding="SAME"
        )

    name = images.operation("input gradient")
    return _chain("conv input gradient", name, images.flop, images.shape, images.kernel, step, repetitions)


def filter_gradient(images: Images, repetitions: int = 1) -> Candidate:
    """The convolution's gradient with respect to its filter; its shape cannot chain, so each repetition has its dy."""

    def call(x: Tensor, *gradients: Tensor) -> list[Tensor]:
        results: list[Tensor] = []
        for gradient in gradients:
            with tf.control_dependencies(results[-1:]):  # one after the other, as in a chain
                result = tf.raw_ops.Conv2DBackpropFilter(
                    input=x, filter_sizes=images.kernel, out_backprop=gradient, strides=[1, 1, 1, 1], padding="SAME"
                )
            results.append(result)
        return results

    def make_inputs(dtype: DType) -> list[Tensor]:
        summed = images.batch * images.side**2
        gradients = [_random(images.shape, dtype, 1 + index, fan_in=summed) for index in range(repetitions)]
        return [_random(images.shape, dtype, 0), *gradients]

    name = images.operation("filter gradient")
    return Candidate("conv filter gradient", name, images.flop, repetitions, make_inputs, call)


def _chain(
    kind: str,
    operation: str,
    flop: int,
    shape: tuple[int, ...],
    weights: tuple[int, ...],
    step: Callable[[Tensor, Tensor], Tensor],
    repetitions: int,
) -> Candidate:
    """x ← step(x, w). Each repetition reads the one before it, so that TensorFlow can neither merge nor omit any."""

    def make_inputs(dtype: DType) -> list[Tensor]:
        return [_random(shape, dtype, 0), _random(weights, dtype, 1, fan_in=math.prod(weights[:-1]))]

    def call(x: Tensor, other: Tensor) -> Tensor:
        for _ in range(repetitions):
            x = step(x, other)
        return x

    return Candidate(kind, operation, flop, repetitions, make_inputs, call)


def _random(shape: tuple[int, ...], dtype: DType, stream: int, fan_in: int = 1) -> Tensor:
    """Uniform of variance 1/fan_in, so that sums over fan_in products stay near 1 however long a chain is."""
    limit = math.sqrt(3 / fan_in)
    return tf.cast(tf.random.stateless_uniform(shape, (SEED, stream), -limit, limit), dtype)


def time_candidates(
    candidates: list[Candidate], dtype: DType, seconds: float
) -> tuple[tuple[Timing, ...], dict[str, str]]:
    """The candidates' timings, and by its name why one was left out: too little memory, or a smaller one too slow."""
    share = seconds / len(candidates)
    timings: list[Timing] = []
    left_out: dict[str, str] = {}
    slow_kinds: set[str] = set()
    for candidate in candidates:
        if candidate.kind in slow_kinds:
            left_out[candidate.operation] = f"one call of a smaller one took over {share:.3g} s"
            continue
        try:
            timings.append(_time(candidate, dtype, share))
        except tf.errors.ResourceExhaustedError:
            left_out[candidate.operation] = "not enough memory"
            continue
        if timings[-1].best_seconds > share:
            slow_kinds.add(candidate.kind)
    return tuple(timings), left_out


def _time(candidate: Candidate, dtype: DType, seconds: float) -> Timing:
    inputs = candidate.make_inputs(dtype)
    function = tf.function(candidate.call, autograph=False).get_concrete_function(*inputs)
    samples = _call_seconds(lambda: function(*inputs), seconds)
    flop, best = candidate.flop * candidate.repetitions, min(samples)
    return Timing(candidate.operation, flop, samples, best, statistics.median(samples), flop / best)


def _call_seconds(call: Callable[[], Any], seconds: float) -> tuple[float, ...]:
    """Seconds of each call, until all together took `seconds`: MIN_CALLS at least, after one to warm up."""
    synchronise()
    first = _synchronised_seconds(call)
    if first > seconds:
        return (first,)  # it has to do
    samples: list[float] = []
    while len(samples) < MIN_CALLS or first + sum(samples) < seconds:
        samples.append(_synchronised_seconds(call))
    return tuple(samples)


def _synchronised_seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    synchronise()
    return time.perf_counter() - start


def copy_bytes_per_second(size: int, seconds: float) -> float:
    """Bytes read plus bytes written a second, in the best call of the better of two ways to copy `size` bytes.

    Into new memory, and into that of a variable: on a CPU the new memory's pages must first be made. The lines of a
    cache that a processor reads only because it is about to overwrite them are not counted.
    """
    columns = 4096
    source = _random((size // (columns * tf.float32.size), columns), tf.float32, 0)
    ways = copies(source, tf.Variable(tf.zeros_like(source)))
    return 2 * size / min(min(_call_seconds(copy, seconds / len(ways))) for copy in ways)


def copies(source: Tensor, target: Tensor) -> list[Callable[[], Tensor]]:
    """A copy into new memory and one into the variable `target`; neither can be left out."""
    places = tf.range(source.shape[0], dtype=tf.int64)
    # tf.identity and Variable.assign would only share the memory.
    into_new = tf.function(lambda: tf.raw_ops.DeepCopy(x=source), autograph=False)
    into_variable = tf.function(lambda: target.scatter_update(tf.IndexedSlices(source, places)), autograph=False)
    return [into_new, into_variable]


@click.command(help="Measure what a device can do at best in TensorFlow and print one JSON document.")
@click.option("--device", default="cpu", metavar="cpu|gpu:N", show_default=True, help="Where to measure.")
@click.option(
    "--precision",
    default="float32",
    callback=lambda _context, _option, precisions: tuple(precisions.split(",")),
    show_default=True,
    help=f"Of {', '.join(PRECISIONS)}.",
)
@click.option("--seconds", type=float, default=SECONDS, show_default=True, help="Of calls, each precision.")
def command(device: str, precision: tuple[str, ...], seconds: float) -> None:
    for name in precision:  # before the first is measured
        require_choice("precision", name, PRECISIONS)
    peaks = {name: dataclasses.asdict(measure(cast(Precision, name), device, seconds)) for name in precision}
    click.echo(json.dumps(peaks, indent=1, allow_nan=False))


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exit with 2 for bad usage or input, said in one line on stderr."""
    try:
        command.main(arguments, standalone_mode=False)
    except (click.ClickException, GnetError) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"gnet: {' '.join(message.split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
