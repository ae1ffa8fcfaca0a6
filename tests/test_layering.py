"""Imports go one way: layers, records -> sharing -> models -> conversion, analysis -> cli."""

import ast
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "kdna_zoo"
BASE = {  # files at the top: no room, and importing none but each other
    *("errors", "version", "paths", "atomic", "names", "finite", "hub_errors", "printable"),
    *("interrupts", "tracebacks", "user_modules", "waiting"),
}
ALLOWED = {  # what the files of each room may import from the others
    "layers": {"errors"},
    "records": {"errors", "version"},
    "sharing": {"layers", "errors"},
    "peers": {"layers", "errors"},
    "models": {"layers", "records", "sharing", "peers", *BASE},
    "data": {"records", "errors"},
    "training": {"data", "records", "models", *BASE},  # of models, the creation by name alone
    "conversion": {"layers", "records", "sharing", "models", *BASE},
    "analysis": {"models", "sharing", "peers", "layers", "data", "records", *BASE},
    "release": {"models", "sharing", "records", *BASE},
    "cli": {"layers", "records", "sharing", "peers", "models", "data", "training", "analysis"}
    | {"conversion", "release", *BASE},
}
CORE = {"layers", "sharing", "peers", "models", "conversion"}  # what `import kdna_zoo` pulls in
APART = ("docs", "hub")  # folders of tests that belong to no room
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


def test_training_knows_networks_by_name_alone() -> None:
    for path in (PACKAGE / "training").rglob("*.py"):
        named = {name for name in imports(path) if name.startswith("kdna_zoo.models")}
        assert not named or (named, path.name) == ({"kdna_zoo.models"}, "network.py")


def test_every_room_has_its_rule() -> None:
    assert {p.parent.name for p in PACKAGE.glob("*/__init__.py")} == set(ALLOWED)
    assert {p.stem for p in PACKAGE.glob("*.py")} == {*BASE, "__init__", "lightning_alias"}


@pytest.mark.parametrize("name", sorted(BASE))
def test_files_at_the_top_import_no_room(name: str) -> None:
    ours = {n.split(".")[1] for n in imports(PACKAGE / f"{name}.py") if n.startswith("kdna_zoo.")}
    assert ours <= BASE


def test_no_room_imports_another_in_a_circle() -> None:
    done: set[str] = set(BASE)
    rooms = {room: allowed - BASE for room, allowed in ALLOWED.items()}
    while ready := [room for room, allowed in rooms.items() if allowed <= done]:
        done |= set(ready)
        rooms = {room: allowed for room, allowed in rooms.items() if room not in done}
    assert not rooms
    assert ALLOWED["records"] <= BASE, "records are read by every room"


@pytest.mark.parametrize("path", sorted((PACKAGE / "records").glob("*.py")), ids=lambda p: p.name)
def test_records_need_torch_and_the_standard_library_alone(path: Path) -> None:
    others = {name.split(".")[0] for name in imports(path)}
    assert others <= {*sys.stdlib_module_names, "torch", "kdna_zoo"}


def rooms(top: Path, files: str) -> set[str]:
    """Every folder under one that holds such files, rooms within rooms too."""
    found = (path for path in top.rglob(files) if path.name != "__init__.py")
    return {path.parent.relative_to(top).as_posix() for path in found}


def test_tests_lie_as_the_package_does() -> None:
    theirs = {room for room in rooms(TESTS, "test_*.py") if room.split("/")[0] not in APART}
    assert theirs == rooms(PACKAGE, "*.py")


@pytest.mark.parametrize(
    "room", sorted({r.split("/")[0] for r in rooms(PACKAGE, "*.py") if "/" in r})
)
def test_a_test_of_one_room_within_lies_there(room: str) -> None:
    """What belongs to a room as a whole, or to several rooms within, lies in the room itself."""
    within = {path.name for path in (PACKAGE / room).iterdir() if (path / "__init__.py").exists()}
    for path in (TESTS / room).glob("test_*.py"):
        ours = [name.split(".")[1:] for name in imports(path) if name.startswith("kdna_zoo.")]
        tested = [parts for parts in ours if parts[0] == room and parts[1:] != ["command"]]
        named = {parts[1] if parts[1:] and parts[1] in within else room for parts in tested}
        assert len(named) != 1 or named == {room}, f"{path.name} belongs to {room}/{named}"
