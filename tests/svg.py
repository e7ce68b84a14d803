"""SVG as the tests of pictures look at it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from gnet_core.report.drawing import Picture

_TEXT = "{http://www.w3.org/2000/svg}text"


def parsed(svg: str | bytes) -> ET.Element:
    """The root of a document, which is an error where it is not well-formed."""
    return ET.fromstring(svg)  # noqa: S314 - drawn by the tests


def words(picture: Picture) -> list[str]:
    """Every text in it, a line each."""
    return [element.text or "" for element in parsed(picture.svg).iter(_TEXT)]


def height_points(picture: Picture) -> float:
    return float(parsed(picture.svg).attrib["height"].removesuffix("pt"))


def outside_references(svg: str | bytes) -> list[str]:
    """What it would load from elsewhere."""
    found = []
    for element in parsed(svg).iter():
        for name, value in element.attrib.items():
            loads = name.rpartition("}")[2] in ("href", "src") and not value.startswith("#")
            if loads or "url(" in value.replace("url(#", ""):
                found.append(value)
        found += [element.text] if element.text and "@import" in element.text else []
    return found
