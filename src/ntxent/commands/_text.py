"""Plain text at the width of its reader: paragraphs, tables, colour at a terminal only.

The commands of the core print with this alone, as the core has no rich.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

__all__ = ["colour", "columns", "fitted", "paragraph", "table", "write"]

_CODES = {"bold red": "1;31", "bold green": "1;32", "bold yellow": "1;33", "bold": "1"}
GAP = "  "
NARROWEST = 12  # characters that a wrapped column keeps


def columns() -> int:
    """Characters of a line: of the terminal, or as COLUMNS says, else 80."""
    return max(20, shutil.get_terminal_size((80, 24)).columns)


def colour(text: str, style: str | None) -> str:
    """The text in a style of ``_CODES`` where a terminal shows it, and NO_COLOR is not set."""
    plain = style is None or not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\x1b[{_CODES[style or '']}m{text}\x1b[0m"


def paragraph(text: str, width: int | None = None) -> list[str]:
    """The lines of a sentence."""
    return textwrap.wrap(text, width or columns(), break_on_hyphens=False) or [""]


def fitted(least: Sequence[int], most: Sequence[int], total: int) -> list[int] | None:
    """Returns widths of columns between their least and their most, ``total`` together at most.

    The narrowest columns get their most first. None where not even the least fit.

    >>> fitted([4, 4], [6, 30], 20), fitted([4, 4], [6, 30], 7)
    ([6, 14], None)
    """
    widths = list(least)
    if sum(widths) > total:
        return None
    growing = [k for k in range(len(widths)) if widths[k] < most[k]]
    while growing and sum(widths) < total:
        smallest = min(growing, key=lambda k: widths[k])
        widths[smallest] += 1
        growing = [k for k in growing if widths[k] < most[k]]
    return widths


def table(
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    wrap: int | None = None,
    header: bool = False,
    styles: Sequence[str | None] = (),
    width: int | None = None,
) -> list[str]:
    """The lines of a table without rules.

    Args:
        rows: Cells; one with line breaks takes several lines.
        right: Indices of the columns that are aligned to the right.
        wrap: Index of the column that is wrapped where the table is too wide.
        header: Whether the first row names the columns. A table with names that is still too wide
            becomes a block of lines for each row.
        styles: A style for each row, or none.
        width: Of the whole table, that of the reader unless given.
    """
    cells = [[cell.split("\n") for cell in row] for row in rows]
    if not cells:
        return []
    widest = [max(len(line) for row in cells for line in row[k]) for k in range(len(cells[0]))]
    if wrap is not None:
        others = sum(widest) - widest[wrap] + len(GAP) * (len(widest) - 1)
        widest[wrap] = min(widest[wrap], max(NARROWEST, (width or columns()) - others))
        for row in cells:
            row[wrap] = [part for line in row[wrap] for part in paragraph(line, widest[wrap])]
    if header and sum(widest) + len(GAP) * (len(widest) - 1) > (width or columns()):
        return _blocks(cells, styles)
    lines = []
    for number, row in enumerate(cells):
        style = styles[number] if number < len(styles) else None
        for k in range(max(map(len, row))):
            shown = [
                (cell[k] if k < len(cell) else "").rjust(size)
                if column in right
                else (cell[k] if k < len(cell) else "").ljust(size)
                for column, (cell, size) in enumerate(zip(row, widest, strict=True))
            ]
            lines.append(colour(GAP.join(shown).rstrip(), style))
    return lines


def _blocks(cells: list[list[list[str]]], styles: Sequence[str | None]) -> list[str]:
    names, *rows = ([" ".join(cell) for cell in row] for row in cells)
    lines = []
    for number, row in enumerate(rows, start=1):
        style = styles[number] if number < len(styles) else None
        first, *others = (f"{name} {cell}" for name, cell in zip(names, row, strict=True))
        lines += [colour(line, style) for line in paragraph(first)]
        lines += [GAP + part for line in others for part in paragraph(line, columns() - len(GAP))]
    return lines


def write(lines: Iterable[str]) -> None:
    print("\n".join(lines))
