"""docs/theory.md says what the code says, and its LaTeX is of the kind GitHub renders."""

import re
from pathlib import Path

import pytest
from matplotlib.mathtext import MathTextParser

from ntxent.bounds import THEOREMS, VARIANTS

DOC = (Path(__file__).parents[2] / "docs" / "theory.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```math\n(.*?)^```$", DOC, flags=re.S | re.M)
PROSE = re.sub(r"^```.*?^```$", "", DOC, flags=re.S | re.M)
INLINE = re.findall(r"\$([^$]+)\$", PROSE)

# fmt: off
COMMANDS = {
    "bar", "beta", "bigl", "bigr", "Bigl", "Bigr", "cdot", "cos", "cosh", "delta", "dots", "ell",
    "frac", "Gamma", "ge", "gg", "implies", "in", "infty", "kappa", "langle", "le", "left", "log",
    "lvert", "lVert", "mapsto", "mathbb", "mathrm", "max", "min", "ne", "nu", "partial", "pi", "pm",
    "psi", "qquad", "quad", "rangle", "right", "rvert", "rVert", "sin", "sqrt", "sum", "tag", "tau",
    "text", "tfrac", "theta", "times", "to", "top", "varphi", "ast", "approx",
}
# fmt: on


def well_formed(latex):
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", latex):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    pairs = [("left", "right"), ("bigl", "bigr"), ("Bigl", "Bigr")]
    used = re.findall(r"\\([A-Za-z]+)", latex)
    return (
        depth == 0
        and set(used) <= COMMANDS
        and all(used.count(a) == used.count(b) for a, b in pairs)
        and "$" not in latex
    )


@pytest.mark.parametrize("name", THEOREMS)
def test_statement_anchor_and_call_are_documented(name):
    theorem = THEOREMS[name]
    assert DOC.count(f'<a id="{theorem.anchor}"></a>') == 1
    assert f"### Theorem {theorem.number}. " in DOC
    assert f"`{name}`" in DOC
    assert well_formed(theorem.statement)
    section = DOC.split(f'<a id="{theorem.anchor}"></a>')[1].split("<a id=")[0]
    assert "".join(theorem.statement.split()) in "".join(section.split())
    assert "*Proof" in section
    assert "∎" in section


@pytest.mark.parametrize("latex", [*BLOCKS, *INLINE], ids=lambda latex: latex.strip()[:40])
def test_latex_is_well_formed(latex):
    assert well_formed(latex), latex


def test_inline_math_survives_markdown():
    # Markdown swallows a backslash before punctuation, and `<` may open a tag.
    assert not [latex for latex in INLINE if re.search(r"\\[^A-Za-z]|<[A-Za-z]", latex)]
    assert all(line.count("$") % 2 == 0 for line in PROSE.splitlines())


def test_links_lead_somewhere_and_variants_are_listed():
    anchors = set(re.findall(r'<a id="([^"]+)"></a>', DOC))
    assert set(re.findall(r"\]\(#([^)]+)\)", DOC)) <= anchors
    assert all(f"`{name}`" in DOC for name in VARIANTS)


# LaTeX that matplotlib's mathtext spells otherwise.
SPELLINGS = {
    r"\\[bB]ig([lr])(?![a-z])": lambda m: {"l": r"\left", "r": r"\right"}[m[1]],
    r"\\le(?![a-z])": r"\\leq",
    r"\\ge(?![a-z])": r"\\geq",
    r"\\implies": r"\\Rightarrow",
    r"\\[lr]vert": "|",
    r"\\[lr]Vert": r"\\|",
    r"\\ ": r"\\;",
    r"\\frac(\d)(\d|\\[a-z]+)": r"\\frac{\1}{\2}",
    r"\\sqrt(\d)": r"\\sqrt{\1}",
}


@pytest.mark.parametrize("name", THEOREMS)
def test_latex_renders(name):
    statement = THEOREMS[name].statement
    for pattern, spelling in SPELLINGS.items():
        statement = re.sub(pattern, spelling, statement)
    _, _, _, glyphs, _ = MathTextParser("path").parse(f"${statement}$")
    assert len(glyphs) > 5
