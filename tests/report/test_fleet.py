"""Runs of many hosts in one report: figures side by side, what they cost, and no verdict."""

from __future__ import annotations

import copy
import csv
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gnet_core.config import StepConfig
from tests.conftest import RunDirectory
from tests.stored import processes

SECONDS = {"node1": 1.0, "node2": 0.8, "node3": 2.0}


@pytest.fixture
def hosts(tmp_path: Path, environment: dict[str, Any]) -> list[Path]:
    """Three hosts' runs of one case, which all have, and of another, which one could not run."""
    directories = []
    for name, seconds in SECONDS.items():
        own = copy.deepcopy(environment)
        own["machine"]["processor"] = f"Processor of {name}"
        directory = RunDirectory(tmp_path / name, own)
        directory.document |= {"run": f"run of {name}", "replicates": 3}
        directory.add(StepConfig(batch_size=8), *processes(seconds))
        failed: list[list[float]] = []
        of_xla = failed if name == "node3" else processes(seconds / 2)
        directory.add(StepConfig(batch_size=8, execution="xla"), *of_xla, status="ok" if of_xla else "oom")
        directories.append(directory.path)
    return directories


@pytest.fixture
def compare(gnet: Any) -> Any:
    """Calls `gnet compare --across-machines`: exit status, stdout, stderr."""
    return functools.partial(gnet, "compare", "--across-machines")


def test_hosts_stand_side_by_side_case_by_case_with_no_verdict(compare, hosts):
    status, printed, err = compare(*hosts)
    assert (status, err) == (0, "")
    assert "These hosts did not take turns, so there is no verdict between them" in printed
    for name, speed in (("node1", "8.0"), ("node2", "10.0"), ("node3", "4.0")):
        assert f"Processor of {name}" in printed
        assert any(line.split()[:3] == ["graph", name, speed] for line in printed.splitlines())
    assert "graph: the most are 10.0 images/s (9.9–10.1) on node2, of 3 hosts." in printed
    assert not any(verdict in printed for verdict in ("FASTER", "SLOWER", "SAME", "UNRESOLVED"))


def test_a_price_gives_images_for_money(compare, hosts):
    words = ["--price-per-hour", "node2=4", "--price-per-hour", "node3=0.5"]
    _status, printed, _ = compare(*hosts, *words)
    assert "and the most for their price, 28,800 images for 1, on node3" in printed
    rows = json.loads(compare(*hosts, *words, "--json")[1])["rows"]
    prices = {(row["case"].partition("-")[0], row["host"]): row["images_per_price"] for row in rows}
    assert prices["graph", "node2"] == pytest.approx(10 * 3600 / 4)
    assert prices["graph", "node3"] == pytest.approx(4 * 3600 / 0.5)
    assert (prices["graph", "node1"], prices["xla", "node3"]) == (None, None)


def test_two_hosts_with_prices_are_a_fleet_and_without_any_are_compared(compare, hosts):
    assert "did not take turns" in compare(*hosts[:2], "--price-per-hour", "node1=1")[1]
    assert "ACROSS MACHINES" in compare(*hosts[:2])[1]


def test_the_document_for_programs_fits_its_schema(compare, gnet, hosts):
    schema = json.loads(gnet("schema", "fleet")[1])
    document = json.loads(compare(*hosts, "--json")[1])
    jsonschema.Draft202012Validator(schema).validate(document)
    assert [host["host"] for host in document["hosts"]] == list(SECONDS)
    assert [row["status"] for row in document["rows"]].count("oom") == 1


def test_a_page_with_its_table_is_written_on_request(compare, hosts, tmp_path):
    out = tmp_path / "fleet"
    status, printed, _ = compare(*hosts, "--out", out)
    assert (status, printed.splitlines()[-1]) == (0, f"Report: {out}/fleet.html")
    assert sorted(path.name for path in out.iterdir()) == ["fleet.csv", "fleet.html", "fleet.md"]
    with (out / "fleet.csv").open() as file:
        assert {row["host"] for row in csv.DictReader(file)} == set(SECONDS)
    assert (out / "fleet.md").read_text().startswith("**These hosts did not take turns")


def test_a_device_of_another_name_is_the_same_case(compare, hosts):
    document = json.loads((hosts[2] / "run.json").read_text())
    for case in document["cases"]:
        case["config"]["device"] = "gpu:1"
        case["case"] = case["case"].replace("-cpu", "-gpu1")
    document["cases"] = [case | {"status": "oom", "raw": []} for case in document["cases"]]
    (hosts[2] / "run.json").write_text(json.dumps(document))
    rows = json.loads(compare(*hosts, "--json")[1])["rows"]
    assert [row["host"] for row in rows] == [*SECONDS, *SECONDS]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--price-per-hour", "node9=1"],
            "price_per_hour: 'node9' is no host here; use the name of a directory: node1",
        ),
        (
            ["--price-per-hour", "node1=-1"],
            "price_per_hour: 'node1=-1' will not do; use NAME=PRICE with a number above",
        ),
        (["--price-per-hour", "node1=nan"], "price_per_hour: 'node1=nan' will not do"),
        (["--price-per-hour", "node1"], "price_per_hour: 'node1' will not do"),
        (["--price-per-hour", "node1=1", "--price-per-hour", "node1=2"], "price_per_hour: 'node1' has two prices"),
        (["--fail-on", "slower"], "fail_on: it belongs to verdicts, which hosts that did not take turns carry none of"),
        (["--profiles"], "leave out --profiles"),
    ],
)
def test_what_hosts_have_no_use_for_is_refused_in_one_line(compare, hosts, words, says):
    status, printed, err = compare(*hosts, *words)
    assert (status, printed, err.count("\n")) == (2, "", 1)
    assert says in err


def test_runs_that_are_no_hosts_are_refused_in_one_line(compare, gnet, hosts, tmp_path):
    elsewhere = tmp_path / "tuesday" / "node1"
    shutil.copytree(hosts[0], elsewhere)
    assert f"it is the same run as {hosts[0]}; name each run once" in compare(*hosts, elsewhere)[2]
    document = json.loads((elsewhere / "run.json").read_text()) | {"run": "another"}
    (elsewhere / "run.json").write_text(json.dumps(document))
    assert "is called 'node1' as well" in compare(*hosts, elsewhere)[2]
    (tmp_path / "empty").mkdir()
    for answer in (compare(*hosts, tmp_path / "empty"), gnet("compare", *hosts)):
        assert (answer[0], answer[1], answer[2].count("\n")) == (2, "", 1)
    assert "add --across-machines" in gnet("compare", *hosts)[2]
