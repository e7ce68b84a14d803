"""Memory on a CPU for frameworks that have no allocator of their own."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # mallopt's options (malloc.h)


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, as the allocators do that PyTorch's tuning guide advises on a CPU.

    By default a step's memory is given back after it and its pages are faulted in again by the next one: a float32
    step of PyTorch took 1.2 to 1.5 times as long, and one of JAX 1.2 times. Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_TRIM_THRESHOLD, -1)  # never
        set_option(_TOP_PAD, 2**28)
        set_option(_MMAP_MAX, 0)
        set_option(_ARENA_MAX, 1)  # an arena of another thread's gives back all that it cannot hold
