"""What the options of several commands have in common."""

import argparse
from pathlib import Path

from kdna_zoo.errors import UserError

PICTURES = (".png", ".svg", ".pdf")


def positive(text: str) -> int:
    """Read a whole number of 1 or more, as the type of an option."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def picture(text: str) -> Path:
    """Read the path of a picture to write, as the type of an option."""
    if Path(text).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in one of {', '.join(PICTURES)}")
    return Path(text)


def check_place(file: Path) -> None:
    """Check that a file may be written where the user wants it, before any work is done.

    Raises:
        UserError: If there is a folder in its place, or none to hold it.
    """
    if file.is_dir():
        raise UserError(f"{file} is a folder; give the path of a file")
    if not file.parent.is_dir():
        raise UserError(f"cannot write {file}: there is no folder {file.parent}; make it first")
