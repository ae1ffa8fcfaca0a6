"""How the command line shows warnings: one plain line each, or none where a user can do nothing.

Python's own form is the path of a library, a line of its source and the message. What a library
says to programmers, of its own parts that it will change, is left out.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

FOR_PROGRAMMERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning,
                   ResourceWarning)  # fmt: skip


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show the warnings of the block so."""
    before = warnings.formatwarning
    warnings.formatwarning = format_plainly
    try:
        yield
    finally:
        warnings.formatwarning = before


def format_plainly(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Write a warning, with the arguments of `warnings.formatwarning`."""
    if for_programmers(category):
        return ""
    return f"kdna-zoo: warning: {' '.join(str(message).split())}\n"


def for_programmers(category: type[Warning]) -> bool:
    """Say whether a kind of warning is about code, not about what it is used on."""
    return issubclass(category, FOR_PROGRAMMERS)
