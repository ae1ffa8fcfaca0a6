"""``kdna-zoo convert``: a trained network becomes a KernelDNA network, as a release folder."""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from kdna_zoo.cli._files import to_write
from kdna_zoo.cli._options import positive
from kdna_zoo.cli._output import print_table
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError
from kdna_zoo.layers import NormName

if TYPE_CHECKING:
    from kdna_zoo.cli._calibration import Calibration
    from kdna_zoo.cli._sources import Source
    from kdna_zoo.conversion import ConversionReport

PACKAGES = ("scipy", "matplotlib", "jinja2", "datasets", "lightning", "PIL")
STEPS = ("match", "fit", "norms", "refine")


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "convert",
        help=COMMANDS["convert"],
        description="Let layers of a trained network share kernels: channels are matched, kernels "
        "and adapters fitted to what the layers did, batch norms follow, blocks learn from the "
        "source's. The result is a release folder, which timm loads as local-dir:FOLDER and "
        "`kdna-zoo publish` puts on the Hub. See docs/convert.md.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a trained network: timm's name with a tag, hf-hub:..., local-dir:..., or the file of "
        "a checkpoint of kdna-zoo, Lightning or timm",
    )
    parser.add_argument("--arch", metavar="NAME", help="timm's name of what a checkpoint holds")
    parser.add_argument(
        "--weights", choices=("raw", "ema"), default="raw", help="of a checkpoint of kdna-zoo"
    )
    plan = parser.add_mutually_exclusive_group(required=True)
    plan.add_argument("--to", metavar="NAME", help="share as this network, such as kdna_resnet50")
    plan.add_argument(
        "--plan", metavar="FILE", help="share by a plan in a JSON file, or `auto` (auto_plan's)"
    )
    plan.add_argument(
        "--saving",
        metavar="PART",
        type=float,
        help="choose what costs least, until this part of the parameters is saved, such as 0.3",
    )
    parser.add_argument(
        "--across-roles", action="store_true", help="with --saving: conv1 and conv2 may share too"
    )
    parser.add_argument(
        "--norm",
        choices=get_args(NormName),
        default="batch",
        help="with --saving or --plan auto: norm inside the channel attention",
    )
    _add_images(parser)
    for step in STEPS:
        if step != "refine":
            parser.add_argument(f"--no-{step}", action="store_true", help=f"leave out: {step}")
    parser.add_argument(
        "--refine",
        metavar="N",
        type=int,
        help="batches that blocks learn from; 0: none (default: as many as a fixed number of "
        "multiply-adds allows)",
    )
    parser.add_argument(
        "--fit-to",
        choices=("outputs", "weights"),
        default="outputs",
        help="with images: fit to what layers give on them, or to the weights alone "
        "(default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all choices at random")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="the result")
    parser.add_argument("--overwrite", action="store_true", help="replace a published folder")
    parser.add_argument("--tag-name", metavar="TAG", help="of these weights (default: converted)")
    parser.add_argument(
        "--license",
        metavar="ID",
        help="of the weights (default: the source's, which is to be kept)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the report as JSON too")
    parser.add_argument("--markdown", action="store_true", help="Markdown, on a terminal too")
    parser.set_defaults(run=run)


def _add_images(parser: Any) -> None:
    group = parser.add_argument_group("images to calibrate with, and to measure by")
    group.add_argument(
        "--images",
        metavar="PATH",
        help="image folder, parquet files or Hub id; `embedded`: the Fashion-MNIST sample "
        "(default: none; the weights alone are fitted)",
    )
    group.add_argument("--split", metavar="NAME", help="to calibrate with (default: train, if any)")
    group.add_argument(
        "--evaluate-split",
        metavar="NAME",
        help="labelled, to measure by after each step; `none`: do not (default: test, if any)",
    )
    for option, default, text in (
        ("--count", 2000, "calibration images, drawn at random"),
        ("--evaluate-count", 1000, "labelled images, drawn at random"),
        ("--batch-size", 64, "images in a batch"),
    ):
        text += " (default: %(default)s)"
        group.add_argument(option, metavar="N", type=positive, default=default, help=text)
    group.add_argument("--workers", metavar="N", type=int, default=0, help="processes that load")
    group.add_argument(
        "--augment",
        action="store_true",
        help="crop and flip calibration images at random, as timm does in training",
    )


def run(args: argparse.Namespace) -> int:
    """Open, plan, convert, write, report."""
    from kdna_zoo.cli.app import require_extra

    require_extra("kdna-zoo convert", "train", PACKAGES)
    _check(args)
    from kdna_zoo.cli._conversion import machine, make_plan, registered, write_converted
    from kdna_zoo.cli._sources import open_trained
    from kdna_zoo.conversion import convert
    from kdna_zoo.release.folder import check_target
    from kdna_zoo.release.license import checked_license

    check_target(args.out.resolve(), args.overwrite)
    began = time.time()
    _seed(args.seed)
    source = open_trained(args.source, args.arch, args.weights)
    license = checked_license(args.license or source.license or "other")
    source.network.to(args.device)
    with to_write(args.json) as json_file:
        images = _images(args, source)
        model, plan, arch, arch_args = make_plan(args, source, images)
        converted = convert(
            model,
            plan,
            images.images if images else None,
            evaluate=images.evaluate if images else None,
            match=not args.no_match,
            fit=False if args.no_fit else args.fit_to,
            norms=not args.no_norms,
            refine=True if args.refine is None else args.refine,
            seed=args.seed,
        )
        result = registered(converted, arch, arch_args, source)
        report: Any = converted.conversion_report
        data = {
            **report.to_dict(),
            "source": {"name": source.name, "sha256": source.sha256, "license": source.license},
            "arch": arch,
            "command": args.line,
        }
        folder = write_converted(
            args, source, result, images, data, license, began, (arch, arch_args)
        )
        if json_file:
            json_file.write_text(json.dumps({**data, **machine(args)}, indent=2) + "\n", "utf-8")
    _tell(args, report, folder, arch)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.saving is not None and not 0 < args.saving < 1:
        raise UserError(f"--saving takes a part between 0 and 1, such as 0.3; got {args.saving}")
    if args.refine is not None and args.refine < 0:
        raise UserError(f"--refine takes a number of batches, 0 or more; got {args.refine}")
    if args.workers < 0:
        raise UserError(f"--workers must be 0 or more, got {args.workers}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; leave --device away")
    if args.across_roles and args.saving is None:
        raise UserError("--across-roles is for --saving; leave it away, or give --saving")
    if not args.images:
        given = [n for n in ("split", "evaluate_split", "augment") if getattr(args, n)]
        given += ["refine"] if args.refine else []
        if given:
            option = given[0].replace("_", "-")
            raise UserError(f"--{option} needs images: give --images PATH, or --images embedded")


def _seed(seed: int) -> None:
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _images(args: argparse.Namespace, source: "Source") -> "Calibration | None":
    if not args.images:
        return None
    from kdna_zoo.cli._calibration import load_calibration

    return load_calibration(
        args.images,
        source.data_config,
        source.label_names,
        split=args.split,
        count=args.count,
        evaluate_split=args.evaluate_split,
        evaluate_count=args.evaluate_count,
        batch_size=args.batch_size,
        workers=args.workers,
        augment=args.augment,
        seed=args.seed,
    )


def _tell(args: argparse.Namespace, report: "ConversionReport", folder: Path, arch: str) -> None:
    before, after = report.parameters
    print(f"{args.source}: {before:,} parameters -> {arch}: {after:,} ({-report.saving:+.1%})")
    if report.added:
        print(f"New blocks, the identity: {', '.join(report.added)}")
    print()
    columns = ("step", "output error", "top-1", "seconds", "what was done")
    rows = [
        (
            step.name,
            "-" if step.error is None else f"{step.error:.3g}",
            "-" if step.top1 is None else f"{100 * step.top1:.2f} %",
            f"{step.seconds:.1f}" if step.done else "-",
            step.note if step.done else f"left out: {step.note}",
        )
        for step in report.steps
    ]
    print_table(columns, rows, ("step", "what was done"), args.markdown)
    print()
    layers = [
        (
            f"`{layer.path}`",
            "-" if layer.path == layer.parent else f"`{layer.parent}`",
            f"{layer.saved:,}",
            f"{list(layer.errors.values())[-1]:.3f}" if layer.errors else "free",
        )
        for layer in report.layers
    ]
    titles = ("layer", "kernel of", "parameters saved", "output error")
    print_table(titles, layers, ("layer", "kernel of"), args.markdown)
    if report.evaluated:
        print(f"\nTop-1 on {report.evaluated:,} images, before any training.")
    print(f"\nWrote {folder}: timm.create_model('local-dir:{args.out}', pretrained=True)")
    print(
        "Fine-tune it: kdna-zoo fit --config recipes/convert.yaml "
        f"--model.arch local-dir:{args.out} --model.distillation.teacher {args.source} "
        "--data.path FOLDER"
    )
