"""Training batches of a stream: all full, and as many on every rank."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kdna_zoo.data.decode import StreamError
from kdna_zoo.data.stream import ImageStream
from kdna_zoo.data.workers import leave_signals_to_the_trainer

Batch: TypeAlias = list[Tensor]


class StreamLoader:
    """Gives the same number of full batches in each epoch, so that no rank waits for another.

    The incomplete batches that workers end with are put together to full ones. A rank whose share
    ends too soon begins it again; one with more leaves the rest out, another in each epoch.

    Args:
        stream: What to load.
        batch_size: Images in a batch.
        images: Images in an epoch; fewer than a batch make a smaller one, other incomplete batches
            are left out.
        epoch: Tells the epoch, which chooses the order.
        num_workers: Processes that load; 0: this process.
        pin_memory: Whether to load into page-locked memory.
        start: The epoch to begin in, and how many of its batches to leave out. They are read again,
            so that the others are what they would have been, but not decoded.
    """

    def __init__(
        self,
        stream: ImageStream,
        batch_size: int,
        images: int,
        epoch: Callable[[], int],
        num_workers: int = 0,
        pin_memory: bool = False,
        start: tuple[int, int] = (0, 0),
    ) -> None:
        self.dataset = stream
        self.batch_size = min(batch_size, images)
        self._batches = max(images // batch_size, 1)
        self._epoch = epoch
        self._start = start
        self._loader: DataLoader[object] = DataLoader(
            stream,
            batch_size=self.batch_size,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            worker_init_fn=leave_signals_to_the_trainer,
            generator=torch.Generator(),  # to begin an epoch, it would draw from the global one
        )

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch()
        skip = self._start[1] if epoch == self._start[0] else 0
        self.dataset.begin(epoch, skip, self.batch_size)
        return islice(full_batches(self._passes(), self.batch_size), skip, self._batches)

    def _passes(self) -> Iterator[Batch]:
        """Give the batches of one pass after another, without end."""
        while True:
            empty = True
            for batch in self._loader:
                empty = False
                yield batch
            self.dataset.begin(self.dataset.epoch)  # a second pass skips nothing
            if empty:
                raise StreamError(
                    f"Split {self.dataset.split!r} of {self.dataset.title} has no image for rank "
                    f"{self.dataset.share.rank}: use fewer ranks, or share by images."
                )


def full_batches(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Put incomplete batches together to full ones; what is left at the end is dropped.

    Args:
        batches: Each a list of tensors with as many rows, at most `size`.
        size: Rows of a full batch.
    """
    left: Batch = []
    for batch in batches:
        if len(batch[0]) == size:
            yield batch
            continue
        left = [torch.cat(parts) for parts in zip(left, batch, strict=True)] if left else batch
        if len(left[0]) >= size:
            yield [part[:size] for part in left]
            left = [part[size:] for part in left]
