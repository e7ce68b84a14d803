"""A real comparison of a source with itself, of which one is slower by a known delay."""

import json
import sys

import pytest

from tests.faults import checkout as house
from tests.faults import delayed_step

DELAY_SECONDS = 0.05
STEP_SECONDS = 0.002
"""What the stand-in's step sleeps for; its clock counts what was asked for, within 1.5 %."""


def test_a_delayed_source_is_slower_by_its_delay_and_its_row_says_so(tmp_path):
    checkout = house.make_checkout(tmp_path / "checkout")
    delayed = delayed_step.make_interpreter(tmp_path / "delayed", DELAY_SECONDS)
    words = ["bench", "throughput", "--preset", "smoke", "--execution", "graph", "--precision", "float32"]
    words += ["--batch-size", "2", "--device", "cpu", "--memory", str(2**32), "--out", str(tmp_path / "run")]
    words += ["--python", f"plain={sys.executable}", "--python", f"delayed={delayed}", "--json"]
    status, out, err = house.gnet(checkout, *words)
    assert status == 0, err
    rows = {row["source"]: row for row in json.loads(out)["rows"]}
    assert (rows["plain"]["delay_seconds"], rows["plain"]["note"]) == (None, "")
    assert rows["delayed"]["note"] == "every step was delayed by 0.05 s to test the suite"
    assert rows["delayed"]["step_seconds"] == pytest.approx(DELAY_SECONDS + STEP_SECONDS, rel=0.02)
    assert rows["plain"]["step_seconds"] == pytest.approx(STEP_SECONDS, rel=0.02)
