"""How fast a loop of the trainer goes, and what is left of it."""

import math
import time
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl


class Pace:
    """The clock of a loop, started when it is made.

    Args:
        trainer: What runs the loop.
        done: Steps that lie behind it at that time.
        planned: Steps in all; 0 or infinity where nobody knows.
        batches: Batches of a step.
    """

    def __init__(self, trainer: pl.Trainer, done: int, planned: float, batches: int = 1) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.images = getattr(data, "batch_size", 0) * trainer.world_size * batches
        self.first, self.planned = done, planned
        self.began = time.monotonic()

    @classmethod
    def of_training(cls, trainer: pl.Trainer) -> "Pace":
        """Start the clock of a training, whose steps are updates of the weights."""
        planned = getattr(trainer.lightning_module, "planned_updates", 0)
        return cls(trainer, trainer.global_step, planned, trainer.accumulate_grad_batches)

    def seconds_left(self, done: int) -> float:
        """Return how long the steps that are left take; 0 where nobody knows."""
        left = self.planned - done
        return left * self._seconds_each(done) if 0 < left < math.inf else 0.0

    def seconds_in_all(self, done: int) -> float:
        """Return the time that has passed, and what is left of it."""
        return time.monotonic() - self.began + self.seconds_left(done)

    def rates(self, done: int) -> dict[str, str]:
        """Return images a second and the time left, each where it is known."""
        each, left = self._seconds_each(done), self.seconds_left(done)
        shown = {"images/s": f"{self.images / each:.0f}"} if self.images and each else {}
        return {**shown, "left": str(timedelta(seconds=round(left)))} if left else shown

    def _seconds_each(self, done: int) -> float:
        steps = done - self.first
        return (time.monotonic() - self.began) / steps if steps > 0 else 0.0
