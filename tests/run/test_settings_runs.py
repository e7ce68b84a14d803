"""Sources with settings, in runs in which all is real but the train step: each acts in its own processes alone."""

import json

import pytest

from tests.faults.checkout import gnet, make_checkout, read

WORDS = ["bench", "throughput", "--preset", "smoke", "--execution", "graph", "--batch-size", "2", "--device", "cpu"]
WORDS += ["--memory", str(2**32)]
CASE = "graph-float32-b2-i96-synthetic-cpu"
ONEDNN = "--set=onednn0=TF_ENABLE_ONEDNN_OPTS=0"
CLUSTERS = "--set=clusters=TF_XLA_FLAGS=--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return make_checkout(tmp_path_factory.mktemp("checkout") / "checkout")


def statuses(directory):
    return {case["source"]: (case["status"], case["note"]) for case in read(directory)["cases"]}


def variables_of(directory, source):
    raw = json.loads((directory / "raw" / f"{CASE}@{source}.r1.json").read_text())
    return raw["machine_info"]["gnet"]["machine"]["environment_variables"]


def test_each_source_has_its_own_settings_and_they_take_turns(checkout, tmp_path):
    run = tmp_path / "run"
    words = (*WORDS, ONEDNN, CLUSTERS, "--out", str(run))
    status, out, err = gnet(checkout, *words, TF_XLA_FLAGS="--tf_xla_auto_jit=1", TF_ENABLE_ONEDNN_OPTS="1")
    assert status == 0, err
    assert statuses(run) == {"default": ("ok", ""), "onednn0": ("ok", ""), "clusters": ("ok", "")}
    document = read(run)
    assert [len(cohort["workers"]) for cohort in document["cohorts"]] == [3, 3]
    # A setting from outside that a case defines acts nowhere, and that of a source in its own processes alone.
    assert "TF_XLA_FLAGS" not in variables_of(run, "default")
    assert variables_of(run, "default")["TF_ENABLE_ONEDNN_OPTS"] == "1"
    assert variables_of(run, "onednn0")["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert variables_of(run, "clusters")["TF_XLA_FLAGS"] == "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"
    recorded = {source["name"]: source.get("effects", []) for source in document["sources"]}
    assert [(one["variable"], one["effect"]) for one in recorded["onednn0"]] == [("TF_ENABLE_ONEDNN_OPTS", "acts")]
    assert [(one["effect"], one["decides"]) for one in recorded["clusters"]] == [("acts", "execution")]
    assert "acts on its execution" in (run / "report.md").read_text()
    assert "clusters" in out


def test_a_setting_that_changes_nothing_says_so_and_one_that_cannot_be_verified_as_well(checkout, tmp_path):
    run = tmp_path / "run"
    idle = ["--set=onednn1=TF_ENABLE_ONEDNN_OPTS=1", "--set=odd=MALLOC_ARENA_MAX=1"]
    status, out, err = gnet(checkout, *WORDS, *idle, "--out", str(run))
    assert status == 0, err
    assert "note: onednn1: TF_ENABLE_ONEDNN_OPTS=1 changes nothing (oneDNN: on, as without it)" in err
    assert "note: odd: MALLOC_ARENA_MAX=1 unverified" in err
    assert "TF_ENABLE_ONEDNN_OPTS of onednn1 changes nothing here: oneDNN: on, as without it." in " ".join(out.split())


def test_settings_that_end_the_process_are_rows_with_the_reason_and_the_others_are_measured(checkout, tmp_path):
    run = tmp_path / "run"
    status, out, err = gnet(checkout, *WORDS, "--set=bad=XLA_FLAGS=--xla_bogus=1", "--out", str(run))
    assert status == 0, err
    assert statuses(run)["default"] == ("ok", "")
    assert statuses(run)["bad"][0] == "unsupported"
    assert "Unknown flag in XLA_FLAGS: --xla_bogus" in statuses(run)["bad"][1]
    assert "bad could not be measured" in " ".join(out.split())
    status, out, _ = gnet(checkout, "report", "--fail-on", "missing", str(run))
    assert (status, "Gate failed: missing: " in out) == (1, True)
    assert "Traceback" not in out + err


def test_a_file_of_sources_has_columns_for_those_that_are_not_installed(checkout, tmp_path):
    file, run = tmp_path / "sources.toml", tmp_path / "run"
    file.write_text('[[source]]\nname = "here"\n[[source]]\nname = "gone"\npython = "no/python"\n')
    status, _, err = gnet(checkout, *WORDS, "--sources", str(file), "--out", str(run))
    assert status == 0, err
    assert "was its installation finished?" in statuses(run)["gone"][1]
    assert "gone" in (run / "report.md").read_text()
    status, _, err = gnet(checkout, *WORDS, "--sources", str(file), "--base", "gone", "--out", str(tmp_path / "none"))
    assert status == 2
    assert "name another by --base" in err
    assert not (tmp_path / "none").exists()


def test_a_run_with_settings_goes_on_with_those_alone(checkout, tmp_path):
    run = tmp_path / "run"
    status, _, err = gnet(checkout, *WORDS, ONEDNN, "--out", str(run))
    assert status == 0, err
    status, _, err = gnet(checkout, "bench", "--resume", str(run))
    assert status == 2
    assert "with settings; name them again: --set onednn0=TF_ENABLE_ONEDNN_OPTS=0" in err
    status, _, err = gnet(checkout, "bench", "--resume", str(run), "--set", "onednn0=TF_ENABLE_ONEDNN_OPTS=1")
    assert status == 2
    assert "name just that" in err
    status, _, err = gnet(checkout, "bench", "--resume", str(run), ONEDNN)
    assert status == 0, err


def test_a_gate_on_one_source_is_refused_before_anything_is_measured(checkout, tmp_path):
    file = tmp_path / "sources.toml"
    file.write_text('[[source]]\nname = "here"\n')
    words = ["--sources", str(file), "--fail-on", "slower", "--out", str(tmp_path / "run")]
    status, _, err = gnet(checkout, *WORDS, *words)
    assert status == 2
    assert "this run compares none" in err
    assert not (tmp_path / "run").exists()
