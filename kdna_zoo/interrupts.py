"""What Ctrl-C and SIGTERM do to a command: it tidies up and ends with one line, not a traceback."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kdna_zoo.errors import StoppedError

REASONS = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by signal 15"}


class Terminated(KeyboardInterrupt):
    """SIGTERM came: as with Ctrl-C, what is begun is left in good order."""


def stopped_by(number: int, what_is_left: str) -> StoppedError:
    """Make the error that a command ends with when a signal stops it.

    Args:
        number: The signal's.
        what_is_left: What there is now, and how to go on.
    """
    reason = REASONS.get(signal.Signals(number), f"stopped by signal {number}")
    return StoppedError(f"{reason}: {what_is_left}", 128 + number)


def number_of(error: BaseException) -> int:
    """Return the signal that an interrupt came from."""
    return int(signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


@contextmanager
def leaving(what_is_left: Callable[[], str]) -> Iterator[None]:
    """Say what is left and how to go on, if the block is interrupted.

    Args:
        what_is_left: Looks for it, after the block has tidied up.

    Raises:
        StoppedError: In place of the interrupt, or of what a run within the block said of it.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise stopped_by(number_of(error), what_is_left()) from error
    except StoppedError as error:
        if not error.exit_code:  # of a process that has nothing to say
            raise
        raise stopped_by(error.exit_code - 128, what_is_left()) from error


@contextmanager
def heeding_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that nothing half-written is left."""
    alone = threading.current_thread() is threading.main_thread()  # only there Python lets one
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def terminate(number: int, frame: Any) -> None:
    """Handle SIGTERM.

    Raises:
        Terminated: Always.
    """
    raise Terminated
