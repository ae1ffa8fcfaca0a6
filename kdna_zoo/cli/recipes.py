"""``kdna-zoo recipes``: the recipes there are; ``kdna-zoo recipes copy NAME``: one to change."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kdna_zoo.atomic import replaced_file
from kdna_zoo.cli._output import add_output_options, print_json, print_table
from kdna_zoo.cli._recipe_files import Recipe, find_recipe, list_recipes
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError
from kdna_zoo.paths import recipes_folder

COLUMNS = ("recipe", "effective batch", "hardware", "expected")


def add_parser(subparsers: Any) -> None:
    """Add the command, its sub-command and their options to the command line."""
    parser = subparsers.add_parser(
        "recipes",
        help=COMMANDS["recipes"],
        description="List the recipes: effective batch, hardware and the metric to expect.",
    )
    add_output_options(parser)
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(metavar="ACTION")
    copy = actions.add_parser(
        "copy",
        help="copy a recipe and the files it is composed of",
        description="Copy a recipe and the files it is composed of into FOLDER/recipes, where its "
        "command works as printed. No file of yours is overwritten.",
    )
    copy.add_argument("name", metavar="NAME", help="such as kdna_resnet50/in1k_paper")
    copy.add_argument("--to", metavar="FOLDER", type=Path, default=Path(), help="(default: here)")
    copy.set_defaults(run=run_copy)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    recipes = list_recipes(recipes_folder())
    if args.json:
        print_json([asdict(recipe) for recipe in recipes])
    else:
        print_table(COLUMNS, map(_cells, recipes), text=COLUMNS, markdown=args.markdown)
    return 0


def run_copy(args: argparse.Namespace) -> int:
    """Copy a recipe, and say how to run it."""
    folder = recipes_folder()
    recipe = find_recipe(folder, args.name)
    target: Path = args.to / "recipes"
    for file in copy_files(folder, target, recipe):
        print(f"wrote {file}")
    print(f"\nChange what you like, then{f' in {args.to}' if args.to != Path() else ''}:")
    print(f"{recipe.command}")
    return 0


def copy_files(folder: Path, target: Path, recipe: Recipe) -> list[Path]:
    """Copy the files of a recipe and return those written; equal ones are left as they are.

    Raises:
        UserError: If there is another file in the way, or the target cannot be written to.
    """
    pairs = [(folder / name, target / name) for name in recipe.files]
    missing = [(source, file) for source, file in pairs if not file.exists()]
    for source, file in pairs:
        if file.exists() and (not file.is_file() or file.read_bytes() != source.read_bytes()):
            raise UserError(
                f"{file} is there and differs from the one to copy; move it away, or give another "
                "folder with --to"
            )
    try:
        for source, file in missing:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replaced_file(file) as fresh:
                fresh.write_bytes(source.read_bytes())
    except OSError as error:
        raise UserError(f"cannot write into {target}: {error}") from error
    return [file for _, file in missing]


def _cells(recipe: Recipe) -> tuple[str, ...]:
    cells = recipe.name, recipe.batch, recipe.hardware, recipe.expected
    return tuple(cell.replace("|", "/") for cell in cells)
