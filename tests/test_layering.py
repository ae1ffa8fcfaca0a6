"""Imports go one way: layers -> sharing, peers -> models -> training -> release, data beside."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "kdna_zoo"
ALLOWED = {  # what the files of each folder may import from the others
    "layers": set(),
    "sharing": {"layers", "errors"},
    "peers": {"layers", "errors"},
    "models": {"layers", "sharing", "peers", "errors", "checkpoints", "paths"}
    | {"finite", "hub_errors", "names"},
    "data": {"errors"},
    "training": {"data", "errors", "checkpoints", "paths", "version", "atomic", "names"}
    | {"interrupts", "user_modules", "tracebacks", "finite", "hub_errors"},
    "release": {"models", "sharing", "analysis", "errors", "checkpoints", "paths", "version"}
    | {"atomic", "finite", "hub_errors", "printable"},
    "analysis": {"models", "sharing", "peers", "layers", "data", "errors", "names"},
}
CORE = {"layers", "sharing", "peers", "models"}  # what `import kdna_zoo` pulls in
HEAVY = {"lightning", "datasets", "matplotlib", "torchmetrics", "jsonargparse", "rich"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def files() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p.relative_to(PACKAGE).parts[0] in ALLOWED]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_imports_from_its_right(path: Path) -> None:
    folder = path.relative_to(PACKAGE).parts[0]
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("kdna_zoo.")}
    assert ours <= ALLOWED[folder] | {folder}
    others = {name.split(".")[0] for name in imports(path)}
    if folder in CORE:
        assert not others & HEAVY
    if folder in ("layers", "peers"):
        assert "timm" not in others


def test_every_folder_has_its_rule() -> None:
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert folders - set(ALLOWED) <= {"commands"}, "commands may import all; others need a rule"
