"""A document as Markdown, where nothing that it says is markup of its own."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from gnet_core.report.document import (
    Banner,
    Block,
    Bullets,
    Command,
    Document,
    Files,
    Fold,
    Paragraph,
    Section,
    Text,
)
from gnet_core.report.drawing import Picture
from gnet_core.report.grid import Grid
from gnet_core.text import code, inert


def to_markdown(document: Document) -> str:
    """The whole file. Its pictures lie in plots/ beside it."""
    parts = [*_parts(document.banners), f"# {inert(document.heading)}", *_parts(document.intro)]
    parts += _parts([Section("What it comes to", document.summary), *document.sections])
    return "\n\n".join(parts) + "\n"


def _parts(blocks: Iterable[Block], level: int = 2) -> list[str]:
    return [part for block in blocks if (part := _part(block, level))]


def _part(block: Block, level: int) -> str:
    match block:
        case Banner(point=point, clauses=clauses):
            return f"**{inert(point)}** {'; '.join(map(inert, clauses))}." if clauses else f"**{inert(point)}**"
        case Paragraph(text=text) | Bullets(lines=[text]):
            return _line(text)
        case Bullets(lines=lines):
            return "\n".join(f"- {_line(line)}" for line in lines)
        case Command(command=command, does=does):
            return f"{inert(does)} {code(command)}".lstrip()
        case Files(files=files):
            return "\n".join(f"- [{name}]({name}): {inert(holds)}" for name, holds in files)
        case Grid():
            return _table(block)
        case Picture(description=description):
            return f"![{inert(description)}]({block.path})"
        case Fold(summary=summary, blocks=blocks):
            inside = "\n\n".join(_parts(blocks, level))
            return f"<details><summary>{inert(summary)}</summary>\n\n{inside}\n\n</details>"
        case Section(heading=heading, name=name, blocks=blocks):
            named = f"{inert(name)}: {inert(heading)}" if name else inert(heading)
            return "\n\n".join([f"{'#' * level} {named}", *_parts(blocks, level + 1)]) if blocks else ""
    return ""


def _table(grid: Grid) -> str:
    table = tabulate(
        [[inert(cell.text) for cell in row] for row in grid.rows],
        headers=[inert(heading) for heading in grid.headings],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if text else "right" for text in grid.text],
    )
    return f"All with {inert(grid.shared)}:\n\n{table}" if grid.shared else table


def _line(text: Text) -> str:
    if isinstance(text, str):
        return inert(text)
    return f"**{inert(text.point)}** {inert(text.rest)}".rstrip()
