"""Figures as SVG: one look for every plot, colours that the colour-blind can tell apart, on light and on dark pages."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from gnet_core.text import plain

INK, FAINT = "#1a1b1c", "#d8d9da"
"""Colours of text and axes, and of grid lines and bands, which a page replaces by its own."""

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f7f7f")
"""Okabe & Ito, "Color Universal Design" (2008), and a grey: in the order in which series take them."""

PLOTS = "plots"
"""The folder that pictures lie in, beside the documents that show them."""

LEGEND_INCHES = 0.3
"""Height of a row of a legend below the axes."""

MAX_DESCRIBED = 600
"""Characters of a description: a screen reader reads out all of them."""

_WIDTH_INCHES = 6.4
_MAX_NAME = 120  # characters of a picture's file name
_MAX_TITLE, _TITLE_LINE = 200, 60  # characters of a title, and of a line of it
_TITLE_LINE_INCHES = 0.2
_POINTS = 10  # of all text but the title, which is larger by one: on a telephone the width shrinks to three quarters
_AROUND_INCHES = 1.15  # height of title, axis and its label
_LINE_INCHES, _ROW_INCHES = 0.29, 0.155  # height of a line of data, and of each further row of its label
_FONT = "DejaVu Sans"  # which matplotlib brings, so that a picture is the same everywhere
_BACKGROUND = '<rect width="100%" height="100%" fill="#ffffff"/>'

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and is small
    "font.family": ["sans-serif"],
    "font.sans-serif": [_FONT],
    **dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), _POINTS),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "text.parse_math", "legend.frameon"), False),
    **dict.fromkeys(("axes.axisbelow", "axes.grid", "figure.constrained_layout.use"), True),
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "figure.constrained_layout.w_pad": 0.1,  # inches; a browser's own font may be wider than the one measured with
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A plot, drawn on white, with its finding in a sentence and its content in words for those who do not see it."""

    name: str
    """Letters, digits and hyphens."""
    title: str
    description: str
    svg: str

    @property
    def path(self) -> str:
        """Its file, from the documents that show it."""
        return f"{PLOTS}/{self.name[:_MAX_NAME]}.svg"

    @property
    def inline(self) -> str:
        """The SVG for inside an HTML page, in the page's own colours: --ink, --faint and --series-1, -2, …"""
        svg = self.svg[self.svg.index("<svg") :].replace(INK, "currentColor").replace(FAINT, f"var(--faint,{FAINT})")
        for number, colour in enumerate(COLOURS, start=1):
            svg = svg.replace(colour, f"var(--series-{number},{colour})")
        # Names of parts are unique on the page, whatever other pictures are there.
        return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{self.name}-", svg.replace(_BACKGROUND, "", 1))


def draw(
    name: str, title: str, description: str, paint: Callable[[Any], None], height_inches: float = 3.2, columns: int = 1
) -> Picture:
    """Let `paint` draw onto matplotlib's axes (a list of them where there are several columns); return the picture.

    The height is that of a picture with one line of title. Text is plain: no dollar sign is mathematics. Labels that
    `paint` writes have to be `legible`. The same figures always give the same SVG.
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    title, description = legible(title, _MAX_TITLE), _line(description, MAX_DESCRIBED)
    lines = textwrap.wrap(title, _TITLE_LINE)
    height_inches += _TITLE_LINE_INCHES * max(0, len(lines) - 1)
    style: Any = {**_STYLE, "svg.hashsalt": name, "axes.prop_cycle": cycler(color=COLOURS)}
    with mpl.rc_context(style):
        figure = Figure(figsize=(_WIDTH_INCHES, height_inches))
        axes = figure.subplots(1, columns)
        paint(axes if columns == 1 else list(axes))
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=_POINTS + 1, fontweight="bold", color=INK)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(name=name, title=title, description=description, svg=_cleaned(buffer.getvalue(), description))


def draw_lines(
    name: str,
    title: str,
    description: str,
    paint: Callable[[Any], None],
    labels: Sequence[str],
    *,
    label_rows: int = 0,
    legend: float = 0.0,
    columns: int = 1,
) -> Picture:
    """As `draw`, for horizontal lines of data at 0, 1, 2, … from top to bottom, each with its label at the left. The
    height follows from the labels, each of at least `label_rows` rows, and from the inches of `legend`.
    """

    def paint_and_label(axes: Any) -> None:
        paint(axes)
        for number, column in enumerate(axes if columns > 1 else [axes]):
            column.set_yticks(range(len(labels)), [""] * len(labels) if number else labels)
            column.set_ylim(len(labels) - 0.4, -0.6)
            column.tick_params(axis="y", length=0)
            column.grid(visible=False, axis="y")

    rows = max(label_rows, 1 + max((label.count("\n") for label in labels), default=0))
    height = _AROUND_INCHES + (_LINE_INCHES + _ROW_INCHES * (rows - 1)) * max(len(labels), 2)
    return draw(name, title, description, paint_and_label, height + legend, columns)


def picture_name(text: str) -> str:
    """Text as the name of a picture, in letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def legible(text: object, most: int = 60) -> str:
    """Text in one line for a plot: at most so many characters, and a box in place of each that the font has not."""
    glyphs = _glyphs()
    return "".join(character if ord(character) in glyphs else "□" for character in _line(text, most))


def described(subject: str, lines: Sequence[str]) -> str:
    """A description with as many of the lines, each of a figure or two, as it may have characters for."""
    text = subject
    for index, line in enumerate(lines):
        if len(text) + len(line) > MAX_DESCRIBED - 30:
            return f"{text} {len(lines) - index} more."
        text = f"{text} {line}{'.' if index == len(lines) - 1 else ';'}"
    return text


def beside(axes: Any, end: float, line: int, text: str) -> None:
    """Write at the right of the point where something ends on a horizontal line of data."""
    axes.annotate(text, (end, line), xytext=(4, 0), textcoords="offset points", va="center", annotation_clip=False)


def subtitle(axes: Any, shared: str, left_out: int = 0) -> None:
    """Write what all that is shown has in common, and how many more cases are not shown."""
    more = f"{left_out} more in the table" if left_out else ""
    axes.set_title("; ".join(filter(None, (legible(shared, 80), more))), loc="left", fontsize=_POINTS)


def _line(text: object, most: int) -> str:
    line = plain(text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


@functools.cache
def _glyphs() -> frozenset[int]:
    """Code points that the font has, both regular and bold."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    regular, bold = (get_font(findfont(FontProperties(family=_FONT, weight=weight))) for weight in ("normal", "bold"))
    return frozenset(regular.get_charmap()) & frozenset(bold.get_charmap())


def _cleaned(svg: str, description: str) -> str:
    """The SVG with a description for screen readers and a background, and with nothing that points out of it."""
    from markupsafe import escape

    # The document type names its definition by address, which nothing here needs.
    svg = re.sub(r"<!DOCTYPE[^>]*>\s*|<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # Groups are numbered from 1 in every picture, and a page may hold several; nothing refers to a group.
    svg = re.sub(r'<g id="[^"<>]*">', "<g>", svg)
    label = f' role="img" aria-label="{escape(description)}">\n{_BACKGROUND}'
    return re.sub(r"(<svg\b[^>]*)>", lambda match: match[1] + label, svg, count=1)
