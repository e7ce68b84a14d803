"""A document for a terminal: its texts and short tables, and last what it comes to, which is what stays in view."""

from __future__ import annotations

from collections.abc import Iterable

from gnet_core.report.document import Banner, Block, Bullets, Command, Document, Paragraph, Section, Text
from gnet_core.report.grid import Grid, in_style
from gnet_core.text import plain


def to_terminal(document: Document) -> str:
    """The document without its pictures, its folds and the sections that are for reference."""
    return "\n\n".join(_parts([*document.intro, *document.sections, *document.summary, *document.banners]))


def _parts(blocks: Iterable[Block]) -> list[str]:
    return [part for block in blocks if (part := _part(block))]


def _part(block: Block) -> str:
    match block:
        case Banner(point=point, clauses=clauses):
            return f"{plain(point)} {'; '.join(map(plain, clauses))}." if clauses else plain(point)
        case Paragraph(text=text):
            return _line(text)
        case Bullets(lines=[text]):
            return _line(text)
        case Bullets(lines=lines):
            return "\n".join(f"- {_line(line)}" for line in lines)
        case Command(command=command, does=does):
            return f"{plain(does)} {plain(command)}".lstrip()
        case Grid():
            return in_style(block, "simple")
        case Section(reference=False, blocks=blocks):
            return _section(block, _parts(blocks))
    return ""


def _section(section: Section, parts: list[str]) -> str:
    heading = f"{section.name}: {section.heading}" if section.name else section.heading
    colon = "" if heading.endswith("?") else ":"
    return "\n".join([f"{plain(heading)}{colon}", "\n\n".join(parts)]) if parts else ""


def _line(text: Text) -> str:
    return plain(text if isinstance(text, str) else " ".join(text))
