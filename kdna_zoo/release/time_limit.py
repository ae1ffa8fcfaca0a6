"""A limit on the time of work that cannot be asked to stop, such as another package's exporter."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class OutOfTimeError(BaseException):
    """The work did not end in time; no `Exception`, so that the work does not catch it itself."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt what runs within after so many seconds.

    It is Python code that is interrupted, between two of its steps, and in the main thread only:
    elsewhere there is no limit, as the system's timer signals the main thread.

    Raises:
        OutOfTimeError: If it did not end by then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        raise OutOfTimeError(f"did not end in {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
