"""A document as a page that needs nothing else: Jinja2's template, with escaped text and with our own pictures."""

from __future__ import annotations

import dataclasses
import importlib.resources
import itertools

from gnet_core.report.document import Document
from gnet_core.report.drawing import Picture
from gnet_core.text import plain

_PAGE = importlib.resources.files("gnet_core.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
"""The template, read when this module is imported, since files of the checkout may change while a run goes on."""


def to_html(document: Document) -> str:
    """The whole page. Text of the document is escaped; only a Picture brings markup."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    numbers = itertools.count(1)

    def drawn(picture: Picture) -> Markup:
        # Each picture has a name of its own on the page, from which the names of all its parts follow.
        own = dataclasses.replace(picture, name=f"picture-{next(numbers)}")
        return Markup(own.inline)  # noqa: S704 - drawn here; matplotlib escapes the text in it

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"plain": plain, "kind": lambda block: type(block).__name__}
    return environment.from_string(_PAGE).render(document=document, drawn=drawn)
