"""Things that go wrong on demand: how the next requests of a kind are answered."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

Kind = Literal[
    "status",  # answered with an error, nothing done
    "cut",  # the connection ends in the middle of the body, going up or coming down
    "lost",  # done, but the connection ends before the answer
    "slow",  # the body comes in drops
    "corrupt",  # a byte of the body is not what it was, going up or coming down
]


@dataclass
class Fault:
    """What happens to requests such as ``PUT /lfs/``, and how often.

    Attributes:
        kind: What happens.
        request: Regular expression for the method and path.
        times: So many of them; after that all is well.
        status: Of an error answer.
        code: The Hub's own name of the error, such as ``GatedRepo``.
        retry_after: In seconds, where the answer says so.
        meanwhile: Called when it happens, such as what kills the client.
    """

    kind: Kind
    request: str
    times: int = 1
    status: int = 503
    code: str = ""
    retry_after: int | None = None
    meanwhile: Callable[[], object] = lambda: None


class Faults:
    """The faults still to come."""

    def __init__(self) -> None:
        self._coming: list[Fault] = []
        self._lock = Lock()

    def add(self, fault: Fault) -> None:
        self._coming.append(fault)

    def clear(self) -> None:
        """Lets all be well from here on."""
        self._coming.clear()

    def take(self, request: str) -> Fault | None:
        """The fault that befalls this request, if any."""
        with self._lock:
            for fault in self._coming:
                if fault.times and re.search(fault.request, request):
                    fault.times -= 1
                    return fault
        return None
