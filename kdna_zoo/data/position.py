"""Where a run stands in its data, so that an interrupted one goes on with the next batch."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from kdna_zoo.data.randomness import run_seed
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


class Course:
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
