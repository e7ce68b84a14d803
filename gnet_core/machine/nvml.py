"""NVIDIA's management library (NVML): which GPUs there are, which of them a device is, and who takes their memory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pynvml

from gnet_core.machine.environment import Nvidia

Answer = TypeVar("Answer")

Handle = Any
"""NVML's of a GPU, or of a part of one that is partitioned; pynvml ships no types."""


def driver() -> Nvidia:
    """NVIDIA's driver without its libraries, or why it does not answer."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Nvidia(nvml_error=str(error))
    cuda = ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)  # 12040 is CUDA 12.4
    version = ask(pynvml.nvmlSystemGetDriverVersion)
    ask(pynvml.nvmlShutdown)
    return Nvidia(driver=version, cuda_version=cuda and [cuda // 1000, cuda % 1000 // 10])


_given_up = threading.Event()


def give_up() -> None:
    """Ask no more questions in this process: one has hung, as of a GPU that fell off the bus, and another would too."""
    _given_up.set()


@contextlib.contextmanager
def opened() -> Iterator[bool]:
    """Whether there is a driver that answers; NVML stays open until the context ends."""
    if _given_up.is_set():
        yield False
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False  # no driver, so no NVIDIA GPU
        return
    try:
        yield True
    finally:
        ask(pynvml.nvmlShutdown)


def ask(question: Callable[[], Answer]) -> Answer | None:
    """NVML's answer; None where the driver or the GPU does not tell, or nobody may ask any more (see give_up)."""
    if _given_up.is_set():
        return None
    try:
        return question()
    except pynvml.NVMLError:
        return None


def figure(question: Callable[[], float], unit: float) -> float | None:
    """NVML's answer in `unit`; None where the driver or the GPU does not tell."""
    answer = ask(question)
    return None if answer is None else answer * unit


def handles() -> list[Handle]:
    """Of every GPU, in NVML's order, which is that of the bus. Raises pynvml.NVMLError."""
    return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]


def find(number: int) -> Handle | None:
    """The handle of what TensorFlow calls gpu:`number`; None where that cannot be told for sure.

    On a partitioned GPU (MIG) clocks and power are of more than the worker's part, so there it is None as well.
    """
    if any(map(_is_partitioned, ask(handles) or [])):
        return None
    found = candidates(number)
    return found[0] if len(found) == 1 else None


def candidates(number: int) -> list[Handle]:
    """The handles of all that gpu:`number` can be: one where CUDA's order is sure, none where there is no such device.

    Of partitioned GPUs (MIG) CUDA sees one instance, the first of those that are visible, and beside it no whole GPU
    (NVIDIA Multi-Instance GPU User Guide, "CUDA Device Enumeration").
    """
    positions = _positions(ask(handles) or [])
    devices = [[each for each in map(_as_cuda_sees_it, found) if each is not None] for found in positions]
    instances = [position for position in devices if any(map(_is_instance, position))]
    if instances:
        return instances[0] if number == 0 else []
    return devices[number] if number < len(devices) else []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Of a GPU or an instance of one, in bytes; what the driver keeps to itself is in neither."""

    free_bytes: int
    used_bytes: int


def memory(handle: Handle) -> Memory | None:
    """What is taken and what is left; None where that is not told, as of a GPU that shares the host's memory."""
    told = ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    return None if told is None else Memory(free_bytes=int(told.free), used_bytes=int(told.used))


def process_bytes(handle: Handle) -> dict[int, int | None]:
    """The memory that each process which computes there has taken, by its number; None where that is not told.

    The numbers are the driver's: in a container they may be none of this machine's, or another process'.
    """
    running = ask(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
    return {process.pid: process.usedGpuMemory for process in running or ()}


def _positions(found: list[Handle]) -> list[list[Handle]]:
    """Of each device that is visible to CUDA, in its order, the handles that it can be.

    CUDA_VISIBLE_DEVICES has indices or the beginnings of UUIDs and ends at the first that names no GPU (CUDA C++
    Programming Guide, "CUDA Environment Variables"). CUDA counts the fastest first unless CUDA_DEVICE_ORDER says
    otherwise, and NVML by bus, so an index is sure only among GPUs of one name.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    words = list(map(str, range(len(found)))) if visible is None else visible.split(",")
    same_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len(set(map(_name, found))) == 1
    positions = []
    for word in map(str.strip, words):
        if word.isdecimal() and not same_order:
            named = found if int(word) < len(found) else []
        else:
            handle = _named(word, found)
            named = [] if handle is None else [handle]
        if not named:
            break
        positions.append(named)
    return positions


def _named(word: str, found: list[Handle]) -> Handle | None:
    if word.isdecimal():
        return found[int(word)] if int(word) < len(found) else None
    if word.startswith("MIG-"):
        known = [(instance, _instance_names(instance, gpu)) for gpu in found for instance in _instances(gpu)]
        named = [instance for instance, names in known if any(name.startswith(word) for name in names)]
    else:
        named = [handle for handle in found if word.startswith("GPU-") and _uuid(handle).startswith(word)]
    return named[0] if len(named) == 1 else None


def _name(handle: Handle) -> str:
    return str(ask(lambda: pynvml.nvmlDeviceGetName(handle)))


def _uuid(handle: Handle) -> str:
    return str(ask(lambda: pynvml.nvmlDeviceGetUUID(handle)))


def _is_partitioned(handle: Handle) -> bool:
    return bool(ask(lambda: pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE))


def _is_instance(handle: Handle) -> bool:
    return bool(ask(lambda: pynvml.nvmlDeviceIsMigDeviceHandle(handle)))


def _as_cuda_sees_it(handle: Handle) -> Handle | None:
    """The first instance of a partitioned GPU, None where it has none yet; a whole GPU or an instance as it is."""
    if _is_instance(handle) or not _is_partitioned(handle):
        return handle
    return next(iter(_instances(handle)), None)


def _instances(gpu: Handle) -> list[Handle]:
    if not _is_partitioned(gpu):
        return []
    count = ask(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu)) or 0
    by_index = functools.partial(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu)
    return list(filter(None, (ask(functools.partial(by_index, index)) for index in range(count))))


def _instance_names(instance: Handle, gpu: Handle) -> list[str]:
    """What CUDA_VISIBLE_DEVICES may call it: its own UUID, and before driver 470 its place in its GPU."""
    names = [_uuid(instance)]
    gpu_instance = ask(lambda: pynvml.nvmlDeviceGetGpuInstanceId(instance))
    compute_instance = ask(lambda: pynvml.nvmlDeviceGetComputeInstanceId(instance))
    if gpu_instance is not None and compute_instance is not None:
        names.append(f"MIG-{_uuid(gpu)}/{gpu_instance}/{compute_instance}")
    return names
