r"""How training scripts print numbers: the forms of a line, as data.

A line of text is read from left to right by the first form that fits at each place. The groups of a
form say what it gives: ``name`` and ``value``; a counter's place ``at`` of a total ``of``, with the
``label`` before it and the ``epoch`` it belongs to.

>>> read_line("Train: [1][10/390]\tBT 0.5 (0.6)\tloss 6.123 (6.201)")
Line(numbers={'BT': 0.5, 'loss': 6.123}, epoch=1.0, step=10.0, total=390.0)
>>> read_line("2023-06-29 10:00:00 | INFO | Epoch 3/100, train loss = 5.1, lr: 1e-3")
Line(numbers={'train loss': 5.1, 'lr': 0.001}, epoch=3.0, step=None, total=None)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ntxent.logs.names import HELD_OUT, is_epoch, is_step, step_rank

__all__ = ["ANSI", "FORMS", "Line", "LineReader", "flatten", "of_part", "read_line"]

EXPONENT = r"(?:[eE][-+]?\d+)?"
NUMBER = rf"[-+]?(?:\d+(?:\.\d*)?{EXPONENT}|\.\d+{EXPONENT}|nan|NaN|inf|Inf|Infinity)"
# A number that stands for itself: digits behind a letter or a point are part of a name. The look
# behind comes second, as a pattern that begins with a digit is found fastest.
PART = r"\d(?<![\w@.]\d)\d*(?:\.\d+)?(?:[eE][-+]?\d+)?"
ABSENT = ("", "None", "null", "NA", "N/A", None)  # how writers of sparse tables leave a cell out
JSON_STRING = r'"(?:[^"\\\n]|\\.)*"'
PARTS = ("mode", "split", "phase", "stage", "subset")  # keys that say of which data a record is
END = r"(?!\w|\.\d|[/:]\d|\]\s*\[\s*\d)"  # no time, date, version or counter goes on behind it
WORD = r"[A-Za-z_][\w./@+-]*(?:\(\w+\)|\s\(\w+\))?"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

FORMS = (
    # 2023-06-29 and 15:44:01.123 are passed over
    r"\d{4}[-/]\d\d?[-/]\d\d?|\d+:\d\d(?::\d\d)?(?:[.,]\d+)?",
    # Loss after epoch 3: 5.1
    r"(?P<name>(?:[A-Za-z]+ )?\w*[Ll]oss\w*)\s+(?:after|at|in|for|of)\s+(?P<label>[A-Za-z]+)"
    rf"\s*\[?(?P<at>\d+)(?:/(?P<of>\d+))?\]?\s*(?:[:=]|is)\s*(?P<value>{NUMBER}){END}",
    # [1][ 10/390]
    r"\[\s*(?P<epoch>\d+)(?:/\d+)?\]\s*\[\s*(?P<at>\d+)\s*/\s*(?P<of>\d+)",
    # Epoch [0/100], Epoch 1/10, 782/782 [===, [ 6464/109468 (6%)], 50/100 [00:10
    rf"(?:(?P<label>{WORD})[\s:]*)?[\[(]?\s*(?<![\d.])(?P<at>\d+)\s*/\s*(?P<of>\d+)(?![\d/.])",
    # "loss": 5.1 and 'loss': '5.1'
    rf"""["'](?P<name>[^"'{{}}]{{1,80}})["']\s*:\s*["']?(?P<value>{NUMBER})["']?{END}""",
    # loss: 5.1, loss=5.1, loss 5.1, train loss -> 5.1, loss: tensor(5.1, loss is 5.1, loss | 5.1
    rf"(?P<name>{WORD}(?:[ ]{WORD}){{0,3}}?)[\"']?"
    rf"(?:\s*(?:[:=]+|->|→|\|)\s*|\s+(?:(?:is|was|reached)\s+)?)\[?(?:tensor\()?(?P<value>{NUMBER}){END}",
)
GROUPS = ("name", "value", "label", "at", "of", "epoch")


def _joined() -> re.Pattern[str]:
    """All forms as one pattern; form k is group fk, and its own groups end in k."""
    named = (re.sub(r"\(\?P<(\w+)>", rf"(?P<\g<1>{k}>", form) for k, form in enumerate(FORMS))
    return re.compile("|".join(f"(?P<f{k}>{form})" for k, form in enumerate(named)))


PATTERN = _joined()
# The outermost group of a form closes last, and so names it; its own groups by their numbers.
PLACES = {
    f"f{k}": tuple(PATTERN.groupindex.get(f"{group}{k}") for group in GROUPS)
    for k in range(len(FORMS))
}

# val: loss=5.1, behind what stands before it on every line
HELD_OUT_LINE = re.compile(
    r"(?i)(?:[^A-Za-z]|INFO|DEBUG|root|main|__)*(?:val|valid|validation|test|eval|evaluation)\b(?![\s_.-]*loss)"
)


class Line(NamedTuple):
    """The numbers of a line by name, and where in the run it stands as far as it says so."""

    numbers: dict[str, Any]
    epoch: float | None = None
    step: float | None = None
    total: float | None = None


class _Spans(NamedTuple):
    """Where in a line the fields of a ``Line`` and the names of all numbers stand."""

    numbers: dict[str, tuple[int, int]]
    fields: dict[str, tuple[int, int]]
    names: list[tuple[int, int]]


class Plan(NamedTuple):
    """Which part of a split line is which field; of a number also its sign."""

    numbers: tuple[tuple[str, int, int], ...]
    epoch: int | None
    step: int | None
    total: int | None


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"loss": 5}} has the column train/loss."""
    if not prefix and not any(isinstance(value, dict) for value in tree.values()):
        return tree
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def of_part(row: dict[str, Any]) -> dict[str, Any]:
    """A record under the names of its part: the loss of one with "mode": "val" is val/loss."""
    part = next((str(row[name]) for name in PARTS if name in row), "")
    if part.lower() not in HELD_OUT:
        return row
    return {
        name if step_rank(name) is not None or is_epoch(name) else f"val/{name}": value
        for name, value in row.items()
        if name not in PARTS
    }


def read_line(text: str) -> Line:
    """The numbers of one line of text."""
    numbers, fields, _ = _spans(text)
    return Line(
        {name: float(text[slice(*span)]) for name, span in numbers.items()},
        **{name: float(text[slice(*span)]) for name, span in fields.items()},
    )


def _spans(text: str) -> _Spans:
    numbers: dict[str, tuple[int, int]] = {}
    fields: dict[str, tuple[int, int]] = {}
    names: list[tuple[int, int]] = []
    held_out = HELD_OUT_LINE.match(text)
    before = "" if held_out is None else "val "
    for match in PATTERN.finditer(text):
        places = PLACES[match.lastgroup or ""]
        name, value, label, at, of, epoch = (match[place] if place else None for place in places)
        _, value_at, _, at_at, of_at, epoch_at = (match.span(place or 0) for place in places)
        if epoch is not None:
            fields["epoch"] = epoch_at
        if at is not None:
            if label is not None and is_epoch(label):
                fields["epoch"] = at_at
            elif "step" not in fields or of is not None:
                fields["step"] = at_at
                if of is not None:
                    fields["total"] = of_at
        if name is not None and value is not None:
            names.append(match.span(places[0] or 0))
            if is_epoch(name):
                fields["epoch"] = value_at
            elif is_step(name):
                fields.setdefault("step", value_at)
            else:
                numbers.setdefault(before + name, value_at)
    return _Spans(numbers, fields, names)


class LineReader:
    """``read_line`` for many lines that are alike, of which it gives the wanted names only.

    What stands between the numbers of a line is the key under which its reading is remembered, so
    that a further line of the same kind costs one split.

    >>> read = LineReader(lambda name: name == "loss")
    >>> [read(f"epoch {k} loss {5 - k} lr 0.1").numbers for k in range(2)]
    [{'loss': 5.0}, {'loss': 4.0}]
    """

    KINDS = 20_000  # remembered at most

    def __init__(self, want: Callable[[str], bool]) -> None:
        self.want = want
        # A sign stays with the text before it.
        self.split = re.compile(f"({PART})").split
        self._plans: dict[str, Plan | None] = {}

    def __call__(self, text: str) -> Line:
        if "{" in text:
            line = _with_json(text)
            if line is not None:
                return line
        parts = self.split(text)
        if len(parts) == 1:
            return _NOTHING
        key = "\0".join(parts[::2])
        plan = self._plans.get(key)
        if plan is None:
            if key in self._plans:
                return read_line(text)
            if len(self._plans) >= self.KINDS:
                self._plans.clear()
            plan = self._plans[key] = self.plan(text, parts)
            if plan is None:
                return read_line(text)
        numbers, epoch, step, total = plan
        return Line(
            {name: sign * float(parts[index]) for name, index, sign in numbers},
            None if epoch is None else float(parts[epoch]),
            None if step is None else float(parts[step]),
            None if total is None else float(parts[total]),
        )

    def plan(self, text: str, parts: list[str]) -> Plan | None:
        """Which part is which; None where a number is no part of its own, or part of a name."""
        spans = _spans(text)
        starts: dict[tuple[int, int], int] = {}
        offset = 0
        for index, part in enumerate(parts):
            starts[offset, offset + len(part)] = index
            offset += len(part)
        wanted = {name: span for name, span in spans.numbers.items() if self.want(name)}
        signs = {name: -1 if text[start] == "-" else 1 for name, (start, _) in wanted.items()}
        wanted = {n: (start + (text[start] in "-+"), end) for n, (start, end) in wanted.items()}
        used = (*wanted.values(), *spans.fields.values())
        if any(span not in starts or not starts[span] % 2 for span in used):
            return None
        if any(
            lo < end and start < hi
            for lo, hi in spans.names
            for (start, end), k in starts.items()
            if k % 2
        ):
            return None
        numbers = tuple((name, starts[span], signs[name]) for name, span in wanted.items())
        places = {name: starts[span] for name, span in spans.fields.items()}
        return Plan(numbers, places.get("epoch"), places.get("step"), places.get("total"))


_NOTHING = Line({})


def _with_json(text: str) -> Line | None:
    """A line that ends with a JSON object; None where there is none."""
    start, end = text.find("{"), text.rstrip()
    if not end.endswith("}") or '"' not in text:
        return None
    try:
        tree = json.loads(text[start:])
    except ValueError:
        return None
    before = read_line(text[:start])
    return before._replace(numbers=before.numbers | flatten(tree))
