"""``kdna-zoo verify``: whether the published weights are what the manifest states, everywhere."""

import argparse
from dataclasses import asdict
from typing import Any

from kdna_zoo.cli._output import add_output_options, print_json, print_table
from kdna_zoo.cli.commands import COMMANDS

COLUMNS = ("tag", "place", "result")


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "verify",
        help=COMMANDS["verify"],
        description="Compare what hub/ of the checkout, the Hub's cache and the Hub hold with the "
        "weights manifest: sha256, configuration, revision. Nothing large is downloaded. The exit "
        "code is 1 if anything is wrong.",
    )
    parser.add_argument(
        "tags", metavar="TAG", nargs="*", help="such as kdna_resnet18.fmnist (default: all)"
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found."""
    from kdna_zoo.release.verify import verify

    findings = verify(args.tags)
    if args.json:
        print_json([asdict(finding) for finding in findings])
    elif findings:
        rows = [(f"`{f.name}`", f.place, _result(f.problem, f.note)) for f in findings]
        print_table(COLUMNS, rows, text=COLUMNS, markdown=args.markdown)
    else:
        print("The weights manifest (kdna_zoo/models/weights.json) has no weights yet")
    return 1 if any(finding.problem for finding in findings) else 0


def _result(problem: str | None, note: str) -> str:
    if problem is None:
        return f"- ({note})"
    return f"WRONG: {problem}" if problem else f"ok ({note})"
