"""CSV that a spreadsheet shows and does not run: text that it would take for a formula begins with an apostrophe."""

from __future__ import annotations

import re

import pandas as pd

_FORMULA = r"[=+\-@＝＋－＠﹦﹢﹣﹫]"
"""Characters that begin a formula. Some spreadsheets accept the wide and small forms of a sign as well."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Where a semicolon separates cells, as it does in half of the world, a cell may also begin inside of another.
# One that has an apostrophe already gets another, or it would be without one when it is read back.
_DANGEROUS = re.compile(rf"(?:^|(?<=;))(?='*\s*{_FORMULA})")
_GUARDED = re.compile(rf"(?:^|(?<=;))'(?='*\s*{_FORMULA})")


def to_csv(table: pd.DataFrame) -> str:
    """The table as CSV with headings: missing cells are empty, and text has neither control characters nor formulas."""
    headings = [_inert(heading) for heading in table.columns]
    rows = [[_inert(cell) for cell in row] for row in table.astype(object).itertuples(index=False, name=None)]
    return str(pd.DataFrame(rows, columns=headings, dtype=object).to_csv(index=False, lineterminator="\n"))


def restored(text: str) -> str:
    """The text of a cell as it was before `to_csv` made it inert."""
    return _GUARDED.sub("", text)


def _inert(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = "".join(character if character.isprintable() else " " for character in cell)
    return text if _NUMBER.fullmatch(text) else _DANGEROUS.sub("'", text)
