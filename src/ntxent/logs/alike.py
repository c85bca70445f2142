"""Lines that are alike, read many at a time by one pattern.

A log of a million lines has a few forms of line. What one line was read as is made into a pattern
with a group for each number that is wanted; the lines that follow and match it cost a match each.
Those that do not are read one by one, as the first was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from ntxent.logs.grammar import (
    ABSENT,
    JSON_STRING,
    NUMBER,
    PARTS,
    Line,
    LineReader,
    flatten,
    of_part,
)

__all__ = ["Many", "Row", "json_template", "printed_template", "rows_alike", "table_rows"]

BLOCK = 2000  # lines searched at once
TEMPLATES = 50  # patterns made of one log; each takes about a millisecond
DENSE = 0.8  # share of a block that a template fits, below which another is made
FEW = 8  # lines of a run on average, from which a template pays
FIELDS = ("epoch", "step", "total")


class Many(NamedTuple):
    """Rows with the same names: a column for each, as long as ``lines``, None where it is empty."""

    lines: list[int]
    numbers: Mapping[str, Sequence[float | None]]
    epoch: list[float] | None = None
    step: list[float] | None = None
    total: list[float] | None = None


Row: TypeAlias = tuple[int, Line] | Many


class Template(NamedTuple):
    """The pattern of whole lines; of each group its name, and whether that is one of ``FIELDS``."""

    pattern: str
    groups: tuple[tuple[str, bool], ...]


def rows_alike(
    numbered: Iterator[tuple[int, str]],
    read: Callable[[int, str], Line | None],
    template: Callable[[str], Template | None],
) -> Iterator[Row]:
    """The rows of lines: by a template where one fits many, else as ``read`` gives them."""
    taken: _Matcher | None = None
    left = TEMPLATES
    while block := list(islice(numbered, BLOCK)):
        runs = [] if taken is None else taken.runs(block)
        if len(runs) * FEW > len(block):  # forms in turn: a pattern costs more than it saves
            runs, taken = [], None
            left -= 10
        at = matched = 0
        for first, found in (*runs, (len(block), [])):
            for number, text in block[at:first]:
                line = read(number, text)
                if line is not None:
                    yield number, line
            at = first + len(found)
            matched += len(found)
            if taken is not None and found and taken.counts:
                yield taken.rows([number for number, _ in block[first:at]], found)
        if matched < DENSE * len(block) and left > 0:
            left -= 1
            made = template(block[len(block) // 2][1])
            taken = None if made is None else _Matcher(made)


Run: TypeAlias = tuple[int, list[tuple[str, ...]]]  # its first line, and the groups of each


class _Matcher:
    """A template at work on blocks of lines."""

    def __init__(self, template: Template) -> None:
        self._groups = template.groups
        self._pattern = re.compile(f"^{template.pattern}[ \\t]*$", re.MULTILINE)
        self._whole = bool(template.groups)  # whether all lines of the last block matched
        # Whether a line says more than a step.
        self.counts = any(not field or name == "epoch" for name, field in template.groups)

    def runs(self, block: list[tuple[int, str]]) -> list[Run]:
        """The runs of lines that match."""
        texts = [text for _, text in block]
        joined = "\n".join(texts)
        if self._whole:
            found = self._pattern.findall(joined)
            if len(found) == len(block):
                return [(0, found if len(self._groups) > 1 else [(one,) for one in found])]
        runs: list[Run] = []
        start = index = 0
        for match in self._pattern.finditer(joined):
            begin, end = match.span()
            if begin != start or not runs:
                while start < begin:
                    start += len(texts[index]) + 1
                    index += 1
                runs.append((index, []))
            runs[-1][1].append(match.groups())
            start, index = end + 1, index + 1
        self._whole = bool(self._groups) and len(runs) == 1 and len(runs[0][1]) == len(block)
        return runs

    def rows(self, lines: list[int], found: list[tuple[str, ...]]) -> Many:
        if lines[-1] - lines[0] != len(lines) - 1:
            # A progress bar is drawn again and again, at the same step, within one line.
            both = list(zip(lines, found, strict=True))
            kept = [k for k in range(len(both)) if not k or both[k] != both[k - 1]]
            lines, found = [lines[k] for k in kept], [found[k] for k in kept]
        columns: dict[str, list[float | None]] = {}
        places: dict[str, list[float]] = {}
        for (name, field), column in zip(self._groups, zip(*found, strict=True), strict=True):
            if field:
                places[name] = list(map(float, column))
            else:
                columns[name] = list(map(float, column))
        return Many(lines, columns, **places)


def table_rows(
    numbered: Iterator[tuple[int, str]],
    read: Callable[[int, str], Line | None],
    wanted: list[tuple[int, str]],
    width: int,
    split: Callable[[str], list[str]],
) -> Iterator[Row]:
    """The rows of a table: blocks whose cells are all numbers at once, others as ``read`` says."""
    begun = False
    while block := list(islice(numbered, BLOCK)):
        many = _block_of_table(block, wanted, width, split) if begun else None
        begun = True
        if many is not None:
            yield many
            continue
        for number, text in block:
            line = read(number, text)
            if line is not None:
                yield number, line


def _block_of_table(
    block: list[tuple[int, str]],
    wanted: list[tuple[int, str]],
    width: int,
    split: Callable[[str], list[str]],
) -> Many | None:
    cells = [split(text) for _, text in block]
    if any(len(row) != width for row in cells):
        return None
    columns: dict[str, list[float | None]] = {}
    for index, name in wanted:
        column = [row[index] for row in cells]
        try:
            columns[name] = list(map(float, column))
        except ValueError:
            try:
                columns[name] = [None if x.strip() in ABSENT else float(x) for x in column]
            except ValueError:  # no number
                return None
    return Many([number for number, _ in block], columns)


# --- templates ------------------------------------------------------------------------------------

DIGITS = r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_SPACES = "[ \\t]"
_BAR = re.compile(r"(?<=\|)[^|\w]{2,}(?=\|)|(?<=\[)[=>.\s]{2,}(?=\])")


def printed_template(text: str, reader: LineReader) -> Template | None:
    """The template of a printed line, or of one that ends with a JSON object."""
    if "{" in text and text.rstrip().endswith("}") and '"' in text:
        start = text.find("{")
        after = json_template(text[start:].rstrip(), reader.want)
        if after is not None:
            before = _printed(text[:start], reader)
            names = {name for name, _ in after.groups}
            if before is None or names & {name for name, _ in before.groups}:
                return None
            return Template(before.pattern + after.pattern, before.groups + after.groups)
    return _printed(text.rstrip(), reader)


def _printed(text: str, reader: LineReader) -> Template | None:
    parts = reader.split(text)
    plan = reader.plan(text, parts)
    if plan is None:
        return None
    wanted: dict[int, tuple[str, bool]] = {index: (name, False) for name, index, _ in plan.numbers}
    for name, index in zip(FIELDS, (plan.epoch, plan.step, plan.total), strict=True):
        if index is not None:
            if index in wanted:
                return None
            wanted[index] = (name, True)
    pieces = []
    for index, part in enumerate(parts):
        if index % 2 == 0:
            pieces.append(_between(part, index > 0, index < len(parts) - 1))
            continue
        form = r"\d+" if wanted.get(index, ("", False))[1] and part.isdigit() else DIGITS
        sign = parts[index - 1][-1:] not in ("", *"/.")
        number = f"[-+]?{form}" if sign and not wanted.get(index, ("", False))[1] else form
        pieces.append(f"({number})" if index in wanted else number)
    return Template("".join(pieces), tuple(wanted[index] for index in sorted(wanted)))


def _between(text: str, behind: bool, before: bool) -> str:
    """A pattern of what stands between two numbers: the spaces beside them are of any width."""
    if before and text[-1:] in ("-", "+"):
        text = text[:-1]  # a sign, which goes with the number
    core = text.strip(" \t")
    if not core:
        return f"{_SPACES}+" if text else f"{_SPACES}*" if behind else ""
    at = text.index(core)
    head, tail = text[:at], text[at + len(core) :]
    opening = re.escape(head) if not behind else f"{_SPACES}+" if head else ""
    closing = re.escape(tail) if not before else f"{_SPACES}+" if tail else f"{_SPACES}*"
    whole, last = "", 0
    for bar in _BAR.finditer(core):
        whole += re.escape(core[last : bar.start()]) + "[^|\\]\\w\\n]*"
        last = bar.end()
    return opening + whole + re.escape(core[last:]) + closing


_TOKEN = re.compile(rf"{JSON_STRING}|{NUMBER}")
_MARK = 10**9  # of the k-th number of an object, in whose place it stands to find its name


def json_template(text: str, want: Callable[[str], bool]) -> Template | None:
    """The template of a JSON object, whose strings may be others where they are no keys."""
    pieces, marked, last, key = [], [], 0, ""
    numbers: list[int] = []
    for token in _TOKEN.finditer(text):
        between, own = text[last : token.start()], token[0]
        pieces.append(re.escape(between))
        marked.append(between)
        last = token.end()
        bare = own.strip('"')
        is_key = own[0] == '"' and text[last:].lstrip().startswith(":")
        if is_key:
            key = bare
        if re.fullmatch(NUMBER, bare) and not is_key:
            quote = own[0] if own[0] == '"' else ""
            marked.append(f"{quote}{_MARK + len(numbers)}{quote}")
            numbers.append(len(pieces))
            pieces.append(quote + rf"-?{DIGITS}" + quote)
        elif own[0] == '"' and not is_key and key not in PARTS:
            marked.append(own)
            pieces.append(JSON_STRING)
        else:
            marked.append(own)
            pieces.append(re.escape(own))
    pieces.append(re.escape(text[last:]))
    try:
        tree = json.loads("".join((*marked, text[last:])))
    except ValueError:
        return None
    groups: dict[int, tuple[str, bool]] = {}
    for name, value in of_part(flatten(tree)).items():
        if not want(name) or value in ABSENT:
            continue
        number = _number(value)
        if number is None:
            return None  # read on its own, to be said what is wrong with it
        place = numbers[number]
        groups[place] = (name, False)
        pieces[place] = pieces[place].replace(rf"-?{DIGITS}", rf"(-?{DIGITS})")
    return Template("".join(pieces), tuple(groups[place] for place in sorted(groups)))


def _number(value: Any) -> int | None:
    """Of which number of an object this is the mark."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    digits = str(value)
    return int(digits) - _MARK if digits.isdigit() and int(digits) >= _MARK else None
