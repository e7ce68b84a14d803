"""Figures as SVG: one look for every plot, colours that the colour-blind can tell apart, on light and on dark pages."""

from __future__ import annotations

import dataclasses
import io
import re
import textwrap
from collections.abc import Callable
from typing import Any

_INK = "#1a1b1c"
"""Of text and axes. No series has it, so that a page can put its own colour in its place."""

_FAINT = "#d8d9da"
"""Of grid lines, likewise."""

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f7f7f")
"""Okabe & Ito, "Color Universal Design" (2008), and a grey: in the order in which series take them."""

WIDTH_INCHES = 6.4
_TITLE_CHARACTERS = 72
"""Of a line of the title."""

_STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and is small
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
    "text.parse_math": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A plot, drawn."""

    name: str
    """Of its file, without an ending: letters, digits and hyphens."""
    title: str
    """Its finding, in a sentence."""
    description: str
    """What it shows, for those who do not see it."""
    svg: str
    """A whole document, on white."""

    @property
    def inline(self) -> str:
        """The same inside an HTML page, in the page's own colours: --ink, --faint and --series-1, -2, …"""
        svg = self.svg[self.svg.index("<svg") :].replace(_INK, "currentColor").replace(_FAINT, f"var(--faint,{_FAINT})")
        for number, colour in enumerate(COLOURS, start=1):
            svg = svg.replace(colour, f"var(--series-{number},{colour})")
        return svg.replace(_BACKGROUND, "", 1)


_BACKGROUND = '<rect width="100%" height="100%" fill="#ffffff"/>'


def draw(
    name: str, title: str, description: str, paint: Callable[[Any], None], height_inches: float = 3.2, columns: int = 1
) -> Picture:
    """Let `paint` draw onto matplotlib's axes (a list of them where there are several columns); return the picture.

    Text is plain: no dollar sign is mathematics. The same figures always give the same SVG.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name, "axes.prop_cycle": mpl.cycler(color=COLOURS)}):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches))
        axes = figure.subplots(1, columns)
        paint(axes if columns == 1 else list(axes))
        figure.suptitle(
            textwrap.fill(title, _TITLE_CHARACTERS), x=0.01, ha="left", fontsize=10, fontweight="bold", color=_INK
        )
        held = io.StringIO()
        figure.savefig(held, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(name=name, title=title, description=description, svg=_labelled(held.getvalue(), description))


def _labelled(svg: str, description: str) -> str:
    """With a description for screen readers, a background, and nothing that points out of the document."""
    from markupsafe import escape

    # The document type names its definition by address, which nothing here needs.
    svg = re.sub(r"<!DOCTYPE[^>]*>\s*", "", svg)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    opening = re.compile(r"<svg\b([^>]*)>")
    label = str(escape(description))
    return opening.sub(
        lambda found: f'<svg{found[1]} role="img" aria-label="{label}">\n{_BACKGROUND}', svg, count=1
    )
