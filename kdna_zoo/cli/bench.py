"""``kdna-zoo bench``: throughput, latency and memory of networks, or loaders, side by side."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, get_args

import torch

from kdna_zoo.analysis.bench.cases import (
    DTYPES,
    FORMS,
    BenchmarkCase,
    Mode,
    Setting,
    has_weights,
    split_control,
)
from kdna_zoo.analysis.bench.comparison import Comparison, Result, compare
from kdna_zoo.cli._files import progress, to_write
from kdna_zoo.cli._loader_bench import bench_loaders, report_loaders
from kdna_zoo.cli._networks import check_name
from kdna_zoo.cli._options import picture, positive
from kdna_zoo.cli._output import print_table
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError, did_you_mean
from kdna_zoo.sharing import CONTROLS

COLUMNS = (
    "network",
    "form",
    "parameters",
    "images/s",
    "ratio",
    "ms a step",
    "ratio",
    "peak MiB",
    "ratio",
)
TEXT = ("network", "form")


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "bench",
        help=COMMANDS["bench"],
        description="Measure each network in each form, with random weights or those that its name "
        "stands for (NAME.TAG, hf-hub:, local-dir:). All take turns in one process, by rounds; "
        "medians, quartiles, and ratios to the first are shown. own:NAME is the network NAME with "
        "a kernel of its own in each layer and no adapter; the other controls of the ablation go "
        f"before a name too: {', '.join(CONTROLS[1:])}. "
        "With --data, measure the loaders: timm's, and ours of rows and of a stream.",
    )
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="registered names, also as CONTROL:NAME"
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        nargs="?",
        const="",
        help="measure loaders over an image folder of JPEG files (default: files of ImageNet's "
        "size, made up)",
    )
    parser.add_argument(
        "--form",
        metavar="FORM,...",
        type=_forms,
        default=["eager"],
        help=f"of {', '.join(FORMS)} (default: eager)",
    )
    parser.add_argument(
        "--mode",
        choices=get_args(Mode),
        default="infer",
        help="forward pass, or a whole training step (default: %(default)s)",
    )
    for option, default, text in (
        ("--batch-size", 16, "images in a step"),
        ("--img-size", 224, "their height and width, in pixels"),
        ("--rounds", 15, "turns of each case"),
        ("--threads", None, "of the CPU (default: what torch takes by itself)"),
        ("--workers", 2, "processes that load, with --data"),
        ("--images", 512, "files to load, with --data"),
    ):
        text += "" if default is None else " (default: %(default)s)"
        parser.add_argument(option, metavar="N", type=positive, default=default, help=text)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--dtype",
        choices=tuple(DTYPES),
        default="float32",
        help="in training by autocast (default: %(default)s)",
    )
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory")
    parser.add_argument("--markdown", action="store_true", help="Markdown, on a terminal too")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure here")
    parser.add_argument(
        "--plot", metavar="FILE", type=picture, help="draw parameters against throughput here"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and report."""
    if (args.data is None) == (not args.names):
        raise UserError("give the names of networks, or --data to measure loaders")
    if args.data is not None:
        return _run_loaders(args)
    if args.plot:
        from kdna_zoo.cli.app import require_extra

        require_extra("kdna-zoo bench --plot", "train", ("matplotlib", "adjustText"))
    if args.json and args.json == args.plot:
        raise UserError(f"--json and --plot both name {args.json}; give each a file of its own")
    for name in args.names:
        check_name(split_control(name)[1])
    setting = Setting(
        mode=args.mode,
        batch_size=args.batch_size,
        img_size=args.img_size,
        device=args.device,
        threads=args.threads or torch.get_num_threads(),
        dtype=args.dtype,
    )
    cases = [BenchmarkCase(name, form) for name in args.names for form in args.form]
    with to_write(args.json) as json_file, to_write(args.plot) as plot_file:
        with progress() as report:
            comparison = compare(
                cases, setting, args.rounds, memory=not args.no_memory, report=report
            )
        _report(comparison, args.line, args.markdown)
        if json_file:
            data = {"command": args.line, **comparison.to_dict()}
            json_file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        if plot_file:
            from kdna_zoo.analysis.bench.plot import draw_throughput

            draw_throughput(comparison, plot_file)
    return 0


def _run_loaders(args: argparse.Namespace) -> int:
    if args.plot:
        raise UserError("--plot draws networks; leave it out with --data")
    with to_write(args.json) as json_file:
        with progress() as report:
            comparison = bench_loaders(args, report)
        report_loaders(comparison, args.line, args.markdown)
        if json_file:
            data = {"command": args.line, **comparison.to_dict()}
            json_file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return 0


def _report(comparison: Comparison, line: str, markdown: bool) -> None:
    versions = ", ".join(f"{k} {v}" for k, v in comparison.machine["versions"].items())
    rounds = f"medians (quartiles) of {len(comparison.order)} interleaved rounds"
    print(f"`{line}`\n" if markdown or not sys.stdout.isatty() else f"{line}\n")
    networks = dict.fromkeys(result.case.network for result in comparison.results)
    if random := [name for name in networks if not has_weights(name)]:
        print(
            f"Random weights in {', '.join(random)}: NAME.TAG, hf-hub: and local-dir: have theirs\n"
        )
    print_table(COLUMNS, map(cells, comparison.results), TEXT, markdown)
    print(f"\n{comparison.setting}; {rounds}.\n{comparison.machine['hardware']}; {versions}.")


def cells(result: Result) -> tuple[str, ...]:
    """Write a result for a row of the table."""
    lower, upper = map(_in_ms, result.times.quartiles)
    peak, memory = result.peak_memory, result.memory_ratio
    return (
        f"`{result.case.network}`",
        result.case.form,
        f"{result.parameters:,}",
        f"{result.images_per_second:,.1f}",
        f"{1 / result.time_ratio:.2f}",
        f"{_in_ms(result.times.median)} ({lower}-{upper})",
        f"{result.time_ratio:.2f}",
        f"{peak / 2**20:,.1f}" if peak is not None else "",
        f"{memory:.2f}" if memory is not None else "",
    )


def _in_ms(seconds: float) -> str:
    return f"{1000 * seconds:.{1 if seconds < 0.1 else 0}f}"


def _forms(text: str) -> list[str]:
    """Read a comma list of forms."""
    forms = text.split(",")
    for form in forms:
        if form not in FORMS:
            hint = did_you_mean(form, FORMS, "choose among these")
            raise argparse.ArgumentTypeError(f"no form {form!r} in {', '.join(FORMS)}; {hint}")
    return forms
