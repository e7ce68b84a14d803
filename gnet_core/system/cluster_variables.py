"""The hosts of a cluster, from the variables by which a site tells each process: TF_CONFIG, or those of Slurm."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from gnet_core.config import GnetError
from gnet_core.system.cluster import Cluster

SLURM_PORT = 8888
"""Port of a node's first task; the next ones have those that follow. As TensorFlow's SlurmClusterResolver has it."""

MAX_HOSTS = 10_000
"""More are none that anybody has: a range such as node[1-999999999] is a slip."""

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})")
_PART = re.compile(r"(?:[^,\[\]]|\[[^\[\]]*\])+")
_TASKS = re.compile(r"(?P<tasks>[1-9][0-9]{0,4})(?:\(x(?P<nodes>[1-9][0-9]{0,4})\))?")

_Index = Annotated[int, msgspec.Meta(ge=0)]


class _Task(msgspec.Struct):
    type: str
    index: _Index


class _Config(msgspec.Struct):
    """TF_CONFIG as TensorFlow documents it; what else it holds, such as Kubeflow's `environment`, does not matter."""

    cluster: dict[str, list[str]]
    task: _Task


def cluster_of(variables: Mapping[str, str] = os.environ) -> Cluster | None:
    """The processes that a site has started together, one of which this is; None where it has started one alone.

    TF_CONFIG counts before Slurm's variables. Of its tasks the chief is the first, then come the workers. Raises
    GnetError, which names the variable, for what does not say where each of them is.
    """
    if "TF_CONFIG" in variables:
        cluster = _of_tensorflow(variables["TF_CONFIG"])
    elif "SLURM_STEP_NODELIST" in variables:
        cluster = _of_slurm(variables)
    else:
        return None
    return cluster if len(cluster.addresses) > 1 else None


def expanded(hosts: str) -> list[str]:
    """The names in a list of hosts as Slurm writes it: node[01-03,07] is node01, node02, node03 and node07."""
    if not hosts or ",".join(parts := _PART.findall(hosts)) != hosts:
        raise _bad("SLURM_STEP_NODELIST", hosts, "a list of hosts such as node[01-03,07]")
    names = itertools.chain.from_iterable(_expanded_part(part, hosts) for part in parts)
    listed = list(itertools.islice(names, MAX_HOSTS + 1))
    if len(listed) > MAX_HOSTS:
        raise _bad("SLURM_STEP_NODELIST", hosts, f"a list of at most {MAX_HOSTS} hosts")
    return listed


def _of_tensorflow(text: str) -> Cluster:
    try:
        config = msgspec.json.decode(text, type=_Config)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        right = '{"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}'
        raise GnetError(f"TF_CONFIG: {text!r:.200} will not do ({error!s:.200}); it has to be like {right}") from None
    if others := sorted(config.cluster.keys() - {"chief", "worker", "evaluator"}):
        raise GnetError(
            f"TF_CONFIG: its cluster has {others[0]!r:.60}, which takes no step; use chief and worker alone"
        )
    chiefs, workers = config.cluster.get("chief", []), config.cluster.get("worker", [])
    own = config.cluster.get(config.task.type, []) if config.task.type in ("chief", "worker") else []
    if config.task.index >= len(own):
        there = f"{len(own)} of that type" if own else f"only {' and '.join(sorted(config.cluster))}"
        there = there if config.cluster else "no tasks"
        raise GnetError(
            f"TF_CONFIG: its task is {config.task.type!r:.60} {config.task.index}, but its cluster has {there}"
        )
    addresses = (*chiefs, *workers)
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match["port"]) < 2**16:
            raise GnetError(f"TF_CONFIG: {address!r:.100} is no address; each has to be HOST:PORT")
        if addresses.count(address) > 1:
            raise GnetError(f"TF_CONFIG: it lists {address!r:.100} twice; each process needs an address of its own")
    return Cluster(addresses=addresses, index=config.task.index + (len(chiefs) if config.task.type == "worker" else 0))


def _of_slurm(variables: Mapping[str, str]) -> Cluster:
    def needed(name: str) -> str:
        if name not in variables:
            raise GnetError(f"{name}: it is not set, but SLURM_STEP_NODELIST is; start gnet by srun, which sets both")
        return variables[name]

    hosts, per_node = expanded(needed("SLURM_STEP_NODELIST")), needed("SLURM_STEP_TASKS_PER_NODE")
    counts = list(itertools.islice(_tasks_per_node(per_node), MAX_HOSTS + 1))
    if len(counts) != len(hosts):
        raise GnetError(
            f"SLURM_STEP_TASKS_PER_NODE: {per_node!r:.100} is of {len(counts)} nodes, where SLURM_STEP_NODELIST names "
            f"{len(hosts)}"
        )
    tasks = _whole("SLURM_STEP_NUM_TASKS", needed("SLURM_STEP_NUM_TASKS"))
    if sum(counts) != tasks:
        raise GnetError(
            f"SLURM_STEP_NUM_TASKS: {tasks} do not fit SLURM_STEP_TASKS_PER_NODE {per_node!r:.100}, which makes "
            f"{sum(counts)}"
        )
    rank = _whole("SLURM_PROCID", needed("SLURM_PROCID"))
    if rank >= tasks:
        raise GnetError(f"SLURM_PROCID: {rank} is none of {tasks} tasks; they count from 0 on")
    places = [(host, place) for host, count in zip(hosts, counts, strict=True) for place in range(count)]
    own = variables.get("SLURMD_NODENAME", places[rank][0])
    if own != places[rank][0]:
        raise GnetError(
            f"SLURM_PROCID: {rank} is on {own!r:.100}, where tasks that fill one node after the other would be on "
            f"{places[rank][0]!r:.100}; use srun --distribution=block"
        )
    return Cluster(addresses=tuple(f"{host}:{SLURM_PORT + place}" for host, place in places), index=rank)


def _expanded_part(part: str, hosts: str) -> Iterator[str]:
    """The names of a part of the list, each bracket of which stands for the numbers in it."""
    texts = re.split(r"\[([^\[\]]*)\]", part)
    choices = [_numbers(text, hosts) if place % 2 else [text] for place, text in enumerate(texts)]
    return ("".join(chosen) for chosen in itertools.product(*choices))


def _numbers(ranges: str, hosts: str) -> list[str]:
    """The numbers of 01-03,07 with as many digits as they are written with."""
    numbers: list[str] = []
    for each in ranges.split(","):
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", each)
        first, last = (match[1], match[2] or match[1]) if match else ("1", "0")
        if not 0 <= int(last) - int(first) < MAX_HOSTS:
            raise _bad("SLURM_STEP_NODELIST", hosts, "a list of hosts such as node[01-03,07]")
        numbers += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return numbers


def _tasks_per_node(text: str) -> Iterator[int]:
    """The tasks of each node, of which Slurm writes 3(x2),1 where they are 3, 3 and 1."""
    for part in text.split(","):
        match = _TASKS.fullmatch(part)
        if match is None:
            raise _bad("SLURM_STEP_TASKS_PER_NODE", text, "tasks such as 2(x3),1")
        yield from itertools.repeat(int(match["tasks"]), int(match["nodes"] or 1))


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _bad(name, text, "a whole number")
    return int(text)


def _bad(name: str, value: str, right: str) -> GnetError:
    return GnetError(f"{name}: {value!r:.200} will not do; it has to be {right}")
