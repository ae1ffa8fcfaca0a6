"""Files that a long command writes at its end, and what it says meanwhile."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from kdna_zoo.atomic import replaced_file
from kdna_zoo.cli._options import check_place
from kdna_zoo.errors import UserError


@contextlib.contextmanager
def to_write(file: Path | None) -> Iterator[Path | None]:
    """Make sure that a file can be written before the long run; it appears after it, whole."""
    if file is None:
        yield None
        return
    check_place(file)
    try:
        with replaced_file(file) as fresh:
            yield fresh
    except OSError as error:
        raise UserError(f"cannot write {file}: {error}") from error


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Say on one line of the terminal what is going on, and wipe it at the end."""
    shown = sys.stderr.isatty()

    def report(text: str) -> None:
        if shown:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    try:
        yield report
    finally:
        report("")
