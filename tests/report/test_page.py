"""report.html as a reader's browser takes it: whole, by itself, and with nothing in it that a stranger put there."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.request import command_line
from gnet_core.report import run
from gnet_core.report.summary import Summary
from gnet_core.results import records
from tests.conftest import RunDirectory
from tests.stored import processes, store_endless, store_every_suite, store_hostile

NO_END = {"meta", "link", "br", "img", "hr", "input", "path", "rect", "use"}
MAX_BYTES = 2 * 2**20


class Page(HTMLParser):
    """Elements with their attributes, and all the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrongly_closed: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in NO_END:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in NO_END:
            return
        if not self.open or self.open.pop() != tag:
            self.wrongly_closed.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def written(directory: RunDirectory) -> str:
    run.write(Summary(records.load_run(directory.path)))
    return (directory.path / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def text(run_directory):
    store_every_suite(run_directory)
    return written(run_directory)


@pytest.fixture
def page(text):
    return Page(text)


def test_every_element_is_closed_where_it_was_opened(page):
    assert page.wrongly_closed == []
    assert page.open == []


def test_the_page_needs_nothing_from_anywhere(page, text):
    assert not page.all("script")
    assert not page.all("link")
    for _, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                assert value is not None
                assert not re.match(r"[a-z+.-]*:|//", value), f"{name}={value}"
            assert not name.startswith("on")
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "default-src 'none'" in text


def test_its_links_lead_to_parts_of_it_or_to_files_of_the_run(page, run_directory):
    names = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    targets = [link["href"] for link in page.all("a")]
    assert len(targets) > 10
    for target in targets:
        assert target is not None
        if target.startswith("#"):
            assert target[1:] in names
        else:
            assert (run_directory.path / target).exists()


def test_every_case_and_every_suite_stands_in_it(page, run_directory):
    for case in run_directory.document["cases"]:
        assert case["case"] in page.text
    for suite in run_directory.document["suites"]:
        assert suite["question"] in page.text


def test_there_is_one_title_and_no_level_of_headings_is_skipped(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_picture_is_one_and_says_what_it_shows(page):
    pictures = page.all("svg")
    assert len(pictures) >= 6
    for picture in pictures:
        assert picture["role"] == "img"
        assert len(picture["aria-label"] or "") > 20


def test_no_name_in_the_page_is_there_twice(page):
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))


def test_two_suites_of_one_name_have_a_picture_each(run_directory):
    run_directory.document["suites"].append(run_directory.document["suites"][0])
    run_directory.add(StepConfig(), *processes(1.0))
    page = Page(written(run_directory))
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(page.all("svg")) == 2
    assert len(names) == len(set(names))


def test_every_heading_of_a_table_says_what_it_heads(page):
    assert page.all("th")
    assert all(heading.get("scope") in ("col", "row") for heading in page.all("th"))


def test_the_answer_comes_before_the_evidence(page):
    parts = [
        "Test Processor",
        "These figures may be quoted",
        "xla is SLOWER than graph",
        "What does XLA give?",
        "Environment",
        "What was not measured, and why",
        "Raw files",
        "gnet bench --preset full --replicates 3 --aa",
        "How to read the tables",
    ]
    answer, _, evidence = page.text.partition(parts[-1])  # the last of the links
    places = [answer.index(part) for part in parts[:3]] + [len(answer) + evidence.index(part) for part in parts[3:]]
    assert places == sorted(places)


def test_a_run_that_may_not_be_quoted_says_so_first_and_why(run_directory):
    run_directory.add(StepConfig(), *processes(1.0, number=1))
    page = Page(written(run_directory))
    banner = page.text.index("Do not quote these figures:")
    assert banner < page.text.index("one process a case") < page.text.index("What it comes to")
    assert [block["class"] for block in page.all("div") if "banner" in (block.get("class") or "")] == ["banner bad"]


def test_a_run_of_twenty_cases_is_a_page_below_two_mebibytes(run_directory):
    store_every_suite(run_directory)
    for batch_size in range(100, 120 - len(run_directory.document["cases"])):
        run_directory.add(StepConfig(batch_size=batch_size), *processes(1.0), suites=("batch-size",))
    assert len(run_directory.document["cases"]) == 20
    assert len(written(run_directory).encode()) < MAX_BYTES


def test_what_a_stranger_wrote_into_a_run_is_text_on_the_page(run_directory):
    store_hostile(run_directory)
    html = written(run_directory)
    page = Page(html)
    assert page.wrongly_closed == page.open == []
    assert not page.all("script")
    assert not page.all("img")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert not [link for link in page.all("a") if re.match(r"[a-z]+:|//|.*\.\.", link["href"] or "")]
    assert not set("\x1b\u202e\u2066") & set(html)
    assert "{{ 7*7 }}" in page.text
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))


def test_ten_megabytes_in_names_and_notes_make_small_reports(run_directory):
    store_endless(run_directory)
    page = Page(written(run_directory))
    assert not page.all("script")
    for name in ("report.html", "report.md"):
        assert (run_directory.path / name).stat().st_size < 100_000
    for picture in (run_directory.path / "plots").iterdir():
        assert picture.stat().st_size < 100_000


@pytest.mark.parametrize("store", [store_hostile, store_endless])
def test_a_hostile_run_writes_nowhere_but_into_its_own_directory(run_directory, store):
    store(run_directory)
    before = set(run_directory.path.parent.rglob("*"))
    written(run_directory)
    new = {path.relative_to(run_directory.path) for path in set(run_directory.path.parent.rglob("*")) - before}
    allowed = r"(report\.html|report\.md|cases\.csv|verdicts\.csv|plots|plots/[A-Za-z0-9-]+\.svg)"
    assert all(re.fullmatch(allowed, str(path)) for path in new), new


def test_a_folder_of_pictures_that_leads_elsewhere_is_refused(run_directory, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    kept = tmp_path / "elsewhere" / "holiday.svg"
    kept.write_text("<svg/>")
    (run_directory.path / "plots").symlink_to(tmp_path / "elsewhere")
    run_directory.add(StepConfig(), *processes(1.0))
    with pytest.raises(GnetError, match="it is a link"):
        written(run_directory)
    assert kept.exists()


def test_a_link_where_a_file_is_to_be_written_is_not_followed(run_directory, tmp_path):
    kept = tmp_path / "diary.txt"
    kept.write_text("mine")
    run_directory.add(StepConfig(), *processes(1.0))
    for name in ("report.html", ".report.html.partial", ".report.md.partial"):
        (run_directory.path / name).symlink_to(kept)
    assert written(run_directory).startswith("<!DOCTYPE html>")
    assert kept.read_text() == "mine"


def test_pictures_of_an_earlier_report_are_taken_away_and_other_files_are_not(run_directory):
    store_every_suite(run_directory)
    (run_directory.path / "plots").mkdir()
    for name in ("old-suite.svg", "notes.txt"):
        (run_directory.path / "plots" / name).write_text("x")
    written(run_directory)
    names = {path.name for path in (run_directory.path / "plots").iterdir()}
    assert "old-suite.svg" not in names
    assert "notes.txt" in names
    assert "execution.svg" in names


def test_the_same_rows_make_the_same_page(run_directory):
    store_every_suite(run_directory)
    assert written(run_directory) == written(run_directory)


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({}, "gnet bench --device cpu --until fixed"),
        (
            {"suites": ["execution"], "preset": "full", "device": "auto", "execution": ["graph", "xla"], "seed": 0},
            "gnet bench execution --preset full --until fixed --execution graph,xla",
        ),
        (
            {"python": ["old=/a b/python", "new=python"], "profile": True, "aa": False, "memory": None},
            "gnet bench --device cpu --until fixed --profile --python 'old=/a b/python' --python new=python",
        ),
        (
            {"worker_memory": 2**30, "memory": 2**33, "image_size": 96, "data": "/my pictures"},
            "gnet bench --device cpu --until fixed --image-size 96 --data '/my pictures' "
            f"--memory {2**33} --worker-memory {2**30}",
        ),
    ],
)
def test_the_command_that_repeats_a_run_is_that_of_its_options(run_directory, options, command):
    run_directory.document["options"] = {"layers": "fused", **options}
    run_directory.add(StepConfig(), [1.0])
    assert command_line(records.load_run(run_directory.path).document.request) == command
