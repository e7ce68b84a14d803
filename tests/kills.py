"""Sessions of the real network that are killed at random instants: does each go on to the weights of one left alone?

Run by hand, alone on a machine: `python -m tests.kills [SESSIONS]`. tests/training/test_training.py kills a tiny
network's sessions at chosen instants instead, in seconds.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.datasets.textures import write_textures

SESSION = ("--epochs", "2", "--batch-size", "64", "--image-size", "72", "--save-every", "2", "--device", "cpu")
IMAGES = 12
"""Images of each class of made textures, as JPEGs: enough for ten steps of a session."""
_NOT_WEIGHTS = {"history", "sha256"}
"""Arrays of state.npz that hold times of the clock as well."""


def start(*options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gnet_core", "train", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(*options: str) -> float:
    """Wall time of a session that is left alone, in seconds."""
    began = time.monotonic()
    if status := start(*options).wait():
        raise SystemExit(f"gnet train {' '.join(options)} ended with {status}")
    return time.monotonic() - began


def differing(one: Path, other: Path) -> list[str]:
    """Names of the arrays that are not bit for bit the same in two states."""
    with np.load(one / "state.npz") as a, np.load(other / "state.npz") as b:
        names = (set(a.files) | set(b.files)) - _NOT_WEIGHTS
        here, there = set(a.files), set(b.files)
        return sorted(name for name in names if name not in here & there or a[name].tobytes() != b[name].tobytes())


def main(sessions: int) -> None:
    chance, ends = random.Random(0), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        data, whole = Path(folder, "textures"), Path(folder, "whole")
        write_textures(data, images=IMAGES)
        session = ("--data", str(data), *SESSION)
        seconds = finish(*session, "--out", str(whole))
        for number in range(sessions):
            cut, instant = Path(folder, f"cut-{number}"), chance.uniform(0, seconds)
            process = start(*session, "--out", str(cut))
            time.sleep(instant)
            process.kill()
            process.wait()
            begun = (cut / "state.npz").exists()
            if begun:
                start("--resume", str(cut)).wait()  # with 2 where all its epochs were done when it was killed
            else:
                finish(*session, "--out", str(cut))
            different = differing(whole, cut)
            end = f"{'resumed' if begun else 'began anew'}, {'DIFFERENT' if different else 'the same weights'}"
            ends[end] += 1
            print(f"killed after {instant:.1f} of {seconds:.1f} s: {end} {different[:3] or ''}", flush=True)
            shutil.rmtree(cut)
    print(dict(ends))
    sys.exit(any("DIFFERENT" in end for end in ends))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
