"""A document as a terminal shows it, as wide as it likes and at 80 columns."""

from __future__ import annotations

import pytest

from gnet_core.report import run
from gnet_core.report.document import Banner, Bullets, Command, Document, Paragraph, Section, Sentence, section
from gnet_core.report.grid import Cell, Column, grid, text_table
from gnet_core.report.summary import Summary
from gnet_core.report.terminal import to_terminal
from gnet_core.results import records
from tests.stored import store_every_suite, store_profile

Line = tuple[str, str, float]


def table(*lines: Line):
    return grid(
        [
            Column[Line]("case", lambda line: line[0], text=True),
            Column[Line]("verdict", lambda line: Cell(line[1], "SAME"), text=True),
            Column[Line]("images a second", lambda line: f"{line[2]:.1f}"),
        ],
        lines,
    )


def test_assurances_and_evidence_come_first_and_what_it_comes_to_and_warnings_last():
    document = Document(
        heading="Not shown",
        banners=[Banner("good", "May be quoted:", ["eager"]), Banner("bad", "Do not quote:", ["too few", "too old"])],
        intro=[Paragraph("A machine.")],
        summary=[Bullets([Sentence("xla is SLOWER:", "0.5×."), "As is eager."])],
        sections=[
            section(
                "How fast?",
                Paragraph("Fast."),
                Section("All columns", [Paragraph("hidden")], folded=True),
                name="speed",
            ),
            section("To look up", Paragraph("hidden"), reference=True),
            section("Empty", Bullets([])),
            section("Again", Command("gnet bench", "Measures it again:")),
        ],
    )
    assert to_terminal(document) == (
        "A machine.\n\nMay be quoted: eager.\n\nspeed: How fast?\nFast.\n\nAgain:\nMeasures it again: gnet bench\n\n"
        "What it comes to:\n- xla is SLOWER: 0.5×.\n- As is eager.\n\nDo not quote:\n- too few\n- too old"
    )


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (
            None,
            "case            verdict  images a second\n"
            "--------------  -------  ---------------\n"
            "graph, float32  SAME                12.5",
        ),
        (
            35,
            "case            verdict  images a\n"
            "                           second\n"
            "--------------  -------  --------\n"
            "graph, float32  SAME         12.5",
        ),
        (20, "images a\n  second\n--------\ngraph, float32, SAME\n    12.5"),
    ],
)
def test_a_table_gives_way_to_the_width_and_loses_nothing(width, shown):
    document = Document(heading="", sections=[section("T", table(("graph, float32", "SAME", 12.5)))])
    assert to_terminal(document, width) == f"T:\n{shown}"


def test_a_table_of_text_alone_breaks_its_last_column():
    document = Document(heading="", intro=[text_table(("what", "why"), [("a", "one two three four")], "")])
    assert to_terminal(document, 16) == "what  why\n----  ----------\na     one two\n      three four"


def test_at_80_columns_no_line_of_a_whole_run_is_longer(run_directory):
    store_every_suite(run_directory)
    store_profile(run_directory)
    document = run.document(Summary(records.load_run(run_directory.path)), with_pictures=False)
    whole, narrow = to_terminal(document), to_terminal(document, 80)
    assert [line for line in narrow.splitlines() if len(line) > 80] == []
    lost = {word.strip(",-") for word in whole.split()} - {word.strip(",-") for word in narrow.split()}
    assert lost <= {"execution", "precision", "batch"}, "only the headings of what stands above its figures"
