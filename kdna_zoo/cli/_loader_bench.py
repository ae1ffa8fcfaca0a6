"""``kdna-zoo bench --data``: loaders in place of networks."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdna_zoo.analysis.bench.sample_images import link_images, make_images
from kdna_zoo.cli._output import print_table
from kdna_zoo.errors import UserError

if TYPE_CHECKING:
    from kdna_zoo.analysis.bench.loaders import LoaderComparison

COLUMNS = ("loader", "images/s", "quartiles", "ratio")


def bench_loaders(args: argparse.Namespace, report: Callable[[str], None]) -> "LoaderComparison":
    """Time the loaders over the user's images, or over some that are made up."""
    from kdna_zoo.cli.app import require_extra

    require_extra("kdna-zoo bench --data", "train", ("lightning", "datasets"))
    from kdna_zoo.analysis.bench.loaders import LoaderSetting, compare_loaders

    if args.images < args.batch_size:
        raise UserError(f"--images {args.images} is less than a batch of {args.batch_size}")
    with tempfile.TemporaryDirectory(prefix="kdna-zoo-bench-") as temporary:
        folder, count = Path(temporary), args.images
        if args.data:
            count = link_images(Path(args.data).expanduser(), folder, count)
        else:
            report(f"making {count} images ...")
            make_images(folder, count)
        setting = LoaderSetting(args.batch_size, args.img_size, args.workers, count)
        return compare_loaders(folder, setting, args.rounds, report)


def report_loaders(comparison: "LoaderComparison", line: str, markdown: bool) -> None:
    """Print the table, and what it holds for."""
    data = comparison.to_dict()
    rows = [loader_cells(result) for result in data["results"]]
    rounds = f"medians of {len(data['order'])} interleaved rounds, an epoch each"
    print(f"`{line}`\n" if markdown or not sys.stdout.isatty() else f"{line}\n")
    print_table(COLUMNS, rows, ("loader",), markdown)
    print(f"\n{comparison.setting}; {rounds}.")
    print(f"{data['hardware']}; {', '.join(f'{k} {v}' for k, v in data['versions'].items())}.")


def loader_cells(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Write a loader's figures, as the JSON file has them, for a row of the table."""
    rate = result["images_per_second"]
    lower, upper = rate["quartiles"]
    quartiles = f"{lower:,.1f}-{upper:,.1f}"
    return result["loader"], f"{rate['median']:,.1f}", quartiles, f"{result['ratio']:.2f}"
