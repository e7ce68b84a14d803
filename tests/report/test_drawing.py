"""Rules of every picture: the same bytes again, nothing from outside, and no text that is more than text."""

import re

import pytest

from gnet_core.report import drawing
from tests.svg import height_points, outside_references, parsed, words

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script></svg>\x1b[2J\x00 $x^2$ 図表 \ud800\ufffe & \"quoted\" 'so'\nnext"


def paint(axes):
    axes.bar([1, 2], [3, 4], color=drawing.COLOURS[0])
    axes.set_xlabel(drawing.legible(HOSTILE))


def picture(title="A finding", description="What it shows"):
    return drawing.draw("a-name", title, description, paint)


def test_the_same_figures_are_the_same_bytes():
    assert picture().svg == picture().svg


def test_a_picture_is_well_formed_and_labelled_for_those_who_do_not_see_it():
    root = parsed(picture(description='3 & 4 "bars"').svg)
    assert root.tag == f"{SVG}svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", '3 & 4 "bars"')


def test_a_picture_points_to_nothing_outside_it():
    svg = picture(HOSTILE, HOSTILE).svg
    assert outside_references(svg) == []
    assert "DOCTYPE" not in svg
    assert set(re.findall(r"https?://[^\s\"<]+", svg)) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_hostile_text_stays_text():
    drawn = picture(HOSTILE, HOSTILE)
    root = parsed(drawn.svg)
    assert not [element for element in root.iter() if element.tag.endswith(("script", "image", "a"))]
    assert any("<script>" in word for word in words(drawn))
    assert "<script" not in drawn.svg
    assert drawn.svg.count("</svg>") == 1
    assert "\x1b" not in drawn.svg + drawn.title + drawn.description


def test_a_dollar_sign_is_no_mathematics():
    assert "Costs $x^2$ and $y$" in words(picture("Costs $x^2$ and $y$"))


def test_text_is_reduced_to_what_the_font_has():
    assert drawing.legible("0.67× (0.64–0.71) ± µ …") == "0.67× (0.64–0.71) ± µ …"
    assert drawing.legible("図 x\u200b\ud800\n\ty") == "□ x y"
    assert drawing.legible("x" * 10_000_000, 10) == "xxxxxxxxx…"


@pytest.mark.parametrize("endless", [HOSTILE * 100_000, "x" * 10_000_000])
def test_a_text_without_end_is_cut(endless):
    drawn = picture(endless, endless)
    assert len(drawn.description) == drawing.MAX_DESCRIBED
    assert len(drawn.title) <= 200
    assert len(drawn.svg) < 30_000


def test_inside_a_page_a_picture_has_the_pages_colours_and_no_name_that_another_may_have():
    drawn = picture()
    assert drawn.inline.startswith("<svg")
    assert f"var(--series-1,{drawing.COLOURS[0]})" in drawn.inline
    assert "currentColor" in drawn.inline
    assert drawing.INK not in drawn.inline
    assert "#ffffff" in drawn.svg
    assert "#ffffff" not in drawn.inline
    named = {element.get("id") for element in parsed(drawn.svg).iter() if element.get("id")}
    other = drawing.draw("another-name", "A finding", "What it shows", paint)
    assert not named & {element.get("id") for element in parsed(other.svg).iter() if element.get("id")}


def test_a_long_title_makes_the_picture_higher_and_not_its_plot_smaller():
    assert height_points(picture("word " * 30)) > height_points(picture("word"))


def test_a_description_tells_how_many_figures_it_has_no_room_for():
    assert drawing.described("Bars.", ["a: 1", "b: 2"]) == "Bars. a: 1; b: 2."
    text = drawing.described("Bars.", [f"case {number}: {number}.0 images/s" for number in range(100)])
    assert len(text) <= drawing.MAX_DESCRIBED
    kept = text.count("images/s")
    assert text.endswith(f"; {100 - kept} more.")
