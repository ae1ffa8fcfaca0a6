"""Progress for an output that is no terminal: a line every so many seconds.

There, Lightning's bars would show when all is over, or draw themselves thousands of times.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar

from kdna_zoo.training.callbacks.pace import Pace

LINES = 100  # of a run, about
LONGEST = 300.0  # seconds between two lines, however long the run


class ProgressLines(ProgressBar):
    """Say on a line how far the run is: epoch, step, metrics, images a second, time left.

    Args:
        seconds: The least time between two lines. A long run takes a hundredth of its time instead,
            and five minutes at most.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._speaks = True
        self._spoken = 0.0  # on the clock, at the latest line
        self._epoch = ""
        self._training: Pace | None = None
        self._evaluation: Pace | None = None
        self._batches = 0  # evaluated since that clock was started

    def disable(self) -> None:
        """Write no line, as on each rank but the first."""
        self._speaks = False

    def enable(self) -> None:
        """Write lines again."""
        self._speaks = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._training, self._spoken = Pace.of_training(trainer), time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note which epoch it is: at the end of all, the trainer is one further."""
        self._epoch = f"epoch {_of(trainer.current_epoch + 1, trainer.max_epochs or 0)}"

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Write a line when it is time to."""
        if self._training and self._is_due(self._training, trainer.global_step):
            self._say_step(trainer, self._training)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a last line."""
        if self._training and self._speaks:
            self._say_step(trainer, self._training)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of an evaluation."""
        self._begin_evaluation(trainer, trainer.num_val_batches)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of an evaluation."""
        self._begin_evaluation(trainer, trainer.num_test_batches)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of an evaluation."""
        self._begin_evaluation(trainer, trainer.num_predict_batches)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Write a line when it is time to."""
        self._evaluated(trainer, "validation")

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Write a line when it is time to."""
        self._evaluated(trainer, "test")

    def on_predict_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Write a line when it is time to."""
        self._evaluated(trainer, "prediction")

    def _begin_evaluation(self, trainer: pl.Trainer, batches: Sequence[float]) -> None:
        self._evaluation, self._batches = Pace(trainer, 0, sum(batches)), 0
        if self._training is None:  # in a training the time since the latest line goes on
            self._spoken = time.monotonic()

    def _evaluated(self, trainer: pl.Trainer, what: str) -> None:
        self._batches += 1
        pace = self._evaluation
        if pace and not trainer.sanity_checking and self._is_due(pace, self._batches):
            place = [self._epoch] if self._training else []
            place.append(f"{what} batch {_of(self._batches, pace.planned)}")
            self._say(place, _worded(pace.rates(self._batches)))

    def _say_step(self, trainer: pl.Trainer, pace: Pace) -> None:
        step = trainer.global_step
        place = [self._epoch, f"step {_of(step, pace.planned)}"]
        metrics = [
            f"{name.removesuffix('_step')} {float(value):.4g}"
            for name, value in trainer.progress_bar_metrics.items()
            if not name.endswith("_epoch")  # of the epoch before; the step's is newer
        ]
        self._say(place, [*metrics, *_worded(pace.rates(step))])

    def _is_due(self, pace: Pace, done: int) -> bool:
        between = seconds_between(self.seconds, pace.seconds_in_all(done))
        return self._speaks and time.monotonic() - self._spoken >= between

    def _say(self, place: Sequence[str], figures: Sequence[str]) -> None:
        self._spoken = time.monotonic()
        self.print(": ".join(filter(None, (", ".join(place), ", ".join(figures)))), flush=True)


def seconds_between(least: float, in_all: float) -> float:
    """Return the time between two lines of a run that takes so many seconds in all."""
    return max(least, min(in_all / LINES, LONGEST))


def _of(done: int, planned: float) -> str:
    return f"{done}/{planned:.0f}" if 0 < planned < math.inf else str(done)


def _worded(rates: dict[str, str]) -> list[str]:
    words = {"images/s": "{} images/s", "left": "{} left"}
    return [words[name].format(value) for name, value in rates.items()]
