"""A report in whatever form: texts, tables and pictures in their order, which a writer puts into its form.

All text is plain until html, markdown or terminal writes it: only a writer escapes, each for its own form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from gnet_core.report.drawing import Picture
from gnet_core.report.grid import Grid


class Sentence(NamedTuple):
    """A point and the rest, plain text to be joined by a space; pages and Markdown stress the point."""

    point: str
    rest: str


Text: TypeAlias = str | Sentence


@dataclasses.dataclass(frozen=True)
class Banner:
    """A warning or an assurance that has to be read before any figure, with the clauses that belong to it."""

    tone: Literal["good", "bad"]
    point: str
    clauses: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """One text; a soft one is of less weight than its neighbours."""

    text: Text
    soft: bool = False


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list of texts; a single one stands as a paragraph."""

    lines: Sequence[Text]


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line to copy, and its purpose."""

    command: str
    does: str = ""


@dataclasses.dataclass(frozen=True)
class Files:
    """Files beside the document, each with its content in words; a page links to them."""

    files: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, with a short name where it has one, and the blocks below it."""

    heading: str
    blocks: Sequence[Block]
    name: str = ""
    reference: bool = False
    """Whether it is for looking things up; a terminal leaves it to the files."""
    folded: bool = False
    """Whether a page unfolds it on demand; a terminal leaves it out."""

    @property
    def label(self) -> str:
        """Name and heading in one line."""
        return f"{self.name}: {self.heading}" if self.name else self.heading


Block: TypeAlias = Banner | Paragraph | Bullets | Command | Files | Section | Grid | Picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report. Pages begin with the summary; a terminal, whose last lines stay in view, ends with it."""

    heading: str
    title: str = ""
    """Title of the browser's window, where it says more than the heading."""
    banners: Sequence[Banner] = ()
    intro: Sequence[Block] = ()
    summary: Sequence[Block] = ()
    sections: Sequence[Section] = ()
    """Those without any block are left out."""


def section(heading: str, *blocks: Block | None, name: str = "", reference: bool = False) -> Section:
    """A section of the blocks that have anything in them."""
    return Section(heading, [block for block in blocks if block and not _is_empty(block)], name, reference)


def _is_empty(block: Block) -> bool:
    match block:
        case Bullets(lines=content) | Grid(rows=content) | Section(blocks=content):
            return not content
    return False


def pictures_in(blocks: Sequence[Block]) -> Iterator[Picture]:
    """All pictures in the blocks, in their order."""
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Section):
            yield from pictures_in(block.blocks)
