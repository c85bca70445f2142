"""Tables at a terminal of any width, whole: no cell is ever cut.

Columns of words are wrapped where a table is too wide. Where its longest words and its numbers do
not fit beside each other, each row becomes a block with a line for each cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ntxent.commands._text import fitted

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["fits", "show_table"]

Rows = Sequence[Sequence[str]]

RULE = 3  # characters between two columns, and INDENT of a block's lines
INDENT = 2


def show_table(
    console: Console,
    rows: Rows,
    *,
    header: Sequence[str] = (),
    title: str = "",
    right: Sequence[int] = (),
    unbroken: Sequence[int] = (),
    bold: Sequence[int] = (),
    rules: bool = True,
) -> None:
    """Prints a table, or blocks of lines where the console is too narrow for it.

    Args:
        console: Where it is printed.
        rows: The cells.
        header: Names of the columns.
        title: A line before the table.
        right: Indices of the columns of numbers: aligned to the right, and never wrapped.
        unbroken: Indices of further columns that are never wrapped.
        bold: Indices of the rows in bold.
        rules: Whether lines are drawn round the table.
    """
    if title:
        console.print(Text(title, "italic"))
    widths = _widths(console.width, rows, header, (*right, *unbroken), rules)
    if widths is None:
        _show_blocks(console, rows, header)
        return
    padding = (0, 1) if rules else (0, 2, 0, 0)
    table = Table(box=box.HEAVY_HEAD if rules else None, show_header=bool(header), padding=padding)
    for index, width in enumerate(widths):
        name = header[index] if header else ""
        side: Literal["left", "right"] = "right" if index in right else "left"
        table.add_column(Text(name), justify=side, width=width, overflow="fold")
    for number, row in enumerate(rows):
        table.add_row(*map(Text, row), style="bold" if number in bold else None)
    console.print(table)


def fits(console: Console, rows: Rows, header: Sequence[str], right: Sequence[int] = ()) -> bool:
    """Returns whether the console is wide enough for a table with rules."""
    return _widths(console.width, rows, header, right, rules=True) is not None


def _widths(
    width: int, rows: Rows, header: Sequence[str], unbroken: Sequence[int], rules: bool
) -> list[int] | None:
    """Returns the width of each column, None where they do not fit."""
    columns = list(zip(*([header] if header else []), *rows, strict=True))
    if not columns:
        return None
    least, most = [], []
    for index, cells in enumerate(columns):
        whole = cells[bool(header) :] if index in unbroken else ()
        words = [word for cell in cells for word in cell.split()]
        least.append(max(map(cell_len, [*words, *whole]), default=0))
        most.append(max(map(cell_len, cells)))
    around = RULE * len(columns) + 1 if rules else INDENT * len(columns)
    return fitted(least, most, width - around)


def _show_blocks(console: Console, rows: Rows, header: Sequence[str]) -> None:
    for row in rows:
        console.print(Text(row[0] if row else "", "bold", overflow="fold"))
        for name, cell in zip(header[1:] or [""] * (len(row) - 1), row[1:], strict=True):
            line = f"{name}  {cell}" if name else cell
            if cell:
                for part in Text(line).wrap(console, console.width - INDENT, overflow="fold"):
                    console.print(Text(" " * INDENT) + part)
