"""`kdna-zoo publish`: a checkpoint becomes a folder that timm loads and the Hub could hold."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdna_zoo.release.checkpoint import TrainedModel


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "publish",
        help="write a checkpoint as a folder that timm loads",
        description="Write a checkpoint of `kdna-zoo fit` as a folder with weights, timm's"
        " config.json, model card, recipe and metrics, and check that timm loads it unchanged.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="the .ckpt file")
    parser.add_argument("--to", metavar="FOLDER", required=True, help="absent or empty folder")
    parser.add_argument(
        "--weights",
        choices=("raw", "ema"),
        default="raw",
        help="as trained, or their running average (default: %(default)s)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a folder published before"
    )
    parser.add_argument(
        "--license",
        default="apache-2.0",
        help="licence of the weights, an identifier of the Hub (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Publish and tell what was written; a user's mistake is raised as a UserError."""
    from kdna_zoo.release.checkpoint import read_checkpoint
    from kdna_zoo.release.folder import write_folder

    trained = read_checkpoint(args.checkpoint, args.weights)
    folder = write_folder(trained, args.to, overwrite=args.overwrite, license=args.license)
    for line in _report(trained, folder):
        print(line)
    return 0


def _report(trained: "TrainedModel", folder: Path) -> list[str]:
    from kdna_zoo.release.card import release_name

    source = f"local-dir:{folder}"
    return [
        f"Published {release_name(trained.record)} ({trained.weights} weights) in {folder}",
        *(
            f"  {file.name:<18} {file.stat().st_size:>12,} bytes"
            for file in sorted(folder.iterdir())
        ),
        _accuracy(trained),
        "Load it in Python:",
        f"  import kdna_zoo, timm; model = timm.create_model({source!r}, pretrained=True)",
    ]


def _accuracy(trained: "TrainedModel") -> str:
    measured, data = trained.record.metrics, trained.record.data
    if measured is not None:
        return (
            f"Top-1 accuracy: {100 * measured.top1:.2f} % of {measured.images:,} images"
            f" ({data.name}, {measured.split})"
        )
    if trained.averaged and trained.weights == "raw":
        return (
            "Top-1 accuracy: not measured; the run measured its average: use --weights ema for that"
        )
    return "Top-1 accuracy: not measured"
