"""The suite input-pipeline, run for real on tiny images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gnet_core.results.records import load_run
from tests.faults.checkout import gnet
from tests.pictures import write_folder

ROOT = Path(__file__).parents[2]
WORDS = ("--preset", "smoke", "--image-size", "67", "--batch-size", "4", "--device", "cpu")


def test_a_loader_is_measured_alone_and_leaves_nothing_behind(tmp_path):
    photos, out = write_folder(tmp_path / "photos"), tmp_path / "run"
    (left := tmp_path / "tmp").mkdir()
    case = "graph-float32-b4-i67-photos-cpu-part=input-feed=tfrecord"
    words = ("input-pipeline", *WORDS, "--data", str(photos), "--case", case, "--out", str(out), "--json")
    status, printed, complaint = gnet(ROOT, "bench", *words, TMPDIR=str(left))
    assert status == 0, complaint
    (row,) = json.loads(printed)["rows"]
    assert (row["case"], row["status"], row["samples"]) == (case, "ok", 3)
    assert row["images_per_second"] > 0
    assert [row[name] for name in ("loss_first", "mfu", "gflop_per_image", "compile_seconds")] == [None] * 4
    assert "batches alone, of which no step is run" in row["note"]
    assert f"--data {photos}" in row["command"]
    run = load_run(out)
    assert run.pictures[case].images == 24
    assert not run.pictures[case].made
    assert json.loads(printed)["failed_checks"] == []
    assert list(left.glob("gnet-*")) == []


@pytest.mark.campaign  # seven workers with TensorFlow; one of them is measured each time
def test_all_of_the_suite_is_measured_compared_and_told(tmp_path):
    words = ("input-pipeline", *WORDS, "--out", str(tmp_path / "run"))
    status, printed, complaint = gnet(ROOT, "bench", *words, limit_seconds=600)
    assert status == 0, complaint
    rows = load_run(tmp_path / "run").rows
    assert [row.status for row in rows] == ["ok"] * 7
    assert len({row.case for row in rows}) == 7
    for form in ("JPEG files", "TFRecord files", "Cache in memory"):
        assert f"{form}: open whether input-bound, of what the step takes the loader feeds " in " ".join(
            printed.split()
        )
    assert "128 photographs that were made for this, of 187,500 pixels" in " ".join(printed.split())
