"""``kdna-zoo models``: the registered networks, what sharing saves and what they cost."""

import argparse
from dataclasses import asdict
from fnmatch import fnmatch
from typing import Any

from kdna_zoo.cli._network_table import Row, read_table
from kdna_zoo.cli._output import add_output_options, format_macs, print_json, print_table
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError

COLUMNS = (
    "name",
    "parameters",
    "own kernels",
    "timm base",
    "base's parameters",
    "multiply-adds",
    "weights",
)
TEXT = ("name", "timm base", "weights")


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "models",
        help=COMMANDS["models"],
        description="List the networks: parameters with 1,000 classes, those of the same network "
        "with a kernel of its own in each layer, those of timm's base (which for some ResNets is "
        "less deep), and multiply-adds at the network's own input size.",
    )
    parser.add_argument(
        "pattern", nargs="?", default="kdna_*", help="names to list (default: %(default)s)"
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    rows = find_rows(args.pattern, bool(args.modules))
    if args.json:
        print_json([asdict(row) for row in rows])
    else:
        print_table(COLUMNS, map(_cells, rows), text=TEXT, markdown=args.markdown)
    return 0


def find_rows(pattern: str, live: bool = False) -> list[Row]:
    """Return the networks of that pattern.

    Args:
        pattern: Names, as the shell has them.
        live: Ask the registry, to which others may have been added.

    Raises:
        UserError: If there are none.
    """
    stored = () if live or not pattern.startswith("kdna_") else read_table()
    if rows := [row for row in stored if fnmatch(row.name, pattern)]:
        return rows
    import timm  # not for our own networks: with torch it takes seconds

    import kdna_zoo.models  # noqa: F401 - registers them
    from kdna_zoo.cli._networks import describe

    names = timm.list_models(pattern)
    if not names:
        known = ", ".join(timm.list_models("kdna_*"))
        raise UserError(f"no network matches {pattern!r}; there are {known}")
    return [describe(name) for name in names]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"`{row.name}`",
        f"{row.parameters:,}",
        _compared(row.parameters, row.own_kernels) if row.base else "",
        f"`{row.base}`" if row.base else "",
        _compared(row.parameters, row.base_parameters) if row.base_parameters else "",
        format_macs(row.macs),
        ", ".join(f"`{tag}`" for tag in row.weights) or "none yet",
    )


def _compared(count: int, other: int) -> str:
    return f"{other:,} ({count / other - 1:+.1%})"
