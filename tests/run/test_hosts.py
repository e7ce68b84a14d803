"""Cases whose workers are on several hosts: loopback addresses of their own stand for them. Each but the first has an
agent, a process as `gnet bench` is there.
"""

import contextlib
import dataclasses
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import msgspec
import psutil
import pytest

from gnet_core.config import GnetError
from gnet_core.plan.suites import Source
from gnet_core.run import discovery, host_protocol, hosts
from gnet_core.run.worker import Worker
from gnet_core.system.cluster import Cluster, free_port
from tests.faults import checkout as house
from tests.run import trouble
from tests.run.trouble import left_behind, measured

AGENT = """
import json, sys
from pathlib import Path

import msgspec

from gnet_core.config import GnetError
from gnet_core.machine.environment import Environment
from gnet_core.plan.suites import Source
from gnet_core.run import agent
from gnet_core.system.cluster import Cluster

cluster, checkout, environment, memory_bytes = sys.argv[1:]
try:
    agent.join(
        msgspec.json.decode(cluster, type=Cluster),
        Source(checkout=Path(checkout)),
        msgspec.json.decode(environment, type=Environment),
        int(memory_bytes),
    )
except GnetError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return trouble.make_checkout(tmp_path_factory.mktemp("hosts") / "checkout")


@pytest.fixture(scope="module")
def environment(checkout):
    return discovery.probe(Source(checkout=checkout))


@pytest.fixture
def settings(checkout, environment, tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "SILENT_SECONDS", 3.0)
    trouble.cause(checkout)
    return trouble.settings_of(checkout, tmp_path, environment)


def cluster_of(number):
    """That many hosts of one address each, from 127.0.0.2 on."""
    return Cluster(addresses=tuple(f"127.0.0.{2 + index}:{free_port()}" for index in range(number)))


@contextlib.contextmanager
def joined(cluster, checkout, environment, *, memory_bytes=2**33, others=None):
    """The hosts of the cluster and the agents of all but the first. `others` is another checkout of theirs."""
    agents = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", AGENT, json.dumps({"addresses": cluster.addresses, "index": index})),
                *(str(others or checkout), msgspec.json.encode(environment).decode(), str(memory_bytes)),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(1, len(cluster.addresses))
    ]
    try:
        with hosts.gathered(cluster) as there:
            yield there, agents
        assert [agent.wait(30) for agent in agents] == [0] * len(agents)
    finally:
        for agent in agents:
            agent.kill()
            agent.communicate()


def test_a_case_has_one_worker_on_each_host_and_the_first_reports(settings, checkout, environment):
    machine = msgspec.structs.replace(environment.machine, processor="Another Processor")
    other = msgspec.structs.replace(environment, machine=machine)
    cluster = cluster_of(3)
    with joined(cluster, checkout, other) as (there, _):
        cases = measured(dataclasses.replace(settings, hosts=there), [1, 2, 3])
        recorded = there.recorded(environment)
    assert [(case["status"], case["note"]) for case in cases] == [("ok", "")] * 3
    assert [host.name for host in recorded] == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    assert [host.address for host in recorded] == list(cluster.addresses)
    different = (f"processor: {environment.machine.processor} → Another Processor",)
    assert [host.differences for host in recorded] == [(), different, different]
    assert not list((settings.directory / "raw").glob("*.log"))
    assert not left_behind(checkout)


@pytest.mark.parametrize(
    ("kind", "status", "note"),
    [
        ("dies", "failed", "worker 2 of 2 on 127.0.0.3 was killed (SIGKILL)"),
        ("raises", "failed", "worker 2 of 2 on 127.0.0.3: ValueError: one of two"),
        ("has no memory", "oom", "worker 2 of 2 on 127.0.0.3: MemoryError: no more"),
    ],
)
def test_a_worker_that_is_lost_on_another_host_is_named_with_it_and_leaves_its_log_here(
    settings, checkout, environment, kind, status, note
):
    with joined(cluster_of(2), checkout, environment) as (there, _):
        settings = dataclasses.replace(settings, hosts=there)
        trouble.cause(checkout, 2, kind)
        (lost,) = measured(settings, [2])
        (log,) = (settings.directory / "raw").glob("*.worker2.log")
        printed = log.read_text()
        trouble.cause(checkout)
        (case,) = measured(settings, [2])  # the host is there as ever
    assert (lost["status"], note in lost["note"]) == (status, True), lost["note"]
    assert case["status"] == "ok"
    assert kind == "dies" or "bench_trouble.py" in printed
    assert not left_behind(checkout)


LOSSES = [
    (signal.SIGKILL, "worker 2 of 3 on 127.0.0.3: its host is lost: the connection to it ended"),
    (signal.SIGSTOP, "worker 2 of 3 on 127.0.0.3: its host is lost: nothing was heard of it for 3 s"),
]


@pytest.mark.parametrize(("number", "note"), LOSSES)
def test_a_host_that_is_lost_ends_the_cases_that_need_it_and_no_other(
    settings, checkout, environment, number, note, monkeypatch
):
    with joined(cluster_of(3), checkout, environment) as (there, agents):
        as_ever = Worker.take_turn

        def take_turn(self, turn, *, after_others):
            if turn == 1 and self.job.case.config.workers == 3:
                agents[0].send_signal(number)
            return as_ever(self, turn, after_others=after_others)

        monkeypatch.setattr(Worker, "take_turn", take_turn)
        # The first of them fills a cohort, and the other two come afterwards.
        three, two, one = measured(dataclasses.replace(settings, hosts=there, memory_bytes=2**32), [3, 2, 1])
        agents[0].send_signal(signal.SIGCONT)
        if number == signal.SIGKILL:
            agents.pop(0).communicate()
    assert (three["status"], note in three["note"]) == ("failed", True), three["note"]
    assert (two["status"], "127.0.0.3 does not answer" in two["note"]) == ("failed", True), two["note"]
    assert one["status"] == "ok"
    assert not left_behind(checkout)


def test_a_host_whose_code_is_another_is_named(settings, checkout, environment, tmp_path):
    other = trouble.make_checkout(tmp_path / "other")
    (other / "benchmarks" / "bench_trouble.py").write_text(trouble.MODULE + "\n# another\n")
    with joined(cluster_of(2), checkout, environment, others=other) as (there, _):
        (pair,) = measured(dataclasses.replace(settings, hosts=there), [2])
    assert pair["status"] == "failed"
    assert "worker 2 of 2 on 127.0.0.3 has gnet's code " in pair["note"]


def test_what_takes_more_memory_than_its_host_has_for_it_is_out_of_memory(settings, checkout, environment):
    with joined(cluster_of(2), checkout, environment, memory_bytes=2**20) as (there, _):
        (pair,) = measured(dataclasses.replace(settings, hosts=there), [2])
    assert pair["status"] == "oom"
    assert "worker 2 of 2 on 127.0.0.3: took 0." in pair["note"]


def test_when_the_first_host_ends_the_others_end_what_they_have_started(settings, checkout, environment):
    cluster = cluster_of(2)
    with joined(cluster, checkout, environment) as (there, agents):
        agent, host = agents.pop(), there._joined[0]
        member = there.member(1, settings.own_source, settings.directory / "log")
        case = trouble.task_of(settings, workers=2)
        address = member.reserve()
        member.launch(dataclasses.replace(case, cluster=Cluster(addresses=(cluster.addresses[0], address), index=1)))
        while not psutil.Process(agent.pid).children():
            time.sleep(0.02)
        host._link.close()  # as the end of the first process does
        _, said = agent.communicate(timeout=30)
    assert f"workers: the run's first host, {cluster.addresses[0]}, is gone" in said
    assert not left_behind(checkout)


def test_who_stays_away_is_named_and_who_is_no_host_is_sent_away(environment, monkeypatch):
    monkeypatch.setattr(hosts, "JOIN_SECONDS", 1.5)
    monkeypatch.setattr(hosts, "ANSWER_SECONDS", 0.2)
    cluster = cluster_of(3)
    listening: list[str] = []

    def connect():
        host, _, port = cluster.addresses[0].rpartition(":")
        join = host_protocol.Join(index=1, environment=environment)
        words = [b"", b"GET / HTTP/1.1\r\n\r\n", b'{"type": "Join"}\n', msgspec.json.encode(join) + b"\n"]
        words.extend(msgspec.json.encode(msgspec.structs.replace(join, index=index)) + b"\n" for index in (0, 3))
        words.append(words[3])  # once more
        connections = []
        for word in words:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    connections.append(socket.create_connection((host, int(port))))
                    break
            connections[-1].sendall(word)
        own = psutil.Process().net_connections("tcp")
        listening.extend(each.laddr.ip for each in own if each.status == "LISTEN" and each.laddr.port == int(port))
        for connection in connections:
            with contextlib.suppress(ConnectionResetError):
                connection.recv(100)
            connection.close()

    stranger = threading.Thread(target=connect)
    stranger.start()
    why = f"^workers: {cluster.addresses[2]} did not join within "
    with pytest.raises(GnetError, match=why), hosts.gathered(cluster):
        pass
    stranger.join()
    assert listening == ["127.0.0.2"]


@pytest.mark.parametrize("address", ["192.0.2.1:7000", "no-such-host.invalid:7000"])
def test_an_address_that_is_not_this_hosts_is_refused(address):
    cluster = Cluster(addresses=(address, "127.0.0.3:7000"))
    with pytest.raises(GnetError, match=f"^workers: nothing can listen on {address}"), hosts.gathered(cluster):
        pass


def tf_config(addresses, index):
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}})


WORDS = ["bench", "strong-scaling", "--preset", "smoke", "--execution", "graph", "--batch-size", "2", "--replicas", "1"]
WORDS += ["--device", "cpu", "--memory", str(2**33), "--workers"]


def test_gnet_bench_on_two_hosts_leaves_one_run_with_both_in_it(tmp_path, checkout):
    addresses = cluster_of(2).addresses
    runs = [
        house.start(checkout, *WORDS, "2", "--out", str(tmp_path / "run"), TF_CONFIG=tf_config(addresses, index))
        for index in (0, 1)
    ]
    answers = [run.communicate(timeout=100) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], answers
    document = house.read(tmp_path / "run")
    assert [(case["status"], case["note"]) for case in document["cases"]] == [("ok", "")] * 2
    assert [host["name"] for host in document["hosts"]] == ["127.0.0.2", "127.0.0.3"]
    assert document["hosts"][1]["environment"]["tensorflow"]["version"]
    assert answers[1] == ("", f"gnet: note: {addresses[1]} takes part in the run of {addresses[0]}\n")
    status, _, err = house.gnet(checkout, "bench", "--resume", str(tmp_path / "run"))
    assert (status, "was measured on 2 hosts, and not on 1 host" in err) == (2, True), err


@pytest.mark.parametrize(
    ("variables", "workers", "why"),
    [
        ({"TF_CONFIG": "nonsense"}, "2", "TF_CONFIG: 'nonsense' will not do"),
        ({"TF_CONFIG": tf_config(["a:1", "a:1"], 0)}, "1,2", "TF_CONFIG: it lists 'a:1' twice"),
        ({"SLURM_STEP_NODELIST": "a,b"}, "2", "SLURM_STEP_TASKS_PER_NODE: it is not set"),
        ({"TF_CONFIG": tf_config(["127.0.0.2:1", "127.0.0.3:1"], 1)}, "2,3", "workers: 3 were asked, but the site has"),
    ],
)
def test_what_the_site_has_not_set_right_is_one_line_before_anything_is_started(
    tmp_path, checkout, variables, workers, why
):
    status, out, err = house.gnet(checkout, *WORDS, workers, "--out", str(tmp_path / "run"), **variables)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert why in err
    assert not (tmp_path / "run").exists()


def test_where_no_several_workers_are_asked_for_each_host_measures_itself(tmp_path, checkout):
    words = [*WORDS, "1", "--out", str(tmp_path / "run"), "--dry-run"]
    status, out, err = house.gnet(checkout, *words, TF_CONFIG="nonsense")
    assert (status, "strong-scaling" in out or "graph" in out) == (0, True), err
