"""What sites set where they start several processes together, and what of it is refused."""

import json

import pytest

from gnet_core.config import GnetError
from gnet_core.system.cluster import Cluster
from gnet_core.system.cluster_variables import cluster_of, expanded


def tf_config(cluster, kind="worker", index=0, **more):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}, **more})}


def slurm(nodes="node[01-02]", per_node="1(x2)", tasks="2", rank="1", **more):
    names = ("STEP_NODELIST", "STEP_TASKS_PER_NODE", "STEP_NUM_TASKS", "PROCID")
    return {f"SLURM_{name}": value for name, value in zip(names, (nodes, per_node, tasks, rank), strict=True)} | more


TWO = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}
KUBEFLOW = {"chief": ["job-chief-0.ns.svc:2222"], "worker": ["job-worker-0.ns.svc:2222", "job-worker-1.ns.svc:2222"]}


@pytest.mark.parametrize(
    ("variables", "addresses", "index"),
    [
        (tf_config(TWO), TWO["worker"], 0),
        (tf_config(TWO, index=1), TWO["worker"], 1),
        (tf_config({"worker": ["[::1]:1", "[::1]:2"]}), ["[::1]:1", "[::1]:2"], 0),
        (tf_config(KUBEFLOW, "chief", environment="cloud"), [*KUBEFLOW["chief"], *KUBEFLOW["worker"]], 0),
        (tf_config(KUBEFLOW, "worker", 1), [*KUBEFLOW["chief"], *KUBEFLOW["worker"]], 2),
        (tf_config(TWO) | slurm("a,b,c", "1(x3)", "3", "2"), TWO["worker"], 0),
        (slurm(), ["node01:8888", "node02:8888"], 1),
        (slurm("a,n[8-10]", "2,1(x3)", "5", "1"), ["a:8888", "a:8889", "n8:8888", "n9:8888", "n10:8888"], 1),
        (slurm(SLURMD_NODENAME="node02"), ["node01:8888", "node02:8888"], 1),
    ],
)
def test_the_hosts_are_those_that_the_site_has_set(variables, addresses, index):
    assert cluster_of(variables) == Cluster(addresses=tuple(addresses), index=index)


@pytest.mark.parametrize(
    "variables",
    [{}, tf_config({"worker": ["a:1"]}), slurm("a", "1", "1", "0"), {"SLURM_PROCID": "0", "SLURM_JOB_NODELIST": "a,b"}],
)
def test_a_process_that_was_started_alone_has_no_cluster(variables):
    assert cluster_of(variables) is None


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"TF_CONFIG": "worker"}, "TF_CONFIG: 'worker' will not do"),
        ({"TF_CONFIG": "[1]"}, "TF_CONFIG: '[1]' will not do"),
        ({"TF_CONFIG": ""}, "TF_CONFIG: '' will not do"),
        ({"TF_CONFIG": "[" * 100_000}, "will not do"),
        ({"TF_CONFIG": json.dumps({"cluster": TWO})}, "missing required field `task`"),
        (tf_config(TWO, index=-1), "`$.task.index`"),
        (tf_config(TWO, index="0"), "`$.task.index`"),
        (tf_config(TWO, index=2), "its task is 'worker' 2, but its cluster has 2 of that type"),
        (tf_config(TWO, "chief"), "its task is 'chief' 0, but its cluster has only worker"),
        (tf_config(TWO | {"evaluator": ["e:1"]}, "evaluator"), "its task is 'evaluator' 0"),
        (tf_config({}), "its cluster has no tasks"),
        (tf_config(TWO | {"ps": ["p:1"]}), "its cluster has 'ps', which takes no step"),
        (tf_config({"worker": ["a:1", "a:1"]}), "it lists 'a:1' twice"),
        (tf_config({"chief": ["a:1"], "worker": ["a:1"]}), "it lists 'a:1' twice"),
        (tf_config({"worker": ["a", "b:1"]}), "'a' is no address; each has to be HOST:PORT"),
        (tf_config({"worker": [":1", "b:1"]}), "':1' is no address"),
        (tf_config({"worker": ["a:0", "b:1"]}), "'a:0' is no address"),
        (tf_config({"worker": ["a:65536", "b:1"]}), "'a:65536' is no address"),
        (tf_config({"worker": ["a b:1", "b:1"]}), "'a b:1' is no address"),
        ({"SLURM_STEP_NODELIST": "a,b"}, "SLURM_STEP_TASKS_PER_NODE: it is not set"),
        ({name: text for name, text in slurm().items() if name != "SLURM_PROCID"}, "SLURM_PROCID: it is not set"),
        (slurm("node[01-02"), "SLURM_STEP_NODELIST: 'node[01-02' will not do"),
        (slurm("node[02-01]"), "SLURM_STEP_NODELIST: 'node[02-01]' will not do"),
        (slurm("a,,b"), "SLURM_STEP_NODELIST: 'a,,b' will not do"),
        (slurm(""), "SLURM_STEP_NODELIST: '' will not do"),
        (slurm("node[]"), "SLURM_STEP_NODELIST: 'node[]' will not do"),
        (slurm("n[1-999999999]"), "SLURM_STEP_NODELIST: 'n[1-999999999]' will not do"),
        (slurm("n[1-9999]m[1-9999]"), "a list of at most 10000 hosts"),
        (slurm(per_node="1,1,1"), "is of 3 nodes, where SLURM_STEP_NODELIST names 2"),
        (slurm(per_node="one"), "SLURM_STEP_TASKS_PER_NODE: 'one' will not do"),
        (slurm(per_node="1(x99999)"), "is of 10001 nodes"),
        (slurm(tasks="3"), "SLURM_STEP_NUM_TASKS: 3 do not fit"),
        (slurm(tasks="two"), "SLURM_STEP_NUM_TASKS: 'two' will not do"),
        (slurm(rank="2"), "SLURM_PROCID: 2 is none of 2 tasks"),
        (slurm(SLURMD_NODENAME="node01"), "use srun --distribution=block"),
    ],
)
def test_what_does_not_say_where_each_process_is_is_one_line_that_names_the_variable(variables, why):
    with pytest.raises(GnetError) as raised:
        cluster_of(variables)
    assert why in str(raised.value)
    assert str(raised.value).startswith(("TF_CONFIG: ", "SLURM_"))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        ("a", ["a"]),
        ("node[01-03,07]", ["node01", "node02", "node03", "node07"]),
        ("n[9-11]", ["n9", "n10", "n11"]),
        ("a1,b[2-3]-ib,c", ["a1", "b2-ib", "b3-ib", "c"]),
        ("r[1-2]n[3-4]", ["r1n3", "r1n4", "r2n3", "r2n4"]),
    ],
)
def test_a_list_of_hosts_is_written_out_in_its_order(hosts, names):
    assert expanded(hosts) == names
