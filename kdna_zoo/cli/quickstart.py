"""``kdna-zoo quickstart``: the whole way from images to published weights and back.

It runs the very commands it prints: train, validate, publish, load the published folder through
timm, validate that, classify. It ends with two pictures and the two accuracies side by side.
"""

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.interrupts import leaving


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "quickstart",
        help=COMMANDS["quickstart"],
        description="Train a KernelDNA network on the embedded images, publish it into a folder, "
        "load it again through timm and classify; each step is printed as its command.",
    )
    parser.add_argument(
        "--to", metavar="FOLDER", default="runs/quickstart", help="(default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run all steps and compare the two accuracies."""
    with leaving(lambda: f"what was done is in {args.to}; the same command begins a new run there"):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    from kdna_zoo.errors import RunError
    from kdna_zoo.paths import recipes_folder

    started = time.perf_counter()
    recipe = _relative(recipes_folder() / "quickstart.yaml")
    fit = _training("fit", "--config", recipe, "--trainer.default_root_dir", args.to)
    folder = Path(fit.trainer.log_dir)
    checkpoint, published = folder / "checkpoints" / "last.ckpt", folder / "published"

    trained = _training("validate", "--config", recipe, "--ckpt_path", str(checkpoint))
    _step("publish", str(checkpoint), "--to", str(published))
    loaded = ("--model.arch", f"local-dir:{published}", "--model.pretrained", "true")
    reloaded = _training("validate", *loaded)
    predictions = folder / "predictions.csv"
    predict = _training("predict", *loaded, "--predictions.path", str(predictions))
    curve, sheet = _draw(folder, predictions, predict.datamodule)

    before, after = _top1(trained), _top1(reloaded)
    images = int(trained.trainer.callback_metrics["val/images"])
    print(f"\nTrained:  {before:.2%} top-1 of {images:,} test images")
    print(f"Reloaded: {after:.2%} top-1, by timm.create_model('local-dir:{published}')")
    print(f"Pictures: {curve}, {sheet}")
    print(f"Took {time.perf_counter() - started:.0f} s")
    if before != after:
        raise RunError(f"the reloaded network differs from the trained one: {after} != {before}")
    return 0


def _training(*arguments: str) -> Any:
    """Print and run one of the training commands; return what it built."""
    from kdna_zoo.training.command import cli as command

    _announce(arguments)
    return command.run(arguments)


def _step(*arguments: str) -> None:
    """Print and run one of the other commands."""
    from kdna_zoo import cli

    _announce(arguments)
    args = cli.make_parser().parse_args(arguments)
    args.run(args)


def _announce(arguments: tuple[str, ...]) -> None:
    print(f"\n$ {shlex.join(['kdna-zoo', *arguments])}", flush=True)


def _draw(folder: Path, predictions: Path, data: Any) -> tuple[Path, Path]:
    from kdna_zoo.training.logging.plots import draw_predictions

    curve, sheet = folder / "learning_curve.png", folder / "predictions.png"
    draw_predictions(predictions, data.test_image, sheet)
    return curve, sheet


def _top1(run: Any) -> float:
    return float(run.trainer.callback_metrics["val/top1"])


def _relative(path: Path) -> str:
    """Return the path as one would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
