"""Real runs across versions of StepConfig: the older one's files are read, and its code is measured beside ours."""

import json
import shutil
import subprocess

import pytest

from tests.faults import checkout as house

WORDS = ["bench", "throughput", "--preset", "smoke", "--execution", "graph", "--precision", "float32"]
WORDS += ["--batch-size", "2", "--device", "cpu", "--memory", str(2**32)]

SEED = '    seed: int = 0\n    """Seed of the weights'


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A checkout and the directory of a run that it has measured."""
    folder = house.make_checkout(tmp_path_factory.mktemp("faults") / "checkout")
    directory = folder.parent / "before"
    status, _, err = house.gnet(folder, *WORDS, "--out", str(directory))
    assert status == 0, err
    return folder, directory


@pytest.fixture
def older(committed, tmp_path):
    """The same, to be changed."""
    folder, directory = committed
    return shutil.copytree(folder, tmp_path / "checkout"), shutil.copytree(directory, tmp_path / "before")


def change(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


def cases_of(directory):
    return [(case["case"], case["status"], case["note"]) for case in house.read(directory)["cases"]]


def test_a_fresh_field_orphans_no_run_and_no_revision(older, tmp_path):
    checkout, before = older
    change(checkout / "gnet_core" / "config.py", SEED, f'    zeta: int = 0\n    """A fresh field."""\n\n{SEED}')
    change(
        checkout / "benchmarks" / "bench_throughput.py",
        "    return sweep.cases(",
        "    import dataclasses\n\n"
        "    return [dataclasses.replace(case, zeta=zeta) for zeta in (0, 1) for case in sweep.cases(",
    )
    change(checkout / "benchmarks" / "bench_throughput.py", "throughput_batch_size,))", "throughput_batch_size,))]")
    status, _, err = house.gnet(checkout, *WORDS, "--against", "HEAD", "--out", str(tmp_path / "after"))
    assert status == 0, err
    name = "graph-float32-b2-i96-synthetic-cpu"
    first, second, lost, last = cases_of(tmp_path / "after")
    assert [first, second, last] == [
        (f"{name}@HEAD", "ok", ""),
        (f"{name}@here", "ok", ""),
        (f"{name}-zeta=1@here", "ok", ""),
    ]
    told = "this revision has no zeta, of which 1 was asked"
    assert lost == (f"{name}-zeta=1@HEAD", "unsupported", told)
    assert house.read(tmp_path / "after")["complete"]
    status, out, err = house.gnet(checkout, "report", str(tmp_path / "after"), "--json")
    (compared,) = [each for each in json.loads(out)["verdicts"] if each["suite"] == "sources"]
    assert [each["variant"] for each in compared["comparisons"]] == [f"{name}@here", f"{name}-zeta=1@here"]
    status, out, err = house.gnet(checkout, "report", str(before), "--json")
    assert [row["status"] for row in json.loads(out)["rows"]] == ["ok"], err
    assert status == 0
    status, _, err = house.gnet(checkout, *WORDS, "--out", str(tmp_path / "now"))
    assert status == 0, err
    status, out, err = house.gnet(checkout, "compare", str(before), str(tmp_path / "now"), "--json")
    assert [each["variant"] for each in json.loads(out)["comparisons"]] == [name], err


def test_a_revision_with_another_default_is_not_measured_under_our_label(older, tmp_path):
    checkout, _ = older
    change(checkout / "gnet_core" / "config.py", "bn_momentum: float = 0.9\n", "bn_momentum: float = 0.99\n")
    words = [*WORDS, "--replicates", "2", "--against", "HEAD", "--out", str(tmp_path / "run")]
    status, _, err = house.gnet(checkout, *words)
    assert status == 0, err
    old, new = house.read(tmp_path / "run")["cases"]
    assert (old["status"], old["raw"]) == ("unsupported", [])
    assert old["note"] == "this revision measures bn_momentum 0.9, where 0.99 was asked"
    assert (new["status"], len(new["raw"])) == ("ok", 2)
    assert sorted(path.name for path in (tmp_path / "run" / "raw").glob("*HEAD*.json")) == []


def test_a_run_whose_files_lack_a_field_is_gone_on_with(older):
    checkout, directory = older
    names = [raw for case in house.read(directory)["cases"] for raw in case["raw"]]
    for path in (directory / "run.json", *(directory / name for name in names)):
        document = json.loads(path.read_text())
        for holder in [*document.get("cases", []), *(each["extra_info"] for each in document.get("benchmarks", []))]:
            assert holder["config"].pop("framework") == "tensorflow"
        document.get("options", {}).pop("worker_memory", None)
        path.write_text(json.dumps(document))
    kept = house.finished_files(directory)
    assert list(kept) == names
    status, _, err = house.gnet(checkout, "bench", "--resume", str(directory))
    assert status == 0, err
    assert house.finished_files(directory) == kept
    (directory / names[0]).unlink()
    status, _, err = house.gnet(checkout, "bench", "--resume", str(directory))
    assert status == 0, err
    (case,) = house.read(directory)["cases"]
    assert (case["status"], case["config"]["framework"]) == ("ok", "tensorflow")
    assert case["raw"] == ["raw/graph-float32-b2-i96-synthetic-cpu.r2.json"]
    assert not subprocess.run(["git", "-C", str(checkout), "diff", "--quiet"], check=False).returncode
