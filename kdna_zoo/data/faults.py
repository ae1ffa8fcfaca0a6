"""Images that cannot be read: the errors that say so, and how many of them a run puts up with."""

import logging

import torch
from torch import Tensor

from kdna_zoo.errors import RunError, UserError

log = logging.getLogger(__name__)


class _WorkerError(Exception):
    """Keeps its message short on the way out of a worker process.

    A worker hands its error over as text that ends in the class's name and message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[-1].strip())


class UnreadableImageError(_WorkerError, UserError):
    """An image cannot be decoded: the message names its file or row, split and data set."""


class LabelError(_WorkerError, UserError):
    """A label of a stream cannot be used: the message names it and what is allowed."""


class StreamError(_WorkerError, RunError):
    """A stream broke off: the message says where, and how to go on."""


class BadImages:
    """What to do with images that cannot be read, and how many there were.

    The count is kept in shared memory, so that it is of all workers of this rank.

    Args:
        slots: Rows of the data set, or workers of a stream; each is counted for itself.
        skip: Whether to leave such images out rather than to end the run.
        limit: How many to leave out at most, on each rank; one more ends the run.
    """

    def __init__(self, slots: int, skip: bool = False, limit: int = 100) -> None:
        counts = torch.zeros(slots, dtype=torch.int32)
        self._counts: Tensor = counts.share_memory_()  # type: ignore[no-untyped-call]
        self.skip = skip
        self.limit = limit

    @property
    def count(self) -> int:
        """How many there were so far."""
        return int(self._counts.sum())

    def known(self, slot: int) -> bool:
        """Whether there was one in a slot."""
        return bool(self._counts[slot])

    def note(self, slot: int, number: int, error: UnreadableImageError) -> None:
        """Count an image, or end the run.

        Args:
            slot: Its row, or the worker that read it.
            number: How many this slot has had with it.
            error: What is wrong with it.

        Raises:
            UnreadableImageError: It is not to be left out, or one too many.
        """
        if not self.skip:
            raise error
        if self._counts[slot] >= number:
            return  # known from an epoch before
        self._counts[slot] = number
        if self.count > self.limit:
            raise UnreadableImageError(
                f"{error} It is one more than bad_image_limit = {self.limit} allows to skip."
            ) from error
        log.warning("Skipped: %s (%d so far)", error, self.count)
