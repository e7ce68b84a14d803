"""The device of a case, seen from PyTorch: choose it, wait for it, ask for its memory, describe what there is."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

import torch

from gnet_core.config import Precision, StepConfig
from gnet_core.frameworks import allocator
from gnet_core.machine import description
from gnet_core.machine.environment import Peer, SeenGpu
from gnet_core.system.cluster import Cluster

_THREADS = torch.get_num_threads()
"""What an operation on a CPU runs on in a process that is alone: the processors that it may use, or OMP_NUM_THREADS."""


def prepare(config: StepConfig, cluster: Cluster | None = None) -> torch.device:
    """Make the case's device PyTorch's current one, and let it multiply float32 as the case's precision says.

    Of the workers of a host each has a GPU, from the case's device on, or an equal part of the threads: waiting threads
    of OpenMP keep their processors busy, so that two workers of as many threads as there are processors were ten times
    as slow. torch.distributed.run limits them for the same reason, and leaves OMP_NUM_THREADS as it was set.
    """
    device = torch.device(config.device.replace("gpu", "cuda"))
    if device.type == "cpu":
        allocator.keep_freed_memory()
        if cluster and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, _THREADS // cluster.workers_on_host))
        return device
    device = torch.device("cuda", device.index + (cluster.place_on_host if cluster else 0))
    torch.cuda.set_device(device)  # else the first GPU gets a context as well, which takes its memory
    set_tf32(config.precision)
    torch.backends.cudnn.benchmark = True
    return device


def set_tf32(precision: Precision) -> None:
    """Let a GPU multiply float32 as TF32 for tf32 and for nothing else; PyTorch does so in convolutions by default.

    Not by `fp32_precision`, which is to replace these flags: once a flag of one kind is set, the other kind cannot be
    read any more, and torch.compile of PyTorch 2.13 still reads both.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def synchronise(device: torch.device) -> None:
    """Return when the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> tuple[int, str]:
    """Bytes at their highest so far in this process, and where the figure comes from."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), "peak of PyTorch's GPU allocator"
    return description.peak_resident_memory()


def describe() -> Peer:
    """PyTorch as it is here, and what torch.compile needs: Triton and a C compiler for a GPU, C++ for a CPU."""
    gpus, why_none = [], ""
    try:
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            gpus.append(SeenGpu(device=f"gpu:{index}", name=gpu.name, compute_capability=[gpu.major, gpu.minor]))
    except RuntimeError as error:  # such as a driver that is too old
        gpus, why_none = [], str(error).partition("\n")[0][:300]
    # 9.8.0 is 90800, as cudnn.h puts it together from version 9 on.
    cudnn = torch.backends.cudnn.version() if torch.version.cuda else None
    return Peer(
        version=str(torch.__version__),  # a kind of str of its own, which JSON encoders refuse
        built_for_cuda=torch.version.cuda is not None,
        cuda=torch.version.cuda,
        cudnn=None if cudnn is None else f"{cudnn // 10_000}.{cudnn // 100 % 100}.{cudnn % 100}",
        gpus=gpus,
        why_no_gpus=why_none,
        threads=_THREADS,
        triton=importlib.util.find_spec("triton") is not None,
        # Where each looks: triton.runtime.build for a kernel's launcher, torch._inductor.cpp_builder for a CPU's code.
        c_compiler=shutil.which("gcc") or shutil.which("clang"),
        cpp_compiler=shutil.which("clang++" if sys.platform == "darwin" else "g++"),
    )
