"""Where a run stands in its data, so that an interrupted one goes on with the next batch."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from kdna_zoo.data.randomness import kept_random_state, run_seed, seed_all
from kdna_zoo.data.rows import Example, ImageRows
from kdna_zoo.errors import UserError


def processes(trainer: Any) -> tuple[int, int]:
    """Return the number of this process and how many there are."""
    return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)


def images_per_process(images: int | None, trainer: Any, origin: str) -> int:
    """Return how many of an epoch's images a process trains on.

    Raises:
        UserError: If nobody knows how many there are.
    """
    if images is None:
        raise UserError(
            f"No file says how many images {origin} has, and the schedule needs it: give "
            "stream.images_per_epoch."
        )
    return math.ceil(images / processes(trainer)[1])


@dataclass(frozen=True)
class Position:
    """Where a run stands: an epoch, and the batches that it has trained on in it."""

    epoch: int = 0
    batches: int = 0

    @classmethod
    def of(cls, trainer: Any, batches_per_epoch: int) -> "Position":
        """Read the position from a trainer's progress, between two steps."""
        progress = trainer.fit_loop.epoch_progress.current
        if progress.started <= progress.processed:
            return cls(progress.processed)
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.processed
        ended = batches >= batches_per_epoch
        return cls(progress.processed + 1) if ended else cls(progress.processed, batches)

    def reached(self, trainer: Any) -> "Position":
        """Return this position, or the beginning of the trainer's epoch if that is a later one.

        A trainer knows its progress late: what reads ``estimated_stepping_batches`` has the loader
        made before. So the position comes with the data's own state.
        """
        epoch = trainer.fit_loop.epoch_progress.current.processed if trainer else 0
        return self if self.epoch >= epoch else Position(epoch)


START = Position()


class ResumeState:
    """The course of a run through its data: its seed and its position, as a checkpoint keeps them.

    Attributes:
        seed: What the order and the augmentation follow from.
    """

    def __init__(self) -> None:
        self.seed = run_seed()
        self._start = START
        # What the batches depended on before an interruption.
        self._batches: dict[str, int | str | None] = {}

    def settle(self, trainer: Any) -> None:
        """Take the first rank's seed on all of them."""
        if trainer:
            self.seed = trainer.strategy.broadcast(self.seed)

    def state(
        self, trainer: Any, batches_per_epoch: int, batches: dict[str, int | str | None]
    ) -> dict[str, Any]:
        """Return the course as it goes into a checkpoint.

        Args:
            trainer: Knows the position.
            batches_per_epoch: How many batches an epoch has.
            batches: What these depend on, by name.
        """
        position = Position.of(trainer, batches_per_epoch)
        return {"seed": self.seed, **asdict(position), "made_of": batches}

    def load(self, state: dict[str, Any]) -> None:
        """Take up the course of a checkpoint, whatever this command's seed."""
        self.seed = state["seed"]
        self._start = Position(state["epoch"], state["batches"])
        self._batches = state["made_of"]

    def start(self, trainer: Any, batches: dict[str, int | str | None]) -> Position:
        """Return where to begin.

        Raises:
            UserError: If that is in the middle of an epoch, whose batches were others.
        """
        at = self._start.reached(trainer)
        changed = [name for name in self._batches if self._batches[name] != batches[name]]
        if at.batches and changed:
            raise UserError(
                "the checkpoint is from the middle of an epoch, which cannot go on with other "
                "batches: "
                + ", ".join(f"{n} was {self._batches[n]} and is {batches[n]}" for n in changed)
                + ". Give what it was, or a checkpoint from the end of an epoch"
            )
        return at


SeededRow: TypeAlias = tuple[int, int]  # a row, and the seed of its augmentation


class TrainingOrder(DistributedSampler[SeededRow]):
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
        start: SeededRow = (0, 0),
        repeats: int = 1,
    ) -> None:
        super().__init__(range(rows), num_replicas=ranks, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.rows = rows
        self.start = start
        self.repeats = repeats
        self.set_epoch(start[0])

    def __iter__(self) -> Iterator[SeededRow]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order, seeds = rng.permutation(self.rows), rng.integers(2**32, size=self.rows)
        own = np.arange(self.rank, self.total_size, self.num_replicas) % self.rows
        if self.epoch == self.start[0]:
            own = own[self.start[1] :]
        yield from zip(order[own // self.repeats].tolist(), seeds[own].tolist(), strict=True)
        self.set_epoch(self.epoch + 1)  # for who loops without a trainer, which says it itself


class SeededRows(Dataset[Example]):
    """Examples for the draws of a `TrainingOrder`, each augmented from its own seed.

    Args:
        rows: The rows that are drawn.
    """

    def __init__(self, rows: ImageRows) -> None:
        self.rows = rows
        self.labels = rows.labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: SeededRow) -> Example:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: list[SeededRow]) -> list[Example]:
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
