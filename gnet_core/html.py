"""Pages that hold all they need: Jinja2's templates, filled with escaped text and with our own pictures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from gnet_core.drawing import Picture
from gnet_core.tables import plain

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **told: Any) -> str:
    """A page from templates/`template`. Whatever is told is text, and escaped; only a Picture brings markup.

    A template says `{{ text | plain }}` for text from a run, which may be endless, and `{{ picture | drawn }}`.
    """
    return _environment().get_template(template).render(**told)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("gnet_core", "templates"),
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
