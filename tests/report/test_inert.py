"""Text from strangers in CSV and Markdown: a spreadsheet runs none of it, and a code host makes no link of it."""

import csv
import io

import pandas as pd
import pytest

from gnet_core.config import StepConfig
from gnet_core.files import csv_text
from gnet_core.report import documents
from gnet_core.report import profile as profile_report
from gnet_core.report import run as report
from gnet_core.report.summary import Summary
from gnet_core.results import records
from gnet_core.results.turns import TURNS_FILE, read_turns, write_turns
from gnet_core.text import inert
from tests.stored import HOSTILE, markdown, processes

FORMULAS = [
    *("=1+1", "+cmd", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\ufeff=1", "\u200b=1"),
    *("＝1", "＋1", "－1+1", "＠x", "=", "-", "a;=1", 'x";=1', "a\t=1;+2"),
]


def cells(text: str) -> list[str]:
    return [cell for line in csv.reader(io.StringIO(text)) for cell in line]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_or_heading_begins_like_a_formula_whatever_separates_cells(formula):
    text = csv_text.to_csv(pd.DataFrame([{"a": formula, formula: 1.5, "b": "x"}]))
    separated = [*cells(text), *(cell for line in text.splitlines() for cell in line.replace('"', "").split(";"))]
    for cell in separated:
        assert not cell.strip().startswith(tuple("=+-@＝＋－＠"))
        assert not set(cell) & set("\t\r\n")


def test_numbers_stay_numbers_and_harmless_text_is_as_it_was():
    rows = [
        {"a": -1.5, "b": "-1.5", "c": "+3e-05", "d": -7, "e": None, "f": "graph-float32@new", "g": True},
        {"a": float("nan"), "b": "-.5", "c": "5", "d": None, "e": None, "f": "by -5 % and a=b", "g": None},
    ]
    table = pd.DataFrame(rows, dtype=object)
    assert csv_text.to_csv(table) == table.to_csv(index=False, lineterminator="\n")


@pytest.mark.parametrize("formula", ["=1+1", "＝1", "a;=1", "@x", "'=1"])
def test_what_was_made_inert_can_be_had_back(formula):
    (_, cell) = cells(csv_text.to_csv(pd.DataFrame({"x": [formula]})))
    assert csv_text.restored(cell) == formula


def test_every_csv_of_a_run_is_inert(run_directory):
    run_directory.document["suites"][1]["name"] = "=suite"
    run_directory.add(StepConfig(batch_size=8), *processes(1.0), suites=("=suite",), memory_source="@SUM(1)")
    run_directory.add(StepConfig(batch_size=8, execution="xla"), *processes(2.0), suites=("=suite",))
    run_directory.add(StepConfig(batch_size=16), status="=cmd", note="-2+cmd")
    run = records.load_run(run_directory.path)
    report.write(Summary(run))
    for name in ("cases.csv", "verdicts.csv"):
        texts = cells((run_directory.path / name).read_text())
        assert "'=suite" in texts
        for cell in texts:
            assert not cell.startswith(("=", "@", "-2+"))


def test_every_csv_of_a_profile_is_inert(tmp_path, monkeypatch):
    written = {}
    monkeypatch.setattr(documents, "write", lambda _directory, _document, texts: written.update(texts))
    monkeypatch.setattr(profile_report, "document", lambda _stored, **_how: None)
    operation = {"operation": "=cmd|' /C calc'!A0", "self_seconds": -1.0}
    profile_report.write_documents({"operations": [operation], "parts": [operation]}, tmp_path)
    for name in ("operations.csv", "parts.csv"):
        assert cells(written[name]) == ["operation", "self_seconds", "'=cmd|' /C calc'!A0", "-1.0"]


def test_gnet_reads_its_own_turns_back(tmp_path):
    turn = {"cohort": 1, "worker": "=x.r1", "steps": 2, "waiting_cpu_share": 0.5, "gpu_energy_joules": None}
    write_turns(tmp_path, [turn | {"disturbed": "@the hypervisor, 9%"}, turn | {"disturbed": ""}])
    assert "\n1,'=x.r1,2,0.5,,\"'@the" in (tmp_path / TURNS_FILE).read_text()
    first, second = (
        {str(name): cell for name, cell in row.items()} for _, row in read_turns(tmp_path, "now").iterrows()
    )
    assert (first["worker"], first["disturbed"], first["steps"]) == ("=x.r1", "@the hypervisor, 9%", 2)
    assert pd.isna(second["disturbed"])
    before = (tmp_path / TURNS_FILE).read_bytes()
    write_turns(tmp_path, [first, second])
    assert (tmp_path / TURNS_FILE).read_bytes() == before


HEADINGS = "cohort,worker,disturbed,steps,waiting_cpu_share,gpu_energy_joules\n"
WORKER = f"{StepConfig(batch_size=8).name}.r1"


@pytest.mark.parametrize(
    "lines",
    [
        *("1e308,{w},x,1e308,1e308,1e308\n" * 2, "-1,{w},,-1,-1,-1\n", "nan,{w},nan,nan,nan,nan\n"),
        *("inf,{w},,inf,-inf,inf\n", "x,{w},x,x,x,x\n", ",,,,,\n", "1,{w},,0,0,5e-324\n", "True,1,2,3,4,5\n"),
        *("9" * 400 + ",{w},,2,0,0\n", "1,{w},,2,0," + "9" * 400 + "\n", "1,{w},\x00,2,0,\n", "1,{w},,0x10,1_0,1e5\n"),
    ],
)
def test_whatever_a_table_of_turns_holds_the_report_has_finite_figures(run_directory, lines):
    run_directory.add(StepConfig(batch_size=8), *processes(1.0))
    (run_directory.path / TURNS_FILE).write_text(HEADINGS + lines.format(w=WORKER))
    (row,) = records.load_run(run_directory.path).rows
    assert row.images_per_joule is None or 0 < row.images_per_joule < 1e9
    assert row.waiting_cpu_share is None or 0 <= row.waiting_cpu_share <= 1e4


def test_a_million_turns_are_read_or_refused_and_nothing_else(run_directory):
    run_directory.add(StepConfig(batch_size=8), *processes(1.0))
    (run_directory.path / TURNS_FILE).write_text(HEADINGS + "1,a,,2,0,\n" * 1_000_000)
    assert len(records.load_run(run_directory.path).rows) == 1


# Behind a backslash, or as an entity, GitHub's Markdown makes a link of a mail address all the same: cmark-gfm looks
# for them once escapes are resolved. A character in a code span it leaves alone.
@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("write to a@b.c", "write to a`@`b.c"),
        ("mailto:a.b+c@d.example", "mailto:a.b+c`@`d.example"),
        ("graph@v1.2", "graph`@`v1.2"),
        ("@someone @@", "`@`someone `@@`"),
        ("`a@b.c`", "\\`a`@`b.c\\`"),
        ("http://x.y HTTPS://x.y", "http:\\//x.y HTTPS:\\//x.y"),
        ("www.x.y WWW.x.y", "www\\.x.y WWW\\.x.y"),
    ],
)
def test_markdown_makes_no_link_of_an_address(text, markdown):
    assert inert(text) == markdown


def test_a_report_of_a_hostile_run_holds_no_address(run_directory):
    run_directory.add(StepConfig(batch_size=8), status="failed", note=f"{HOSTILE} a@b.example www.b.example")
    text = markdown(records.load_run(run_directory.path))
    assert "a`@`b.example" in text
    assert "a@b.example" not in text
    assert "www.b" not in text
