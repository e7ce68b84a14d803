"""XLA's command buffers (CUDA graphs), off in the process that takes a trace.

XLA launches runs of kernels as one CUDA graph, and in a trace those then belong to no operation. TensorFlow 2.19 to
2.21 do so by default from five in a row on: fusions, cuBLAS, cuDNN and custom calls (xla/debug_options_flags.cc). XLA
itself leaves them out while a profiler is active (xla_enable_command_buffers_during_profiling is false), so that the
steps right before the trace would be other ones than those in it. An empty list switches them off altogether.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

FLAG = "--xla_gpu_enable_command_buffer="
"""Known to TensorFlow 2.19, 2.20 and 2.21, built for CUDA or not. A flag that XLA does not know ends the process."""

NOTE = (
    "XLA's command buffers (CUDA graphs) were switched off for this trace, and for the steps timed right before it, "
    "since a trace does not tell what runs inside of them: every kernel is launched on its own here, so that launching "
    "and idling take longer than in a step that gnet bench times"
)


def switch_off(environ: MutableMapping[str, str]) -> None:
    """Keep XLA from command buffers in this process; XLA reads its flags once, when it first compiles."""
    environ["XLA_FLAGS"] = f"{environ.get('XLA_FLAGS', '')} {FLAG}".strip()


def are_off(environ: Mapping[str, str]) -> bool:
    """Whether they were switched off in this process."""
    return FLAG in environ.get("XLA_FLAGS", "").split()
