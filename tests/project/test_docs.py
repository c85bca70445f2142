"""Pages point at what is there, and their tables are those of the rows."""

import importlib
import re
from pathlib import Path

import pytest
from benchmarks.suite import report

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "benchmarks", "study", "src", "tests", "tools")
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.md")))
    if "work" not in path.relative_to(ROOT).parts  # what a study leaves there
)
TEXTS = [
    *PAGES,
    *(p for f in FOLDERS for kind in ("py", "js", "html") for p in (ROOT / f).rglob(f"*.{kind}")),
]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# Files of this repository that a sentence names by their path from its root.
NAMED = re.compile(
    r"(?<![\w/.~-])(?:docs|benchmarks|study|tests|tools)/[\w/-]+\.(?:md|py|svg|png)(?!\.?\w)"
)
COMMAND = re.compile(r"python -m ((?:benchmarks|study)(?:\.[a-z_]+)*)\b(?!\.[A-Z])")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page, and those that it gives itself."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    named = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}
    return named | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_of_a_page_resolves(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_file_and_command_that_a_text_names_exists():
    missing = []
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        for name in NAMED.findall(text):
            if not any((folder / name).exists() for folder in (ROOT, path.parent)):
                missing.append((ids(path), name))
        for command in COMMAND.findall(text):
            module = ROOT.joinpath(*command.split("."))
            if not (module.with_suffix(".py").exists() or (module / "__main__.py").exists()):
                missing.append((ids(path), command))
    assert missing == []


def test_the_tables_of_the_benchmarks_are_those_of_their_rows():
    assert report.PAGE.read_text() == report.page()


def test_every_command_of_the_benchmarks_can_be_imported():
    """Renames in the package reach them; what they print is another matter."""
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        importlib.import_module(name)
