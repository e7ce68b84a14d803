"""Stand-ins for NVIDIA's libraries, built where there is a compiler: the driver's from the C files here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NVML, CUDA = "libnvidia-ml.so.1", "libcuda.so.1"

_SOURCES = {NVML: "nvml.c", CUDA: "cuda.c"}


def build(name: str, folder: Path) -> Path:
    """Compile the library of that name into a folder, for LD_LIBRARY_PATH; skip the test where there is no compiler.

    It bears no name inside, so that a process that loads it by its path does not find it in place of the real one.
    """
    library, source = folder / name, Path(__file__).with_name(_SOURCES[name])
    _compile("-Wall", "-Wextra", "-Werror", "-o", library, source)
    return library


def build_empty(library: Path, *linked_with: Path) -> None:
    """A library that does nothing, bears its name inside, as CUDA's do, and cannot be loaded without the others."""
    others = (f"-l:{other.name}" for other in linked_with)
    folders = (f"-L{other.parent}" for other in linked_with)
    named = f"-Wl,--no-as-needed,-soname,{library.name}"
    _compile(named, "-o", library, "-x", "c", os.devnull, "-x", "none", *folders, *others)


def _compile(*arguments: str | Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("the stand-ins for NVIDIA's libraries need a C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", *arguments], check=True, timeout=60)


class Nvml:
    """Sets what the stand-in for NVML tells; the first comment of nvml.c lists the settings."""

    def __init__(self, library: Path, file: Path) -> None:
        self.library = library
        self.file = file
        self._settings: dict[str, str] = {}
        self.set()

    def set(self, **settings: object) -> None:
        """Change some of them, also while something asks; None takes one back. A list has a value for each GPU."""
        for name, value in settings.items():
            self._settings[name] = ";".join(map(str, value)) if isinstance(value, list) else str(value)
            if value is None:
                del self._settings[name]
        partial = self.file.with_suffix(".partial")
        partial.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        partial.replace(self.file)
