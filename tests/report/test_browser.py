"""Every page in a real browser with the network cut, as wide as a desk's screen and as a telephone's, light and dark.

Screenshots go to the folder that GNET_SCREENSHOTS names, if it does: look at them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnet_core.profile import comparison as profile_comparison
from gnet_core.report import comparison, run
from gnet_core.report import profile as profile_report
from gnet_core.report import profile_comparison as profile_comparison_report
from gnet_core.report.summary import Summary
from gnet_core.results import records
from gnet_core.results.gates import GateResult
from tests.conftest import RunDirectory
from tests.stored import TRACED, store_endless, store_every_suite, store_hostile, store_profile

playwright: Any = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed here; tox run -e browser brings it"
)

CHROMIUM = os.environ.get("GNET_CHROMIUM") or shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium (Debian: apt install chromium) and GNET_CHROMIUM names none"
)

WIDTHS = {"desktop": 1280, "phone": 400}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        # The sandbox of Debian's package wants privileges that containers withhold; the page is our own.
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def written(run_directory: RunDirectory) -> Path:
    store_every_suite(run_directory)
    run.write(Summary(records.load_run(run_directory.path)))
    return run_directory.path / run.HTML_FILE


class Opened:
    """A page with what it asked for and what it complained of."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, device_scale_factor=1
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def test_the_page_asks_for_nothing_but_itself_and_complains_of_nothing(browser, written):
    with Opened(browser, written) as opened:
        opened.page.wait_for_load_state("networkidle")
        assert opened.requests == [written.as_uri()]
        assert opened.complaints == []
        assert opened.page.title().startswith("The train step of GoogleNet_2 on Test Processor")


def test_a_fold_opens_and_closes(browser, written):
    with Opened(browser, written) as opened:
        fold = opened.page.locator("details").first
        inside = fold.locator("table")
        assert not inside.is_visible()
        fold.locator("summary").click()
        assert fold.evaluate("each => each.open")
        assert inside.is_visible()
        fold.locator("summary").click()
        assert not inside.is_visible()


@pytest.fixture
def pages(run_directory: RunDirectory, written: Path, tmp_path: Path) -> dict[str, Path]:
    """A page of each kind."""
    store_profile(run_directory)
    loaded = records.load_run(run_directory.path)
    run.write(Summary(loaded))
    compared = comparison.compare(loaded, loaded, 0.02, across_machines=False)
    (stored,) = loaded.profiles
    sides = profile_comparison.load(run_directory.path)
    for folder in ("compare", "profile", "profiles"):
        (tmp_path / folder).mkdir()
    comparison.write(compared, GateResult(failed={"slower": [TRACED.name]}), tmp_path / "compare")
    profile_report.write_documents(stored, tmp_path / "profile")
    profile_comparison_report.write(profile_comparison.compare(sides, sides), tmp_path / "profiles")
    return {
        "run": written,
        "comparison": tmp_path / "compare" / "compare.html",
        "profile": tmp_path / "profile" / "report.html",
        "profile comparison": tmp_path / "profiles" / "report.html",
    }


WIDER = """
[...document.querySelectorAll('body *')]
    .filter(each => !each.closest('.wide > *, figure > *') && each.getBoundingClientRect().right > innerWidth + 1)
    .map(each => each.outerHTML.slice(0, 100))
"""
"""Elements that reach beyond the window, other than inside a table or picture that scrolls by itself."""

CUT = """
[...document.querySelectorAll('body *')]
    .filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0 && !each.closest('svg'))
    .filter(each => getComputedStyle(each).overflowX != 'auto' && getComputedStyle(each).display != 'inline')
    .map(each => each.outerHTML.slice(0, 100))
"""
"""Elements whose content is wider than they are and cannot be scrolled to."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", WIDTHS)
def test_no_part_of_any_page_is_wider_than_the_screen(browser, pages, name, scheme):
    for kind, file in pages.items():
        with Opened(browser, file, WIDTHS[name], scheme) as opened:
            for fold in opened.page.locator("summary").all():
                fold.click()
            wide, inner = opened.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
            assert wide <= inner == WIDTHS[name], kind
            assert opened.page.evaluate(WIDER) == [], kind
            assert opened.page.evaluate(CUT) == [], kind
            if folder := os.environ.get("GNET_SCREENSHOTS"):
                picture = f"{kind.replace(' ', '-')}-{name}-{scheme}.png"
                opened.page.screenshot(path=Path(folder) / picture, full_page=True)


NUMBERS_CUT = """
[...document.querySelectorAll('figure svg text')].filter(each => {
    const own = each.getBoundingClientRect(), picture = each.closest('svg').getBoundingClientRect();
    return own.left < picture.left - 1 || own.right > picture.right + 1;
}).map(each => each.textContent)
"""
"""Texts of pictures that reach beyond their picture, which cuts them."""


def test_no_text_of_a_picture_is_cut(browser, pages):
    for kind, file in pages.items():
        with Opened(browser, file) as opened:
            assert opened.page.evaluate(NUMBERS_CUT) == [], kind


@pytest.mark.parametrize("store", [store_hostile, store_endless])
def test_what_a_stranger_wrote_into_a_run_does_nothing(browser, run_directory, store):
    store(run_directory)
    run.write(Summary(records.load_run(run_directory.path)))
    file = run_directory.path / run.HTML_FILE
    with Opened(browser, file, WIDTHS["phone"]) as opened:
        opened.page.on("dialog", lambda dialog: opened.complaints.append(dialog.message))
        opened.page.reload()
        for fold in opened.page.locator("summary").all():
            fold.click()
        assert set(opened.requests) == {file.as_uri()}
        assert opened.complaints == []
        assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert opened.page.locator("script, img, iframe, object, embed, form").count() == 0


def test_pictures_are_drawn_as_wide_as_the_text_and_not_cut(browser, written):
    with Opened(browser, written) as opened:
        boxes = [picture.bounding_box() for picture in opened.page.locator("svg").all()]
        assert len(boxes) >= 6
        assert all(box["width"] > 400 and box["height"] > 100 for box in boxes)


def test_the_dark_page_is_dark_and_its_text_is_light(browser, written):
    colours = {}
    for scheme in ("light", "dark"):
        with Opened(browser, written, scheme=scheme) as opened:
            style = "getComputedStyle(document.body)"
            colours[scheme] = opened.page.evaluate(f"[{style}.backgroundColor, {style}.color]")
            of_text = "getComputedStyle(document.querySelector('svg text')).fill"
            assert opened.page.evaluate(of_text) == colours[scheme][1]
    assert [_brightness(colour) > 128 for colour in colours["light"]] == [True, False]
    assert [_brightness(colour) > 128 for colour in colours["dark"]] == [False, True]


def _brightness(colour: str) -> float:
    """Mean of the channels of CSS' rgb(…), from 0 to 255."""
    levels = [float(level) for level in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    return sum(levels) / len(levels)


def test_a_printed_report_is_a_document_of_a_few_pages(browser, written):
    with Opened(browser, written) as opened:
        document = opened.page.pdf(format="A4")
        assert document.startswith(b"%PDF")
        pages = document.count(b"/Type /Page\n") + document.count(b"/Type /Page ") + document.count(b"/Type/Page/")
        assert 1 <= pages <= 20
