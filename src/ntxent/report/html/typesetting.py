"""Formulas of plain text as HTML, with superscripts and subscripts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["typeset"]

_MARK = re.compile(r"(\^)(\(|[−\w/]+)|(_)(\w+)")


def typeset(text: str) -> Markup:
    """Text such as ``e^(2/τ)`` and ``s_ik``, escaped, with exponents raised and indices lowered.

    >>> print(typeset("(N−1)e^(2/(φτ)) < K_d"))
    (N−1)e<sup>2/(φτ)</sup> &lt; K<sub>d</sub>
    """
    from markupsafe import Markup, escape

    made, rest = Markup(""), text
    while found := _MARK.search(rest):
        made += escape(rest[: found.start()])
        tag = "sup" if found[1] else "sub"
        start, end = found.span(2 if found[1] else 4)
        if rest[start] == "(":
            end = _closing(rest, start)
            inner = rest[start + 1 : end - 1]
        else:
            inner = rest[start:end]
        made += Markup(f"<{tag}>{{}}</{tag}>").format(typeset(inner))
        rest = rest[end:]
    return made + escape(rest)


def _closing(text: str, start: int) -> int:
    """The index after the parenthesis that closes the one at ``start``, or the end of the text."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at + 1
    return len(text)
