"""The recipes as files: what their headers say, and which files a recipe is composed of.

A header is the comment at the top of the file: a title, the command after ``kdna-zoo fit``, and
lines such as ``# Hardware: ...``. Nothing of it is kept elsewhere.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from kdna_zoo.errors import UserError, did_you_mean

BASES = "_base"  # this folder's files are parts of recipes


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Attributes:
        name: Its path in the folder of the recipes, without the ending.
        title: What it trains, on what.
        command: The exact command.
        batch: The effective batch as a product.
        hardware: What it was made for.
        expected: The metric to expect, and its source.
        files: The files that the command names, relative to the folder of the recipes.
    """

    name: str
    title: str
    command: str
    batch: str
    hardware: str
    expected: str
    files: tuple[str, ...]


def list_recipes(folder: Path) -> list[Recipe]:
    """Read the headers of all recipes in a folder."""
    paths = sorted(p for p in folder.rglob("*.yaml") if p.parent.name != BASES)
    return [read_recipe(folder, path) for path in paths]


def find_recipe(folder: Path, name: str) -> Recipe:
    """Return the recipe of that name, with or without ``.yaml`` and ``recipes/``.

    Raises:
        UserError: If there is none; the nearest names are given.
    """
    recipes = {recipe.name: recipe for recipe in list_recipes(folder)}
    wanted = name.removeprefix("recipes/").removesuffix(".yaml")
    if wanted not in recipes:
        hint = did_you_mean(wanted, recipes, otherwise="see `kdna-zoo recipes`")
        raise UserError(f"there is no recipe {name!r}; {hint}")
    return recipes[wanted]


def read_recipe(folder: Path, path: Path) -> Recipe:
    """Read the header of a recipe."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].strip())
    text = "\n".join(lines)
    command = re.search(r"^kdna-zoo fit (?:.*\\\n)*.*$", text, re.MULTILINE)
    line = re.sub(r" \\\n", " ", command[0]) if command else ""
    configs = re.findall(r"--config[ =](\S+)", line)
    return Recipe(
        name=path.relative_to(folder).with_suffix("").as_posix(),
        title=" ".join(text.partition("\n\n")[0].split()),
        command=shlex.join(shlex.split(line)),
        batch=_field(text, "Effective batch"),
        hardware=_field(text, "Hardware"),
        expected=_field(text, "Expected"),
        files=tuple(config.removeprefix("recipes/") for config in configs),
    )


def _field(header: str, name: str) -> str:
    """Return a field, which ends at the next one or at an empty line."""
    found = re.search(rf"^{name}: (.*?)(?=\n\n|\n[A-Z][a-z ]+: |\Z)", header, re.M | re.S)
    return " ".join(found[1].split()) if found else ""
