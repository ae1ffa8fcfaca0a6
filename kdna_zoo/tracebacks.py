"""What the command line does with an error that it has no answer to: one line, and a file.

The file holds the whole traceback, the command and the versions, so that it can be reported.
"""

import os
import platform
import shlex
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from kdna_zoo.version import __version__

PACKAGES = ("torch", "timm", "lightning", "datasets", "huggingface_hub")


def leave_traceback(
    error: BaseException, arguments: Sequence[str], file: Path | None = None
) -> str:
    """Write a traceback to a file, and return the line to print in its place.

    Args:
        error: What was raised.
        arguments: Those of the command line.
        file: Where to; None, or where that cannot be written: a new file of the system's folder
            for temporary ones.

    Returns:
        The kind of error, what it says in one line, and where the traceback is; if it can be
        written nowhere, the line ends with the traceback itself.
    """
    text = "".join(traceback.format_exception(error))
    report = f"{shlex.join(['kdna-zoo', *arguments])}\n{_versions()}\n\n{text}"
    name = f"kdna-zoo-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for place in (file, Path(tempfile.gettempdir(), name)):
        if place is None:
            continue
        try:
            place.write_text(report, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return (
            f"{one_line(error)}. This is no error that kdna-zoo knows: the traceback is in {place}"
        )
    return f"{one_line(error)}. This is no error that kdna-zoo knows:\n{text}"


def one_line(error: BaseException, longest: int = 300) -> str:
    """Return an error's kind and message in one line of limited length."""
    said = " ".join(str(error).split()).rstrip(".")
    said = f"{said[:longest]} ..." if len(said) > longest else said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _versions() -> str:
    found = {"kdna-zoo": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(f"{name} {version}" for name, version in found.items())
