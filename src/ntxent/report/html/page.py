"""An HTML file from a template, with its scripts, style, figures and images inside it.

All text of the user is escaped. The page's Content-Security-Policy forbids every request, and every
script but those written here, which it knows by their hashes: the name of a run cannot become code.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ntxent.diagnosis.result import plain
from ntxent.files import atomic
from ntxent.report.html.palette import PALETTES
from ntxent.report.html.typesetting import typeset

__all__ = ["embedded", "write_page"]

ASSETS = Path(__file__).parents[1] / "assets"


def embedded(value: Any) -> str:
    """JSON that can stand inside a ``script`` element, whatever strings it has.

    >>> embedded({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    written = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return written


def write_page(
    out: Path, template: str, data: Mapping[str, Any], scripts: Sequence[str], **context: Any
) -> None:
    """Write ``template`` with its ``context``, and with the ``data`` that its ``scripts`` read.

    Raises:
        OSError: the file cannot be written; a file that was there is left as it was.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out}: no folder {out.parent}; make it first")
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = typeset
    plotly = get_plotlyjs()
    code = "\n".join((ASSETS / name).read_text("utf-8") for name in ("plotly.js", *scripts))
    written = environment.get_template(template).render(
        **context,
        policy=_policy([plotly, code]),
        style=Markup(_style()),
        plotly=_packed(plotly),
        code=Markup(code),
        data=Markup(embedded(plain(data))),
    )
    with atomic(out) as path:
        path.write_text(written, encoding="utf-8")


@cache
def _packed(script: str) -> str:
    """Base64 of the compressed script: 2.0 MB instead of Plotly's 4.8."""
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()


def _policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _style() -> str:
    """The style sheet, with the palettes as variables of CSS."""

    def variables(theme: str) -> str:
        return "".join(f"--{name}:{colour};" for name, colour in PALETTES[theme].items())

    light, dark = variables("light"), variables("dark")
    return (
        f":root{{color-scheme:light;{light}}}"
        f"@media screen{{:root[data-theme=dark]{{color-scheme:dark;{dark}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light])"
        f"{{color-scheme:dark;{dark}}}}}}}\n" + (ASSETS / "page.css").read_text("utf-8")
    )
