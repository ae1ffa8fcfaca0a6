"""What a process that loads does with the signals that a cluster sends to all of a job.

Without this a worker would die of SIGTERM, and its death would end the run before it has saved; and
a worker would carry out the handlers that it inherits from the trainer. A terminal sends Ctrl-C to
all of them.
"""

import signal
from typing import Any

GRACE = 30  # seconds that a worker outlives SIGTERM: it normally ends with the run


def leave_signals_to_the_trainer(worker: int) -> None:
    """Set up the signals of a worker; a ``worker_init_fn``."""
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(number: int, frame: Any) -> None:
    signal.alarm(GRACE)
