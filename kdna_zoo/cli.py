"""The ``kdna-zoo`` command.

``fit``, ``validate``, ``test`` and ``predict`` are LightningCLI's, with its options and help; each
other command is a module of `kdna_zoo.commands` with ``add_parser`` and ``run``. What is heavy is
imported by the command that needs it.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence

from kdna_zoo.commands import models, publish, quickstart
from kdna_zoo.errors import KdnaZooError, MissingExtraError, UserError
from kdna_zoo.version import __version__

TRAINING = {
    "fit": "train a network by a recipe",
    "validate": "evaluate a network on the validation split",
    "test": "evaluate a network on the test split",
    "predict": "write a network's predictions to a file",
}
COMMANDS = (quickstart, models, publish)
NEEDS_TRAIN = {*TRAINING, "publish", "quickstart"}
TRAIN_PACKAGES = ("lightning", "jsonargparse", "datasets", "torchmetrics", "matplotlib")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a user's mistake, 1 for a fault."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments and arguments[0] in NEEDS_TRAIN:
            require_extra(f"kdna-zoo {arguments[0]}", "train", TRAIN_PACKAGES)
        if arguments and arguments[0] in TRAINING:
            from kdna_zoo.training import command

            command.run(arguments)
            return 0
        args = make_parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = args.run
        return run(args)
    except KdnaZooError as error:
        print(f"kdna-zoo: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands; the training ones are listed, and parsed elsewhere."""
    parser = argparse.ArgumentParser(
        prog="kdna-zoo",
        description="KernelDNA networks: train by a recipe, publish, load again through timm.",
    )
    parser.add_argument("--version", action="version", version=f"kdna-zoo {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, help_text in TRAINING.items():
        subparsers.add_parser(name, help=help_text, add_help=False)
    for module in COMMANDS:
        module.add_parser(subparsers)
    return parser


def require_extra(command: str, extra: str, packages: Sequence[str]) -> None:
    """Check that the packages of an extra are there.

    Raises:
        MissingExtraError: If one is missing, with the line that installs it.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"`{command}` needs {', '.join(missing)}, which the {extra!r} extra brings: "
            f'pip install "kdna-zoo[{extra}]"'
        )


if __name__ == "__main__":
    sys.exit(main())
