"""Which process sees which rows, and in which order.

For training the order is a function of the run's seed and the epoch alone, and each draw comes with
a seed of its own for the augmentation. So neither the number of processes or workers nor an
interruption changes what is trained on: to go on in the middle of an epoch is to skip its first
draws.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from kdna_zoo.data.randomness import kept_random_state, seed_all
from kdna_zoo.data.rows import Example, ImageRows
from kdna_zoo.errors import UserError

Draw: TypeAlias = tuple[int, int]  # a row, and the seed of its augmentation


class TrainingOrder(DistributedSampler[Draw]):
    """One process's draws of each epoch: shuffled rows, each with a seed.

    Rank r takes each draw whose number leaves the remainder r, so that the batches of all ranks
    together are those of one process with a batch as large. The last ranks repeat a row where the
    rows cannot be shared out evenly. It is a `DistributedSampler` for Lightning to leave it alone
    and to tell it the epoch.

    Args:
        rows: Number of rows.
        seed: The run's seed, at least 0.
        rank: This process.
        ranks: How many processes there are.
        start: The epoch to begin in, and how many of this rank's draws to leave out there.
        repeats: How often an image is drawn in a row, augmented anew each time. An epoch has as
            many draws all the same, of fewer images, as with timm's `RepeatAugSampler`.
    """

    def __init__(
        self,
        rows: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        start: Draw = (0, 0),
        repeats: int = 1,
    ) -> None:
        super().__init__(range(rows), num_replicas=ranks, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.rows = rows
        self.start = start
        self.repeats = repeats
        self.set_epoch(start[0])

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order, seeds = rng.permutation(self.rows), rng.integers(2**32, size=self.rows)
        own = np.arange(self.rank, self.total_size, self.num_replicas) % self.rows
        if self.epoch == self.start[0]:
            own = own[self.start[1] :]
        yield from zip(order[own // self.repeats].tolist(), seeds[own].tolist(), strict=True)
        self.set_epoch(self.epoch + 1)  # for who loops without a trainer, which says it itself


class Draws(Dataset[Example]):
    """Examples for the draws of a `TrainingOrder`, each augmented from its own seed.

    Args:
        rows: The rows that are drawn.
    """

    def __init__(self, rows: ImageRows) -> None:
        self.rows = rows
        self.labels = rows.labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw) -> Example:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: list[Draw]) -> list[Example]:
        """Read a batch at once; the DataLoader calls this."""
        rows = [row for row, _ in draws]
        examples, batch = self.rows.examples(rows), []
        with kept_random_state():
            for _, seed in draws:
                seed_all(seed)
                batch.append(next(examples))
        return self.rows.readable(rows, batch)


class EvaluationShare(DistributedSampler[int]):
    """One process's share of the rows, in order: each row is seen by one process, once.

    Args:
        rows: Number of rows.
        rank: This process.
        ranks: How many processes there are.
    """

    def __init__(self, rows: int, rank: int = 0, ranks: int = 1) -> None:
        if rows < ranks:
            raise UserError(
                f"{rows} images cannot be shared out to {ranks} processes; evaluate with fewer "
                "devices (--trainer.devices)"
            )
        super().__init__(range(rows), num_replicas=ranks, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self.share = range(rank, rows, ranks)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)

    def __len__(self) -> int:
        return len(self.share)


def even_batch_size(rows: int, ranks: int, batch_size: int) -> int:
    """Return a batch size with which all ranks have as many batches, by one larger if need be.

    In training under DDP a forward pass is a meeting of all ranks (batch norm's statistics), so one
    batch more on some of them would never end.

    Args:
        rows: Number of rows, shared out as `EvaluationShare` does.
        ranks: How many processes there are.
        batch_size: The batch size that is asked for.
    """
    least, uneven = divmod(rows, ranks)
    while uneven and least % batch_size == 0:
        batch_size += 1
    return batch_size
