"""NVIDIA's management library (NVML): which GPUs there are, which of them a device is, and what it does not tell."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import pynvml

Answer = TypeVar("Answer")

Handle = Any
"""NVML's of a GPU, or of a part of one that is partitioned; pynvml ships no types."""


class Driver(NamedTuple):
    """NVIDIA's driver, as far as it answers."""

    version: str | None
    cuda_version: tuple[int, int] | None
    """The newest CUDA that it can do."""
    error: str | None
    """NVML's words where it does not answer."""


def driver() -> Driver:
    """What driver there is, or why none answers."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Driver(None, None, str(error))
    cuda = ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)  # 12040 is CUDA 12.4
    told = Driver(ask(pynvml.nvmlSystemGetDriverVersion), cuda and (cuda // 1000, cuda % 1000 // 10), None)
    ask(pynvml.nvmlShutdown)
    return told


@contextlib.contextmanager
def opened() -> Iterator[bool]:
    """Whether there is a driver that answers; NVML stays open until the context ends."""
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
    """NVML's answer; None where the driver or the GPU does not tell."""
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

    CUDA_VISIBLE_DEVICES has indices or the beginnings of UUIDs and ends at the first that names no GPU (CUDA C++
    Programming Guide, "CUDA Environment Variables"). CUDA counts the fastest first unless CUDA_DEVICE_ORDER says
    otherwise, and NVML by bus. On a partitioned GPU (MIG) what NVML tells is of more than the worker's part.
    """
    found = ask(handles)
    if found is None or any(map(_is_partitioned, found)):
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    words = list(map(str, range(len(found)))) if visible is None else visible.split(",")
    chosen = [_named(word.strip(), found) for word in words[: number + 1]]
    if len(chosen) <= number or None in chosen:
        return None
    same_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len(set(map(_name, found))) == 1
    return chosen[number] if same_order or not words[number].strip().isdecimal() else None


def _named(word: str, found: list[Handle]) -> Handle | None:
    if word.isdecimal():
        return found[int(word)] if int(word) < len(found) else None
    named = [handle for handle in found if word.startswith("GPU-") and _uuid(handle).startswith(word)]
    return named[0] if len(named) == 1 else None


def _name(handle: Handle) -> str:
    return str(ask(lambda: pynvml.nvmlDeviceGetName(handle)))


def _uuid(handle: Handle) -> str:
    return str(ask(lambda: pynvml.nvmlDeviceGetUUID(handle)))


def _is_partitioned(handle: Handle) -> bool:
    return bool(ask(lambda: pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE))
