"""A checkout in which everything is real but the train step, so that a whole run of processes takes seconds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from gnet_core.results import turns
from tests.conftest import WITHOUT_PLUGINS

ROOT = Path(__file__).parents[2]

CLOCK = '''
"""The clock of a step that sleeps: it counts the seconds that the main thread asked for, so that a machine on which
sleepers oversleep changes no verdict. Processes differ by up to 0.5 % and steps by up to 1 %.
"""

import math
import os
import threading
import time

_sleep = time.sleep
_slept_seconds = 0.0
_sleeps = 0


def perf_counter():
    return _slept_seconds


def sleep(seconds):
    global _slept_seconds, _sleeps
    _sleep(seconds)
    if threading.current_thread() is threading.main_thread():
        _sleeps += 1
        _slept_seconds += seconds * (1 + 0.005 * math.sin(os.getpid())) * (1 + 0.01 * math.sin(_sleeps))


time.perf_counter = perf_counter
time.sleep = sleep
'''

DEVICE = '''
"""A device that no framework is asked about."""

from gnet_core.machine import description
from gnet_core.machine.environment import Environment, SeenGpu, TensorFlow


def environment(checkout=None):
    return Environment(machine=description.describe(checkout), tensorflow=describe())


def describe():
    return TensorFlow(
        version="2.21.0", keras="3.15.1", git="v2.21.0", compiler="clang", built_for_cuda=False,
        gpus=[], intra_op_threads=2, inter_op_threads=2,
    )
'''

OBSERVED = '''
"""What variables say, as if TensorFlow had been seen to follow them."""

import os


def observe():
    if "bogus" in os.environ.get("XLA_FLAGS", ""):
        os.write(2, b"F0000 00:00:1.2 3 parse_flags_from_env.cc:1] Unknown flag in XLA_FLAGS: --xla_bogus\\n")
        os.abort()
    clustered = "auto_jit=2" in os.environ.get("TF_XLA_FLAGS", "")
    return {
        "oneDNN": "off" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" else "on",
        "float32 products on the CPU": "of float32 numbers",
        "graphs on the CPU": "clustered for XLA" if clustered else "not clustered for XLA",
    }
'''

CASE = '''
"""A train step that sleeps, and meets those of its other workers."""

import json
import socket
import time

from gnet_core.frameworks.base import Exchange, Feed
from gnet_core.frameworks.lockstep import Lockstep
from gnet_core.machine import description


class Meeting:
    """Sums numbers over the workers, the first of which listens for the others; as patient as TensorFlow."""

    def __init__(self, cluster):
        host, _, port = cluster.addresses[cluster.index].rpartition(":")
        own = socket.create_server((host, int(port)))
        if cluster.reports:
            self.others = [own.accept()[0] for _ in cluster.addresses[1:]]
        else:
            self.others = [self.reach(*cluster.addresses[0].rpartition(":")[::2])]
        self.files = [(other.makefile("r"), other.makefile("w")) for other in self.others]
        self.leads = cluster.reports

    def reach(self, host, port):
        while True:
            try:
                return socket.create_connection((host, int(port)))
            except ConnectionRefusedError:
                time.sleep(0.05)

    def summed(self, numbers):
        if not self.leads:
            self.tell(numbers)
        parts = [self.hear(file) for file, _ in self.files]
        if not self.leads:
            return parts[0]
        whole = [sum(column) for column in zip(numbers, *parts, strict=True)]
        self.tell(whole)
        return whole

    def tell(self, numbers):
        for _, file in self.files:
            print(json.dumps(numbers), file=file, flush=True)

    def hear(self, file):
        line = file.readline()
        if not line:
            raise UnavailableError("Connection reset by peer")
        return json.loads(line)


class UnavailableError(Exception):
    pass


class Case(Lockstep):
    feed = Feed()

    def __init__(self, config, cluster=None):
        super().__init__(cluster, config.workers)
        self.config = config
        self.meeting = Meeting(cluster) if cluster else None
        self.steps = 0
        self.trace_count = 1

    def trace(self):
        pass

    def _run(self, steps):
        for _ in range(steps):
            self.steps += 1
            time.sleep(0.002)
            if self.meeting:
                self.meeting.summed([0, 0])
        if self.meeting:
            self.meeting.summed([0])  # as PyTorch's workers end each run with their losses
        return 1.0 / (1 + self.steps)

    def _set_dropout(self, active):
        pass

    def _summed(self, numbers):
        return self.meeting.summed(numbers)

    def _exchange(self):
        return self.meeting and Exchange(
            gradient_bytes=4,
            all_reduce_seconds=[0.001],
            local_step_seconds=[0.001] * self.config.total_replicas,
            process_peak_bytes=[1] * self.config.workers,
        )

    def applied_steps(self):
        return self.steps

    def skipped_steps(self):
        return 0

    def peak_memory(self):
        return description.peak_resident_memory()

    def flop_per_image(self):
        return 10**9

    def low_precision_share(self):
        return 0.0
'''

PEER_DEVICE = '''
"""A device of a framework that is none."""

import {framework}

from gnet_core.machine.environment import Peer


def describe():
    return Peer(
        version="1.0", built_for_cuda=False, cuda=None, cudnn=None, gpus=[], triton=True,
        c_compiler="gcc", cpp_compiler="g++", threads={framework}.THREADS,
    )
'''

HIDES_TENSORFLOW = '''
"""TensorFlow is not installed, whatever is."""

import sys


class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == "tensorflow" else self.finder.find_spec(name, path, target)

    def find_distributions(self, context):
        found = getattr(self.finder, "find_distributions", lambda context: ())(context)
        return (each for each in found if not str(each.name).startswith("tensorflow"))


sys.meta_path[:] = map(Without, sys.meta_path)
'''
GPU_DEVICE = DEVICE.replace("built_for_cuda=False", "built_for_cuda=True").replace(
    "gpus=[]", 'gpus=[SeenGpu(device="gpu:0", name="NVIDIA H100 80GB HBM3", compute_capability=[9, 0])]'
)

GPU_CASE = (
    CASE.replace("class Case(Lockstep):", "class CpuCase(Lockstep):")
    + '''

import json
import os
import sys
from pathlib import Path

from gnet_core.machine import nvml


class Case(CpuCase):
    """Takes memory of the GPU that the stand-in for NVML shows, as much as GNET_TAKES says of its execution: bytes to
    start with, from the first step on, and in its turns if it is no probe. What there is none for raises an error, or
    ends the process.
    """

    def __init__(self, config, cluster=None):
        super().__init__(config, cluster)
        wanted = json.loads(os.environ["GNET_TAKES"])[config.execution]
        self.start, self.step, self.later = wanted["bytes"]
        self.dies = wanted.get("dies", False)
        self.peak = 0
        (plan,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--gnet-plan=")]
        self.probed = json.loads(plan)["turns"] == 1
        self.in_turns = False
        self.take(self.start, "failed call to cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY")

    def run(self, steps):
        wanted = self.later if self.in_turns and not self.probed else self.step
        self.take(wanted, "RESOURCE_EXHAUSTED: Failed to allocate")
        return super().run(steps)

    @property
    def trace_count(self):
        self.in_turns = True  # nobody asks before
        return 1

    @trace_count.setter
    def trace_count(self, count):
        pass

    def take(self, wanted, error):
        if wanted <= self.peak:
            return
        with nvml.opened():
            (gpu,) = nvml.candidates(0)
            free = nvml.memory(gpu).free_bytes
        if wanted - self.peak > free:
            if self.dies:
                os.write(2, f"F0000 00:00:1.2 3 gpu.cc:1] {error}\\n".encode())
                os.abort()
            raise RuntimeError(error)
        self.peak = wanted
        (Path(os.environ["GNET_TAKEN"]) / str(os.getpid())).write_text(str(wanted))

    def peak_memory(self):
        return self.peak // 2, "half of what it took"
'''
)
"""A train step that sleeps and takes a GPU's memory."""

TIMER = "--benchmark-timer=gnet_core.frameworks.tf.clock.perf_counter"
REPLICATES, TURNS, CASES = 2, 2, 2
WORDS = [
    "bench",
    "execution",
    "--preset",
    "smoke",
    "--execution",
    "graph,eager",
    "--batch-size",
    "2",
    "--device",
    "cpu",
]
WORDS += ["--replicates", str(REPLICATES), "--memory", str(2**32)]


def make_checkout(folder: Path, device: str = DEVICE, case: str = CASE) -> Path:
    """A copy of this one with a train step that sleeps, by a clock of its own, in blocks of 20 ms; a git repository."""
    copy_code(folder)
    frameworks = folder / "gnet_core" / "frameworks"
    (frameworks / "tf" / "device.py").write_text(device)
    (frameworks / "tf" / "observed.py").write_text(OBSERVED)
    (frameworks / "tf" / "clock.py").write_text(CLOCK)
    for module in ("tf/case", "pytorch", "keras_jax"):
        (frameworks / f"{module}.py").write_text(case)
    for framework, module in (("torch", "pytorch_device"), ("jax", "jax_device")):
        (frameworks / f"{module}.py").write_text(PEER_DEVICE.format(framework=framework))
    _change(
        folder / "pyproject.toml",
        '"--strict-config",',
        f'"--strict-config", {", ".join(map(json.dumps, [*WITHOUT_PLUGINS, TIMER]))},',
    )
    sweep = folder / "gnet_core" / "plan" / "suites.py"
    _change(sweep, "turns: int = 3", f"turns: int = {TURNS}")
    _change(sweep, "block_seconds: float = 0.5", "block_seconds: float = 0.02")
    who = ("-c", "user.name=n", "-c", "user.email=e")
    for words in (["init", "--quiet", "--initial-branch=main"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def copy_code(folder: Path) -> None:
    """What of this checkout a run measures."""
    for name in ("gnet_core", "benchmarks", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy2(source, folder / name)


def _change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


def make_interpreter(folder: Path, *frameworks: str, threads: str = "2") -> Path:
    """A Python like this one that has not TensorFlow but these frameworks, of which there is nothing but the name.

    `threads` is what they say of theirs, in Python.
    """
    site, python = folder / "site", folder / "python"
    for name in frameworks:
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(f"import os\n\nTHREADS = {threads}\n")
        (site / f"{name}-1.0.dist-info").mkdir()
        (site / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    site.mkdir(parents=True, exist_ok=True)
    (site / "sitecustomize.py").write_text(HIDES_TENSORFLOW)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def start(checkout: Path, *words: str, python: Path | str = sys.executable, **variables: str) -> subprocess.Popen[str]:
    """gnet in the checkout, as the leader of a process group of its own, deaf to no signal."""
    return subprocess.Popen(
        [str(python), "-m", "gnet_core", *words],
        cwd=checkout,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # Whoever started the tests in the background made them, and so their children, deaf to SIGINT and SIGQUIT.
        preexec_fn=_hear_signals,
        start_new_session=True,
    )


def _hear_signals() -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def gnet(
    checkout: Path, *words: str, limit_seconds: float = 120, python: Path | str = sys.executable, **variables: str
) -> tuple[int, str, str]:
    """Its status and what it printed. Raises TimeoutExpired where it hangs."""
    with start(checkout, *words, python=python, **variables) as process:
        try:
            out, err = process.communicate(timeout=limit_seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, out, err


def orphans(mark: str, wait_seconds: float = 5.0) -> list[str]:
    """The processes with `mark` in their command that are still there after `wait_seconds`."""
    end = time.monotonic() + wait_seconds
    while alive := _processes_with(mark):
        if time.monotonic() > end:
            return alive
        time.sleep(0.05)
    return []


def _processes_with(mark: str) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = " ".join(process.info["cmdline"] or ())
        if mark in command and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(command[:300])
    return found


def read(directory: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads((directory / "run.json").read_text())
    return document


def finished_files(directory: Path) -> dict[str, bytes]:
    """The raw files of the cohorts that run.json calls finished."""
    if not (directory / "run.json").exists():
        return {}
    document = read(directory)
    # A worker that was crowded out stands in two cohorts, of which the last measures it.
    cohort_of = {stem: cohort for cohort in document["cohorts"] for stem in cohort["workers"]}
    names = [raw for case in document["cases"] for raw in case["raw"] if cohort_of[Path(raw).stem]["complete"]]
    return {name: (directory / name).read_bytes() for name in names}


def why_not_whole(directory: Path) -> str:
    """What a run lacks that says it is complete; "" where it lacks nothing."""
    document = read(directory)
    if not document["complete"]:
        return "it is not complete"
    if [case["status"] for case in document["cases"]] != ["ok"] * CASES:
        return f"cases are {[(case['status'], case['note']) for case in document['cases']]}"
    if not all(len(case["raw"]) >= REPLICATES for case in document["cases"]):
        return f"raw files are {[case['raw'] for case in document['cases']]}"
    counted = turns.read_turns(directory, document["run"])["worker"].value_counts().to_dict()
    stems = [Path(raw).stem for case in document["cases"] for raw in case["raw"]]
    if [counted.get(stem) for stem in stems] != [TURNS] * len(stems):
        return f"turns are {counted}"
    return ""
