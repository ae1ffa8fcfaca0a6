"""How commands show tables and trees: with Rich on a terminal, else as Markdown.

Cells and labels are written as Markdown; on a terminal their backticks go. Without Rich, which the
``train`` extra brings, a terminal gets Markdown too.
"""

import importlib.util
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from kdna_zoo.printable import printable

Tree = Mapping[str, "Tree"]  # label -> what hangs under it


def add_output_options(parser: Any) -> None:
    """Add ``--markdown`` and ``--json`` to a command."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--markdown", action="store_true", help="Markdown, on a terminal too")
    group.add_argument("--json", action="store_true", help="JSON, for programs")


def print_json(data: Any) -> None:
    """Print plain data for a program."""
    print(json.dumps(data, indent=2))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    text: Collection[str],
    markdown: bool = False,
) -> None:
    """Print a table.

    Args:
        columns: Titles.
        rows: Cells of each row.
        text: Titles of the columns that hold text; all others hold numbers, aligned at the right.
        markdown: Print Markdown even on a terminal.
    """
    if markdown or not _rich_terminal():
        marks = ["---" if title in text else "---:" for title in columns]
        for row in (columns, marks, *rows):
            print(f"| {' | '.join(map(printable, row))} |")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, collapse_padding=True)
    for title in columns:
        justify: Literal["left", "right"] = "left" if title in text else "right"
        table.add_column(_plain(title), justify=justify, no_wrap=title in text)
    for row in rows:
        table.add_row(*map(_plain, row))
    Console(highlight=False).print(table)


def print_tree(label: str, tree: Tree, markdown: bool = False) -> None:
    """Print a tree under a label."""
    if markdown or not _rich_terminal():
        print(printable(label))
        print()
        _print_list(tree)
        return
    from rich.console import Console
    from rich.tree import Tree as RichTree

    root = RichTree(_plain(label), guide_style="dim", highlight=False)
    _grow(root, tree)
    Console(highlight=False).print(root)


def format_macs(macs: int) -> str:
    """Write multiply-adds as papers do: ``2.277 G``, ``300.9 M``, ``5.2 K``."""
    if macs >= 1e9:
        return f"{macs / 1e9:.3f} G"
    return f"{macs / 1e6:.1f} M" if macs >= 1e6 else f"{macs / 1e3:.1f} K" if macs else "0"


def _rich_terminal() -> bool:
    return sys.stdout.isatty() and importlib.util.find_spec("rich") is not None


def _plain(text: str) -> str:
    return printable(text).replace("`", "").replace("[", r"\[")  # [ would start Rich's markup


def _print_list(tree: Tree, depth: int = 0) -> None:
    for label, under in tree.items():
        print(f"{'  ' * depth}- {printable(label)}")
        _print_list(under, depth + 1)


def _grow(node: Any, tree: Tree) -> None:
    for label, under in tree.items():
        _grow(node.add(_plain(label)), under)
