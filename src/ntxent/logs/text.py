"""Readers of text: JSON, tables and printed lines; a broken line costs itself only."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ntxent.logs.alike import (
    Row,
    Template,
    json_template,
    printed_template,
    rows_alike,
    table_rows,
)
from ntxent.logs.columns import LOOKED_AT, Columns, NoLog
from ntxent.logs.grammar import ABSENT, NUMBER, Line, LineReader, flatten, of_part, read_line
from ntxent.logs.names import is_epoch, rank, step_rank
from ntxent.logs.opening import lines, open_log, peek

DELIMITERS = ",\t;|"
LARGEST_DOCUMENT = 2**29  # bytes of a JSON document, which is read as a whole
HEAD = 200  # lines in which the kind of a text shows
Numbered = Iterator[tuple[int, str]]
Rows = Iterator[Row]

_NUMBER = re.compile(rf"{NUMBER}%?|")
# Headerless columns of numbers, by their count: MLflow's metric files.
HEADERLESS = {3: ("timestamp", "{name}", "step")}


def text_rows(path: Path, columns: Columns) -> Rows:
    """The rows of a text, whatever its kind.

    Raises:
        NoLog: it is empty, binary, or a JSON document without numbers.
    """
    with open_log(path) as stream:
        head = peek(stream, path)
        opening, _, more = head.lstrip().partition("\n")
        document = re.match(r"\{\s*[\"}]|\{$|\[\s*[\[{\"\d-]|\[$", opening.rstrip())
        if document and not (more.strip() and _is_json_object(opening)):
            text = stream.read(LARGEST_DOCUMENT + 1)
            try:
                yield from _document_rows(_document(text, path), columns)
                return
            except json.JSONDecodeError:  # lines, the first of which is broken or no JSON
                numbered = lines(io.BufferedReader(io.BytesIO(text)), columns)
        else:
            numbered = lines(stream, columns)
        first = list(islice(numbered, HEAD))
        reader, skip = _kind(first, path)
        yield from reader(chain(first[skip:], numbered), columns)


def _kind(first: list[tuple[int, str]], path: Path) -> tuple[Callable[..., Rows], int]:
    """The reader of a text by its first lines, and how many come before what it reads."""
    filled = [text for _, text in first if text.strip()]
    objects = sum(map(_is_json_object, filled))
    if objects and objects >= len(filled) / 2 - 1:
        return _json_rows, 0
    if filled and filled[0].lstrip().startswith("{") and len(filled) == 1:
        return _json_rows, 0
    for at, (_, text) in enumerate(first[:50]):
        header = _header(text)
        if header is None:
            continue
        names, split = header
        body = [split(row) for _, row in first[at + 1 :] if row.strip() and not _ruled(row)]
        if not body:
            if len(filled) == 1 and names:
                return _table(names, split), at + 1
            continue
        if split.delimiter is None and all(len(row) == len(names) + 1 for row in body[:5]):
            names = ["", *names]  # pandas prints an index without a name
        whole = [row for row in body if len(row) == len(names) and _mostly_numbers(row)]
        plain = at == 0 and (split.delimited or len(names) == 1)
        if len(whole) > len(body) / 2 or (whole and plain):
            return _table(names, split), at + 1
    if filled:
        cells = filled[0].split()
        if len(cells) in HEADERLESS and all(map(_is_number, cells)) and float(cells[0]) > 1e11:
            names = [name.format(name=path.stem) for name in HEADERLESS[len(cells)]]
            return _table(names, _Split(None)), 0
        split = _Split(max(DELIMITERS, key=filled[0].count) if "," in filled[0] else None)
        cells = split(filled[0])
        if len(filled) > 1 and all(cell and _is_number(cell) for cell in cells):
            names = [f"column {k}" for k in range(1, len(cells) + 1)]
            if len(cells) > 1 and _counts([split(text)[0] for text in filled[:50]]):
                names[0] = "step"
            return _table(names, split), 0
    return _printed_rows, 0


def _counts(cells: list[str]) -> bool:
    """Whether they are integers that increase."""
    numbers = [int(cell) for cell in cells if cell.strip().isdigit()]
    return len(numbers) == len(cells) and numbers == sorted(set(numbers))


# --- JSON -----------------------------------------------------------------------------------------


def _is_json_object(text: str) -> bool:
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _json_rows(numbered: Numbered, columns: Columns) -> Rows:
    def read(number: int, text: str) -> Line | None:
        if not text.strip():
            return None
        if "{" not in text:
            if number > 1 and "[" in text:
                columns.skip(number, "not a JSON object")
            return None
        try:
            row = json.loads(text)
        except ValueError as error:
            columns.skip(number, f"not JSON: {error}")
            return None
        if isinstance(row, dict):
            return _line(flatten(row), columns)
        columns.skip(number, "not a JSON object")
        return None

    def template(text: str) -> Template | None:
        whole = text.strip()
        return json_template(whole, columns.want) if whole.startswith("{") else None

    return rows_alike(numbered, read, template)


def _line(row: dict[str, Any], columns: Columns) -> Line:
    columns.show(row)
    return Line(of_part(row))


def _document(text: bytes, path: Path) -> Any:
    if len(text) > LARGEST_DOCUMENT:
        raise NoLog(
            f"{path}: a JSON document of more than {LARGEST_DOCUMENT >> 20} MB; write JSON lines, "
            "an object on each"
        )
    return json.loads(text)


def _document_rows(tree: Any, columns: Columns) -> Rows:
    """The records of the longest list of objects; else lists of numbers as columns."""
    records, arrays = [], {}
    if isinstance(tree, dict):
        columns.show({name: value for name, value in tree.items() if not isinstance(value, list)})
    for name, value in _lists(tree):
        if all(isinstance(item, list) and len(item) == 3 for item in value):
            # TensorBoard's own JSON: wall time, step, value
            records = [{"step": step, "value": number} for _, step, number in value]
        elif all(isinstance(item, dict) for item in value):
            records = max(records, value, key=len)
        elif all(isinstance(item, (int, float, type(None))) for item in value):
            arrays[name] = value
    if records:
        for number, row in enumerate(records, start=1):
            yield number, _line(flatten(row), columns)
        return
    length = max(map(len, arrays.values()), default=0)
    for k in range(length):
        row = {name: values[k] for name, values in arrays.items() if k < len(values)}
        yield k + 1, _line(row, columns)
    if not length and isinstance(tree, dict):
        yield 1, _line(flatten(tree), columns)


def _lists(tree: Any, prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    if isinstance(tree, list) and tree:
        yield prefix.rstrip("/"), tree
    elif isinstance(tree, dict):
        for name, value in tree.items():
            yield from _lists(value, f"{prefix}{name}/")


# --- tables ---------------------------------------------------------------------------------------


class _Split:
    """A line into its cells: at a delimiter, or at white space."""

    def __init__(self, delimiter: str | None) -> None:
        self.delimiter = delimiter
        self.delimited = delimiter not in (None, "|")

    def __call__(self, text: str) -> list[str]:
        if self.delimiter is None:
            return text.split()
        if self.delimiter == "|":
            return [cell.strip() for cell in text.strip().strip("|").split("|")]
        if '"' not in text:
            return text.split(self.delimiter)
        return next(csv.reader([text], delimiter=self.delimiter))


def _header(text: str) -> tuple[list[str], _Split] | None:
    """The names of a header and how its lines are split; None where a line is no header."""
    delimiter = max(DELIMITERS, key=text.count)
    split = _Split(delimiter if delimiter in text else None)
    names = [name.strip().lstrip("#").strip() for name in split(text)]
    if split.delimiter is None and re.search(r"[:=\[{]", text):
        return None
    named = [name for name in names if name and not _is_number(name)]
    if not text.strip() or len(named) < max(1, len(names) - 1):
        return None
    known = [n for n in named if rank(n) is not None or step_rank(n) is not None or is_epoch(n)]
    if not split.delimited and not known:
        return None
    return names, split


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip()) is not None


def _mostly_numbers(row: list[str]) -> bool:
    numbers = sum(_is_number(cell) or cell.strip() in ABSENT for cell in row)
    return numbers >= max(1, len(row) / 2)


def _ruled(text: str) -> bool:
    """A line between header and rows: |---|:--:| or +----+."""
    return not set(text.strip()) - set("|-:+= ")


def _table(names: list[str], split: _Split) -> Callable[[Numbered, Columns], Rows]:
    def rows(numbered: Numbered, columns: Columns) -> Rows:
        other = [n for n in names if step_rank(n) is None and not is_epoch(n) and n != "Wall time"]
        if columns.column is None and len(other) == 1 and other[0].startswith("column "):
            columns.names[other[0]] = True
        wanted = [(index, name) for index, name in enumerate(names) if columns.want(name)]

        def read(number: int, text: str) -> Line | None:
            if not text.strip() or (split.delimiter == "|" and _ruled(text)):
                return None
            cells = split(text)
            if len(cells) == len(names):
                if len(columns.first) < len(names):
                    numbers = {n: c for n, c in zip(names, cells, strict=True) if _is_number(c)}
                    columns.show({n: float(c) for n, c in numbers.items() if c.strip()})
                return Line({name: cells[index].strip() for index, name in wanted})
            if split.delimited:
                columns.skip(number, f"{len(cells)} cells, the header has {len(names)}")
            return None

        return table_rows(numbered, read, wanted, len(names), split)

    return rows


# --- what scripts print ---------------------------------------------------------------------------


def _printed_rows(numbered: Numbered, columns: Columns) -> Rows:
    reader = LineReader(columns.want)
    shown = 0
    last = None

    def read(number: int, text: str) -> Line | None:
        nonlocal shown, last
        line = reader(text)
        if shown < LOOKED_AT and line.numbers is not None:
            shown += 1
            columns.show(read_line(text).numbers)
        # A progress bar is drawn again and again at the same step.
        same, last = (number, line) == last, (number, line)
        return None if same or (not line.numbers and line.epoch is None) else line

    return rows_alike(numbered, read, lambda text: printed_template(text, reader))
