"""A document as Markdown, where nothing that it says is markup of its own."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from gnet_core.report import document as blocks
from gnet_core.report.drawing import Picture
from gnet_core.report.grid import Grid
from gnet_core.text import code, inert


def to_markdown(document: blocks.Document) -> str:
    """The whole file. Its pictures lie in plots/ beside it."""
    parts = [*_parts(document.banners), f"# {inert(document.heading)}", *_parts(document.intro)]
    parts += _parts([blocks.Section("What it comes to", document.summary), *document.sections])
    return "\n\n".join(parts) + "\n"


def _parts(parts: Iterable[blocks.Block], level: int = 2) -> list[str]:
    return list(filter(None, (_part(block, level) for block in parts)))


def _part(block: blocks.Block, level: int) -> str:
    match block:
        case blocks.Banner():
            return _banner(block)
        case blocks.Paragraph(text=text) | blocks.Bullets(lines=[text]):
            return _line(text)
        case blocks.Bullets(lines=lines):
            return "\n".join(f"- {_line(line)}" for line in lines)
        case blocks.Command(command=command, does=does):
            return f"{inert(does)} {code(command)}".lstrip()
        case blocks.Files(files=files):
            return "\n".join(f"- [{name}]({name}): {inert(holds)}" for name, holds in files)
        case Grid():
            return _table(block)
        case Picture(description=description):
            return f"![{inert(description)}]({block.path})"
        case blocks.Section(folded=True, blocks=inside):
            folded = "\n\n".join(_parts(inside, level))
            return f"<details><summary>{inert(block.label)}</summary>\n\n{folded}\n\n</details>"
        case blocks.Section(blocks=inside) if inside:
            return "\n\n".join([f"{'#' * level} {inert(block.label)}", *_parts(inside, level + 1)])
    return ""


def _banner(banner: blocks.Banner) -> str:
    """Its clauses are a list, of which a single one stands beside the point."""
    point, clauses = f"**{inert(banner.point)}**", list(map(inert, banner.clauses))
    if len(clauses) > 1:
        return "\n".join([point, "", *(f"- {clause}" for clause in clauses)])
    return " ".join([point, *(f"{clause}." for clause in clauses)])


def _table(grid: Grid) -> str:
    rows = [[inert(cell.text) for cell in row] for row in grid.rows]
    align = ["left" if text else "right" for text in grid.text]
    headings = list(map(inert, grid.headings))
    table = tabulate(rows, headers=headings, tablefmt="pipe", disable_numparse=True, colalign=align)
    return f"All with {inert(grid.shared)}:\n\n{table}" if grid.shared else table


def _line(text: blocks.Text) -> str:
    return inert(text) if isinstance(text, str) else f"**{inert(text.point)}** {inert(text.rest)}".rstrip()
