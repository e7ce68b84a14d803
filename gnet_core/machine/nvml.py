"""NVIDIA's management library (NVML): the driver, its GPUs, which of them a device is, and who takes their memory."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import pynvml

from gnet_core.machine.environment import Nvidia

Answer = TypeVar("Answer")

Handle = Any  # of a GPU, or of an instance of a partitioned one; pynvml ships no types


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
    """Ask no more questions in this process: one has hung, as when a GPU falls off the bus, and another would too."""
    _given_up.set()


@contextlib.contextmanager
def opened() -> Iterator[bool]:
    """Whether a driver answers; NVML stays open until the context ends."""
    answers = not _given_up.is_set()
    try:
        if answers:
            pynvml.nvmlInit()
    except pynvml.NVMLError:
        answers = False  # no driver, so no NVIDIA GPU
    try:
        yield answers
    finally:
        if answers:
            ask(pynvml.nvmlShutdown)


def ask(question: Callable[[], Answer]) -> Answer | None:
    """NVML's answer; None where the driver or the GPU gives none, or nobody may ask any more (see give_up)."""
    if _given_up.is_set():
        return None
    try:
        return question()
    except pynvml.NVMLError:
        return None


def find(number: int) -> Handle | None:
    """The handle of what TensorFlow calls gpu:`number`; None where it is not sure which that is, or under MIG."""
    if any(map(_is_partitioned, _handles())):
        return None  # clocks and power are of more than the worker's part
    handles = candidates(number)
    return handles[0] if len(handles) == 1 else None


def candidates(number: int) -> list[Handle]:
    """The handles of all that gpu:`number` can be: one where CUDA's order is sure, none where there is no such device.

    Of partitioned GPUs (MIG) CUDA sees one instance, the first of those that are visible, and beside it no whole GPU
    (NVIDIA Multi-Instance GPU User Guide, "CUDA Device Enumeration").
    """
    devices = [[seen for gpu in gpus if (seen := _as_cuda_sees_it(gpu)) is not None] for gpus in _visible(_handles())]
    instances = [device for device in devices if any(map(_is_instance, device))]
    if instances:
        return instances[0] if number == 0 else []
    return devices[number] if number < len(devices) else []


class Memory(NamedTuple):
    """Memory of a GPU or an instance of one, in bytes; what the driver keeps to itself is in neither."""

    free_bytes: int
    used_bytes: int


def memory(handle: Handle) -> Memory | None:
    """Free and used memory; None where NVML does not report it, as for a GPU that shares the host's memory."""
    memory = ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    return None if memory is None else Memory(free_bytes=int(memory.free), used_bytes=int(memory.used))


def process_bytes(handle: Handle) -> dict[int, int | None]:
    """Memory of each process that computes there, by process number; None where it is not reported.

    The numbers are the driver's: in a container they may be none of this machine's, or another process'.
    """
    running = ask(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
    return {process.pid: process.usedGpuMemory for process in running or ()}


def _handles() -> list[Handle]:
    """Every GPU in NVML's order, which is that of the bus; none where the driver does not answer for all of them."""
    by_index = pynvml.nvmlDeviceGetHandleByIndex
    return ask(lambda: [by_index(index) for index in range(pynvml.nvmlDeviceGetCount())]) or []


def _visible(gpus: list[Handle]) -> list[list[Handle]]:
    """For each device that is visible to CUDA, in its order, the handles that it can be.

    CUDA_VISIBLE_DEVICES has indices or the beginnings of UUIDs and ends at the first that names no GPU (CUDA C++
    Programming Guide, "CUDA Environment Variables"). CUDA counts the fastest first unless CUDA_DEVICE_ORDER says
    otherwise, and NVML by bus, so an index is sure only among GPUs of one name.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    words = map(str, range(len(gpus))) if visible is None else map(str.strip, visible.split(","))
    models = {ask(functools.partial(pynvml.nvmlDeviceGetName, gpu)) for gpu in gpus}
    same_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len(models) == 1
    devices = []
    for word in words:
        if not word.isdecimal():
            named = _of_uuid(word, gpus)
        elif int(word) >= len(gpus):
            named = []
        else:
            named = [gpus[int(word)]] if same_order else gpus
        if not named:
            break
        devices.append(named)
    return devices


def _of_uuid(word: str, gpus: list[Handle]) -> list[Handle]:
    """The one GPU or instance that a UUID names, or its beginning."""
    if word.startswith("MIG-"):
        names = [(instance, _instance_names(instance, gpu)) for gpu in gpus for instance in _instances(gpu)]
    else:
        names = [(gpu, [_uuid(gpu)]) for gpu in gpus if word.startswith("GPU-")]
    named = [handle for handle, uuids in names if any(uuid.startswith(word) for uuid in uuids)]
    return named if len(named) == 1 else []


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
    """Names in CUDA_VISIBLE_DEVICES: the instance's own UUID, and before driver 470 its place in its GPU."""
    names = [_uuid(instance)]
    gpu_instance = ask(lambda: pynvml.nvmlDeviceGetGpuInstanceId(instance))
    compute_instance = ask(lambda: pynvml.nvmlDeviceGetComputeInstanceId(instance))
    if gpu_instance is not None and compute_instance is not None:
        names.append(f"MIG-{_uuid(gpu)}/{gpu_instance}/{compute_instance}")
    return names
