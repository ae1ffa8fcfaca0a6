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
from contextlib import nullcontext
from typing import NoReturn

from kdna_zoo.cli import (
    bench,
    cka,
    classify,
    compare,
    convert,
    export,
    info,
    models,
    publish,
    quickstart,
    recipes,
    report,
    verify,
)
from kdna_zoo.cli._warnings import plain_warnings
from kdna_zoo.errors import (
    UNWRITABLE,
    KdnaZooError,
    MissingExtraError,
    RunError,
    UserError,
    did_you_mean,
)
from kdna_zoo.interrupts import heeding_sigterm, number_of, stopped_by
from kdna_zoo.printable import printable
from kdna_zoo.tracebacks import leave_traceback
from kdna_zoo.user_modules import HELP, OPTION, import_modules, split_imports
from kdna_zoo.version import __version__

TRAINING = {
    "fit": "train a network by a recipe",
    "validate": "evaluate a network on the validation split",
    "test": "evaluate a network on the test split",
    "predict": "write a network's predictions to a file",
}
COMMANDS = (
    *(quickstart, models, info, bench, cka, convert, recipes, compare, report, export, publish),
    *(verify, classify),
)
UNCHANGED = "its files are as they were before; the same command begins again"
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

    It is 0, 2 for a user's mistake, 1 for a fault, 130 where Ctrl-C and 143 where SIGTERM stopped
    it, and 141 where nobody reads the output any more, as with ``| head``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        modules, arguments = split_imports(given)
        if arguments and arguments[0] in NEEDS_TRAIN:
            require_extra(f"kdna-zoo {arguments[0]}", "train", TRAIN_PACKAGES)
        if arguments and (arguments[0] in TRAINING or arguments[0].startswith(COMPLETION)):
            from kdna_zoo.training.command import cli as command

            requeued = arguments[0] == "fit" and "SLURM_JOB_ID" in os.environ  # Lightning's to know
            with plain_warnings(), nullcontext() if requeued else heeding_sigterm():
                command.run([*arguments, *(f"{OPTION}={module}" for module in modules)])
            return 0
        import_modules(modules)
        args, unknown = make_parser().parse_known_args(arguments)
        if unknown:
            raise UserError(_unknown_option(args, unknown[0]))
        args.line = shlex.join(["kdna-zoo", *given])
        return _run(args)
    except KeyboardInterrupt as interrupt:
        stopped = stopped_by(number_of(interrupt), UNCHANGED)
        print(f"\nkdna-zoo: {stopped}", file=sys.stderr)
        return stopped.exit_code
    except KdnaZooError as error:
        if error.exit_code:
            print(f"kdna-zoo: {printable(error, lines=True)}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # what nobody has thought of: in one line too
        print(f"kdna-zoo: {leave_traceback(error, given)}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        with plain_warnings(), heeding_sigterm():
            code = run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 141
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise UserError(f"cannot read or write there: {error}") from error
        raise RunError(f"the system refused: {error}") from error
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
        subparser.add_argument(OPTION, metavar="MODULE", action="append", dest="modules", help=HELP)
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
