"""The ``kdna-zoo`` command.

``fit``, ``validate``, ``test`` and ``predict`` are LightningCLI's, with its options and help; each
other command is a module of `kdna_zoo.commands` with ``add_parser`` and ``run``. Lightning,
`datasets` and matplotlib are imported by the command that needs them.
"""

import argparse
import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from kdna_zoo.commands import (
    bench,
    cka,
    classify,
    compare,
    export,
    info,
    models,
    publish,
    quickstart,
    recipes,
    report,
    verify,
)
from kdna_zoo.errors import KdnaZooError, MissingExtraError, UserError, did_you_mean
from kdna_zoo.printable import printable
from kdna_zoo.version import __version__

TRAINING = {
    "fit": "train a network by a recipe",
    "validate": "evaluate a network on the validation split",
    "test": "evaluate a network on the test split",
    "predict": "write a network's predictions to a file",
}
COMMANDS = (
    *(quickstart, models, info, bench, cka, recipes, compare, report, export, publish, verify),
    classify,
)
COMPLETION = "--print_completion"  # prints a script for the shell: ...=shtab-bash, =shtab-zsh
NEEDS_TRAIN = {*TRAINING, "compare", "publish", "quickstart", "report"}
TRAIN_PACKAGES = (
    "lightning", "jsonargparse", "datasets", "torchmetrics", "tensorboard", "rich", "matplotlib",
    "PIL", "jinja2",
    "scipy",
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Raises what argparse finds wrong as a UserError, so that it reads like all other errors."""

    def error(self, message: str) -> NoReturn:
        """Raise a UserError instead of printing the usage."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    It is 0, 2 for a user's mistake, 1 for a fault, 143 for a run that SIGTERM stopped, and 141
    where nobody reads the output any more, as with ``| head``.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments and arguments[0] in NEEDS_TRAIN:
            require_extra(f"kdna-zoo {arguments[0]}", "train", TRAIN_PACKAGES)
        if arguments and (arguments[0] in TRAINING or arguments[0].startswith(COMPLETION)):
            from kdna_zoo.training import command

            command.run(arguments)
            return 0
        args, unknown = make_parser().parse_known_args(arguments)
        if unknown:
            raise UserError(_unknown_option(args, unknown[0]))
        args.line = shlex.join(["kdna-zoo", *arguments])
        return _run(args)
    except KdnaZooError as error:
        if error.exit_code:
            print(f"kdna-zoo: {printable(error, lines=True)}", file=sys.stderr)
        return error.exit_code


def _run(args: argparse.Namespace) -> int:
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        code = run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 141
    return code


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands; the training ones are listed, and parsed elsewhere."""
    parser = Parser(
        prog="kdna-zoo",
        description="KernelDNA networks: train by a recipe, publish, load again through timm.",
    )
    parser.add_argument("--version", action="version", version=f"kdna-zoo {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, help_text in TRAINING.items():
        subparsers.add_parser(name, help=help_text, add_help=False)
    for module in COMMANDS:
        module.add_parser(subparsers)
    for name, subparser in subparsers.choices.items():
        subparser.set_defaults(command=name, options=list(subparser._option_string_actions))
    return parser


def _unknown_option(args: argparse.Namespace, given: str) -> str:
    otherwise = f"see `kdna-zoo {args.command} --help`"
    hint = did_you_mean(given.split("=")[0], args.options, otherwise)
    return f"`kdna-zoo {args.command}` does not know {given!r}; {hint}"


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
