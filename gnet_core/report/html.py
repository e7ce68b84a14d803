"""Pages that hold all they need: Jinja2's templates, filled with escaped text and with our own pictures."""

from __future__ import annotations

import functools
import importlib.resources
from typing import TYPE_CHECKING, Any

from gnet_core.report.drawing import Picture
from gnet_core.text import plain

if TYPE_CHECKING:
    from jinja2 import Environment


_TEMPLATES = {
    file.name: file.read_text(encoding="utf-8")
    for file in importlib.resources.files("gnet_core.report").joinpath("templates").iterdir()
}
"""By name. They are read when this module is imported, since files of the checkout may change while a run goes on."""


def render(template: str, **told: Any) -> str:
    """A page from templates/`template`. Whatever is told is text, and escaped; only a Picture brings markup.

    A template says `{{ text | plain }}` for text from a run, which may be endless, and `{{ picture | drawn }}`.
    """
    return _environment().get_template(template).render(**told)


@functools.cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=DictLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    def drawn(picture: Picture) -> Markup:
        return Markup(picture.inline)  # noqa: S704 - drawn here; matplotlib escapes the text in it

    environment.filters |= {"plain": plain, "drawn": drawn}
    return environment
