"""A framework with an interpreter of its own, in runs in which all is real but the frameworks and their steps."""

import json
import sys

import pytest

from tests.faults.checkout import gnet, make_checkout, make_interpreter, read

WORDS = ["bench", "frameworks", "--preset", "smoke", "--precision", "float32", "--batch-size", "2", "--device", "cpu"]
WORDS += ["--memory", str(2**32)]
OURS, TORCH, JAX = (f"{execution}-float32-b2-i96-synthetic-cpu" for execution in ("graph", "eager", "xla"))
TORCH, JAX = f"{TORCH}-framework=torch", f"{JAX}-framework=jax"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return make_checkout(tmp_path_factory.mktemp("checkout") / "checkout")


@pytest.fixture(scope="module")
def pythons(tmp_path_factory):
    """Interpreters without TensorFlow, by what they have."""
    folder = tmp_path_factory.mktemp("interpreters")
    has = {"torch": ["torch"], "jax": ["jax"], "both": ["torch", "jax"], "neither": []}
    interpreters = {name: make_interpreter(folder / name, *frameworks) for name, frameworks in has.items()}
    return interpreters | {"changing": make_interpreter(folder / "changing", "torch", threads="os.getpid()")}


def statuses(directory):
    return {case["case"]: case["status"] for case in read(directory)["cases"]}


def notes(directory):
    return {case["case"]: case["note"] for case in read(directory)["cases"]}


def test_each_framework_is_measured_by_its_own_interpreter_and_they_take_turns(checkout, pythons, tmp_path):
    run = tmp_path / "run"
    named = [f"--python=torch={pythons['torch']}", f"--python=jax={pythons['jax']}"]
    status, out, err = gnet(checkout, *WORDS, *named, "--out", str(run), "--json")
    assert status == 0, err
    assert statuses(run) == {OURS: "ok", TORCH: "ok", JAX: "ok"}
    document = read(run)
    assert {case["source"] for case in document["cases"]} == {""}
    assert list(document["environments"]) == ["", "torch", "jax"]
    assert {name: environment["tensorflow"] is None for name, environment in document["environments"].items()} == {
        "": False,
        "torch": True,
        "jax": True,
    }
    assert [len(cohort["workers"]) for cohort in document["cohorts"]] == [3]
    for case, section in ((OURS, "tensorflow"), (TORCH, "torch"), (JAX, "jax")):
        environment = json.loads((run / "raw" / f"{case}.r1.json").read_text())["machine_info"]["gnet"]
        assert set(environment) == {"machine", section}
    (family,) = [family for family in json.loads(out)["verdicts"] if family["suite"] == "frameworks"]
    assert {comparison["variant"]: comparison["mode"] for comparison in family["comparisons"]} == {
        TORCH: "turns",
        JAX: "turns",
    }
    text = (run / "report.md").read_text()
    assert "TensorFlow 2.21.0, PyTorch 1.0, JAX 1.0" in text
    assert "From the first to PyTorch's own interpreter these differ" in text

    status, _, err = gnet(checkout, "bench", "--resume", str(run))
    assert status == 2
    assert f"name them again: --python torch={pythons['torch']} --python jax={pythons['jax']}" in err
    other = [f"--python=torch={pythons['torch']}", f"--python=jax={pythons['both']}"]
    status, _, err = gnet(checkout, "bench", "--resume", str(run), *other)
    assert status == 2
    assert "name just that" in err
    status, _, err = gnet(checkout, "bench", "--resume", str(run), *named)
    assert status == 0, err


def test_without_tensorflow_the_peers_are_measured_and_its_rows_say_why_not(checkout, pythons, tmp_path):
    run = tmp_path / "run"
    status, _, err = gnet(checkout, *WORDS, "--profile", "--aa", "--out", str(run), python=pythons["both"])
    assert status == 0, err
    assert statuses(run) == {OURS: "unsupported", TORCH: "ok", JAX: "ok", f"{TORCH}@again": "ok"}
    assert notes(run)[OURS].startswith("TensorFlow is not installed here; the extra cpu or gpu brings it, or --python")
    document = read(run)
    assert document["environment"]["tensorflow"] is None
    assert document["profile_note"].startswith("TensorFlow is not installed in ")
    text = (run / "report.md").read_text()
    assert "threads, 16 GiB, PyTorch 1.0, JAX 1.0" in text or ", PyTorch 1.0, JAX 1.0" in text
    status, _, err = gnet(checkout, "bench", "--preset", "smoke", "--device", "cpu", python=pythons["both"])
    assert status == 2
    assert "framework: 'tensorflow' cannot be measured: TensorFlow is not installed here" in err


def test_what_is_wrong_with_an_interpreter_is_a_row_that_names_it(checkout, pythons, tmp_path):
    run = tmp_path / "run"
    named = [f"--python=torch={pythons['changing']}", f"--python=jax={pythons['neither']}"]
    status, _, err = gnet(checkout, *WORDS, *named, "--out", str(run))
    assert status == 3, err
    assert statuses(run) == {OURS: "ok", TORCH: "failed", JAX: "unsupported"}
    assert notes(run)[JAX] == f"JAX is not installed in {pythons['neither']}"
    assert notes(run)[TORCH].startswith(
        "void: what it was measured with changed since the run began (PyTorch's threads"
    )


def test_an_interpreter_that_cannot_run_gnet_is_refused_by_name(checkout, tmp_path):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'psutil'\" >&2\nexit 1\n")
    bare.chmod(0o755)
    status, _, err = gnet(checkout, *WORDS, f"--python=torch={bare}", "--out", str(tmp_path / "run"))
    assert status == 2
    assert err.count("\n") == 1
    assert f"python: {bare} could not describe its frameworks; it said: ModuleNotFoundError" in err
    status, _, err = gnet(checkout, *WORDS, "--python=torch=/nowhere/python", "--out", str(tmp_path / "run"))
    assert status == 2
    assert "python: '/nowhere/python' of torch is no program that can be started" in err


def test_an_interpreter_of_tensorflows_that_has_none_is_named(checkout, pythons, tmp_path):
    words = ["bench", "--preset", "smoke", "--device", "cpu", f"--python=tensorflow={pythons['both']}"]
    status, _, err = gnet(checkout, *words, "--out", str(tmp_path / "run"))
    assert status == 2
    assert f"'tensorflow' cannot be measured: TensorFlow is not installed in {pythons['both']}" in err


def test_where_tensorflows_interpreter_is_named_the_peers_keep_to_gnets_own(checkout, pythons, tmp_path):
    run, with_tensorflow = tmp_path / "run", tmp_path / "python"
    # Whoever starts it tells it, as its own children, to hide TensorFlow.
    with_tensorflow.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} "$@"\n')
    with_tensorflow.chmod(0o755)
    words = [*WORDS, f"--python=tensorflow={with_tensorflow}", f"--python=jax={pythons['jax']}", "--out", str(run)]
    status, _, err = gnet(checkout, *words, python=pythons["torch"])
    assert status == 0, err
    assert statuses(run) == {OURS: "ok", TORCH: "ok", JAX: "ok"}
    assert list(read(run)["environments"]) == ["", "torch", "jax"]


def test_beside_a_revision_the_peers_are_measured_once_from_the_working_tree(checkout, pythons, tmp_path):
    run = tmp_path / "run"
    words = [*WORDS, "--execution", "eager", "--against", "main", f"--python=torch={pythons['torch']}"]
    status, out, err = gnet(checkout, *words, "--out", str(run), "--json")
    assert status == 0, err
    assert statuses(run) == {f"{OURS}@main": "ok", f"{OURS}@here": "ok", f"{TORCH}@here": "ok"}
    families = {family["suite"]: family["comparisons"] for family in json.loads(out)["verdicts"]}
    assert [(comparison["base"], comparison["variant"]) for comparison in families["frameworks"]] == [
        (f"{OURS}@here", f"{TORCH}@here")
    ]
    assert [(comparison["base"], comparison["variant"]) for comparison in families["sources"]] == [
        (f"{OURS}@main", f"{OURS}@here")
    ]
