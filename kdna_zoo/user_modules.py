"""``--import MODULE`` of every command: a module of the user's own, imported before anything else.

It may register networks with timm, or hold classes that a configuration names. The folder that the
command runs in is searched too, after all others.
"""

import importlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from kdna_zoo.errors import UserError

OPTION = "--import"
HELP = "import a module of yours first, which may register networks; again for further ones"


def split_imports(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take the ``--import`` options out of a command line.

    Returns:
        The modules, and the other arguments.

    Raises:
        UserError: If one names no module.
    """
    modules, others = [], []
    left = iter(arguments)
    for argument in left:
        name, equals, value = argument.partition("=")
        if name != OPTION:
            others.append(argument)
            continue
        module = value if equals else next(left, "")
        is_file = module.endswith(".py")
        if is_file or not all(part.isidentifier() for part in module.split(".")):
            meant = f"; give --import {Path(module).stem}" if is_file else ""
            raise UserError(f"--import takes the name of a module, not {module!r}{meant}")
        modules.append(module)
    return modules, others


def import_modules(modules: Iterable[str]) -> None:
    """Import modules, also those in the folder that the command runs in.

    Raises:
        UserError: If one cannot be imported: what went wrong, and where.
    """
    for module in modules:
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.append(here)
        try:
            importlib.import_module(module)
        except Exception as error:  # the user's own code may raise any
            frame = traceback.extract_tb(error.__traceback__)[-1]
            own = not frame.filename.startswith("<")
            where = f" ({frame.filename}, line {frame.lineno})" if own else ""
            what = (
                str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
            )
            raise UserError(f"cannot import {module}: {what}{where}") from error
