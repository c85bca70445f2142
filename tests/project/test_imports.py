"""What importing costs, and which module may import which."""

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ntxent

SOURCE = Path(ntxent.__file__).parent

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"


def arrows() -> dict[str, set[str]]:
    """The table of docs/design.md: what each room may import of this package."""
    cells = (line.split("|")[1:4] for line in DESIGN.read_text().splitlines() if "| `" in line[:3])
    return {name.strip(" `"): set(re.findall(r"[\w.]+", imports)) for name, _, imports in cells}


ARROWS = arrows()
# Rooms with rooms of their own, such as `report.html`; all others see them as one.
DIVIDED = {name.partition(".")[0] for name in ARROWS if "." in name}


def room(path: Path) -> str:
    """The first part of a module's name, or the first two of a module inside a divided room."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[: 1 + (parts[0] in DIVIDED and parts[1] != "__init__")])


def imported_rooms(path: Path) -> set[str]:
    """Rooms of this package that a file names in an import, wherever in the file it stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".")[1:3] for name in names if name.startswith("ntxent.")]
    inside = DIVIDED & {path.relative_to(SOURCE).parts[0]}
    rooms = {".".join(part[: 1 + (part[0] in inside)]) for part in parts}
    return rooms - {"__version__"}


MODULES = sorted(
    p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or not p.stem.startswith("__")
)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_data_flows_one_way(path):
    assert room(path) in ARROWS, f"{path.name}: give it a row in docs/design.md"
    assert imported_rooms(path) - {room(path)} <= ARROWS[room(path)]


def test_the_table_of_rooms_has_no_row_too_many():
    assert set(ARROWS) == {room(path) for path in MODULES}
    used = {name: set() for name in ARROWS}
    for path in MODULES:
        used[room(path)] |= imported_rooms(path) - {room(path)}
    # The table of commands is imported by name.
    assert used | {"cli": used["cli"] | {"commands"}} == ARROWS


def test_no_arrow_leads_back():
    whole = {top: {name for name in ARROWS if name.startswith(f"{top}.")} for top in DIVIDED}
    order = TopologicalSorter(ARROWS | whole)
    order.prepare()


def imported_modules(path: Path) -> set[Path]:
    """Files of this package that a file imports, for types only or when a function runs as well."""
    package = path.parent
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package.parents[node.level - 2] if node.level > 1 else package
                parts = []
            else:
                parts = (node.module or "").split(".")
                if parts[0] != "ntxent":
                    continue
                base, parts = SOURCE, parts[1:]
            if node.level and node.module:
                parts = node.module.split(".")
            base = base.joinpath(*parts)
            for name in (alias.name for alias in node.names):
                own = (base / f"{name}.py", base / name / "__init__.py", base.with_suffix(".py"))
                found.add(next((p for p in own if p.exists()), base / "__init__.py"))
    return found - {path}


def test_no_module_imports_itself_through_others():
    """Faces (``__init__``) aside, which name what lies below them."""
    modules = [p for p in MODULES if p.stem != "__init__" and room(p) != "simclr"]
    arrows = {path: imported_modules(path) & set(modules) for path in modules}
    assert sum(map(len, arrows.values())) > 100  # it looked
    TopologicalSorter(arrows).prepare()


def loaded_after(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(out.stdout.splitlines()[-1])}


HEAVY = {"triton", "lightning", "pytorch_lightning", "torchvision", "plotly", "kornia", "sklearn"}
HEAVY |= {"jinja2"}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import ntxent", {"torch", *HEAVY}),
        ("from ntxent import bounds; bounds.floor(8, 0.5)", {"torch", "scipy", *HEAVY}),
        ("from ntxent import NTXentLoss, nt_xent_loss, engines; engines.status()", HEAVY),
        ("import ntxent.simclr", {"torch", *HEAVY}),
        ("import ntxent.report", {"torch", *HEAVY}),
    ],
)
def test_importing_loads_only_what_is_needed(statement, absent):
    assert not loaded_after(statement) & absent


def test_every_public_name_loads():
    for name in ntxent.__all__:
        assert getattr(ntxent, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nt_xnet_loss'; it offers"):
        _ = ntxent.nt_xnet_loss
