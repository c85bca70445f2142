"""From the rows to docs/study.md: every number and every figure."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from study.page.rows import Rows, read
from study.page.statistics import Estimate
from study.page.style import save
from study.questions import (
    choosing,
    comparability,
    detection,
    gradients,
    similarity,
    tightness,
)
from study.runs.data import DATA

TEXT = Path(__file__).with_name("study.md.jinja")

# A question by its name on the page.
QUESTIONS: dict[str, Any] = {
    "tightness": tightness,
    "similarity": similarity,
    "comparability": comparability,
    "failures": detection,
    "gradients": gradients,
    "choosing": choosing,
}

HYPOTHESES = {
    "H1a": ("tightness", "h1a"),
    "H1b": ("tightness", "h1b"),
    "H2": ("similarity", "h2"),
    "H3": ("comparability", "h3"),
    "H4": ("failures", "h4"),
    "H5a": ("gradients", "h5a"),
    "H5b": ("gradients", "h5b"),
    "H6": ("choosing", "h6"),
}


def answers(rows: Rows) -> dict[str, Any]:
    return {name: question.answer(rows) for name, question in QUESTIONS.items()}


def render(rows: Rows, found: dict[str, Any]) -> str:
    """The text, with the numbers put in."""
    page = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {
        "points": _points,
        "estimate": lambda one, digits=2: one.text(digits),
        "number": _number,
        "percent": _percent,
        "answer": lambda held: "**held**" if held else "**did not hold**",
        "each": lambda of, form, key=None: ", ".join(
            f"{page.filters[form](one if key is None else one[key])} on {data}"
            for data, one in of.items()
        ),
    }
    text = page.from_string(TEXT.read_text()).render(
        found,
        held=[found[question][key] for question, key in HYPOTHESES.values()],
        runs=rows.runs,
        looks=rows.looks,
        where=rows.environment,
        data=DATA,
    )
    return text.rstrip() + "\n"


def write(folder: Path, page: Path) -> None:
    """Write the page, and its figures beside it in a folder of the page's name."""
    rows = read(folder)
    found = answers(rows)
    for name, question in QUESTIONS.items():
        save(question.draw(rows, found[name]), page.parent / page.stem / name)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(rows, found))


def _value(number: Any) -> float:
    return float(number.value if isinstance(number, Estimate) else number)


def _number(number: Any, digits: int = 2) -> str:
    return f"{_value(number):.{digits}f}".replace("-", "−")


def _percent(share: Any) -> str:
    """Its interval beside it, if it has one; where all runs agreed a bootstrap has none to give."""
    text = f"{100 * _value(share):.0f} %"
    if isinstance(share, Estimate) and share.low < share.high:
        text += f" ({100 * share.low:.0f} to {100 * share.high:.0f})"
    return text


def _points(share: Any) -> str:
    """A share, or a difference of shares, in percent, with its interval if it has one."""
    if isinstance(share, Estimate):
        return Estimate(*(100 * x for x in share)).text(1)
    return _number(100 * share, 1)
