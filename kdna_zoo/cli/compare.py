"""``kdna-zoo compare``: accuracy over seeds of several networks, from what their runs left."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdna_zoo.cli._files import to_write
from kdna_zoo.cli._options import picture
from kdna_zoo.cli._output import add_output_options, print_json, print_table
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.records.formats import COMPARE, mark

if TYPE_CHECKING:
    from kdna_zoo.analysis.accuracy.runs import Run


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "compare",
        help=COMMANDS["compare"],
        description="Gather finished runs by network: top-1 at the end of each run, mean and "
        "standard deviation over the seeds, and the difference to one network, paired by seed, "
        "with its 95 % confidence interval and the p-value of Student's paired t-test. The runs "
        "must have the same data, epochs and batch.",
    )
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        type=Path,
        help="folders of runs, folders of those, or JSON files of this command",
    )
    parser.add_argument(
        "--reference", metavar="NETWORK", help="compare with this one (default: the first run's)"
    )
    add_output_options(parser)
    parser.add_argument("--plot", metavar="FILE", type=picture, help="draw each run's top-1 here")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    # scipy is slow to import
    from kdna_zoo.analysis.accuracy.accuracy import COLUMNS, as_cells, caveat, compare_accuracy
    from kdna_zoo.analysis.accuracy.runs import differing_settings, explain_plans, find_runs

    runs = find_runs(args.runs)
    reference = args.reference or _recorded_reference(args.runs, runs) or runs[0].network
    rows = compare_accuracy(runs, reference)
    differing, silent = differing_settings(runs), sum(not run.raw.get("settings") for run in runs)
    with to_write(args.plot) as plot_file:
        if plot_file:
            from kdna_zoo.analysis.accuracy.plot import draw_accuracy

            draw_accuracy(rows, plot_file)
    if args.json:
        setting, sources = dict(runs[0].setting), [dict(run.raw) for run in runs]
        networks = [row.to_dict() for row in rows]
        print_json(
            {
                "command": args.line,
                **mark(COMPARE),
                "setting": setting,
                "reference": reference,
                "plans": explain_plans(runs),
                "differing_settings": differing,
                "runs_without_settings": silent,
                "networks": networks,
                "runs": sources,
            }
        )
        return 0
    cells = [as_cells(row, reference) for row in rows]
    table = [(f"`{network}`", *others) for network, *others in cells]
    print_table(COLUMNS, table, text=COLUMNS[:1], markdown=args.markdown)
    print(f"\n{', '.join(f'{key} {value}' for key, value in runs[0].setting.items())}")
    if len(rows) > 1:
        print(caveat(len(rows) - 1))
    for line in explain_plans(runs):
        print(line)
    for key, values in differing.items():
        print(f"Not one recipe: {key} is {' and '.join(map(str, values))}")
    if silent:
        print(f"{silent} of {len(runs)} runs do not say their recipe")
    return 0


def _recorded_reference(places: Sequence[Path], runs: Sequence["Run"]) -> str | None:
    """Return the reference of a comparison that was written before, if it is all there is."""
    if len(places) != 1 or not places[0].is_file():
        return None
    reference = json.loads(places[0].read_text(encoding="utf-8")).get("reference")
    return reference if reference in {run.network for run in runs} else None
