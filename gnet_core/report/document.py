"""What a report says, in whatever form: text, tables and pictures in their order, which a writer puts into its form.

Builders (run, comparison, profile_report, profile_comparison) make a Document; html, markdown and terminal write it.
All text is plain until then: only a writer escapes, each for its own form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from gnet_core.report.drawing import Picture
from gnet_core.report.grid import Grid


class Sentence(NamedTuple):
    """What it comes to, and the rest; plain text, to be joined by a space."""

    point: str
    rest: str


Text: TypeAlias = str | Sentence


@dataclasses.dataclass(frozen=True)
class Banner:
    """What has to be read before any figure: a point, and the clauses that belong to it."""

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
    """A command line to copy, and what it does."""

    command: str
    does: str = ""


@dataclasses.dataclass(frozen=True)
class Files:
    """Files that lie beside the document, each with what it holds; a page links to them."""

    files: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Fold:
    """What is shown when it is asked for, and not at all in a terminal."""

    summary: str
    blocks: Sequence[Block]


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what belongs to it; `name` is its short name, where it has one beside the heading."""

    heading: str
    blocks: Sequence[Block]
    name: str = ""
    reference: bool = False
    """Whether it is to look things up in, which a terminal leaves to the files."""


Block: TypeAlias = Banner | Paragraph | Bullets | Command | Files | Fold | Section | Grid | Picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report. Pages begin with what it comes to; a terminal, whose last lines stay in view, ends with it."""

    heading: str
    title: str = ""
    """Of the browser's window, where it says more than the heading."""
    banners: Sequence[Banner] = ()
    intro: Sequence[Block] = ()
    """What the report is about."""
    summary: Sequence[Block] = ()
    """What it comes to."""
    sections: Sequence[Section] = ()
    """The evidence. Those without any block are left out."""

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, in their order."""
        return list(_pictures([*self.intro, *self.summary, *self.sections]))


def section(heading: str, *blocks: Block | None, name: str = "", reference: bool = False) -> Section:
    """A section of the blocks that have anything in them."""
    return Section(heading, [block for block in blocks if block and not _is_empty(block)], name, reference)


def _is_empty(block: Block) -> bool:
    match block:
        case Bullets(lines=content) | Grid(rows=content) | Section(blocks=content) | Fold(blocks=content):
            return not content
    return False


def _pictures(blocks: Sequence[Block]) -> Iterator[Picture]:
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Section | Fold):
            yield from _pictures(block.blocks)
