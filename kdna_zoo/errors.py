"""Errors with a message meant for the user; the command line prints it without a traceback."""

import difflib
import errno
from collections.abc import Iterable

FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: there is no room
UNWRITABLE = (  # and: not there, or not by this user
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)


class KdnaZooError(Exception):
    """Base of the errors that this package raises on purpose.

    Attributes:
        exit_code: What the command line ends with.
    """

    exit_code = 1


class UserError(KdnaZooError, ValueError):
    """Something given by the user cannot be used: the message says what, and what to do instead."""

    exit_code = 2


class MissingExtraError(UserError):
    """A command needs an optional part of the package that is not installed."""


class WeightsError(UserError):
    """Published weights cannot be had or are not what they should be."""


class RunError(KdnaZooError, RuntimeError):
    """A run could not go on: the message says where it stopped and what is left of it."""


def did_you_mean(given: str, names: Iterable[str], otherwise: str) -> str:
    """Write the hint of a message about an unknown name.

    Args:
        given: What the user wrote.
        names: What there is.
        otherwise: The hint where no name is near it.

    Returns:
        ``did you mean A, B?``, up to three names, the nearest first; or `otherwise`.
    """
    near = difflib.get_close_matches(given, list(names), n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else otherwise


class StoppedError(RunError):
    """A run was told to stop by a signal, and has saved its state.

    Args:
        message: Where the state is and how to go on.
        exit_code: 128 and the signal's number, as a shell has it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
