"""``kdna-zoo report``: one HTML page from the JSON files of the other commands."""

import argparse
from pathlib import Path
from typing import Any

from kdna_zoo.atomic import replaced_file
from kdna_zoo.cli._options import check_place
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "report",
        help=COMMANDS["report"],
        description="Write one self-contained HTML page with tables, plots and the commands behind "
        "each figure, from the JSON files of `bench --json FILE`, `cka` and `compare ... --json`.",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="JSON files")
    parser.add_argument("--to", metavar="HTML", type=Path, default=Path("report.html"))
    parser.add_argument("--title", default="KernelDNA networks, measured")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    from kdna_zoo.analysis.report import make_report  # matplotlib is slow to import

    check_place(args.to)
    page = make_report(args.files, args.title)
    try:
        with replaced_file(args.to) as fresh:
            fresh.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {args.to}: {error}") from error
    print(f"wrote {args.to}: {len(args.files)} sections, {len(page.encode()):,} bytes")
    return 0
