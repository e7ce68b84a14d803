"""NVIDIA's CUDA libraries, loaded for TensorFlow before it looks for them itself.

TensorFlow's CUDA build for Linux opens its libraries when it first lists its devices, and lists no GPU where one is
missing. It looks for them in LD_LIBRARY_PATH, then in the nvidia-*-cu12 wheels beside it that its own RUNPATH names,
then where the system has them. TensorFlow 2.21 does not name cuSOLVER's wheel, so it finds no GPU with all of them
installed. A library that a process has loaded is found by its name, so all of them are loaded here: from the same
places in the same order, and with RTLD_LOCAL, as TensorFlow does, so that no symbol of theirs replaces one of its own.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"


class Library(NamedTuple):
    """A library that TensorFlow opens, and once it was looked for (see `find`), where it is or why it was not found."""

    name: str
    folder: str = ""
    """The folder of nvidia/ in which a wheel has it; empty for the driver's own, which no wheel has."""
    at_start: bool = True
    """Whether TensorFlow lists no GPU without it."""
    path: str | None = None
    error: str | None = None

    @property
    def package(self) -> str:
        return f"nvidia-{self.folder.replace('_', '-')}-cu12" if self.folder else ""


DRIVER = Library("libcuda.so.1")

LIBRARIES = (
    DRIVER,
    Library("libnvJitLink.so.12", "nvjitlink"),  # which cuSPARSE and cuSOLVER are linked with
    Library("libcudart.so.12", "cuda_runtime"),
    Library("libcublasLt.so.12", "cublas"),
    Library("libcublas.so.12", "cublas"),
    Library("libcufft.so.11", "cufft"),
    Library("libcusparse.so.12", "cusparse"),
    Library("libcusolver.so.11", "cusolver"),
    Library("libcudnn.so.9", "cudnn"),
    Library("libcupti.so.12", "cuda_cupti", at_start=False),  # for traces of what runs on a GPU
)
"""The libraries that TensorFlow 2.19 to 2.21 open, each after those that it is linked with. The source is TensorFlow's
xla/tsl/platform/default: TryDlopenCUDALibraries in dlopen_checker.cc has the list, dso_loader.cc the names."""


def load_before_tensorflow() -> None:
    """Have the libraries loaded for whatever imports TensorFlow from now on, and at once where something has."""
    if "tensorflow" in sys.modules:
        load()
    else:
        sys.meta_path.insert(0, _BeforeTensorFlow())


class _BeforeTensorFlow(importlib.abc.MetaPathFinder):
    """Finds no module, but is asked for each before the finders that do: so it notices TensorFlow's import."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "tensorflow":
            load()


def load() -> None:
    """Load what TensorFlow will open. Does nothing where it will open nothing, and never fails."""
    if may_see_gpus() and has_driver():
        find()


def may_see_gpus() -> bool:
    """Whether TensorFlow looks for GPUs at all: it is built for CUDA, and they are not all hidden."""
    return is_built_for_cuda() and not is_every_gpu_hidden(os.environ.get(VISIBLE_VARIABLE))


def has_driver() -> bool:
    """Whether the driver's library can be loaded. Where it cannot, TensorFlow opens none of the others."""
    return _opens(DRIVER.name)


def find() -> list[Library]:
    """Load all of LIBRARIES, and return them with the place or the error of each."""
    return [_located(library) for library in LIBRARIES]


def is_built_for_cuda() -> bool:
    """Whether the TensorFlow of this interpreter is a CUDA build for Linux; TensorFlow is not imported for it."""
    folder = _tensorflow_folder()
    if sys.platform != "linux" or folder is None:
        return False
    try:
        # tf.sysconfig.get_build_info() returns what is in this file.
        build = (folder / "python" / "platform" / "build_info.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "('is_cuda_build', True)" in build


def is_every_gpu_hidden(visible: str | None) -> bool:
    """Whether that value of CUDA_VISIBLE_DEVICES hides all GPUs: it is empty, -1, or Slurm's for a job without one.

    CUDA stops at the first entry that names no GPU (CUDA C++ Programming Guide, "CUDA Environment Variables").
    """
    return visible is not None and visible.partition(",")[0].strip() in ("", "-1", "NoDevFiles")


def _tensorflow_folder() -> Path | None:
    spec = importlib.machinery.PathFinder.find_spec("tensorflow")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0]) if folders else None


def _located(library: Library) -> Library:
    errors = []
    for name in _names(library):
        try:
            return library._replace(path=_path(ctypes.CDLL(name)))
        except OSError as error:
            errors.append(str(error))
    # The first place that has the file says what is wrong with it; the last says only that there is none.
    return library._replace(error=errors[0])


def _names(library: Library) -> Iterator[str]:
    """Names to open it by, until one succeeds: the order of places is that of TensorFlow's own search."""
    if _opens(library.name, os.RTLD_NOLOAD):
        yield library.name
    folders = [Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    tensorflow = _tensorflow_folder()
    if library.folder and tensorflow is not None:
        folders.append(tensorflow.parent / "nvidia" / library.folder / "lib")
    yield from (str(folder / library.name) for folder in folders if (folder / library.name).exists())
    yield library.name


def _opens(name: str, mode: int = ctypes.DEFAULT_MODE) -> bool:
    try:
        ctypes.CDLL(name, mode)
    except OSError:
        return False
    return True


class _LinkMap(ctypes.Structure):
    """The beginning of struct link_map in the C library's link.h."""

    _fields_ = (("address", ctypes.c_void_p), ("name", ctypes.c_char_p))


def _path(library: ctypes.CDLL) -> str:
    """The file of a loaded library, which the dynamic linker may know by a link to it."""
    link_map = ctypes.POINTER(_LinkMap)()
    rtld_di_linkmap = 2
    ctypes.CDLL(None).dlinfo(ctypes.c_void_p(library._handle), rtld_di_linkmap, ctypes.byref(link_map))
    return str(Path(os.fsdecode(link_map.contents.name)).resolve())
